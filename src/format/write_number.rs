//! Writes numbers as Prometheus does (formats 7).
//!
//! A float in text is Go's `FormatFloat(v, 'g', -1, 64)`: the fewest digits that read back as the same
//! bits, with an exponent exactly if that is below -4 or above 5, however many digits there are.
//! OpenMetrics adds `.0` to a float that would look like an integer. Nothing here allocates.

use crate::model::Number;

/// Below this, whole numbers have at most 16 digits, all of which are needed to tell neighbours apart,
/// so the plain form is the shortest.
const EXACT_INTEGERS: u64 = 1 << 53;

/// From here on, whole numbers are written with an exponent.
const PLAIN_END: u64 = 1_000_000;

/// A float in text 0.0.4.
pub fn text_float(out: &mut Vec<u8>, value: f64) {
    // The cast saturates and turns NaN into 0, so only whole numbers in range compare equal.
    let integer = value as i64;
    if integer as f64 == value && integer.unsigned_abs() < EXACT_INTEGERS {
        if integer.unsigned_abs() < PLAIN_END {
            // Includes -0, which is written as 0.
            out.extend_from_slice(itoa::Buffer::new().format(integer).as_bytes());
        } else {
            sign(out, integer < 0);
            let mut digits = itoa::Buffer::new();
            let digits = digits.format(integer.unsigned_abs()).as_bytes();
            scientific(out, digits, &[], digits.len() as i32 - 1);
        }
    } else if value.is_finite() {
        fraction(out, value);
    } else {
        out.extend_from_slice(match value {
            f64::INFINITY => b"+Inf",
            f64::NEG_INFINITY => b"-Inf",
            _ => b"NaN",
        });
    }
}

/// A float in text 0.0.4, and the end of its line.
#[inline]
pub fn text_float_line(out: &mut Vec<u8>, value: f64) {
    let whole = value as u32;
    if f64::from(whole) == value && u64::from(whole) < PLAIN_END {
        // Includes -0, which is written as 0.
        digits_line(out, whole);
    } else {
        text_float(out, value);
        out.push(b'\n');
    }
}

/// A count in text 0.0.4, which is a float like any other, and the end of its line.
#[inline]
pub fn text_count_line(out: &mut Vec<u8>, count: Number) {
    match count {
        Number::Int(count @ ..PLAIN_END) => digits_line(out, count as u32),
        _ => text_float_line(out, count.as_f64()),
    }
}

/// A number below [`PLAIN_END`] and the end of its line, assembled in a register: always copying the
/// same number of bytes is faster than copying just those needed.
#[inline]
fn digits_line(out: &mut Vec<u8>, mut number: u32) {
    let (mut text, mut length) = (u64::from(b'\n'), 1);
    loop {
        text = text << 8 | u64::from(b'0' + (number % 10) as u8);
        length += 1;
        number /= 10;
        if number == 0 {
            break;
        }
    }
    let end = out.len() + length;
    out.extend_from_slice(&text.to_le_bytes());
    out.truncate(end);
}

/// A float in OpenMetrics.
pub fn openmetrics_float(out: &mut Vec<u8>, value: f64) {
    let start = out.len();
    text_float(out, value);
    let plain = |&byte: &u8| byte.is_ascii_digit() || byte == b'-';
    if out[start..].iter().all(plain) {
        out.extend_from_slice(b".0");
    }
}

/// A count in OpenMetrics: written as an integer if it is one.
pub fn openmetrics_count(out: &mut Vec<u8>, count: Number) {
    match count {
        Number::Int(count) => out.extend_from_slice(itoa::Buffer::new().format(count).as_bytes()),
        Number::Float(count) => openmetrics_float(out, count),
    }
}

/// A time in OpenMetrics, in seconds. Unlike Go's library, this writes no exponent: the reference
/// reader takes what is before the point for the whole seconds, and so reads `1.7000000015e+09` as a
/// time in 1970.
pub fn openmetrics_seconds(out: &mut Vec<u8>, milliseconds: i64) {
    sign(out, milliseconds < 0);
    let milliseconds = milliseconds.unsigned_abs();
    let mut buffer = itoa::Buffer::new();
    out.extend_from_slice(buffer.format(milliseconds / 1000).as_bytes());
    let rest = milliseconds % 1000;
    out.push(b'.');
    let digits = [rest / 100, rest / 10 % 10, rest % 10].map(|digit| b'0' + digit as u8);
    let zeros = digits[1..].iter().rev().take_while(|&&digit| digit == b'0').count();
    out.extend_from_slice(&digits[..3 - zeros]);
}

fn sign(out: &mut Vec<u8>, negative: bool) {
    if negative {
        out.push(b'-');
    }
}

/// Any finite number except zero. The digits from zmij are the right ones, but it uses exponents
/// elsewhere (below -5 and above 15) and writes them in another way.
fn fraction(out: &mut Vec<u8>, value: f64) {
    sign(out, value.is_sign_negative());
    let mut buffer = zmij::Buffer::new();
    let text = buffer.format_finite(value.abs()).as_bytes();
    // The exponent is short, so search for it from the end.
    if let Some(at) = text.iter().rposition(|&byte| byte == b'e') {
        let (mantissa, exponent) = (&text[..at], &text[at + 1..]);
        let (sign, digits) = match exponent {
            [b'-', digits @ ..] => (b'-', digits),
            [b'+', digits @ ..] => (b'+', digits),
            digits => (b'+', digits),
        };
        out.extend_from_slice(mantissa);
        out.extend_from_slice(&[b'e', sign]);
        if digits.len() < 2 {
            out.push(b'0');
        }
        out.extend_from_slice(digits);
        return;
    }
    let point = text.iter().position(|&byte| byte == b'.').unwrap_or(text.len());
    let (whole, decimals) = (&text[..point], text.get(point + 1..).unwrap_or_default());
    if whole != b"0" {
        let exponent = whole.len() as i32 - 1;
        if exponent < 6 {
            out.extend_from_slice(text);
        } else {
            scientific(out, whole, decimals, exponent);
        }
    } else {
        let zeros = decimals.iter().take_while(|&&byte| byte == b'0').count();
        if zeros < 4 {
            out.extend_from_slice(text);
        } else {
            scientific(out, &decimals[zeros..], &[], -(zeros as i32) - 1);
        }
    }
}

/// Writes `d.ddde±XX` from digits in two parts, the first of which is not empty.
fn scientific(out: &mut Vec<u8>, first: &[u8], second: &[u8], exponent: i32) {
    out.push(first[0]);
    let start = out.len();
    out.push(b'.');
    out.extend_from_slice(&first[1..]);
    out.extend_from_slice(second);
    // Remove zeros at the end, and the point if no digit is left after it.
    while out.len() > start && matches!(out[out.len() - 1], b'0' | b'.') {
        let point = out[out.len() - 1] == b'.';
        out.pop();
        if point {
            break;
        }
    }
    out.extend_from_slice(if exponent < 0 { b"e-" } else { b"e+" });
    let exponent = exponent.unsigned_abs();
    out.extend_from_slice(&[b'0' + (exponent / 10) as u8, b'0' + (exponent % 10) as u8]);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn written(write: impl FnOnce(&mut Vec<u8>)) -> String {
        let mut out = b"x".to_vec();
        write(&mut out);
        String::from_utf8(out.split_off(1)).unwrap()
    }

    fn text(value: f64) -> String {
        let text = written(|out| text_float(out, value));
        assert_eq!(written(|out| text_float_line(out, value)), format!("{text}\n"));
        text
    }

    fn openmetrics(value: f64) -> String {
        written(|out| openmetrics_float(out, value))
    }

    #[test]
    fn floats() {
        for (value, in_text, in_openmetrics) in [
            (0.0, "0", "0.0"),
            (-0.0, "0", "0.0"),
            (1.0, "1", "1.0"),
            (-1.0, "-1", "-1.0"),
            (17.0, "17", "17.0"),
            (123_456.0, "123456", "123456.0"),
            (-123_456.0, "-123456", "-123456.0"),
            (999_999.0, "999999", "999999.0"),
            (1e6, "1e+06", "1e+06"),
            (-1e6, "-1e+06", "-1e+06"),
            (1_234_567.0, "1.234567e+06", "1.234567e+06"),
            (22_827_008.0, "2.2827008e+07", "2.2827008e+07"),
            (100_000.5, "100000.5", "100000.5"),
            (999_999.9, "999999.9", "999999.9"),
            (1_000_000.5, "1.0000005e+06", "1.0000005e+06"),
            (-12_345_678.25, "-1.234567825e+07", "-1.234567825e+07"),
            (0.5, "0.5", "0.5"),
            (-0.25, "-0.25", "-0.25"),
            (0.001, "0.001", "0.001"),
            (0.0001, "0.0001", "0.0001"),
            (0.00012, "0.00012", "0.00012"),
            (1e-5, "1e-05", "1e-05"),
            (1.25e-5, "1.25e-05", "1.25e-05"),
            (-1e-6, "-1e-06", "-1e-06"),
            (1.5e-9, "1.5e-09", "1.5e-09"),
            (1e-10, "1e-10", "1e-10"),
            (1e-100, "1e-100", "1e-100"),
            (1e15, "1e+15", "1e+15"),
            (9_007_199_254_740_991.0, "9.007199254740991e+15", "9.007199254740991e+15"),
            (9_007_199_254_740_992.0, "9.007199254740992e+15", "9.007199254740992e+15"),
            (1e16, "1e+16", "1e+16"),
            (1.234_567_890_123_456_8e17, "1.2345678901234568e+17", "1.2345678901234568e+17"),
            (2f64.powi(63), "9.223372036854776e+18", "9.223372036854776e+18"),
            (2f64.powi(64), "1.8446744073709552e+19", "1.8446744073709552e+19"),
            // Two numbers of 17 digits are equally near; Go takes the even one.
            (100_226_766_547_221.0 + 0.625, "1.0022676654722162e+14", "1.0022676654722162e+14"),
            (f64::MAX, "1.7976931348623157e+308", "1.7976931348623157e+308"),
            (-f64::MAX, "-1.7976931348623157e+308", "-1.7976931348623157e+308"),
            (f64::MIN_POSITIVE, "2.2250738585072014e-308", "2.2250738585072014e-308"),
            (5e-324, "5e-324", "5e-324"),
            (f64::NAN, "NaN", "NaN"),
            (-f64::NAN, "NaN", "NaN"),
            (f64::INFINITY, "+Inf", "+Inf"),
            (f64::NEG_INFINITY, "-Inf", "-Inf"),
        ] {
            assert_eq!(text(value), in_text);
            assert_eq!(openmetrics(value), in_openmetrics);
        }
    }

    #[test]
    fn counts() {
        for (count, in_text, in_openmetrics) in [
            (Number::Int(0), "0", "0"),
            (Number::Int(17), "17", "17"),
            (Number::Int(999_999), "999999", "999999"),
            (Number::Int(1_000_000), "1e+06", "1000000"),
            (Number::Int(1 << 63), "9.223372036854776e+18", "9223372036854775808"),
            (Number::Int(u64::MAX), "1.8446744073709552e+19", "18446744073709551615"),
            (Number::Float(0.5), "0.5", "0.5"),
            (Number::Float(1e20), "1e+20", "1e+20"),
        ] {
            assert_eq!(written(|out| text_count_line(out, count)), format!("{in_text}\n"));
            assert_eq!(written(|out| openmetrics_count(out, count)), in_openmetrics);
        }
    }

    #[test]
    fn times() {
        for (milliseconds, expected) in [
            (0, "0.0"),
            (1000, "1.0"),
            (-1500, "-1.5"),
            (-1, "-0.001"),
            (10, "0.01"),
            (1_520_872_607_123, "1520872607.123"),
            (1_700_000_001_500, "1700000001.5"),
            (1_700_000_000_000, "1700000000.0"),
            (i64::MAX, "9223372036854775.807"),
            (i64::MIN, "-9223372036854775.808"),
        ] {
            assert_eq!(written(|out| openmetrics_seconds(out, milliseconds)), expected);
        }
    }

    /// Go's rule applied to digits of the standard library: as many as its shortest form has, but
    /// rounded from the exact value, which takes the even one of two equally near ones (its shortest
    /// form takes the larger).
    fn as_go_does(value: f64) -> String {
        let shortest = format!("{value:e}");
        let digits = shortest.split('e').next().unwrap();
        let decimals = digits.split_once('.').map_or(0, |(_, decimals)| decimals.len());
        let scientific = format!("{value:.decimals$e}");
        let (digits, exponent) = scientific.split_once('e').unwrap();
        let exponent: i32 = exponent.parse().unwrap();
        if (-4..6).contains(&exponent) {
            let decimals = (decimals as i32 - exponent).max(0) as usize;
            format!("{value:.decimals$}")
        } else {
            let sign = if exponent < 0 { '-' } else { '+' };
            format!("{digits}e{sign}{:02}", exponent.abs())
        }
    }

    #[track_caller]
    fn check(value: f64) {
        let text = text(value);
        assert_eq!(text, as_go_does(value));
        assert_eq!(text.parse::<f64>().unwrap().to_bits(), value.to_bits());
        assert_eq!(openmetrics(value).parse::<f64>().unwrap().to_bits(), value.to_bits());
    }

    proptest! {
        #[test]
        fn any_float_reads_back_to_the_same_bits(bits in any::<u64>()) {
            let value = f64::from_bits(bits);
            if value.is_finite() && value != 0.0 {
                check(value);
            }
        }

        #[test]
        fn so_do_decimals_and_integers(digits in 1_i64..(1 << 60), scale in -25_i32..25) {
            check(digits as f64);
            check(-digits as f64);
            check(format!("{digits}e{scale}").parse().unwrap());
            check(format!("{}e{scale}", digits % 1000 + 1).parse().unwrap());
        }
    }
}

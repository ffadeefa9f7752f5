//! Reads the numbers of the text formats (formats 5 and 6).
//!
//! ```text
//! float     = [sign] ( digits ["." [digits]] | "." digits ) [ ("e" | "E") [sign] digits ]
//!           | [sign] ("inf" | "infinity") | "nan"                 words in any letter case
//! timestamp = [sign] digits                text: milliseconds within an int64
//!           | float but NaN and Inf        OpenMetrics: seconds
//! ```
//!
//! This is Go's `ParseFloat` without hexadecimal and underscores, and OpenMetrics' `number`. A finite
//! number that is too large for an `f64` is refused, never read as infinity. The exact decimal is
//! rounded half to even, on both paths below.

use crate::model::Number;

/// Powers of ten that an `f64` holds exactly.
const POWERS: [f64; 23] = [
    1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16,
    1e17, 1e18, 1e19, 1e20, 1e21, 1e22,
];

/// Integers up to here are exact in an `f64`.
const EXACT_MAX: u64 = 1 << 53;

/// Reads a sample value, a bound or a quantile.
#[inline]
pub fn parse_float(text: &str) -> Option<f64> {
    short_decimal(text.as_bytes()).or_else(|| any_float(text))
}

/// Reads a count. Integers up to 2^64 stay exact; an `f64` would round them from 2^53 on. The caller
/// has to deal with signs, fractions and NaN.
#[inline]
pub fn parse_count(text: &str) -> Option<Number> {
    match small_integer(text.as_bytes()) {
        Some(count) => Some(Number::Int(count)),
        None => any_count(text),
    }
}

/// Reads the timestamp of a text sample: milliseconds.
pub fn parse_millis(text: &str) -> Option<i64> {
    text.parse().ok()
}

/// Reads an OpenMetrics timestamp: seconds, rounded to the millisecond.
pub fn parse_seconds(text: &str) -> Option<i64> {
    let millis = (parse_float(text)? * 1000.0).round();
    // Every f64 strictly between these two bounds converts exactly; NaN and Inf lie outside.
    let within = -(2f64.powi(63))..2f64.powi(63);
    within.contains(&millis).then_some(millis as i64)
}

/// Up to 18 digits, which fit a `u64` without overflow.
#[inline]
fn small_integer(text: &[u8]) -> Option<u64> {
    if text.is_empty() || text.len() > 18 {
        return None;
    }
    let mut integer = 0;
    for &byte in text {
        let digit = byte.wrapping_sub(b'0');
        if digit > 9 {
            return None;
        }
        integer = integer * 10 + u64::from(digit);
    }
    Some(integer)
}

/// The common forms: digits with at most one point and no exponent. These are a quotient of two exact
/// numbers, so a single division rounds correctly (Clinger's fast path).
#[inline]
fn short_decimal(text: &[u8]) -> Option<f64> {
    let (negative, digits) = match text {
        [b'-', digits @ ..] => (true, digits),
        digits => (false, digits),
    };
    if digits.is_empty() || digits.len() > 18 {
        return None;
    }
    let mut integer = 0u64;
    let mut point = None;
    for (at, &byte) in digits.iter().enumerate() {
        let digit = byte.wrapping_sub(b'0');
        if digit <= 9 {
            integer = integer * 10 + u64::from(digit);
        } else if byte == b'.' && point.is_none() {
            point = Some(at);
        } else {
            return None;
        }
    }
    if integer > EXACT_MAX {
        return None;
    }
    let fraction = match point {
        None => 0,
        Some(_) if digits.len() == 1 => return None,
        Some(at) => digits.len() - at - 1,
    };
    let value = integer as f64 / POWERS.get(fraction)?;
    Some(if negative { -value } else { value })
}

/// What the standard library accepts, which rounds as specified; but not numbers that overflow, which
/// it reads as infinity, nor `+nan` and `-nan`.
#[cold]
fn any_float(text: &str) -> Option<f64> {
    let value: f64 = text.parse().ok()?;
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    let meant = if value.is_nan() {
        unsigned.len() == text.len()
    } else {
        value.is_finite() || unsigned.starts_with(['i', 'I'])
    };
    meant.then_some(value)
}

#[cold]
fn any_count(text: &str) -> Option<Number> {
    let digits = text.strip_prefix('+').unwrap_or(text);
    if digits.bytes().all(|byte| byte.is_ascii_digit())
        && let Ok(count) = digits.parse()
    {
        return Some(Number::Int(count));
    }
    parse_float(text).map(Number::from_f64)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn bits(text: &str) -> Option<u64> {
        parse_float(text).map(f64::to_bits)
    }

    #[test]
    fn accepted_floats() {
        for (text, value) in [
            ("5", 5.0),
            ("+5", 5.0),
            ("-0", -0.0),
            ("0", 0.0),
            ("-5.25", -5.25),
            ("007", 7.0),
            (".5", 0.5),
            ("-.5", -0.5),
            ("5.", 5.0),
            ("1e3", 1000.0),
            ("1E+06", 1e6),
            ("1e-05", 1e-5),
            ("0.30000000000000004", 0.30000000000000004),
            ("123456789012345678901234567890", 123456789012345678901234567890.0),
            ("0.000000000000000000000000000001", 1e-30),
            ("1.7976931348623157e308", f64::MAX),
            ("1.7976931348623158e308", f64::MAX),
            ("5e-324", 5e-324),
            // Underflow is not an error.
            ("1e-400", 0.0),
            ("0e999999999999", 0.0),
            // Half to even on the exact decimal.
            ("9007199254740992", 9007199254740992.0),
            ("9007199254740993", 9007199254740992.0),
            ("9007199254740993.0000000001", 9007199254740994.0),
            ("inf", f64::INFINITY),
            ("+Inf", f64::INFINITY),
            ("-INF", f64::NEG_INFINITY),
            ("Infinity", f64::INFINITY),
            ("-iNfInItY", f64::NEG_INFINITY),
        ] {
            assert_eq!(bits(text), Some(f64::to_bits(value)), "{text}");
        }
        for text in ["nan", "NaN", "NAN"] {
            assert!(parse_float(text).is_some_and(f64::is_nan), "{text}");
        }
    }

    #[test]
    fn refused_floats() {
        for text in [
            "",
            " ",
            "+NaN",
            "-NaN",
            "1e400",
            "-1e400",
            "1.7976931348623159e308",
            "0x1p3",
            "0x1F",
            "0b1",
            "0o7",
            "1_000",
            "1,5",
            "1f",
            ".",
            "-",
            "+",
            "-.",
            "e5",
            ".e5",
            "1e",
            "1e+",
            "--1",
            "+-1",
            "1-",
            "1.2.3",
            "infi",
            "infinit",
            "infinityy",
            "nano",
            "\"1\"",
            " 1",
            "1 ",
            "1\r",
            "١",
            "5٠",
            "１",
        ] {
            assert_eq!(parse_float(text), None, "{text:?}");
        }
    }

    #[test]
    fn counts_are_exact_integers_up_to_2_64() {
        for (text, count) in [
            ("0", 0),
            ("17", 17),
            ("17.0", 17),
            ("+17", 17),
            ("1e3", 1000),
            ("-0", 0),
            ("9007199254740993", 9007199254740993),
            ("999999999999999999", 999999999999999999),
            ("18446744073709551615", u64::MAX),
        ] {
            assert!(
                matches!(parse_count(text), Some(Number::Int(n)) if n == count),
                "{text}: {:?}",
                parse_count(text)
            );
        }
        for (text, count) in [("18446744073709551616", 2f64.powi(64)), ("0.5", 0.5), ("-1", -1.0)] {
            assert!(matches!(parse_count(text), Some(Number::Float(x)) if x == count), "{text}");
        }
        for text in ["", "+", "1e400", "1 ", "x"] {
            assert!(parse_count(text).is_none(), "{text:?}");
        }
    }

    #[test]
    fn timestamps() {
        for (text, millis) in [
            ("0", 0),
            ("-1", -1),
            ("+5", 5),
            ("1395066363000", 1395066363000),
            ("9223372036854775807", i64::MAX),
            ("-9223372036854775808", i64::MIN),
        ] {
            assert_eq!(parse_millis(text), Some(millis), "{text}");
        }
        for text in ["", "1.5", "1e3", "9223372036854775808", "1_0", "0x1", "now", "-"] {
            assert_eq!(parse_millis(text), None, "{text:?}");
        }
        for (text, millis) in [
            ("1520430000.123", 1520430000123),
            ("0", 0),
            ("-1.5", -1500),
            ("1e3", 1000000),
            ("0.0004", 0),
        ] {
            assert_eq!(parse_seconds(text), Some(millis), "{text}");
        }
        for text in ["", "NaN", "+Inf", "-Inf", "1e300", "9223372036854776", "x"] {
            assert_eq!(parse_seconds(text), None, "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn both_paths_agree_with_the_standard_library(text in "[+-]?[0-9]{0,20}[.]?[0-9]{0,20}(e[+-]?[0-9]{1,3})?") {
            let expected = text.parse::<f64>().ok().filter(|value| value.is_finite());
            prop_assert_eq!(parse_float(&text).map(f64::to_bits), expected.map(f64::to_bits));
        }

        #[test]
        fn what_rust_prints_is_read_back(bits: u64) {
            let value = f64::from_bits(bits);
            prop_assume!(!value.is_nan());
            for text in [format!("{value}"), format!("{value:e}")] {
                prop_assert_eq!(parse_float(&text).map(f64::to_bits), Some(bits));
            }
        }

        #[test]
        fn no_text_panics(text: String) {
            let _ = (parse_float(&text), parse_count(&text), parse_millis(&text), parse_seconds(&text));
        }
    }
}

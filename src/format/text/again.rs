//! A fast way to read a body that differs from an earlier one only in its values, as most pushes of a
//! program do: what is between the values is compared, and only the values are read.

use crate::format::number::{parse_count, parse_float};
use crate::model::exposition::Wanted;
use crate::model::{Exposition, Number};

/// Puts the values of `body` into `exposition`, into which `before` was parsed. Returns false if the
/// bodies differ in more than values, or a value is invalid; the exposition may then be used for
/// another attempt, but for nothing else.
///
/// The result is the same as that of [`super::parse`] with timestamps refused.
pub fn read_again(before: &[u8], exposition: &mut Exposition, body: &[u8]) -> bool {
    let (mut at_before, mut at) = (0, 0);
    for nth in 0..exposition.slots().len() {
        let slot = exposition.slot(nth);
        let fixed = &before[at_before..slot.start as usize];
        let Some(rest) = body[at..].strip_prefix(fixed) else { return false };
        at += fixed.len();
        at_before = slot.end as usize;
        // Nearly all values are short.
        if let Some((value, digits)) = short(rest, slot.wanted) {
            exposition.refill(slot.place, value);
            at += digits;
            continue;
        }
        let blank = |byte: &u8| matches!(byte, b' ' | b'\t' | b'\r' | b'\n');
        let token = &rest[..rest.iter().position(blank).unwrap_or(rest.len())];
        at += token.len();
        let Ok(token) = std::str::from_utf8(token) else { return false };
        let value = match slot.wanted {
            Wanted::Float => parse_float(token).map(Number::Float),
            Wanted::Population => parse_count(token).filter(|count| *count >= Number::ZERO),
            Wanted::Whole => parse_count(token).filter(|count| matches!(count, Number::Int(_))),
        };
        let Some(value) = value else { return false };
        exposition.refill(slot.place, value);
    }
    body[at..] == before[at_before..]
}

/// Reads up to 15 digits that end where a value may end. A float may have a point among them and an
/// exponent after them, as Go writes large numbers. Both the digits and the powers of ten by which they
/// are multiplied or divided are exact in an `f64`, so that single operation rounds like reading the
/// decimal.
#[inline]
fn short(text: &[u8], wanted: Wanted) -> Option<(Number, usize)> {
    let (mut number, mut point) = (0_u64, None);
    for (at, &byte) in text.iter().take(17).enumerate() {
        let digit = byte.wrapping_sub(b'0');
        if digit <= 9 {
            if at - usize::from(point.is_some()) == 15 {
                return None;
            }
            number = number * 10 + u64::from(digit);
        } else if byte == b'.' && point.is_none() && at > 0 && wanted == Wanted::Float {
            point = Some(at);
        } else {
            let fraction = point.map_or(0, |point| at - point - 1);
            let value = match byte {
                _ if at == 0 => return None,
                b'\n' | b' ' | b'\t' | b'\r' if wanted != Wanted::Float => Number::Int(number),
                b'\n' | b' ' | b'\t' | b'\r' => scaled(number, -(fraction as i32))?,
                b'e' if wanted == Wanted::Float => {
                    let &[sign @ (b'+' | b'-'), ten @ b'0'..=b'9', one @ b'0'..=b'9', end, ..] =
                        &text[at + 1..]
                    else {
                        return None;
                    };
                    let exponent = i32::from(ten - b'0') * 10 + i32::from(one - b'0');
                    let exponent = if sign == b'-' { -exponent } else { exponent };
                    let value = scaled(number, exponent - fraction as i32)?;
                    let ended = matches!(end, b'\n' | b' ' | b'\t' | b'\r');
                    return ended.then_some((value, at + 4));
                }
                _ => return None,
            };
            return Some((value, at));
        }
    }
    None
}

/// `None` if the exponent is beyond ±15; up to there, powers of ten are exact in an `f64`.
#[inline]
fn scaled(number: u64, exponent: i32) -> Option<Number> {
    const TENS: [f64; 16] =
        [1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15];
    let power = *TENS.get(exponent.unsigned_abs() as usize)?;
    let number = number as f64;
    Some(Number::Float(if exponent < 0 { number / power } else { number * power }))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::format::text::{TextOptions, parse};
    use crate::model::Grouping;

    const FORM: &str = "# TYPE c_total counter\nc_total{a=\"1\"} @\nc_total @\r\n# TYPE g gauge\n\
        g\t @ \n# TYPE h histogram\nh_bucket{le=\"1\"} @\nh_bucket{le=\"+Inf\"} @\nh_sum @\n\
        h_count @\n# TYPE s summary\ns{quantile=\"0.5\"} @\ns_sum @\ns_count @\nlast @";

    fn fill(values: &[String]) -> String {
        let mut values = values.iter().cycle();
        FORM.split('@').fold(String::new(), |body, part| {
            let value = if body.is_empty() { "" } else { values.next().map_or("", |v| v) };
            body + value + part
        })
    }

    fn parsed(body: &str) -> Option<(Exposition, String)> {
        let mut exposition = Exposition::default();
        let options = TextOptions { lenient_line_ends: true, ..TextOptions::default() };
        let grouping = Grouping::default();
        parse(body.as_bytes(), exposition.build(&grouping), options).ok()?;
        let shown = show(&exposition);
        Some((exposition, shown))
    }

    fn show(exposition: &Exposition) -> String {
        format!("{:?}", exposition.series().map(|s| (s.labels, s.value)).collect::<Vec<_>>())
    }

    #[test]
    fn members_out_of_order_are_not_read_again() {
        let body = "# TYPE h histogram\nh_bucket{le=\"2\"} 2\nh_bucket{le=\"1\"} 1\nh_count 2\n";
        assert!(parsed(body).unwrap().0.slots().is_empty());
    }

    /// Another value might continue the name.
    #[test]
    fn values_that_stand_right_behind_their_name_stay_as_they_are() {
        let body = "a-1\n# TYPE s summary\ns_sum+2\ns_count+3\nb{}4\n{\"c\"}5\n";
        let (mut exposition, _) = parsed(body).unwrap();
        for (line, other) in [
            ("a-1", "a5"),
            ("a-1", "aNaN"),
            ("a-1", "a-2"),
            ("s_sum+2", "s_sum3"),
            ("s_count+3", "s_count4"),
        ] {
            let other = body.replace(line, other);
            assert!(!read_again(body.as_bytes(), &mut exposition, other.as_bytes()), "{other}");
        }
        let other = body.replace("{}4", "{}40").replace("}5", "}50");
        assert!(read_again(body.as_bytes(), &mut exposition, other.as_bytes()));
        assert_eq!(show(&exposition), parsed(&other).unwrap().1);
    }

    #[test]
    fn more_or_less_than_the_form_is_refused() {
        let before = "a 1\nb 2\n";
        let (mut exposition, _) = parsed(before).unwrap();
        for body in
            ["", "a 1\n", "a 1\nb 2", "a 1\nb 2\nc 3\n", "a 1\nb 2 3\n", "a 1 \nb 2\n", "a \nb 2\n"]
        {
            assert!(!read_again(before.as_bytes(), &mut exposition, body.as_bytes()), "{body:?}");
        }
        assert!(read_again(before.as_bytes(), &mut exposition, b"a 1.5\nb 1e300\n"));
    }

    proptest! {
        #[test]
        fn it_reads_what_the_parser_reads(
            values in prop::collection::vec("[0-9]{1,3}|[0-9]{1,17}|[0-9]{1,9}\\.[0-9]{0,9}|-?[0-9]{1,2}(\\.[0-9]{0,2})?(e[0-9])?|NaN|[+-]Inf|[ \\tx.#\"\n\r]", 14),
        ) {
            let before = fill(&["1".to_owned()]);
            let (mut exposition, _) = parsed(&before).unwrap();
            let body = fill(&values);
            if read_again(before.as_bytes(), &mut exposition, body.as_bytes()) {
                let expected = parsed(&body).map(|(_, shown)| shown);
                prop_assert_eq!(Some(show(&exposition)), expected, "{}", body);
            }
        }

        #[test]
        fn short_values_are_what_they_say(
            text in "[0-9]{1,16}|[0-9]{1,15}\\.[0-9]{1,15}|[0-9](\\.[0-9]{1,13})?e[+-][01][0-9]",
        ) {
            let line = format!("{text}\n");
            if let Some((value, taken)) = short(line.as_bytes(), Wanted::Float) {
                let expected: f64 = text.parse().unwrap();
                prop_assert_eq!((value.as_f64().to_bits(), taken), (expected.to_bits(), text.len()));
            } else {
                prop_assert!(text.len() > 15 || text.contains('e'));
            }
        }

        #[test]
        fn ordinary_values_are_read_again(values in prop::collection::vec(0_u32..100_000, 14)) {
            let before = fill(&["1".to_owned()]);
            let (mut exposition, _) = parsed(&before).unwrap();
            let values: Vec<String> = values.iter().map(u32::to_string).collect();
            prop_assert!(read_again(before.as_bytes(), &mut exposition, fill(&values).as_bytes()));
        }
    }
}

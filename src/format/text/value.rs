//! What follows the labels of a sample: numbers, and the end of the line.

use super::TextOptions;
use crate::format::Timestamps;
use crate::format::lex::{self, Cursor, Flaw, Lexed, Token};
use crate::format::number::{parse_count, parse_float, parse_millis};
use crate::model::Number;

/// The token of a value.
#[inline]
pub(super) fn value<'a>(cursor: &mut Cursor<'a>) -> Lexed<Token<'a>> {
    cursor.skip_blanks();
    if cursor.at_end() {
        return Err(cursor.expected("the value of the sample"));
    }
    Ok(cursor.token())
}

#[inline]
pub(super) fn float(token: Token<'_>) -> Lexed<f64> {
    parse_float(token.text).ok_or_else(|| token.fail("a number within the range of a double"))
}

/// A bound or quantile. Adding zero makes -0 the same bound as 0.
#[inline]
pub(super) fn bound(token: Token<'_>, expected: &str) -> Lexed<f64> {
    match parse_float(token.text) {
        Some(bound) if !bound.is_nan() => Ok(bound + 0.0),
        _ => Err(token.fail(expected)),
    }
}

/// The count of a histogram or of one of its buckets; may be a fraction.
#[inline]
pub(super) fn population(token: Token<'_>) -> Lexed<Number> {
    match parse_count(token.text) {
        Some(count @ Number::Int(_)) => Ok(count),
        Some(count @ Number::Float(float)) if float >= 0.0 => Ok(count),
        _ => Err(token.fail("a count that is not negative")),
    }
}

/// The count of a summary (formats G10).
pub(super) fn summary_count(token: Token<'_>) -> Lexed<Number> {
    match parse_count(token.text) {
        Some(count @ Number::Int(_)) => Ok(count),
        _ => Err(token.fail("a whole number below 2^64 as count of a summary")),
    }
}

/// What may follow the value. Returns true for a timestamp that the options allow.
#[inline]
pub(super) fn end_of_sample(cursor: &mut Cursor<'_>, options: TextOptions) -> Lexed<bool> {
    if cursor.at_end() {
        return Ok(false);
    }
    cursor.skip_blanks();
    if cursor.at_end() && !options.blank_means_timestamp {
        Ok(false)
    } else {
        timestamp(cursor, options)
    }
}

#[cold]
fn timestamp(cursor: &mut Cursor<'_>, options: TextOptions) -> Lexed<bool> {
    let token = cursor.token();
    if parse_millis(token.text).is_none() {
        return Err(token.fail("the end of the line (or a timestamp in milliseconds)"));
    }
    if options.timestamps == Timestamps::Reject {
        return Err(Flaw::new(token.offset, lex::TIMESTAMP_REFUSED));
    }
    if !options.blank_means_timestamp {
        cursor.skip_blanks();
    }
    if cursor.at_end() { Ok(true) } else { Err(cursor.expected("the end of the line")) }
}

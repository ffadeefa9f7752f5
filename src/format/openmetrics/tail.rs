//! What follows the labels of a sample: numbers, timestamp, exemplar.

use crate::format::Timestamps;
use crate::format::lex::{self, At, Cursor, Dialect, Flaw, LabelList, Lexed, Token};
use crate::format::number::{parse_count, parse_float, parse_seconds};
use crate::model::{Exemplar, Grouping, Number, labels};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Exemplars {
    Allowed,
    Forbidden,
}

/// Reads what follows the value of a sample.
#[derive(Debug, Default)]
pub(super) struct Tail<'a> {
    timestamps: Timestamps,
    list: LabelList<'a>,
    text: String,
    no_grouping: Grouping,
}

impl<'a> Tail<'a> {
    pub(super) fn new(timestamps: Timestamps) -> Tail<'a> {
        Tail { timestamps, ..Tail::default() }
    }

    #[inline]
    pub(super) fn read(
        &mut self,
        cursor: Cursor<'a>,
        exemplars: Exemplars,
    ) -> Lexed<Option<Exemplar>> {
        if cursor.at_end() { Ok(None) } else { self.read_long(cursor, exemplars) }
    }

    fn read_long(
        &mut self,
        mut cursor: Cursor<'a>,
        exemplars: Exemplars,
    ) -> Lexed<Option<Exemplar>> {
        if !cursor.eat(b' ') {
            return Err(cursor.expected("the end of the line"));
        }
        if cursor.peek() != Some(b'#') {
            let token = cursor.token();
            if parse_seconds(token.text).is_none() {
                return Err(token.fail("the end of the line (or a timestamp in seconds)"));
            }
            if self.timestamps == Timestamps::Reject {
                return Err(Flaw::new(token.offset, lex::TIMESTAMP_REFUSED));
            }
            if cursor.at_end() {
                return Ok(None);
            }
            if !cursor.eat(b' ') {
                return Err(cursor.expected("the end of the line"));
            }
        }
        if exemplars == Exemplars::Forbidden {
            let message = "only \"_total\" and \"_bucket\" samples may have an exemplar";
            return Err(Flaw::new(cursor.offset(), message));
        }
        self.exemplar(cursor).map(Some)
    }

    fn exemplar(&mut self, mut cursor: Cursor<'a>) -> Lexed<Exemplar> {
        let at = cursor.offset();
        if !cursor.eat_all("# {") {
            return Err(
                cursor.expected("an exemplar, \"# {labels} value\", or the end of the line")
            );
        }
        let list = &mut self.list;
        list.clear();
        if cursor.list(Dialect::OpenMetrics, list)?.is_some() {
            return Err(Flaw::new(at, "an exemplar has labels but no name"));
        }
        let points = |text: &str| text.chars().count();
        let value_points = |label: &labels::Label<'_>| match label.escaped {
            true => points(&labels::unescape(&label.value)),
            false => points(&label.value),
        };
        let length = list.labels.iter().map(|label| points(&label.name) + value_points(label));
        let length: usize = length.sum();
        if length > Exemplar::CHARACTERS_MAX {
            let message = format!(
                "the labels of an exemplar have {length} characters, at most {} may",
                Exemplar::CHARACTERS_MAX
            );
            return Err(Flaw::new(at, message));
        }
        let text = &mut self.text;
        text.clear();
        labels::write_canonical(text, &mut list.labels, &self.no_grouping)
            .map_err(Into::into)
            .at(at)?;
        let number = float(value(&mut cursor)?)?;
        let mut timestamp_ms = None;
        if cursor.eat(b' ') {
            let token = cursor.token();
            let millis = parse_seconds(token.text);
            timestamp_ms = Some(millis.ok_or_else(|| token.fail("a timestamp in seconds"))?);
        }
        if !cursor.at_end() {
            return Err(cursor.expected("the end of the line"));
        }
        Ok(Exemplar { labels: self.text.as_str().into(), value: number, timestamp_ms })
    }
}

// === Numbers ===

/// The token of a value, after exactly one blank.
#[inline]
pub(super) fn value<'a>(cursor: &mut Cursor<'a>) -> Lexed<Token<'a>> {
    if !cursor.eat(b' ') {
        return Err(cursor.expected("one blank before the value"));
    }
    let token = cursor.token();
    if token.text.is_empty() {
        return Err(cursor.expected("the value, after one blank"));
    }
    Ok(token)
}

#[inline]
pub(super) fn float(token: Token<'_>) -> Lexed<f64> {
    parse_float(token.text).ok_or_else(|| token.fail("a number within the range of a double"))
}

pub(super) fn not_nan(token: Token<'_>) -> Lexed<f64> {
    let number = float(token)?;
    if number.is_nan() { Err(token.fail("a number, not NaN")) } else { Ok(number) }
}

pub(super) fn not_negative(token: Token<'_>) -> Lexed<f64> {
    let number = float(token)?;
    if number >= 0.0 { Ok(number) } else { Err(token.fail("a number that is not negative or NaN")) }
}

/// A count: a whole number, in whatever notation.
#[inline]
pub(super) fn whole(token: Token<'_>) -> Lexed<Number> {
    match parse_count(token.text) {
        Some(count @ Number::Int(_)) => Ok(count),
        Some(count @ Number::Float(float)) if float >= 0.0 && float.fract() == 0.0 => Ok(count),
        _ => Err(token.fail("a whole number that is not negative")),
    }
}

/// Adding zero makes -0 the same bound as 0. Infinity may be spelled in only one way.
#[inline]
pub(super) fn bound(token: Token<'_>) -> Lexed<f64> {
    match parse_float(token.text) {
        Some(bound) if bound.is_finite() || matches!(token.text, "+Inf" | "-Inf") => {
            Ok(bound + 0.0)
        }
        _ => Err(token.fail("a number as bucket bound (infinity is spelled +Inf)")),
    }
}

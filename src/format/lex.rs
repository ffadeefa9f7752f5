//! The scanner shared by the text formats: lines, tokens, names, quoted strings.
//!
//! It works on one line at a time and borrows everything from the body. It only allocates for errors,
//! and for names and values with escapes that have to be undone. A position is a byte offset into the
//! body; line and column are counted only when an error is reported.
//!
//! ```text
//! name   = [a-zA-Z_:] { [a-zA-Z0-9_:] }            label names: without the colon
//! string = '"' { byte but '"', "\" and LF | "\" escape } '"'
//! ```
//!
//! [`list`] combines these into samples.

mod list;
mod swar;

use std::borrow::Cow;
use std::fmt;

use super::{ParseError, Place};
use crate::model::exposition::BuildError;
use crate::model::labels;
use crate::model::name::METRIC_NAME;

pub(super) use list::{Head, Key, LabelList, Repeat};
use swar::{name_end, quote_or_backslash};

/// Where the two families of text formats differ in this grammar.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Dialect {
    /// Allows blanks around tokens and a comma after the last label. Only `\\`, `\"` and `\n` are
    /// escapes.
    Text,
    /// Allows no blanks and no last comma. A backslash that escapes nothing, as in `\z`, stays.
    OpenMetrics,
}

/// An error and its offset in the body. Boxed, to keep results on the hot path small.
#[derive(Debug)]
pub(super) struct Flaw(Box<(usize, String)>);

pub(super) type Lexed<T> = Result<T, Flaw>;

impl Flaw {
    #[cold]
    pub(super) fn new(offset: usize, message: impl Into<String>) -> Flaw {
        Flaw(Box::new((offset, message.into())))
    }

    #[cold]
    pub(super) fn build(offset: usize, error: &BuildError) -> Flaw {
        Flaw::new(offset, super::clip(error.to_string()))
    }

    /// Appends `more` to the message.
    #[cold]
    pub(super) fn and(mut self, more: &str) -> Flaw {
        self.0.1 += more;
        self
    }

    pub(super) fn locate(self, body: &str) -> ParseError {
        let (offset, message) = *self.0;
        ParseError { place: place(body.as_bytes(), offset), message }
    }
}

/// Adds the position to an error of a [`Builder`](crate::model::Builder).
pub(super) trait At<T> {
    fn at(self, offset: usize) -> Lexed<T>;
}

impl<T> At<T> for Result<T, BuildError> {
    #[inline]
    fn at(self, offset: usize) -> Lexed<T> {
        self.map_err(|error| Flaw::build(offset, &error))
    }
}

/// For samples with a timestamp, if timestamps are refused (formats G0).
pub(super) const TIMESTAMP_REFUSED: &str =
    "samples with a timestamp are refused, since a sum has none: push without timestamps";

/// The same where pushes replace: the body is well-formed, so this counts as a failed push.
pub(super) const TIMESTAMP_IN_GROUP: &str =
    "pushed samples must not have timestamps: the scrape decides on the time";

/// Line and column of an offset, which may be the end of the body.
fn place(body: &[u8], offset: usize) -> Place {
    let before = body.get(..offset).unwrap_or(body);
    let start = memchr::memrchr(b'\n', before).map_or(0, |at| at + 1);
    let line = memchr::memchr_iter(b'\n', before).count() + 1;
    Place::Line { line, column: before.len() - start + 1 }
}

/// The body as text.
///
/// # Errors
/// At the first byte that is not UTF-8, wherever it is (formats G6).
pub(super) fn utf8(body: &[u8]) -> Result<&str, ParseError> {
    std::str::from_utf8(body).map_err(|error| {
        let at = error.valid_up_to();
        let byte = body.get(at).copied().unwrap_or_default();
        let message = format!("byte 0x{byte:02x} is not valid UTF-8: send the body in UTF-8");
        ParseError { place: place(body, at), message }
    })
}

/// Shows a piece of the body in an error message: quoted, escaped and shortened.
#[derive(Debug)]
pub(super) struct Excerpt<'a>(pub(super) &'a str);

impl fmt::Display for Excerpt<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const BYTES_MAX: usize = 40;
        match self.0.len() <= BYTES_MAX {
            true => write!(f, "{:?}", self.0),
            false => write!(f, "{:?}…", super::head(self.0, BYTES_MAX)),
        }
    }
}

/// A line of the body without its line feed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Line<'a> {
    pub(super) text: &'a str,
    /// Offset in the body.
    pub(super) start: usize,
    /// A line feed follows.
    pub(super) ended: bool,
}

/// Splits on line feeds only: CR, U+2028 and the like are data.
#[derive(Debug)]
pub(super) struct Lines<'a> {
    rest: &'a str,
    start: usize,
}

impl<'a> Lines<'a> {
    pub(super) fn new(body: &'a str) -> Lines<'a> {
        Lines { rest: body, start: 0 }
    }
}

impl<'a> Iterator for Lines<'a> {
    type Item = Line<'a>;

    #[inline]
    fn next(&mut self) -> Option<Line<'a>> {
        let start = self.start;
        if let Some(end) = memchr::memchr(b'\n', self.rest.as_bytes()) {
            let text = &self.rest[..end];
            self.rest = &self.rest[end + 1..];
            self.start += end + 1;
            return Some(Line { text, start, ended: true });
        }
        let text = std::mem::take(&mut self.rest);
        self.start += text.len();
        (!text.is_empty()).then_some(Line { text, start, ended: false })
    }
}

/// The text between two quotes, still escaped.
#[derive(Clone, Copy, Debug)]
struct Quoted<'a> {
    text: &'a str,
    escapes: Escapes,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Escapes {
    None,
    /// Only `\\`, `\"` and `\n`: the text is canonical as it is.
    Canonical,
    /// There are also backslashes that escape nothing.
    Odd,
}

impl<'a> Quoted<'a> {
    fn unescaped(self) -> Cow<'a, str> {
        match self.escapes {
            Escapes::None => Cow::Borrowed(self.text),
            Escapes::Canonical | Escapes::Odd => labels::unescape(self.text),
        }
    }
}

/// A token and its offset in the body.
#[derive(Clone, Copy, Debug)]
pub(super) struct Token<'a> {
    pub(super) text: &'a str,
    pub(super) offset: usize,
}

impl Token<'_> {
    /// `expected` says what it should have been.
    #[cold]
    pub(super) fn fail(&self, expected: &str) -> Flaw {
        Flaw::new(self.offset, format!("found {}, expected {expected}", Excerpt(self.text)))
    }
}

/// The text of a HELP line of the text format, unescaped.
///
/// # Errors
/// For escapes other than `\\`, `\n` and `\"`.
pub(super) fn help<'a>(text: Token<'a>) -> Lexed<Cow<'a, str>> {
    let bytes = text.text.as_bytes();
    let mut from = 0;
    while let Some(found) = bytes.get(from..).and_then(|rest| memchr::memchr(b'\\', rest)) {
        let at = from + found;
        if !matches!(bytes.get(at + 1), Some(b'\\' | b'n' | b'"')) {
            return Err(Flaw::new(text.offset + at, UNKNOWN_ESCAPE));
        }
        from = at + 2;
    }
    Ok(if from == 0 { Cow::Borrowed(text.text) } else { labels::unescape(text.text) })
}

const UNKNOWN_ESCAPE: &str =
    r#"unknown escape: only \\, \" and \n are known (write \\ for a backslash)"#;

/// A position in a line.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cursor<'a> {
    line: &'a str,
    start: usize,
    at: usize,
}

impl<'a> Cursor<'a> {
    #[inline(always)]
    pub(super) fn new(line: &Line<'a>) -> Cursor<'a> {
        Cursor { line: line.text, start: line.start, at: 0 }
    }

    #[inline(always)]
    pub(super) fn offset(&self) -> usize {
        self.start + self.at
    }

    #[inline(always)]
    pub(super) fn peek(&self) -> Option<u8> {
        self.line.as_bytes().get(self.at).copied()
    }

    #[inline(always)]
    pub(super) fn at_end(&self) -> bool {
        self.at >= self.line.len()
    }

    /// Skips this byte if it is next; ASCII only.
    #[inline(always)]
    pub(super) fn eat(&mut self, byte: u8) -> bool {
        let found = self.peek() == Some(byte);
        self.at += usize::from(found);
        found
    }

    /// The same for several bytes.
    pub(super) fn eat_all(&mut self, text: &str) -> bool {
        let found = self.line.as_bytes()[self.at..].starts_with(text.as_bytes());
        self.at += if found { text.len() } else { 0 };
        found
    }

    #[inline(always)]
    pub(super) fn skip_blanks(&mut self) {
        while let Some(b' ' | b'\t') = self.peek() {
            self.at += 1;
        }
    }

    pub(super) fn rest(&self) -> Token<'a> {
        Token { text: &self.line[self.at..], offset: self.offset() }
    }

    /// Everything up to the next blank; may be empty.
    #[inline(always)]
    pub(super) fn token(&mut self) -> Token<'a> {
        let offset = self.offset();
        let bytes = self.line.as_bytes();
        let mut end = self.at;
        while let Some(&byte) = bytes.get(end)
            && !matches!(byte, b' ' | b'\t')
        {
            end += 1;
        }
        let text = &self.line[self.at..end];
        self.at = end;
        Token { text, offset }
    }

    /// Bytes of a class, the first of which is not a digit; may be empty.
    #[inline(always)]
    pub(super) fn name(&mut self, class: u8) -> &'a str {
        let from = self.at;
        if self.peek().is_some_and(|byte| byte.is_ascii_digit()) {
            return "";
        }
        self.name_rest(from, class)
    }

    #[inline(always)]
    fn name_rest(&mut self, from: usize, class: u8) -> &'a str {
        self.at = name_end(self.line.as_bytes(), self.at, class);
        &self.line[from..self.at]
    }

    /// A metric name which is likely to be, or to begin with, `likely`: a name that [`Cursor::name`]
    /// has read, or nothing. May be empty.
    #[inline]
    pub(super) fn metric_name(&mut self, likely: &str) -> &'a str {
        let from = self.at;
        if likely.is_empty() || !self.eat_all(likely) {
            return self.name(METRIC_NAME);
        }
        self.name_rest(from, METRIC_NAME)
    }

    /// A metric name in a metadata line: bare (then it may be empty) or quoted. A bare one becomes
    /// `likely`, for the samples that follow.
    pub(super) fn metadata_name(
        &mut self,
        dialect: Dialect,
        likely: &mut &'a str,
    ) -> Lexed<Cow<'a, str>> {
        let offset = self.offset();
        if !self.eat(b'"') {
            *likely = self.metric_name(likely);
            return Ok(Cow::Borrowed(likely));
        }
        let name = self.quoted(dialect)?.unescaped();
        if name.is_empty() { Err(Flaw::new(offset, "the metric name is empty")) } else { Ok(name) }
    }

    /// The rest of a string whose opening quote has been read.
    #[inline(always)]
    fn quoted(&mut self, dialect: Dialect) -> Lexed<Quoted<'a>> {
        let from = self.at;
        match quote_or_backslash(self.line.as_bytes(), from) {
            Some((at, b'"')) => {
                self.at = at + 1;
                Ok(Quoted { text: &self.line[from..at], escapes: Escapes::None })
            }
            _ => self.quoted_with_escapes(dialect),
        }
    }

    #[cold]
    fn quoted_with_escapes(&mut self, dialect: Dialect) -> Lexed<Quoted<'a>> {
        let from = self.at;
        let mut escapes = Escapes::None;
        loop {
            match quote_or_backslash(self.line.as_bytes(), self.at) {
                None => return Err(self.unclosed(from)),
                Some((at, b'"')) => {
                    self.at = at + 1;
                    return Ok(Quoted { text: &self.line[from..at], escapes });
                }
                Some((at, _)) => {
                    self.at = at;
                    escapes = self.escape(escapes, dialect)?;
                    self.at += 2;
                }
            }
        }
    }

    /// The class of escapes so far, including that at the cursor.
    fn escape(&self, before: Escapes, dialect: Dialect) -> Lexed<Escapes> {
        match (self.line.as_bytes().get(self.at + 1), dialect) {
            (Some(b'\\' | b'"' | b'n'), _) => Ok(before.max(Escapes::Canonical)),
            (Some(_), Dialect::OpenMetrics) => Ok(Escapes::Odd),
            (Some(_), Dialect::Text) => Err(Flaw::new(self.offset(), UNKNOWN_ESCAPE)),
            (None, _) => Err(self.unclosed(self.at)),
        }
    }

    #[cold]
    fn unclosed(&self, from: usize) -> Flaw {
        Flaw::new(
            self.start + from,
            r"the closing quote is missing on this line (a line feed in a string is written \n)",
        )
    }

    /// What is at the cursor, for an error.
    #[cold]
    pub(super) fn found(&self) -> String {
        let mut here = *self;
        match self.peek() {
            None => "the end of the line".to_owned(),
            Some(b' ' | b'\t') => "a blank".to_owned(),
            Some(_) => Excerpt(here.token().text).to_string(),
        }
    }

    /// An error at the cursor: `expected` says what should have been there.
    #[cold]
    pub(super) fn expected(&self, expected: &str) -> Flaw {
        Flaw::new(self.offset(), format!("found {}, expected {expected}", self.found()))
    }
}

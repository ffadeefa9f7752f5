//! Converts bytes to the model and back; no I/O.

pub mod compress;
pub mod encode;
pub mod escaping;
mod lex;
pub mod negotiate;
pub mod number;
pub mod openmetrics;
pub mod protobuf;
#[cfg(test)]
mod testing;
pub mod text;
pub mod write_number;

use crate::model::exposition::BuildError;

/// What to do with a sample that carries a timestamp. A sum has no sample time, so it is either refused
/// or ignored (formats G0). A malformed timestamp is always an error.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Timestamps {
    #[default]
    Reject,
    Ignore,
}

/// Why a body cannot be read, and where (400).
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{place}: {message}")]
pub struct ParseError {
    pub place: Place,
    pub message: String,
}

/// Where in a body something is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// Both start at 1; the column counts bytes.
    Line { line: usize, column: usize },
    /// Path in a protobuf message, such as `family 2 ("x"), metric 0, histogram`.
    Message(String),
    /// Not in one place: found only after the whole body was read.
    Body,
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Place::Line { line, column } => write!(f, "line {line}, column {column}"),
            Place::Message(path) => f.write_str(path),
            Place::Body => f.write_str("body"),
        }
    }
}

impl From<BuildError> for ParseError {
    fn from(error: BuildError) -> ParseError {
        ParseError { place: Place::Body, message: clip(error.to_string()) }
    }
}

/// Cuts the middle out of a message that quotes a lot of the body.
fn clip(message: String) -> String {
    const HEAD: usize = 70;
    const TAIL: usize = 40;
    if message.len() <= HEAD + TAIL {
        return message;
    }
    let tail = message.len() - TAIL;
    let tail = (tail..).find(|&at| message.is_char_boundary(at)).unwrap_or(message.len());
    format!("{}…{}", head(&message, HEAD), &message[tail..])
}

/// At most `bytes` bytes of a text, up to a character boundary.
fn head(text: &str, bytes: usize) -> &str {
    let end = (0..=bytes.min(text.len())).rev().find(|&at| text.is_char_boundary(at));
    &text[..end.unwrap_or(0)]
}

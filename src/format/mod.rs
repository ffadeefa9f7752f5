//! Bytes to and from the model; no I/O.

pub mod compress;
pub mod encode;
pub mod escaping;
pub mod negotiate;
pub mod protobuf;
pub mod write_number;

use crate::model::exposition::BuildError;

/// Why a body cannot be read, and where (400).
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{place}: {message}")]
pub struct ParseError {
    pub place: Place,
    pub message: String,
}

/// What to do with timestamps on samples (formats G0).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Timestamps {
    /// Refuse the body: a sum has no sample time.
    #[default]
    Reject,
    /// Read the value and forget the time.
    Ignore,
}

/// Where in a body something is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// Both from 1; the column counts bytes.
    Line { line: usize, column: usize },
    /// Path in a protobuf message, such as `family 2 ("x"), metric 0, histogram`.
    Message(String),
    /// Known only when the whole body had been read.
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
        ParseError { place: Place::Body, message: error.to_string() }
    }
}

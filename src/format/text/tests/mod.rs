//! One row for each rule of formats 3 and 4, named after it.

mod families;
mod quoted;
mod robust;
mod syntax;

use super::{TextOptions, parse};
use crate::format::{ParseError, Timestamps, testing};

const STRICT: TextOptions = TextOptions {
    lenient_line_ends: false,
    blank_means_timestamp: false,
    timestamps: Timestamps::Reject,
};
const LENIENT: TextOptions = TextOptions { lenient_line_ends: true, ..STRICT };

fn strict(body: &[u8]) -> Result<String, ParseError> {
    testing::read(body, |body, builder| parse(body, builder, STRICT))
}

fn lenient(body: &[u8]) -> Result<String, ParseError> {
    testing::read(body, |body, builder| parse(body, builder, LENIENT))
}

/// Rows are accepted in both settings, as for most rules.
#[track_caller]
fn accepted(rows: &[(&str, &str, &str)]) {
    testing::accepted(rows, strict);
    testing::accepted(rows, lenient);
}

#[track_caller]
fn refused(rows: &[(&str, &str, &str)]) {
    testing::refused(rows, strict);
    testing::refused(rows, lenient);
}

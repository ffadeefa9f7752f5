//! One row for each rule of formats 5, named after it.

mod exemplars;
mod families;
mod metrics;
mod robust;
mod syntax;

use super::{OpenMetricsOptions, has_eof, parse};
use crate::format::{ParseError, Timestamps, testing};

fn read_with(body: &[u8], options: OpenMetricsOptions) -> Result<String, ParseError> {
    testing::read(body, |body, builder| parse(body, builder, options))
}

fn lenient(body: &[u8]) -> Result<String, ParseError> {
    read_with(body, OpenMetricsOptions::default())
}

fn strict(body: &[u8]) -> Result<String, ParseError> {
    read_with(body, OpenMetricsOptions { require_eof: true, ..OpenMetricsOptions::default() })
}

/// Rows are accepted with `# EOF` in both settings, and without it in the lenient one.
#[track_caller]
fn accepted(rows: &[(&str, &str, &str)]) {
    for (rule, body, expected) in rows {
        let complete = format!("{body}# EOF\n");
        testing::accepted(&[(rule, &complete, expected)], strict);
        testing::accepted(&[(rule, &complete, expected)], lenient);
        testing::accepted(&[(rule, body, expected)], lenient);
    }
}

#[track_caller]
fn refused(rows: &[(&str, &str, &str)]) {
    for (rule, body, expected) in rows {
        let complete = format!("{body}# EOF\n");
        testing::refused(&[(rule, &complete, expected)], strict);
        testing::refused(&[(rule, &complete, expected)], lenient);
        testing::refused(&[(rule, body, expected)], lenient);
    }
}

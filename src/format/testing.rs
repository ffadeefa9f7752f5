//! Helpers for tests of the readers: expositions and errors as short text, and edited bodies.

use proptest::prelude::*;
use std::fmt::Write;

use super::ParseError;
use crate::model::exposition::{PushedSeries, PushedValue};
use crate::model::{Builder, Exposition, Grouping};

/// One line per family that has series: `name kind [help] [unit]`, then its series.
pub(crate) fn dump(exposition: &Exposition) -> String {
    let mut out = String::new();
    for family in exposition.families().filter(|family| family.series > 0) {
        let implied = if family.typed { "" } else { "?" };
        write!(out, "{} {}{implied}", family.name, family.kind).unwrap();
        if let Some(help) = family.help {
            write!(out, " help={help:?}").unwrap();
        }
        if let Some(unit) = family.unit {
            write!(out, " unit={unit:?}").unwrap();
        }
        for series in exposition.series().filter(|series| series.family == family.id) {
            dump_series(&mut out, &series);
        }
        out.push('\n');
    }
    out.pop();
    out
}

fn dump_series(out: &mut String, series: &PushedSeries<'_>) {
    write!(out, " {{{}}}", series.labels).unwrap();
    let (count, sum) = match series.value {
        PushedValue::Scalar(value) => {
            write!(out, " {value}").unwrap();
            (None, None)
        }
        PushedValue::Histogram { count, sum, buckets, .. } => {
            for bucket in buckets.iter() {
                let count = bucket.cumulative_count.as_f64();
                write!(out, " {}:{count}", bucket.upper_bound).unwrap();
                if let Some(exemplar) = &bucket.exemplar {
                    write!(out, "#{{{}}} {}", exemplar.labels, exemplar.value).unwrap();
                    if let Some(ms) = exemplar.timestamp_ms {
                        write!(out, "@{ms}").unwrap();
                    }
                }
            }
            (count, sum)
        }
        PushedValue::Summary { count, sum, quantiles } => {
            for quantile in quantiles.iter() {
                write!(out, " q{}:{}", quantile.quantile, quantile.value).unwrap();
            }
            (count, sum)
        }
        PushedValue::StateSet(states) => {
            for state in states.iter() {
                write!(out, " {}:{}", state.name, u8::from(state.on)).unwrap();
            }
            (None, None)
        }
    };
    if let Some(count) = count {
        write!(out, " count={}", count.as_f64()).unwrap();
    }
    if let Some(sum) = sum {
        write!(out, " sum={sum}").unwrap();
    }
    for exemplar in series.exemplars.iter() {
        write!(out, " #{{{}}} {}", exemplar.labels, exemplar.value).unwrap();
        if let Some(ms) = exemplar.timestamp_ms {
            write!(out, "@{ms}").unwrap();
        }
    }
    if let Some(ms) = series.created_ms {
        write!(out, " created={ms}").unwrap();
    }
}

/// The result of reading a body: the dump, or the error.
pub(crate) fn read(
    body: &[u8],
    parse: impl FnOnce(&[u8], Builder<'_>) -> Result<(), ParseError>,
) -> Result<String, ParseError> {
    let mut exposition = Exposition::default();
    let grouping = Grouping::default();
    parse(body, exposition.build(&grouping))?;
    Ok(dump(&exposition))
}

/// Rows of (rule, body, dump).
#[track_caller]
pub(crate) fn accepted(
    rows: &[(&str, &str, &str)],
    read: impl Fn(&[u8]) -> Result<String, ParseError>,
) {
    for (rule, body, expected) in rows {
        match read(body.as_bytes()) {
            Ok(seen) => assert_eq!(&seen, expected, "{rule}: {body:?}"),
            Err(error) => panic!("{rule}: {body:?} refused: {error}"),
        }
    }
}

/// Rows of (rule, body, error); the error need only begin with the text of the row.
#[track_caller]
pub(crate) fn refused(
    rows: &[(&str, &str, &str)],
    read: impl Fn(&[u8]) -> Result<String, ParseError>,
) {
    for (rule, body, expected) in rows {
        match read(body.as_bytes()) {
            Ok(seen) => panic!("{rule}: {body:?} accepted: {seen}"),
            Err(error) => {
                let error = error.to_string();
                assert!(error.starts_with(expected), "{rule}: {body:?}\n{error}\n{expected}");
            }
        }
    }
}

/// A position in a body, the kind of edit, and a byte for it.
pub(crate) type Edit = (prop::sample::Index, u8, u8);

pub(crate) fn edits(how_many: std::ops::Range<usize>) -> impl Strategy<Value = Vec<Edit>> {
    prop::collection::vec((any::<prop::sample::Index>(), 0..5_u8, any::<u8>()), how_many)
}

/// Changes a body as a broken client or connection might.
pub(crate) fn edit(body: &mut Vec<u8>, edits: Vec<Edit>) {
    for (at, edit, byte) in edits {
        if body.is_empty() {
            break;
        }
        let at = at.index(body.len());
        match edit {
            0 => body[at] = byte,
            1 => body[at] = body[at].wrapping_add(1),
            2 => body.insert(at, byte),
            3 => _ = body.remove(at),
            _ => body.truncate(at),
        }
    }
}

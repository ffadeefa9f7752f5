//! Expositions and errors as short text, for the tables of the reader tests.

use std::fmt::Write;

use super::ParseError;
use crate::model::exposition::{PushedSeries, PushedValue};
use crate::model::{Builder, Exposition, Grouping};

/// One line a family with series: `name kind [help] [unit]`, then its series.
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

/// What a reader makes of a body: the dump, or the error.
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

/// Rows of (rule, body, error), the error cut where the row's text ends.
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

//! Imports what an old Pushgateway has in its `--persistence.file`, or shows while it runs
//! (pushgateway-contract 17): groups, families of all types, push times.

pub mod gob;
mod running;

use std::sync::Arc;

use crate::format::{ParseError, Timestamps, protobuf};
use crate::groups::{Family, Groups, ImportedGroup, PUSH_FAILURE_TIME, PUSH_TIME, Stamp, Value};
use crate::model::exposition::{Names, SeriesHasher};
use crate::model::{Exposition, Grouping};
use gob::GobError;
pub use running::{Listing, import_running};

/// What was imported, and what was not.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Imported {
    pub groups: usize,
    pub families: usize,
    /// What was not imported and why, one line each.
    pub left_out: Vec<String>,
}

/// Why nothing was imported.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ImportError {
    #[error("it is not a persistence file of a Pushgateway: {0}")]
    Gob(#[from] GobError),
    #[error("it is not a persistence file of a Pushgateway from 0.10 on: {0}")]
    Shape(&'static str),
    #[error("it does not list its groups as a Pushgateway does: {0}")]
    Listing(String),
    #[error("it does not show its metrics in the protobuf format: {0}")]
    Exposition(#[from] ParseError),
}

/// Imports a persistence file into `groups`.
///
/// # Errors
/// If it is not such a file. Then nothing was imported.
pub fn import(file: &[u8], groups: &Groups) -> Result<Imported, ImportError> {
    let value = gob::read(file)?;
    let entries = value.entries().ok_or(ImportError::Shape("it holds no map"))?;
    let mut imported = Imported::default();
    let mut read = Vec::new();
    for (_, group) in entries {
        read.extend(read_group(group, groups.hasher(), &mut imported)?);
    }
    imported.put(read, groups);
    Ok(imported)
}

impl Imported {
    fn put(&mut self, read: Vec<ImportedGroup>, groups: &Groups) {
        for group in read {
            self.groups += 1;
            self.families += group.families.len();
            for (family, reason) in groups.import(group) {
                self.families -= 1;
                self.left_out.push(format!("{family}: {reason}"));
            }
        }
    }
}

fn read_group(
    group: &gob::Value<'_>,
    hasher: &SeriesHasher,
    imported: &mut Imported,
) -> Result<Option<ImportedGroup>, ImportError> {
    let mut pairs = Vec::new();
    if let Some(labels) = group.field("Labels") {
        let labels = labels.entries().ok_or(ImportError::Shape("labels are no map"))?;
        for (name, value) in labels {
            let pair = name.text().zip(value.text());
            pairs.push(pair.ok_or(ImportError::Shape("a label is not UTF-8"))?);
        }
    }
    let grouping = match Grouping::of_group(pairs.iter().copied()) {
        Ok(grouping) => grouping,
        Err(error) => {
            imported.left_out.push(format!("group {pairs:?}: {error}"));
            return Ok(None);
        }
    };
    let mut of = ImportedGroup {
        grouping,
        families: Vec::new(),
        pushed: Stamp::default(),
        failed: Stamp::default(),
    };
    let none = [];
    let metrics = match group.field("Metrics") {
        Some(metrics) => metrics.entries().ok_or(ImportError::Shape("metrics are no map"))?,
        None => &none,
    };
    for (name, metric) in metrics {
        let name = name.text().ok_or(ImportError::Shape("a name is not UTF-8"))?;
        let stamp = metric.field("Timestamp").and_then(gob::Value::bytes).and_then(go_time);
        let pushed_ns = stamp.ok_or(ImportError::Shape("a time stamp cannot be read"))?;
        let family = metric.field("GobbableMetricFamily").and_then(gob::Value::bytes);
        let family = family.ok_or(ImportError::Shape("a family is missing"))?;
        match read_family(family, &of.grouping, hasher, pushed_ns) {
            Ok(family) => match name {
                PUSH_TIME => of.pushed = stamp_of(&family),
                PUSH_FAILURE_TIME => of.failed = stamp_of(&family),
                _ => of.families.push(family),
            },
            Err(reason) => imported.left_out.push(format!("{name}: {reason}")),
        }
    }
    of.families.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(Some(of))
}

fn read_family(
    message: &[u8],
    grouping: &Grouping,
    hasher: &SeriesHasher,
    pushed_ns: i64,
) -> Result<Arc<Family>, String> {
    let mut exposition = Exposition::new(hasher.clone());
    let builder = exposition.build_replacing(grouping, Names::Utf8);
    let stream = protobuf::delimited(message);
    protobuf::parse_trusted(&stream, builder, Timestamps::Reject)
        .map_err(|error| error.to_string())?;
    if let Some(complaint) = exposition.complaints().first() {
        return Err(complaint.clone());
    }
    let families = crate::groups::families(&exposition, true, pushed_ns);
    families.into_iter().next().ok_or_else(|| "there is no family".to_owned())
}

/// The time that is the value of a bookkeeping family.
fn stamp_of(family: &Family) -> Stamp {
    let seconds = match family.series.first().map(|series| &series.value) {
        Some(Value::Scalar(seconds)) => *seconds,
        _ => 0.0,
    };
    stamp(seconds, family.pushed_ns)
}

fn stamp(seconds: f64, noted_ns: i64) -> Stamp {
    Stamp { at_ns: (seconds * 1e9) as i64, noted_ns }
}

/// Reads Go's binary time: version, seconds since the year 1, nanoseconds, minutes of the time zone. In
/// nanoseconds since the Unix epoch.
fn go_time(bytes: &[u8]) -> Option<i64> {
    const EPOCH_S: i64 = 62_135_596_800;
    let (version, rest) = bytes.split_first()?;
    let (seconds, rest) = rest.split_first_chunk::<8>()?;
    let (nanos, zone) = rest.split_first_chunk::<4>()?;
    let known = matches!((version, zone.len()), (1, 2) | (2, 3));
    let seconds = i64::from_be_bytes(*seconds).checked_sub(EPOCH_S)?;
    let ns = seconds.checked_mul(1_000_000_000)?.checked_add(i32::from_be_bytes(*nanos).into())?;
    known.then_some(ns)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_of_go() {
        let time = |version: u8, zone: &[u8]| {
            let seconds = (62_135_596_800_i64 + 1).to_be_bytes();
            let nanos = 500_000_000_i32.to_be_bytes();
            go_time(&[&[version][..], &seconds, &nanos, zone].concat())
        };
        assert_eq!(time(1, &[0xff, 0xff]), Some(1_500_000_000));
        assert_eq!(time(2, &[0, 0, 1]), Some(1_500_000_000));
        assert_eq!(time(3, &[0, 0]), None);
        assert_eq!(time(1, &[0]), None);
        assert_eq!(go_time(&[1, 2]), None);
    }

    #[test]
    fn what_is_no_persistence_file_takes_nothing_over() {
        let groups = Groups::new(SeriesHasher::default(), [], false);
        for file in [&b""[..], b"# TYPE x gauge\nx 1\n", &[0x03, 0x04, 0x00, 0x02]] {
            assert!(import(file, &groups).is_err());
        }
        assert_eq!(groups.size().groups, 0);
    }
}

//! Groups as records, to be kept across restarts.
//!
//! ```text
//! key  \xff               version 1, four times i64: pushed at, noted; failed at, noted
//! key  \xff  family       version 1, i64 pushed, kind, help, unit, then messages of the family
//! ```
//!
//! Numbers are little endian, texts follow a 32-bit length, and messages are in the delimited protobuf
//! format. No key or name contains the byte 0xff. A push only writes the families that it replaces, not
//! the whole group.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::family::{Family, Series, families};
use super::{Group, Groups, Stamp, State};
use crate::format::encode::{Encoder, Options, Plan};
use crate::format::escaping::Escaping;
use crate::format::negotiate::Format;
use crate::format::{Timestamps, protobuf};
use crate::model::exposition::{Names, SeriesHasher};
use crate::model::{Exposition, FamilyHead, Grouping, Kind, labels};
use crate::persistence::{Batch, Table};

const VERSION: u8 = 1;
const SEPARATOR: u8 = 0xff;

/// The families of each group that have changed since the last look, by name.
#[derive(Debug, Default)]
pub(super) struct Changed {
    groups: BTreeMap<Arc<str>, BTreeSet<Arc<str>>>,
}

impl Changed {
    pub(super) fn note<'f>(&mut self, key: &str, of: impl IntoIterator<Item = &'f Arc<Family>>) {
        let names = of.into_iter().map(|family| family.name.clone());
        match self.groups.get_mut(key) {
            Some(known) => known.extend(names),
            None => _ = self.groups.insert(key.into(), names.collect()),
        }
    }

    pub(super) fn groups(&self) -> usize {
        self.groups.len()
    }
}

impl Groups {
    /// Moves what has changed since the last call into the batch.
    pub fn collect(&self, batch: &mut Batch) {
        let mut state = self.state.lock();
        let changed = std::mem::take(&mut state.changed);
        for (key, names) in changed.groups {
            let group = state.groups.get(&key);
            match group {
                Some(group) => batch.put(Table::Groups, &head_key(&key), &head(group)),
                None => batch.delete(Table::Groups, &head_key(&key)),
            }
            for name in names {
                match group.and_then(|group| group.family(&name)) {
                    Some(family) => {
                        batch.put(Table::Groups, &family_key(&key, &name), &family_value(family));
                    }
                    None => batch.delete(Table::Groups, &family_key(&key, &name)),
                }
            }
        }
    }

    /// How many groups wait to be collected.
    pub fn changed(&self) -> usize {
        self.state.lock().changed.groups()
    }

    /// Restores one record at the start. Records may come in any order.
    ///
    /// # Errors
    /// If it is damaged, or of a later version.
    pub fn restore(&self, key: &[u8], value: &[u8]) -> Result<(), String> {
        let at = key.iter().position(|&byte| byte == SEPARATOR).ok_or("a key without separator")?;
        let text = |bytes| std::str::from_utf8(bytes).map_err(|_| "a key that is not UTF-8");
        let (key, name) = (text(&key[..at])?, text(&key[at + 1..])?);
        let grouping = Grouping::of_group(labels::pairs(key)).map_err(|error| error.to_string())?;
        if grouping.key() != key {
            return Err(format!("a group with an odd key: {key:?}"));
        }
        let mut state = self.state.lock();
        let mut group = match state.groups.get(key) {
            Some(group) => Group::clone(group),
            None => Group::new(grouping, 0),
        };
        let mut fields = Fields(value);
        match fields.byte()? {
            VERSION => {}
            version => return Err(format!("version {version} of a group record is not known")),
        }
        if name.is_empty() {
            let mut stamp =
                || Ok::<_, String>(Stamp { at_ns: fields.i64()?, noted_ns: fields.i64()? });
            (group.pushed, group.failed) = (stamp()?, stamp()?);
        } else {
            let family = Arc::new(read_family(name, &group.grouping, &self.hasher, fields)?);
            state.restore_family(key, &mut group, family)?;
        }
        state.put(group);
        Ok(())
    }
}

impl State {
    fn restore_family(
        &mut self,
        key: &str,
        group: &mut Group,
        family: Arc<Family>,
    ) -> Result<(), String> {
        let taken =
            family.series.iter().find(|series| self.owners.owner(&family, series).is_some());
        if let Some(series) = taken {
            return Err(format!("series {}{{{}}} is stored twice", family.name, series.labels));
        }
        self.exchange(key, &[], std::slice::from_ref(&family));
        super::merge(&mut group.families, vec![family]);
        Ok(())
    }
}

fn head_key(key: &str) -> Vec<u8> {
    family_key(key, "")
}

fn family_key(key: &str, name: &str) -> Vec<u8> {
    [key.as_bytes(), &[SEPARATOR], name.as_bytes()].concat()
}

fn head(group: &Group) -> Vec<u8> {
    let mut out = vec![VERSION];
    for stamp in [group.pushed, group.failed] {
        out.extend_from_slice(&stamp.at_ns.to_le_bytes());
        out.extend_from_slice(&stamp.noted_ns.to_le_bytes());
    }
    out
}

fn family_value(family: &Family) -> Vec<u8> {
    let mut out = vec![VERSION];
    out.extend_from_slice(&family.pushed_ns.to_le_bytes());
    out.push(family.kind as u8);
    for text in [&family.help, &family.unit] {
        let length = u32::try_from(text.len()).expect("a push is below 2 GiB");
        out.extend_from_slice(&length.to_le_bytes());
        out.extend_from_slice(text.as_bytes());
    }
    messages(&mut out, family);
    out
}

/// Appends a family in the delimited protobuf format: nothing for a family without series, several
/// messages for a very large one.
fn messages(out: &mut Vec<u8>, family: &Family) {
    let options = Options {
        format: Format::ProtobufDelimited,
        escaping: Escaping::AllowUtf8,
        ..Options::default()
    };
    let head = FamilyHead {
        name: &family.name,
        kind: family.kind,
        help: &family.help,
        unit: &family.unit,
    };
    let plan = Plan::new(options, [head]);
    let Some(planned) = plan.get(0) else { return };
    let mut encoder = Encoder::new(options);
    encoder.begin_family(planned);
    for series in &family.series {
        let labels = series.labels.as_bytes();
        encoder.series(out, labels, &series.reading(family.kind), series.created_ms);
    }
    encoder.end_family(out);
    encoder.finish(out);
}

fn read_family(
    name: &str,
    grouping: &Grouping,
    hasher: &SeriesHasher,
    mut fields: Fields<'_>,
) -> Result<Family, String> {
    let pushed_ns = fields.i64()?;
    let kind = fields.byte()?;
    let kind =
        *Kind::ALL.get(usize::from(kind)).ok_or_else(|| format!("kind {kind} is not known"))?;
    let (help, unit) = (fields.text()?.into(), fields.text()?.into());
    let mut series: Vec<Series> = Vec::new();
    let mut exposition = Exposition::new(hasher.clone());
    while let Some(message) = fields.message()? {
        let builder = exposition.build_replacing(grouping, Names::Utf8);
        protobuf::parse_trusted(message, builder, Timestamps::Reject)
            .map_err(|error| error.to_string())?;
        if let Some(complaint) = exposition.complaints().first() {
            return Err(complaint.clone());
        }
        for family in families(&exposition, true, pushed_ns) {
            if *family.name != *name || family.kind != kind {
                return Err(format!("{name:?} holds another family"));
            }
            series.extend_from_slice(&family.series);
        }
    }
    Ok(Family { name: name.into(), kind, help, unit, pushed_ns, series: series.into() })
}

/// The rest of a record.
struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    fn take(&mut self, bytes: usize) -> Result<&'a [u8], String> {
        let (taken, rest) = self.0.split_at_checked(bytes).ok_or("a group record is cut short")?;
        self.0 = rest;
        Ok(taken)
    }

    fn byte(&mut self) -> Result<u8, String> {
        Ok(self.take(1)?[0])
    }

    fn i64(&mut self) -> Result<i64, String> {
        let bytes = self.take(8)?.try_into().map_err(|_| "8 bytes")?;
        Ok(i64::from_le_bytes(bytes))
    }

    fn text(&mut self) -> Result<&'a str, String> {
        let bytes = self.take(4)?.try_into().map_err(|_| "4 bytes")?;
        let text = self.take(u32::from_le_bytes(bytes) as usize)?;
        std::str::from_utf8(text).map_err(|_| "a text in a group record is not UTF-8".to_owned())
    }

    /// The next message with its length.
    fn message(&mut self) -> Result<Option<&'a [u8]>, String> {
        if self.0.is_empty() {
            return Ok(None);
        }
        let length =
            protobuf::delimited_len(self.0).ok_or("a message in a group record is cut short")?;
        self.take(length).map(Some)
    }
}

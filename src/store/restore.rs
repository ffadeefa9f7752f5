//! Loads at start what [`changed`](super::changed) has written.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use parking_lot::MutexGuard;

use super::changed::{FAMILY_VERSION, SERIES_VERSION};
use super::family::{Family, Metadata};
use super::group::Group;
use super::series::{Birth, SeriesRef};
use super::{Store, Structure};
use crate::merge::State;
use crate::model::Kind;
use crate::model::packed::{Malformed, Unpacker};
use crate::persistence::{Record, Table};

/// A store that is being filled. Records may come in any order.
#[derive(Debug)]
pub struct Restore<'s> {
    store: &'s Store,
    structure: MutexGuard<'s, Structure>,
    families: HashMap<Box<str>, Known>,
    /// The family of the last series: records of one family often come together.
    last: Option<Arc<Family>>,
    /// Its group, for the same reason.
    last_group: Option<Group>,
}

#[derive(Debug)]
struct Known {
    family: Arc<Family>,
    /// The record of the family itself has come.
    told: bool,
}

impl Store {
    /// Begins to fill a store that is still empty.
    pub fn restore(&self) -> Restore<'_> {
        Restore {
            store: self,
            structure: self.structure.lock(),
            families: HashMap::new(),
            last: None,
            last_group: None,
        }
    }
}

impl Restore<'_> {
    /// Makes room for so many series in all.
    pub fn expect(&mut self, series: usize) {
        self.store.series.expect(series);
    }

    /// Loads one record of [`Table::Families`] or [`Table::Series`].
    ///
    /// # Errors
    /// If neither this version nor an older one can have written it.
    pub fn record(&mut self, record: Record<'_>) -> Result<(), String> {
        let Record { table, key, value, state } = record;
        let done = match (table, state) {
            (Table::Families, None) => {
                utf8(key).and_then(|name| self.family(name, Unpacker(value)))
            }
            (Table::Series, state) => {
                self.series(Unpacker(key), Unpacker(value), state.map(Unpacker))
            }
            _ => Err(Malformed("a record of another table")),
        };
        done.map_err(|error| format!("{table:?} {:?}: {error}", String::from_utf8_lossy(key)))
    }

    /// Checks the whole.
    ///
    /// # Errors
    /// If families and series do not go together, because records are missing.
    pub fn finish(self) -> Result<(), String> {
        for Known { family, told } in self.families.values() {
            let (name, kind) = (family.name(), family.kind());
            if !told {
                return Err(format!("family {name} has series and no record of its own"));
            }
            if family.is_empty() {
                return Err(format!("family {name} has a record and no series"));
            }
            let fits = |series: &SeriesRef| series.with_state(|state| state.is_of(kind));
            // Without sorting: a list is sorted when it is first read.
            if let Some(series) = family.index.find(|series| !fits(series)) {
                let labels = series.labels();
                return Err(format!(
                    "the state of series {name}{{{labels}}} is not that of a {kind}"
                ));
            }
        }
        Ok(())
    }

    fn family(&mut self, name: &str, mut from: Unpacker<'_>) -> Result<(), Malformed> {
        if from.u8()? != FAMILY_VERSION {
            return Err(NEWER);
        }
        let kind = Kind::ALL.get(usize::from(from.u8()?)).copied();
        let kind = kind.ok_or(Malformed("an unknown type"))?;
        let irregular = from.u8()? != 0;
        let (help, unit) = (from.text()?.into(), from.text()?.into());
        from.end()?;
        let known = self.known(name);
        known.told = true;
        known.family.refine(kind);
        known.family.change_metadata(|metadata| *metadata = Metadata { help, unit });
        if irregular {
            known.family.note_irregular();
        }
        Ok(())
    }

    /// The family of this name. If a series of it comes first, its type is set later.
    fn known(&mut self, name: &str) -> &mut Known {
        let hash = self.store.hasher.family(name);
        let family = || Arc::new(Family::new(name, hash, Kind::Untyped));
        self.families.entry(name.into()).or_insert_with(|| Known { family: family(), told: false })
    }

    fn series(
        &mut self,
        mut key: Unpacker<'_>,
        mut from: Unpacker<'_>,
        state: Option<Unpacker<'_>>,
    ) -> Result<(), Malformed> {
        let (name, labels) = (key.text()?, utf8(key.0)?);
        let family = match &self.last {
            Some(last) if last.name() == name => last.clone(),
            _ => {
                let family = self.known(name).family.clone();
                self.last.insert(family).clone()
            }
        };
        let version = from.u8()?;
        let created_ms = from.i64()?;
        let (group, touched_s, ttl_s, mut from) = match (version, state) {
            (1, None) => {
                let (touched_s, ttl_s) = (from.u32()?, from.u32()?);
                (from.text()?, touched_s, ttl_s, from)
            }
            (SERIES_VERSION, Some(mut state)) => {
                let group = from.text()?;
                from.end()?;
                (group, state.u32()?, state.u32()?, state)
            }
            (1 | SERIES_VERSION, _) => {
                return Err(Malformed("a state where none belongs, or none"));
            }
            _ => return Err(NEWER),
        };
        let state = State::unpack(&mut from, &mut |bounds| family.layout(bounds))?;
        from.end()?;

        let store = self.store;
        let group = match &self.last_group {
            Some(last) if last.as_str() == group => last.clone(),
            _ => self.last_group.insert(self.structure.groups.key(group)).clone(),
        };
        let hash = store.hasher.series(store.hasher.family(name), labels);
        let series = SeriesRef::new(Birth { family, group, labels, created_ms, state });
        series.touch(touched_s, ttl_s);
        if version == SERIES_VERSION {
            series.mark_stored();
        }
        if ttl_s > 0 {
            store.mortal.store(true, Relaxed);
        }
        store.link(labels, hash, series, &mut self.structure);
        Ok(())
    }
}

fn utf8(bytes: &[u8]) -> Result<&str, Malformed> {
    std::str::from_utf8(bytes).map_err(|_| Malformed("a key is not UTF-8"))
}

const NEWER: Malformed = Malformed("a record of a newer version");

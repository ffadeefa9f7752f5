//! What a push is checked against: names across all groups, and which group has which series.

use std::collections::HashMap;
use std::sync::Arc;

use foldhash::quality::RandomState;
use hashbrown::HashTable;

use super::family::{Family, Series};
use crate::model::Kind;

/// The names of families that have series, with their types.
#[derive(Debug, Default)]
pub(super) struct Names(HashMap<Arc<str>, Name, RandomState>);

#[derive(Clone, Copy, Debug)]
pub(super) struct Name {
    pub(super) kind: Kind,
    /// How many groups have it; at least one.
    pub(super) groups: usize,
}

impl Names {
    pub(super) fn get(&self, name: &str) -> Option<Name> {
        self.0.get(name).copied()
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    pub(super) fn enter(&mut self, family: &Family) {
        if family.series.is_empty() {
            return;
        }
        match self.0.get_mut(&family.name) {
            Some(name) => name.groups += 1,
            None => {
                let name = Name { kind: family.kind, groups: 1 };
                self.0.insert(family.name.clone(), name);
            }
        }
    }

    pub(super) fn leave(&mut self, family: &Family) {
        if family.series.is_empty() {
            return;
        }
        if let Some(name) = self.0.get_mut(&family.name) {
            name.groups -= 1;
            if name.groups == 0 {
                self.0.remove(&family.name);
            }
        }
    }
}

/// Which group has a series. Found by hash, confirmed by comparing the text.
#[derive(Debug, Default)]
pub(super) struct Owners {
    table: HashTable<Owned>,
    /// Counts claims.
    round: u64,
}

#[derive(Debug)]
struct Owned {
    hash: u64,
    name: Arc<str>,
    labels: Arc<str>,
    key: Arc<str>,
    /// The round of claims in which it was last claimed.
    round: u64,
}

impl Owners {
    pub(super) fn len(&self) -> usize {
        self.table.len()
    }

    /// The key of the group that has this series.
    pub(super) fn owner(&self, family: &Family, series: &Series) -> Option<&Arc<str>> {
        let found = self.table.find(series.hash, |owned| owned.is(&family.name, series));
        found.map(|owned| &owned.key)
    }

    /// The group has these series from now on. No other group may have them.
    pub(super) fn claim(&mut self, key: &str, families: &[Arc<Family>]) {
        self.round += 1;
        let round = self.round;
        let mut shared: Option<Arc<str>> = None;
        for family in families {
            for series in &family.series {
                let same = |owned: &Owned| owned.is(&family.name, series);
                if let Some(owned) = self.table.find_mut(series.hash, same) {
                    owned.round = round;
                    shared.get_or_insert_with(|| owned.key.clone());
                    continue;
                }
                let key = shared.get_or_insert_with(|| key.into()).clone();
                let (name, labels) = (family.name.clone(), series.labels.clone());
                let owned = Owned { hash: series.hash, name, labels, key, round };
                self.table.insert_unique(series.hash, owned, |owned| owned.hash);
            }
        }
    }

    /// Forgets the series of `gone`, except those that the last claim named again.
    pub(super) fn release(&mut self, key: &str, gone: &[Arc<Family>]) {
        for family in gone {
            for series in &family.series {
                let stale = |owned: &Owned| {
                    owned.round != self.round
                        && &*owned.key == key
                        && owned.is(&family.name, series)
                };
                if let Ok(found) = self.table.find_entry(series.hash, stale) {
                    found.remove();
                }
            }
        }
    }
}

impl Owned {
    fn is(&self, name: &str, series: &Series) -> bool {
        *self.labels == *series.labels && &*self.name == name
    }
}

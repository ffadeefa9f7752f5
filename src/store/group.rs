//! Grouping keys, and the series that were born under them.

use std::cmp::Ordering;
use std::collections::BTreeSet;
use std::fmt;
use std::hash::BuildHasher;

use foldhash::quality::RandomState;
use hashbrown::HashTable;
use triomphe::ThinArc;

use super::series::SeriesRef;

/// A grouping key in canonical label text, shared by all series of the group. One pointer.
#[derive(Clone)]
pub(super) struct Group(ThinArc<(), u8>);

impl Group {
    fn new(key: &str) -> Group {
        Group(ThinArc::from_header_and_slice((), key.as_bytes()))
    }

    pub(super) fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0.slice).expect("made from a str")
    }

    pub(super) fn as_bytes(&self) -> &[u8] {
        &self.0.slice
    }

    fn is(&self, key: &[u8]) -> bool {
        self.0.slice == *key
    }
}

impl fmt::Debug for Group {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}

/// When a table grows, only the groups of one part are moved, so no push waits long for it.
const PARTS: usize = 64;

/// All groups that have series.
#[derive(Debug)]
pub(super) struct Groups {
    parts: [HashTable<(Group, Members)>; PARTS],
    hasher: RandomState,
}

impl Default for Groups {
    fn default() -> Groups {
        let parts = std::array::from_fn(|_| HashTable::new());
        Groups { parts, hasher: RandomState::default() }
    }
}

/// Uses bits of the hash that the tables do not.
fn part(hash: u64) -> usize {
    (hash >> 32) as usize % PARTS
}

impl Groups {
    /// The grouping key, shared with the other series of the group.
    pub(super) fn key(&self, key: &str) -> Group {
        self.find(key.as_bytes()).map_or_else(|| Group::new(key), |(group, _)| group.clone())
    }

    pub(super) fn members(&self, key: &str) -> Vec<SeriesRef> {
        self.find(key.as_bytes()).map_or_else(Vec::new, |(_, members)| members.to_vec())
    }

    fn find(&self, key: &[u8]) -> Option<&(Group, Members)> {
        let hash = self.hasher.hash_one(key);
        self.parts[part(hash)].find(hash, |(group, _)| group.is(key))
    }

    pub(super) fn add(&mut self, series: SeriesRef) {
        let Groups { parts, hasher } = self;
        let hash_of = |group: &Group| hasher.hash_one(&group.0.slice);
        let group = series.group.clone();
        let hash = hash_of(&group);
        parts[part(hash)]
            .entry(hash, |(other, _)| other.is(&group.0.slice), |(group, _)| hash_of(group))
            .or_insert_with(|| (group.clone(), Members::Few(Vec::new())))
            .into_mut()
            .1
            .add(series);
    }

    /// A group goes with its last series.
    pub(super) fn remove(&mut self, series: &SeriesRef) {
        let key = &series.group.0.slice;
        let is_it = |(group, _): &(Group, Members)| group.is(key);
        let hash = self.hasher.hash_one(key);
        let Groups { parts, hasher } = self;
        let part = &mut parts[part(hash)];
        let Ok(mut group) = part.find_entry(hash, is_it) else { return };
        let (_, members) = group.get_mut();
        members.remove(series);
        if members.is_empty() {
            group.remove();
            if part.len() < part.capacity() / 8 {
                let len = part.len();
                part.shrink_to(len * 2, |(group, _)| hasher.hash_one(&group.0.slice));
            }
        }
    }

    #[cfg(test)]
    pub(super) fn iter(&self) -> impl Iterator<Item = (&Group, Vec<SeriesRef>)> {
        self.parts.iter().flatten().map(|(group, members)| (group, members.to_vec()))
    }

    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.parts.iter().all(HashTable::is_empty)
    }
}

/// Up to this many are searched one by one.
const FEW: usize = 64;

/// Most groups are small, and there are many of them.
#[derive(Debug)]
enum Members {
    Few(Vec<SeriesRef>),
    Many(BTreeSet<ByAddress>),
}

impl Members {
    fn add(&mut self, series: SeriesRef) {
        match self {
            Members::Few(few) if few.len() < FEW => {
                if few.len() == few.capacity() {
                    // The series of a push come one after the other, and then none for a long time.
                    few.reserve_exact(few.len() / 4 + 1);
                }
                few.push(series);
            }
            Members::Few(few) => {
                let all = std::mem::take(few).into_iter().chain([series]);
                *self = Members::Many(all.map(ByAddress).collect());
            }
            Members::Many(many) => _ = many.insert(ByAddress(series)),
        }
    }

    fn remove(&mut self, series: &SeriesRef) {
        match self {
            Members::Few(few) => {
                if let Some(at) = few.iter().position(|other| other.address() == series.address()) {
                    few.swap_remove(at);
                    if few.len() < few.capacity() / 4 {
                        few.shrink_to_fit();
                    }
                }
            }
            Members::Many(many) => _ = many.remove(&ByAddress(series.clone())),
        }
    }

    fn is_empty(&self) -> bool {
        match self {
            Members::Few(few) => few.is_empty(),
            Members::Many(many) => many.is_empty(),
        }
    }

    fn to_vec(&self) -> Vec<SeriesRef> {
        match self {
            Members::Few(few) => few.clone(),
            Members::Many(many) => many.iter().map(|ByAddress(series)| series.clone()).collect(),
        }
    }
}

/// Ordered by address, so that a search touches no other series.
#[derive(Debug)]
struct ByAddress(SeriesRef);

impl Ord for ByAddress {
    fn cmp(&self, other: &ByAddress) -> Ordering {
        self.0.address().cmp(&other.0.address())
    }
}

impl PartialOrd for ByAddress {
    fn partial_cmp(&self, other: &ByAddress) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for ByAddress {
    fn eq(&self, other: &ByAddress) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for ByAddress {}

//! Where the valid version of each record is: in which segment, and how long it is.
//!
//! Records are known by 96 bits of a hash that is seeded per process, so nobody can choose keys
//! that collide; by chance, among a hundred million records, two do with a probability of 10^-13.
//! An entry takes 16 bytes.

use std::hash::{BuildHasher, RandomState};

use hashbrown::HashTable;
use hashbrown::hash_table::Entry as Slot;
use xxhash_rust::xxh3::xxh3_128_with_seed;

use crate::persistence::Table;

/// Sizes are kept in units of so many bytes.
const UNIT: usize = 8;
/// The table grows in parts, so that growing does not double it.
const PARTS: usize = 16;
/// As many as a place can tell apart.
const SEGMENTS: usize = 1 << 16;

/// Stands for a table and a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Id {
    high: u64,
    low: u32,
}

/// The place of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    /// The lowest bits of its number; never are there so many segments that these are not clear.
    segment: u16,
    units: u16,
}

impl Place {
    pub(super) fn new(segment: u64, bytes: usize) -> Place {
        let units = u16::try_from(bytes.div_ceil(UNIT)).unwrap_or(u16::MAX);
        Place { segment: segment as u16, units }
    }

    pub(super) fn is_in(self, segment: u64) -> bool {
        self.segment == segment as u16
    }

    fn bytes(self) -> u64 {
        u64::from(self.units) * UNIT as u64
    }
}

#[derive(Debug)]
struct Entry {
    high: u64,
    low: u32,
    place: Place,
}

impl Entry {
    fn is(&self, id: Id) -> bool {
        self.high == id.high && self.low == id.low
    }
}

#[derive(Debug)]
pub(super) struct Index {
    seed: u64,
    parts: [HashTable<Entry>; PARTS],
    /// Records by segment.
    live: Vec<u32>,
    records: usize,
    bytes: u64,
}

impl Default for Index {
    fn default() -> Index {
        let seed = RandomState::new().hash_one(0);
        let parts = std::array::from_fn(|_| HashTable::new());
        Index { seed, parts, live: vec![0; SEGMENTS], records: 0, bytes: 0 }
    }
}

impl Index {
    pub(super) fn id(&self, table: Table, key: &[u8]) -> Id {
        // The seeds of the tables differ in bits that the hash mixes into everything.
        let hash = xxh3_128_with_seed(key, self.seed ^ (table as u64) << 56);
        Id { high: (hash >> 64) as u64, low: hash as u32 }
    }

    pub(super) fn get(&self, id: Id) -> Option<Place> {
        let entry = self.parts[part(id)].find(id.high, |entry| entry.is(id));
        entry.map(|entry| entry.place)
    }

    /// Makes room for so many records in all.
    pub(super) fn expect(&mut self, records: usize) {
        // The parts are not quite of one size.
        let each = records / PARTS + records / PARTS / 32;
        self.parts.iter_mut().for_each(|part| part.reserve(each, |entry| entry.high));
    }

    /// Sets the place of a record that is not there yet; false if it is.
    pub(super) fn add(&mut self, id: Id, place: Place) -> bool {
        let part = &mut self.parts[part(id)];
        let slot = part.entry(id.high, |entry| entry.is(id), |entry| entry.high);
        let Slot::Vacant(slot) = slot else { return false };
        slot.insert(Entry { high: id.high, low: id.low, place });
        self.count(place);
        true
    }

    /// Sets the place of a record, `None` if it is nowhere any more; where it was before.
    pub(super) fn set(&mut self, id: Id, place: Option<Place>) -> Option<Place> {
        let part = &mut self.parts[part(id)];
        let slot = part.entry(id.high, |entry| entry.is(id), |entry| entry.high);
        let before = match (slot, place) {
            (Slot::Occupied(mut slot), Some(place)) => {
                Some(std::mem::replace(&mut slot.get_mut().place, place))
            }
            (Slot::Occupied(slot), None) => Some(slot.remove().0.place),
            (Slot::Vacant(slot), Some(place)) => {
                slot.insert(Entry { high: id.high, low: id.low, place });
                None
            }
            (Slot::Vacant(_), None) => None,
        };
        if let Some(before) = before {
            self.live[usize::from(before.segment)] -= 1;
            self.bytes -= before.bytes();
            self.records -= 1;
        }
        if let Some(place) = place {
            self.count(place);
        }
        before
    }

    fn count(&mut self, place: Place) {
        self.live[usize::from(place.segment)] += 1;
        self.bytes += place.bytes();
        self.records += 1;
    }

    /// Records whose valid version is in this segment.
    pub(super) fn live_in(&self, segment: u64) -> u32 {
        self.live[usize::from(segment as u16)]
    }

    /// Records.
    pub(super) fn len(&self) -> usize {
        self.records
    }

    /// All of them together.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }
}

fn part(id: Id) -> usize {
    id.low as usize % PARTS
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn books_are_kept() {
        let mut index = Index::default();
        let ids: Vec<Id> =
            (0..1_000).map(|n: u32| index.id(Table::Series, &n.to_le_bytes())).collect();
        for &id in &ids {
            index.set(id, Some(Place::new(65_537, 100)));
        }
        assert_eq!((index.len(), index.bytes()), (1_000, 104_000));
        assert!(ids.iter().all(|&id| index.get(id).is_some_and(|place| place.is_in(65_537))));
        let before = index.set(ids[0], Some(Place::new(65_538, 1)));
        assert_eq!(before, Some(Place::new(65_537, 100)));
        assert_eq!(index.set(ids[1], None), before);
        assert_eq!(index.set(ids[1], None), None);
        assert_eq!((index.len(), index.bytes()), (999, 104_000 - 208 + 8));
        assert_eq!((index.live_in(65_537), index.live_in(65_538), index.live_in(3)), (998, 1, 0));
        assert_eq!(index.get(ids[1]), None);
        assert!(index.get(ids[0]).is_some_and(|place| !place.is_in(65_537)));
        assert_eq!(size_of::<Entry>(), 16);
    }

    #[test]
    fn equal_keys_of_two_tables_are_two_records() {
        let index = Index::default();
        assert_ne!(index.id(Table::Series, b"key"), index.id(Table::Groups, b"key"));
        assert_eq!(index.id(Table::Series, b"key"), index.id(Table::Series, b"key"));
    }
}

//! Where the valid version of each record is: in which segment, and how long it is.
//!
//! Records are known by 96 bits of a hash that is seeded per process, so nobody can choose keys
//! that collide; by chance, among a hundred million records, two do with a probability of 10^-13.
//!
//! An entry takes 16 bytes. The table is one of open addressing, and our own because it grows by a
//! quarter: one that doubles is half empty at some numbers of records, and there would take twice the
//! memory. It grows in parts, so that what is copied at a time is small.

use std::hash::{BuildHasher, RandomState};

use xxhash_rust::xxh3::xxh3_128_with_seed;

use crate::persistence::Table;

/// Sizes are kept in units of so many bytes.
const UNIT: usize = 8;
const PARTS: usize = 16;
/// Of so many slots of a part ...
const SLOTS_OF: usize = 8;
/// ... so many are used at the most.
const SLOTS_USED: usize = 7;
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
    /// Of a record with its head, which has some length.
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

/// A slot; it is free where the place is that of nothing.
#[derive(Clone, Copy, Debug)]
struct Entry {
    high: u64,
    low: u32,
    place: Place,
}

const FREE: Entry = Entry { high: 0, low: 0, place: Place { segment: 0, units: 0 } };

impl Entry {
    fn is(&self, id: Id) -> bool {
        self.high == id.high && self.low == id.low
    }

    fn is_free(&self) -> bool {
        self.place.units == 0
    }
}

/// Slots in a ring. An entry stands in the slot that its hash names, or in the next one that was free.
#[derive(Debug, Default)]
struct Part {
    slots: Vec<Entry>,
    used: usize,
}

impl Part {
    /// The slot that a hash names: slots are in the order of hashes, nearly.
    fn home(&self, high: u64) -> usize {
        ((u128::from(high) * self.slots.len() as u128) >> 64) as usize
    }

    fn after(&self, at: usize) -> usize {
        if at + 1 == self.slots.len() { 0 } else { at + 1 }
    }

    /// The slot of this record, or the one where it would go; there is a free one.
    fn find(&self, id: Id) -> usize {
        let mut at = self.home(id.high);
        while !self.slots[at].is_free() && !self.slots[at].is(id) {
            at = self.after(at);
        }
        at
    }

    fn get(&self, id: Id) -> Option<Place> {
        if self.used == 0 {
            return None;
        }
        let found = self.slots[self.find(id)];
        (!found.is_free()).then_some(found.place)
    }

    /// Room for so many records in all.
    fn reserve(&mut self, records: usize) {
        let least = records * SLOTS_OF / SLOTS_USED + 1;
        if least > self.slots.len() {
            let before = std::mem::replace(&mut self.slots, vec![FREE; least]);
            for entry in before.into_iter().filter(|entry| !entry.is_free()) {
                let at = self.find(Id { high: entry.high, low: entry.low });
                self.slots[at] = entry;
            }
        }
    }

    /// The slot of this record, which may be free, with room for it.
    fn slot(&mut self, id: Id) -> &mut Entry {
        if (self.used + 1) * SLOTS_OF > self.slots.len() * SLOTS_USED {
            self.reserve(64.max(self.used + self.used / 4));
        }
        let at = self.find(id);
        &mut self.slots[at]
    }

    /// Where the record was before.
    fn set(&mut self, id: Id, place: Place) -> Option<Place> {
        let slot = self.slot(id);
        let before = (!slot.is_free()).then_some(slot.place);
        *slot = Entry { high: id.high, low: id.low, place };
        self.used += usize::from(before.is_none());
        before
    }

    fn remove(&mut self, id: Id) -> Option<Place> {
        let before = self.get(id)?;
        self.used -= 1;
        let mut hole = self.find(id);
        let mut at = hole;
        // Whoever would not be found any more behind a free slot moves into it.
        loop {
            at = self.after(at);
            let entry = self.slots[at];
            if entry.is_free() {
                break;
            }
            let from = |slot: usize| (at + self.slots.len() - slot) % self.slots.len();
            if from(self.home(entry.high)) >= from(hole) {
                self.slots[hole] = entry;
                hole = at;
            }
        }
        self.slots[hole] = FREE;
        Some(before)
    }
}

#[derive(Debug)]
pub(super) struct Index {
    seed: u64,
    parts: [Part; PARTS],
    /// Records by segment.
    live: Vec<u32>,
    records: usize,
    bytes: u64,
}

impl Default for Index {
    fn default() -> Index {
        let seed = RandomState::new().hash_one(0);
        let parts = std::array::from_fn(|_| Part::default());
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
        self.parts[part(id)].get(id)
    }

    /// Makes room for so many records in all.
    pub(super) fn expect(&mut self, records: usize) {
        // The parts are not quite of one size.
        let each = records / PARTS + records / PARTS / 32;
        self.parts.iter_mut().for_each(|part| part.reserve(each));
    }

    /// Sets the place of a record that is not there yet; false if it is.
    pub(super) fn add(&mut self, id: Id, place: Place) -> bool {
        let new = self.get(id).is_none();
        if new {
            self.set(id, Some(place));
        }
        new
    }

    /// Sets the place of a record, `None` if it is nowhere any more; where it was before.
    pub(super) fn set(&mut self, id: Id, place: Option<Place>) -> Option<Place> {
        let part = &mut self.parts[part(id)];
        let before = match place {
            Some(place) => part.set(id, place),
            None => part.remove(id),
        };
        if let Some(before) = before {
            self.live[usize::from(before.segment)] -= 1;
            self.bytes -= before.bytes();
            self.records -= 1;
        }
        if let Some(place) = place {
            self.live[usize::from(place.segment)] += 1;
            self.bytes += place.bytes();
            self.records += 1;
        }
        before
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
    use std::collections::HashMap;

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

    /// Against a map that is known to be right.
    #[test]
    fn whatever_is_set_and_removed_is_found() {
        let mut index = Index::default();
        let mut known = HashMap::new();
        let mut random = 1_u64;
        let mut next = |below: u64| {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (random >> 33) % below
        };
        for round in 0..60_000 {
            // It grows, stays, and shrinks.
            let removed = next(4) < [1, 2, 3][round / 20_000];
            let key = next(4_000);
            // Few bits, so that many want the same slot.
            let id = Id { high: (key % 61) << 58 | key, low: (key / 61 % 16) as u32 };
            let place = (!removed).then(|| Place::new(next(3), 1 + next(100) as usize));
            let before = match place {
                Some(place) => known.insert(key, place),
                None => known.remove(&key),
            };
            assert_eq!(index.set(id, place), before, "round {round}");
            assert_eq!(index.get(id), place, "round {round}");
            assert_eq!(index.len(), known.len());
        }
        assert!(known.len() > 100);
        for key in 0..4_000 {
            let id = Id { high: (key % 61) << 58 | key, low: (key / 61 % 16) as u32 };
            assert_eq!(index.get(id), known.get(&key).copied(), "{key}");
        }
        let segments: u32 = (0..3).map(|segment| index.live_in(segment)).sum();
        assert_eq!(segments as usize, known.len());
    }

    /// Also where a table that doubles has just doubled.
    #[test]
    fn it_takes_little_memory_at_any_number_of_records() {
        let mut index = Index::default();
        for n in 0_u32..300_000 {
            let id = index.id(Table::Series, &n.to_le_bytes());
            index.set(id, Some(Place::new(1, 100)));
            if n > 50_000 && n % 1_000 == 0 {
                let slots = index.parts.iter().map(|part| part.slots.len()).sum::<usize>();
                assert!(slots * 10 < n as usize * 15, "{slots} slots for {n} records");
            }
        }
    }

    #[test]
    fn equal_keys_of_two_tables_are_two_records() {
        let index = Index::default();
        assert_ne!(index.id(Table::Series, b"key"), index.id(Table::Groups, b"key"));
        assert_eq!(index.id(Table::Series, b"key"), index.id(Table::Series, b"key"));
    }
}

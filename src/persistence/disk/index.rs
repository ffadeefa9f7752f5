//! Where the valid version of each part of each record is: in which segment, and how long it is.
//!
//! Records are identified by 96 bits of a hash that is seeded per store, so nobody can choose keys that
//! collide. By chance, two of a hundred million records collide with a probability of 10^-13.
//!
//! An entry takes 20 bytes. The table uses open addressing. It is our own because it grows by a quarter:
//! one that doubles is half empty at times, and would take twice the memory then. It consists of parts
//! that grow one by one, so that little is copied at a time.

use std::collections::{HashMap, HashSet};
use std::num::NonZeroU16;

use foldhash::fast::RandomState;
use xxhash_rust::xxh3::xxh3_128_with_seed;

use crate::persistence::Table;

/// Sizes are in units of this many bytes. ...
const UNIT: usize = 4;
/// ... Large sizes are approximate: the lowest bits are a number, and the others say how often to
/// double it.
const ROUGH_BITS: u32 = 12;
const PARTS: usize = 16;
/// Out of this many slots of a part ...
const SLOTS_OF: usize = 8;
/// ... at most this many are used.
const SLOTS_USED: usize = 7;
/// As many as a place can distinguish.
const SEGMENTS: usize = 1 << 16;

/// Identifies a table and a key in one store.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Id([u32; 3]);

pub(super) type IdMap<T> = HashMap<Id, T, RandomState>;
pub(super) type IdSet = HashSet<Id, RandomState>;

impl Id {
    pub(super) const BYTES: usize = 12;

    /// `store` is the number of the store.
    pub(super) fn new(store: u64, table: Table, key: &[u8]) -> Id {
        // The seeds of the tables differ in bits that the hash mixes into everything.
        let hash = xxh3_128_with_seed(key, store ^ (table as u64) << 56);
        Id([(hash >> 96) as u32, (hash >> 64) as u32, hash as u32])
    }

    pub(super) fn bytes(self) -> [u8; Id::BYTES] {
        let mut bytes = [0; Id::BYTES];
        for (at, word) in self.0.into_iter().enumerate() {
            bytes[at * 4..][..4].copy_from_slice(&word.to_le_bytes());
        }
        bytes
    }

    pub(super) fn read(bytes: [u8; Id::BYTES]) -> Id {
        let [a, b, c, d, e, f, g, h, i, j, k, l] = bytes;
        Id([[a, b, c, d], [e, f, g, h], [i, j, k, l]].map(u32::from_le_bytes))
    }

    /// Determines its slot within its part.
    fn high(self) -> u64 {
        u64::from(self.0[0]) << 32 | u64::from(self.0[1])
    }

    fn part(self) -> usize {
        self.0[2] as usize % PARTS
    }
}

/// The place of one part of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    /// The lowest bits of its number. There are never so many segments that this would be ambiguous.
    segment: u16,
    size: NonZeroU16,
}

impl Place {
    /// The place of a part that takes this many bytes of a frame.
    pub(super) fn new(segment: u64, bytes: usize) -> Place {
        let (mut units, mut doubled) = (bytes.div_ceil(UNIT), 0);
        while units >> ROUGH_BITS > 0 {
            units = units.div_ceil(2);
            doubled += 1;
        }
        let size = u16::try_from(doubled << ROUGH_BITS | units).unwrap_or(u16::MAX);
        Place { segment: segment as u16, size: NonZeroU16::new(size).unwrap_or(NonZeroU16::MIN) }
    }

    pub(super) fn is_in(self, segment: u64) -> bool {
        self.segment == segment as u16
    }

    fn bytes(self) -> u64 {
        let size = u64::from(self.size.get());
        let units = size & ((1 << ROUGH_BITS) - 1);
        (units << (size >> ROUGH_BITS)) * UNIT as u64
    }
}

/// The places of a record.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Places {
    /// The part with key and value.
    pub(super) record: Option<Place>,
    /// The part with the state, if it has one.
    pub(super) state: Option<Place>,
}

impl Places {
    /// The places of a record that does not exist.
    pub(super) const NOWHERE: Places = Places { record: None, state: None };

    fn each(self) -> impl Iterator<Item = Place> {
        [self.record, self.state].into_iter().flatten()
    }
}

/// A slot. It is free if the places are [`Places::NOWHERE`].
#[derive(Clone, Copy, Debug)]
struct Entry {
    id: Id,
    places: Places,
}

const FREE: Entry = Entry { id: Id([0; 3]), places: Places::NOWHERE };

impl Entry {
    fn is_free(&self) -> bool {
        self.places == Places::NOWHERE
    }
}

/// Slots in a ring. An entry is in the slot that its hash determines, or in the next one that was free.
#[derive(Debug, Default)]
struct Part {
    slots: Vec<Entry>,
    used: usize,
}

impl Part {
    /// The slot that the hash determines. So slots are nearly in the order of hashes.
    fn home(&self, id: Id) -> usize {
        ((u128::from(id.high()) * self.slots.len() as u128) >> 64) as usize
    }

    fn after(&self, at: usize) -> usize {
        if at + 1 == self.slots.len() { 0 } else { at + 1 }
    }

    /// The slot of this record, or the free one where it would go. There is always a free one.
    fn find(&self, id: Id) -> usize {
        let mut at = self.home(id);
        while !self.slots[at].is_free() && self.slots[at].id != id {
            at = self.after(at);
        }
        at
    }

    fn get(&self, id: Id) -> Places {
        if self.used == 0 { Places::NOWHERE } else { self.slots[self.find(id)].places }
    }

    /// Makes room for this many records in total.
    fn reserve(&mut self, records: usize) {
        let least = records * SLOTS_OF / SLOTS_USED + 1;
        if least > self.slots.len() {
            let before = std::mem::replace(&mut self.slots, vec![FREE; least]);
            for entry in before.into_iter().filter(|entry| !entry.is_free()) {
                let at = self.find(entry.id);
                self.slots[at] = entry;
            }
        }
    }

    /// Returns where the record was before. `places` must not be nowhere.
    fn set(&mut self, id: Id, places: Places) -> Places {
        if (self.used + 1) * SLOTS_OF > self.slots.len() * SLOTS_USED {
            self.reserve(64.max(self.used + self.used / 4));
        }
        let at = self.find(id);
        let before = std::mem::replace(&mut self.slots[at], Entry { id, places });
        self.used += usize::from(before.is_free());
        before.places
    }

    fn remove(&mut self, id: Id) -> Places {
        let before = self.get(id);
        if before == Places::NOWHERE {
            return before;
        }
        self.used -= 1;
        let mut hole = self.find(id);
        let mut at = hole;
        // An entry that could no longer be found behind the free slot moves into it.
        loop {
            at = self.after(at);
            let entry = self.slots[at];
            if entry.is_free() {
                break;
            }
            let from = |slot: usize| (at + self.slots.len() - slot) % self.slots.len();
            if from(self.home(entry.id)) >= from(hole) {
                self.slots[hole] = entry;
                hole = at;
            }
        }
        self.slots[hole] = FREE;
        before
    }
}

#[derive(Debug)]
pub(super) struct Index {
    parts: [Part; PARTS],
    /// Valid parts of records by segment.
    live: Vec<u32>,
    records: usize,
    bytes: u64,
}

impl Default for Index {
    fn default() -> Index {
        let parts = std::array::from_fn(|_| Part::default());
        Index { parts, live: vec![0; SEGMENTS], records: 0, bytes: 0 }
    }
}

impl Index {
    pub(super) fn get(&self, id: Id) -> Places {
        self.parts[id.part()].get(id)
    }

    /// Fetches the entries of these records from memory, so that their cache misses overlap.
    pub(super) fn fetch(&self, ids: &[Id]) {
        let seen = ids.iter().fold(0, |seen, id| {
            let part = &self.parts[id.part()];
            seen ^ part.slots.get(part.home(*id)).map_or(0, |entry| entry.id.0[0])
        });
        std::hint::black_box(seen);
    }

    /// Makes room for this many records in total.
    pub(super) fn expect(&mut self, records: usize) {
        // The parts differ a little in size.
        let each = records / PARTS + records / PARTS / 32;
        self.parts.iter_mut().for_each(|part| part.reserve(each));
    }

    /// Sets the places of a record. Returns where it was before.
    pub(super) fn set(&mut self, id: Id, places: Places) -> Places {
        let part = &mut self.parts[id.part()];
        let before = match places {
            Places::NOWHERE => part.remove(id),
            places => part.set(id, places),
        };
        for place in before.each() {
            self.live[usize::from(place.segment)] -= 1;
            self.bytes -= place.bytes();
        }
        for place in places.each() {
            self.live[usize::from(place.segment)] += 1;
            self.bytes += place.bytes();
        }
        self.records -= usize::from(before != Places::NOWHERE);
        self.records += usize::from(places != Places::NOWHERE);
        before
    }

    /// How many parts of records have their valid version in this segment.
    pub(super) fn live_in(&self, segment: u64) -> u32 {
        self.live[usize::from(segment as u16)]
    }

    /// The number of records.
    pub(super) fn len(&self) -> usize {
        self.records
    }

    /// The size of all records.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    fn id(key: &[u8]) -> Id {
        Id::new(7, Table::Series, key)
    }

    fn at(segment: u64, bytes: usize) -> Places {
        Places { record: Some(Place::new(segment, bytes)), state: None }
    }

    #[test]
    fn books_are_kept() {
        let mut index = Index::default();
        let ids: Vec<Id> = (0..1_000).map(|n: u32| id(&n.to_le_bytes())).collect();
        for &id in &ids {
            index.set(id, at(65_537, 100));
        }
        assert_eq!((index.len(), index.bytes()), (1_000, 100_000));
        let is_there = |place: Option<Place>| place.is_some_and(|place| place.is_in(65_537));
        assert!(ids.iter().all(|&id| is_there(index.get(id).record)));
        let before = index.set(ids[0], at(65_538, 1));
        assert_eq!(before, at(65_537, 100));
        assert_eq!(index.set(ids[1], Places::NOWHERE), before);
        assert_eq!(index.set(ids[1], Places::NOWHERE), Places::NOWHERE);
        assert_eq!((index.len(), index.bytes()), (999, 100_000 - 200 + 4));
        assert_eq!((index.live_in(65_537), index.live_in(65_538), index.live_in(3)), (998, 1, 0));
        assert_eq!(index.get(ids[1]), Places::NOWHERE);
        assert!(!is_there(index.get(ids[0]).record));

        // Two parts of one record.
        let state = Some(Place::new(3, 10));
        index.set(ids[2], Places { state, ..at(65_537, 100) });
        assert_eq!((index.len(), index.bytes()), (999, 99_804 + 12));
        assert_eq!((index.live_in(65_537), index.live_in(3)), (998, 1));
        index.set(ids[2], Places { record: None, state });
        assert_eq!((index.len(), index.live_in(65_537), index.live_in(3)), (999, 997, 1));
        assert_eq!(size_of::<Entry>(), 20);
    }

    #[test]
    fn large_parts_are_counted_roughly_and_not_less() {
        for bytes in [1, 4, 16_380, 16_384, 262_144, 1_000_003, 64 << 20, 500 << 20] {
            let counted = Place::new(7, bytes).bytes() as usize;
            assert!((bytes..bytes + 4 + bytes / 1_000).contains(&counted), "{bytes} {counted}");
        }
        assert!(Place::new(7, usize::MAX >> 1).bytes() > 500 << 20);
    }

    /// Compares with a map of the standard library.
    #[test]
    fn whatever_is_set_and_removed_is_found() {
        let mut index = Index::default();
        let mut known: HashMap<u32, Places> = HashMap::new();
        let mut random = 1_u64;
        let mut next = |below: u64| {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (random >> 33) % below
        };
        // Few bits, so that many entries want the same slot.
        let id = |key: u32| Id([(key % 61) << 26, key, key / 61 % 16]);
        for round in 0..60_000 {
            // The index grows, stays the same, and shrinks.
            let removed = next(4) < [1, 2, 3][round / 20_000];
            let key = next(4_000) as u32;
            let mut place =
                |there: bool| there.then(|| Place::new(next(3), 1 + next(100) as usize));
            let places = match removed {
                true => Places::NOWHERE,
                false => Places { record: place(true), state: place(key.is_multiple_of(2)) },
            };
            let before = match removed {
                false => known.insert(key, places),
                true => known.remove(&key),
            };
            assert_eq!(index.set(id(key), places), before.unwrap_or_default(), "round {round}");
            assert_eq!(index.get(id(key)), places, "round {round}");
            assert_eq!(index.len(), known.len());
        }
        assert!(known.len() > 100);
        for key in 0..4_000 {
            assert_eq!(index.get(id(key)), known.get(&key).copied().unwrap_or_default(), "{key}");
        }
        let segments: u32 = (0..3).map(|segment| index.live_in(segment)).sum();
        assert_eq!(segments as usize, known.values().flat_map(|places| places.each()).count());
    }

    /// Even at sizes where a table that doubles has just doubled.
    #[test]
    fn it_takes_little_memory_at_any_number_of_records() {
        let mut index = Index::default();
        for n in 0_u32..300_000 {
            index.set(id(&n.to_le_bytes()), at(1, 100));
            if n > 50_000 && n % 1_000 == 0 {
                let slots = index.parts.iter().map(|part| part.slots.len()).sum::<usize>();
                assert!(slots * 10 < n as usize * 15, "{slots} slots for {n} records");
            }
        }
    }

    #[test]
    fn an_id_is_that_of_one_key_in_one_table_of_one_store() {
        let id = id(b"key");
        assert_eq!(id, Id::new(7, Table::Series, b"key"));
        assert_ne!(id, Id::new(7, Table::Groups, b"key"));
        assert_ne!(id, Id::new(8, Table::Series, b"key"));
        assert_eq!(Id::read(id.bytes()), id);
    }
}

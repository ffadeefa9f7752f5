//! A sharded hash table over precomputed hashes. The only file that touches DashMap's guards: none
//! ever leaves a method, so no caller can hold one across another call or an await.

use std::hash::{BuildHasherDefault, Hash, Hasher};

use dashmap::{DashMap, SharedValue};

use crate::model::exposition::SeriesHasher;

/// Cheap to clone. It can be hashed again, which is rare enough not to store the hash.
pub(super) trait Entry: Clone {
    fn hash(&self, hasher: &SeriesHasher) -> u64;
    fn same(&self, other: &Self) -> bool;
}

/// Growing rehashes one shard at a time. With many shards, no push waits long for that.
const SHARDS: usize = 128;

/// The shard of an entry. The last shard gets about twice as many entries as the first, with the others in
/// between: so they do not all double at the same moment, and at any time a good part of their capacity
/// is in use.
fn shard_of(hash: u64) -> usize {
    // Bits that the shards themselves do not look at, as a fraction x of 2^16. Roughly log2(1 + x).
    let x = (hash >> 32) as u16 as usize;
    let bend = (x * ((1 << 16) - x)) >> 16;
    (x + bend * 11 / 32) / ((1 << 16) / SHARDS)
}

#[derive(Debug)]
pub(super) struct Table<T: Entry> {
    slots: DashMap<Slot<T>, (), BuildHasherDefault<Unused>>,
    hasher: SeriesHasher,
}

impl<T: Entry> Table<T> {
    pub(super) fn new(hasher: SeriesHasher) -> Table<T> {
        let unused = BuildHasherDefault::default();
        Table { slots: DashMap::with_hasher_and_shard_amount(unused, SHARDS), hasher }
    }

    /// Makes room for so many entries in all.
    pub(super) fn expect(&self, entries: usize) {
        let mut shares = [0; SHARDS];
        (0..1 << 16).for_each(|x: u64| shares[shard_of(x << 32)] += 1);
        for (shard, share) in self.slots.shards().iter().zip(shares) {
            // A little more than the average, because chance spreads them unevenly.
            let each = (entries * share * 17 / 16) >> 16;
            shard.write().reserve(each, |(slot, _)| slot.0.hash(&self.hasher));
        }
    }

    pub(super) fn find(&self, hash: u64, is_it: impl Fn(&T) -> bool) -> Option<T> {
        let shard = self.slots.shards()[shard_of(hash)].read();
        shard.get(hash, |(slot, _)| is_it(&slot.0)).map(|(slot, _)| slot.0.clone())
    }

    /// The caller has made sure that it is not in.
    pub(super) fn insert(&self, hash: u64, entry: T) {
        let mut shard = self.slots.shards()[shard_of(hash)].write();
        let slot = (Slot(entry), SharedValue::new(()));
        shard.insert(hash, slot, |(slot, _)| slot.0.hash(&self.hasher));
    }

    pub(super) fn remove(&self, entry: &T) {
        let hash = entry.hash(&self.hasher);
        let mut shard = self.slots.shards()[shard_of(hash)].write();
        shard.remove_entry(hash, |(slot, _)| slot.0.same(entry));
        if shard.len() < shard.capacity() / 8 {
            let len = shard.len();
            shard.shrink_to(len * 2, |(slot, _)| slot.0.hash(&self.hasher));
        }
    }
}

#[derive(Clone, Debug)]
struct Slot<T>(T);

impl<T: Entry> PartialEq for Slot<T> {
    fn eq(&self, other: &Self) -> bool {
        self.0.same(&other.0)
    }
}

impl<T: Entry> Eq for Slot<T> {}

impl<T: Entry> Hash for Slot<T> {
    fn hash<H: Hasher>(&self, _: &mut H) {
        unreachable!("every access brings its hash");
    }
}

/// DashMap wants a hasher by type; every access here brings its own hash instead.
#[derive(Default)]
struct Unused;

impl Hasher for Unused {
    fn finish(&self) -> u64 {
        0
    }

    fn write(&mut self, _: &[u8]) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shards_differ_in_size_by_about_two() {
        let mut shares = [0; SHARDS];
        (0..1 << 16).for_each(|x: u64| shares[shard_of(x << 32 | 0xabcd)] += 1);
        assert!(shares.is_sorted_by(|a, b| *a <= b + 3), "{shares:?}");
        assert!((360..400).contains(&shares[0]) && (700..800).contains(&shares[127]), "{shares:?}");
    }
}

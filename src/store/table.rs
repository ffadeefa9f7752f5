//! A sharded hash table over precomputed hashes. The only file that touches DashMap's guards: none
//! ever leaves a method, so no caller can hold one across another call or an await.

use std::hash::{BuildHasherDefault, Hash, Hasher};

use dashmap::{DashMap, SharedValue};

/// Knows its own hash and can be shared cheaply.
pub(super) trait Entry: Clone {
    fn hash(&self) -> u64;
    fn same(&self, other: &Self) -> bool;
}

/// Growing rehashes one shard at a time, so with many shards no push waits long for it.
const SHARDS: usize = 128;

#[derive(Debug)]
pub(super) struct Table<T: Entry>(DashMap<Slot<T>, (), BuildHasherDefault<Unused>>);

impl<T: Entry> Table<T> {
    pub(super) fn new() -> Table<T> {
        Table(DashMap::with_hasher_and_shard_amount(BuildHasherDefault::default(), SHARDS))
    }

    /// Makes room for so many entries in all.
    pub(super) fn expect(&self, entries: usize) {
        // The shards are not quite of one size.
        let each = entries / SHARDS + entries / SHARDS / 16;
        for shard in self.0.shards() {
            shard.write().reserve(each, |(slot, _)| slot.0.hash());
        }
    }

    pub(super) fn find(&self, hash: u64, is_it: impl Fn(&T) -> bool) -> Option<T> {
        let shard = self.0.shards()[self.0.determine_shard(hash as usize)].read();
        shard.get(hash, |(slot, _)| is_it(&slot.0)).map(|(slot, _)| slot.0.clone())
    }

    /// The caller has made sure that it is not in.
    pub(super) fn insert(&self, entry: T) {
        let hash = entry.hash();
        let mut shard = self.0.shards()[self.0.determine_shard(hash as usize)].write();
        shard.insert(hash, (Slot(entry), SharedValue::new(())), |(slot, _)| slot.0.hash());
    }

    pub(super) fn remove(&self, entry: &T) {
        let hash = entry.hash();
        let mut shard = self.0.shards()[self.0.determine_shard(hash as usize)].write();
        shard.remove_entry(hash, |(slot, _)| slot.0.same(entry));
        if shard.len() < shard.capacity() / 8 {
            let len = shard.len();
            shard.shrink_to(len * 2, |(slot, _)| slot.0.hash());
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
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.0.hash());
    }
}

/// DashMap wants a hasher by type; every access here brings its own hash instead.
#[derive(Default)]
struct Unused(u64);

impl Hasher for Unused {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, _: &[u8]) {}

    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }
}

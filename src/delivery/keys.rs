//! The table of idempotency keys: which were applied, when, and with what content.
//!
//! Keys are forgotten in the order in which they were applied. So a shard keeps them in a queue, and finds
//! them by a table of positions in that queue: some fifty bytes per key. Nothing ever walks over all of
//! them: each push forgets a few of the oldest that are due, the sweep does it when there are no pushes,
//! and when the memory is full, each new key takes the place of the oldest.

use std::collections::{HashSet, VecDeque};

use hashbrown::HashTable;
use parking_lot::Mutex;

use super::{ClaimError, Digest, Marks, Memory, SLICE};
use crate::persistence::{Batch, Table};

/// A client's clock may be this much ahead of ours (merge-semantics 1.4).
const AHEAD_MAX_MS: i64 = 10_000;

/// The memory that a key takes, including its share of the table of positions.
pub(super) const KEY_BYTES: usize = size_of::<Entry>() + 16;

const SHARDS: usize = 16;
/// How many due keys one push forgets. More than it adds.
const DUE_PER_PUSH: usize = 4;
const VERSION: u8 = 1;
const RECORD_BYTES: usize = 25;

#[derive(Debug, Default)]
pub(super) struct Keys {
    shards: [Mutex<Shard>; SHARDS],
}

#[derive(Debug, Default)]
struct Shard {
    /// In the order in which they were applied.
    entries: VecDeque<Entry>,
    /// The position of the first entry. Positions only rise, and wrap around.
    first: u32,
    /// Positions by digest.
    index: HashTable<u32>,
    /// The keys of pushes in progress.
    claimed: HashSet<Digest>,
    /// Positions of entries that are not on disk yet.
    unwritten: Vec<u32>,
    /// Forgotten, but still on disk.
    gone: Vec<Digest>,
}

/// A key that was applied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) digest: Digest,
    pub(super) fingerprint: u64,
    pub(super) applied_ms: i64,
    /// See [`Key::made_ms`](super::Key::made_ms); [`NO_TIME`] if the key carries none.
    pub(super) made_ms: i64,
}

pub(super) const NO_TIME: i64 = i64::MIN;

impl Keys {
    fn shard(&self, digest: &Digest) -> &Mutex<Shard> {
        &self.shards[usize::from(digest.0[15]) % SHARDS]
    }

    /// True if the push is to be applied now, false if it was applied.
    pub(super) fn claim(
        &self,
        key: &Entry,
        now_ms: i64,
        memory: Memory,
        marks: &Marks,
    ) -> Result<bool, ClaimError> {
        let Entry { digest, fingerprint, made_ms, .. } = *key;
        let horizon = now_ms.saturating_sub(memory.window_ms);
        let mut shard = self.shard(&digest).lock();
        shard.forget_due(horizon, DUE_PER_PUSH, marks);
        if shard.claimed.contains(&digest) {
            return Err(ClaimError::InFlight);
        }
        if let Some(entry) = shard.find(&digest) {
            if entry.applied_ms > horizon {
                let same = entry.fingerprint == fingerprint;
                return if same { Ok(false) } else { Err(ClaimError::OtherPush) };
            }
            // It is due, although still in the queue.
            marks.forget(entry);
        }
        if made_ms != NO_TIME {
            if made_ms <= horizon.max(marks.floor_ms()) {
                return Err(ClaimError::TooOld);
            }
            if made_ms > now_ms.saturating_add(AHEAD_MAX_MS) {
                return Err(ClaimError::FromTheFuture);
            }
        }
        shard.claimed.insert(digest);
        Ok(true)
    }

    pub(super) fn is_claimed(&self, digest: &Digest) -> bool {
        self.shard(digest).lock().claimed.contains(digest)
    }

    /// Nothing was applied, so the key may be used again.
    pub(super) fn release(&self, digest: &Digest) {
        self.shard(digest).lock().claimed.remove(digest);
    }

    /// A claimed key was applied.
    pub(super) fn add(&self, entry: Entry, memory: Memory, marks: &Marks) {
        let mut shard = self.shard(&entry.digest).lock();
        shard.claimed.remove(&entry.digest);
        shard.add(entry, memory, marks);
        if marks.durable {
            let position = shard.last_position();
            shard.unwritten.push(position);
        }
    }

    /// Forgets what is due.
    pub(super) fn expire(&self, now_ms: i64, memory: Memory, marks: &Marks) {
        let horizon = now_ms.saturating_sub(memory.window_ms);
        for shard in &self.shards {
            while shard.lock().forget_due(horizon, SLICE, marks) {}
            shard.lock().shrink();
        }
    }

    pub(super) fn len(&self) -> usize {
        self.shards.iter().map(|shard| shard.lock().entries.len()).sum()
    }

    pub(super) fn collect(&self, batch: &mut Batch) {
        for shard in &self.shards {
            let mut shard = shard.lock();
            // Deletions first: a key that has gone may have come again.
            for digest in std::mem::take(&mut shard.gone) {
                batch.delete(Table::Keys, &digest.0);
            }
            for position in std::mem::take(&mut shard.unwritten) {
                if let Some(entry) = shard.at(position) {
                    batch.put(Table::Keys, &entry.digest.0, &entry.record());
                }
            }
        }
    }

    /// Adds a key from disk. They must come in the order in which they were applied.
    pub(super) fn restore(&self, entry: Entry, memory: Memory, marks: &Marks) {
        self.shard(&entry.digest).lock().add(entry, memory, marks);
    }
}

impl Shard {
    fn at(&self, position: u32) -> Option<&Entry> {
        // For a position before the first one, this is beyond the end.
        self.entries.get(position.wrapping_sub(self.first) as usize)
    }

    fn last_position(&self) -> u32 {
        self.first.wrapping_add(self.entries.len() as u32).wrapping_sub(1)
    }

    fn find(&self, digest: &Digest) -> Option<&Entry> {
        let is = |position: &u32| self.at(*position).is_some_and(|entry| entry.digest == *digest);
        self.at(*self.index.find(digest.hash(), is)?)
    }

    fn add(&mut self, mut entry: Entry, memory: Memory, marks: &Marks) {
        let most = (memory.keys_bytes / KEY_BYTES / SHARDS).max(1);
        // If the cap was lowered there may be many too many. They go little by little.
        for _ in 0..DUE_PER_PUSH {
            if self.entries.len() >= most {
                self.forget_oldest(marks);
            }
        }
        let length = self.entries.len();
        if length == self.entries.capacity() {
            // By less than doubling, so that it never takes much more memory than the cap.
            let wanted = (length + length / 4 + 16).min(most.max(length + 1));
            self.entries.reserve_exact(wanted - length);
        }
        // Stay in order even if the clock steps back.
        if let Some(last) = self.entries.back() {
            entry.applied_ms = entry.applied_ms.max(last.applied_ms);
        }
        self.entries.push_back(entry);
        let position = self.last_position();
        let (entries, first) = (&self.entries, self.first);
        let digest_at = |position: &u32| entries[position.wrapping_sub(first) as usize].digest;
        let hash = entry.digest.hash();
        match self.index.find_mut(hash, |at| digest_at(at) == entry.digest) {
            // It was due and has come again. The old entry loses its position.
            Some(at) => *at = position,
            None => {
                self.index.insert_unique(hash, position, |at| digest_at(at).hash());
            }
        }
    }

    /// Forgets up to `most` keys that were applied at `horizon` or earlier. True if more may be due.
    fn forget_due(&mut self, horizon: i64, most: usize, marks: &Marks) -> bool {
        for _ in 0..most {
            match self.entries.front() {
                Some(oldest) if oldest.applied_ms <= horizon => self.forget_oldest(marks),
                _ => return false,
            }
        }
        true
    }

    fn forget_oldest(&mut self, marks: &Marks) {
        let Some(entry) = self.entries.front().copied() else { return };
        // First the mark: whoever does not find the key must find the mark.
        marks.forget(&entry);
        let first = self.first;
        if let Ok(found) = self.index.find_entry(entry.digest.hash(), |at| *at == first) {
            found.remove();
            if marks.durable {
                self.gone.push(entry.digest);
            }
        }
        self.entries.pop_front();
        self.first = first.wrapping_add(1);
    }

    /// Releases memory after a busy time.
    fn shrink(&mut self) {
        let length = self.entries.len();
        if self.entries.capacity() > 4 * length + 64 {
            self.entries.shrink_to(2 * length);
            let (entries, first) = (&self.entries, self.first);
            self.index.shrink_to(2 * length, |position| {
                entries[position.wrapping_sub(first) as usize].digest.hash()
            });
        }
    }
}

// === on disk: version (1 byte), fingerprint, applied, made (8 bytes each, little-endian) ===

impl Entry {
    pub(super) fn record(&self) -> [u8; RECORD_BYTES] {
        let mut record = [VERSION; RECORD_BYTES];
        record[1..9].copy_from_slice(&self.fingerprint.to_le_bytes());
        record[9..17].copy_from_slice(&self.applied_ms.to_le_bytes());
        record[17..].copy_from_slice(&self.made_ms.to_le_bytes());
        record
    }

    /// `None` if this is not the record of a key.
    pub(super) fn from_record(key: &[u8], value: &[u8]) -> Option<Entry> {
        let digest = Digest(key.try_into().ok()?);
        let (version, rest) = value.split_first()?;
        if *version != VERSION || value.len() != RECORD_BYTES {
            return None;
        }
        let (fingerprint, rest) = rest.split_first_chunk()?;
        let (applied_ms, rest) = rest.split_first_chunk()?;
        Some(Entry {
            digest,
            fingerprint: u64::from_le_bytes(*fingerprint),
            applied_ms: i64::from_le_bytes(*applied_ms),
            made_ms: i64::from_le_bytes(rest.try_into().ok()?),
        })
    }
}

//! The table of sources that number their pushes: one window for each run of a source, however many pushes
//! it sends.

use std::collections::{HashMap, HashSet, VecDeque};

use parking_lot::Mutex;

use super::window::{Look, Window};
use super::{ClaimError, Digest, Memory, SLICE};
use crate::persistence::{Batch, Table};

const SHARDS: usize = 16;
/// When there is no room, this many sources are looked at, and the one that has been silent longest is
/// removed.
const LOOKED_AT: usize = 8;
const VERSION: u8 = 1;
const RECORD_BYTES: usize = 33;

#[derive(Debug, Default)]
pub(super) struct Sources {
    shards: [Mutex<Shard>; SHARDS],
}

#[derive(Debug, Default)]
struct Shard {
    sources: HashMap<Digest, Source>,
    /// Every source once, to be looked at in turn.
    turns: VecDeque<Digest>,
    /// The numbers of pushes in progress.
    claimed: HashSet<(Digest, u64)>,
    unwritten: Vec<Digest>,
    /// Forgotten, but still on disk.
    gone: Vec<Digest>,
}

/// One run of a source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Source {
    window: Window,
    pub(super) heard_ms: i64,
    /// It is listed in `unwritten`.
    changed: bool,
}

impl Sources {
    fn shard(&self, digest: &Digest) -> &Mutex<Shard> {
        &self.shards[usize::from(digest.0[15]) % SHARDS]
    }

    /// True if the push is to be applied now, false if it was applied.
    pub(super) fn claim(&self, digest: Digest, number: u64) -> Result<bool, ClaimError> {
        let mut shard = self.shard(&digest).lock();
        if shard.claimed.contains(&(digest, number)) {
            return Err(ClaimError::InFlight);
        }
        match shard.sources.get(&digest).map(|source| source.window.look(number)) {
            Some(Look::Seen) => return Ok(false),
            Some(Look::Below) => return Err(ClaimError::BelowWindow),
            Some(Look::New) | None => {}
        }
        shard.claimed.insert((digest, number));
        Ok(true)
    }

    pub(super) fn is_claimed(&self, digest: Digest, number: u64) -> bool {
        self.shard(&digest).lock().claimed.contains(&(digest, number))
    }

    /// Nothing was applied, so the number may be used again.
    pub(super) fn release(&self, digest: Digest, number: u64) {
        self.shard(&digest).lock().claimed.remove(&(digest, number));
    }

    /// A claimed number was applied.
    pub(super) fn add(
        &self,
        digest: Digest,
        number: u64,
        now_ms: i64,
        memory: Memory,
        durable: bool,
    ) {
        let mut shard = self.shard(&digest).lock();
        let shard = &mut *shard;
        shard.claimed.remove(&(digest, number));
        if !shard.sources.contains_key(&digest) {
            let most = (memory.sources / SHARDS).max(1);
            shard.make_room(most, durable);
            let window = Window::starting_at(number);
            shard.insert(digest, Source { window, heard_ms: now_ms, changed: false });
        }
        if let Some(source) = shard.sources.get_mut(&digest) {
            source.window.add(number);
            source.heard_ms = source.heard_ms.max(now_ms);
            if durable && !source.changed {
                source.changed = true;
                shard.unwritten.push(digest);
            }
        }
    }

    /// Forgets sources that have been silent for the whole window.
    pub(super) fn expire(&self, now_ms: i64, memory: Memory, durable: bool) {
        let horizon = now_ms.saturating_sub(memory.window_ms);
        for shard in &self.shards {
            let mut left = shard.lock().turns.len();
            while left > 0 {
                let slice = left.min(SLICE);
                shard.lock().forget_due(horizon, slice, durable);
                left -= slice;
            }
            shard.lock().shrink();
        }
    }

    pub(super) fn len(&self) -> usize {
        self.shards.iter().map(|shard| shard.lock().sources.len()).sum()
    }

    pub(super) fn collect(&self, batch: &mut Batch) {
        for shard in &self.shards {
            let mut shard = shard.lock();
            // Deletions first: a source that has gone may have come again.
            for digest in std::mem::take(&mut shard.gone) {
                batch.delete(Table::Sources, &digest.0);
            }
            for digest in std::mem::take(&mut shard.unwritten) {
                if let Some(source) = shard.sources.get_mut(&digest) {
                    source.changed = false;
                    batch.put(Table::Sources, &digest.0, &source.record());
                }
            }
        }
    }

    pub(super) fn restore(&self, digest: Digest, source: Source) {
        self.shard(&digest).lock().insert(digest, source);
    }
}

impl Shard {
    fn insert(&mut self, digest: Digest, source: Source) {
        if self.sources.insert(digest, source).is_none() {
            self.turns.push_back(digest);
        }
    }

    fn forget(&mut self, digest: Digest, durable: bool) {
        self.sources.remove(&digest);
        if durable {
            self.gone.push(digest);
        }
    }

    fn forget_due(&mut self, horizon: i64, looks: usize, durable: bool) {
        for _ in 0..looks {
            let Some(digest) = self.turns.pop_front() else { return };
            match self.sources.get(&digest) {
                Some(source) if source.heard_ms > horizon => self.turns.push_back(digest),
                _ => self.forget(digest, durable),
            }
        }
    }

    /// Makes room for one more. If the cap was lowered, the others go little by little.
    fn make_room(&mut self, most: usize, durable: bool) {
        for _ in 0..2 {
            if self.sources.len() < most {
                return;
            }
            let looked_at = self.turns.len().min(LOOKED_AT);
            let silent_longest = (0..looked_at)
                .min_by_key(|&at| self.sources.get(&self.turns[at]).map(|source| source.heard_ms));
            let Some(digest) = silent_longest.and_then(|at| self.turns.remove(at)) else { return };
            self.turns.rotate_left(looked_at - 1);
            self.forget(digest, durable);
        }
    }

    fn shrink(&mut self) {
        let length = self.sources.len();
        if self.sources.capacity() > 4 * length + 64 {
            self.sources.shrink_to(2 * length);
            self.turns.shrink_to(2 * length);
        }
    }
}

// === on disk: version (1 byte), high, heard (8 bytes each), seen (16 bytes), little-endian ===

impl Source {
    fn record(&self) -> [u8; RECORD_BYTES] {
        let (high, seen) = self.window.parts();
        let mut record = [VERSION; RECORD_BYTES];
        record[1..9].copy_from_slice(&high.to_le_bytes());
        record[9..17].copy_from_slice(&self.heard_ms.to_le_bytes());
        record[17..].copy_from_slice(&seen.to_le_bytes());
        record
    }

    /// `None` if this is not the record of a source.
    pub(super) fn from_record(value: &[u8]) -> Option<Source> {
        let (version, rest) = value.split_first()?;
        if *version != VERSION || value.len() != RECORD_BYTES {
            return None;
        }
        let (high, rest) = rest.split_first_chunk()?;
        let (heard_ms, rest) = rest.split_first_chunk()?;
        let seen = u128::from_le_bytes(rest.try_into().ok()?);
        let window = Window::from_parts(u64::from_le_bytes(*high), seen)?;
        Some(Source { window, heard_ms: i64::from_le_bytes(*heard_ms), changed: false })
    }
}

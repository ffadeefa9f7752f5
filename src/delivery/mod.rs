//! Delivery: a push that is tried again counts once (merge-semantics 3).
//!
//! A client gives each push an identity ([`PushId`]), the same for all attempts. Before a push is even
//! parsed, its identity is [claimed](Delivery::claim): one attempt goes on, others are told that the push
//! was applied or is in progress. After it was applied, still inside the gate, the claim is
//! [done](Claim::done), so key and effect are part of the same commit. A claim that is dropped before
//! that leaves nothing behind.
//!
//! This module knows neither clock nor store, and does not care what is applied.
//!
//! # What is promised
//!
//! - A key is remembered for the whole window, unless the memory is full. Then the oldest keys go first.
//! - A key that carries its time (`UUIDv7`, ULID) is never applied twice: if it is not younger than every
//!   key that was forgotten, it is refused ([`Marks`]). No clock of a client has to be right for this. Only
//!   a key from far in the future is refused, because it would put all others in the past.
//! - Of a source that numbers its pushes, the last [`WINDOW`] numbers are known one by one, and lower ones
//!   are refused. A source that was silent for the whole window may be forgotten.

mod id;
mod keys;
mod sources;
mod window;

use std::hash::Hasher as _;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering::Relaxed};

use parking_lot::{Mutex, RwLock};
use siphasher::sip128::{Hasher128, SipHasher24};

use crate::model::Grouping;
use crate::persistence::{Batch, Table};
pub use id::{Key, PushId, Sequence, TEXT_BYTES_MAX, TextError, text};
use keys::{Entry, Keys, NO_TIME};
use sources::{Source, Sources};
pub use window::WINDOW;

/// How much is remembered, and for how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Memory {
    pub window_ms: i64,
    /// Room for keys.
    pub keys_bytes: usize,
    /// Room for runs of sources.
    pub sources: usize,
}

/// One attempt of a push that has an identity.
#[derive(Clone, Copy, Debug)]
pub struct Attempt<'a> {
    /// Who pushes, if that is known. Everybody has keys of their own.
    pub principal: Option<&'a str>,
    pub grouping: &'a Grouping,
    pub id: &'a PushId,
    /// Everything that determines the meaning of the push: the decoded body, its format, and what the headers
    /// say about it. Different content under the same key is a mistake of the client.
    pub content: &'a [&'a [u8]],
}

/// Why a push must not be applied. Nothing was.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ClaimError {
    #[error("another try of this push is still in progress")]
    InFlight,
    #[error("this idempotency key was used for another push")]
    OtherPush,
    #[error("this idempotency key is too old to tell whether the push was applied already")]
    TooOld,
    #[error("this idempotency key carries a time that has not come yet")]
    FromTheFuture,
    #[error(
        "the number is {WINDOW} or more below the highest one of its source: too far to tell \
         whether the push was applied already"
    )]
    BelowWindow,
}

/// A record that no version of ours can have written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no record of {0}")]
pub struct Damaged(&'static str);

/// A hash with a secret key, so that clients cannot choose identities that collide.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
struct Digest([u8; 16]);

impl Digest {
    /// A hash for hash tables.
    fn hash(&self) -> u64 {
        let [a, b, c, d, e, f, g, h, ..] = self.0;
        u64::from_le_bytes([a, b, c, d, e, f, g, h])
    }
}

/// All identities that are remembered.
#[derive(Debug)]
pub struct Delivery {
    secret: RwLock<[u8; 16]>,
    keys: Keys,
    sources: Sources,
    marks: Marks,
    /// Keys from disk that are not sorted yet.
    restoring: Mutex<Vec<Entry>>,
}

/// How far back the memory reaches.
#[derive(Debug)]
struct Marks {
    /// When the last of the forgotten keys was applied, by our clock.
    forgotten_ms: AtomicI64,
    /// The latest time that a forgotten key carries, by the clocks of clients.
    floor_ms: AtomicI64,
    /// They have changed since they were last written.
    changed: AtomicBool,
    /// Somebody writes what changes, so it has to be noted.
    durable: bool,
}

impl Marks {
    fn forget(&self, entry: &Entry) {
        self.forgotten_ms.fetch_max(entry.applied_ms, Relaxed);
        self.floor_ms.fetch_max(entry.made_ms, Relaxed);
        self.changed.store(true, Relaxed);
    }

    fn floor_ms(&self) -> i64 {
        self.floor_ms.load(Relaxed)
    }
}

/// The result of claiming an identity.
#[derive(Debug)]
pub enum Claimed<'d> {
    /// Apply the push, then say that it is done.
    Now(Claim<'d>),
    /// An earlier attempt was applied.
    Before,
}

/// The right to apply a push. Dropping it gives it back.
#[derive(Debug)]
#[must_use = "a claim that is dropped is given back"]
pub struct Claim<'d> {
    delivery: &'d Delivery,
    memory: Memory,
    what: What,
}

#[derive(Clone, Copy, Debug)]
enum What {
    Key(Entry),
    /// With the time of the claim.
    Number(Digest, u64, i64),
    Done,
}

/// How many are looked at under one lock.
const SLICE: usize = 1024;

const SECRET: &[u8] = b"delivery.secret";
const MARKS: &[u8] = b"delivery.marks";

impl Delivery {
    /// Remembers nothing. `secret` must be random. `now_ms` counts as the time when all memory was lost, until
    /// records are restored. With `durable`, somebody calls [`Delivery::collect`].
    pub fn new(secret: [u8; 16], now_ms: i64, durable: bool) -> Delivery {
        Delivery {
            secret: RwLock::new(secret),
            keys: Keys::default(),
            sources: Sources::default(),
            marks: Marks {
                forgotten_ms: AtomicI64::new(now_ms),
                floor_ms: AtomicI64::new(now_ms),
                changed: AtomicBool::new(true),
                durable,
            },
            restoring: Mutex::default(),
        }
    }

    /// Whether this attempt is the one to apply.
    ///
    /// # Errors
    /// If nobody can tell, or another attempt is in progress.
    pub fn claim(
        &self,
        attempt: &Attempt<'_>,
        now_ms: i64,
        memory: Memory,
    ) -> Result<Claimed<'_>, ClaimError> {
        let digest = self.digest(attempt);
        let (first, what) = match attempt.id {
            PushId::Key(key) => {
                let entry = Entry {
                    digest,
                    fingerprint: self.fingerprint(attempt.content),
                    applied_ms: now_ms,
                    made_ms: key.made_ms().unwrap_or(NO_TIME),
                };
                (self.keys.claim(&entry, now_ms, memory, &self.marks)?, What::Key(entry))
            }
            PushId::Sequence(Sequence { number, .. }) => {
                (self.sources.claim(digest, *number)?, What::Number(digest, *number, now_ms))
            }
        };
        Ok(if first {
            Claimed::Now(Claim { delivery: self, memory, what })
        } else {
            Claimed::Before
        })
    }

    /// Another attempt is in progress. The content does not matter.
    pub fn is_claimed(&self, attempt: &Attempt<'_>) -> bool {
        let digest = self.digest(attempt);
        match attempt.id {
            PushId::Key(_) => self.keys.is_claimed(&digest),
            PushId::Sequence(Sequence { number, .. }) => self.sources.is_claimed(digest, *number),
        }
    }

    /// Forgets what is due. Pushes do so, too, but there may be none.
    pub fn expire(&self, now_ms: i64, memory: Memory) {
        self.keys.expire(now_ms, memory, &self.marks);
        self.sources.expire(now_ms, memory, self.marks.durable);
    }

    /// How many keys are remembered.
    pub fn keys(&self) -> usize {
        self.keys.len()
    }

    /// How much of [`Memory::keys_bytes`] they take.
    pub fn keys_bytes(&self) -> usize {
        self.keys.len() * keys::KEY_BYTES
    }

    /// How many runs of sources are remembered.
    pub fn sources(&self) -> usize {
        self.sources.len()
    }

    /// How far back the memory of keys reaches. That is less than the window for a while after a start with
    /// nothing to remember, and when there are more keys than there is room for.
    pub fn window_ms(&self, now_ms: i64, memory: Memory) -> i64 {
        let reaches = now_ms.saturating_sub(self.marks.forgotten_ms.load(Relaxed));
        reaches.clamp(0, memory.window_ms.max(0))
    }

    /// Of principal, grouping labels and identity. Labels without a value count, since they remove a label.
    fn digest(&self, attempt: &Attempt<'_>) -> Digest {
        let mut fields = Fields::new(&self.secret.read());
        fields.add(attempt.principal.map_or(b"anyone", |_| b"one"));
        fields.add(attempt.principal.unwrap_or_default().as_bytes());
        for label in attempt.grouping.labels() {
            fields.add(label.name.as_bytes());
            fields.add(label.value.as_bytes());
        }
        match attempt.id {
            PushId::Key(key) => {
                fields.add(b"key");
                fields.add(key.as_str().as_bytes());
            }
            PushId::Sequence(Sequence { source, epoch, .. }) => {
                fields.add(b"source");
                fields.add(source.as_bytes());
                fields.add(epoch.as_bytes());
            }
        }
        Digest(fields.finish())
    }

    fn fingerprint(&self, content: &[&[u8]]) -> u64 {
        let mut fields = Fields::new(&self.secret.read());
        for field in content {
            fields.add(field);
        }
        Digest(fields.finish()).hash()
    }

    // === on disk

    /// Moves what has changed since the last call into the batch. The caller holds the gate exclusively.
    pub fn collect(&self, batch: &mut Batch) {
        self.keys.collect(batch);
        self.sources.collect(batch);
        // Last, because they must cover every key that has gone.
        if self.marks.changed.swap(false, Relaxed) {
            batch.put(Table::Meta, SECRET, &*self.secret.read());
            let mut record = [0; 16];
            record[..8].copy_from_slice(&self.marks.forgotten_ms.load(Relaxed).to_le_bytes());
            record[8..].copy_from_slice(&self.marks.floor_ms().to_le_bytes());
            batch.put(Table::Meta, MARKS, &record);
        }
    }

    /// Loads a record at start; false if it is not one of ours. [`Delivery::restored`] must follow.
    ///
    /// # Errors
    /// If it is ours, but damaged.
    pub fn restore(&self, table: Table, key: &[u8], value: &[u8]) -> Result<bool, Damaged> {
        match (table, key) {
            (Table::Keys, _) => {
                let entry = Entry::from_record(key, value).ok_or(Damaged("a key"))?;
                self.restoring.lock().push(entry);
            }
            (Table::Sources, _) => {
                let digest = key.try_into().map_err(|_| Damaged("a source"))?;
                let source = Source::from_record(value).ok_or(Damaged("a source"))?;
                self.sources.restore(Digest(digest), source);
            }
            (Table::Meta, SECRET) => {
                *self.secret.write() = value.try_into().map_err(|_| Damaged("the secret"))?;
            }
            (Table::Meta, MARKS) => {
                let damaged = Damaged("the marks of forgotten keys");
                let (forgotten, rest) = value.split_first_chunk().ok_or(damaged)?;
                let floor = rest.try_into().map_err(|_| damaged)?;
                self.marks.forgotten_ms.store(i64::from_le_bytes(*forgotten), Relaxed);
                self.marks.floor_ms.store(i64::from_le_bytes(floor), Relaxed);
                self.marks.changed.store(false, Relaxed);
            }
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// To be called when all records are loaded.
    pub fn restored(&self, memory: Memory) {
        let mut entries = std::mem::take(&mut *self.restoring.lock());
        entries.sort_by_key(|entry| entry.applied_ms);
        for entry in entries {
            self.keys.restore(entry, memory, &self.marks);
        }
    }
}

impl Claim<'_> {
    /// The push was applied. To be called before leaving the gate.
    pub fn done(mut self) {
        let Delivery { keys, sources, marks, .. } = self.delivery;
        match std::mem::replace(&mut self.what, What::Done) {
            What::Key(entry) => keys.add(entry, self.memory, marks),
            What::Number(digest, number, now_ms) => {
                sources.add(digest, number, now_ms, self.memory, marks.durable);
            }
            What::Done => {}
        }
    }
}

impl Drop for Claim<'_> {
    fn drop(&mut self) {
        match self.what {
            What::Key(entry) => self.delivery.keys.release(&entry.digest),
            What::Number(digest, number, _) => self.delivery.sources.release(digest, number),
            What::Done => {}
        }
    }
}

/// A keyed hash over fields. The boundaries between them count.
struct Fields(SipHasher24);

impl Fields {
    fn new(secret: &[u8; 16]) -> Fields {
        Fields(SipHasher24::new_with_key(secret))
    }

    fn add(&mut self, field: &[u8]) {
        self.0.write(&(field.len() as u64).to_le_bytes());
        self.0.write(field);
    }

    fn finish(self) -> [u8; 16] {
        self.0.finish128().as_bytes()
    }
}

#[cfg(test)]
mod tests;

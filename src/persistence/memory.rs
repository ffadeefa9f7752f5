//! An engine without a disk, for tests: it remembers what a disk would hold after a crash.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::Mutex;

use super::{Batch, Change, Engine, EngineError, Record, Table, Usage, Visit};

/// Table and key.
type Key = (u8, Vec<u8>);
/// Value and state.
type Parts = (Vec<u8>, Option<Vec<u8>>);

/// What survives: records, and the number of the last commit.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Records {
    records: BTreeMap<Key, Parts>,
    pub commit: u64,
}

impl Records {
    /// Adds a record, or replaces the one with this key.
    pub fn put(&mut self, record: Record<'_>) {
        let Record { table, key, value, state } = record;
        let parts = (value.to_vec(), state.map(<[u8]>::to_vec));
        self.records.insert((table as u8, key.to_vec()), parts);
    }

    /// Makes these changes.
    ///
    /// # Errors
    /// If one is a state of a record that does not exist or has none.
    pub fn apply(&mut self, batch: &Batch) -> Result<(), String> {
        for change in batch.changes() {
            let key = (change.table() as u8, change.key().to_vec());
            match change {
                Change::Put(record) => self.put(record),
                Change::State { state, .. } => match self.records.get_mut(&key) {
                    Some((_, Some(before))) => *before = state.to_vec(),
                    _ => return Err(format!("a state without a record: {change:?}")),
                },
                Change::Delete { .. } => _ = self.records.remove(&key),
            }
        }
        Ok(())
    }

    /// In the order of tables and keys.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = Record<'_>> {
        self.records.iter().filter_map(|((table, key), (value, state))| {
            let table = Table::from_u8(*table)?;
            Some(Record { table, key, value, state: state.as_deref() })
        })
    }

    /// The value of a record.
    pub fn value(&self, table: Table, key: &[u8]) -> Option<&[u8]> {
        self.records.get(&(table as u8, key.to_vec())).map(|(value, _)| &**value)
    }
}

/// The synced records are shared with the test.
#[derive(Debug, Default)]
pub struct Memory {
    synced: Arc<Mutex<Records>>,
    written: Records,
}

impl Memory {
    /// Over the records that an earlier one has synced.
    pub fn over(synced: Arc<Mutex<Records>>) -> Memory {
        let written = synced.lock().clone();
        Memory { synced, written }
    }
}

impl Memory {
    /// Loses what is not synced, as a disk may when a sync fails.
    pub fn forget(&mut self) {
        self.written = self.synced.lock().clone();
    }
}

impl Engine for Memory {
    fn load(&mut self, visit: &mut dyn Visit) -> Result<u64, EngineError> {
        let damage = |what| EngineError::Damage { path: "memory".into(), what };
        self.written.iter().try_for_each(|record| visit.record(record).map_err(damage))?;
        Ok(self.written.commit)
    }

    fn write(&mut self, commit: u64, batch: &Batch) -> Result<(), EngineError> {
        let damage = |what| EngineError::Damage { path: "memory".into(), what };
        self.written.apply(batch).map_err(damage)?;
        self.written.commit = commit;
        Ok(())
    }

    fn sync(&mut self) -> Result<(), EngineError> {
        *self.synced.lock() = self.written.clone();
        Ok(())
    }

    fn usage(&self) -> Usage {
        let length = |record: Record<'_>| {
            record.key.len() + record.value.len() + record.state.map_or(0, <[u8]>::len)
        };
        let bytes = self.written.iter().map(length).sum::<usize>() as u64;
        Usage { disk_bytes: bytes, live_bytes: bytes, free_bytes: None }
    }

    fn place(&self) -> String {
        "memory".to_owned()
    }
}

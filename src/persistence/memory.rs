//! An engine without a disk, for tests: it remembers what a disk would hold after a crash.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::Mutex;

use super::{Batch, Engine, EngineError, Table, Usage, Visit};

/// What survives: records, and the number of the last commit.
#[derive(Clone, Debug, Default)]
pub struct Records {
    pub records: BTreeMap<(u8, Vec<u8>), Vec<u8>>,
    pub commit: u64,
}

/// Synced records are shared with whoever holds the other end.
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
        for ((table, key), value) in &self.written.records {
            let damage = |what| EngineError::Damage { path: "memory".into(), what };
            let table = Table::from_u8(*table).ok_or_else(|| damage("no such table".into()))?;
            visit.record(table, key, value).map_err(damage)?;
        }
        Ok(self.written.commit)
    }

    fn write(&mut self, commit: u64, batch: &Batch) -> Result<(), EngineError> {
        for change in batch.changes() {
            let key = (change.table as u8, change.key.to_vec());
            match change.value {
                Some(value) => _ = self.written.records.insert(key, value.to_vec()),
                None => _ = self.written.records.remove(&key),
            }
        }
        self.written.commit = commit;
        Ok(())
    }

    fn sync(&mut self) -> Result<(), EngineError> {
        *self.synced.lock() = self.written.clone();
        Ok(())
    }

    fn usage(&self) -> Usage {
        let live = self.written.records.iter().map(|((_, key), value)| key.len() + value.len());
        let bytes = live.sum::<usize>() as u64;
        Usage { disk_bytes: bytes, live_bytes: bytes, free_bytes: None }
    }

    fn place(&self) -> String {
        "memory".to_owned()
    }
}

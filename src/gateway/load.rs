//! State that lasts: what is written of it, and how it comes back at start.

use super::Gateway;
use crate::model::packed::{Packer, Unpacker};
use crate::persistence::{Batch, Engine, EngineError, Table};

/// The largest stamp that was given: after a restart they must go on rising, whatever the clock
/// says.
const STAMP_KEY: &[u8] = b"stamp";

/// What was found at start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Loaded {
    /// The number of the last commit.
    pub commit: u64,
    pub series: usize,
}

impl Gateway {
    /// Moves what has changed since the last call into the batch; for the committer, which holds
    /// the gate alone.
    pub fn collect(&self, batch: &mut Batch) {
        let before = batch.len();
        self.store.collect(batch);
        if batch.len() > before {
            let mut stamp = Vec::new();
            Packer(&mut stamp).i64(self.clock.last_stamp());
            batch.put(Table::Meta, STAMP_KEY, &stamp);
        }
    }

    /// Takes back everything that the engine holds. `progress` is told the number of records now
    /// and then.
    ///
    /// # Errors
    /// If any of it is damaged or missing; the gateway is not to be used then.
    pub fn load(
        &self,
        engine: &mut dyn Engine,
        progress: &mut dyn FnMut(u64),
    ) -> Result<Loaded, EngineError> {
        const STEP: u64 = 4096;
        let mut store = self.store.restore();
        let mut records = 0;
        let commit = engine.load(&mut |table, key, value| {
            records += 1;
            if records % STEP == 0 {
                progress(records);
            }
            match table {
                Table::Families | Table::Series => store.record(table, key, value),
                Table::Meta => self.load_meta(key, value),
                table => Err(format!("a record of {table:?}, which this version does not know")),
            }
        })?;
        store.finish().map_err(|what| EngineError::Damage { path: engine.place(), what })?;
        Ok(Loaded { commit, series: self.store.series_count() })
    }

    fn load_meta(&self, key: &[u8], value: &[u8]) -> Result<(), String> {
        match key {
            STAMP_KEY => {
                let stamp = Unpacker(value).i64().map_err(|error| error.to_string())?;
                self.clock.not_before(stamp);
                Ok(())
            }
            key => Err(format!("an unknown record {:?}", String::from_utf8_lossy(key))),
        }
    }
}

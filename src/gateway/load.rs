//! State that survives restarts: what is written, and how it is loaded again.

use super::Gateway;
use crate::model::packed::{Packer, Unpacker};
use crate::persistence::{Batch, Engine, EngineError, Record, Table, Visit};
use crate::store::Restore;

/// The largest stamp that was handed out: stamps must go on rising after a restart, whatever the clock
/// says.
const STAMP_KEY: &[u8] = b"stamp";

/// What a store held when it was loaded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Loaded {
    /// The number of the last commit.
    pub commit: u64,
    pub series: usize,
}

impl Gateway {
    /// Moves what has changed since the last call into the batch. For the committer, which holds the gate
    /// exclusively.
    pub fn collect(&self, batch: &mut Batch) {
        let before = batch.len();
        self.store.collect(batch);
        if let Some(groups) = &self.groups {
            groups.collect(batch);
        }
        self.delivery.collect(batch);
        if batch.len() > before {
            let mut stamp = Vec::new();
            Packer(&mut stamp).i64(self.clock.last_stamp());
            batch.put(Table::Meta, STAMP_KEY, &stamp);
        }
    }

    /// Loads everything that the engine holds, and prepares it for new commits. `progress` is called now and
    /// then with the number of records.
    ///
    /// # Errors
    /// If anything is damaged or missing. The gateway must not be used then.
    pub fn load(
        &self,
        engine: &mut dyn Engine,
        progress: &mut dyn FnMut(u64),
    ) -> Result<Loaded, EngineError> {
        let mut loaded = self.read(engine, progress)?;
        if loaded.commit == 0 {
            // The time when the store began must be on disk before the first push. Otherwise a process that
            // is killed at once would come back with a later one, and refuse keys from before it.
            let mut batch = Batch::default();
            self.collect(&mut batch);
            loaded.commit = 1;
            engine.write(loaded.commit, &batch)?;
            engine.sync()?;
        }
        Ok(loaded)
    }

    /// Loads everything that the engine holds, and writes nothing.
    ///
    /// # Errors
    /// As [`load`](Gateway::load).
    pub fn read(
        &self,
        engine: &mut dyn Engine,
        progress: &mut dyn FnMut(u64),
    ) -> Result<Loaded, EngineError> {
        let store = self.store.restore();
        let mut loading = Loading { gateway: self, store, records: 0, has_groups: false, progress };
        let commit = engine.load(&mut loading)?;
        if loading.has_groups && self.groups.is_none() {
            let what = "groups of mode pushgateway";
            return Err(EngineError::Unsuited { path: engine.place(), what });
        }
        self.delivery.restored(self.settings().memory());
        loading
            .store
            .finish()
            .map_err(|what| EngineError::Damage { path: engine.place(), what })?;
        Ok(Loaded { commit, series: self.store.series_count() })
    }

    fn load_stamp(&self, value: &[u8]) -> Result<(), String> {
        let stamp = Unpacker(value).i64().map_err(|error| error.to_string())?;
        self.clock.not_before(stamp);
        Ok(())
    }
}

/// Hands each record to its owner.
struct Loading<'l> {
    gateway: &'l Gateway,
    store: Restore<'l>,
    records: u64,
    has_groups: bool,
    progress: &'l mut dyn FnMut(u64),
}

impl Visit for Loading<'_> {
    fn expect(&mut self, records: usize) {
        // Most of them are series.
        self.store.expect(records);
    }

    fn record(&mut self, record: Record<'_>) -> Result<(), String> {
        const STEP: u64 = 4096;
        self.records += 1;
        if self.records.is_multiple_of(STEP) {
            (self.progress)(self.records);
        }
        let Record { table, key, value, state } = record;
        match (table, key) {
            (Table::Families | Table::Series, _) => self.store.record(record),
            _ if state.is_some() => Err(format!("a record of {table:?} that has a state")),
            (Table::Groups, _) => {
                self.has_groups = true;
                // In the wrong mode this is an error, but not yet: damage is reported first.
                self.gateway.groups.as_ref().map_or(Ok(()), |groups| groups.restore(key, value))
            }
            (Table::Meta, STAMP_KEY) => self.gateway.load_stamp(value),
            _ => match self.gateway.delivery.restore(table, key, value) {
                Ok(true) => Ok(()),
                Ok(false) => Err(format!("a record of {table:?} that nobody has written")),
                Err(damaged) => Err(damaged.to_string()),
            },
        }
    }
}

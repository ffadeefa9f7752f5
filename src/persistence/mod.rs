//! Keeping state across restarts (DESIGN 4): records in tables, batches of changes that are written
//! together or not at all, and the commits that pushes wait for.
//!
//! Every owner of durable state offers two functions: `collect` moves what has changed since the last
//! call into a [`Batch`], as the *resulting* records; `restore` takes one such record back at start. They
//! share [`Commits`]: the gate, which makes a commit a consistent cut of whole pushes, and the tickets
//! that answers wait for. The [`Committer`] is the thread that writes to an [`Engine`].

mod batch;
mod commits;
mod committer;
pub mod disk;
pub mod memory;
#[cfg(test)]
mod tests;

pub use batch::{Batch, Change};
pub use commits::{Ack, Commits, Exclusive, NotDurable, Pass, Ticket};
pub use committer::{Collect, Committer, CommitterOptions};

/// The tables of the store on disk. Their numbers are part of the format and never change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Table {
    /// Facts about the store as a whole.
    Meta = 0,
    /// By name: kind, help and unit.
    Families = 1,
    /// By family and label text: one series, and its state.
    Series = 2,
    /// Groups of pushgateway mode.
    Groups = 3,
    /// Idempotency keys.
    Keys = 4,
    /// Sources of numbered pushes.
    Sources = 5,
}

impl Table {
    pub const ALL: [Table; 6] =
        [Table::Meta, Table::Families, Table::Series, Table::Groups, Table::Keys, Table::Sources];

    pub fn from_u8(number: u8) -> Option<Table> {
        Table::ALL.get(usize::from(number)).copied()
    }
}

/// What is kept under a key of a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record<'a> {
    pub table: Table,
    pub key: &'a [u8],
    /// Written once.
    pub value: &'a [u8],
    /// The part that changes often, if there is one. It can be written without the rest.
    pub state: Option<&'a [u8]>,
}

/// Takes records at start.
pub trait Visit {
    /// Announces roughly how many records will come.
    fn expect(&mut self, _records: usize) {}

    /// # Errors
    /// Says what is wrong with the record.
    fn record(&mut self, record: Record<'_>) -> Result<(), String>;
}

impl<F: FnMut(Record<'_>) -> Result<(), String>> Visit for F {
    fn record(&mut self, record: Record<'_>) -> Result<(), String> {
        self(record)
    }
}

/// Returns the closure. Its type tells the compiler the argument's.
pub fn each<F: FnMut(Record<'_>) -> Result<(), String>>(visit: F) -> F {
    visit
}

/// A place to keep records: read once at start, then atomic batches. Used by one thread.
pub trait Engine: Send {
    /// Hands every committed record to `visit`, once each, in no particular order. Returns the number of the
    /// last commit, 0 if there was none.
    ///
    /// # Errors
    /// If anything that was acknowledged is missing or damaged, or `visit` refuses a record.
    fn load(&mut self, visit: &mut dyn Visit) -> Result<u64, EngineError>;

    /// Writes a batch, all of it or nothing. Commit numbers must rise.
    ///
    /// # Errors
    /// If it could not be written, or contains the state of a record that does not exist. The next write must
    /// then contain everything since the last good [`sync`](Engine::sync) again, because nobody knows what
    /// the disk holds of it.
    fn write(&mut self, commit: u64, batch: &Batch) -> Result<(), EngineError>;

    /// Returns when everything that was written survives a power failure.
    ///
    /// # Errors
    /// As [`write`](Engine::write).
    fn sync(&mut self) -> Result<(), EngineError>;

    /// It would use a write, even of an empty batch, for work of its own.
    fn is_behind(&self) -> bool {
        false
    }

    /// Closes it properly, after the last sync.
    ///
    /// # Errors
    /// If something of its own could not be written.
    fn close(&mut self) -> Result<(), EngineError> {
        Ok(())
    }

    /// How much space the store takes and has.
    fn usage(&self) -> Usage;

    /// Its location, for messages.
    fn place(&self) -> String;
}

/// Disk space, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// All files of the store.
    pub disk_bytes: u64,
    /// Records that are not outdated, with their keys.
    pub live_bytes: u64,
    /// Left on the file system; `None` if that is not known.
    pub free_bytes: Option<u64>,
}

/// Why records cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    #[error("{action} {path}: {source}")]
    Io { action: &'static str, path: String, source: std::io::Error },
    /// The bytes are not those that were written.
    #[error("{path} is damaged: {what}")]
    Damage { path: String, what: String },
    #[error("there is no store in {path}")]
    Missing { path: String },
    #[error("{path} is in use by another process")]
    Locked { path: String },
    /// It is intact, but belongs to another mode.
    #[error("{path} holds {what}")]
    Unsuited { path: String, what: &'static str },
    #[error("{path} has format {found}, this version reads formats up to {known}")]
    Newer { path: String, found: u32, known: u32 },
}

//! Keeping state across restarts (DESIGN 4): records in tables, batches of changes that are written
//! together or not at all, and the commits that pushes wait for.
//!
//! Who keeps state that is to last offers two functions: `collect`, which moves what has changed
//! since the last call into a [`Batch`] as *resulting* records, and `restore`, which takes one such
//! record back at start. [`Commits`] is what all of them share: the gate that makes a commit a
//! consistent cut of whole pushes, and the tickets that answers wait for. The [`Committer`] is the
//! thread that writes; where to, it knows as an [`Engine`].

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

/// The tables of the store on disk. The numbers are written to it and never change their meaning.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Table {
    /// What concerns the store as a whole.
    Meta = 0,
    /// By name: type, help and unit.
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
    /// Of records of which a part changes often: that part, which is then written without the rest.
    pub state: Option<&'a [u8]>,
}

/// Takes records at start.
pub trait Visit {
    /// So many will come, nearly.
    fn expect(&mut self, _records: usize) {}

    /// # Errors
    /// What is wrong with it.
    fn record(&mut self, record: Record<'_>) -> Result<(), String>;
}

impl<F: FnMut(Record<'_>) -> Result<(), String>> Visit for F {
    fn record(&mut self, record: Record<'_>) -> Result<(), String> {
        self(record)
    }
}

/// Just the closure; it says what its argument is.
pub fn each<F: FnMut(Record<'_>) -> Result<(), String>>(visit: F) -> F {
    visit
}

/// A place to keep records: read once at start, then atomic batches. Used by one thread.
pub trait Engine: Send {
    /// Hands every record that was committed to `visit`, once each, in no particular order. The
    /// number of the last commit, 0 if there was none.
    ///
    /// # Errors
    /// If anything that was acknowledged is missing or damaged, or `visit` refuses a record.
    fn load(&mut self, visit: &mut dyn Visit) -> Result<u64, EngineError>;

    /// Writes a batch, whole or not at all. Commit numbers rise.
    ///
    /// # Errors
    /// If it holds a state of a record that is not there, or was not written. The next write must then hold everything since the last good
    /// [`sync`](Engine::sync) again: what became of it on the disk is not known.
    fn write(&mut self, commit: u64, batch: &Batch) -> Result<(), EngineError>;

    /// Returns when all that was written is safe from a power failure.
    ///
    /// # Errors
    /// As [`write`](Engine::write).
    fn sync(&mut self) -> Result<(), EngineError>;

    /// It has work of its own to do with a write, also with one of an empty batch.
    fn is_behind(&self) -> bool {
        false
    }

    /// Ends it in good order, after the last sync.
    ///
    /// # Errors
    /// If something of its own could not be written.
    fn close(&mut self) -> Result<(), EngineError> {
        Ok(())
    }

    /// How much space the store takes and has.
    fn usage(&self) -> Usage;

    /// Where it is, for messages.
    fn place(&self) -> String;
}

/// Of the disk, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// All files of the store.
    pub disk_bytes: u64,
    /// Records that are not outdated, with their keys.
    pub live_bytes: u64,
    /// Left on the file system; `None` if it does not tell.
    pub free_bytes: Option<u64>,
}

/// Why records cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    #[error("{action} {path}: {source}")]
    Io { action: &'static str, path: String, source: std::io::Error },
    /// Not what was written there.
    #[error("{path} is damaged: {what}")]
    Damage { path: String, what: String },
    #[error("there is no store in {path}")]
    Missing { path: String },
    #[error("{path} is in use by another process")]
    Locked { path: String },
    /// All is well with it, but it holds what has no place here.
    #[error("{path} holds {what}")]
    Unsuited { path: String, what: &'static str },
    #[error("{path} has format {found}, this version reads formats up to {known}")]
    Newer { path: String, found: u32, known: u32 },
}

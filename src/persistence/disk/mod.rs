//! The store on disk: a log of commits, cut into segments.
//!
//! All state is in memory anyway, so the disk only has to take commits and to give them back once.
//! A commit is one frame at the end of the newest segment, one write and one sync; nothing that was
//! synced is ever written over. At start the segments are read once, newest first, so that the first
//! version of a record that is met is the valid one. When more than about half of all is outdated,
//! the records of the oldest segment that are still valid are written again along with later commits,
//! and the segment is removed.
//!
//! What must not happen is that something acknowledged is missing and nobody notices. Each segment
//! says where the one before ends, each frame which segments belong to the store and how many
//! records there are, all of it under checksums. What the last segment holds nobody else says, so
//! after each sync the *mark*, a small file, is told how far it reaches. It is written after the
//! sync and not synced itself: it may be behind, which is harmless, but never ahead. A torn end
//! behind the mark was not acknowledged and is left out; whatever else does not verify is damage.
//!
//! After a failed write or sync nobody knows what the disk holds: the system may take pages for
//! written that were not, and a second sync would succeed (which is known as "fsyncgate"). So the
//! segment is given up where the last good sync ended, and everything since is written again to a
//! new file.

mod files;
mod format;
mod index;
mod load;
pub mod simulated;
mod upkeep;

use std::collections::HashMap;
use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::io;
use std::path::Path;

use super::{Batch, Change, Engine, EngineError, Usage, Visit};
pub use files::{Content, Directory, Files};
use format::{FORMAT, FORMAT_FILE, HEADER_BYTES, Head, Header, MARK_FILE, Mark, SLOT_BYTES, SLOTS};
use index::{Id, Index, Place};
use upkeep::Upkeep;

/// A larger buffer is not kept.
const BUFFER_BYTES: usize = 4 << 20;

/// How large files grow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sizes {
    /// A segment is an eighth of all records long, within these bounds.
    pub segment_bytes: [u64; 2],
}

impl Default for Sizes {
    fn default() -> Sizes {
        Sizes { segment_bytes: [256 << 10, 32 << 20] }
    }
}

/// See the module documentation.
pub struct Disk {
    sizes: Sizes,
    files: Box<dyn Files>,
    store: u64,
    index: Index,
    /// What the frames since the last sync have changed of the index; `None` is deleted.
    pending: HashMap<Id, Option<Place>>,
    /// Records after these frames.
    records: usize,
    /// From the oldest to the newest.
    segments: Vec<Segment>,
    /// The newest one, if it can be written to.
    active: Option<Active>,
    mark: Option<Box<dyn Content>>,
    marked: Mark,
    upkeep: Option<Upkeep>,
    buffer: Vec<u8>,
}

#[derive(Clone, Copy, Debug)]
struct Segment {
    number: u64,
    /// Up to here it is synced.
    end: u64,
}

struct Active {
    file: Box<dyn Content>,
    header: Header,
    /// Written, if not synced.
    end: u64,
    /// The last commit written.
    commit: u64,
    /// The file itself may not survive a power failure yet.
    new: bool,
}

impl std::fmt::Debug for Disk {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Disk")
            .field("records", &self.records)
            .field("segments", &self.segments)
            .field("marked", &self.marked)
            .finish_non_exhaustive()
    }
}

impl Disk {
    /// The store in a directory, which is created where it is missing.
    ///
    /// # Errors
    /// If the directory cannot be used, is in use, or holds something else or something damaged.
    pub fn open(path: &Path) -> Result<Disk, EngineError> {
        let directory = Directory::lock(path).map_err(|error| lock_error(path, error))?;
        Disk::over(Box::new(directory), Sizes::default())
    }

    /// The same for a store that must be there already.
    ///
    /// # Errors
    /// As [`open`](Disk::open), and if there is none.
    pub fn open_existing(path: &Path) -> Result<Disk, EngineError> {
        if !path.join(FORMAT_FILE).exists() {
            let path = path.display().to_string();
            return Err(EngineError::Missing { path });
        }
        let directory = Directory::lock_existing(path).map_err(|error| lock_error(path, error))?;
        Disk::over(Box::new(directory), Sizes::default())
    }

    /// # Errors
    /// If there is something else or something damaged.
    pub fn over(files: Box<dyn Files>, sizes: Sizes) -> Result<Disk, EngineError> {
        let mut disk = Disk {
            sizes,
            files,
            store: 0,
            index: Index::default(),
            pending: HashMap::new(),
            records: 0,
            segments: Vec::new(),
            active: None,
            mark: None,
            marked: Mark::default(),
            upkeep: None,
            buffer: Vec::new(),
        };
        let names = disk.files.list().map_err(|error| disk.io("list", "", error))?;
        let mut numbers: Vec<u64> =
            names.iter().filter_map(|n| format::segment_number(n)).collect();
        numbers.sort_unstable();
        disk.segments = numbers.into_iter().map(|number| Segment { number, end: 0 }).collect();
        let has = |name: &str| names.iter().any(|other| other == name);
        if has(FORMAT_FILE) && !disk.is_unfinished()? {
            disk.check_format()?;
            disk.marked = disk.read_mark()?;
        } else if let Some(first) = disk.segments.first() {
            let what =
                format!("it is missing, but {} is there", format::segment_name(first.number));
            return Err(disk.damage(FORMAT_FILE, what));
        } else {
            disk.begin()?;
        }
        let mark = disk.files.open(MARK_FILE).map_err(|error| disk.io("open", MARK_FILE, error))?;
        disk.mark = Some(mark);
        Ok(disk)
    }

    /// A new store. The file that makes it one comes last.
    fn begin(&mut self) -> Result<(), EngineError> {
        let mut mark = vec![0; SLOTS[1] as usize + SLOT_BYTES];
        for at in SLOTS {
            mark[at as usize..][..SLOT_BYTES].copy_from_slice(&Mark::default().bytes());
        }
        for (name, content) in
            [(MARK_FILE, &*mark), (FORMAT_FILE, format::format_text().as_bytes())]
        {
            let mut create = || {
                let mut file = self.files.create(name)?;
                file.write_at(0, content)?;
                file.sync()?;
                self.files.sync()
            };
            create().map_err(|error| self.io("create", name, error))?;
        }
        self.store = RandomState::new().hash_one(0);
        Ok(())
    }

    /// The first start was interrupted while it made the last file.
    fn is_unfinished(&self) -> Result<bool, EngineError> {
        let (text, whole) = (self.read(FORMAT_FILE)?, format::format_text());
        let begun = text.len() < whole.len() && whole.as_bytes().starts_with(&text);
        Ok(begun && self.segments.is_empty() && self.read_mark()? == Mark::default())
    }

    fn check_format(&self) -> Result<(), EngineError> {
        let text = self.read(FORMAT_FILE)?;
        match format::read_format(&text) {
            Some(FORMAT) => Ok(()),
            Some(found) if found > FORMAT => {
                let path = self.files.path(FORMAT_FILE);
                Err(EngineError::Newer { path, found, known: FORMAT })
            }
            _ => Err(self.damage(FORMAT_FILE, "it does not tell a format".into())),
        }
    }

    fn read_mark(&self) -> Result<Mark, EngineError> {
        let file = match self.files.read(MARK_FILE) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(self.damage(MARK_FILE, "it is missing".into()));
            }
            Err(error) => return Err(self.io("read", MARK_FILE, error)),
        };
        Mark::read(&file).ok_or_else(|| self.damage(MARK_FILE, "no part of it is whole".into()))
    }

    fn read(&self, name: &str) -> Result<Vec<u8>, EngineError> {
        self.files.read(name).map_err(|error| self.io("read", name, error))
    }

    fn io(&self, action: &'static str, name: &str, source: io::Error) -> EngineError {
        EngineError::Io { action, path: self.files.path(name), source }
    }

    fn damage(&self, name: &str, what: String) -> EngineError {
        EngineError::Damage { path: self.files.path(name), what }
    }

    fn does_not_verify(&self, segment: u64, offset: u64) -> EngineError {
        let what = format!("what stands at byte {offset} is not what was written");
        self.damage(&format::segment_name(segment), what)
    }

    // === writing

    /// Where the record is after what was written, synced or not.
    fn place(&self, id: Id) -> Option<Place> {
        self.pending.get(&id).copied().unwrap_or_else(|| self.index.get(id))
    }

    /// The segment to write to, a new one where needed.
    fn activate(&mut self) -> Result<(), EngineError> {
        let [min, max] = self.sizes.segment_bytes;
        let full = (self.index.bytes() / 8).clamp(min, max);
        if self.active.as_ref().is_some_and(|active| active.end >= full) {
            // What the next one says of its end must be true.
            self.sync()?;
            self.active = None;
        }
        if self.active.is_some() {
            return Ok(());
        }
        let last = self.segments.last();
        let segment = last.map_or(1, |last| last.number + 1);
        let previous_end = last.map_or(0, |last| last.end);
        let header = Header { store: self.store, segment, previous_end };
        let name = format::segment_name(segment);
        let created = self.files.create(&name).and_then(|mut file| {
            file.write_at(0, &header.bytes())?;
            Ok(file)
        });
        let file = created.map_err(|error| self.io("create", &name, error))?;
        self.active = Some(Active { file, header, end: HEADER_BYTES, commit: 0, new: true });
        Ok(())
    }

    /// What was written since the last sync is lost, or nobody knows.
    fn give_up(&mut self) {
        self.pending.clear();
        self.records = self.index.len();
        self.upkeep = None;
        let Some(mut active) = self.active.take() else { return };
        // As much as is needed of it; the rest would only take space. If that fails, it stays.
        match self.segments.last().filter(|last| last.number == active.header.segment) {
            Some(synced) => _ = active.file.cut(synced.end),
            None => _ = self.files.remove(&format::segment_name(active.header.segment)),
        }
    }

    fn append(&mut self, commit: u64, batch: &Batch) -> Result<(), EngineError> {
        self.activate()?;
        let mut buffer = std::mem::take(&mut self.buffer);
        format::begin_frame(&mut buffer);
        let oldest = self.keep_up(batch.as_bytes().len(), &mut buffer)?;
        buffer.extend_from_slice(batch.as_bytes());

        let Some(mut active) = self.active.take() else { return Ok(()) };
        let segment = active.header.segment;
        let mut rest = &buffer[format::FRAME_BYTES - 8..];
        while let Some((change, after)) = Change::read(rest) {
            let id = self.index.id(change.table, change.key);
            let place = change.value.map(|_| Place::new(segment, rest.len() - after.len()));
            match (self.place(id).is_some(), place.is_some()) {
                (false, true) => self.records += 1,
                (true, false) => self.records -= 1,
                _ => {}
            }
            self.pending.insert(id, place);
            rest = after;
        }
        let head = Head { commit, oldest, records: self.records as u64 };
        format::end_frame(&mut buffer, head, &active.header, active.end);
        let written = active.file.write_at(active.end, &buffer);
        active.end += buffer.len() as u64;
        active.commit = commit;
        self.active = Some(active);
        buffer.clear();
        buffer.shrink_to(BUFFER_BYTES);
        self.buffer = buffer;
        written.map_err(|error| self.io("write", &format::segment_name(segment), error))
    }

    fn sync_active(&mut self) -> Result<(), EngineError> {
        let Some(active) = &mut self.active else { return Ok(()) };
        let number = active.header.segment;
        let synced = active.file.sync().and_then(|()| match active.new {
            true => self.files.sync(),
            false => Ok(()),
        });
        let new = std::mem::take(&mut active.new);
        let (end, commit) = (active.end, active.commit);
        synced.map_err(|error| self.io("sync", &format::segment_name(number), error))?;

        match self.segments.last_mut().filter(|last| last.number == number) {
            Some(last) => last.end = end,
            None => self.segments.push(Segment { number, end }),
        }
        for (id, place) in self.pending.drain() {
            self.index.set(id, place);
        }
        self.pending.shrink_to(1024);
        if commit > 0 {
            self.set_mark(Mark { commit, segment: number, end })?;
        }
        // A segment that the mark does not know may look as if it never began.
        if new {
            self.sync_mark()?;
        }
        self.remove_told();
        Ok(())
    }

    /// Tells how far what is safe reaches, in the slot that does not hold the last mark.
    fn set_mark(&mut self, mark: Mark) -> Result<(), EngineError> {
        let slot = SLOTS[(mark.commit % 2) as usize];
        let Some(file) = &mut self.mark else { return Ok(()) };
        let written = file.write_at(slot, &mark.bytes());
        self.marked = mark;
        written.map_err(|error| self.io("write", MARK_FILE, error))
    }

    fn sync_mark(&mut self) -> Result<(), EngineError> {
        let Some(mark) = &mut self.mark else { return Ok(()) };
        let synced = mark.sync();
        synced.map_err(|error| self.io("sync", MARK_FILE, error))
    }

    fn disk_bytes(&self) -> u64 {
        let synced = self.segments.iter().map(|segment| segment.end).sum::<u64>();
        let last = self.segments.last().map_or(0, |last| last.number);
        let begun = self.active.as_ref().filter(|active| active.header.segment > last);
        synced + begun.map_or(0, |active| active.end)
    }
}

impl Engine for Disk {
    fn load(&mut self, visit: &mut dyn Visit) -> Result<u64, EngineError> {
        self.load_all(visit)
    }

    fn write(&mut self, commit: u64, batch: &Batch) -> Result<(), EngineError> {
        self.append(commit, batch).inspect_err(|_| self.give_up())
    }

    fn sync(&mut self) -> Result<(), EngineError> {
        self.sync_active().inspect_err(|_| self.give_up())
    }

    fn close(&mut self) -> Result<(), EngineError> {
        self.sync_mark()
    }

    fn usage(&self) -> Usage {
        Usage {
            disk_bytes: self.disk_bytes(),
            live_bytes: self.index.bytes(),
            free_bytes: self.files.free_bytes(),
        }
    }

    fn place(&self) -> String {
        self.files.path("")
    }
}

fn lock_error(path: &Path, error: files::LockError) -> EngineError {
    let path = path.display().to_string();
    match error {
        files::LockError::Taken => EngineError::Locked { path },
        files::LockError::Io(source) => EngineError::Io { action: "use", path, source },
    }
}

#[cfg(test)]
mod tests;

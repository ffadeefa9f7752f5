//! The store on disk: a log of commits, cut into segments.
//!
//! All state is in memory anyway, so the disk only has to take commits, and to give them back once. A
//! commit is one frame at the end of the newest segment: one write and one sync. Nothing that was synced
//! is ever overwritten. At start the segments are read once, the newest first, so that the first version
//! of a record that comes up is the valid one. When more than about half of everything is outdated, what
//! is still valid in the oldest segment is written again along with later commits, or while there are
//! none, and the segment is removed.
//!
//! A record may have a state, the part of it that changes often. Both parts are written when the record
//! is new, and only the state from then on. So their valid versions are in different places; a number
//! made from the key says which parts belong together.
//!
//! Zeros are written ahead of the frames, a piece at a time. A commit that only overwrites zeros does not
//! change the length of the file, so its sync has nothing to put into the file system's journal, and
//! takes half the time.
//!
//! The one thing that must not happen is that acknowledged data is missing and nobody notices. Each
//! segment says where the one before it ends; each frame says which segments belong to the store and how
//! many records there are; checksums cover all of it. Nothing else tells what the last segment should
//! contain, so after each sync its length is noted in the *mark*, a small file. The mark is written after
//! the sync, and not synced itself: it may be behind, which is harmless, but never ahead. A torn end
//! beyond the mark was never acknowledged, and is dropped. Whatever else does not verify is damage.
//!
//! After a failed write or sync, nobody knows what the disk holds: the system may consider pages written
//! that were not, so that a second sync would succeed (known as "fsyncgate"). So the segment is abandoned
//! where the last good sync ended, and everything since is written to a new file.

mod change;
mod files;
mod format;
mod halves;
mod index;
mod load;
pub mod simulated;
mod upkeep;

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::io;
use std::path::Path;

use super::batch::make_room;
use super::{Batch, Change, Engine, EngineError, Usage, Visit};
use change::Part;
pub use files::{Content, Directory, Files};
use format::{
    FORMAT, FORMAT_FILE, FRAME_HEAD_BYTES, FrameSum, HEADER_BYTES, Header, MARK_FILE, Mark,
    SLOT_BYTES, SLOTS, Tail,
};
use index::{Id, IdSet, Index, Place, Places};
use upkeep::Upkeep;

/// When a frame has grown by this much, it is written before the rest of it is made.
const BUFFER_BYTES: usize = 1 << 20;
/// How many entries of the index are fetched from memory together.
const FETCHED: usize = 64;
/// Zeros are only written ahead if there is room for this many times as much.
const ROOM_FACTOR: u64 = 64;

/// How large files grow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sizes {
    /// A segment is as long as an eighth of all records, within these bounds.
    pub segment_bytes: [u64; 2],
    /// How many zeros are written ahead at a time.
    pub ahead_bytes: u64,
}

impl Default for Sizes {
    fn default() -> Sizes {
        Sizes { segment_bytes: [4 << 20, 32 << 20], ahead_bytes: 1 << 20 }
    }
}

/// See the module documentation.
pub struct Disk {
    sizes: Sizes,
    files: Box<dyn Files>,
    /// No file is changed, not even to free space.
    read_only: bool,
    /// The format that the store declares, and the number by which its segments know each other.
    format: u32,
    store: u64,
    /// Where records are after all frames that were written, synced or not.
    index: Index,
    /// Where records were before the frames since the last sync.
    undo: Vec<(Id, Places)>,
    /// From the oldest to the newest.
    segments: Vec<Segment>,
    /// The newest segment, if it is open for writing.
    active: Option<Active>,
    mark: Option<Box<dyn Content>>,
    marked: Mark,
    /// The slot of the file that holds it.
    slot: usize,
    upkeep: Option<Upkeep>,
    /// The last frame says that segments before this one are not needed any more.
    oldest: u64,
    buffer: Vec<u8>,
}

#[derive(Clone, Copy, Debug)]
struct Segment {
    number: u64,
    /// How far it is synced.
    end: u64,
}

struct Active {
    file: Box<dyn Content>,
    header: Header,
    /// How far it is written.
    end: u64,
    /// The length of the file, zeros included.
    length: u64,
    /// The last commit written.
    commit: u64,
    /// The directory entry is not synced yet.
    new: bool,
}

impl std::fmt::Debug for Disk {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Disk")
            .field("records", &self.index.len())
            .field("segments", &self.segments)
            .field("marked", &self.marked)
            .finish_non_exhaustive()
    }
}

impl Disk {
    /// Opens the store in a directory, which is created if it is missing.
    ///
    /// # Errors
    /// If the directory cannot be used, is in use, or holds something else or something damaged.
    pub fn open(path: &Path) -> Result<Disk, EngineError> {
        let directory = Directory::lock(path).map_err(|error| lock_error(path, error))?;
        Disk::over(Box::new(directory), Sizes::default())
    }

    /// Opens an existing store only for loading. No file is changed.
    ///
    /// # Errors
    /// As [`open`](Disk::open), and if there is no store.
    pub fn open_to_read(path: &Path) -> Result<Disk, EngineError> {
        let directory = match path.join(FORMAT_FILE).exists() {
            true => Directory::lock_to_read(path).map_err(|error| lock_error(path, error))?,
            false => return Err(EngineError::Missing { path: path.display().to_string() }),
        };
        Disk::with(Box::new(directory), Sizes::default(), true)
    }

    /// Opens the store in these files, or begins one.
    ///
    /// # Errors
    /// If there is something else, or something damaged.
    pub fn over(files: Box<dyn Files>, sizes: Sizes) -> Result<Disk, EngineError> {
        Disk::with(files, sizes, false)
    }

    fn with(files: Box<dyn Files>, sizes: Sizes, read_only: bool) -> Result<Disk, EngineError> {
        let mut disk = Disk {
            sizes,
            files,
            read_only,
            format: FORMAT,
            store: 0,
            index: Index::default(),
            undo: Vec::new(),
            segments: Vec::new(),
            active: None,
            mark: None,
            marked: Mark::default(),
            slot: 0,
            upkeep: None,
            oldest: 0,
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
            (disk.marked, disk.slot) = disk.read_mark()?;
        } else if let Some(first) = disk.segments.first() {
            let what =
                format!("it is missing, but {} is there", format::segment_name(first.number));
            return Err(disk.damage(FORMAT_FILE, what));
        } else if read_only {
            return Err(EngineError::Missing { path: disk.place() });
        } else {
            disk.begin()?;
        }
        if !read_only {
            let mark = disk.files.open(MARK_FILE);
            disk.mark = Some(mark.map_err(|error| disk.io("open", MARK_FILE, error))?);
        }
        Ok(disk)
    }

    /// Begins a new store. The file that makes it one comes last.
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

    /// The first start was interrupted while it wrote the last file.
    fn is_unfinished(&self) -> Result<bool, EngineError> {
        let (text, whole) = (self.read(FORMAT_FILE)?, format::format_text());
        let begun = text.len() < whole.len() && whole.as_bytes().starts_with(&text);
        Ok(begun && self.segments.is_empty() && self.read_mark()?.0 == Mark::default())
    }

    fn check_format(&mut self) -> Result<(), EngineError> {
        let text = self.read(FORMAT_FILE)?;
        match format::read_format(&text) {
            Some(found @ 1..=FORMAT) => {
                self.format = found;
                Ok(())
            }
            Some(found) if found > FORMAT => {
                let path = self.files.path(FORMAT_FILE);
                Err(EngineError::Newer { path, found, known: FORMAT })
            }
            _ => Err(self.damage(FORMAT_FILE, "it does not tell a format".into())),
        }
    }

    /// Declares the present format before anything is written that older versions cannot read. Only one byte
    /// of the text changes, so it cannot be torn.
    fn upgrade(&mut self) -> Result<(), EngineError> {
        if self.format < FORMAT {
            let mut write = || {
                let mut file = self.files.open(FORMAT_FILE)?;
                file.write_at(0, format::format_text().as_bytes())?;
                file.sync()
            };
            write().map_err(|error| self.io("write", FORMAT_FILE, error))?;
            self.format = FORMAT;
        }
        Ok(())
    }

    /// The mark, and its slot.
    fn read_mark(&self) -> Result<(Mark, usize), EngineError> {
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

    fn set_places(&mut self, id: Id, places: Places) {
        let before = self.index.set(id, places);
        make_room(&mut self.undo, 1);
        self.undo.push((id, before));
    }

    /// A segment of this size takes no further frames.
    fn full_bytes(&self) -> u64 {
        let [min, max] = self.sizes.segment_bytes;
        (self.index.bytes() / 8).clamp(min, max)
    }

    /// Makes sure that there is a segment to write to.
    fn activate(&mut self) -> Result<(), EngineError> {
        let full = self.full_bytes();
        if self.active.as_ref().is_some_and(|active| active.end >= full) {
            // The next segment says where this one ends, and that must be true.
            self.sync()?;
            self.end_active();
        }
        if self.active.is_some() {
            return Ok(());
        }
        self.upgrade()?;
        let last = self.segments.last();
        let segment = last.map_or(1, |last| last.number + 1);
        let previous_end = last.map_or(0, |last| last.end);
        let header = Header { format: FORMAT, store: self.store, segment, previous_end };
        let name = format::segment_name(segment);
        let created = self.files.create(&name).and_then(|mut file| {
            file.write_at(0, &header.bytes())?;
            Ok(file)
        });
        let file = created.map_err(|error| self.io("create", &name, error))?;
        let (end, length) = (HEADER_BYTES, HEADER_BYTES);
        self.active = Some(Active { file, header, end, length, commit: 0, new: true });
        Ok(())
    }

    /// Closes the active segment. Zeros ahead are cut off; if that fails, they only take space.
    fn end_active(&mut self) {
        if let Some(mut active) = self.active.take_if(|active| active.length > active.end) {
            let _ = active.file.cut(active.end);
        }
        self.active = None;
    }

    /// Abandons everything since the last sync: nobody knows what the disk holds of it.
    fn give_up(&mut self) {
        for (id, before) in std::mem::take(&mut self.undo).into_iter().rev() {
            self.index.set(id, before);
        }
        self.upkeep = None;
        self.oldest = 0;
        let Some(mut active) = self.active.take() else { return };
        // The synced part is still needed. If the rest cannot be removed, it only takes space.
        match self.segments.last().filter(|last| last.number == active.header.segment) {
            Some(synced) => _ = active.file.cut(synced.end),
            None => _ = self.files.remove(&format::segment_name(active.header.segment)),
        }
    }

    fn append(&mut self, commit: u64, batch: &Batch) -> Result<(), EngineError> {
        self.activate()?;
        let parts = batch.changes().flat_map(|change| change::parts(&change, Id::default()));
        let committed = parts.flatten().map(|part| part.length()).sum();
        let mut buffer = std::mem::take(&mut self.buffer);
        buffer.clear();
        buffer.resize(FRAME_HEAD_BYTES, 0);
        self.keep_up(committed, &mut buffer)?;
        let length = (buffer.len() - FRAME_HEAD_BYTES + committed) as u64;
        buffer[..FRAME_HEAD_BYTES].copy_from_slice(&length.to_le_bytes());

        let mut active = self.active.take().expect("there is a segment to write to");
        let written = self.write_frame(&mut active, commit, batch, &mut buffer);
        if written.is_ok() && active.end > active.length {
            let room = self.files.free_bytes().unwrap_or(u64::MAX) / ROOM_FACTOR;
            active.write_ahead(self.sizes.ahead_bytes.min(room), self.full_bytes());
        }
        active.commit = commit;
        self.active = Some(active);
        buffer.shrink_to(BUFFER_BYTES);
        self.buffer = buffer;
        written
    }

    /// Writes a frame, of which the buffer holds the beginning, and notes where records are then.
    fn write_frame(
        &mut self,
        active: &mut Active,
        commit: u64,
        batch: &Batch,
        buffer: &mut Vec<u8>,
    ) -> Result<(), EngineError> {
        let segment = active.header.segment;
        let failed = |disk: &Disk, error| disk.io("write", &format::segment_name(segment), error);
        let mut sum = FrameSum::new(&active.header, active.end);
        let mut orphans = IdSet::default();
        let mut changes = batch.changes();
        loop {
            let store = self.store;
            let next = changes.clone().take(FETCHED);
            let ids = next.map(|change| Id::new(store, change.table(), change.key()));
            let ids: Vec<Id> = ids.collect();
            if ids.is_empty() {
                break;
            }
            self.index.fetch(&ids);
            for (id, change) in ids.into_iter().zip(&mut changes) {
                self.add_change(segment, id, &change, buffer, &mut orphans);
            }
            if buffer.len() >= BUFFER_BYTES {
                sum.update(buffer);
                active.write(buffer).map_err(|error| failed(self, error))?;
                buffer.clear();
            }
        }
        if !orphans.is_empty() {
            return Err(self.damage("", "a record of which a new state came is missing".into()));
        }
        sum.update(buffer);
        self.oldest = self.oldest_needed(segment);
        let tail = Tail { commit, oldest: self.oldest, records: self.index.len() as u64 };
        buffer.extend_from_slice(&sum.end(tail));
        active.write(buffer).map_err(|error| failed(self, error))
    }

    /// Adds a change to the frame that is being made.
    ///
    /// `orphans` collects states whose record is missing. In a batch that is written again after a failure,
    /// that is fine if the record is deleted or replaced later in the batch: then that change had reached
    /// the disk the first time, although its sync was reported to have failed.
    fn add_change(
        &mut self,
        segment: u64,
        id: Id,
        change: &Change<'_>,
        buffer: &mut Vec<u8>,
        orphans: &mut IdSet,
    ) {
        let [record, state] = change::parts(change, id).map(|part| {
            part.map(|part| {
                part.write(buffer);
                Place::new(segment, part.length())
            })
        });
        let places = match change {
            Change::Put(_) => Places { record, state },
            Change::State { .. } => match self.index.get(id) {
                Places { state: None, .. } => {
                    orphans.insert(id);
                    return;
                }
                before => Places { state, ..before },
            },
            Change::Delete { .. } => Places::NOWHERE,
        };
        if !orphans.is_empty() {
            orphans.remove(&id);
        }
        self.set_places(id, places);
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
        self.undo.clear();
        self.undo.shrink_to(1024);
        if commit > 0 {
            self.set_mark(Mark { commit, segment: number, end })?;
        }
        // Otherwise a segment that the mark does not know could pass for one that never began.
        if new {
            self.sync_mark()?;
        }
        self.remove_old();
        Ok(())
    }

    /// Writes the mark to the slot that does not hold the last one.
    fn set_mark(&mut self, mark: Mark) -> Result<(), EngineError> {
        let Some(file) = &mut self.mark else { return Ok(()) };
        self.slot = 1 - self.slot;
        let written = file.write_at(SLOTS[self.slot], &mark.bytes());
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
        let Some(active) = &self.active else { return synced };
        let begun = if active.header.segment > last { active.end } else { 0 };
        synced + begun + active.length.saturating_sub(active.end)
    }
}

impl Active {
    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.file.write_at(self.end, bytes)?;
        self.end += bytes.len() as u64;
        Ok(())
    }

    /// Writes up to `most` zeros where the next frames will be, but not beyond the end of a full segment.
    fn write_ahead(&mut self, most: u64, full: u64) {
        let ahead = most.min(full.saturating_sub(self.end));
        if ahead > 0 {
            // Nothing depends on them. If they cannot be written, do not try again at once.
            let _ = self.file.write_at(self.end, &vec![0; ahead as usize]);
            self.length = self.end + ahead;
        }
    }
}

impl Engine for Disk {
    fn load(&mut self, visit: &mut dyn Visit) -> Result<u64, EngineError> {
        self.load_all(visit)
    }

    fn write(&mut self, commit: u64, batch: &Batch) -> Result<(), EngineError> {
        if self.read_only {
            return Err(self.io("write", "", io::ErrorKind::ReadOnlyFilesystem.into()));
        }
        self.append(commit, batch).inspect_err(|_| self.give_up())
    }

    fn sync(&mut self) -> Result<(), EngineError> {
        self.sync_active().inspect_err(|_| self.give_up())
    }

    fn is_behind(&self) -> bool {
        self.is_crowded()
    }

    fn close(&mut self) -> Result<(), EngineError> {
        self.end_active();
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

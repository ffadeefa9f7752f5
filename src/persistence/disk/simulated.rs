//! A disk for tests, in memory: it fails on demand, and loses in a crash what a real one may lose.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

use parking_lot::Mutex;

use super::{Content, Files};

/// A simulated disk. Clones share it, so tests can control the one that an engine uses.
#[derive(Clone, Debug, Default)]
pub struct Simulated(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    files: BTreeMap<String, Inode>,
    /// Names that survive a crash of the machine, with the numbers of their files.
    named: BTreeMap<String, u64>,
    /// Files that have lost their name since the directory was synced.
    unlinked: BTreeMap<u64, Inode>,
    next: u64,
    faults: Faults,
    /// Writes and syncs so far.
    operations: u64,
    written_bytes: u64,
}

#[derive(Clone, Debug, Default)]
struct Inode {
    number: u64,
    content: Vec<u8>,
    synced: Vec<u8>,
    /// Writes since the last sync, in order; `None` cuts the file off there.
    unsynced: Vec<(u64, Option<Vec<u8>>)>,
}

/// The faults of the disk from now on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Faults {
    /// Writes and creations fail if all files together would exceed this.
    pub full_at_bytes: Option<u64>,
    pub failing_writes: bool,
    /// Syncs fail, and after that the pages count as written although they are not.
    pub failing_syncs: bool,
    /// Nothing happens after this many writes and syncs, as if the machine had stopped.
    pub stop_at: Option<u64>,
}

/// Which unsynced writes survive a crash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Crash {
    /// A crash of the process only: all survive.
    Process,
    /// A crash of the machine: the first `writes` survive, then `bytes` bytes of the next one, and none
    /// of the rest.
    Machine { writes: usize, bytes: usize },
    /// A crash of the machine: for each file, those whose bit is set survive, whatever their order. The
    /// directory is as it was synced, including everything that was removed since, or already as it is
    /// now.
    Scattered { writes: u64, names: bool },
}

impl State {
    fn operation(&mut self) -> io::Result<()> {
        if self.faults.stop_at.is_some_and(|at| self.operations >= at) {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        self.operations += 1;
        Ok(())
    }

    /// Call when a name gets another file or none.
    fn unlink(&mut self, name: &str) -> Option<()> {
        let file = self.files.remove(name)?;
        if self.named.get(name) == Some(&file.number) {
            self.unlinked.insert(file.number, file);
        }
        Some(())
    }

    /// The files after a crash, by name.
    fn found(&self, crash: Crash) -> Vec<(&String, &Inode)> {
        if matches!(crash, Crash::Process | Crash::Scattered { names: true, .. }) {
            return self.files.iter().collect();
        }
        let synced = self.named.iter().filter_map(|(name, number)| {
            let file = self.files.get(name).filter(|file| file.number == *number);
            // A file that was removed or replaced since may come back.
            let is_back = matches!(crash, Crash::Scattered { .. });
            file.or_else(|| self.unlinked.get(number).filter(|_| is_back)).map(|file| (name, file))
        });
        synced.collect()
    }

    fn room_for(&self, more: u64) -> io::Result<()> {
        let used = self.files.values().map(|file| file.content.len() as u64).sum::<u64>();
        match self.faults.full_at_bytes.is_some_and(|full| used + more > full) {
            true => Err(io::ErrorKind::StorageFull.into()),
            false => Ok(()),
        }
    }
}

impl Simulated {
    pub fn set_faults(&self, faults: Faults) {
        self.0.lock().faults = faults;
    }

    pub fn operations(&self) -> u64 {
        self.0.lock().operations
    }

    /// The bytes of all writes so far.
    pub fn written_bytes(&self) -> u64 {
        self.0.lock().written_bytes
    }

    pub fn bytes(&self) -> u64 {
        self.0.lock().files.values().map(|file| file.content.len() as u64).sum()
    }

    /// The number of unsynced writes to all files.
    pub fn unsynced(&self) -> usize {
        self.0.lock().files.values().map(|file| file.unsynced.len()).sum()
    }

    /// The disk after a crash, without faults.
    pub fn after(&self, crash: Crash) -> Simulated {
        let state = self.0.lock();
        let mut after = State { next: state.next, ..State::default() };
        for (name, file) in state.found(crash) {
            let content = match crash {
                Crash::Process => file.content.clone(),
                Crash::Machine { writes, bytes } => file.with(|at, length| match at.cmp(&writes) {
                    Ordering::Less => Some(length),
                    Ordering::Equal => Some(length.min(bytes)),
                    Ordering::Greater => None,
                }),
                Crash::Scattered { writes, .. } => {
                    file.with(|at, length| (writes >> (at % 64) & 1 == 1).then_some(length))
                }
            };
            let inode = Inode {
                number: file.number,
                synced: content.clone(),
                content,
                unsynced: Vec::new(),
            };
            after.named.insert(name.clone(), inode.number);
            after.files.insert(name.clone(), inode);
        }
        Simulated(Arc::new(Mutex::new(after)))
    }

    /// Changes a byte of a file, if the file exists. A second call changes it back.
    pub fn flip(&self, name: &str, at: usize) {
        let mut state = self.0.lock();
        let byte = state.files.get_mut(name).and_then(|file| file.content.get_mut(at));
        if let Some(byte) = byte {
            *byte ^= 1;
        }
    }

    /// Names and contents.
    pub fn contents(&self) -> BTreeMap<String, Vec<u8>> {
        let state = self.0.lock();
        state.files.iter().map(|(name, file)| (name.clone(), file.content.clone())).collect()
    }

    /// A disk with these files and no others.
    pub fn with(contents: &BTreeMap<String, Vec<u8>>) -> Simulated {
        let simulated = Simulated::default();
        let mut state = simulated.0.lock();
        for (number, (name, content)) in (0..).zip(contents) {
            let (content, synced) = (content.clone(), content.clone());
            state.named.insert(name.clone(), number);
            let inode = Inode { number, content, synced, unsynced: Vec::new() };
            state.files.insert(name.clone(), inode);
        }
        state.next = contents.len() as u64;
        drop(state);
        simulated
    }
}

impl Inode {
    /// What was synced, and as many bytes of each later write as `kept` says, given its number and
    /// length. A cut takes effect if it is kept completely.
    fn with(&self, kept: impl Fn(usize, usize) -> Option<usize>) -> Vec<u8> {
        let mut content = self.synced.clone();
        for (at, (offset, write)) in self.unsynced.iter().enumerate() {
            match write {
                Some(write) => {
                    if let Some(length) = kept(at, write.len()) {
                        put(&mut content, *offset, &write[..length]);
                    }
                }
                None if kept(at, 1) == Some(1) => content.truncate(*offset as usize),
                None => {}
            }
        }
        content
    }
}

fn put(content: &mut Vec<u8>, offset: u64, bytes: &[u8]) {
    let (start, end) = (offset as usize, offset as usize + bytes.len());
    if content.len() < end && !bytes.is_empty() {
        content.resize(end, 0);
    }
    if !bytes.is_empty() {
        content[start..end].copy_from_slice(bytes);
    }
}

impl Files for Simulated {
    fn list(&self) -> io::Result<Vec<String>> {
        Ok(self.0.lock().files.keys().cloned().collect())
    }

    fn read(&self, name: &str) -> io::Result<Vec<u8>> {
        let state = self.0.lock();
        state.files.get(name).map(|file| file.content.clone()).ok_or(io::ErrorKind::NotFound.into())
    }

    fn create(&mut self, name: &str) -> io::Result<Box<dyn Content>> {
        let mut state = self.0.lock();
        state.operation()?;
        if state.faults.failing_writes {
            return Err(io::Error::other("simulated"));
        }
        state.room_for(0)?;
        state.unlink(name);
        let number = state.next;
        state.next += 1;
        state.files.insert(name.to_owned(), Inode { number, ..Inode::default() });
        Ok(Box::new(Handle { disk: self.clone(), name: name.to_owned() }))
    }

    fn open(&mut self, name: &str) -> io::Result<Box<dyn Content>> {
        self.read(name)?;
        Ok(Box::new(Handle { disk: self.clone(), name: name.to_owned() }))
    }

    fn remove(&mut self, name: &str) -> io::Result<()> {
        let mut state = self.0.lock();
        state.operation()?;
        state.unlink(name).ok_or(io::ErrorKind::NotFound.into())
    }

    fn sync(&mut self) -> io::Result<()> {
        let mut state = self.0.lock();
        state.operation()?;
        if state.faults.failing_syncs {
            return Err(io::Error::other("simulated"));
        }
        state.unlinked.clear();
        state.named = state.files.iter().map(|(name, file)| (name.clone(), file.number)).collect();
        Ok(())
    }

    fn free_bytes(&self) -> Option<u64> {
        let full = self.0.lock().faults.full_at_bytes?;
        Some(full.saturating_sub(self.bytes()))
    }

    fn path(&self, name: &str) -> String {
        format!("simulated/{name}")
    }
}

struct Handle {
    disk: Simulated,
    name: String,
}

impl Handle {
    fn with<T>(&self, change: impl FnOnce(&mut State, &str) -> io::Result<T>) -> io::Result<T> {
        let mut state = self.disk.0.lock();
        state.operation()?;
        change(&mut state, &self.name)
    }
}

fn inode<'s>(state: &'s mut State, name: &str) -> io::Result<&'s mut Inode> {
    state.files.get_mut(name).ok_or(io::ErrorKind::NotFound.into())
}

impl Content for Handle {
    fn write_at(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.with(|state, name| {
            if state.faults.failing_writes {
                return Err(io::Error::other("simulated"));
            }
            let length = inode(state, name)?.content.len() as u64;
            let fits = state.room_for((offset + bytes.len() as u64).saturating_sub(length));
            // A full disk may still take a part of a write, which then stays there.
            let taken = if fits.is_ok() { bytes } else { &bytes[..bytes.len() / 2] };
            state.written_bytes += taken.len() as u64;
            let file = inode(state, name)?;
            put(&mut file.content, offset, taken);
            file.unsynced.push((offset, Some(taken.to_vec())));
            fits
        })
    }

    fn read_at(&self, offset: u64, bytes: &mut [u8]) -> io::Result<()> {
        let mut state = self.disk.0.lock();
        let content = &inode(&mut state, &self.name)?.content;
        let range = offset as usize..offset as usize + bytes.len();
        bytes.copy_from_slice(content.get(range).ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    fn cut(&mut self, length: u64) -> io::Result<()> {
        self.with(|state, name| {
            let file = inode(state, name)?;
            file.content.truncate(length as usize);
            file.unsynced.push((length, None));
            Ok(())
        })
    }

    fn sync(&mut self) -> io::Result<()> {
        self.with(|state, name| {
            let failing = state.faults.failing_syncs;
            let file = inode(state, name)?;
            if failing {
                // The pages count as clean from now on, and are lost in a crash of the machine.
                file.unsynced.clear();
                return Err(io::Error::other("simulated"));
            }
            for (offset, write) in file.unsynced.drain(..) {
                match write {
                    Some(write) => put(&mut file.synced, offset, &write),
                    None => file.synced.truncate(offset as usize),
                }
            }
            Ok(())
        })
    }
}

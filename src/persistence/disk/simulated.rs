//! A disk for tests, without a disk: it fails when told to, and forgets at a crash what a real one
//! may forget.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

use parking_lot::Mutex;

use super::{Content, Files};

/// Both ends of a simulated disk: clones share it.
#[derive(Clone, Debug, Default)]
pub struct Simulated(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    files: BTreeMap<String, Inode>,
    /// Names that survive, and what they stand for.
    named: BTreeMap<String, u64>,
    next: u64,
    faults: Faults,
    /// Writes and syncs so far.
    operations: u64,
    syncs: u64,
}

#[derive(Clone, Debug, Default)]
struct Inode {
    number: u64,
    content: Vec<u8>,
    synced: Vec<u8>,
    /// Since the last sync, in their order; `None` cuts the file off there.
    unsynced: Vec<(u64, Option<Vec<u8>>)>,
}

/// What goes wrong from now on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Faults {
    /// Writes and creations fail when all files together would pass this.
    pub full_at_bytes: Option<u64>,
    pub failing_writes: bool,
    /// They fail, and the pages count as written afterwards although they are not.
    pub failing_syncs: bool,
    /// Nothing more happens after so many writes and syncs, as if the machine had stopped.
    pub stop_at: Option<u64>,
}

/// What of the unsynced writes a crash leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Crash {
    /// Of the process only: all of them.
    Process,
    /// Of the machine: the first so many, of the one after these so many bytes, and none of the
    /// rest.
    Machine { writes: usize, bytes: usize },
}

impl State {
    fn operation(&mut self) -> io::Result<()> {
        if self.faults.stop_at.is_some_and(|at| self.operations >= at) {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        self.operations += 1;
        Ok(())
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

    pub fn syncs(&self) -> u64 {
        self.0.lock().syncs
    }

    pub fn bytes(&self) -> u64 {
        self.0.lock().files.values().map(|file| file.content.len() as u64).sum()
    }

    /// Unsynced writes, over all files.
    pub fn unsynced(&self) -> usize {
        self.0.lock().files.values().map(|file| file.unsynced.len()).sum()
    }

    /// The disk as it is found after a crash, without faults.
    pub fn after(&self, crash: Crash) -> Simulated {
        let state = self.0.lock();
        let mut after = State { next: state.next, ..State::default() };
        for (name, file) in &state.files {
            let content = match crash {
                Crash::Process => file.content.clone(),
                // A file that was created since the directory was synced is not found.
                Crash::Machine { .. } if state.named.get(name) != Some(&file.number) => continue,
                Crash::Machine { writes, bytes } => torn(file, writes, bytes),
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

fn torn(file: &Inode, writes: usize, bytes: usize) -> Vec<u8> {
    let mut content = file.synced.clone();
    for (at, (offset, write)) in file.unsynced.iter().enumerate().take(writes + 1) {
        match write {
            Some(write) => {
                let length = if at < writes { write.len() } else { bytes.min(write.len()) };
                put(&mut content, *offset, &write[..length]);
            }
            None if at < writes => content.truncate(*offset as usize),
            None => {}
        }
    }
    content
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
        state.files.remove(name).map(drop).ok_or(io::ErrorKind::NotFound.into())
    }

    fn sync(&mut self) -> io::Result<()> {
        let mut state = self.0.lock();
        state.operation()?;
        if state.faults.failing_syncs {
            return Err(io::Error::other("simulated"));
        }
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
            // What a full disk still takes of a write stays there.
            let taken = if fits.is_ok() { bytes } else { &bytes[..bytes.len() / 2] };
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
            state.syncs += 1;
            let failing = state.faults.failing_syncs;
            let file = inode(state, name)?;
            if failing {
                // The pages are clean from now on, and gone after a crash of the machine.
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

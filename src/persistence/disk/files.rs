//! What the engine needs of a file system, and the real one. Tests use another one, which fails and
//! forgets ([`simulated`](super::simulated)).

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

/// One directory without subdirectories.
pub trait Files: Send {
    /// Names of all files.
    fn list(&self) -> io::Result<Vec<String>>;
    /// The whole content.
    fn read(&self, name: &str) -> io::Result<Vec<u8>>;
    /// Creates a file, in the place of an existing one if there is one.
    fn create(&mut self, name: &str) -> io::Result<Box<dyn Content>>;
    fn open(&mut self, name: &str) -> io::Result<Box<dyn Content>>;
    fn remove(&mut self, name: &str) -> io::Result<()>;
    /// Makes sure that created files are there after a power failure.
    fn sync(&mut self) -> io::Result<()>;
    /// Left on the file system.
    fn free_bytes(&self) -> Option<u64>;
    /// For messages.
    fn path(&self, name: &str) -> String;
}

/// One open file.
pub trait Content: Send {
    /// Writes all of the bytes, or fails.
    fn write_at(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()>;
    fn read_at(&self, offset: u64, bytes: &mut [u8]) -> io::Result<()>;
    fn cut(&mut self, length: u64) -> io::Result<()>;
    /// Makes sure that the content survives a power failure.
    fn sync(&mut self) -> io::Result<()>;
}

/// A real directory, which nobody else can open as long as this exists.
#[derive(Debug)]
pub struct Directory {
    path: PathBuf,
    /// Closing it releases the lock, even if the process is killed.
    _lock: Option<File>,
}

/// Why a directory cannot be used.
#[derive(Debug)]
pub(super) enum LockError {
    Taken,
    Io(io::Error),
}

pub(super) const LOCK: &str = "LOCK";

impl Directory {
    /// Creates the directory where needed.
    ///
    /// # Errors
    /// If another process has it open, or it cannot be written to.
    pub(super) fn lock(path: &Path) -> Result<Directory, LockError> {
        if !path.exists() {
            create(path).map_err(LockError::Io)?;
        }
        let lock =
            OpenOptions::new().write(true).create(true).truncate(false).open(path.join(LOCK));
        Directory::locked(path, lock.map_err(LockError::Io)?)
    }

    /// For an existing directory, which may be read-only. If it has no file to lock, as a copy may not, there
    /// is no way to tell whether somebody else uses it.
    ///
    /// # Errors
    /// If another process has it open, or it cannot be read.
    pub(super) fn lock_to_read(path: &Path) -> Result<Directory, LockError> {
        match File::open(path.join(LOCK)) {
            Ok(lock) => Directory::locked(path, lock),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                Ok(Directory { path: path.to_owned(), _lock: None })
            }
            Err(error) => Err(LockError::Io(error)),
        }
    }

    fn locked(path: &Path, lock: File) -> Result<Directory, LockError> {
        lock.try_lock().map_err(|error| match error {
            TryLockError::WouldBlock => LockError::Taken,
            TryLockError::Error(error) => LockError::Io(error),
        })?;
        Ok(Directory { path: path.to_owned(), _lock: Some(lock) })
    }
}

/// Creates a directory, and the missing ones above it, so that they survive a power failure.
fn create(path: &Path) -> io::Result<()> {
    let is_missing = |path: &&Path| !path.as_os_str().is_empty() && !path.exists();
    let missing = path.ancestors().take_while(is_missing).count();
    fs::create_dir_all(path)?;
    let path = path.canonicalize()?;
    path.ancestors().skip(1).take(missing).try_for_each(|above| File::open(above)?.sync_all())
}

impl Files for Directory {
    fn list(&self) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(&self.path)? {
            if let Ok(name) = entry?.file_name().into_string() {
                names.push(name);
            }
        }
        Ok(names)
    }

    fn read(&self, name: &str) -> io::Result<Vec<u8>> {
        fs::read(self.path.join(name))
    }

    fn create(&mut self, name: &str) -> io::Result<Box<dyn Content>> {
        let path = self.path.join(name);
        // Truncating is not enough: pages of an old file that could not be written must not come back.
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let file = OpenOptions::new().read(true).write(true).create_new(true).open(path)?;
        Ok(Box::new(file))
    }

    fn open(&mut self, name: &str) -> io::Result<Box<dyn Content>> {
        let file = OpenOptions::new().read(true).write(true).open(self.path.join(name))?;
        Ok(Box::new(file))
    }

    fn remove(&mut self, name: &str) -> io::Result<()> {
        fs::remove_file(self.path.join(name))
    }

    fn sync(&mut self) -> io::Result<()> {
        File::open(&self.path)?.sync_all()
    }

    fn free_bytes(&self) -> Option<u64> {
        let stat = rustix::fs::statvfs(&self.path).ok()?;
        Some(stat.f_bavail.saturating_mul(stat.f_frsize))
    }

    fn path(&self, name: &str) -> String {
        self.path.join(name).display().to_string()
    }
}

impl Content for File {
    fn write_at(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.write_all_at(bytes, offset)
    }

    fn read_at(&self, offset: u64, bytes: &mut [u8]) -> io::Result<()> {
        self.read_exact_at(bytes, offset)
    }

    fn cut(&mut self, length: u64) -> io::Result<()> {
        self.set_len(length)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.sync_data()
    }
}

//! The lock of the data directory: one process writes, or several read.

use std::{
    fs::{File, OpenOptions, TryLockError},
    io::{self, Read, Seek, Write},
    path::Path,
    time::Duration,
};

use super::time;
use crate::bus::BusError;

/// How long a process that starts waits for readers.
const READERS_WAIT: Duration = Duration::from_secs(2);

/// Holds the lock until it is dropped; the end of the process frees it too (flock).
#[derive(Debug)]
pub(super) struct DirectoryLock {
    file: File,
}

impl Drop for DirectoryLock {
    fn drop(&mut self) {
        // Closing is not enough: a child process between fork and exec still holds the descriptor, and the lock with it.
        if let Err(error) = self.file.unlock() {
            tracing::warn!(%error, "the lock of the data directory was not released");
        }
    }
}

impl DirectoryLock {
    /// Takes the lock for writing, and leaves the process id in the file. Waits a moment for commands that read the store
    /// while nobody runs.
    pub(super) fn exclusive(directory: &Path) -> Result<Self, BusError> {
        let mut file = open(directory)?;
        let until = time::instant() + READERS_WAIT;
        while let Err(error) = taken(directory, &mut file, File::try_lock) {
            if time::instant() > until {
                return Err(error);
            }
            std::thread::sleep(READERS_WAIT / 40);
        }
        let written = file.set_len(0).and_then(|()| file.rewind()).and_then(|()| writeln!(file, "{}", std::process::id()));
        // On a full disk the id is missing from an error message that may never be printed.
        drop(written);
        Ok(Self { file })
    }

    /// Takes the lock for reading.
    pub(super) fn shared(directory: &Path) -> Result<Self, BusError> {
        let mut file = open(directory)?;
        taken(directory, &mut file, File::try_lock_shared)?;
        Ok(Self { file })
    }
}

fn open(directory: &Path) -> Result<File, BusError> {
    let opened = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(directory.join("LOCK"));
    opened.map_err(|source| failed(directory, source))
}

fn taken(directory: &Path, file: &mut File, lock: fn(&File) -> Result<(), TryLockError>) -> Result<(), BusError> {
    match lock(file) {
        Ok(()) => Ok(()),
        Err(TryLockError::Error(source)) => Err(failed(directory, source)),
        Err(TryLockError::WouldBlock) => {
            let mut holder = String::new();
            let pid = file.rewind().and_then(|()| file.read_to_string(&mut holder)).ok().and_then(|_| holder.trim().parse::<u32>().ok());
            let who = pid.map_or_else(|| "another process".to_owned(), |pid| format!("process {pid}"));
            Err(BusError::Fatal(format!("{} is in use by {who}", directory.display())))
        }
    }
}

fn failed(directory: &Path, source: io::Error) -> BusError {
    BusError::Io { what: format!("cannot lock {}", directory.display()), source }
}

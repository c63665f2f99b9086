//! Who holds a data directory.

use std::{fmt, fs, os::unix::fs::MetadataExt, path::Path};

/// The file that is locked by whoever uses the directory.
const LOCK_FILE: &str = "LOCK";
const LOCKS: &str = "/proc/locks";

/// Who holds it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Holder {
    /// Nobody: no instance runs there.
    Nobody,
    /// A process; whoever takes the lock leaves its id in the file.
    Process(Option<u32>),
}

impl Holder {
    /// Looks at the kernel's list of locks: to try the lock would be to hold it, and an instance that starts just then
    /// would be turned away.
    pub fn of(data_dir: &Path) -> Self {
        let path = data_dir.join(LOCK_FILE);
        let (Ok(lock), Ok(locks)) = (fs::metadata(&path), fs::read_to_string(LOCKS)) else { return Self::Nobody };
        if !is_locked(&locks, lock.ino()) {
            return Self::Nobody;
        }
        Self::Process(fs::read_to_string(path).ok().and_then(|text| text.trim().parse().ok()))
    }

    /// The id of the process, where it is known.
    pub fn pid(self) -> Option<u32> {
        match self {
            Self::Nobody => None,
            Self::Process(pid) => pid,
        }
    }
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nobody => f.write_str("nobody"),
            Self::Process(None) => f.write_str("a process"),
            Self::Process(Some(pid)) => write!(f, "process {pid} ({})", command_of(*pid)),
        }
    }
}

/// Whether somebody holds an exclusive flock on a file (proc_locks(5)). The device is not compared: layered file systems
/// give another one here than stat(2) does.
fn is_locked(locks: &str, inode: u64) -> bool {
    locks.lines().any(|line| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let [_, "FLOCK", _, "WRITE", _, place, ..] = fields.as_slice() else { return false };
        place.rsplit(':').next().and_then(|number| number.parse().ok()) == Some(inode)
    })
}

/// The name of a process.
pub fn command_of(pid: u32) -> String {
    fs::read_to_string(format!("/proc/{pid}/comm")).map_or_else(|_| "gone".into(), |name| name.trim().to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lock_names_its_holder_as_long_as_it_is_held() {
        let directory = tempfile::tempdir().expect("a directory");
        assert_eq!(Holder::of(directory.path()), Holder::Nobody);
        fs::write(directory.path().join(LOCK_FILE), format!("{}\n", std::process::id())).expect("writes");
        assert_eq!(Holder::of(directory.path()), Holder::Nobody);
        let file = fs::File::open(directory.path().join(LOCK_FILE)).expect("opens");
        file.try_lock().expect("is free");
        assert_eq!(Holder::of(directory.path()), Holder::Process(Some(std::process::id())));
        drop(file);
        assert_eq!(Holder::of(directory.path()), Holder::Nobody);
    }

    #[test]
    fn only_an_exclusive_lock_on_that_file_counts() {
        let locks = "1: POSIX  ADVISORY  WRITE 10 08:01:77 0 EOF\n2: FLOCK  ADVISORY  READ 11 08:01:77 0 EOF\n\
            3: FLOCK  ADVISORY  WRITE 12 00:2a:78 0 EOF\n3: -> FLOCK  ADVISORY  WRITE 13 00:2a:79 0 EOF\n4: FLOCK\n";
        assert_eq!([77, 78, 79].map(|inode| is_locked(locks, inode)), [false, true, false]);
    }
}

//! Small files of the data directory that whoever comes first makes, and all others read.

use std::{
    fs::{File, OpenOptions},
    io::{self, ErrorKind, Read, Write},
    os::unix::fs::OpenOptionsExt,
    path::Path,
};

/// That many random bytes, as hexadecimal digits.
///
/// # Errors
/// If the kernel gives none.
pub fn random_hex(bytes: usize) -> io::Result<String> {
    let mut random = vec![0; bytes];
    File::open("/dev/urandom")?.read_exact(&mut random)?;
    Ok(random.iter().map(|byte| format!("{byte:02x}")).collect())
}

/// The content of a file that only its owner may read; random digits, if it is not there yet. Processes that start at the
/// same time agree: the file appears complete, and only once.
///
/// # Errors
/// If it can neither be read nor made.
pub fn read_or_make(path: &Path, bytes: usize) -> io::Result<String> {
    match std::fs::read_to_string(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => {}
        found => return found,
    }
    let draft = path.with_extension(format!("{}.draft", std::process::id()));
    let made = make(&draft, path, bytes);
    let _ = std::fs::remove_file(&draft);
    match made {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
        made => made?,
    }
    std::fs::read_to_string(path)
}

fn make(draft: &Path, path: &Path, bytes: usize) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(draft)?;
    file.write_all(random_hex(bytes)?.as_bytes())?;
    std::fs::hard_link(draft, path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_who_ask_get_the_same() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let path = dir.path().join("token");
        let ask =
            || std::thread::scope(|scope| (0..8).map(|_| scope.spawn(|| read_or_make(&path, 16))).map(|t| t.join()).collect::<Vec<_>>());
        let found: Vec<String> = ask().into_iter().map(|found| found.expect("no panic").expect("is made")).collect();
        assert!(found.iter().all(|text| text.len() == 32 && *text == found[0]), "{found:?}");
        assert_eq!(std::fs::read_dir(dir.path()).expect("lists").count(), 1, "no draft is left");
    }
}

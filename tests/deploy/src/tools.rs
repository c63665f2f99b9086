//! Programs of others that know a kind of file better than we do.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use crate::root;

/// Finds a program: on the path, or where `scripts/setup` unpacks what must not be installed. Where there is none the line is
/// printed that counts a skipped test.
pub fn find(program: &str, package: &str, what: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::env::split_paths(&path).chain([root().join("target/tools/usr/bin")]);
    let found = folders.map(|folder| folder.join(program)).find(|path| path.is_file());
    if found.is_none() {
        skip(&format!("{what}: {program} is not installed ({package})"));
    }
    found
}

/// Prints the line that counts a skipped test.
pub fn skip(why: &str) {
    println!("SKIPPED: {why}");
}

/// What a program said, and whether it was content.
#[derive(Debug)]
pub struct Verdict {
    /// Whether it ended with success.
    pub is_good: bool,
    /// Everything that it printed.
    pub text: String,
}

/// Runs a program to its end in a folder.
///
/// # Errors
/// If it cannot be started.
pub fn run(program: &Path, arguments: &[&str], folder: &Path) -> std::io::Result<Verdict> {
    let output = Command::new(program).args(arguments).current_dir(folder).output()?;
    let text = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
    Ok(Verdict { is_good: output.status.success(), text })
}

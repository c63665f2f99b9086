//! Holds the files of deployment to what the repository is: the image, compose, systemd, Prometheus, Grafana.
//!
//! Each module reads one kind of file into plain structs and lists what is wrong with it, as sentences; an empty list is a
//! good file. What only a tool of others can say (`promtool`, `systemd-analyze`, `hadolint`, `docker compose`, Grafana's own
//! types) is asked of it where it is installed, and counted as skipped where it is not.

pub mod binaries;
pub mod compose;
pub mod dashboard;
pub mod dockerfile;
pub mod interpolation;
pub mod promql;
pub mod rules;
pub mod tools;
pub mod unit;

use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;

/// A file that is not what it should be at all.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// It cannot be read.
    #[error("cannot read {path}", path = path.display())]
    Read {
        /// Where it should be.
        path: PathBuf,
        /// What the operating system says.
        #[source]
        source: std::io::Error,
    },
    /// It has another form.
    #[error("{what}: {problem}")]
    Form {
        /// Which file, or which part of it.
        what: String,
        /// What was found and what was expected.
        problem: String,
    },
}

impl FileError {
    pub(crate) fn form(what: impl Into<String>, problem: impl ToString) -> Self {
        Self::Form { what: what.into(), problem: problem.to_string() }
    }
}

/// The root of the repository.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// A file of the repository, by its path from the root.
///
/// # Errors
/// If it cannot be read.
pub fn read(path: &str) -> Result<String, FileError> {
    let path = root().join(path);
    std::fs::read_to_string(&path).map_err(|source| FileError::Read { path, source })
}

/// A YAML document, in a form of which everything is known: an unknown key is an error.
///
/// # Errors
/// If it is no YAML or has another form.
pub fn yaml<T: DeserializeOwned>(what: &str, text: &str) -> Result<T, FileError> {
    serde_saphyr::from_str(text).map_err(|error| FileError::form(what, error))
}

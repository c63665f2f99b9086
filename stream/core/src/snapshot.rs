//! State on its way to and from the state log: named sections of bytes.

use serde::{Serialize, de::DeserializeOwned};

/// Why a state cannot be written or read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StateError {
    /// The snapshot has no such section.
    #[error("snapshot has no section {section:?}")]
    Missing {
        /// Name of the section.
        section: String,
    },
    /// A section is not what it should be.
    #[error("snapshot section {section:?} is damaged: {detail}")]
    Damaged {
        /// Name of the section.
        section: String,
        /// What was expected, what came.
        detail: String,
    },
    /// The snapshot was written by a version whose state this one cannot take over.
    #[error("state version {found} cannot be taken over by this program, which writes {expected}")]
    Version {
        /// The snapshot's.
        found: u16,
        /// This program's.
        expected: u16,
    },
    /// The state does not fit the present configuration.
    #[error("state does not fit the configuration: {0}")]
    Config(String),
}

/// Collects a state as named sections. Equal states must give equal bytes, so write maps in sorted order; a section of
/// its own for each part keeps one that grows from shifting the others, so that little of a large state is rewritten.
#[derive(Debug, Default)]
pub struct SnapshotWriter {
    sections: Vec<(String, Vec<u8>)>,
}

impl SnapshotWriter {
    /// The bytes of a section, to append to; begins it if it is new.
    pub fn section(&mut self, name: &str) -> &mut Vec<u8> {
        let index = match self.sections.iter().position(|(known, _)| known == name) {
            Some(index) => index,
            None => {
                self.sections.push((name.into(), Vec::new()));
                self.sections.len() - 1
            }
        };
        &mut self.sections[index].1
    }

    /// Appends the postcard encoding of a value to a section.
    ///
    /// # Errors
    /// If the value cannot be encoded.
    pub fn put<T: Serialize + ?Sized>(&mut self, name: &str, value: &T) -> Result<(), StateError> {
        let damaged = |error: postcard::Error| StateError::Damaged { section: name.into(), detail: error.to_string() };
        let bytes = postcard::to_stdvec(value).map_err(damaged)?;
        self.section(name).extend(bytes);
        Ok(())
    }

    /// All sections in order.
    pub fn into_sections(self) -> Vec<(String, Vec<u8>)> {
        self.sections
    }
}

/// A state read back.
#[derive(Debug, Clone, Copy)]
pub struct SnapshotReader<'a> {
    sections: &'a [(String, Vec<u8>)],
    /// The `STATE_VERSION` of the program that wrote it.
    pub state_version: u16,
    /// Hash of the configuration under which it was written.
    pub config_hash: u64,
    /// Hash of the present configuration.
    pub config_hash_now: u64,
}

impl<'a> SnapshotReader<'a> {
    /// Reads from sections.
    pub fn new(sections: &'a [(String, Vec<u8>)], state_version: u16, config_hash: u64, config_hash_now: u64) -> Self {
        Self { sections, state_version, config_hash, config_hash_now }
    }

    /// The bytes of a section.
    pub fn section(&self, name: &str) -> Option<&'a [u8]> {
        self.sections.iter().find(|(known, _)| known == name).map(|(_, bytes)| bytes.as_slice())
    }

    /// The bytes of a section that must be there.
    ///
    /// # Errors
    /// [`StateError::Missing`].
    pub fn require(&self, name: &str) -> Result<&'a [u8], StateError> {
        self.section(name).ok_or_else(|| StateError::Missing { section: name.into() })
    }

    /// A section that holds one postcard value and nothing more.
    ///
    /// # Errors
    /// If it is missing or damaged.
    pub fn get<T: DeserializeOwned>(&self, name: &str) -> Result<T, StateError> {
        let damaged = |detail: String| StateError::Damaged { section: name.into(), detail };
        let (value, rest) = postcard::take_from_bytes(self.require(name)?).map_err(|error| damaged(error.to_string()))?;
        if rest.is_empty() { Ok(value) } else { Err(damaged(format!("{} bytes follow the value", rest.len()))) }
    }
}

//! How far each source that can be read again has been read: what stands on the bus beside the records.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// First byte of a cursor.
const VERSION: u8 = 1;

/// Positions by source name.
pub(crate) type Positions = BTreeMap<String, Position>;

/// The place after the last line that was published.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Position {
    File(FilePosition),
    /// `__CURSOR` of the last entry.
    Journal(String),
    /// Records of the kernel ring are numbered anew at each boot.
    Kernel {
        boot_id: String,
        seq: u64,
    },
}

/// A place in a file, whatever its name is now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct FilePosition {
    pub(crate) device: u64,
    pub(crate) inode: u64,
    pub(crate) head: Head,
    pub(crate) offset: u64,
}

/// The first bytes of a file: an inode number is used again soon after its file is deleted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(crate) struct Head {
    /// How many bytes were there to look at, at most [`Head::BYTES_MAX`].
    pub(crate) bytes: u16,
    /// CRC-32C of them.
    pub(crate) checksum: u32,
}

impl Head {
    pub(crate) const BYTES_MAX: usize = 256;

    /// Of a file that begins with these bytes.
    pub(crate) fn of(start: &[u8]) -> Self {
        let head = start.get(..Self::BYTES_MAX).unwrap_or(start);
        Self { bytes: u16::try_from(head.len()).unwrap_or(u16::MAX), checksum: crc32c::crc32c(head) }
    }

    /// Can the file that begins with these bytes be the one, grown since?
    pub(crate) fn fits(&self, start: &[u8]) -> bool {
        start.get(..usize::from(self.bytes)).is_some_and(|head| crc32c::crc32c(head) == self.checksum)
    }
}

/// A cursor that cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum CursorError {
    /// A newer version wrote it.
    #[error("cursor on the bus has version {found}, this program reads {VERSION}: a newer version wrote it")]
    Version {
        /// Its version.
        found: u8,
    },
    /// Not what we write.
    #[error("cursor on the bus is damaged")]
    Damaged(#[source] postcard::Error),
}

/// Reads a cursor; an empty one is the beginning.
pub(crate) fn decode(bytes: &[u8]) -> Result<Positions, CursorError> {
    match bytes {
        [] => Ok(Positions::new()),
        [VERSION, body @ ..] => postcard::from_bytes(body).map_err(CursorError::Damaged),
        [found, ..] => Err(CursorError::Version { found: *found }),
    }
}

/// Writes a cursor.
pub(crate) fn encode(positions: &Positions) -> Result<Vec<u8>, CursorError> {
    postcard::to_extend(positions, vec![VERSION]).map_err(CursorError::Damaged)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn position() -> impl Strategy<Value = Position> {
        prop_oneof![
            (any::<u64>(), any::<u64>(), any::<u16>(), any::<u32>(), any::<u64>()).prop_map(|(device, inode, bytes, checksum, offset)| {
                Position::File(FilePosition { device, inode, head: Head { bytes, checksum }, offset })
            }),
            "\\PC{0,40}".prop_map(Position::Journal),
            ("[0-9a-f-]{36}", any::<u64>()).prop_map(|(boot_id, seq)| Position::Kernel { boot_id, seq }),
        ]
    }

    proptest! {
        #[test]
        fn a_cursor_survives_the_bus(positions in prop::collection::btree_map("\\PC{0,20}", position(), 0..8)) {
            prop_assert_eq!(decode(&encode(&positions).expect("encodes")).expect("decodes"), positions);
        }

        #[test]
        fn any_bytes_are_a_cursor_or_an_error(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = decode(&bytes);
            let _ = decode(&[&[VERSION], &bytes[..]].concat());
        }

        #[test]
        fn a_file_keeps_its_head_while_it_grows(start in prop::collection::vec(any::<u8>(), 0..300), more in prop::collection::vec(any::<u8>(), 0..300)) {
            let head = Head::of(&start);
            prop_assert!(head.fits(&[start.clone(), more].concat()));
            if let Some(first) = start.first() {
                prop_assert!(!head.fits(&[&[!first], &start[1..]].concat()));
            }
        }
    }

    #[test]
    fn a_cursor_of_a_newer_version_is_refused_with_its_number() {
        let error = decode(&[9, 0]).expect_err("a newer version");
        assert!(error.to_string().contains('9'));
        assert_eq!(decode(&[]).expect("the beginning"), Positions::new());
    }
}

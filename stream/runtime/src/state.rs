//! The state log of one instance: its keys, what stands under them, and how a snapshot becomes keys and comes back.
//!
//! | key | when | content |
//! |---|---|---|
//! | `pos` | every commit | [`Position`] |
//! | `journal/<n>` | an idle tick | [`JournalEntry`] |
//! | `chunk/<section>/<n>` | snapshot | ≤ 512 KiB of a section, written only if it changed |
//! | `head` | snapshot, last | [`Head`] |

use std::collections::{BTreeMap, BTreeSet};

use schemas::EventTime;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use sha2::{Digest, Sha256};
use stream_core::{EventClock, NextOffset, Offset, TopicPartition};

use crate::{
    bus::{StateImage, StateWrite},
    dead_letters::Bucket,
};

/// Key of the position.
pub const POSITION_KEY: &str = "pos";
/// Key of the snapshot's head.
pub const HEAD_KEY: &str = "head";
/// Bytes of one chunk at most: small enough for every bus's record limit.
pub const CHUNK_BYTES_MAX: usize = 512 << 10;
/// Poison offsets that a position may carry; a snapshot empties the set.
pub const POISON_MAX: usize = 64;

/// Where an instance stands. The truth about what has been processed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Position {
    /// Input offset to process next.
    pub next: NextOffset,
    /// The clock there.
    pub clock: EventClock,
    /// Rejects so far, leaking.
    pub bucket: Bucket,
    /// Records since the snapshot that a replay must pass over.
    pub poison: BTreeSet<Offset>,
    /// Entries of the journal since the snapshot.
    pub journal: u32,
}

/// An event that the runtime injected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct JournalEntry {
    /// The input offset before which it applies.
    pub before: NextOffset,
    /// The watermark that it sets.
    pub tick: EventTime,
}

/// What a snapshot consists of, and where it was taken.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Head {
    /// Input offset to process next.
    pub next: NextOffset,
    /// The clock as it was there.
    pub clock: EventClock,
    /// Sections in order.
    pub sections: Vec<SectionHead>,
    /// The processor's `STATE_VERSION`.
    pub state_version: u16,
    /// Partitions of the input topic.
    pub partitions: u32,
    /// Hash of the configuration.
    pub config_hash: u64,
    /// How far the broadcasts had been read.
    pub broadcasts: Vec<(TopicPartition, NextOffset)>,
    /// Version of the program that wrote it.
    pub runtime: String,
}

/// One section of a snapshot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SectionHead {
    /// Name.
    pub name: String,
    /// Number of chunks.
    pub chunks: u32,
    /// Bytes in all.
    pub bytes: u64,
    /// CRC-32C of the bytes.
    pub crc32c: u32,
}

/// A state log that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("state of {at}: key {key:?} {problem}")]
pub struct DamagedState {
    /// Instance.
    pub at: TopicPartition,
    /// Key at fault.
    pub key: String,
    /// What was expected, what came.
    pub problem: String,
}

/// A state log, read.
#[derive(Debug)]
pub struct StoredState {
    /// Where it stood when it committed last.
    pub position: Position,
    /// The last snapshot.
    pub head: Head,
    /// The snapshot's sections.
    pub sections: Vec<(String, Vec<u8>)>,
    /// Injected events since the snapshot, in order.
    pub journal: Vec<JournalEntry>,
    /// What the chunks look like, so that the next snapshot writes only what changed.
    pub cache: ChunkCache,
}

impl StoredState {
    /// Reads an image; none if the instance never committed.
    ///
    /// # Errors
    /// [`DamagedState`] names the key at fault.
    pub fn read(at: &TopicPartition, image: &StateImage) -> Result<Option<Self>, DamagedState> {
        if image.is_empty() {
            return Ok(None);
        }
        let damaged = |key: &str, problem: String| DamagedState { at: at.clone(), key: key.into(), problem };
        let position: Position = decode(at, image, POSITION_KEY)?;
        let head: Head = decode(at, image, HEAD_KEY)?;
        let mut cache = ChunkCache::default();
        let mut sections = Vec::with_capacity(head.sections.len());
        for section in &head.sections {
            let mut bytes = Vec::new();
            for n in 0..section.chunks {
                let key = chunk_key(&section.name, n);
                let chunk = image.get(&key).ok_or_else(|| damaged(&key, "is missing".into()))?;
                bytes.extend_from_slice(chunk);
                cache.hashes.insert(key, hash(chunk));
            }
            let crc32c = crc32c::crc32c(&bytes);
            if bytes.len() as u64 != section.bytes || crc32c != section.crc32c {
                let problem =
                    format!("has {} bytes with checksum {crc32c:08x}, expected {} with {:08x}", bytes.len(), section.bytes, section.crc32c);
                return Err(damaged(&format!("chunk/{}", section.name), problem));
            }
            sections.push((section.name.clone(), bytes));
        }
        let journal = (0..position.journal).map(|n| decode(at, image, &journal_key(n))).collect::<Result<_, _>>()?;
        Ok(Some(Self { position, head, sections, journal, cache }))
    }
}

/// Hashes of the chunks as they were last committed. Lost with the instance on every abort, so it never lies.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ChunkCache {
    hashes: BTreeMap<String, [u8; 16]>,
}

impl ChunkCache {
    /// Splits sections into chunks: appends the writes for those that changed and tombstones for those that are gone, and
    /// returns the sections' heads and the cache to keep once this is committed.
    pub fn write(&self, at: &TopicPartition, sections: &[(String, Vec<u8>)], writes: &mut Vec<StateWrite>) -> (Vec<SectionHead>, Self) {
        let mut next = Self::default();
        let mut heads = Vec::with_capacity(sections.len());
        for (name, bytes) in sections {
            let chunks = bytes.chunks(CHUNK_BYTES_MAX);
            heads.push(SectionHead {
                name: name.clone(),
                chunks: chunks.len() as u32,
                bytes: bytes.len() as u64,
                crc32c: crc32c::crc32c(bytes),
            });
            for (n, chunk) in chunks.enumerate() {
                let key = chunk_key(name, n as u32);
                let hash = hash(chunk);
                if self.hashes.get(&key) != Some(&hash) {
                    writes.push(StateWrite { at: at.clone(), key: key.clone(), value: Some(chunk.to_vec()) });
                }
                next.hashes.insert(key, hash);
            }
        }
        let gone = self.hashes.keys().filter(|key| !next.hashes.contains_key(*key));
        writes.extend(gone.map(|key| StateWrite { at: at.clone(), key: key.clone(), value: None }));
        (heads, next)
    }
}

/// Key of a journal entry.
pub fn journal_key(n: u32) -> String {
    format!("journal/{n:08}")
}

/// Key of a chunk.
fn chunk_key(section: &str, n: u32) -> String {
    format!("chunk/{section}/{n:06}")
}

/// The postcard encoding of a value under a key. These types have no failing fields, so encoding cannot fail.
pub fn write<T: Serialize>(at: &TopicPartition, key: &str, value: &T) -> StateWrite {
    let bytes = postcard::to_stdvec(value).unwrap_or_default();
    StateWrite { at: at.clone(), key: key.into(), value: Some(bytes) }
}

fn decode<T: DeserializeOwned>(at: &TopicPartition, image: &StateImage, key: &str) -> Result<T, DamagedState> {
    let damaged = |problem: String| DamagedState { at: at.clone(), key: key.into(), problem };
    let bytes = image.get(key).ok_or_else(|| damaged("is missing".into()))?;
    postcard::from_bytes(bytes).map_err(|error| damaged(format!("cannot be read: {error}")))
}

fn hash(bytes: &[u8]) -> [u8; 16] {
    let mut hash = [0; 16];
    hash.copy_from_slice(&Sha256::digest(bytes)[..16]);
    hash
}

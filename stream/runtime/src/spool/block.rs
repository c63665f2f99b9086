//! One block: the records of one publication, compressed and checked.
//!
//! ```text
//! header, 32 bytes, little-endian
//!   magic "NSB1"  count u32  first record u64  raw length u32  stored length u32
//!   crc32c of the payload u32  crc32c of the run ‖ the 28 bytes before u32
//! payload, lz4 of the postcard encoding of a StoredBatch
//! ```
//!
//! Records are numbered without gaps, so the numbers tell how many are missing where a block cannot be read. A block without
//! records is a *seal*, the last of a file that was finished in order. The header has a checksum of its own, because a length
//! that is not to be trusted leads nowhere. It covers the run, a random number: a log line is hostile input and must not be
//! able to pass for a header, not even when the search for the next block after a damaged one comes across it.

use serde::{Deserialize, Serialize, Serializer};
use stream_core::{Headers, NextOffset, Offset, TopicName};

use super::mark::Run;
use crate::publish::PublishBatch;

/// Bytes before the payload.
pub(super) const HEADER_BYTES: usize = 32;
/// Raw bytes of a block at most: far above what any source publishes at once, small enough to be held twice in memory.
pub(super) const RAW_BYTES_MAX: usize = 16 << 20;

const MAGIC: [u8; 4] = *b"NSB1";
const CHECKED_BYTES: usize = HEADER_BYTES - 4;

/// What is wrong with a block.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum BlockError {
    #[error("a block of {found} bytes, at most {RAW_BYTES_MAX} are allowed")]
    TooLarge { found: usize },
    #[error("expected {expected} bytes, found {found}")]
    Short { expected: usize, found: usize },
    #[error("expected the magic NSB1, found {0:02x?}")]
    Magic([u8; 4]),
    #[error("checksum is {found:08x}, the header says {expected:08x}")]
    Checksum { expected: u32, found: u32 },
    #[error("impossible header: {0}")]
    Header(String),
    #[error("payload cannot be read: {0}")]
    Payload(String),
}

/// The header of a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Header {
    /// Number of its first record.
    pub(super) first: Offset,
    pub(super) count: u32,
    raw_length: u32,
    stored_length: u32,
    payload_crc: u32,
}

impl Header {
    /// Reads a header of a run; the payload need not be there.
    pub(super) fn decode(run: Run, bytes: &[u8]) -> Result<Self, BlockError> {
        let Some(bytes) = bytes.first_chunk::<HEADER_BYTES>() else {
            return Err(BlockError::Short { expected: HEADER_BYTES, found: bytes.len() });
        };
        let (checked, crc) = bytes.split_at(CHECKED_BYTES);
        let mut fields = checked;
        let magic = take::<4>(&mut fields)?;
        if magic != MAGIC {
            return Err(BlockError::Magic(magic));
        }
        let (expected, found) = (u32::from_le_bytes(take(&mut &*crc)?), checksum(run, checked));
        if expected != found {
            return Err(BlockError::Checksum { expected, found });
        }
        let count = u32::from_le_bytes(take(&mut fields)?);
        let first = Offset(u64::from_le_bytes(take(&mut fields)?));
        let raw_length = u32::from_le_bytes(take(&mut fields)?);
        let stored_length = u32::from_le_bytes(take(&mut fields)?);
        let payload_crc = u32::from_le_bytes(take(&mut fields)?);
        if raw_length as usize > RAW_BYTES_MAX || first.0.checked_add(count.into()).is_none() {
            return Err(BlockError::Header(format!("{count} records from {first} in {raw_length} bytes")));
        }
        Ok(Self { first, count, raw_length, stored_length, payload_crc })
    }

    /// Bytes of the whole block.
    pub(super) fn bytes(&self) -> u64 {
        HEADER_BYTES as u64 + u64::from(self.stored_length)
    }

    /// Bytes of the payload as it lies in the file.
    pub(super) fn payload_bytes(&self) -> usize {
        self.stored_length as usize
    }

    /// Bytes of the payload when it is unpacked.
    pub(super) fn raw_bytes(&self) -> usize {
        self.raw_length as usize
    }

    /// The number after its last record.
    pub(super) fn next(&self) -> NextOffset {
        NextOffset(self.first.0 + u64::from(self.count))
    }

    fn encode(&self, run: Run) -> [u8; HEADER_BYTES] {
        let mut bytes = [0; HEADER_BYTES];
        let fields: [&[u8]; 6] = [
            &MAGIC,
            &self.count.to_le_bytes(),
            &self.first.0.to_le_bytes(),
            &self.raw_length.to_le_bytes(),
            &self.stored_length.to_le_bytes(),
            &self.payload_crc.to_le_bytes(),
        ];
        let (checked, crc) = bytes.split_at_mut(CHECKED_BYTES);
        for (byte, field) in checked.iter_mut().zip(fields.into_iter().flatten()) {
            *byte = *field;
        }
        crc.copy_from_slice(&checksum(run, checked).to_le_bytes());
        bytes
    }
}

/// Writes a batch as the block that begins with record number `first`.
pub(super) fn encode(run: Run, first: NextOffset, batch: &PublishBatch) -> Result<(Header, Vec<u8>), BlockError> {
    let mut topics: Vec<&str> = Vec::new();
    let mut records = Vec::with_capacity(batch.len());
    for record in batch.records() {
        let name = record.topic.as_str();
        let topic = topics.iter().position(|known| *known == name).unwrap_or_else(|| {
            topics.push(name);
            topics.len() - 1
        });
        let (key, value, headers) = (record.key.map(Bytes), record.value.map(Bytes), Bytes(record.headers.encoded()));
        records.push(StoredRecord { topic: topic as u32, key, value, headers });
    }
    let raw = postcard::to_stdvec(&StoredBatch { topics, records }).map_err(|error| BlockError::Payload(error.to_string()))?;
    if raw.len() > RAW_BYTES_MAX {
        return Err(BlockError::TooLarge { found: raw.len() });
    }
    let payload = lz4_flex::block::compress(&raw);
    let header = Header {
        first: Offset(first.0),
        count: batch.len() as u32,
        raw_length: raw.len() as u32,
        stored_length: payload.len() as u32,
        payload_crc: crc32c::crc32c(&payload),
    };
    Ok((header, [&header.encode(run)[..], &payload].concat()))
}

/// The block that ends a finished file.
pub(super) fn seal(run: Run, next: NextOffset) -> [u8; HEADER_BYTES] {
    Header { first: Offset(next.0), count: 0, raw_length: 0, stored_length: 0, payload_crc: crc32c::crc32c(&[]) }.encode(run)
}

/// Adds the records of a payload to a batch, or none of them.
pub(super) fn decode(header: &Header, payload: &[u8], into: &mut PublishBatch) -> Result<(), BlockError> {
    let (expected, found) = (header.payload_crc, crc32c::crc32c(payload));
    if expected != found {
        return Err(BlockError::Checksum { expected, found });
    }
    if header.count == 0 { Ok(()) } else { unpack(header, payload, into) }
}

/// The part of [`decode`] that comes after the checksum.
pub(super) fn unpack(header: &Header, payload: &[u8], into: &mut PublishBatch) -> Result<(), BlockError> {
    let damaged = |problem: String| BlockError::Payload(problem);
    let raw = lz4_flex::block::decompress(payload, header.raw_bytes()).map_err(|error| damaged(error.to_string()))?;
    let (batch, rest) = postcard::take_from_bytes::<StoredBatch<'_>>(&raw).map_err(|error| damaged(error.to_string()))?;
    if !rest.is_empty() || batch.records.len() != header.count as usize {
        return Err(damaged(format!("{} records and {} bytes, expected {} records", batch.records.len(), rest.len(), header.count)));
    }
    let topics: Vec<TopicName> = batch.topics.iter().map(|topic| TopicName::new(topic)).collect();
    let mut records = PublishBatch::default();
    for record in &batch.records {
        let topic = topics.get(record.topic as usize).ok_or_else(|| damaged(format!("no topic number {}", record.topic)))?;
        let (key, value) = (record.key.map(|key| key.0), record.value.map(|value| value.0));
        records.push(topic, key, value, Headers::from_encoded(record.headers.0)).map_err(|error| damaged(error.to_string()))?;
    }
    if into.is_empty() {
        *into = records;
        return Ok(());
    }
    for record in records.records() {
        into.push(record.topic, record.key, record.value, record.headers).map_err(|error| damaged(error.to_string()))?;
    }
    Ok(())
}

fn checksum(run: Run, header: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(&run.0), header)
}

fn take<const N: usize>(fields: &mut &[u8]) -> Result<[u8; N], BlockError> {
    let (field, rest) = fields.split_first_chunk::<N>().ok_or(BlockError::Short { expected: N, found: fields.len() })?;
    *fields = rest;
    Ok(*field)
}

#[derive(Serialize, Deserialize)]
struct StoredBatch<'a> {
    #[serde(borrow)]
    topics: Vec<&'a str>,
    #[serde(borrow)]
    records: Vec<StoredRecord<'a>>,
}

#[derive(Serialize, Deserialize)]
struct StoredRecord<'a> {
    topic: u32,
    #[serde(borrow)]
    key: Option<Bytes<'a>>,
    #[serde(borrow)]
    value: Option<Bytes<'a>>,
    #[serde(borrow)]
    headers: Bytes<'a>,
}

/// A slice that is written as a whole: serde would write a bare one byte by byte.
#[derive(Clone, Copy, Deserialize)]
struct Bytes<'a>(#[serde(borrow)] &'a [u8]);

impl Serialize for Bytes<'_> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_bytes(self.0)
    }
}

//! One chunk: the records of one partition and one group commit, compressed and checked as a whole. One row per record
//! would cost a tree insert each; a chunk costs one append.
//!
//! ```text
//! header, 52 bytes, little-endian
//!   magic "NLB1"  codec u8  zero u8×3  count u32  span u32  raw length u32  stored length u32
//!   base offset u64  first append time i64  last append time i64  crc32c u32 (of payload ‖ the 48 bytes before it)
//! payload, raw or lz4
//!   (varint gap, varint time step, varint key length + 1 or 0, varint value length + 1 or 0, varint headers length,
//!    key, value, headers)*
//! ```
//!
//! `gap` counts the offsets left out before a record and `time step` the nanoseconds since the one before it. Both are 0 in
//! a chunk fresh from a commit, so such payloads can be joined as they are; compaction writes others. `span` is the number
//! of offsets that the chunk stands for, so that neighbours meet even where records are gone. The checksum begins with the
//! payload: the thread that publishes computes that part, and the committer, who knows offset and time, adds the header.

use schemas::EventTime;
use stream_core::{NextOffset, Offset};

use super::varint;

/// Bytes before the payload.
pub(super) const HEADER_BYTES: usize = 52;
/// Raw bytes at which a chunk is full. A reader decompresses this much to find one record.
pub(super) const CHUNK_RAW_BYTES: usize = 256 << 10;
/// Raw bytes that a header may claim: a full chunk and one more record of the largest size.
pub(super) const CHUNK_RAW_BYTES_MAX: usize = 2 << 20;

const MAGIC: [u8; 4] = *b"NLB1";
const CHECKED_BYTES: usize = HEADER_BYTES - 4;

/// What is wrong with a chunk.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum ChunkError {
    #[error("expected {expected} bytes, found {found}")]
    Short { expected: usize, found: usize },
    #[error("expected the magic NLB1, found {0:02x?}")]
    Magic([u8; 4]),
    #[error("impossible header: {0}")]
    Header(String),
    #[error("checksum is {found:08x}, the header says {expected:08x}")]
    Checksum { expected: u32, found: u32 },
    #[error("payload does not decompress: {0}")]
    Compression(String),
    #[error("record {0} is damaged")]
    Record(u32),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Codec {
    Raw = 0,
    Lz4 = 1,
}

/// The header of a chunk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Header {
    codec: Codec,
    pub(super) count: u32,
    /// Offsets that the chunk stands for, at least `count`.
    pub(super) span: u32,
    raw_length: u32,
    stored_length: u32,
    pub(super) base: Offset,
    pub(super) first_appended: EventTime,
    pub(super) last_appended: EventTime,
    crc: u32,
}

impl Header {
    /// Reads a header; the payload need not be there.
    pub(super) fn decode(bytes: &[u8]) -> Result<Self, ChunkError> {
        let Some(bytes) = bytes.first_chunk::<HEADER_BYTES>() else {
            return Err(ChunkError::Short { expected: HEADER_BYTES, found: bytes.len() });
        };
        let mut fields = &bytes[..];
        let magic = take::<4>(&mut fields)?;
        if magic != MAGIC {
            return Err(ChunkError::Magic(magic));
        }
        let impossible = |what: String| Err(ChunkError::Header(what));
        let codec = match take::<4>(&mut fields)? {
            [0, 0, 0, 0] => Codec::Raw,
            [1, 0, 0, 0] => Codec::Lz4,
            other => return impossible(format!("codec {other:?}")),
        };
        let count = u32::from_le_bytes(take(&mut fields)?);
        let span = u32::from_le_bytes(take(&mut fields)?);
        let raw_length = u32::from_le_bytes(take(&mut fields)?);
        let stored_length = u32::from_le_bytes(take(&mut fields)?);
        let base = u64::from_le_bytes(take(&mut fields)?);
        let first_appended = EventTime(i64::from_le_bytes(take(&mut fields)?));
        let last_appended = EventTime(i64::from_le_bytes(take(&mut fields)?));
        let crc = u32::from_le_bytes(take(&mut fields)?);
        if count > span || base.checked_add(u64::from(span)).is_none() {
            return impossible(format!("{count} records in {span} offsets from {base}"));
        }
        if raw_length as usize > CHUNK_RAW_BYTES_MAX || stored_length > raw_length {
            return impossible(format!("{stored_length} bytes stored for {raw_length}, at most {CHUNK_RAW_BYTES_MAX}"));
        }
        Ok(Self { codec, count, span, raw_length, stored_length, base: Offset(base), first_appended, last_appended, crc })
    }

    /// Bytes of the chunk in its file.
    pub(super) fn bytes(&self) -> usize {
        HEADER_BYTES + self.stored_length as usize
    }

    /// The position after it.
    pub(super) fn next(&self) -> NextOffset {
        NextOffset(self.base.0 + u64::from(self.span))
    }

    fn checked_bytes(&self) -> [u8; CHECKED_BYTES] {
        let mut bytes = [0; CHECKED_BYTES];
        let fields: [&[u8]; 9] = [
            &MAGIC,
            &[self.codec as u8, 0, 0, 0],
            &self.count.to_le_bytes(),
            &self.span.to_le_bytes(),
            &self.raw_length.to_le_bytes(),
            &self.stored_length.to_le_bytes(),
            &self.base.0.to_le_bytes(),
            &self.first_appended.0.to_le_bytes(),
            &self.last_appended.0.to_le_bytes(),
        ];
        for (byte, field) in bytes.iter_mut().zip(fields.into_iter().flatten()) {
            *byte = *field;
        }
        bytes
    }
}

fn take<const N: usize>(from: &mut &[u8]) -> Result<[u8; N], ChunkError> {
    let Some((head, rest)) = from.split_first_chunk::<N>() else {
        return Err(ChunkError::Short { expected: N, found: from.len() });
    };
    *from = rest;
    Ok(*head)
}

/// A chunk without records, which stands for offsets whose records are lost.
pub(super) fn covering(base: Offset, span: u32, appended_at: EventTime) -> Vec<u8> {
    Records::default().seal().place(base, span, appended_at, appended_at).0
}

/// Records being collected for one chunk.
#[derive(Debug, Clone, Default)]
pub(super) struct Records {
    raw: Vec<u8>,
    count: u32,
}

impl Records {
    /// Appends a record that follows its predecessor directly, in offset and time.
    pub(super) fn push(&mut self, key: Option<&[u8]>, value: Option<&[u8]>, headers: &[u8]) {
        self.push_after(0, 0, key, value, headers);
    }

    /// Appends a record after a gap of offsets and a step in time.
    pub(super) fn push_after(&mut self, gap: u64, time_step: u64, key: Option<&[u8]>, value: Option<&[u8]>, headers: &[u8]) {
        let raw = &mut self.raw;
        let length = |bytes: Option<&[u8]>| bytes.map_or(0, |bytes| bytes.len() as u64 + 1);
        for number in [gap, time_step, length(key), length(value), headers.len() as u64] {
            varint::put(raw, number);
        }
        raw.extend_from_slice(key.unwrap_or_default());
        raw.extend_from_slice(value.unwrap_or_default());
        raw.extend_from_slice(headers);
        self.count += 1;
    }

    /// Appends records that follow directly.
    pub(super) fn join(&mut self, other: &Self) {
        self.raw.extend_from_slice(&other.raw);
        self.count += other.count;
    }

    /// Raw bytes so far.
    pub(super) fn bytes(&self) -> usize {
        self.raw.len()
    }

    /// Whether there is none.
    pub(super) fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Compresses what was collected; the expensive part of an append.
    pub(super) fn seal(self) -> Sealed {
        let raw = self.raw;
        let room = lz4_flex::block::get_maximum_output_size(raw.len());
        let mut stored = vec![0; HEADER_BYTES + room];
        let packed = stored.get_mut(HEADER_BYTES..).and_then(|payload| lz4_flex::block::compress_into(&raw, payload).ok());
        let codec = match packed {
            Some(length) if length < raw.len() => {
                stored.truncate(HEADER_BYTES + length);
                Codec::Lz4
            }
            _ => {
                stored.truncate(HEADER_BYTES);
                stored.extend_from_slice(&raw);
                Codec::Raw
            }
        };
        stored.shrink_to_fit();
        let payload_crc = crc32c::crc32c(stored.get(HEADER_BYTES..).unwrap_or_default());
        Sealed { stored, raw, codec, count: self.count, payload_crc }
    }
}

/// A chunk that lacks only its place and time.
#[derive(Debug)]
pub(super) struct Sealed {
    stored: Vec<u8>,
    raw: Vec<u8>,
    codec: Codec,
    pub(super) count: u32,
    payload_crc: u32,
}

impl Sealed {
    /// Bytes that it will take in its file.
    pub(super) fn bytes(&self) -> usize {
        self.stored.len()
    }

    /// Gives it its place and time: the bytes for the file, the header, and the chunk for readers.
    pub(super) fn place(
        mut self,
        base: Offset,
        span: u32,
        first_appended: EventTime,
        last_appended: EventTime,
    ) -> (Vec<u8>, Header, Chunk) {
        let (raw_length, stored_length) = (self.raw.len() as u32, (self.stored.len() - HEADER_BYTES) as u32);
        let count = self.count;
        let mut header = Header { codec: self.codec, count, span, raw_length, stored_length, base, first_appended, last_appended, crc: 0 };
        let checked = header.checked_bytes();
        header.crc = crc32c::crc32c_append(self.payload_crc, &checked);
        for (to, from) in self.stored.iter_mut().zip(checked.into_iter().chain(header.crc.to_le_bytes())) {
            *to = from;
        }
        (self.stored, header, Chunk { header, raw: self.raw })
    }
}

/// A chunk as readers see it: decompressed.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Chunk {
    header: Header,
    raw: Vec<u8>,
}

impl Chunk {
    /// Checks and decompresses the chunk at the start of `bytes`.
    pub(super) fn decode(bytes: &[u8]) -> Result<Self, ChunkError> {
        let header = Header::decode(bytes)?;
        let Some(payload) = bytes.get(HEADER_BYTES..header.bytes()) else {
            return Err(ChunkError::Short { expected: header.bytes(), found: bytes.len() });
        };
        let found = crc32c::crc32c_append(crc32c::crc32c(payload), &header.checked_bytes());
        if found != header.crc {
            return Err(ChunkError::Checksum { expected: header.crc, found });
        }
        let raw = match header.codec {
            Codec::Raw => payload.to_vec(),
            Codec::Lz4 => lz4_flex::block::decompress(payload, header.raw_length as usize)
                .map_err(|error| ChunkError::Compression(error.to_string()))?,
        };
        if raw.len() != header.raw_length as usize {
            return Err(ChunkError::Short { expected: header.raw_length as usize, found: raw.len() });
        }
        Ok(Self { header, raw })
    }

    /// Its header.
    pub(super) fn header(&self) -> &Header {
        &self.header
    }

    /// Bytes in memory.
    pub(super) fn bytes(&self) -> usize {
        self.raw.len()
    }

    /// A place before its first record.
    pub(super) fn start(&self) -> Place {
        Place { at: 0, read: 0, offset: self.header.base.0, appended_at: self.header.first_appended }
    }

    /// The record at a place, which moves on; none after the last.
    pub(super) fn record(&self, place: &mut Place) -> Result<Option<ChunkRecord<'_>>, ChunkError> {
        if place.read == self.header.count {
            return Ok(None);
        }
        let damaged = ChunkError::Record(place.read);
        let mut rest = self.raw.get(place.at..).ok_or(damaged.clone())?;
        let record = parse(&mut rest, place).filter(|record| record.offset.next() <= self.header.next()).ok_or(damaged)?;
        *place =
            Place { at: self.raw.len() - rest.len(), read: place.read + 1, offset: record.offset.0 + 1, appended_at: record.appended_at };
        Ok(Some(record))
    }
}

/// A place between the records of a chunk.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place {
    at: usize,
    read: u32,
    offset: u64,
    appended_at: EventTime,
}

/// One record, borrowed from its chunk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ChunkRecord<'a> {
    pub(super) offset: Offset,
    pub(super) appended_at: EventTime,
    pub(super) key: Option<&'a [u8]>,
    pub(super) value: Option<&'a [u8]>,
    pub(super) headers: &'a [u8],
}

fn parse<'a>(rest: &mut &'a [u8], place: &Place) -> Option<ChunkRecord<'a>> {
    let offset = place.offset.checked_add(varint::take(rest)?)?;
    let appended_at = place.appended_at.0.checked_add(i64::try_from(varint::take(rest)?).ok()?)?;
    let (key, value, headers) = (varint::take(rest)?, varint::take(rest)?, varint::take(rest)?);
    let mut bytes = |length: u64| {
        let (head, tail) = rest.split_at_checked(usize::try_from(length).ok()?)?;
        *rest = tail;
        Some(head)
    };
    let key = if key == 0 { None } else { Some(bytes(key - 1)?) };
    let value = if value == 0 { None } else { Some(bytes(value - 1)?) };
    let headers = bytes(headers)?;
    offset.checked_add(1)?;
    Some(ChunkRecord { offset: Offset(offset), appended_at: EventTime(appended_at), key, value, headers })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::{collection::vec, option, prelude::*};

    type Plain = (Option<Vec<u8>>, Option<Vec<u8>>, Vec<u8>);

    fn plain() -> impl Strategy<Value = Vec<Plain>> {
        vec((option::of(vec(any::<u8>(), 0..40)), option::of(vec(0u8..4, 0..400)), vec(any::<u8>(), 0..9)), 1..40)
    }

    fn encode(records: &[Plain], base: u64) -> Vec<u8> {
        let mut collected = Records::default();
        for (key, value, headers) in records {
            collected.push(key.as_deref(), value.as_deref(), headers);
        }
        let time = EventTime(7);
        collected.seal().place(Offset(base), records.len() as u32, time, time).0
    }

    fn read_all(chunk: &Chunk) -> Result<Vec<(u64, Plain)>, ChunkError> {
        let mut place = chunk.start();
        let mut all = Vec::new();
        while let Some(record) = chunk.record(&mut place)? {
            let owned = |bytes: Option<&[u8]>| bytes.map(<[u8]>::to_vec);
            all.push((record.offset.0, (owned(record.key), owned(record.value), record.headers.to_vec())));
        }
        Ok(all)
    }

    proptest! {
        #[test]
        fn what_goes_in_comes_out(records in plain(), base in 0u64..1 << 60) {
            let chunk = Chunk::decode(&encode(&records, base)).unwrap();
            let expected: Vec<_> = (base..).zip(records).collect();
            prop_assert_eq!(read_all(&chunk).unwrap(), expected);
        }

        #[test]
        fn a_changed_byte_is_noticed(records in plain(), at in any::<prop::sample::Index>(), flip in 1u8..) {
            let mut bytes = encode(&records, 9);
            let at = at.index(bytes.len());
            bytes[at] ^= flip;
            prop_assert!(Chunk::decode(&bytes).is_err());
        }

        #[test]
        fn decoding_is_total(bytes in vec(any::<u8>(), 0..200)) {
            let _ = Chunk::decode(&bytes).map(|chunk| read_all(&chunk));
        }

        /// A checksum is no shield against a writer's fault: whatever stands under a valid one must not panic either.
        #[test]
        fn reading_is_total_under_a_valid_checksum(raw in vec(any::<u8>(), 0..200), count in 0u32..50, more in 0u32..9, base in any::<u64>()) {
            let (time, span) = (EventTime(i64::MAX - 3), count + more);
            let stored = Records { raw, count }.seal().place(Offset(base), span, time, time).0;
            let _ = Chunk::decode(&stored).map(|chunk| read_all(&chunk));
        }
    }

    #[test]
    fn gaps_and_time_steps_are_kept() {
        let mut records = Records::default();
        records.push_after(3, 0, Some(b"a"), None, b"");
        records.push_after(0, 10, None, Some(b"b"), b"");
        records.push_after(5, 1, None, None, b"h");
        let (stored, ..) = records.seal().place(Offset(100), 20, EventTime(50), EventTime(61));
        let chunk = Chunk::decode(&stored).unwrap();
        let mut place = chunk.start();
        let mut seen = Vec::new();
        while let Some(record) = chunk.record(&mut place).unwrap() {
            seen.push((record.offset.0, record.appended_at.0));
        }
        assert_eq!(seen, [(103, 50), (104, 60), (110, 61)]);
        assert_eq!(chunk.header().next(), NextOffset(120));
    }
}

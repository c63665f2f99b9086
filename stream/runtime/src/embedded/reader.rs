//! A place in the log of one partition, from which records are read in order: from memory at the tail, else from the
//! segment files, a window at a time.

use std::sync::Arc;

use stream_core::{Headers, NextOffset, Record};

use super::{
    chunk::{Chunk, HEADER_BYTES, Header, Place},
    partition_log::{Located, PartitionLog},
    segment::Segment,
};
use crate::{bus::BusError, gathered::Gathered};

/// What is read from a file at once.
const WINDOW_BYTES: usize = 256 << 10;

/// How much one read may bring; compared with what stands in the arena already.
#[derive(Debug, Clone, Copy)]
pub(super) struct Room {
    pub(super) records_max: usize,
    pub(super) bytes_max: usize,
}

impl Room {
    /// Whether nothing more fits. One record always does.
    pub(super) fn is_full(&self, gathered: &Gathered) -> bool {
        gathered.len() >= self.records_max.max(1) || gathered.bytes() >= self.bytes_max.max(1)
    }
}

/// How a read ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ReadEnd {
    /// No more records.
    End,
    /// No more room.
    Full,
    /// Retention went past the position, which is now the first that is left.
    Trimmed { from: NextOffset, to: NextOffset },
}

/// A reader of one partition.
#[derive(Debug)]
pub(super) struct Reader {
    log: Arc<PartitionLog>,
    position: NextOffset,
    current: Option<(Arc<Chunk>, Place)>,
    window: Option<Window>,
}

/// A stretch of a segment file.
#[derive(Debug)]
struct Window {
    segment: Arc<Segment>,
    /// Where `bytes` begin in the file.
    start: u64,
    /// How much of `bytes` has been taken.
    taken: usize,
    /// The position after the last chunk taken.
    next: NextOffset,
    bytes: Vec<u8>,
}

impl Reader {
    pub(super) fn new(log: &Arc<PartitionLog>, position: NextOffset) -> Self {
        Self { log: Arc::clone(log), position, current: None, window: None }
    }

    pub(super) fn position(&self) -> NextOffset {
        self.position
    }

    pub(super) fn seek(&mut self, position: NextOffset) {
        if position != self.position {
            (self.position, self.current) = (position, None);
        }
    }

    /// Copies records into `into` until it is full, or nothing is left.
    pub(super) fn read(&mut self, room: Room, into: &mut Gathered) -> Result<ReadEnd, BusError> {
        loop {
            if let Some((chunk, place)) = &mut self.current {
                let full = drain(&self.log, chunk, place, &mut self.position, room, into)?;
                if full {
                    return Ok(ReadEnd::Full);
                }
                self.position = self.position.max(chunk.header().next());
                self.current = None;
            }
            if room.is_full(into) {
                return Ok(ReadEnd::Full);
            }
            let chunk = match self.log.locate(self.position) {
                Located::End => return Ok(ReadEnd::End),
                Located::Trimmed(to) => {
                    let from = self.position;
                    self.seek(to);
                    return Ok(ReadEnd::Trimmed { from, to });
                }
                Located::Memory(chunk) => {
                    self.window = None;
                    chunk
                }
                Located::File { segment, position, end } => Arc::new(self.load(segment, position, end)?),
            };
            let place = chunk.start();
            self.current = Some((chunk, place));
        }
    }

    /// Decodes the first chunk that reaches past the position.
    fn load(&mut self, segment: Arc<Segment>, position: u64, end: u64) -> Result<Chunk, BusError> {
        let mut window = match self.window.take() {
            Some(window) if Arc::ptr_eq(&window.segment, &segment) && window.next == self.position => window,
            older => Window::new(segment, position, self.position, older),
        };
        loop {
            let at = window.start + window.taken as u64;
            window.want(HEADER_BYTES, end)?;
            let damaged = |error| window.segment.damaged(at, &error);
            let header = Header::decode(window.rest()).map_err(damaged)?;
            if header.next() <= self.position {
                window.skip(header.bytes());
                continue;
            }
            window.want(header.bytes(), end)?;
            let chunk = Chunk::decode(window.rest()).map_err(|error| window.segment.damaged(at, &error))?;
            window.skip(header.bytes());
            window.next = header.next();
            self.window = Some(window);
            return Ok(chunk);
        }
    }
}

impl Window {
    /// A window that shows nothing yet; the memory of an older one is used again.
    fn new(segment: Arc<Segment>, start: u64, next: NextOffset, older: Option<Self>) -> Self {
        let mut bytes = older.map_or_else(Vec::new, |older| older.bytes);
        bytes.clear();
        Self { segment, start, taken: 0, next, bytes }
    }

    fn rest(&self) -> &[u8] {
        self.bytes.get(self.taken..).unwrap_or_default()
    }

    fn skip(&mut self, bytes: usize) {
        self.taken += bytes;
    }

    /// Makes sure that `bytes` lie ahead, if the file has them.
    fn want(&mut self, bytes: usize, end: u64) -> Result<(), BusError> {
        if self.rest().len() < bytes {
            self.start += self.taken as u64;
            self.taken = 0;
            self.segment.read_at(self.start, WINDOW_BYTES.max(bytes), end, &mut self.bytes)?;
        }
        Ok(())
    }
}

fn drain(
    log: &PartitionLog,
    chunk: &Chunk,
    place: &mut Place,
    position: &mut NextOffset,
    room: Room,
    into: &mut Gathered,
) -> Result<bool, BusError> {
    let damaged = |error| BusError::Fatal(format!("chunk of {} from {}: {error}", log.at, chunk.header().base));
    loop {
        if room.is_full(into) {
            return Ok(true);
        }
        let Some(record) = chunk.record(place).map_err(damaged)? else {
            return Ok(false);
        };
        if position.is_past(record.offset) {
            continue;
        }
        *position = record.offset.next();
        let record = Record {
            topic: &log.at.topic,
            partition: log.at.partition,
            offset: record.offset,
            appended_at: record.appended_at,
            key: record.key,
            value: record.value,
            headers: Headers::from_encoded(record.headers),
        };
        into.push(&log.at, &record);
    }
}

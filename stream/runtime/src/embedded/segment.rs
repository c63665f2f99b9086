//! One append-only file of chunks. Its name is the offset that it begins with, so that the files of a partition sort as
//! its records do, and retention is the deletion of a file.

use std::{
    fs::{File, OpenOptions},
    io,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
};

use schemas::EventTime;
use stream_core::{NextOffset, Offset};

use super::chunk::{Chunk, ChunkError, ChunkRecord, HEADER_BYTES, Header};
use crate::bus::BusError;

/// Distance of entries in the index: it bounds the memory of a log of tiny chunks, and a walk from an entry is one read.
const INDEX_STEP_BYTES: u64 = 16 << 10;
/// What a walk over headers reads at once.
const WALK_BYTES: usize = 256 << 10;
const SUFFIX: &str = "log";

/// An open segment file.
#[derive(Debug)]
pub(super) struct Segment {
    pub(super) base: Offset,
    path: PathBuf,
    file: File,
}

impl Segment {
    /// Creates the segment that begins with `base`; whatever a crash left under its name is gone.
    pub(super) fn create(directory: &Path, base: Offset) -> io::Result<Self> {
        let path = Self::path_of(directory, base);
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(true).open(&path)?;
        Ok(Self { base, path, file })
    }

    /// Opens an existing segment.
    pub(super) fn open(path: &Path, base: Offset, is_writable: bool) -> io::Result<Self> {
        let file = OpenOptions::new().read(true).write(is_writable).open(path)?;
        Ok(Self { base, path: path.to_path_buf(), file })
    }

    /// The segment files of a directory, in order.
    pub(super) fn list(directory: &Path) -> io::Result<Vec<(Offset, PathBuf)>> {
        let mut found = Vec::new();
        for entry in std::fs::read_dir(directory)? {
            let path = entry?.path();
            let stem = path.file_stem().and_then(|stem| stem.to_str()).and_then(|stem| stem.parse().ok());
            if let Some(base) = stem
                && path.extension().is_some_and(|extension| extension == SUFFIX)
            {
                found.push((Offset(base), path));
            }
        }
        found.sort();
        Ok(found)
    }

    /// Gives a finished segment, written under another name, its place in one step.
    pub(super) fn replace(directory: &Path, base: Offset, finished: &Path) -> io::Result<Self> {
        let path = Self::path_of(directory, base);
        std::fs::rename(finished, &path)?;
        let file = OpenOptions::new().read(true).write(true).open(&path)?;
        Ok(Self { base, path, file })
    }

    fn path_of(directory: &Path, base: Offset) -> PathBuf {
        directory.join(format!("{:020}.{SUFFIX}", base.0))
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn write_at(&self, bytes: &[u8], position: u64) -> io::Result<()> {
        self.file.write_all_at(bytes, position)
    }

    pub(super) fn truncate(&self, length: u64) -> io::Result<()> {
        self.file.set_len(length)
    }

    pub(super) fn sync(&self) -> io::Result<()> {
        #[cfg(test)]
        super::power_loss::note_sync(&self.path, self.file_bytes()?);
        self.file.sync_data()
    }

    pub(super) fn file_bytes(&self) -> io::Result<u64> {
        Ok(self.file.metadata()?.len())
    }

    /// Removes the file; readers that hold it go on.
    pub(super) fn remove(&self) -> io::Result<()> {
        match std::fs::remove_file(&self.path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            other => other,
        }
    }

    /// Reads up to `length` bytes from `position`, fewer only where `end` is before.
    pub(super) fn read_at(&self, position: u64, length: usize, end: u64, into: &mut Vec<u8>) -> Result<(), BusError> {
        let length = length.min(usize::try_from(end.saturating_sub(position)).unwrap_or(usize::MAX));
        into.clear();
        into.resize(length, 0);
        self.file.read_exact_at(into, position).map_err(|source| {
            let what = format!("cannot read {length} bytes at {position} of {}", self.path.display());
            BusError::Io { what, source }
        })
    }

    /// Walks over the headers of the first `end` bytes.
    pub(super) fn walk(&self, end: u64) -> Result<SegmentIndex, BusError> {
        let mut index = SegmentIndex::new(self.base);
        let (mut window, mut window_start) = (Vec::new(), 0u64);
        while index.bytes < end {
            let at = usize::try_from(index.bytes - window_start).unwrap_or(usize::MAX);
            if window.len().saturating_sub(at) < HEADER_BYTES {
                window_start = index.bytes;
                self.read_at(window_start, WALK_BYTES, end, &mut window)?;
                if window.len() < HEADER_BYTES {
                    return Err(self.damaged(index.bytes, &ChunkError::Short { expected: HEADER_BYTES, found: window.len() }));
                }
                continue;
            }
            let header = Header::decode(window.get(at..).unwrap_or_default()).map_err(|error| self.damaged(index.bytes, &error))?;
            if NextOffset(header.base.0) != index.next || index.bytes + header.bytes() as u64 > end {
                let error = ChunkError::Header(format!(
                    "a chunk of {} bytes from {}; expected one from {}",
                    header.bytes(),
                    header.base,
                    index.next
                ));
                return Err(self.damaged(index.bytes, &error));
            }
            index.note(&header);
        }
        Ok(index)
    }

    /// Reads and checks every chunk of the first `end` bytes, and hands each on with its position.
    pub(super) fn for_each_chunk(&self, end: u64, mut visit: impl FnMut(u64, Chunk) -> Result<(), BusError>) -> Result<(), BusError> {
        let (mut window, mut taken, mut position) = (Vec::new(), 0usize, 0u64);
        while position < end {
            let rest = window.get(taken..).unwrap_or_default();
            let wanted = Header::decode(rest).map_or(HEADER_BYTES, |header| header.bytes());
            if rest.len() < wanted && (rest.len() as u64) < end - position {
                self.read_at(position, WALK_BYTES.max(wanted), end, &mut window)?;
                taken = 0;
                continue;
            }
            let chunk = Chunk::decode(rest).map_err(|error| self.damaged(position, &error))?;
            let bytes = chunk.header().bytes();
            visit(position, chunk)?;
            taken += bytes;
            position += bytes as u64;
        }
        Ok(())
    }

    /// Hands on every record of the first `end` bytes.
    pub(super) fn for_each_record(&self, end: u64, mut visit: impl FnMut(ChunkRecord<'_>) -> Result<(), BusError>) -> Result<(), BusError> {
        self.for_each_chunk(end, |position, chunk| {
            let mut place = chunk.start();
            while let Some(record) = chunk.record(&mut place).map_err(|error| self.damaged(position, &error))? {
                visit(record)?;
            }
            Ok(())
        })
    }

    /// An error that says where a chunk is damaged.
    pub(super) fn damaged(&self, position: u64, error: &ChunkError) -> BusError {
        BusError::Fatal(format!("{} is damaged at byte {position}: {error}; see `nephoscope store check`", self.path.display()))
    }
}

/// What stands in a segment, and where, roughly.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct SegmentIndex {
    entries: Vec<(Offset, u64)>,
    /// Bytes of its chunks.
    pub(super) bytes: u64,
    /// The position after its last chunk.
    pub(super) next: NextOffset,
    /// Append time of its first record.
    pub(super) first_appended: EventTime,
    /// Append time of its last record.
    pub(super) last_appended: EventTime,
}

impl SegmentIndex {
    /// Of an empty segment.
    pub(super) fn new(base: Offset) -> Self {
        let next = NextOffset(base.0);
        Self { entries: Vec::new(), bytes: 0, next, first_appended: EventTime::MIN, last_appended: EventTime::MIN }
    }

    /// Adds the chunk that follows.
    pub(super) fn note(&mut self, header: &Header) {
        if self.entries.last().is_none_or(|(_, position)| self.bytes - position >= INDEX_STEP_BYTES) {
            self.entries.push((header.base, self.bytes));
        }
        if self.bytes == 0 {
            self.first_appended = header.first_appended;
        }
        self.bytes += header.bytes() as u64;
        self.next = header.next();
        self.last_appended = header.last_appended;
    }

    /// Where to begin looking for a record.
    pub(super) fn position(&self, from: NextOffset) -> u64 {
        let after = self.entries.partition_point(|(base, _)| base.0 <= from.0);
        after.checked_sub(1).and_then(|index| self.entries.get(index)).map_or(0, |(_, position)| *position)
    }
}

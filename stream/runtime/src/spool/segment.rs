//! One file of a spool: blocks of one run, one after the other. First record and run stand in its name, where no damage to
//! the content reaches them.

use std::{
    fs::{File, OpenOptions},
    io,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
};

use stream_core::{NextOffset, Offset};

use super::{
    block::{self, BlockError, HEADER_BYTES, Header},
    mark::Run,
};
use crate::publish::PublishBatch;

const SUFFIX: &str = "spool";

/// A place in a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) byte: u64,
    /// The number of the record that should stand there.
    pub(super) next: NextOffset,
}

/// What comes at a place.
#[derive(Debug)]
pub(super) struct Step {
    /// Where a whole block lies, and its header; none if nothing more can be read in this file.
    pub(super) block: Option<(u64, Header)>,
    /// Records before it that cannot be read.
    pub(super) missing: u64,
    /// The place after it.
    pub(super) after: Place,
}

/// An open file.
#[derive(Debug)]
pub(super) struct Segment {
    pub(super) first: Offset,
    pub(super) run: Run,
    /// Bytes of whole blocks; what follows them does not count.
    pub(super) bytes: u64,
    /// The number after its last record.
    pub(super) next: NextOffset,
    path: PathBuf,
    file: File,
    /// Something that failed to be written may follow the blocks.
    is_dirty: bool,
}

impl Segment {
    /// Creates an empty file, durably.
    pub(super) fn create(directory: &Path, run: Run, first: NextOffset) -> io::Result<Self> {
        let path = directory.join(format!("{:020}.{run}.{SUFFIX}", first.0));
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(true).open(&path)?;
        File::open(directory)?.sync_all()?;
        Ok(Self { first: Offset(first.0), run, bytes: 0, next: first, path, file, is_dirty: false })
    }

    /// Opens what an earlier run left, and finds where its blocks end. It is only read from now on.
    pub(super) fn open(path: &Path, run: Run, first: Offset) -> io::Result<Self> {
        let file = File::open(path)?;
        let mut segment =
            Self { first, run, bytes: file.metadata()?.len(), next: NextOffset(first.0), path: path.to_owned(), file, is_dirty: false };
        let (mut end, mut is_sealed) = (0, false);
        while let Some((place, header)) = segment.find(end, segment.next)? {
            (end, is_sealed) = (place + header.bytes(), header.count == 0);
            segment.next = header.next();
        }
        if !is_sealed && end < segment.bytes {
            let (file, bytes) = (path.display(), segment.bytes - end);
            tracing::warn!(%file, bytes, "the spool ends within a block: its writer died before it had taken it");
        }
        segment.bytes = end;
        Ok(segment)
    }

    /// The files of a directory, in order.
    pub(super) fn list(directory: &Path) -> io::Result<Vec<(Offset, Run, PathBuf)>> {
        let mut found = Vec::new();
        for entry in std::fs::read_dir(directory)? {
            let path = entry?.path();
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            let mut parts = name.split('.');
            let (first, run) = (parts.next().and_then(|first| first.parse().ok()), parts.next().and_then(Run::parse));
            if let (Some(first), Some(run), Some(SUFFIX), None) = (first, run, parts.next(), parts.next()) {
                found.push((Offset(first), run, path));
            }
        }
        found.sort_by(|a, b| (a.0, &a.2).cmp(&(b.0, &b.2)));
        Ok(found)
    }

    /// Appends a block; it is on the disk when this returns. After an error nothing has been added.
    pub(super) fn append(&mut self, header: &Header, block: &[u8]) -> io::Result<()> {
        self.write(block)?;
        self.next = header.next();
        Ok(())
    }

    /// Marks the end of a file that will not grow.
    pub(super) fn seal(&mut self) -> io::Result<()> {
        self.write(&block::seal(self.run, self.next))
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        if self.is_dirty {
            self.file.set_len(self.bytes)?;
        }
        self.is_dirty = true;
        if let Err(error) = self.file.write_all_at(bytes, self.bytes).and_then(|()| self.file.sync_data()) {
            // Give back at once what little of it took room; if that fails too, the next attempt does it.
            self.is_dirty = self.file.set_len(self.bytes).is_err();
            return Err(error);
        }
        self.is_dirty = false;
        self.bytes += bytes.len() as u64;
        Ok(())
    }

    /// The place of the first block.
    pub(super) fn start(&self) -> Place {
        Place { byte: 0, next: NextOffset(self.first.0) }
    }

    /// What comes at a place; none at the end.
    pub(super) fn step(&self, from: Place) -> Option<Step> {
        if from.byte >= self.bytes {
            return None;
        }
        let found = self.find(from.byte, from.next).unwrap_or_else(|error| {
            tracing::error!(file = %self.path.display(), %error, "the spool cannot be read");
            None
        });
        let (before, after) = match &found {
            Some((byte, header)) => (header.first.0, Place { byte: byte + header.bytes(), next: header.next() }),
            None => (self.next.0, Place { byte: self.bytes, next: self.next }),
        };
        Some(Step { block: found, missing: before.saturating_sub(from.next.0), after })
    }

    /// Adds the records of a block to a batch. Returns how many cannot be read.
    pub(super) fn read(&self, step: &Step, into: &mut PublishBatch) -> u64 {
        let Some((place, header)) = &step.block else { return 0 };
        match self.payload(*place, header).and_then(|payload| block::decode(header, &payload, into)) {
            Ok(()) => 0,
            Err(error) => {
                tracing::error!(file = %self.path.display(), place, %error, "a block of the spool is damaged");
                header.count.into()
            }
        }
    }

    /// The first whole block at `place` or, past a damaged one, after it. Records before `expected` have been seen.
    fn find(&self, place: u64, expected: NextOffset) -> io::Result<Option<(u64, Header)>> {
        let fits = |place: u64, header: &Header| header.first.0 >= expected.0 && place + header.bytes() <= self.bytes;
        let mut bytes = [0; HEADER_BYTES];
        if place + HEADER_BYTES as u64 > self.bytes {
            return Ok(None);
        }
        self.file.read_exact_at(&mut bytes, place)?;
        if let Ok(header) = Header::decode(self.run, &bytes)
            && fits(place, &header)
        {
            return Ok(Some((place, header)));
        }
        let mut rest = vec![0; usize::try_from(self.bytes - place).unwrap_or(usize::MAX)];
        self.file.read_exact_at(&mut rest, place)?;
        let found = rest.windows(HEADER_BYTES).zip(place..).skip(1).find_map(|(window, place)| {
            let header = Header::decode(self.run, window).ok().filter(|header| fits(place, header))?;
            Some((place, header))
        });
        Ok(found)
    }

    /// Reads the payload of a block.
    fn payload(&self, place: u64, header: &Header) -> Result<Vec<u8>, BlockError> {
        let mut payload = vec![0; header.payload_bytes()];
        self.file
            .read_exact_at(&mut payload, place + HEADER_BYTES as u64)
            .map_err(|error| BlockError::Payload(format!("{}: {error}", self.path.display())))?;
        Ok(payload)
    }

    /// Deletes the file.
    pub(super) fn remove(&self) -> io::Result<()> {
        match std::fs::remove_file(&self.path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            outcome => outcome,
        }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }
}

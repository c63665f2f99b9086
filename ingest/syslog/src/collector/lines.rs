//! A file cut into lines, each with the place after it.

use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::Path;

use rustix::fs::OFlags;

use super::cursor::{FilePosition, Head};

const CHUNK_BYTES: usize = 64 * 1024;

/// A file that is being read.
#[derive(Debug)]
pub(crate) struct Lines {
    file: File,
    device: u64,
    inode: u64,
    head: Head,
    /// Where the first byte of `buffer` stands in the file.
    buffer_offset: u64,
    buffer: Vec<u8>,
    /// Bytes of `buffer` that are done with.
    consumed: usize,
    /// Bytes after `consumed` that hold no line feed.
    searched: usize,
    /// Start of a line that is too long, whose rest is passed over.
    long: Option<Vec<u8>>,
    limits: LineLimits,
}

/// How long lines may be.
#[derive(Debug, Clone, Copy)]
pub(crate) struct LineLimits {
    /// Of a longer line only the head is kept.
    pub(crate) line_bytes_max: usize,
    pub(crate) head_bytes_max: usize,
}

/// One line, without its line end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct FileLine {
    pub(crate) bytes: Vec<u8>,
    pub(crate) truncated: bool,
}

/// What has become of the file since it was last read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Growth {
    None,
    More,
    /// It is shorter than what was read of it, or begins with other bytes: it was emptied in place (copytruncate).
    Restarted,
}

impl Lines {
    /// At its beginning.
    pub(crate) fn open(path: &Path, limits: LineLimits) -> io::Result<Self> {
        // Without waiting: a path may name a pipe that nobody writes to.
        let file = OpenOptions::new().read(true).custom_flags(OFlags::NONBLOCK.bits().cast_signed()).open(path)?;
        let metadata = file.metadata()?;
        if !metadata.is_file() {
            return Err(io::Error::new(ErrorKind::InvalidInput, "not a regular file"));
        }
        let mut lines = Self {
            file,
            device: metadata.dev(),
            inode: metadata.ino(),
            head: Head::default(),
            buffer_offset: 0,
            buffer: Vec::new(),
            consumed: 0,
            searched: 0,
            long: None,
            limits,
        };
        lines.head = Head::of(&lines.first_bytes()?);
        Ok(lines)
    }

    pub(crate) fn identity(&self) -> (u64, u64) {
        (self.device, self.inode)
    }

    /// Is it the file of this position? Its name does not matter.
    pub(crate) fn is_of(&self, position: &FilePosition) -> io::Result<bool> {
        Ok(self.identity() == (position.device, position.inode) && position.head.fits(&self.first_bytes()?))
    }

    pub(crate) fn size(&self) -> io::Result<u64> {
        self.file.metadata().map(|metadata| metadata.len())
    }

    /// Does nobody find it by name any more?
    pub(crate) fn is_deleted(&self) -> bool {
        self.file.metadata().is_ok_and(|metadata| metadata.nlink() == 0)
    }

    /// The place after the last line given.
    pub(crate) fn position(&self) -> FilePosition {
        FilePosition { device: self.device, inode: self.inode, head: self.head, offset: self.offset() }
    }

    fn offset(&self) -> u64 {
        self.buffer_offset + self.consumed as u64
    }

    fn read_to(&self) -> u64 {
        self.buffer_offset + self.buffer.len() as u64
    }

    pub(crate) fn seek(&mut self, offset: u64) {
        self.buffer.clear();
        (self.buffer_offset, self.consumed, self.searched, self.long) = (offset, 0, 0, None);
    }

    /// The next whole line; none at the end of what there is.
    pub(crate) fn next(&mut self) -> io::Result<Option<FileLine>> {
        loop {
            if let Some(line) = self.buffered() {
                return Ok(Some(line));
            }
            if !self.fill()? {
                return Ok(None);
            }
        }
    }

    /// What stands after the last line feed, for a file to which nothing more will be written.
    pub(crate) fn last(&mut self) -> Option<FileLine> {
        let rest = self.buffer.get(self.consumed..).unwrap_or_default().to_vec();
        self.consumed = self.buffer.len();
        let line = match self.long.take() {
            Some(bytes) => FileLine { bytes, truncated: true },
            None => FileLine { bytes: rest, truncated: false },
        };
        (!line.bytes.is_empty()).then_some(line)
    }

    pub(crate) fn growth(&mut self) -> io::Result<Growth> {
        let size = self.size()?;
        if size == self.read_to() {
            return Ok(Growth::None);
        }
        let start = self.first_bytes()?;
        if size < self.read_to() || !self.head.fits(&start) {
            self.seek(0);
            self.head = Head::of(&start);
            return Ok(Growth::Restarted);
        }
        self.head = Head::of(&start);
        Ok(Growth::More)
    }

    fn buffered(&mut self) -> Option<FileLine> {
        loop {
            let rest = self.buffer.get(self.consumed..).unwrap_or_default();
            let found = memchr::memchr(b'\n', rest.get(self.searched..).unwrap_or_default()).map(|at| self.searched + at);
            let length = found.unwrap_or(rest.len());
            if self.long.is_none() && length > self.limits.line_bytes_max {
                self.long = rest.get(..self.limits.head_bytes_max).map(<[u8]>::to_vec);
            }
            if self.long.is_some() {
                self.consumed += length + usize::from(found.is_some());
                self.searched = 0;
                found?;
                return self.long.take().map(|bytes| FileLine { bytes, truncated: true });
            }
            self.searched = length;
            found?;
            let line = rest.get(..length).unwrap_or_default();
            // A writer that does not append leaves a hole of NULs where the file was emptied under it.
            let hole = line.iter().take_while(|byte| **byte == 0).count();
            let line = line.get(hole..).unwrap_or_default();
            let bytes = line.strip_suffix(b"\r").unwrap_or(line).to_vec();
            self.consumed += length + 1;
            self.searched = 0;
            if !bytes.is_empty() {
                return Some(FileLine { bytes, truncated: false });
            }
        }
    }

    /// Reads on; false at the end.
    fn fill(&mut self) -> io::Result<bool> {
        self.buffer.drain(..self.consumed);
        self.buffer_offset += self.consumed as u64;
        self.consumed = 0;
        let known = self.buffer.len();
        self.buffer.resize(known + CHUNK_BYTES, 0);
        let at = self.buffer_offset + known as u64;
        let read = loop {
            match self.file.read_at(self.buffer.get_mut(known..).unwrap_or_default(), at) {
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                done => break done,
            }
        };
        self.buffer.truncate(known + read.as_ref().copied().unwrap_or(0));
        if self.buffer.is_empty() {
            self.buffer = Vec::new(); // a thousand quiet files need no buffers
        }
        if self.head.bytes < Head::BYTES_MAX as u16 {
            self.head = Head::of(&self.first_bytes()?);
        }
        Ok(read? > 0)
    }

    fn first_bytes(&self) -> io::Result<Vec<u8>> {
        let mut start = vec![0; Head::BYTES_MAX];
        let mut bytes = 0;
        while let Some(rest) = start.get_mut(bytes..).filter(|rest| !rest.is_empty()) {
            match self.file.read_at(rest, bytes as u64) {
                Ok(0) => break,
                Ok(read) => bytes += read,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        start.truncate(bytes);
        Ok(start)
    }

    /// Moves to the first line written at or after `since_us`, by bisection: lines are nearly in order of time. A file whose
    /// lines have no time is of unknown age; it is read from its end. `time_of` reads the time of a line.
    pub(crate) fn seek_time(&mut self, since_us: i64, time_of: impl Fn(&[u8]) -> Option<i64>) -> io::Result<()> {
        let size = self.size()?;
        let (mut low, mut high) = (0, size);
        while high - low > CHUNK_BYTES as u64 {
            let middle = low + (high - low) / 2;
            match self.timed_line(middle, middle + CHUNK_BYTES as u64, i64::MIN, &time_of)? {
                Some((offset, time)) if time < since_us && offset < high => low = offset,
                _ => high = middle,
            }
        }
        let found = self.timed_line(low, high.saturating_add(2 * CHUNK_BYTES as u64), since_us, &time_of)?;
        self.seek(found.map_or(size, |(offset, _)| offset));
        Ok(())
    }

    /// Place and time of the first line that begins in `from..to` and was written at or after `since_us`.
    fn timed_line(&mut self, from: u64, to: u64, since_us: i64, time_of: &impl Fn(&[u8]) -> Option<i64>) -> io::Result<Option<(u64, i64)>> {
        // From the byte before, the first piece is the rest of the line that holds it: just the line feed at a line's start.
        self.seek(from.saturating_sub(1));
        let mut is_rest = from > 0;
        loop {
            let start = self.offset();
            if start >= to {
                return Ok(None);
            }
            let Some(line) = self.next_or_empty()? else { return Ok(None) };
            if !std::mem::take(&mut is_rest)
                && let Some(time) = time_of(&line).filter(|time| *time >= since_us)
            {
                return Ok(Some((start, time)));
            }
        }
    }

    /// As [`Lines::next`], but empty lines count: the bisection needs to know where each begins.
    fn next_or_empty(&mut self) -> io::Result<Option<Vec<u8>>> {
        loop {
            let rest = self.buffer.get(self.consumed..).unwrap_or_default();
            if let Some(length) = memchr::memchr(b'\n', rest) {
                let line = rest.get(..length).unwrap_or_default().to_vec();
                self.consumed += length + 1;
                return Ok(Some(line));
            }
            if rest.len() > self.limits.line_bytes_max {
                // Too long to have been cut here; go on behind it as if it were a line.
                self.consumed = self.buffer.len();
                return Ok(Some(Vec::new()));
            }
            if !self.fill()? {
                return Ok(None);
            }
        }
    }
}

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
    /// The file was found emptied in place.
    restarted: bool,
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
            restarted: false,
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

    /// Was it found to be shorter than what was read of it, or to begin with other bytes (copytruncate)? Then what comes next
    /// is read from its start.
    pub(crate) fn take_restarted(&mut self) -> bool {
        std::mem::take(&mut self.restarted)
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
    ///
    /// Whether the file is still the same is asked after the read: emptied and filled anew just before it, it would give the
    /// middle of another line.
    fn fill(&mut self) -> io::Result<bool> {
        self.buffer.drain(..self.consumed);
        self.buffer_offset += self.consumed as u64;
        self.consumed = 0;
        let known = self.buffer.len();
        self.buffer.resize(known + CHUNK_BYTES, 0);
        let read = read_at(&self.file, self.buffer.get_mut(known..).unwrap_or_default(), self.buffer_offset + known as u64);
        self.buffer.truncate(known + read.as_ref().copied().unwrap_or(0));
        let has_grown = read? > 0;
        if self.buffer.is_empty() {
            self.buffer = Vec::new(); // a thousand quiet files need no buffers
        }
        if has_grown {
            let start = self.first_bytes()?;
            self.restarted = !self.head.fits(&start);
            self.head = Head::of(&start);
        }
        self.restarted |= self.size()? < self.read_to();
        if self.restarted {
            self.seek(0);
            self.head = Head::of(&self.first_bytes()?);
        }
        Ok(has_grown && !self.restarted)
    }

    fn first_bytes(&self) -> io::Result<Vec<u8>> {
        let mut start = vec![0; Head::BYTES_MAX];
        let bytes = read_at(&self.file, &mut start, 0)?;
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

/// One read from a place, tried again if a signal interrupts it.
fn read_at(file: &File, into: &mut [u8], offset: u64) -> io::Result<usize> {
    loop {
        match file.read_at(into, offset) {
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            done => return done,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::io::Write;

    use proptest::prelude::*;
    use tempfile::NamedTempFile;

    use super::*;

    const LIMITS: LineLimits = LineLimits { line_bytes_max: 40, head_bytes_max: 10 };

    fn file(content: &[u8]) -> NamedTempFile {
        let mut file = NamedTempFile::new().expect("a file");
        file.write_all(content).expect("writes");
        file
    }

    fn read(lines: &mut Lines) -> Vec<FileLine> {
        std::iter::from_fn(|| lines.next().expect("reads")).collect()
    }

    /// What the whole lines of a file are, said in the plainest way.
    fn plainly(content: &[u8]) -> Vec<FileLine> {
        let mut pieces: Vec<&[u8]> = content.split(|byte| *byte == b'\n').collect();
        pieces.pop();
        let lines = pieces.into_iter().map(|piece| {
            if piece.len() > LIMITS.line_bytes_max {
                return FileLine { bytes: piece[..LIMITS.head_bytes_max].to_vec(), truncated: true };
            }
            let hole = piece.iter().take_while(|byte| **byte == 0).count();
            let bytes = piece[hole..].strip_suffix(b"\r").unwrap_or(&piece[hole..]).to_vec();
            FileLine { bytes, truncated: false }
        });
        lines.filter(|line| !line.bytes.is_empty()).collect()
    }

    fn content() -> impl Strategy<Value = Vec<u8>> {
        let piece = prop_oneof![
            4 => "[a-c]{0,12}\n".prop_map(String::into_bytes),
            1 => "[a-c]{30,90}\n".prop_map(String::into_bytes),
            1 => Just(b"\r\n".to_vec()),
            1 => Just(b"\0\0\0abc\n".to_vec()),
            1 => prop::collection::vec(any::<u8>(), 0..20),
        ];
        prop::collection::vec(piece, 0..30).prop_map(|pieces| pieces.concat())
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn a_file_gives_the_same_lines_however_it_grows(content in content(), cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..5)) {
            let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(content.len() + 1)).collect();
            cuts.push(content.len());
            cuts.sort_unstable();
            let mut file = file(b"");
            let mut lines = Lines::open(file.path(), LIMITS).expect("opens");
            let (mut written, mut seen) = (0, Vec::new());
            for cut in cuts {
                file.write_all(&content[written..cut]).expect("writes");
                seen.extend(read(&mut lines));
                prop_assert!(!lines.take_restarted());
                written = cut;
            }
            prop_assert_eq!(seen, plainly(&content));
        }

        #[test]
        fn each_position_is_where_the_rest_begins(content in content()) {
            let file = file(&content);
            let expected = plainly(&content);
            let mut lines = Lines::open(file.path(), LIMITS).expect("opens");
            for done in 0..=expected.len() {
                let position = lines.position();
                let mut again = Lines::open(file.path(), LIMITS).expect("opens");
                prop_assert!(again.is_of(&position).expect("looks"));
                again.seek(position.offset);
                prop_assert_eq!(&read(&mut again), &expected[done..]);
                lines.next().expect("reads");
            }
        }

        /// Bisection finds the line that a scan from the start finds, with lines in between that have no time.
        #[test]
        fn the_first_line_of_the_past_is_found(times in prop::collection::vec(prop::option::weighted(0.7, 0i64..1_000), 1_500..2_500), since in -10i64..1_010) {
            let mut sorted: Vec<i64> = times.iter().flatten().copied().collect();
            sorted.sort_unstable();
            let mut sorted = sorted.into_iter();
            let text: Vec<String> = times.iter().enumerate().map(|(n, time)| {
                let time = time.and_then(|_| sorted.next()).map(|time| format!("@{time} ")).unwrap_or_default();
                format!("{time}line {n} {}\n", "x".repeat(n % 200))
            }).collect();
            let time_of = |line: &[u8]| std::str::from_utf8(line).ok()?.strip_prefix('@')?.split(' ').next()?.parse::<i64>().ok();
            let file = file(text.concat().as_bytes());
            let limits = LineLimits { line_bytes_max: 1_000, head_bytes_max: 1_000 };
            let mut lines = Lines::open(file.path(), limits).expect("opens");
            lines.seek_time(since, time_of).expect("seeks");
            let found = lines.next().expect("reads").map(|line| line.bytes);
            let expected = text.iter().find(|line| time_of(line.as_bytes()).is_some_and(|time| time >= since));
            prop_assert_eq!(found, expected.map(|line| line.trim_end_matches('\n').as_bytes().to_vec()));
        }
    }

    #[test]
    fn a_file_without_times_is_read_from_its_end() {
        let mut file = file("no time here\n".repeat(50_000).as_bytes());
        let mut lines = Lines::open(file.path(), LIMITS).expect("opens");
        lines.seek_time(0, |_| None).expect("seeks");
        assert_eq!(lines.next().expect("reads"), None);
        file.write_all(b"new\n").expect("writes");
        assert_eq!(read(&mut lines), [FileLine { bytes: b"new".to_vec(), truncated: false }]);
    }

    #[test]
    fn a_file_emptied_and_filled_beyond_the_old_place_is_noticed() {
        let file = file(b"first\nsecond\n");
        let mut lines = Lines::open(file.path(), LIMITS).expect("opens");
        assert_eq!(read(&mut lines).len(), 2);
        fs::write(file.path(), b"another beginning\nand more than before\n").expect("writes");
        assert_eq!((read(&mut lines), lines.take_restarted()), (vec![], true));
        assert_eq!((read(&mut lines).len(), lines.take_restarted()), (2, false));
        file.as_file().set_len(0).expect("cuts");
        assert_eq!((read(&mut lines), lines.take_restarted()), (vec![], true));
    }

    #[test]
    fn the_last_line_needs_no_line_feed_once_the_file_is_done() {
        let file = file(b"one\ntwo");
        let mut lines = Lines::open(file.path(), LIMITS).expect("opens");
        assert_eq!(read(&mut lines).len(), 1);
        assert_eq!(lines.last(), Some(FileLine { bytes: b"two".to_vec(), truncated: false }));
        assert_eq!(lines.last(), None);
        assert_eq!(lines.position().offset, 7);
    }

    #[test]
    fn what_is_no_file_is_refused_at_once() {
        assert!(Lines::open(Path::new("/"), LIMITS).is_err());
        let folder = tempfile::tempdir().expect("a folder");
        let pipe = folder.path().join("pipe");
        rustix::fs::mknodat(rustix::fs::CWD, &pipe, rustix::fs::FileType::Fifo, rustix::fs::Mode::RUSR, 0).expect("a pipe");
        assert!(Lines::open(&pipe, LIMITS).is_err(), "a pipe without a writer must not hold up the others");
    }
}

//! Follows one file through growth, rotation and truncation.
//!
//! A file is what its device, its inode and its first bytes say, not its name: rotated by rename, the old file is read to
//! its end before the new one is begun; emptied in place (copytruncate), it is begun anew.

use std::fs;
use std::io::{self, ErrorKind};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use regex::bytes::Regex;
use schemas::TimeSource;

use super::clock;
use super::cursor::{FilePosition, Position};
use super::lines::{FileLine, LineLimits, Lines};
use super::reread::{Entry, Past};
use super::status::{SourceGauge, SourceState};
use crate::Message;
use crate::record::{Line, Recorder, backfill_attribute, guest_of};
use crate::time::Reception;

/// How often the path is looked at for another file.
const PATH_LOOK_US: i64 = 1_000_000;
/// The writer goes on with the old file for a while after the rename, until its log rotation tells it.
const ROTATION_GRACE_US: i64 = 5_000_000;
/// Lines of one message.
const GROUP_LINES_MAX: usize = 500;
/// A message of several lines is whole when nothing came for so long.
const GROUP_QUIET_US: i64 = 1_000_000;

/// What all tails have in common.
#[derive(Debug, Clone)]
pub(crate) struct TailSpec {
    /// Recorder with the name left empty.
    pub(crate) recorder: Recorder,
    pub(crate) limits: LineLimits,
    /// Which lines begin a message; none if each does.
    pub(crate) start: Option<Regex>,
    pub(crate) past: Past,
}

/// One followed path.
pub(crate) struct Tail {
    path: PathBuf,
    key: Arc<str>,
    spec: TailSpec,
    guest: Option<String>,
    gauge: SourceGauge,
    lines: Option<Lines>,
    /// Where to begin with the file that the path names.
    entrance: Entrance,
    /// The file is no longer the one that the path names, since then.
    rotated_us: Option<i64>,
    path_look_us: i64,
    /// Its past is being read.
    is_past: bool,
    last_time_us: i64,
    group: Option<Group>,
}

/// Where a file is begun.
#[derive(Debug, Clone, Copy)]
enum Entrance {
    /// At its first byte: it appeared while we looked.
    Start,
    /// At its first line of the past that is read.
    Past,
    /// After what an earlier run published.
    Position(FilePosition),
}

/// A message of several lines that may go on.
struct Group {
    line: FileLine,
    lines: usize,
    /// The place after its last line.
    position: FilePosition,
    grown_us: i64,
}

/// How the names of files in the cursor begin.
pub(crate) const KEY_PREFIX: &str = "file:";

/// Name in the cursor of the file at `path`.
pub(crate) fn key_of(path: &Path) -> String {
    format!("{KEY_PREFIX}{}", path.display())
}

impl Tail {
    /// Goes on at `position`; without one, begins with what the past allows.
    pub(crate) fn new(path: PathBuf, spec: &TailSpec, gauge: SourceGauge, position: Option<&Position>) -> Self {
        let mut spec = spec.clone();
        spec.recorder.name = path.display().to_string();
        let entrance = match position {
            Some(Position::File(position)) => Entrance::Position(*position),
            _ => Entrance::Past,
        };
        Self {
            key: key_of(&path).into(),
            guest: guest_of(&path),
            last_time_us: spec.past.since_us,
            path,
            spec,
            gauge,
            lines: None,
            entrance,
            rotated_us: None,
            path_look_us: i64::MIN,
            is_past: true,
            group: None,
        }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn key(&self) -> Arc<str> {
        self.key.clone()
    }

    /// Takes the file out of the status.
    pub(crate) fn leave(self) {
        self.gauge.remove();
    }

    pub(crate) fn identity(&self) -> Option<(u64, u64)> {
        self.lines.as_ref().map(Lines::identity)
    }

    pub(crate) fn caught_up(&mut self) {
        self.is_past = false;
        if matches!(self.entrance, Entrance::Past) {
            self.entrance = Entrance::Start;
        }
        if self.lines.is_some() {
            self.gauge.set(SourceState::Watching, "");
        }
    }

    /// The next message; none if there is none now.
    pub(crate) fn next(&mut self) -> Option<Entry> {
        match self.advance() {
            Ok(entry) => entry,
            Err(error) => {
                self.unreadable(&error);
                self.lines = None;
                None
            }
        }
    }

    fn advance(&mut self) -> io::Result<Option<Entry>> {
        loop {
            let Some(lines) = &mut self.lines else {
                if !self.is_path_due() {
                    return Ok(None);
                }
                self.enter()?;
                continue;
            };
            if let Some(line) = lines.next()? {
                if let Some(entry) = self.gather(line) {
                    return Ok(Some(entry));
                }
                continue;
            }
            if lines.take_restarted() {
                let note = "emptied in place (copytruncate): lines written just before that may not have been seen";
                self.gauge.set(SourceState::Watching, note);
                if let Some(entry) = self.close_group() {
                    return Ok(Some(entry));
                }
                continue;
            }
            let entry = self.at_end();
            if entry.is_some() || self.lines.is_some() {
                return Ok(entry);
            }
        }
    }

    /// The end of what there is: is the message whole, and is this still the file?
    fn at_end(&mut self) -> Option<Entry> {
        let now_us = clock::monotonic_us();
        if self.group.as_ref().is_some_and(|group| now_us - group.grown_us >= GROUP_QUIET_US) {
            return self.close_group();
        }
        if self.is_path_due() && self.rotated_us.is_none() && self.is_other_file() {
            self.rotated_us = Some(now_us);
        }
        if self.rotated_us.is_none_or(|since| now_us - since < ROTATION_GRACE_US) {
            return None;
        }
        self.next_file()
    }

    /// The old file has come to its end: gives its last, unfinished line and lets the path name the next one.
    fn next_file(&mut self) -> Option<Entry> {
        let rest = self.lines.as_mut().and_then(Lines::last);
        let entry = match rest {
            Some(line) => self.gather(line),
            None => self.close_group(),
        };
        if entry.is_none() && self.group.is_none() {
            (self.lines, self.rotated_us, self.path_look_us) = (None, None, i64::MIN);
        }
        entry
    }

    fn is_path_due(&mut self) -> bool {
        let now_us = clock::monotonic_us();
        let is_due = now_us >= self.path_look_us;
        if is_due {
            self.path_look_us = now_us + PATH_LOOK_US;
        }
        is_due
    }

    fn is_other_file(&self) -> bool {
        match fs::metadata(&self.path) {
            Ok(metadata) => self.identity() != Some((metadata.dev(), metadata.ino())),
            // Renamed, and no successor yet: the writer still has it open. Deleted: nobody can add a name to it.
            Err(_) => self.lines.as_ref().is_some_and(Lines::is_deleted),
        }
    }

    /// Opens the file that comes next.
    fn enter(&mut self) -> io::Result<()> {
        let lines = match self.entrance {
            Entrance::Start => Lines::open(&self.path, self.spec.limits)?,
            Entrance::Past => self.open_past()?,
            Entrance::Position(position) => self.open_position(&position)?,
        };
        // Not by its path: it was rotated away, so there is another one to be read after it, at once.
        let is_rotated = fs::metadata(&self.path).map_or(true, |metadata| (metadata.dev(), metadata.ino()) != lines.identity());
        self.rotated_us = is_rotated.then_some(i64::MIN / 2);
        self.is_past &= !matches!(self.entrance, Entrance::Position(_));
        (self.lines, self.entrance) = (Some(lines), Entrance::Start);
        self.gauge.set(if self.is_past { SourceState::CatchingUp } else { SourceState::Watching }, "");
        Ok(())
    }

    fn unreadable(&mut self, error: &io::Error) {
        let state = if error.kind() == ErrorKind::NotFound { SourceState::Waiting } else { SourceState::Blind };
        self.gauge.set(state, error.to_string());
    }

    /// Finds the file of `position` under the path or, renamed, beside it.
    fn open_position(&self, position: &FilePosition) -> io::Result<Lines> {
        let at_path = Lines::open(&self.path, self.spec.limits);
        if let Ok(mut lines) = at_path
            && lines.is_of(position)?
        {
            lines.seek(if lines.size()? < position.offset { 0 } else { position.offset });
            return Ok(lines);
        }
        if let Some(mut lines) = self.renamed(position) {
            lines.seek(position.offset);
            return Ok(lines);
        }
        let lines = Lines::open(&self.path, self.spec.limits)?;
        let (path, offset) = (self.path.display(), position.offset);
        tracing::warn!(%path, offset, "file was replaced while nobody looked; what was written to the old one after the offset is not seen");
        Ok(lines)
    }

    fn renamed(&self, position: &FilePosition) -> Option<Lines> {
        let siblings = fs::read_dir(self.path.parent()?).ok()?;
        siblings.flatten().find_map(|sibling| {
            let metadata = sibling.metadata().ok()?;
            let is_it = metadata.is_file() && (metadata.dev(), metadata.ino()) == (position.device, position.inode);
            let lines = if is_it { Lines::open(&sibling.path(), self.spec.limits).ok()? } else { return None };
            lines.is_of(position).ok()?.then_some(lines)
        })
    }

    /// The first start: from `since`, beginning with the file that was rotated away in the meantime, if there is one.
    fn open_past(&self) -> io::Result<Lines> {
        let since_us = self.spec.past.since_us;
        let mut before = self.path.clone().into_os_string();
        before.push(".1");
        let is_recent = |metadata: fs::Metadata| metadata.mtime() >= since_us.div_euclid(1_000_000) && metadata.is_file();
        let is_rotated = fs::metadata(&before).is_ok_and(is_recent);
        let path = if is_rotated { Path::new(&before) } else { &self.path };
        let mut lines = Lines::open(path, self.spec.limits)?;
        let reception = Reception::new(self.spec.past.until_us, &self.spec.recorder.zone);
        lines.seek_time(since_us, |line| Message::parse(line, &reception).time_us)?;
        Ok(lines)
    }

    /// Adds a line to the message that it belongs to; gives the message before, if this one begins another.
    fn gather(&mut self, line: FileLine) -> Option<Entry> {
        let position = self.lines.as_ref().map(Lines::position)?;
        let Some(start) = &self.spec.start else { return Some(self.entry(line, position)) };
        let bytes_max = self.spec.limits.head_bytes_max;
        if let Some(group) = self.group.as_mut().filter(|group| {
            !start.is_match(&line.bytes) && group.lines < GROUP_LINES_MAX && group.line.bytes.len() + line.bytes.len() < bytes_max
        }) {
            group.line.bytes.push(b'\n');
            group.line.bytes.extend_from_slice(&line.bytes);
            group.line.truncated |= line.truncated;
            group.lines += 1;
            (group.position, group.grown_us) = (position, clock::monotonic_us());
            return None;
        }
        let before = self.close_group();
        self.group = Some(Group { line, lines: 1, position, grown_us: clock::monotonic_us() });
        before
    }

    fn close_group(&mut self) -> Option<Entry> {
        self.group.take().map(|group| self.entry(group.line, group.position))
    }

    fn entry(&mut self, line: FileLine, position: FilePosition) -> Entry {
        let received_us = clock::now_us();
        let line = Line { bytes: &line.bytes, truncated: line.truncated, damaged: false, peer: None, received_us };
        let mut record = self.spec.recorder.line(&line);
        if record.time_source == TimeSource::Message {
            self.last_time_us = record.event_time;
        } else if self.is_past {
            // Between two lines of yesterday stands a line of yesterday, though it does not say so.
            (record.event_time, record.time_source) = (self.last_time_us, TimeSource::Unknown);
        }
        if self.is_past && record.event_time < self.spec.past.until_us {
            backfill_attribute(&mut record.attributes);
        }
        if let Some(guest) = &self.guest {
            record.attributes.insert("vm".to_owned(), guest.clone());
        }
        let order_us = if self.is_past { self.last_time_us } else { record.event_time };
        let position = Some(Position::File(position));
        Entry { order_us, record, source: self.key.clone(), position, gauge: self.gauge.clone() }
    }
}

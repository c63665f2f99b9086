//! The log of one partition: its segments, what is known of them, and its recent chunks in memory.
//!
//! Only the committer changes a log; readers take the lock for the time of a look-up and read files without it, since
//! committed bytes never change.

use std::{
    collections::VecDeque,
    fs::File,
    io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use schemas::{EventTime, topics::Cleanup};
use stream_core::{NextOffset, Offset, TopicPartition};

use super::{
    chunk::Chunk,
    rows::EndsRow,
    segment::{Segment, SegmentIndex},
};
use crate::{bus::BusError, bus::TopicSpec, inspect::PartitionStatus};

/// Of a topic's retention, what one segment takes at most: retention works in steps of it.
const SEGMENT_SHARE: u64 = 8;
const SEGMENT_BYTES_MIN: u64 = 64 << 10;

/// What may be done to the files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Access {
    /// Cut off what was never committed.
    Write,
    /// Look past it.
    Read,
}

/// How much of a partition is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct LogLimits {
    pub(super) cleanup: Cleanup,
    pub(super) retention_ms: i64,
    pub(super) retention_bytes: u64,
    pub(super) segment_bytes: u64,
}

impl LogLimits {
    pub(super) fn of(spec: &TopicSpec, segment_bytes_max: u64) -> Self {
        let segment_bytes = (spec.retention_bytes / SEGMENT_SHARE).clamp(SEGMENT_BYTES_MIN, segment_bytes_max.max(SEGMENT_BYTES_MIN));
        let TopicSpec { cleanup, retention_ms, retention_bytes, .. } = *spec;
        Self { cleanup, retention_ms, retention_bytes, segment_bytes }
    }
}

/// The log of one partition.
#[derive(Debug)]
pub(super) struct PartitionLog {
    pub(super) at: TopicPartition,
    directory: PathBuf,
    state: Mutex<LogState>,
}

#[derive(Debug)]
pub(super) struct LogState {
    pub(super) segments: VecDeque<SegmentEntry>,
    pub(super) next: NextOffset,
    pub(super) last_appended: EventTime,
    pub(super) compacted_bytes: u64,
    pub(super) limits: LogLimits,
    /// The next append begins a segment, so that compaction may have the present ones.
    pub(super) is_roll_due: bool,
    /// Bytes after the end of the last segment could not be cut off.
    pub(super) is_tail_dirty: bool,
    /// Recent chunks, the newest last, without a gap.
    pub(super) tail: VecDeque<Arc<Chunk>>,
}

#[derive(Debug, Clone)]
pub(super) struct SegmentEntry {
    pub(super) segment: Arc<Segment>,
    pub(super) index: SegmentIndex,
}

/// Where a record is to be found.
#[derive(Debug)]
pub(super) enum Located {
    /// Nowhere yet.
    End,
    /// No more: this is the first position that is left.
    Trimmed(NextOffset),
    /// In memory.
    Memory(Arc<Chunk>),
    /// In a file, in the first chunk from `position` on that reaches past it.
    File { segment: Arc<Segment>, position: u64, end: u64 },
}

impl PartitionLog {
    /// Opens the log of a partition as its row of `ends` describes it.
    pub(super) fn open(at: TopicPartition, root: &Path, limits: LogLimits, ends: EndsRow, access: Access) -> Result<Self, BusError> {
        let directory = root.join(at.topic.as_str()).join(at.partition.to_string());
        let context = |source: io::Error| BusError::Io { what: format!("cannot open the log in {}", directory.display()), source };
        if access == Access::Write {
            create_synced(root, &directory).map_err(context)?;
            remove_unfinished(&directory).map_err(context)?;
        }
        let segments = open_segments(&directory, &limits, &ends, access)?;
        let state = LogState {
            segments,
            next: ends.next,
            last_appended: EventTime(ends.last_appended_ns),
            compacted_bytes: ends.compacted_bytes,
            limits,
            is_roll_due: false,
            is_tail_dirty: false,
            tail: VecDeque::new(),
        };
        Ok(Self { at, directory, state: Mutex::new(state) })
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, LogState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn directory(&self) -> &Path {
        &self.directory
    }

    /// The position after the last committed record.
    pub(super) fn next(&self) -> NextOffset {
        self.lock().next
    }

    /// Start, end and size.
    pub(super) fn status(&self) -> PartitionStatus {
        let state = self.lock();
        PartitionStatus { start: state.start(), next: state.next, bytes: Some(state.bytes()) }
    }

    /// Where the first record at or after `from` stands.
    pub(super) fn locate(&self, from: NextOffset) -> Located {
        let state = self.lock();
        if from >= state.next {
            return Located::End;
        }
        if from < state.start() {
            return Located::Trimmed(state.start());
        }
        if state.tail.front().is_some_and(|oldest| oldest.header().base.0 <= from.0) {
            let index = state.tail.partition_point(|chunk| chunk.header().next() <= from);
            if let Some(chunk) = state.tail.get(index) {
                return Located::Memory(Arc::clone(chunk));
            }
        }
        match state.segments.get(state.segment_of(from)) {
            Some(SegmentEntry { segment, index }) => {
                Located::File { segment: Arc::clone(segment), position: index.position(from), end: index.bytes }
            }
            None => Located::End,
        }
    }

    /// Forgets the oldest chunk in memory; it stays in its file.
    pub(super) fn evict_oldest_chunk(&self) {
        self.lock().tail.pop_front();
    }

    /// Whether retention will take the record at `position` before long: when the log, begun at its segment, has filled
    /// three quarters of what is kept, or that segment has three quarters of the age.
    pub(super) fn is_retention_near(&self, position: NextOffset, now: EventTime) -> bool {
        let state = self.lock();
        let first = state.segment_of(position);
        let Some(entry) = state.segments.get(first).filter(|_| state.limits.cleanup == Cleanup::Delete) else {
            return false;
        };
        let bytes: u64 = state.segments.range(first..).map(|entry| entry.index.bytes).sum();
        let age_ms = now.millis_since(entry.index.last_appended);
        bytes > state.limits.retention_bytes / 4 * 3 || age_ms > state.limits.retention_ms / 4 * 3
    }
}

impl LogState {
    /// The first record that is left.
    pub(super) fn start(&self) -> NextOffset {
        self.segments.front().map_or(self.next, |entry| NextOffset(entry.segment.base.0))
    }

    /// Bytes of all segments.
    pub(super) fn bytes(&self) -> u64 {
        self.segments.iter().map(|entry| entry.index.bytes).sum()
    }

    /// What the store should know of the files as they are.
    pub(super) fn ends(&self) -> EndsRow {
        let (segment, segment_bytes) = self.segments.back().map_or((Offset(self.next.0), 0), |last| (last.segment.base, last.index.bytes));
        EndsRow { next: self.next, segment, segment_bytes, last_appended_ns: self.last_appended.0, compacted_bytes: self.compacted_bytes }
    }

    /// Number of the segment that a position lies in.
    fn segment_of(&self, position: NextOffset) -> usize {
        self.segments.partition_point(|entry| entry.segment.base.0 <= position.0).saturating_sub(1)
    }
}

/// Makes the names of a directory durable.
pub(super) fn sync_directory(directory: &Path) -> io::Result<()> {
    File::open(directory)?.sync_all()
}

fn create_synced(root: &Path, directory: &Path) -> io::Result<()> {
    if directory.is_dir() {
        return Ok(());
    }
    std::fs::create_dir_all(directory)?;
    for parent in directory.ancestors().skip(1).take_while(|parent| parent.starts_with(root)) {
        sync_directory(parent)?;
    }
    Ok(())
}

/// Removes what a compaction left when it was interrupted.
fn remove_unfinished(directory: &Path) -> io::Result<()> {
    for entry in std::fs::read_dir(directory)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == super::compaction::UNFINISHED_SUFFIX) {
            std::fs::remove_file(path)?;
        }
    }
    Ok(())
}

fn open_segments(directory: &Path, limits: &LogLimits, ends: &EndsRow, access: Access) -> Result<VecDeque<SegmentEntry>, BusError> {
    let context = |path: &Path, source: io::Error| BusError::Io { what: format!("cannot open {}", path.display()), source };
    let hole = |at: NextOffset| {
        let directory = directory.display();
        BusError::Fatal(format!("{directory} lacks the records from {at}; see `nephoscope store check`"))
    };
    let mut segments = VecDeque::<SegmentEntry>::new();
    for (base, path) in Segment::list(directory).map_err(|source| context(directory, source))? {
        let segment = Segment::open(&path, base, access == Access::Write).map_err(|source| context(&path, source))?;
        let was_committed = base.0 < ends.next.0 && base <= ends.segment;
        let reached = segments.back().map(|last| last.index.next);
        // A compaction puts one segment in the place of several; a crash may leave the others.
        let was_compacted = limits.cleanup == Cleanup::Compact && reached.is_some_and(|reached| NextOffset(base.0) < reached);
        if !was_committed || was_compacted {
            if access == Access::Write {
                segment.remove().map_err(|source| context(&path, source))?;
            }
            continue;
        }
        if let Some(reached) = reached.filter(|reached| NextOffset(base.0) != *reached) {
            return Err(hole(reached));
        }
        let file_bytes = segment.file_bytes().map_err(|source| context(&path, source))?;
        let bytes = if base == ends.segment { ends.segment_bytes } else { file_bytes };
        if file_bytes < bytes {
            return Err(BusError::Fatal(format!(
                "{} has {file_bytes} bytes, {bytes} were committed; see `nephoscope store check`",
                path.display()
            )));
        }
        if file_bytes > bytes && access == Access::Write {
            segment.truncate(bytes).map_err(|source| context(&path, source))?;
        }
        let index = segment.walk(bytes)?;
        segments.push_back(SegmentEntry { segment: Arc::new(segment), index });
    }
    match segments.back() {
        Some(last) if last.index.next != ends.next => Err(hole(last.index.next)),
        _ => Ok(segments),
    }
}

//! Compaction of tables: of each key the last record stays. Segments that take no more appends are written anew as one, and
//! that one takes their place by a rename, under the name of the first. It covers exactly the offsets of the old ones
//! (chunks say what they stand for, even where records are gone), so a start after a crash sees which files are left over.
//!
//! A partition is compacted when it has twice the bytes that it had after the last time, so its dead share stays below half
//! and the work in proportion to what is written, without an index of keys in memory.

use std::{
    collections::HashMap,
    fs::File,
    io::{self, Write},
    path::Path,
    sync::{Arc, PoisonError, mpsc},
    time::Duration,
};

use schemas::{EventTime, topics::Cleanup};
use stream_core::{NextOffset, Offset};

use super::{
    chunk::{CHUNK_RAW_BYTES, ChunkRecord, Header, Records},
    committer::Committer,
    partition_log::{PartitionLog, SegmentEntry, sync_directory},
    rows,
    segment::{Segment, SegmentIndex},
    shared::Shared,
    time,
};
use crate::bus::BusError;

/// Suffix of a segment that is being written anew.
pub(super) const UNFINISHED_SUFFIX: &str = "new";
/// How often tables are looked at.
const EVERY: Duration = Duration::from_secs(5);
/// A table with fewer bytes is not worth it.
const BYTES_MIN: u64 = 1 << 20;

/// Looks after the tables until the other end of `stop` is dropped.
pub(super) fn run(shared: &Arc<Shared>, stop: &mpsc::Receiver<()>) {
    while let Err(mpsc::RecvTimeoutError::Timeout) = stop.recv_timeout(EVERY) {
        compact_due(shared);
    }
}

/// Compacts what is due. Returns the number of partitions compacted.
pub(super) fn compact_due(shared: &Arc<Shared>) -> usize {
    let _alone = shared.compacting.lock().unwrap_or_else(PoisonError::into_inner);
    let mut compacted = 0;
    for log in shared.topics.logs() {
        let Some(sealed) = log.take_due() else { continue };
        match compact(shared, &log, &sealed) {
            Ok(()) => compacted += 1,
            Err(error) => tracing::warn!(partition = %log.at, %error, "a table was not compacted; it is tried again"),
        }
    }
    compacted
}

impl PartitionLog {
    /// The segments to compact, if the partition is due. The last one takes appends and cannot be had: if most of the
    /// partition is in it, the next append begins another.
    fn take_due(&self) -> Option<Vec<SegmentEntry>> {
        let mut state = self.lock();
        let (bytes, least) = (state.bytes(), BYTES_MIN.min(state.limits.segment_bytes));
        if state.limits.cleanup != Cleanup::Compact || bytes < least.max(state.compacted_bytes * 2) {
            return None;
        }
        let last_bytes = state.segments.back().map_or(0, |last| last.index.bytes);
        if last_bytes > bytes / 4 {
            state.is_roll_due = true;
            return None;
        }
        Some(state.segments.iter().take(state.segments.len().saturating_sub(1)).cloned().collect())
    }
}

/// What stays: of each key the last record, deletions for a while, and, as long as there is room, everything that a reader
/// who is behind may still want to see in between (Kafka's `delete.retention.ms` and `min.compaction.lag.ms`).
struct Keep {
    last: HashMap<Vec<u8>, Offset>,
    last_without_key: Option<Offset>,
    kept_since: EventTime,
    has_room: bool,
}

impl Keep {
    /// Reads the whole partition for the last record of each key.
    fn of(log: &PartitionLog, now: EventTime) -> Result<Self, BusError> {
        let (segments, has_room, retention_ms) = {
            let state = log.lock();
            let has_room = state.bytes() <= state.limits.retention_bytes / 2;
            (state.segments.iter().cloned().collect::<Vec<_>>(), has_room, state.limits.retention_ms)
        };
        let kept_since = now.plus_millis(retention_ms.saturating_neg());
        let mut keep = Self { last: HashMap::new(), last_without_key: None, kept_since, has_room };
        for SegmentEntry { segment, index } in &segments {
            segment.for_each_record(index.bytes, |record| {
                match record.key {
                    None => keep.last_without_key = Some(record.offset),
                    Some(key) => match keep.last.get_mut(key) {
                        Some(last) => *last = record.offset,
                        None => drop(keep.last.insert(key.to_vec(), record.offset)),
                    },
                }
                Ok(())
            })?;
        }
        Ok(keep)
    }

    fn keeps(&self, record: &ChunkRecord<'_>) -> bool {
        let is_young = record.appended_at >= self.kept_since;
        let last = record.key.map_or(self.last_without_key, |key| self.last.get(key).copied());
        match last == Some(record.offset) {
            true => record.value.is_some() || is_young,
            false => is_young && self.has_room,
        }
    }
}

fn compact(shared: &Arc<Shared>, log: &Arc<PartitionLog>, sealed: &[SegmentEntry]) -> Result<(), BusError> {
    let (Some(first), Some(last)) = (sealed.first(), sealed.last()) else {
        return Ok(());
    };
    let path = first.segment.path().with_extension(UNFINISHED_SUFFIX);
    let context = |source: io::Error| BusError::Io { what: format!("cannot write {}", path.display()), source };
    let keep = Keep::of(log, time::now())?;
    let mut rewrite = Rewrite::begin(&path, first.segment.base).map_err(context)?;
    for SegmentEntry { segment, index } in sealed {
        segment.for_each_record(index.bytes, |record| match keep.keeps(&record) {
            true => rewrite.push(&record).map_err(context),
            false => Ok(()),
        })?;
    }
    let index = rewrite.finish(last.index.next).map_err(context)?;
    let (log, count) = (Arc::clone(log), sealed.len());
    let installed = shared.queue.run(move |committer| install(committer, &log, count, &path, index));
    installed.unwrap_or_else(|| Err(super::shared::closed()))
}

/// Puts the new segment in the place of the first `count`, on the committer's thread.
fn install(committer: &mut Committer, log: &PartitionLog, count: usize, finished: &Path, index: SegmentIndex) -> Result<(), BusError> {
    let context = |source: io::Error| BusError::Io { what: format!("cannot put {} in its place", finished.display()), source };
    let Some(base) = log.lock().segments.front().map(|first| first.segment.base) else {
        return Ok(());
    };
    let segment = Arc::new(Segment::replace(log.directory(), base, finished).map_err(context)?);
    sync_directory(log.directory()).map_err(context)?;
    let (replaced, ends) = {
        let mut state = log.lock();
        let replaced: Vec<_> = state.segments.drain(..count).collect();
        state.segments.push_front(SegmentEntry { segment, index });
        state.compacted_bytes = state.bytes();
        (replaced, state.ends())
    };
    for entry in replaced.iter().skip(1) {
        entry.segment.remove().map_err(context)?;
    }
    committer.write(vec![rows::ends_write(&log.at, &ends)])
}

/// A segment being written anew.
struct Rewrite {
    file: File,
    index: SegmentIndex,
    records: Records,
    /// Up to where `records` reach.
    next: NextOffset,
    first_appended: EventTime,
    last_appended: EventTime,
}

impl Rewrite {
    fn begin(path: &Path, base: Offset) -> io::Result<Self> {
        let index = SegmentIndex::new(base);
        let next = index.next;
        let (first_appended, last_appended) = (EventTime::MIN, EventTime::MIN);
        Ok(Self { file: File::create(path)?, index, records: Records::default(), next, first_appended, last_appended })
    }

    fn push(&mut self, record: &ChunkRecord<'_>) -> io::Result<()> {
        if self.records.bytes() >= CHUNK_RAW_BYTES {
            self.flush()?;
        }
        if u32::try_from(record.offset.next().0 - self.index.next.0).is_err() {
            self.flush()?;
            self.cover(NextOffset(record.offset.0))?;
        }
        if self.records.is_empty() {
            (self.first_appended, self.last_appended) = (record.appended_at, record.appended_at);
        }
        let gap = record.offset.0 - self.next.0;
        let step = record.appended_at.0.saturating_sub(self.last_appended.0).max(0).unsigned_abs();
        self.records.push_after(gap, step, record.key, record.value, record.headers);
        (self.next, self.last_appended) = (record.offset.next(), record.appended_at);
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        match self.records.is_empty() {
            true => Ok(()),
            false => self.write(self.next),
        }
    }

    /// Stands for offsets without records.
    fn cover(&mut self, to: NextOffset) -> io::Result<()> {
        while self.index.next < to {
            let step = (to.0 - self.index.next.0).min(u64::from(u32::MAX));
            self.first_appended = self.last_appended;
            self.write(NextOffset(self.index.next.0 + step))?;
        }
        Ok(())
    }

    fn write(&mut self, to: NextOffset) -> io::Result<()> {
        let (base, span) = (Offset(self.index.next.0), (to.0 - self.index.next.0) as u32);
        let sealed = std::mem::take(&mut self.records).seal();
        let (bytes, header, _): (Vec<u8>, Header, _) = sealed.place(base, span, self.first_appended, self.last_appended);
        self.file.write_all(&bytes)?;
        self.index.note(&header);
        self.next = to;
        Ok(())
    }

    fn finish(mut self, end: NextOffset) -> io::Result<SegmentIndex> {
        self.flush()?;
        self.cover(end)?;
        self.file.sync_all()?;
        Ok(self.index)
    }
}

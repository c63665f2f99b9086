//! An append to one partition on its way through a group commit: written, synced, named in the store, and only then shown
//! to readers; or taken back.

use std::{io, sync::Arc};

use schemas::{EventTime, topics::Cleanup};
use stream_core::{NextOffset, Offset};

use super::{
    chunk::{CHUNK_RAW_BYTES, Chunk, Records, Sealed},
    partition_log::{PartitionLog, SegmentEntry, sync_directory},
    rows::EndsRow,
    segment::{Segment, SegmentIndex},
};

/// Of a topic's age limit, how long one segment takes records: a quiet topic must begin a new one for the old to age.
const SEGMENT_AGE_SHARE: i64 = 8;

/// Chunks of one partition in one group commit.
pub(super) struct Append {
    log: Arc<PartitionLog>,
    /// Segments written to: the last one of the log, if it takes any of it, and new ones.
    entries: Vec<SegmentEntry>,
    /// Whether the first of `entries` was there before.
    continues: bool,
    committed_bytes: u64,
    joined: Records,
    chunks: Vec<Arc<Chunk>>,
    next: NextOffset,
    time: EventTime,
}

impl Append {
    /// Begins an append at a time, which is the time of all its records: `now`, or the time of the record before if the
    /// machine's clock went back.
    pub(super) fn begin(log: &Arc<PartitionLog>, now: EventTime) -> io::Result<Self> {
        let mut state = log.lock();
        let time = now.max(state.last_appended);
        let age_ms = if state.limits.cleanup == Cleanup::Delete { state.limits.retention_ms / SEGMENT_AGE_SHARE } else { i64::MAX };
        let last =
            state.segments.back().cloned().filter(|last| !state.is_roll_due && time.millis_since(last.index.first_appended) < age_ms);
        if state.is_tail_dirty
            && let Some(last) = state.segments.back()
        {
            last.segment.truncate(last.index.bytes)?;
            state.is_tail_dirty = false;
        }
        let (continues, committed_bytes, next) = (last.is_some(), last.as_ref().map_or(0, |last| last.index.bytes), state.next);
        drop(state);
        Ok(Self {
            log: Arc::clone(log),
            entries: last.into_iter().collect(),
            continues,
            committed_bytes,
            joined: Records::default(),
            chunks: Vec::new(),
            next,
            time,
        })
    }

    /// Adds what one commit brings: chunks as they are, and records that are joined with those of the commits beside it.
    /// After an error the whole append must be undone.
    pub(super) fn add(&mut self, sealed: Vec<Sealed>, rest: &Records) -> io::Result<()> {
        if !sealed.is_empty() || self.joined.bytes() >= CHUNK_RAW_BYTES {
            self.flush()?;
        }
        sealed.into_iter().try_for_each(|sealed| self.write(sealed))?;
        self.joined.join(rest);
        Ok(())
    }

    /// Writes what was joined.
    pub(super) fn flush(&mut self) -> io::Result<()> {
        match self.joined.is_empty() {
            true => Ok(()),
            false => {
                let sealed = std::mem::take(&mut self.joined).seal();
                self.write(sealed)
            }
        }
    }

    fn write(&mut self, sealed: Sealed) -> io::Result<()> {
        let segment_bytes = self.log.lock().limits.segment_bytes;
        let has_room = |last: &SegmentEntry| last.index.bytes == 0 || last.index.bytes + sealed.bytes() as u64 <= segment_bytes;
        if !self.entries.last().is_some_and(has_room) {
            let base = Offset(self.next.0);
            let segment = Arc::new(Segment::create(self.log.directory(), base)?);
            self.entries.push(SegmentEntry { segment, index: SegmentIndex::new(base) });
        }
        let Some(SegmentEntry { segment, index }) = self.entries.last_mut() else {
            return Ok(());
        };
        let span = sealed.count;
        let (bytes, header, chunk) = sealed.place(Offset(self.next.0), span, self.time, self.time);
        segment.write_at(&bytes, index.bytes)?;
        index.note(&header);
        self.next = header.next();
        self.chunks.push(Arc::new(chunk));
        Ok(())
    }

    /// Waits until what was written is on the disk.
    pub(super) fn sync(&self) -> io::Result<()> {
        for entry in &self.entries {
            entry.segment.sync()?;
        }
        if self.begins_segment() {
            sync_directory(self.log.directory())?;
        }
        Ok(())
    }

    /// Whether it goes beyond the log's last segment.
    pub(super) fn begins_segment(&self) -> bool {
        self.entries.len() > usize::from(self.continues)
    }

    /// The log's row as this append will make it.
    pub(super) fn ends(&self) -> EndsRow {
        let mut ends = self.log.lock().ends();
        if let Some(last) = self.entries.last() {
            (ends.segment, ends.segment_bytes) = (last.segment.base, last.index.bytes);
        }
        ends.next = self.next;
        ends.last_appended_ns = self.time.0;
        ends
    }

    pub(super) fn log(&self) -> &Arc<PartitionLog> {
        &self.log
    }

    /// Shows it to readers. Returns the bytes in memory of each of its chunks.
    pub(super) fn publish(self) -> Vec<usize> {
        let mut state = self.log.lock();
        if self.continues {
            state.segments.pop_back();
        }
        state.is_roll_due &= self.continues && self.entries.len() == 1;
        state.segments.extend(self.entries);
        state.next = self.next;
        state.last_appended = self.time;
        let bytes = self.chunks.iter().map(|chunk| chunk.bytes()).collect();
        state.tail.extend(self.chunks);
        bytes
    }

    /// Takes it back as if it had never been.
    pub(super) fn undo(self) {
        for entry in self.entries.iter().skip(usize::from(self.continues)) {
            // A file that stays will be overwritten by the next segment of its name, or removed at the next start.
            let _ = entry.segment.remove();
        }
        if self.continues
            && let Some(first) = self.entries.first()
            && first.segment.truncate(self.committed_bytes).is_err()
        {
            self.log.lock().is_tail_dirty = true;
        }
    }
}

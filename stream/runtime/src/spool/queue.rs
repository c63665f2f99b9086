//! The blocks that wait on the disk: appended at one end, taken from the other once the cursor on the bus has passed them,
//! dropped from there when there are too many. No thread of its own, no clock, no waiting.

use std::{
    collections::{BTreeMap, VecDeque},
    fs::{File, OpenOptions, TryLockError},
    path::{Path, PathBuf},
};

use stream_core::NextOffset;

use super::{
    block,
    mark::{Mark, Run},
    segment::{Place, Segment},
};
use crate::{
    bus::BusError,
    loss::Loss,
    publish::{PublishBatch, PublishError},
};

/// Files that a full spool consists of. Room is made a file at a time, so this is also the share that is lost at once.
const SEGMENTS: u64 = 64;
/// What stands for the topic of records that cannot be read any more.
const UNKNOWN_TOPIC: &str = "unknown";
/// Cause of the loss of records for which there was no room.
pub(super) const FULL: &str = "spool_full";
/// Cause of the loss of records that the disk did not give back.
pub(super) const DAMAGED: &str = "spool_damaged";

/// A spool's directory.
#[derive(Debug)]
pub(super) struct Queue {
    directory: PathBuf,
    lock: File,
    run: Run,
    segments: VecDeque<Segment>,
    /// Where the first block lies that is not on the bus, in the first file.
    head: Place,
    /// The number of the next record.
    next: NextOffset,
    /// Blocks before this number are being published and are not dropped: they may be on the bus already.
    in_flight: NextOffset,
    bytes_max: u64,
    component: String,
    loss: Loss,
}

/// Blocks from the head of a queue.
#[derive(Debug)]
pub(super) struct Peeked {
    /// Their records; none if none can be read.
    pub(super) batch: PublishBatch,
    /// The place after them.
    pub(super) mark: Mark,
    /// Records among them that cannot be read.
    pub(super) damaged: u64,
}

impl Queue {
    /// Opens a directory, with what an earlier run left in it. Losses are reported as those of `component`.
    pub(super) fn open(directory: &Path, bytes_max: u64, component: &str, loss: Loss) -> Result<Self, BusError> {
        let failed = |source| BusError::Io { what: format!("cannot open the spool {}", directory.display()), source };
        std::fs::create_dir_all(directory).map_err(failed)?;
        let lock = lock(directory)?;
        let mut segments = VecDeque::new();
        for (first, run, path) in Segment::list(directory).map_err(failed)? {
            let segment = Segment::open(&path, run, first).map_err(failed)?;
            match segment.bytes {
                0 => segment.remove().map_err(failed)?,
                _ => segments.push_back(segment),
            }
        }
        let next = segments.back().map_or(NextOffset(0), |segment| segment.next);
        let head = segments.front().map_or(Place { byte: 0, next }, Segment::start);
        let run = Run::draw().map_err(failed)?;
        let (directory, component, in_flight) = (directory.to_owned(), component.to_owned(), head.next);
        Ok(Self { directory, lock, run, segments, head, next, in_flight, bytes_max, component, loss })
    }

    /// Appends a block, which is on the disk when this returns. If there is no room for it, the oldest go.
    ///
    /// # Errors
    /// Nothing has been appended then.
    pub(super) fn append(&mut self, batch: &PublishBatch) -> Result<(), PublishError> {
        if batch.is_empty() {
            return Ok(());
        }
        let (header, block) = block::encode(self.run, self.next, batch).map_err(|error| PublishError::Closed(error.to_string()))?;
        while self.bytes() + block.len() as u64 > self.bytes_max {
            if !self.drop_oldest() {
                return Err(PublishError::Retry(format!("the spool has {} of {} bytes", self.bytes(), self.bytes_max)));
            }
        }
        let appended = self.segment_for(block.len() as u64).and_then(|segment| segment.append(&header, &block));
        appended.map_err(|error| PublishError::Retry(format!("the spool {} cannot be written: {error}", self.directory.display())))?;
        self.next = header.next();
        Ok(())
    }

    /// Reads blocks from the head on, up to about `bytes_max` bytes, and keeps them from being dropped. None if nothing waits.
    pub(super) fn peek(&mut self, bytes_max: usize) -> Option<Peeked> {
        let (mut batch, mut mark, mut damaged) = (PublishBatch::default(), None, 0);
        'blocks: for (index, segment) in self.segments.iter().enumerate() {
            let mut place = if index == 0 { self.head } else { segment.start() };
            while let Some(step) = segment.step(place) {
                let raw_bytes = step.block.map_or(0, |(_, header)| header.raw_bytes());
                if !batch.is_empty() && batch.bytes() + raw_bytes > bytes_max {
                    break 'blocks;
                }
                damaged += step.missing + segment.read(&step, &mut batch);
                place = step.after;
                mark = Some(Mark { run: segment.run, next: place.next });
            }
        }
        let mark = mark?;
        self.in_flight = mark.next;
        Some(Peeked { batch, mark, damaged })
    }

    /// The bus has everything up to a mark. A mark of which no file is left says nothing about those that are: they came later,
    /// or the spool was put back to an earlier state; then something may be sent twice, but nothing is lost.
    pub(super) fn pass(&mut self, mark: Mark) {
        let is_in = |segment: &Segment| segment.run == mark.run && segment.first.0 <= mark.next.0;
        let Some(index) = self.segments.iter().rposition(is_in) else { return };
        (0..index).for_each(|_| self.remove(0));
        let Some(front) = self.segments.front() else { return };
        while let Some(step) = front.step(self.head).filter(|step| step.after.next <= mark.next) {
            self.head = step.after;
        }
        if self.head.byte >= front.bytes && !self.is_growing(0) {
            self.remove(0);
        }
        self.in_flight = self.in_flight.max(self.head.next);
    }

    /// Records that went with what [`Queue::peek`] gave and could not be read.
    pub(super) fn report_damaged(&self, count: u64) {
        self.loss.report(&self.component, UNKNOWN_TOPIC, DAMAGED, count);
    }

    /// Bytes on the disk.
    pub(super) fn bytes(&self) -> u64 {
        self.segments.iter().map(|segment| segment.bytes).sum()
    }

    /// Records that wait.
    pub(super) fn records(&self) -> u64 {
        let all: u64 = self.segments.iter().map(|segment| segment.next.0 - segment.first.0).sum();
        let passed = self.segments.front().map_or(0, |front| self.head.next.0 - front.first.0);
        all - passed
    }

    /// Leaves the directory in order; an empty spool leaves no file.
    pub(super) fn close(&mut self) {
        if self.records() == 0 {
            (0..self.segments.len()).for_each(|_| self.remove(0));
        } else if let Some(last) = self.segments.back_mut().filter(|last| last.run == self.run) {
            // Without the seal it is read as well; it only tells less about what is damaged in it.
            let _ = last.seal();
        }
    }

    /// The file that takes the next block.
    fn segment_for(&mut self, bytes: u64) -> std::io::Result<&mut Segment> {
        let segment_bytes = self.bytes_max / SEGMENTS;
        let run = self.run;
        let has_room = |last: &Segment| last.run == run && (last.bytes == 0 || last.bytes + bytes <= segment_bytes);
        if !self.segments.back().is_some_and(has_room) {
            if let Some(last) = self.segments.back_mut().filter(|last| last.run == run) {
                let _ = last.seal(); // as in `close`
            }
            let segment = Segment::create(&self.directory, run, self.next)?;
            if self.segments.is_empty() {
                self.head = segment.start();
            }
            self.segments.push_back(segment);
        }
        self.segments.back_mut().ok_or_else(|| std::io::Error::other("there is no file"))
    }

    /// Makes room by the oldest file of which nothing is being published. False if there is none.
    fn drop_oldest(&mut self) -> bool {
        let is_free = |(index, segment): &(usize, &Segment)| segment.first.0 >= self.in_flight.0 && !self.is_growing(*index);
        let Some((index, segment)) = self.segments.iter().enumerate().find(is_free) else { return false };
        let (mut counts, mut damaged) = (BTreeMap::<_, u64>::new(), 0);
        let mut place = if index == 0 { self.head } else { segment.start() };
        while let Some(step) = segment.step(place) {
            let mut batch = PublishBatch::default();
            damaged += step.missing + segment.read(&step, &mut batch);
            batch.records().for_each(|record| *counts.entry(record.topic.clone()).or_default() += 1);
            place = step.after;
        }
        for (topic, count) in counts {
            self.loss.report(&self.component, topic.as_str(), FULL, count);
        }
        self.report_damaged(damaged);
        self.remove(index);
        true
    }

    /// Whether blocks are still being appended to this file.
    fn is_growing(&self, index: usize) -> bool {
        index + 1 == self.segments.len() && self.segments.get(index).is_some_and(|segment| segment.run == self.run)
    }

    fn remove(&mut self, index: usize) {
        let Some(segment) = self.segments.remove(index) else { return };
        if let Err(error) = segment.remove() {
            // It is read again at the next start, when the cursor says that it has been published.
            tracing::warn!(file = %segment.path().display(), %error, "a file of the spool cannot be removed");
        }
        if index == 0 {
            self.head = self.segments.front().map_or(Place { byte: 0, next: self.next }, Segment::start);
        }
    }
}

impl Drop for Queue {
    fn drop(&mut self) {
        // Closing is not enough: a child process between fork and exec still holds the descriptor, and the lock with it.
        if let Err(error) = self.lock.unlock() {
            tracing::warn!(%error, "the lock of the spool was not released");
        }
    }
}

/// Two processes on one spool would publish the same records.
fn lock(directory: &Path) -> Result<File, BusError> {
    let failed = |source| BusError::Io { what: format!("cannot lock {}", directory.display()), source };
    let open = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(directory.join("LOCK"));
    let file = open.map_err(failed)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::Error(source)) => Err(failed(source)),
        Err(TryLockError::WouldBlock) => Err(BusError::Fatal(format!("the spool {} is in use by another process", directory.display()))),
    }
}

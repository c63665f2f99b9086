//! The one thread that writes. It takes the commits that wait, gives their records offsets and one append time, writes and
//! syncs the segment files, commits one store transaction that names their new ends together with states, cursors and
//! positions, and only then shows the records to readers and answers. A crash before the store's commit leaves bytes
//! beyond the known end, which the next start cuts off; after it, everything is there.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    io,
    sync::{Arc, PoisonError, atomic::Ordering},
    time::{Duration, Instant},
};

use super::{
    append::Append,
    config::Durability,
    partition_log::PartitionLog,
    queue::{CursorOwner, Draft, Outcome, Submission, Work},
    rows,
    shared::Shared,
    store::{Store, Table, Write},
    time,
};
use crate::bus::BusError;

/// How often retention looks at the age of records. It also runs whenever a log begins a segment, since bytes go by segments.
const RETENTION_EVERY: Duration = Duration::from_secs(1);
/// An error that lasts is logged this often.
const COMPLAIN_EVERY: Duration = Duration::from_secs(60);
/// Memory that a chunk takes besides its bytes.
const CHUNK_OVERHEAD_BYTES: usize = 256;

/// The committer.
pub(super) struct Committer {
    pub(super) shared: Arc<Shared>,
    /// Number of the last commit.
    commits: u64,
    /// Last sequence of each source.
    sequences: BTreeMap<String, u64>,
    /// Logs in the order of their chunks in memory, with the memory of each.
    tail: VecDeque<(Arc<PartitionLog>, usize)>,
    tail_bytes: usize,
    group_size: usize,
    group_time: Duration,
    retained_at: Instant,
    has_rolled: bool,
    is_stalled: bool,
    complained_at: Option<Instant>,
    /// A group whose store transaction has an unknown outcome, with its number.
    unsettled: Option<(u64, Group)>,
}

/// A group on its way.
#[derive(Default)]
struct Group {
    appends: Vec<Append>,
    sequences: Vec<(String, u64)>,
}

impl Group {
    fn undo(self) {
        self.appends.into_iter().for_each(Append::undo);
    }
}

/// Why rows were not written.
enum RowsError {
    Refused(String),
    Unknown(String),
}

impl Committer {
    pub(super) fn new(shared: Arc<Shared>) -> Result<Self, BusError> {
        let mut sequences = BTreeMap::new();
        for (key, value) in shared.rows(Table::Cursors)? {
            let cursor: crate::publish::Cursor = rows::decode::<rows::CursorRow>(Table::Cursors, &key, &value)?.into();
            sequences.insert(String::from_utf8_lossy(&key).into_owned(), cursor.sequence);
        }
        Ok(Self {
            commits: last_commit(&shared.store)?,
            shared,
            sequences,
            tail: VecDeque::new(),
            tail_bytes: 0,
            group_size: 1,
            group_time: Duration::ZERO,
            retained_at: time::instant(),
            has_rolled: false,
            is_stalled: false,
            complained_at: None,
            unsettled: None,
        })
    }

    /// Works until the queue is closed and empty.
    pub(super) fn run(mut self) {
        loop {
            // Waiting for longer than a commit takes never pays.
            let linger = self.group_time.min(Duration::from_millis(self.shared.config.commit_linger_ms));
            match self.shared.queue.take(self.group_size, linger) {
                Work::Commit(group) => self.commit(group),
                Work::Task(task) => task(&mut self),
                Work::Idle => {}
                Work::Close => break,
            }
            if self.has_rolled || self.retained_at.elapsed() > RETENTION_EVERY {
                self.retain();
            }
        }
    }

    /// Removes what retention and the total cap want gone. Not while a group is unsettled: it may yet become part of its logs.
    fn retain(&mut self) {
        if self.unsettled.is_some() {
            return;
        }
        self.retained_at = time::instant();
        self.has_rolled = false;
        let total = super::retention::retain(&self.shared, time::now());
        self.shared.bytes.store(total, Ordering::Relaxed);
    }

    /// Writes rows outside a group commit.
    pub(super) fn write(&mut self, rows: Vec<Write>) -> Result<(), BusError> {
        self.settle().map_err(BusError::Lost)?;
        self.write_rows(rows).map_err(|error| match error {
            RowsError::Refused(what) => BusError::Lost(what),
            RowsError::Unknown(what) => {
                self.unsettled = Some((self.commits + 1, Group::default()));
                BusError::Lost(what)
            }
        })
    }

    fn commit(&mut self, waiting: Vec<Submission>) {
        let started = time::instant();
        self.group_size = waiting.len();
        let mut waiting = waiting.into_iter().peekable();
        while waiting.peek().is_some() {
            let mut sources = BTreeSet::new();
            let mut group = Vec::new();
            // A source that comes twice must see its first commit settled.
            while let Some(next) = waiting.next_if(|next| next.draft.cursor.as_ref().is_none_or(|cursor| !sources.contains(&cursor.source)))
            {
                sources.extend(next.draft.cursor.as_ref().map(|cursor| cursor.source.clone()));
                match self.refusal(&next) {
                    Some(outcome) => next.promise.settle(outcome),
                    None => group.push(next),
                }
            }
            self.commit_group(group);
        }
        self.group_time = started.elapsed();
    }

    /// The outcome of a commit that must not be made.
    fn refusal(&self, submission: &Submission) -> Option<Outcome> {
        let cursor = submission.draft.cursor.as_ref()?;
        let last = self.sequences.get(&cursor.source).copied().unwrap_or(0);
        match cursor.owner {
            CursorOwner::Remote => (cursor.sequence <= last).then_some(Outcome::Known),
            CursorOwner::Publisher(epoch) => {
                let now = self.shared.publishers.lock().unwrap_or_else(PoisonError::into_inner).get(&cursor.source).copied();
                let is_current = now == Some(epoch) && cursor.sequence == last + 1;
                let source = &cursor.source;
                (!is_current)
                    .then(|| Outcome::Superseded(format!("another publisher of {source} has taken over; its last sequence is {last}")))
            }
        }
    }

    fn commit_group(&mut self, submissions: Vec<Submission>) {
        if submissions.is_empty() {
            return;
        }
        let (drafts, promises): (Vec<_>, Vec<_>) = submissions.into_iter().map(|waiting| (waiting.draft, waiting.promise)).unzip();
        let outcome = self.commit_drafts(drafts);
        match &outcome {
            Outcome::Done => {
                self.shared.signal.raise();
                self.recovered();
            }
            Outcome::Retry(what) | Outcome::Unknown(what) => {
                self.complain(what);
                self.retain();
            }
            Outcome::Known | Outcome::Superseded(_) | Outcome::Closed => {}
        }
        for promise in promises {
            promise.settle(outcome.clone());
        }
    }

    fn commit_drafts(&mut self, drafts: Vec<Draft>) -> Outcome {
        if let Err(what) = self.settle() {
            return Outcome::Retry(what);
        }
        let (mut group, mut rows) = (Group::default(), Vec::new());
        if let Err(error) = self.write_records(drafts, &mut group, &mut rows) {
            group.undo();
            return Outcome::Retry(format!("cannot append to the log in {}: {error}", self.shared.directory.display()));
        }
        rows.extend(group.appends.iter().map(|append| rows::ends_write(&append.log().at, &append.ends())));
        match self.write_rows(rows) {
            Ok(()) => {
                self.publish(group);
                Outcome::Done
            }
            Err(RowsError::Refused(what)) => {
                group.undo();
                Outcome::Retry(what)
            }
            Err(RowsError::Unknown(what)) => {
                self.unsettled = Some((self.commits + 1, group));
                Outcome::Unknown(what)
            }
        }
    }

    /// Writes and syncs the records of all drafts, joining small ones.
    fn write_records(&self, drafts: Vec<Draft>, group: &mut Group, rows: &mut Vec<Write>) -> io::Result<()> {
        let now = time::now();
        for draft in drafts {
            rows.extend(draft.rows);
            if let Some(cursor) = draft.cursor {
                rows.push(rows::cursor_write(&cursor.source, cursor.sequence, &cursor.position));
                group.sequences.push((cursor.source, cursor.sequence));
            }
            for part in draft.parts {
                if !group.appends.iter().any(|append| Arc::ptr_eq(append.log(), &part.log)) {
                    group.appends.push(Append::begin(&part.log, now)?);
                }
                let append = group.appends.iter_mut().find(|append| Arc::ptr_eq(append.log(), &part.log));
                if let Some(append) = append {
                    append.add(part.sealed, &part.rest)?;
                }
            }
        }
        group.appends.iter_mut().try_for_each(Append::flush)?;
        match self.shared.config.durability {
            Durability::Fsync => group.appends.iter().try_for_each(Append::sync),
            Durability::Os => Ok(()),
        }
    }

    fn publish(&mut self, group: Group) {
        self.sequences.extend(group.sequences);
        for append in group.appends {
            let log = Arc::clone(append.log());
            self.has_rolled |= append.begins_segment();
            for bytes in append.publish() {
                self.tail_bytes += bytes + CHUNK_OVERHEAD_BYTES;
                self.tail.push_back((Arc::clone(&log), bytes + CHUNK_OVERHEAD_BYTES));
            }
        }
        while self.tail_bytes > self.shared.config.tail_bytes_max
            && let Some((log, bytes)) = self.tail.pop_front()
        {
            log.evict_oldest_chunk();
            self.tail_bytes -= bytes;
        }
    }

    /// Writes rows and the number of the commit. After an I/O error redb works only when opened again, and then the number
    /// tells whether the transaction took place.
    fn write_rows(&mut self, mut rows: Vec<Write>) -> Result<(), RowsError> {
        let number = self.commits + 1;
        rows.push(rows::commits_write(number));
        rows.sort_by_key(|row| row.table);
        let Err(error) = self.shared.store.write(&rows) else {
            self.commits = number;
            return Ok(());
        };
        match reopen(&self.shared.store) {
            Ok(last) if last == number => {
                self.commits = number;
                Ok(())
            }
            Ok(_) => Err(RowsError::Refused(describe(&error))),
            Err(_) => Err(RowsError::Unknown(describe(&error))),
        }
    }

    /// Finds out what became of a group of unknown outcome, before anything else is written.
    fn settle(&mut self) -> Result<(), String> {
        let Some((number, _)) = &self.unsettled else {
            return Ok(());
        };
        let was_written = reopen(&self.shared.store).map_err(|error| describe(&error))? == *number;
        if let Some((number, group)) = self.unsettled.take() {
            if was_written {
                self.commits = number;
                self.publish(group);
                self.shared.signal.raise();
            } else {
                group.undo();
            }
        }
        Ok(())
    }

    fn complain(&mut self, what: &str) {
        self.is_stalled = true;
        self.shared.set_stalled(Some(what.to_owned()));
        if self.complained_at.is_none_or(|at| at.elapsed() > COMPLAIN_EVERY) {
            self.complained_at = Some(time::instant());
            tracing::error!(what, "the bus cannot write; everything waits until it can");
        }
    }

    fn recovered(&mut self) {
        if std::mem::take(&mut self.is_stalled) {
            self.shared.set_stalled(None);
            tracing::info!("the bus writes again");
        }
    }
}

impl Drop for Committer {
    fn drop(&mut self) {
        if std::thread::panicking() {
            tracing::error!("the committer has panicked; the bus is closed");
        }
        self.shared.queue.abandon();
        self.shared.signal.raise();
    }
}

fn reopen(store: &Store) -> Result<u64, BusError> {
    store.reopen()?;
    last_commit(store)
}

fn last_commit(store: &Store) -> Result<u64, BusError> {
    match store.get(Table::Meta, rows::COMMITS_KEY)? {
        Some(value) => rows::decode(Table::Meta, rows::COMMITS_KEY, &value),
        None => Ok(0),
    }
}

fn describe(error: &dyn std::error::Error) -> String {
    match error.source() {
        Some(source) => format!("{error}: {source}"),
        None => error.to_string(),
    }
}

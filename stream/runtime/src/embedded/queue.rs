//! What waits for the committer: drafts of commits, and tasks that change the bus itself. And how it answers.

use std::{
    collections::VecDeque,
    sync::{Arc, Condvar, Mutex, PoisonError},
    time::{Duration, Instant},
};

use stream_core::TopicName;

use super::{
    chunk::{CHUNK_RAW_BYTES, Records, Sealed},
    committer::Committer,
    partition_log::PartitionLog,
    store::Write,
    time,
    topics::{Topic, Topics},
};

/// Bytes in one group commit.
const GROUP_BYTES_MAX: usize = 8 << 20;
/// Records of a draft are compressed by the thread that commits them if they have at least this many bytes; smaller ones
/// are joined by the committer with those of others, which compresses better and costs less.
const SEAL_BYTES_MIN: usize = 16 << 10;
/// How long the committer sleeps when nothing comes, before it looks after retention.
const IDLE: Duration = Duration::from_secs(1);

/// What a commit does to one partition.
pub(super) struct Part {
    pub(super) log: Arc<PartitionLog>,
    pub(super) sealed: Vec<Sealed>,
    pub(super) rest: Records,
}

/// Who moves a cursor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum CursorOwner {
    /// The publisher of this epoch; a later one fences it.
    Publisher(u64),
    /// A source in another process, which counts for itself.
    Remote,
}

/// A cursor that a commit sets.
#[derive(Debug)]
pub(super) struct CursorMove {
    pub(super) source: String,
    pub(super) owner: CursorOwner,
    pub(super) sequence: u64,
    pub(super) position: Vec<u8>,
}

/// One commit as its thread prepared it.
#[derive(Default)]
pub(super) struct Draft {
    pub(super) parts: Vec<Part>,
    pub(super) rows: Vec<Write>,
    pub(super) cursor: Option<CursorMove>,
    topics: Vec<(TopicName, Arc<Topic>)>,
}

impl Draft {
    /// Adds a record; false if its topic does not exist.
    pub(super) fn push(&mut self, topics: &Topics, topic: &TopicName, key: Option<&[u8]>, value: Option<&[u8]>, headers: &[u8]) -> bool {
        let known = self.topics.iter().position(|(name, _)| name == topic);
        let index = match known {
            Some(index) => index,
            None => match topics.get(topic) {
                Some(found) => {
                    self.topics.push((topic.clone(), found));
                    self.topics.len() - 1
                }
                None => return false,
            },
        };
        let Some(log) = self.topics.get(index).and_then(|(_, topic)| topic.log_of_key(key)) else {
            return false;
        };
        let part = match self.parts.iter_mut().rposition(|part| Arc::ptr_eq(&part.log, log)) {
            Some(part) => part,
            None => {
                self.parts.push(Part { log: Arc::clone(log), sealed: Vec::new(), rest: Records::default() });
                self.parts.len() - 1
            }
        };
        if let Some(part) = self.parts.get_mut(part) {
            part.rest.push(key, value, headers);
            if part.rest.bytes() >= CHUNK_RAW_BYTES {
                part.sealed.push(std::mem::take(&mut part.rest).seal());
            }
        }
        true
    }

    fn seal(&mut self) {
        for part in self.parts.iter_mut().filter(|part| part.rest.bytes() >= SEAL_BYTES_MIN) {
            part.sealed.push(std::mem::take(&mut part.rest).seal());
        }
    }

    fn bytes(&self) -> usize {
        let records: usize = self.parts.iter().map(|part| part.rest.bytes() + part.sealed.iter().map(Sealed::bytes).sum::<usize>()).sum();
        records + self.rows.iter().filter_map(|row| row.value.as_ref()).map(Vec::len).sum::<usize>()
    }
}

/// What became of a commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Outcome {
    /// It is durable and visible.
    Done,
    /// Its sequence was there already.
    Known,
    /// Nothing was written.
    Retry(String),
    /// Somebody else took the name over.
    Superseded(String),
    /// Written or not: the store will tell when it works again.
    Unknown(String),
    /// The bus is closed.
    Closed,
}

/// Where a thread waits for the outcome of its commit.
#[derive(Debug, Default)]
pub(super) struct Ticket {
    outcome: Mutex<Option<Outcome>>,
    settled: Condvar,
}

impl Ticket {
    fn settle(&self, outcome: Outcome) {
        *self.outcome.lock().unwrap_or_else(PoisonError::into_inner) = Some(outcome);
        self.settled.notify_one();
    }

    fn wait(&self) -> Outcome {
        let mut outcome = self.outcome.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            match outcome.take() {
                Some(outcome) => return outcome,
                None => outcome = self.settled.wait(outcome).unwrap_or_else(PoisonError::into_inner),
            }
        }
    }
}

/// The duty to settle a ticket. Whoever drops it leaves the outcome unknown, so that nobody waits for a thread that is gone.
pub(super) struct Promise(Option<Arc<Ticket>>);

impl Promise {
    pub(super) fn settle(mut self, outcome: Outcome) {
        if let Some(ticket) = self.0.take() {
            ticket.settle(outcome);
        }
    }
}

impl Drop for Promise {
    fn drop(&mut self) {
        if let Some(ticket) = self.0.take() {
            ticket.settle(Outcome::Unknown("the committer has ended".into()));
        }
    }
}

/// A commit that waits.
pub(super) struct Submission {
    pub(super) draft: Draft,
    pub(super) promise: Promise,
}

/// A change of the bus itself, made by the committer because only it writes.
pub(super) type Task = Box<dyn FnOnce(&mut Committer) + Send>;

/// What the committer is to do next.
pub(super) enum Work {
    Commit(Vec<Submission>),
    Task(Task),
    Idle,
    Close,
}

#[derive(Default)]
struct Waiting {
    entries: VecDeque<Entry>,
    commits: usize,
    bytes: usize,
    /// The committer wants to be woken when this many commits wait.
    wanted: usize,
    is_closed: bool,
}

enum Entry {
    Commit(Submission, usize),
    Task(Task),
}

/// The queue.
#[derive(Default)]
pub(super) struct Queue {
    waiting: Mutex<Waiting>,
    changed: Condvar,
}

impl Queue {
    /// Hands a commit in and waits for its outcome.
    pub(super) fn commit(&self, mut draft: Draft) -> Outcome {
        draft.seal();
        let bytes = draft.bytes();
        let ticket = Arc::new(Ticket::default());
        {
            let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
            if waiting.is_closed {
                return Outcome::Closed;
            }
            waiting.entries.push_back(Entry::Commit(Submission { draft, promise: Promise(Some(Arc::clone(&ticket))) }, bytes));
            waiting.commits += 1;
            waiting.bytes += bytes;
            if waiting.commits >= waiting.wanted || waiting.bytes >= GROUP_BYTES_MAX {
                self.changed.notify_one();
            }
        }
        ticket.wait()
    }

    /// Has the committer do something, and waits for the result; none if the bus is closed.
    pub(super) fn run<T: Send + 'static>(&self, task: impl FnOnce(&mut Committer) -> T + Send + 'static) -> Option<T> {
        let (sender, receiver) = std::sync::mpsc::sync_channel(1);
        {
            let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
            if waiting.is_closed {
                return None;
            }
            // Nobody waits any more if the send fails.
            waiting.entries.push_back(Entry::Task(Box::new(move |committer| drop(sender.send(task(committer))))));
            waiting.wanted = 0;
            self.changed.notify_one();
        }
        receiver.recv().ok()
    }

    /// Takes no more; what waits is still done.
    pub(super) fn close(&self) {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner).is_closed = true;
        self.changed.notify_one();
    }

    /// Takes no more, and lets go of what waits.
    pub(super) fn abandon(&self) {
        let entries = {
            let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
            waiting.is_closed = true;
            std::mem::take(&mut waiting.entries)
        };
        drop(entries);
    }

    /// Whether it takes no more.
    pub(super) fn is_closed(&self) -> bool {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner).is_closed
    }

    /// Waits for work. Commits are grouped: those that wait, and, for at most `linger`, as many as `expected`, since
    /// those who shared the last sync are likely to come back (PostgreSQL's `commit_delay` with its `commit_siblings`).
    pub(super) fn take(&self, expected: usize, linger: Duration) -> Work {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.wanted = 1;
        if waiting.entries.is_empty() && !waiting.is_closed {
            waiting = self.changed.wait_timeout(waiting, IDLE).unwrap_or_else(PoisonError::into_inner).0;
        }
        waiting.wanted = expected;
        let deadline = time::instant() + linger;
        while waiting.is_worth_waiting(expected) {
            let Some(left) = left_until(deadline) else { break };
            waiting = self.changed.wait_timeout(waiting, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        waiting.take()
    }
}

fn left_until(deadline: Instant) -> Option<Duration> {
    deadline.checked_duration_since(time::instant()).filter(|left| !left.is_zero())
}

impl Waiting {
    fn is_worth_waiting(&self, expected: usize) -> bool {
        let has_only_commits = self.commits > 0 && self.commits == self.entries.len();
        has_only_commits && self.commits < expected && self.bytes < GROUP_BYTES_MAX && !self.is_closed
    }

    fn take(&mut self) -> Work {
        let (mut group, mut group_bytes) = (Vec::new(), 0);
        while group_bytes < GROUP_BYTES_MAX {
            match self.entries.pop_front() {
                Some(Entry::Commit(submission, bytes)) => {
                    group.push(submission);
                    group_bytes += bytes;
                    self.commits -= 1;
                    self.bytes -= bytes;
                }
                Some(Entry::Task(task)) if group.is_empty() => return Work::Task(task),
                Some(task) => {
                    self.entries.push_front(task);
                    break;
                }
                None => break,
            }
        }
        match group.is_empty() {
            false => Work::Commit(group),
            true if self.is_closed => Work::Close,
            true => Work::Idle,
        }
    }
}

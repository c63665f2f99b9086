//! A disk queue in front of a [publisher](Publish), for sources that cannot be read again on a bus that can be away.
//!
//! ```text
//! UDP, TCP, OTLP ─▶ publish: durable on the disk ─▶ drainer, a thread ─▶ publisher: records and cursor in one step
//!                                 ▲                                                     │
//!                                 └── a block goes when the cursor has passed it ◀──────┘
//! ```
//!
//! While the bus is away the spool grows; at its limit the oldest records are dropped, counted and
//! [published as loss](crate::loss). The cursor on the bus is the only truth about what has been published, so a crash
//! between a commit and the removal of its blocks sends nothing twice. Sources that can be read again need no spool: they stop
//! reading. Why it is so: `docs/decisions/spool.md`.

mod block;
mod drainer;
mod mark;
mod queue;
mod segment;
#[cfg(test)]
mod tests;

use std::{
    path::{Path, PathBuf},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread::JoinHandle,
    time::Duration,
};

use serde::{Deserialize, Serialize};

use self::{
    drainer::{Drainer, Next},
    queue::Queue,
};
use crate::{
    bus::BusError,
    loss::Loss,
    metrics::SourceMetrics,
    publish::{Cursor, Open, Publish, PublishBatch, PublishError},
    time::{Clock, SystemClock},
};

/// How long a spool that is closed goes on publishing. What is left then goes out at the next start.
const CLOSE_MAX: Duration = Duration::from_secs(5);

/// `[spool]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SpoolSettings {
    /// Bytes on the disk at which the oldest records are dropped. 512 MiB hold an hour of 2,000 lines a second, since log lines
    /// shrink to about a third.
    pub spool_bytes_max: u64,
}

impl Default for SpoolSettings {
    fn default() -> Self {
        Self { spool_bytes_max: 512 << 20 }
    }
}

impl SpoolSettings {
    /// The least that makes sense: a 64th of it, the share that is dropped at once, holds a block.
    pub const BYTES_LEAST: u64 = 16 << 20;

    /// Checks what the types cannot say.
    ///
    /// # Errors
    /// If the spool could not even hold a few blocks.
    pub fn check(&self) -> Result<(), BusError> {
        let (found, least) = (self.spool_bytes_max, Self::BYTES_LEAST);
        let problem = || BusError::Fatal(format!("spool.spool_bytes_max: expected at least {least}, found {found}"));
        if found < least { Err(problem()) } else { Ok(()) }
    }
}

/// Where a source's spool lies within a data directory.
pub fn directory(data_dir: &Path, source: &str) -> PathBuf {
    data_dir.join("spool").join(source)
}

/// Which spool, and who hears of it.
pub struct SpoolSpec<'a> {
    /// Where it lies; see [`directory`].
    pub directory: &'a Path,
    /// Source of its publisher, which is also the component that losses are reported of.
    pub source: &'static str,
    /// Bytes on the disk at which the oldest records are dropped.
    pub bytes_max: u64,
    /// Where losses are reported.
    pub loss: Loss,
    /// Where its size stands.
    pub metrics: SourceMetrics,
}

/// A publisher that returns when the records are on the disk. It has no position to keep for its source, which could not go
/// back to one: [`Publish::cursor`] knows none, and [`Publish::publish`] takes no other than the empty one.
pub struct Spooled {
    shared: Arc<Shared>,
    drainer: Option<JoinHandle<()>>,
}

struct Shared {
    source: &'static str,
    queue: Arc<Mutex<Queue>>,
    metrics: SourceMetrics,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    /// Something was appended since the drainer looked last.
    is_fed: bool,
    is_closing: bool,
    has_ended: bool,
    failed: Option<String>,
}

impl Spooled {
    /// Opens the spool of a source and begins to publish what an earlier run left in it. `open` is called whenever a
    /// publisher is needed; it may fail for as long as the bus is away.
    ///
    /// # Errors
    /// If the directory cannot be used or another process uses it.
    pub fn open(spec: SpoolSpec<'_>, open: Open) -> Result<Self, BusError> {
        let SpoolSpec { directory, source, bytes_max, loss, metrics } = spec;
        let queue = Arc::new(Mutex::new(Queue::open(directory, bytes_max, source, loss)?));
        let shared = Arc::new(Shared { source, queue: Arc::clone(&queue), metrics, state: Mutex::default(), changed: Condvar::new() });
        let run = {
            let (shared, drainer) = (Arc::clone(&shared), Drainer::new(queue, open, Box::new(SystemClock)));
            move || shared.drain(drainer)
        };
        let thread = std::thread::Builder::new().name("spool".into()).spawn(run);
        let drainer = thread.map_err(|source| BusError::Io { what: "cannot start a thread for the spool".into(), source })?;
        Ok(Self { shared, drainer: Some(drainer) })
    }

    /// Bytes on the disk.
    pub fn bytes(&self) -> u64 {
        lock(&self.shared.queue).bytes()
    }

    /// Records that are not on the bus yet, as far as is known.
    pub fn records(&self) -> u64 {
        lock(&self.shared.queue).records()
    }
}

impl Publish for Spooled {
    fn cursor(&self) -> Option<&Cursor> {
        None
    }

    fn publish(&mut self, records: &PublishBatch, position: &[u8]) -> Result<(), PublishError> {
        if !position.is_empty() {
            return Err(PublishError::Closed("a source behind a spool has no position that could be kept".into()));
        }
        if let Some(why) = lock(&self.shared.state).failed.clone() {
            return Err(PublishError::Closed(why));
        }
        lock(&self.shared.queue).append(records)?;
        self.shared.measure();
        lock(&self.shared.state).is_fed = true;
        self.shared.changed.notify_all();
        Ok(())
    }
}

impl Drop for Spooled {
    /// Publishes what waits, for as long as the bus takes it and for five seconds at most.
    fn drop(&mut self) {
        let mut state = lock(&self.shared.state);
        state.is_closing = true;
        self.shared.changed.notify_all();
        let (state, timeout) =
            self.shared.changed.wait_timeout_while(state, CLOSE_MAX, |state| !state.has_ended).unwrap_or_else(PoisonError::into_inner);
        drop(state);
        if timeout.timed_out() {
            // It hangs in a call to the bus. The process ends without it, as in a crash.
            tracing::warn!(source = self.shared.source, "the bus does not answer; what waits in the spool goes out at the next start");
        } else if let Some(drainer) = self.drainer.take() {
            let _ = drainer.join(); // a panic has been told on standard error
        }
        lock(&self.shared.queue).close();
    }
}

impl Shared {
    fn measure(&self) {
        let bytes = lock(&self.queue).bytes();
        self.metrics.update(|totals| totals.spool_bytes = bytes);
    }

    fn drain(&self, mut drainer: Drainer) {
        let clock = SystemClock;
        let mut closing_until = None;
        loop {
            let next = drainer.step();
            self.measure();
            let mut state = lock(&self.state);
            if state.is_closing {
                let now = clock.monotonic();
                let until = *closing_until.get_or_insert(now + CLOSE_MAX);
                if next != Next::Again || now >= until {
                    break;
                }
            }
            match next {
                Next::Again => {}
                Next::Idle => {
                    let idle = |state: &mut State| !state.is_fed && !state.is_closing;
                    state = self.changed.wait_while(state, idle).unwrap_or_else(PoisonError::into_inner);
                    state.is_fed = false;
                }
                Next::Pause(time) => {
                    let waiting = self.changed.wait_timeout_while(state, time, |state| !state.is_closing);
                    drop(waiting.unwrap_or_else(PoisonError::into_inner));
                }
                Next::Fail(why) => {
                    tracing::error!(source = self.source, why, "the spool cannot be published");
                    state.failed = Some(why);
                    break;
                }
            }
        }
        // The publisher goes before the end is told, so that whoever waits for it may open the next one.
        drop(drainer);
        lock(&self.state).has_ended = true;
        self.changed.notify_all();
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

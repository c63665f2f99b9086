//! The collector: all sources of one machine, one way onto the bus.
//!
//! ```text
//!  UDP, Unix datagrams ─┐
//!  TCP, TLS, Unix, RELP ┤ a thread each: frame, parse, encode ─▶ bounded queue ─▶ blocks ─▶ bus: records and cursor
//!        RELP waits for ◀┼─────────────────── receipts ◀───────────────────────────┘        in one step
//!  files ───────────────┤
//!  kernel ring ─────────┤ begin where the cursor stands; at the first start
//!  journal ─────────────┘ with the last hours, merged by event time
//! ```
//!
//! Plain threads and blocking reads: where a source waits, nothing else does, and a full bus makes all of them wait. Where the
//! bus can be away, what comes over sockets has a queue of its own, which leads through a spool on disk: senders cannot be asked
//! to say it again, and must not wait because a file does.

mod blocks;
mod clock;
pub mod config;
mod connections;
mod cursor;
mod datagram;
mod files;
mod journald;
mod kernel;
mod lines;
mod listener;
mod rate;
mod receipt;
mod relp;
mod reread;
mod sources;
pub mod status;
mod stream;
mod tail;
pub mod tls;
mod transport;

use std::error::Error;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};

use stream_runtime::engine::error_chain;
use stream_runtime::publish::Publish;
use stream_runtime::source::{Source, SourceContext};

pub use self::blocks::BlockError;
use self::blocks::{Closed, Progress, Queue};
pub use self::config::{Config, ConfigError};
pub use self::cursor::CursorError;
use self::reread::Reread;
pub use self::status::{SourceState, SourceStatus, Watch};
pub use self::stream::Protocol;
use self::tls::IdentityError;

/// Why the collector could not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The configuration cannot be meant.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The cursor on the bus is not ours to read.
    #[error(transparent)]
    Cursor(#[from] CursorError),
    /// A certificate or key does not serve.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// A source that was asked for by name cannot be opened.
    #[error("source {name} cannot be opened: {reason}")]
    Source {
        /// Its name.
        name: String,
        /// Why not.
        reason: String,
    },
    /// The system gives no more threads.
    #[error("no thread for {name}")]
    Thread {
        /// What it was for.
        name: String,
        /// The refusal.
        #[source]
        source: std::io::Error,
    },
}

/// Whether it is time to stop; every thread looks at it several times a second.
#[derive(Debug, Clone, Default)]
pub(crate) struct Stop(Arc<AtomicBool>);

impl Stop {
    pub(crate) fn is_set(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    fn set(&self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// A running collector.
#[derive(Debug)]
pub struct Collector {
    watch: Watch,
    stop: Stop,
    failure: Failure,
    threads: Vec<JoinHandle<()>>,
}

/// The first reason for which the collector cannot go on.
#[derive(Debug, Clone, Default)]
struct Failure(Arc<Mutex<Option<String>>>);

impl Failure {
    fn set(&self, reason: String) {
        tracing::error!(reason, "collector stops");
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(reason);
    }
}

impl Collector {
    /// What is watched, what cannot be seen and why. Clones see the present state.
    pub fn watch(&self) -> Watch {
        self.watch.clone()
    }

    /// All sources as they stand.
    pub fn status(&self) -> Vec<SourceStatus> {
        self.watch.status()
    }

    fn spawn(&mut self, name: &str, work: impl FnOnce() -> Result<(), String> + Send + 'static) -> Result<(), StartError> {
        let (failure, stop) = (self.failure.clone(), self.stop.clone());
        let thread = thread::Builder::new().name(format!("syslog-{name}")).spawn(move || {
            let outcome = catch_unwind(AssertUnwindSafe(work));
            if let Err(reason) = outcome.unwrap_or_else(|_| Err("a thread of the collector panicked".to_owned())) {
                failure.set(reason);
                stop.set();
            }
        });
        self.threads.push(thread.map_err(|source| StartError::Thread { name: name.to_owned(), source })?);
        Ok(())
    }

    /// Starts a thread that publishes blocks, and gives the queue that leads to it.
    fn publish(&mut self, name: &str, mut to: Box<dyn Publish>, progress: Progress, publish_ms: u64) -> Result<Queue, StartError> {
        let (queue, blocks) = blocks::queue();
        let (watch, stop) = (self.watch.clone(), self.stop.clone());
        self.spawn(name, move || blocks.run(to.as_mut(), progress, publish_ms, &watch, &stop).map_err(|error| error_chain(&error)))?;
        Ok(queue)
    }

    fn open(config: &Config, context: SourceContext) -> Result<Self, StartError> {
        config.check()?;
        let SourceContext { publisher, spooled, publish_ms, data_dir, loss } = context;
        let positions = publisher.cursor().map_or_else(|| Ok(cursor::Positions::new()), |cursor| cursor::decode(&cursor.position))?;
        let watch = Watch::new(loss);
        let sources = sources::open(config, &data_dir, &watch, &positions)?;
        let stop = Stop::default();
        let mut collector = Self { watch: watch.clone(), stop: stop.clone(), failure: Failure::default(), threads: Vec::new() };
        let queue = collector.publish("publish", publisher, Progress::Positions(positions), publish_ms)?;
        let sockets = match spooled {
            None => queue.clone(),
            Some(spooled) => collector.publish("spool", spooled, Progress::Unknown, publish_ms)?,
        };
        for listener in sources.listeners {
            let (queue, stop) = (sockets.clone(), stop.clone());
            // When the publisher has gone, it has said why.
            collector.spawn("listen", move || listener(&queue, &stop).or(Ok(())))?;
        }
        collector.spawn("local", move || read_local(sources.reread, sources.present_us, &queue, &stop).or(Ok(())))?;
        Ok(collector)
    }
}

/// Reads the past of all local sources together, then follows each on its own.
fn read_local(mut sources: Vec<Box<dyn Reread>>, present_us: i64, queue: &Queue, stop: &Stop) -> Result<(), Closed> {
    reread::catch_up(&mut sources, present_us, &mut queue.outlet(), stop)?;
    thread::scope(|scope| {
        let follow = |mut source: Box<dyn Reread>| scope.spawn(move || reread::follow(source.as_mut(), &mut queue.outlet(), stop));
        let threads: Vec<_> = sources.into_iter().map(follow).collect();
        threads.into_iter().try_for_each(|thread| thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
    })
}

impl Source for Collector {
    type Config = Config;

    const NAME: &'static str = "syslog";

    fn start(config: Config, context: SourceContext) -> Result<Self, Box<dyn Error + Send + Sync>> {
        Ok(Self::open(&config, context)?)
    }

    fn failed(&self) -> Option<String> {
        self.failure.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Everything that was read is on the bus when this returns.
    fn stop(mut self) {
        self.stop.set();
        for thread in std::mem::take(&mut self.threads) {
            let _ = thread.join(); // panics are caught and told within
        }
        self.watch.stopped();
    }
}

impl Drop for Collector {
    fn drop(&mut self) {
        self.stop.set();
    }
}

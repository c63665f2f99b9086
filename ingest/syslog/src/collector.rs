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
//! to say it again, and must not wait because a file does. They are heard before the bus is there; the rest begins when the bus
//! has told where its cursor stands.

mod blocks;
mod clock;
pub mod config;
mod connections;
mod cursor;
mod datagram;
mod files;
mod inherited;
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
use std::sync::mpsc::sync_channel;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use stream_runtime::bus::BusError;
use stream_runtime::engine::error_chain;
use stream_runtime::publish::{Open, Publish};
use stream_runtime::source::{Source, SourceContext};

pub use self::blocks::BlockError;
use self::blocks::{Closed, Progress, Queue};
pub use self::config::{Config, ConfigError};
pub use self::cursor::CursorError;
use self::cursor::Positions;
pub use self::inherited::take_over_sockets;
use self::reread::Reread;
pub use self::status::{SourceState, SourceStatus, Watch};
pub use self::stream::Protocol;
use self::tls::IdentityError;

/// Between two looks for a bus that is away.
const BUS_PAUSE: Duration = Duration::from_secs(1);

/// Why the collector could not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The configuration cannot be meant.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The bus does not let us publish.
    #[error(transparent)]
    Bus(#[from] BusError),
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

    /// Starts the thread that fills the spool, and gives the queue that leads to it.
    fn spool(&mut self, mut to: Box<dyn Publish>, publish_ms: u64) -> Result<Queue, StartError> {
        let (queue, blocks) = blocks::queue();
        let (watch, stop) = (self.watch.clone(), self.stop.clone());
        self.spawn("spool", move || {
            blocks.run(to.as_mut(), Progress::Unknown, publish_ms, &watch, &stop).map_err(|error| error_chain(&error))
        })?;
        Ok(queue)
    }

    fn open(config: &Config, context: SourceContext) -> Result<Self, StartError> {
        config.check()?;
        let SourceContext { publisher: mut open, spooled, publish_ms, data_dir, loss } = context;
        let watch = Watch::new(loss);
        let listeners = sources::listeners(config, &data_dir, &watch)?;
        let stop = Stop::default();
        let mut collector = Self { watch: watch.clone(), stop: stop.clone(), failure: Failure::default(), threads: Vec::new() };
        let (queue, blocks) = blocks::queue();
        let (sockets, mut local) = match spooled {
            // The bus is in this process: what does not serve shows at once.
            None => (queue.clone(), Some(Local::open(config, &watch, &mut open)?)),
            Some(spooled) => (collector.spool(spooled, publish_ms)?, None),
        };
        for listener in listeners {
            let (queue, stop) = (sockets.clone(), stop.clone());
            // When the publisher has gone, it has said why.
            collector.spawn("listen", move || listener(&queue, &stop).or(Ok(())))?;
        }
        let (opened, sources) = sync_channel(1);
        let (config, ending) = (config.clone(), stop.clone());
        collector.spawn("publish", move || {
            let mut is_told = false;
            while local.is_none() && !ending.is_set() {
                match Local::open(&config, &watch, &mut open) {
                    Ok(opened) => local = Some(opened),
                    Err(StartError::Bus(BusError::Lost(why))) => {
                        if !std::mem::replace(&mut is_told, true) {
                            tracing::warn!(why, "the bus is away: what can be read again waits, what cannot goes to the spool");
                        }
                        thread::sleep(BUS_PAUSE);
                    }
                    Err(error) => return Err(error_chain(&error)),
                }
            }
            let Some(Local { mut publisher, positions, sources }) = local else { return Ok(()) };
            let _ = opened.send(sources); // who reads them gives up only at the end
            let progress = Progress::Positions(positions);
            blocks.run(publisher.as_mut(), progress, publish_ms, &watch, &ending).map_err(|error| error_chain(&error))
        })?;
        collector.spawn("local", move || {
            let Ok(sources) = sources.recv() else { return Ok(()) };
            read_local(sources, &queue, &stop).or(Ok(()))
        })?;
        Ok(collector)
    }
}

/// What can be read again, and the way onto the bus, which knows how far it had been read.
struct Local {
    publisher: Box<dyn Publish>,
    positions: Positions,
    sources: sources::Local,
}

impl Local {
    fn open(config: &Config, watch: &Watch, open: &mut Open) -> Result<Self, StartError> {
        let publisher = open()?;
        let positions = publisher.cursor().map_or_else(|| Ok(Positions::new()), |cursor| cursor::decode(&cursor.position))?;
        let sources = sources::local(config, watch, &positions)?;
        Ok(Self { publisher, positions, sources })
    }
}

/// Reads the past of all local sources together, then follows each on its own.
fn read_local(local: sources::Local, queue: &Queue, stop: &Stop) -> Result<(), Closed> {
    let sources::Local { reread: mut sources, present_us } = local;
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

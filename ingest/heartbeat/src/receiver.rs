//! The collector: one thread hears, one publishes.

use std::{
    error::Error,
    io::ErrorKind,
    net::{SocketAddr, UdpSocket},
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread::JoinHandle,
    time::Duration,
};

use schemas::{Heartbeat, Subject, topics};
use serde::{Deserialize, Serialize};
use stream_core::{Headers, TopicName};
use stream_runtime::{
    bus::BusError,
    loss::Loss,
    publish::{Publish, PublishBatch, PublishError},
    secret,
    source::{Source, SourceContext},
    time::wall_clock,
};

use crate::{
    pulse::{Key, Pulse, SIGNED_BYTES},
    register::{Limits, Register},
};

/// How long a thread waits before it looks whether to stop; and how often what was heard is published.
const LOOK: Duration = Duration::from_millis(100);
/// The bus is asked again this many times by a receiver that is to stop.
const STOP_TRIES: u32 = 20;
/// Records that wait for a bus that takes nothing; beyond, the oldest are lost and counted.
const WAITING_MAX: usize = 20_000;
const RUN_BYTES: usize = 8;
const SECOND_US: i64 = 1_000_000;

/// `[heartbeat]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// UDP addresses to listen on.
    pub udp: Vec<SocketAddr>,
    /// File with the key of signed heartbeats; empty: signatures are neither asked for nor checked.
    pub key_file: PathBuf,
    /// What this receiver calls itself; empty: the host name.
    pub name: String,
    /// Names at most.
    pub names_max: usize,
    /// Seconds from one summary of a name to the next.
    pub summary_s: u32,
    /// Hours after which a silent name is forgotten.
    pub forget_after_h: u32,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            udp: vec![SocketAddr::from(([127, 0, 0, 1], 7701))],
            key_file: PathBuf::new(),
            name: String::new(),
            names_max: 20_000,
            summary_s: 10,
            forget_after_h: 24,
        }
    }
}

/// Why the receiver could not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The key cannot be read, or is none.
    #[error("heartbeat.key_file {}: {problem}", path.display())]
    Key {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        problem: String,
    },
    /// An address is taken, or not ours.
    #[error("heartbeats cannot be heard on {address}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// The refusal.
        source: std::io::Error,
    },
    /// The bus does not let us publish.
    #[error(transparent)]
    Bus(#[from] BusError),
    /// The system refuses.
    #[error("the receiver of heartbeats cannot start")]
    Io(#[from] std::io::Error),
}

impl Config {
    fn limits(&self) -> Limits {
        Limits {
            names_max: self.names_max,
            forget_after_us: i64::from(self.forget_after_h) * 3_600 * SECOND_US,
            summary_us: i64::from(self.summary_s) * SECOND_US,
            listening_us: 2 * SECOND_US,
        }
    }
}

/// The key in a file, white space around it left out; none if no file is named.
///
/// # Errors
/// If it cannot be read, or is empty.
pub fn read_key(path: &Path) -> Result<Option<Key>, StartError> {
    if path.as_os_str().is_empty() {
        return Ok(None);
    }
    let failed = |problem: String| StartError::Key { path: path.into(), problem };
    let text = std::fs::read(path).map_err(|error| failed(error.to_string()))?;
    match text.trim_ascii() {
        [] => Err(failed("expected a key, found an empty file".into())),
        secret => Ok(Some(Key::new(secret))),
    }
}

/// A running receiver.
pub struct Receiver {
    hearing: Arc<AtomicBool>,
    publishing: Arc<AtomicBool>,
    failure: Arc<Mutex<Option<String>>>,
    ears: Vec<JoinHandle<()>>,
    mouth: JoinHandle<()>,
}

impl Receiver {
    fn open(config: &Config, context: SourceContext) -> Result<Self, StartError> {
        let key = read_key(&config.key_file)?;
        let SourceContext { publisher: mut open, spooled, loss, .. } = context;
        // Nobody says a heartbeat twice.
        let publisher = match spooled {
            Some(spooled) => spooled,
            None => open()?,
        };
        let name = match config.name.as_str() {
            "" => rustix::system::uname().nodename().to_string_lossy().into_owned(),
            name => name.to_owned(),
        };
        let run = u64::from_str_radix(&secret::random_hex(RUN_BYTES)?, 16).map_err(std::io::Error::other)?;
        let register = Arc::new(Mutex::new(Register::new(&name, run, config.limits())));
        let (hearing, publishing) = (Arc::new(AtomicBool::new(true)), Arc::new(AtomicBool::new(true)));
        let mut ears = Vec::new();
        let is_asked_for = config.udp != Config::default().udp;
        for &address in &config.udp {
            let listen = |source| StartError::Listen { address, source };
            let socket = match UdpSocket::bind(address) {
                Ok(socket) => socket,
                Err(source) if is_asked_for => return Err(listen(source)),
                Err(error) => {
                    tracing::warn!(%address, %error, "no heartbeats can be heard there");
                    continue;
                }
            };
            socket.set_read_timeout(Some(LOOK)).map_err(listen)?;
            let ear = Ear { socket, key: key.clone(), register: Arc::clone(&register), loss: loss.clone() };
            let hearing = Arc::clone(&hearing);
            ears.push(std::thread::Builder::new().name("heartbeat-hear".into()).spawn(move || ear.run(&hearing))?);
        }
        let failure = Arc::new(Mutex::new(None));
        let mouth = Mouth {
            publisher,
            register,
            loss,
            failure: Arc::clone(&failure),
            batch: PublishBatch::default(),
            topic: topics::HOST_HEARTBEATS.into(),
        };
        let awake = Arc::clone(&publishing);
        let mouth = std::thread::Builder::new().name("heartbeat-publish".into()).spawn(move || mouth.run(&awake))?;
        Ok(Self { hearing, publishing, failure, ears, mouth })
    }
}

impl Source for Receiver {
    type Config = Config;

    const NAME: &'static str = "heartbeat";

    fn start(config: Config, context: SourceContext) -> Result<Self, Box<dyn Error + Send + Sync>> {
        Ok(Self::open(&config, context)?)
    }

    fn failed(&self) -> Option<String> {
        lock(&self.failure).clone()
    }

    /// All that was heard is on the bus when this returns.
    fn stop(self) {
        self.hearing.store(false, Ordering::Relaxed);
        self.ears.into_iter().for_each(|ear| _ = ear.join());
        self.publishing.store(false, Ordering::Relaxed);
        let _ = self.mouth.join();
    }
}

struct Ear {
    socket: UdpSocket,
    key: Option<Key>,
    register: Arc<Mutex<Register>>,
    loss: Loss,
}

impl Ear {
    fn run(self, hearing: &AtomicBool) {
        let mut bytes = [0; SIGNED_BYTES + 1];
        while hearing.load(Ordering::Relaxed) {
            let (length, from) = match self.socket.recv_from(&mut bytes) {
                Ok(received) => received,
                Err(error) => {
                    if !matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted) {
                        tracing::warn!(%error, "a heartbeat could not be received");
                        std::thread::sleep(LOOK);
                    }
                    continue;
                }
            };
            let refused = match Pulse::decode(bytes.get(..length).unwrap_or_default(), self.key.as_ref()) {
                Ok(pulse) => match lock(&self.register).hear(&pulse, wall_clock().micros()) {
                    Ok(()) => continue,
                    Err(refused) => (refused.reason(), refused.to_string()),
                },
                Err(error) => (error.reason(), error.to_string()),
            };
            let (reason, why) = refused;
            tracing::debug!(%from, why, "no heartbeat");
            self.loss.refuse(Receiver::NAME, reason, 1);
        }
    }
}

struct Mouth {
    publisher: Box<dyn Publish>,
    register: Arc<Mutex<Register>>,
    loss: Loss,
    failure: Arc<Mutex<Option<String>>>,
    batch: PublishBatch,
    topic: TopicName,
}

impl Mouth {
    fn run(mut self, awake: &AtomicBool) {
        let mut last_tries = STOP_TRIES;
        let mut is_away = false;
        loop {
            // Looked at first, so that what was heard before the end is said.
            let is_last = !awake.load(Ordering::Relaxed);
            let now_us = wall_clock().micros();
            let due = if is_last { lock(&self.register).rest(now_us) } else { lock(&self.register).due(now_us) };
            self.say(&due);
            match self.publish() {
                Ok(()) if is_last => return,
                Ok(()) => is_away = false,
                Err(PublishError::Retry(why)) => {
                    last_tries -= u32::from(is_last);
                    if last_tries == 0 {
                        return;
                    }
                    if !std::mem::replace(&mut is_away, true) {
                        tracing::warn!(why, "the bus takes no heartbeats for now");
                    }
                }
                Err(error) => {
                    lock(&self.failure).get_or_insert(error.to_string());
                    return;
                }
            }
            std::thread::sleep(LOOK);
        }
    }

    fn say(&mut self, due: &[Heartbeat]) {
        for heartbeat in due {
            let value = match heartbeat.to_bytes() {
                Ok(value) if self.batch.len() < WAITING_MAX => value,
                Ok(_) => {
                    self.loss.report(Receiver::NAME, topics::HOST_HEARTBEATS, "bus_away", 1);
                    continue;
                }
                Err(error) => {
                    tracing::error!(%error, name = heartbeat.name, "a heartbeat cannot be encoded");
                    continue;
                }
            };
            if let Err(error) = self.batch.push(&self.topic, Some(heartbeat.name.as_bytes()), Some(&value), Headers::default()) {
                tracing::error!(%error, name = heartbeat.name, "a heartbeat is too large");
            }
        }
    }

    /// What cannot be published stays for the next time.
    fn publish(&mut self) -> Result<(), PublishError> {
        if !self.batch.is_empty() {
            self.publisher.publish(&self.batch, &[])?;
            self.batch.clear();
        }
        Ok(())
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

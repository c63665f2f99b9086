//! A bus in a temporary directory, and a publisher on it that behaves as badly as it is told.

use std::{
    path::Path,
    sync::{
        Arc, Condvar, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use schemas::topics::Cleanup;
use stream_core::{Headers, NextOffset, Partition, TopicPartition};
use stream_runtime::{
    bus::{Bus, BusError, TopicSpec},
    embedded::{Durability, EmbeddedBus, EmbeddedConfig},
    gathered::Gathered,
    inspect::{Inspect, ReadLimits},
    loss::Loss,
    metrics::SourceMetrics,
    publish::{Cursor, Publish, PublishBatch, PublishError},
    spool::{SpoolSpec, Spooled},
    time::{Clock, SystemClock},
};

pub const TOPIC: &str = "in.v1";
const SOURCE: &str = "sockets";
/// Long enough for a loaded machine; nothing waits for it that comes earlier.
pub const PATIENCE: Duration = Duration::from_secs(60);

pub fn open_bus(directory: &Path) -> EmbeddedBus {
    let bus = EmbeddedBus::open(directory, EmbeddedConfig { durability: Durability::Os, ..Default::default() }).unwrap();
    let topic =
        TopicSpec { name: TOPIC.into(), partitions: 1, cleanup: Cleanup::Delete, retention_ms: 3_600_000, retention_bytes: 1 << 30 };
    bus.ensure_topics(&[topic]).unwrap();
    bus
}

/// Everything that was published, as the numbers that it begins with.
pub fn published(bus: &EmbeddedBus) -> Vec<u64> {
    let at = TopicPartition::new(&TOPIC.into(), Partition(0));
    let limits = ReadLimits { records_max: usize::MAX, bytes_max: usize::MAX, wait: Duration::ZERO };
    let mut gathered = Gathered::default();
    bus.read(&at, NextOffset(0), &limits, &mut gathered).unwrap();
    let number = |value: &[u8]| u64::from_be_bytes(value[..8].try_into().unwrap());
    gathered.records().map(|(_, record)| number(record.value.unwrap())).collect()
}

/// Records that are numbers, with noise behind them that no compression shortens.
pub fn batch(numbers: std::ops::Range<u64>, noise_bytes: usize) -> PublishBatch {
    let mut batch = PublishBatch::default();
    for number in numbers {
        let mut x = number.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
        let mut value = number.to_be_bytes().to_vec();
        value.extend((0..noise_bytes).map(|_| {
            x ^= x << 13;
            x ^= x >> 7;
            x ^= x << 17;
            x as u8
        }));
        batch.push(&TOPIC.into(), None, Some(&value), Headers::default()).unwrap();
    }
    batch
}

/// What a bus does with a publication.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mood {
    Good,
    /// It cannot be reached.
    Away,
    /// It refuses for now.
    Busy,
    /// It does not take it, and the answer is lost.
    LostBefore,
    /// It takes it, and the answer is lost.
    LostAfter,
    /// Somebody else has the name.
    Fenced,
    /// It does not answer until the mood changes.
    Hanging,
}

/// A bus with moods. The random one changes with every call.
#[derive(Clone)]
pub struct Moody {
    bus: EmbeddedBus,
    mood: Arc<(Mutex<Mood>, Condvar)>,
    seed: Arc<AtomicU64>,
}

impl Moody {
    pub fn new(bus: &EmbeddedBus, mood: Mood) -> Self {
        Self { bus: bus.clone(), mood: Arc::new((Mutex::new(mood), Condvar::new())), seed: Arc::default() }
    }

    /// Changes its mood at random with every call from now on.
    pub fn drive_mad(&self, seed: u64) {
        self.seed.store(seed | 1, Ordering::Relaxed);
    }

    pub fn set(&self, mood: Mood) {
        self.seed.store(0, Ordering::Relaxed);
        *self.mood.0.lock().unwrap() = mood;
        self.mood.1.notify_all();
    }

    fn mood(&self) -> Mood {
        let seed = self.seed.load(Ordering::Relaxed);
        if seed == 0 {
            let hangs = |mood: &mut Mood| *mood == Mood::Hanging;
            return *self.mood.1.wait_while(self.mood.0.lock().unwrap(), hangs).unwrap();
        }
        let next = (seed ^ (seed >> 31)).wrapping_mul(0xd6e8_feb8_6659_fd93) | 1;
        self.seed.store(next, Ordering::Relaxed);
        [Mood::Good, Mood::Good, Mood::Away, Mood::Busy, Mood::LostBefore, Mood::LostAfter][(next >> 40) as usize % 6]
    }

    fn open(&self) -> Result<Box<dyn Publish>, BusError> {
        match self.mood() {
            Mood::Away => Err(BusError::Lost("away".into())),
            _ => Ok(Box::new(MoodyPublisher { publisher: self.bus.publisher(SOURCE)?, moody: self.clone(), refused: None })),
        }
    }

    /// A spool in front of it.
    pub fn spool(&self, directory: &Path, bytes_max: u64, loss: &Loss, metrics: &SourceMetrics) -> Spooled {
        let (moody, loss, metrics) = (self.clone(), loss.clone(), metrics.clone());
        Spooled::open(SpoolSpec { directory, source: SOURCE, bytes_max, loss, metrics }, Box::new(move || moody.open())).unwrap()
    }
}

struct MoodyPublisher {
    publisher: Box<dyn Publish>,
    moody: Moody,
    refused: Option<Vec<u8>>,
}

impl Publish for MoodyPublisher {
    fn cursor(&self) -> Option<&Cursor> {
        self.publisher.cursor()
    }

    fn publish(&mut self, records: &PublishBatch, position: &[u8]) -> Result<(), PublishError> {
        let is_same = self.refused.take().is_none_or(|refused| refused == position);
        assert!(is_same, "what was refused for now is offered again as it was");
        match self.moody.mood() {
            Mood::Good | Mood::Hanging => self.publisher.publish(records, position),
            Mood::Busy => {
                self.refused = Some(position.to_vec());
                Err(PublishError::Retry("busy".into()))
            }
            Mood::Fenced => Err(PublishError::Closed("fenced".into())),
            Mood::Away | Mood::LostBefore => Err(PublishError::Unknown("the request was lost".into())),
            Mood::LostAfter => {
                self.publisher.publish(records, position)?;
                Err(PublishError::Unknown("the answer was lost".into()))
            }
        }
    }
}

/// Waits for a condition that nobody announces.
pub fn eventually(what: &str, mut is_so: impl FnMut() -> bool) {
    let begun = SystemClock.monotonic();
    while !is_so() {
        assert!(SystemClock.monotonic() - begun < PATIENCE, "never: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

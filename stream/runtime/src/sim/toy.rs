//! A processor that is hard on the engine: whatever it is told changes its state for ever, and whatever it puts out tells
//! of its whole past. So nothing can be lost, doubled, reordered or told at another time without showing.

use std::collections::BTreeMap;

use schemas::EventTime;
use serde::{Deserialize, Serialize};
use stream_core::{
    ConfigError, HeaderBuffer, Lateness, Outbox, Processor, Record, Reject, RejectReason, SnapshotReader, SnapshotWriter, StateError,
    Timing, TopicName, TopicPartition,
};

use super::{
    rng::Rng,
    workload::{SourceRecord, Workload},
    world::release,
};

/// Keys of the toy's records.
const KEYS: u64 = 5;
/// Windows of event time.
const WINDOW_MS: i64 = 3_000;
/// Windows open at the same time at most; older ones are forgotten.
const WINDOWS_MAX: usize = 64;
/// When the first record happens.
const BEGIN: EventTime = EventTime::from_millis(1_700_000_000_000);

/// What a record of the toy's inputs says.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
enum Act {
    /// Count it.
    Count(u32),
    /// Count it and put out this many records.
    Burst(u8),
    /// Change the state, then panic if the running binary is older than this release.
    Panic(u8),
    /// The same, but only when told of a watermark that this very record moved.
    PanicLater(u8),
    /// Put out more than a record may, if the running binary is older than this release.
    Flood(u8),
    /// Refuse it.
    Refuse,
}

#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
struct ToyRecord {
    happened_at: EventTime,
    act: Act,
}

/// The toy's configuration.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ToyConfig {
    /// Goes into every hash.
    pub salt: u64,
    /// The section that grows and shrinks has fewer bytes than this.
    pub ballast_bytes_max: u32,
}

impl Default for ToyConfig {
    fn default() -> Self {
        Self { salt: 0, ballast_bytes_max: 3_000 }
    }
}

/// The toy. See the [module](self).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Toy {
    /// The instance that this is, to sign outputs with.
    at: TopicPartition,
    ballast_bytes_max: u32,
    /// Hash over everything that it was ever told, in order.
    past: u64,
    /// Hash and count per key.
    chains: BTreeMap<Vec<u8>, (u64, u64)>,
    /// Count per open window.
    windows: BTreeMap<i64, u64>,
    /// The broadcast table.
    table: BTreeMap<Vec<u8>, Vec<u8>>,
    /// Bytes whose number and content change.
    ballast: Vec<u8>,
    /// The watermark at which to panic. Only the record in hand can move the watermark to just there, so this is no state.
    armed: Option<EventTime>,
}

impl Toy {
    fn learn(&mut self, parts: &[&[u8]]) -> u64 {
        for part in parts {
            self.past = mix(self.past ^ part.len() as u64);
            self.past = part.iter().fold(self.past, |past, byte| mix(past ^ u64::from(*byte)));
        }
        self.past
    }

    /// Puts out a value, signed with who puts it out and as what: a real log does not know.
    fn put(&self, topic: &str, key: Option<&[u8]>, value: &str, out: &mut Outbox) -> Result<(), Reject> {
        let mut signature = HeaderBuffer::default();
        signature.push(INPUT_HEADER, Some(self.at.to_string().as_bytes()));
        signature.push("id", Some(out.next_id().as_bytes()));
        out.emit_with_headers(&topic.into(), key, Some(value.as_bytes()), signature.as_headers())
    }
}

/// One round of a multiplicative hash: cheap, and no two histories of a simulation collide by accident.
const fn mix(x: u64) -> u64 {
    let x = (x ^ (x >> 32)).wrapping_mul(0xd6e8_feb8_6659_fd93);
    x ^ (x >> 29)
}

/// Header of an output: the instance that put it out.
pub(super) const INPUT_HEADER: &str = "input";

/// Name of the toy's first input, which has more partitions than the second.
pub const WIDE: &str = "toy.wide.v1";
const NARROW: &str = "toy.narrow.v1";
const TABLE: &str = "toy.table.v1";
const OUT: &str = "toy.out.v1";
const CLOSED: &str = "toy.closed.v1";

impl Processor for Toy {
    type Config = ToyConfig;
    const NAME: &'static str = "toy";
    const STATE_VERSION: u16 = 1;

    fn inputs(_: &ToyConfig) -> Vec<TopicName> {
        vec![WIDE.into(), NARROW.into()]
    }

    fn broadcasts(_: &ToyConfig) -> Vec<TopicName> {
        vec![TABLE.into()]
    }

    fn outputs(_: &ToyConfig) -> Vec<TopicName> {
        vec![OUT.into(), CLOSED.into()]
    }

    fn state_bytes_bound(_: &ToyConfig) -> u64 {
        2 << 20
    }

    fn new(config: &ToyConfig, at: &TopicPartition) -> Result<Self, ConfigError> {
        let past = mix(config.salt ^ u64::from(at.partition.0) << 8 ^ at.topic.as_str().len() as u64);
        Ok(Self {
            at: at.clone(),
            ballast_bytes_max: config.ballast_bytes_max,
            past,
            chains: BTreeMap::new(),
            windows: BTreeMap::new(),
            table: BTreeMap::new(),
            ballast: Vec::new(),
            armed: None,
        })
    }

    fn on_record(&mut self, record: Record<'_>, out: &mut Outbox) -> Result<(), Reject> {
        let value = record.value.unwrap_or_default();
        let undecodable = |error: postcard::Error| Reject::new(RejectReason::Undecodable, error.to_string());
        let toy: ToyRecord = postcard::from_bytes(value).map_err(undecodable)?;
        if matches!(toy.act, Act::Refuse) {
            return Err(Reject::new(RejectReason::InvalidField, "it asks to be refused"));
        }
        let key = record.key.unwrap_or_default();
        let is_late = out.observe(toy.happened_at) == Timing::Late;
        let past = self.learn(&[b"record", key, value, &record.offset.0.to_be_bytes(), &[u8::from(is_late)]]);
        let (chain, count) = self.chains.entry(key.to_vec()).or_default();
        *chain = mix(*chain ^ past);
        *count += 1;
        let (chain, count) = (*chain, *count);
        *self.windows.entry(toy.happened_at.millis().div_euclid(WINDOW_MS)).or_default() += 1;
        if self.windows.len() > WINDOWS_MAX {
            self.windows.pop_first();
        }
        if count.is_multiple_of(3) {
            let length = (past % u64::from(self.ballast_bytes_max.max(1))) as usize;
            self.ballast.resize(if past.is_multiple_of(4) { 0 } else { length }, past as u8);
        }
        let seen_at = toy.happened_at.min(record.appended_at);
        let is_armed = matches!(toy.act, Act::PanicLater(fixed_in) if release() < fixed_in);
        self.armed = is_armed.then(|| seen_at.plus_millis(-Lateness::DEFAULT.lateness_ms));
        let outputs = match toy.act {
            Act::Panic(fixed_in) if release() < fixed_in => std::panic::resume_unwind(Box::new("a bug of an old release")),
            Act::Flood(fixed_in) if release() < fixed_in => usize::MAX,
            Act::Burst(outputs) => usize::from(outputs),
            Act::Count(_) | Act::Panic(_) | Act::PanicLater(_) | Act::Flood(_) | Act::Refuse => usize::from(past.is_multiple_of(2)),
        };
        for number in 0..outputs {
            self.put(OUT, Some(key), &format!("{chain:016x} {count} {number}"), out)?;
        }
        Ok(())
    }

    fn on_broadcast(&mut self, record: Record<'_>) -> Result<(), Reject> {
        let key = record.key.ok_or_else(|| Reject::new(RejectReason::InvalidField, "a table's record needs a key"))?;
        self.learn(&[b"broadcast", key, record.value.unwrap_or_default()]);
        match record.value {
            Some(value) => self.table.insert(key.to_vec(), value.to_vec()),
            None => self.table.remove(key),
        };
        Ok(())
    }

    fn on_watermark(&mut self, now: EventTime, out: &mut Outbox) -> Result<(), Reject> {
        let past = self.learn(&[b"watermark", &now.0.to_be_bytes()]);
        if self.armed == Some(now) {
            std::panic::resume_unwind(Box::new("a bug of an old release, met at a watermark"));
        }
        let open = now.millis().div_euclid(WINDOW_MS);
        let still_open = self.windows.split_off(&open);
        for (window, count) in std::mem::replace(&mut self.windows, still_open) {
            self.put(CLOSED, None, &format!("{window} {count} {past:016x} {}", self.table.len()), out)?;
        }
        Ok(())
    }

    fn snapshot(&self, w: &mut SnapshotWriter) -> Result<(), StateError> {
        w.put("past", &self.past)?;
        w.put("chains", &self.chains)?;
        if !self.windows.is_empty() {
            w.put("windows", &self.windows)?;
        }
        w.put("table", &self.table)?;
        w.section("ballast").extend(&self.ballast);
        Ok(())
    }

    fn restore(r: &SnapshotReader<'_>, config: &ToyConfig, at: &TopicPartition) -> Result<Self, StateError> {
        let windows = if r.section("windows").is_some() { r.get("windows")? } else { BTreeMap::new() };
        let ballast = r.require("ballast")?.to_vec();
        Ok(Self {
            at: at.clone(),
            ballast_bytes_max: config.ballast_bytes_max,
            past: r.get("past")?,
            chains: r.get("chains")?,
            windows,
            table: r.get("table")?,
            ballast,
            armed: None,
        })
    }
}

/// Two sources for the toy's inputs and one for its table: stragglers, fast clocks, silences, garbage, panics.
pub fn workload(rng: &mut Rng) -> Workload {
    let (wide, tables) = (1 + rng.below(3) as u32, 1 + rng.below(2) as u32);
    let partitions = vec![(WIDE.into(), wide), (NARROW.into(), 1), (TABLE.into(), tables), (OUT.into(), 2), (CLOSED.into(), 1)];
    let sources = vec![input_records(rng), input_records(rng), table_records(rng)];
    Workload { partitions, sources }
}

fn input_records(rng: &mut Rng) -> Vec<SourceRecord> {
    let count = if rng.chance(20) { 600 } else { 10 + rng.below(50) };
    let faulty = rng.chance(600);
    let mut now = BEGIN;
    let mut record = |number: u64, rng: &mut Rng| {
        now = now.plus_millis(if rng.chance(50) { 20_000 } else { rng.below(600) as i64 });
        let happened_at = now.plus_millis(match rng.below(20) {
            0 => 60_000,
            1..5 => -(rng.below(15_000) as i64),
            _ => -(rng.below(900) as i64),
        });
        let act = match rng.below(40) {
            0 if faulty => Act::Refuse,
            1 if faulty => Act::Panic(if rng.chance(300) { u8::MAX } else { 1 + rng.below(4) as u8 }),
            2 if faulty && rng.chance(200) => Act::Flood(if rng.chance(500) { u8::MAX } else { 2 }),
            3 if faulty => Act::PanicLater(if rng.chance(300) { u8::MAX } else { 1 + rng.below(4) as u8 }),
            4..7 => Act::Burst(rng.below(6) as u8),
            _ => Act::Count(number as u32),
        };
        let mut value = postcard::to_stdvec(&ToyRecord { happened_at, act }).unwrap_or_default();
        if faulty && rng.chance(20) {
            value.truncate(2);
        }
        let mut headers = HeaderBuffer::default();
        if rng.chance(100) {
            headers.push("number", Some(&number.to_be_bytes()));
        }
        let topic = if rng.chance(750) { WIDE } else { NARROW };
        let key = Some(rng.below(KEYS).to_string().into_bytes());
        SourceRecord { topic: topic.into(), appended_at: now, key, value: Some(value), headers }
    };
    (0..count).map(|number| record(number, rng)).collect()
}

fn table_records(rng: &mut Rng) -> Vec<SourceRecord> {
    let mut now = BEGIN;
    let mut record = |number: u64| {
        now = now.plus_millis(rng.below(8_000) as i64);
        let key = (!rng.chance(100)).then(|| rng.below(3).to_string().into_bytes());
        let value = rng.chance(800).then(|| number.to_be_bytes().to_vec());
        SourceRecord { topic: TABLE.into(), appended_at: now, key, value, headers: HeaderBuffer::default() }
    };
    (0..4).map(&mut record).collect()
}

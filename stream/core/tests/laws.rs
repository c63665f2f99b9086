//! The kit passes a lawful processor and catches each way to break a law.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use proptest::prelude::*;
use stream_core::*;

#[derive(Clone, Default, serde::Serialize, serde::Deserialize)]
struct Settings {}

/// Puts out every third record. `FAULT` breaks one law.
struct EveryThird<const FAULT: u8> {
    seen: u64,
    unsaved: u64,
    hoard: Vec<u8>,
    instance: u64,
}

/// What no processor may have: something outside its state that differs from run to run.
static INSTANCES: AtomicU64 = AtomicU64::new(0);

const LAWFUL: u8 = 0;
const PANICS: u8 = 1;
const FORGETS: u8 = 2;
const SNAPSHOT_GROWS_ON_RESTORE: u8 = 3;
const REJECTS_AFTER_A_CHANGE: u8 = 4;
const HOARDS: u8 = 5;
const PANICS_ON_DAMAGE: u8 = 6;
const COUNTS_ITS_INSTANCES: u8 = 7;
const TELLS_NOBODY_OF_A_LIMIT: u8 = 8;

impl<const FAULT: u8> Processor for EveryThird<FAULT> {
    type Config = Settings;
    const NAME: &'static str = "every-third";
    const STATE_VERSION: u16 = 1;

    fn inputs(_: &Settings) -> Vec<TopicName> {
        vec!["in.v1".into()]
    }

    fn outputs(_: &Settings) -> Vec<TopicName> {
        vec!["out.v1".into()]
    }

    fn state_bytes_bound(_: &Settings) -> u64 {
        64
    }

    fn new(_: &Settings, _: &TopicPartition) -> Result<Self, ConfigError> {
        Ok(Self { seen: 0, unsaved: 0, hoard: Vec::new(), instance: INSTANCES.fetch_add(1, Relaxed) })
    }

    fn on_record(&mut self, record: Record<'_>, out: &mut Outbox) -> Result<(), Reject> {
        let value = record.value.unwrap_or_default();
        if FAULT == REJECTS_AFTER_A_CHANGE {
            self.seen += 1;
        }
        if value.first() == Some(&b'!') {
            return Err(Reject::new(RejectReason::InvalidField, "expected no exclamation mark"));
        }
        assert!(FAULT != PANICS || value.len() < 100, "too long");
        if FAULT == HOARDS {
            self.hoard.extend(value);
        }
        out.observe(record.appended_at);
        self.seen += 1;
        self.unsaved += 1;
        let counter = if FAULT == FORGETS { self.unsaved } else { self.seen };
        if counter.is_multiple_of(3) {
            let instance = self.instance.to_be_bytes();
            let key = if FAULT == COUNTS_ITS_INSTANCES { Some(&instance[..]) } else { record.key };
            out.emit_raw(&"out.v1".into(), key, record.value)?;
        }
        if FAULT == TELLS_NOBODY_OF_A_LIMIT && value.first() == Some(&b'*') {
            let _ = out.emit_raw(&"out.v1".into(), None, Some(&vec![0; RECORD_BYTES_MAX + 1]));
        }
        Ok(())
    }

    fn snapshot(&self, w: &mut SnapshotWriter) -> Result<(), StateError> {
        w.put("seen", &self.seen)?;
        w.section("hoard").extend(&self.hoard);
        Ok(())
    }

    fn restore(r: &SnapshotReader<'_>, _: &Settings, _: &TopicPartition) -> Result<Self, StateError> {
        let mut hoard = r.require("hoard")?.to_vec();
        if FAULT == SNAPSHOT_GROWS_ON_RESTORE {
            hoard.push(0);
        }
        let seen: Result<u64, _> = r.get("seen");
        assert!(FAULT != PANICS_ON_DAMAGE || seen.is_ok(), "damaged");
        Ok(Self { seen: seen?, unsaved: 0, hoard, instance: 0 })
    }
}

fn values() -> impl Strategy<Value = Vec<u8>> + 'static {
    "[a-z!*][a-z]{0,10}".prop_map(String::into_bytes)
}

fn verdict<const FAULT: u8>() -> String {
    let outcome = std::panic::catch_unwind(|| laws::check::<EveryThird<FAULT>>(&Settings {}, values()));
    match outcome {
        Ok(()) => "lawful".into(),
        Err(panic) => panic.downcast_ref::<String>().expect("the kit panics with a text").clone(),
    }
}

#[test]
fn a_lawful_processor_passes() {
    laws::check::<EveryThird<LAWFUL>>(&Settings {}, values());
}

#[test]
fn each_broken_law_is_found_and_named() {
    let found = [
        (verdict::<PANICS>(), "total"),
        (verdict::<TELLS_NOBODY_OF_A_LIMIT>(), "output_limit"),
        (verdict::<COUNTS_ITS_INSTANCES>(), "deterministic"),
        (verdict::<FORGETS>(), "restorable"),
        (verdict::<SNAPSHOT_GROWS_ON_RESTORE>(), "canonical snapshots"),
        (verdict::<REJECTS_AFTER_A_CHANGE>(), "changed the state"),
        (verdict::<HOARDS>(), "bounded"),
        (verdict::<PANICS_ON_DAMAGE>(), "damage is an error"),
    ];
    for (verdict, law) in found {
        assert!(verdict.contains(law), "expected a broken law {law:?}, the kit said: {verdict}");
    }
}

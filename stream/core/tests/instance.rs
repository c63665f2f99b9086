//! One step of a processor as every bus takes it: outputs and their limits, ids, rejects, panics, and the clock.

use proptest::prelude::*;
use schemas::Alert;
use stream_core::*;

/// A processor that does what a test tells it.
struct Told {
    on_record: OnRecord,
    watermarks: Vec<EventTime>,
    on_watermark: fn(&mut Outbox) -> Result<(), Reject>,
}

type OnRecord = Box<dyn FnMut(Record<'_>, &mut Outbox) -> Result<(), Reject> + Send>;

impl Processor for Told {
    type Config = ();
    const NAME: &'static str = "told";
    const STATE_VERSION: u16 = 1;

    fn inputs((): &()) -> Vec<TopicName> {
        vec!["in.v1".into()]
    }

    fn outputs((): &()) -> Vec<TopicName> {
        vec!["out.v1".into()]
    }

    fn state_bytes_bound((): &()) -> u64 {
        0
    }

    fn new((): &(), _: &TopicPartition) -> Result<Self, ConfigError> {
        unreachable!("made by each test")
    }

    fn on_record(&mut self, record: Record<'_>, out: &mut Outbox) -> Result<(), Reject> {
        (self.on_record)(record, out)
    }

    fn on_watermark(&mut self, now: EventTime, out: &mut Outbox) -> Result<(), Reject> {
        self.watermarks.push(now);
        (self.on_watermark)(out)
    }

    fn snapshot(&self, _: &mut SnapshotWriter) -> Result<(), StateError> {
        Ok(())
    }

    fn restore(_: &SnapshotReader<'_>, (): &(), _: &TopicPartition) -> Result<Self, StateError> {
        unreachable!("never restored")
    }
}

fn at() -> TopicPartition {
    TopicPartition::new(&"in.v1".into(), Partition(3))
}

fn out_topic() -> TopicName {
    "out.v1".into()
}

fn instance(on_record: impl FnMut(Record<'_>, &mut Outbox) -> Result<(), Reject> + Send + 'static) -> Instance<Told> {
    let told = Told { on_record: Box::new(on_record), watermarks: Vec::new(), on_watermark: |_| Ok(()) };
    Instance::new(told, EventClock::default(), at(), Lateness::DEFAULT)
}

fn apply(instance: &mut Instance<Told>, offset: u64, appended_at: EventTime, value: &[u8], out: &mut Outbox) -> Applied {
    let at = at();
    let (topic, partition, headers) = (&at.topic, at.partition, Headers::default());
    instance.apply(Record { topic, partition, offset: Offset(offset), appended_at, key: None, value: Some(value), headers }, out)
}

const T0: EventTime = EventTime::from_millis(1_700_000_000_000);

fn reason(applied: Applied) -> Option<RejectReason> {
    match applied {
        Applied::Accepted => None,
        Applied::Rejected(reject) | Applied::Poisoned(reject) => Some(reject.reason),
    }
}

#[test]
fn outputs_keep_order_and_ordinals_go_on_into_the_watermark_of_the_same_record() {
    let mut told = instance(|record, out| {
        out.observe(record.appended_at);
        out.emit_raw(&out_topic(), Some(b"k"), record.value)?;
        out.emit_raw(&"other.v1".into(), None, None)
    });
    told.processor.on_watermark = |out| out.emit_raw(&out_topic(), Some(b"w"), Some(b""));
    let mut out = Outbox::new("told");
    assert_eq!(apply(&mut told, 41, T0, b"one", &mut out), Applied::Accepted);
    assert_eq!(apply(&mut told, 42, T0, b"two", &mut out), Applied::Accepted);
    told.tick(NextOffset(43), T0.plus_millis(60_000), &mut out).expect("within the limits");

    let seen: Vec<_> = out.outputs().map(|o| (o.topic.as_str(), o.key, o.value, o.source, o.ordinal)).collect();
    let (first, second) = (OutputSource::Record(Offset(41)), OutputSource::Record(Offset(42)));
    assert_eq!(
        seen,
        [
            ("out.v1", Some(&b"k"[..]), Some(&b"one"[..]), first, 0),
            ("other.v1", None, None, first, 1),
            ("out.v1", Some(b"w"), Some(b""), first, 2),
            ("out.v1", Some(b"k"), Some(b"two"), second, 0),
            ("other.v1", None, None, second, 1),
            ("out.v1", Some(b"w"), Some(b""), OutputSource::Tick(NextOffset(43), T0.plus_millis(60_000)), 0),
        ]
    );
    assert_eq!(out.outputs().map(|o| o.position()).collect::<Vec<_>>(), [42, 42, 42, 43, 43, 43].map(NextOffset));
    let ids: std::collections::BTreeSet<_> = out.outputs().map(|o| o.id("told")).collect();
    assert_eq!(ids.len(), 6, "ids are unique");
    assert_eq!(out.outputs().next().map(|o| o.id("told")), Some(output_id("told", &at(), first, 0)));
}

#[test]
fn an_alert_carries_the_id_of_its_output() {
    let mut told = instance(|_, out| {
        out.emit_raw(&out_topic(), None, Some(b"before"))?;
        out.alert(Alert { name: "DiskFull".into(), ..Alert::default() })
    });
    let mut out = Outbox::new("told");
    assert_eq!(apply(&mut told, 7, T0, b"", &mut out), Applied::Accepted);
    let output = out.outputs().nth(1).expect("the alert");
    let alert: Alert = serde_json::from_slice(output.value.expect("a value")).expect("JSON");
    assert_eq!((output.topic.as_str(), output.key), ("alerts.v1", Some(alert.fingerprint.as_bytes())));
    assert_eq!(alert.id, output_id("told", &at(), OutputSource::Record(Offset(7)), 1));
    assert_eq!(output.headers.text("ce_id"), Some(alert.id.as_str()));
    assert_eq!(output.headers.text("ce_source"), Some("/nephoscope/told"));
}

#[test]
fn a_reject_takes_back_what_the_record_put_out_and_nothing_else() {
    let mut told = instance(|record, out| {
        out.observe(record.appended_at.plus_millis(-1));
        out.emit_raw(&out_topic(), None, record.value)?;
        if record.value == Some(b"bad") { Err(Reject::new(RejectReason::InvalidField, "bad")) } else { Ok(()) }
    });
    let mut out = Outbox::new("told");
    assert_eq!(reason(apply(&mut told, 0, T0, b"good", &mut out)), None);
    let (clock, bytes) = (told.clock, out.bytes());
    let later = T0.plus_millis(600_000);
    assert_eq!(reason(apply(&mut told, 1, later, b"bad", &mut out)), Some(RejectReason::InvalidField));
    assert_eq!((out.len(), out.bytes()), (1, bytes));
    assert_eq!(told.clock, EventClock { appended_at: later, ..clock });
    assert_eq!(told.processor.watermarks.len(), 1);
    assert_eq!(reason(apply(&mut told, 2, later, b"good", &mut out)), None);
    assert_eq!(out.outputs().map(|o| (o.source, o.ordinal)).last(), Some((OutputSource::Record(Offset(2)), 0)));
}

#[test]
fn a_panic_poisons_the_record_and_takes_back_its_outputs() {
    let mut told = instance(|record, out| {
        out.emit_raw(&out_topic(), None, record.value)?;
        assert_ne!(record.value, Some(&b"bad"[..]), "cannot stand it");
        Ok(())
    });
    let mut out = Outbox::new("told");
    apply(&mut told, 0, T0, b"good", &mut out);
    let Applied::Poisoned(reject) = apply(&mut told, 1, T0, b"bad", &mut out) else { panic!("a panic poisons") };
    assert_eq!(reject.reason, RejectReason::Panic);
    assert!(reject.detail.contains("cannot stand it"), "{reject}");
    assert_eq!(out.len(), 1);
}

#[test]
fn a_broken_limit_poisons_even_if_the_processor_hides_it() {
    let limits: [fn(&mut Outbox); 3] = [
        |out| {
            let _ = out.emit_raw(&out_topic(), Some(b"k"), Some(&vec![0; RECORD_BYTES_MAX]));
        },
        |out| (0..10_001).for_each(|_| drop(out.emit_raw(&out_topic(), None, Some(b"")))),
        |out| (0..10).for_each(|_| drop(out.emit_raw(&out_topic(), None, Some(&vec![0; RECORD_BYTES_MAX])))),
    ];
    for limit in limits {
        let mut told = instance(move |record, out| {
            if record.value == Some(b"greedy") {
                limit(out);
            }
            out.emit_raw(&out_topic(), None, record.value)
        });
        let mut out = Outbox::new("told");
        assert_eq!(reason(apply(&mut told, 0, T0, b"modest", &mut out)), None);
        assert!(
            matches!(apply(&mut told, 1, T0, b"greedy", &mut out), Applied::Poisoned(reject) if reject.reason == RejectReason::OutputLimit)
        );
        assert_eq!((out.len(), out.bytes()), (1, 6));
        assert_eq!(reason(apply(&mut told, 2, T0, b"modest", &mut out)), None, "limits count anew for each record");
    }
}

#[test]
fn what_is_just_within_the_limits_passes() {
    let mut told = instance(|_, out| {
        out.emit_raw(&out_topic(), Some(b"k"), Some(&vec![0; RECORD_BYTES_MAX - 1]))?;
        (1..10_000).try_for_each(|_| out.emit_raw(&out_topic(), None, Some(b"")))
    });
    let mut out = Outbox::new("told");
    assert_eq!(reason(apply(&mut told, 0, T0, b"", &mut out)), None);
    assert_eq!(out.len(), 10_000);
}

#[test]
fn a_fast_clock_closes_nobodys_windows() {
    let mut told = instance(|record, out| {
        out.observe(record.appended_at.plus_millis(3_600_000));
        Ok(())
    });
    let mut out = Outbox::new("told");
    apply(&mut told, 0, T0, b"", &mut out);
    assert_eq!(told.clock.watermark, T0.plus_millis(-5_000));
    assert_eq!(out.take_counts(), (0, 1));
}

#[test]
fn silence_moves_the_watermark_in_whole_seconds_and_only_after_a_first_record() {
    let mut told = instance(|record, out| {
        out.observe(record.appended_at);
        Ok(())
    });
    assert_eq!(told.clock.idle_tick(i64::MAX), None);
    let mut out = Outbox::new("told");
    let seen_at = T0.plus_millis(300);
    apply(&mut told, 0, seen_at, b"", &mut out);
    assert_eq!(told.clock.idle_tick(0), None);
    let tick = told.clock.idle_tick(10_000).expect("ten seconds passed");
    assert_eq!(tick, T0.plus_millis(5_000), "300 ms rounded down, 5 s of lateness, 10 s of silence");
    told.tick(NextOffset(1), tick, &mut out).expect("within the limits");
    assert_eq!(told.processor.watermarks, [T0.plus_millis(-4_700), tick]);
    assert_eq!(told.clock.idle_tick(20_000), Some(T0.plus_millis(15_000)), "counted from the record, not from the tick");

    // A record older than the tick is late, and the watermark stays.
    apply(&mut told, 1, seen_at, b"", &mut out);
    assert_eq!((out.take_counts(), told.clock.watermark), ((1, 0), tick));
    assert_eq!(told.clock.idle_tick(1_000), Some(tick.plus_millis(1_000)), "silence counts anew from that record");
}

proptest! {
    /// Against the definition: watermark = newest time − lateness, told in steps of a second, never back.
    #[test]
    fn the_watermark_follows_the_newest_record(times in proptest::collection::vec((-20_000..20_000i64, 0..3_000i64), 1..80)) {
        let (tell, told_times) = std::sync::mpsc::channel();
        let (timings, seen_timings) = std::sync::mpsc::channel();
        let mut told = instance(move |_, out| {
            let time: EventTime = told_times.recv().expect("a time for each record");
            timings.send(out.observe(time)).expect("somebody listens");
            Ok(())
        });
        let mut out = Outbox::new("told");
        let (mut appended_at, mut newest, mut last_told) = (T0, None, None::<EventTime>);
        for (offset, (behind_ms, gap_ms)) in times.into_iter().enumerate() {
            appended_at = appended_at.plus_millis(gap_ms);
            let time = appended_at.plus_millis(behind_ms);
            tell.send(time).expect("somebody listens");
            let before = told.processor.watermarks.len();
            prop_assert_eq!(apply(&mut told, offset as u64, appended_at, b"", &mut out), Applied::Accepted);

            let counted = time.min(appended_at);
            let late = last_told.is_some_and(|told| counted < told);
            prop_assert_eq!(seen_timings.recv() == Ok(Timing::Late), late);
            newest = newest.max(Some(counted));
            let watermark = newest.expect("a record was seen").plus_millis(-5_000);
            prop_assert_eq!(told.clock.watermark, watermark);
            let due = last_told.is_none_or(|told| watermark.millis_since(told) >= 1_000);
            let expected: &[EventTime] = if due { &[watermark] } else { &[] };
            prop_assert_eq!(&told.processor.watermarks[before..], expected);
            last_told = if due { Some(watermark) } else { last_told };
        }
    }

    /// No event time and no append time is too odd for the clock.
    #[test]
    fn the_clock_is_total(times in proptest::collection::vec((any::<i64>(), any::<i64>(), any::<i64>()), 1..20)) {
        let (tell, told_times) = std::sync::mpsc::channel();
        let mut told = instance(move |_, out| {
            out.observe(told_times.recv().expect("a time for each record"));
            Ok(())
        });
        let mut out = Outbox::new("told");
        for (offset, (time, appended_at, idle_ms)) in times.into_iter().enumerate() {
            tell.send(EventTime(time)).expect("somebody listens");
            prop_assert_eq!(apply(&mut told, offset as u64, EventTime(appended_at), b"", &mut out), Applied::Accepted);
            if let Some(to) = told.clock.idle_tick(idle_ms) {
                prop_assert!(to > told.clock.watermark);
                prop_assert!(told.tick(NextOffset(offset as u64 + 1), to, &mut out).is_ok());
            }
        }
        prop_assert!(told.processor.watermarks.is_sorted());
    }
}

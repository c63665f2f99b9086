//! What a runtime learns from a sink, whatever the sink does.

use std::time::Duration;

use stream_core::{
    Applied, ConfigError, Delivered, EventTime, Headers, NextOffset, Offset, Outbox, Partition, Record, Reject, RejectReason, Sink,
    SinkBatch, SinkError, SinkId, SinkInstance, SnapshotReader, SnapshotWriter, StateError, TopicName, TopicPartition,
};

/// Does what each record's first byte asks for.
#[derive(Default)]
struct Obedient {
    finished: Vec<u8>,
    ticks: Vec<EventTime>,
    commits: usize,
}

impl Sink for Obedient {
    type Config = ();
    const NAME: &'static str = "obedient";
    const STATE_VERSION: u16 = 1;

    fn inputs(_: &()) -> Vec<TopicName> {
        vec!["in.v1".into()]
    }

    fn state_bytes_bound(_: &()) -> u64 {
        0
    }

    fn new(_: &(), _: SinkId<'_>) -> Result<Self, ConfigError> {
        Ok(Self::default())
    }

    fn on_batch(&mut self, batch: &mut SinkBatch<'_>, out: &mut Outbox) -> Result<(), SinkError> {
        while let Some(record) = batch.take(out) {
            let act = record.value.and_then(|value| value.first()).copied().unwrap_or_default();
            out.emit_raw(&"out.v1".into(), None, Some(&[act]))?;
            match act {
                b'l' => return Err(SinkError::retry_after(Duration::from_secs(7), "later")),
                b'r' => return Err(Reject::new(RejectReason::Refused, "no").into()),
                b'p' => panic!("as asked"),
                b'f' => drop(out.emit_raw(&"out.v1".into(), None, Some(&vec![0; 1_000_000]))),
                b's' => return Ok(()),
                b'u' => continue,
                _ => {}
            }
            self.finished.push(act);
            batch.done(out);
        }
        Ok(())
    }

    fn on_broadcast(&mut self, record: Record<'_>) -> Result<(), Reject> {
        if record.value == Some(b"p") { panic!("as asked") } else { Ok(()) }
    }

    fn on_tick(&mut self, now: EventTime, out: &mut Outbox) -> Result<(), Reject> {
        self.ticks.push(now);
        out.emit_raw(&"out.v1".into(), None, Some(b"tick"))
    }

    fn after_commit(&mut self) {
        self.commits += 1;
        assert!(self.commits < 3, "as asked");
    }

    fn snapshot(&self, _: &mut SnapshotWriter) -> Result<(), StateError> {
        Ok(())
    }

    fn restore(_: &SnapshotReader<'_>, _: &(), _: SinkId<'_>) -> Result<Self, StateError> {
        Ok(Self::default())
    }
}

fn instance() -> SinkInstance<Obedient> {
    SinkInstance::new(Obedient::default(), EventTime::MIN, TopicPartition::new(&"in.v1".into(), Partition(0)))
}

/// Delivers one record for each letter, and returns what came out beside the answer.
fn deliver(instance: &mut SinkInstance<Obedient>, acts: &str) -> (Delivered, Vec<(u64, u32, Vec<u8>)>) {
    let topic = TopicName::new("in.v1");
    let record = |(offset, value)| Record {
        topic: &topic,
        partition: Partition(0),
        offset: Offset(offset),
        appended_at: EventTime(0),
        key: None,
        value: Some(value),
        headers: Headers::default(),
    };
    let records: Vec<_> = (10..).zip(acts.as_bytes().chunks(1)).map(record).collect();
    let mut out = Outbox::new("obedient");
    let delivered = instance.deliver(&records, EventTime(0), &mut out);
    let outputs = out.outputs().map(|output| (output.position().0 - 1, output.ordinal, output.value.unwrap_or_default().to_vec()));
    (delivered, outputs.collect())
}

fn outputs(acts: &str) -> Vec<(u64, u32, Vec<u8>)> {
    (10..).zip(acts.bytes()).map(|(offset, act)| (offset, 0, vec![act])).collect()
}

#[test]
fn outputs_follow_from_the_record_in_hand() {
    let mut instance = instance();
    assert_eq!(deliver(&mut instance, "abc"), (Delivered::Done { done: 3 }, outputs("abc")));
    assert_eq!(instance.sink.finished, b"abc");
}

#[test]
fn what_was_done_before_an_error_stands_and_nothing_else() {
    let later = |done| Delivered::Later { done, pause: Duration::from_secs(7), why: "later".into() };
    assert_eq!(deliver(&mut instance(), "abl"), (later(2), outputs("ab")));
    assert_eq!(deliver(&mut instance(), "l"), (later(0), outputs("")));
    assert_eq!(deliver(&mut instance(), "auul"), (later(1), outputs("a")), "taken together, and none of them is done");
    let refused = Delivered::Refused { done: 1, reject: Reject::new(RejectReason::Refused, "no") };
    assert_eq!(deliver(&mut instance(), "arb"), (refused, outputs("a")));
}

#[test]
fn a_sink_that_stops_early_is_done_with_what_it_took() {
    assert_eq!(deliver(&mut instance(), "asb"), (Delivered::Done { done: 2 }, outputs("as")));
    assert!(matches!(deliver(&mut instance(), "").0, Delivered::Later { done: 0, .. }), "with nothing to take it must not spin");
}

#[test]
fn a_panic_or_a_broken_limit_breaks_it_even_if_it_hides_that() {
    for (acts, taken, reason) in
        [("abp", 3, RejectReason::Panic), ("af", 2, RejectReason::OutputLimit), ("fab", 3, RejectReason::OutputLimit)]
    {
        let (delivered, _) = deliver(&mut instance(), acts);
        assert!(
            matches!(&delivered, Delivered::Broken { taken: found, reject } if (*found, reject.reason) == (taken, reason)),
            "{acts}: {delivered:?}"
        );
    }
}

#[test]
fn ticks_rise_though_the_clock_goes_back() {
    let (mut instance, mut out) = (instance(), Outbox::new("obedient"));
    for now in [5, 3, 3, 9] {
        instance.tick(NextOffset(4), EventTime(now), &mut out).expect("within its limits");
    }
    assert_eq!(instance.sink.ticks, [5, 6, 7, 9].map(EventTime));
    let ids: std::collections::BTreeSet<_> = out.outputs().map(|output| output.id("obedient")).collect();
    assert_eq!(ids.len(), 4, "no two outputs have the same id");
}

#[test]
fn panics_end_here() {
    let (mut instance, mut out) = (instance(), Outbox::new("obedient"));
    assert!(instance.after_commit().is_ok() && instance.after_commit().is_ok());
    assert_eq!(instance.after_commit().expect_err("panics").reason, RejectReason::Panic);
    let topic = TopicName::new("table.v1");
    let record = Record {
        topic: &topic,
        partition: Partition(0),
        offset: Offset(0),
        appended_at: EventTime(0),
        key: None,
        value: Some(b"p"),
        headers: Headers::default(),
    };
    assert!(matches!(instance.broadcast(record, &mut out), Applied::Poisoned(reject) if reject.reason == RejectReason::Panic));
}

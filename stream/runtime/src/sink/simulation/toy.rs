//! A sink that is hard on its engine: deliverer and actor in one, with outputs, a broadcast, refusals, panics, pauses, and
//! requests of several records.

use std::{
    cell::RefCell,
    collections::BTreeSet,
    sync::{Arc, Mutex},
    time::Duration,
};

use schemas::EventTime;
use stream_core::{
    ConfigError, NextOffset, Outbox, Record, Reject, RejectReason, Sink, SinkBatch, SinkError, SinkId, SnapshotReader, SnapshotWriter,
    StateError, TopicName,
};

use super::{BATCH_RECORDS, IN, OUT, Place, TABLE, TABLE_RECORDS, lock};
use crate::sim::{Rng, cluster::Cluster};

/// What a record asks of the toy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Act {
    /// Deliver it.
    Deliver = 0,
    /// Put out an intent, and act once it is on the bus.
    Intend = 1,
    /// Refuse it.
    Refuse = 2,
    /// Panic, now and whenever it comes again.
    Panic = 3,
    /// Panic, but maybe not the next time.
    Stumble = 4,
}

impl Act {
    const ALL: [Self; 5] = [Self::Deliver, Self::Intend, Self::Refuse, Self::Panic, Self::Stumble];

    pub(super) fn of(value: Option<&[u8]>) -> Option<Self> {
        Self::ALL.get(usize::from(*value?.first()?)).copied()
    }
}

/// The world outside, as the toys of this thread change it.
#[derive(Default)]
pub(super) struct Outside {
    /// Deliveries in the order in which they happened.
    pub(super) delivered: Vec<Place>,
    /// What was acted on, and how much the output topic held then.
    pub(super) acted: Vec<(Place, NextOffset)>,
    /// How often a toy has panicked.
    pub(super) panics: usize,
    rng: Option<Rng>,
    /// Of 1,000 occasions, how often the destination is busy.
    busy: u32,
    cluster: Option<Arc<Mutex<Cluster>>>,
}

thread_local! {
    static OUTSIDE: RefCell<Outside> = RefCell::default();
}

impl Outside {
    /// A world in which nothing has happened yet.
    pub(super) fn begin(rng: Rng, busy: u32, cluster: &Arc<Mutex<Cluster>>) {
        OUTSIDE.set(Self { rng: Some(rng), busy, cluster: Some(Arc::clone(cluster)), ..Self::default() });
    }

    /// The destination is never busy again.
    pub(super) fn calm_down() {
        OUTSIDE.with_borrow_mut(|outside| outside.busy = 0);
    }

    /// All that happened.
    pub(super) fn end() -> Self {
        OUTSIDE.take()
    }

    fn chance(per_mille: u32) -> bool {
        OUTSIDE.with_borrow_mut(|outside| outside.rng.as_mut().is_some_and(|rng| rng.chance(per_mille)))
    }

    fn panic(why: &'static str) -> ! {
        OUTSIDE.with_borrow_mut(|outside| outside.panics += 1);
        std::panic::resume_unwind(Box::new(why))
    }

    fn is_busy() -> bool {
        Self::chance(OUTSIDE.with_borrow(|outside| outside.busy))
    }

    fn end_of_outputs() -> NextOffset {
        let cluster = OUTSIDE.with_borrow(|outside| outside.cluster.clone());
        let cluster = cluster.as_ref().map(|cluster| lock(cluster));
        let at = cluster.as_ref().and_then(|cluster| cluster.partitions_of(&OUT.into()).pop());
        cluster.zip(at).and_then(|(cluster, at)| Some(cluster.log(&at).ok()?.high_watermark())).unwrap_or_default()
    }
}

/// A deliverer and an actor in one.
#[derive(Debug, Default)]
pub(super) struct Toy {
    partition: u32,
    table: BTreeSet<Vec<u8>>,
    /// Intents without an outcome.
    intents: BTreeSet<u64>,
    /// Outcomes that only this process knows yet.
    outcomes: BTreeSet<u64>,
    /// Up to here it sends one record at a time, since a request of several was refused.
    careful_to: u64,
}

impl Toy {
    fn emit(&self, what: &str, offset: u64, out: &mut Outbox) -> Result<(), Reject> {
        out.emit_raw(&OUT.into(), None, Some(format!("{what} {} {offset}", self.partition).as_bytes()))
    }
}

impl Sink for Toy {
    type Config = ();
    const NAME: &'static str = "toy";
    const STATE_VERSION: u16 = 1;

    fn destinations(_: &()) -> Vec<String> {
        vec!["one".into()]
    }

    fn inputs(_: &()) -> Vec<TopicName> {
        vec![IN.into()]
    }

    fn broadcasts(_: &()) -> Vec<TopicName> {
        vec![TABLE.into()]
    }

    fn batch_records_max(_: &(), destination: &str) -> usize {
        assert_eq!(destination, "one");
        BATCH_RECORDS
    }

    fn state_bytes_bound(_: &()) -> u64 {
        1 << 20
    }

    fn new(_: &(), id: SinkId<'_>) -> Result<Self, ConfigError> {
        Ok(Self { partition: id.at.partition.0, ..Self::default() })
    }

    fn on_batch(&mut self, batch: &mut SinkBatch<'_>, out: &mut Outbox) -> Result<(), SinkError> {
        assert_eq!(self.table.len(), TABLE_RECORDS, "the table is read before the first record");
        let mut in_hand = Vec::new();
        while let Some(record) = batch.take(out) {
            let offset = record.offset.0;
            let act = Act::of(record.value).ok_or_else(|| Reject::new(RejectReason::Undecodable, "no such act"))?;
            match act {
                // It is not the first of the request, which is to blame if the request is refused now.
                Act::Refuse if !in_hand.is_empty() => {
                    self.careful_to = offset;
                    return Err(SinkError::retry_after(Duration::ZERO, "which one?"));
                }
                Act::Refuse => return Err(SinkError::Poison(Reject::new(RejectReason::Refused, "as asked"))),
                Act::Panic => Outside::panic("as asked"),
                Act::Stumble if Outside::chance(500) => Outside::panic("this time"),
                Act::Deliver | Act::Stumble => self.emit("delivered", offset, out)?,
                Act::Intend => self.emit("intent", offset, out)?,
            }
            in_hand.push((offset, act));
            // Some are sent together, as one request.
            if batch.left() > 0 && offset >= self.careful_to && Outside::chance(300) {
                continue;
            }
            if Outside::is_busy() {
                return Err(SinkError::retry_after(Duration::from_secs(2), "busy"));
            }
            for (offset, act) in in_hand.drain(..) {
                if act == Act::Intend {
                    self.intents.insert(offset);
                } else {
                    OUTSIDE.with_borrow_mut(|outside| outside.delivered.push((self.partition, offset)));
                }
            }
            batch.done(out);
            if Outside::chance(100) {
                break;
            }
        }
        Ok(())
    }

    fn on_broadcast(&mut self, record: Record<'_>) -> Result<(), Reject> {
        self.table.insert(record.value.unwrap_or_default().to_vec());
        Ok(())
    }

    fn on_tick(&mut self, _: EventTime, out: &mut Outbox) -> Result<(), Reject> {
        for offset in std::mem::take(&mut self.outcomes) {
            self.emit("outcome", offset, out)?;
            self.intents.remove(&offset);
        }
        Ok(())
    }

    fn after_commit(&mut self) {
        let end = Outside::end_of_outputs();
        for offset in &self.intents {
            if self.outcomes.insert(*offset) {
                OUTSIDE.with_borrow_mut(|outside| outside.acted.push(((self.partition, *offset), end)));
            }
        }
    }

    fn snapshot(&self, w: &mut SnapshotWriter) -> Result<(), StateError> {
        w.put("table", &self.table)?;
        w.put("intents", &self.intents)
    }

    fn restore(r: &SnapshotReader<'_>, _: &(), id: SinkId<'_>) -> Result<Self, StateError> {
        Ok(Self { partition: id.at.partition.0, table: r.get("table")?, intents: r.get("intents")?, ..Self::default() })
    }
}

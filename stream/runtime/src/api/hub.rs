//! New records for everybody who looks: one thread reads the tail of a partition, however many look at it, and each
//! record becomes JSON once. A client that does not keep up is told how many it missed; it holds nobody up.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use serde::Serialize;
use stream_core::{NextOffset, Record, TopicPartition};
use tokio::sync::broadcast;

use super::view::RecordView;
use crate::{
    engine::error_chain,
    gathered::Gathered,
    inspect::{Inspect, ReadLimits},
};

/// Records that a client may be behind. With `LIVE_BYTES_MAX` this bounds the memory of one tail to 16 MiB.
const BEHIND_MAX: usize = 1_024;
/// A record whose JSON is larger comes without its value; the records route has it whole.
const LIVE_BYTES_MAX: usize = 16 << 10;

const TAIL_LIMITS: ReadLimits = ReadLimits { records_max: 256, bytes_max: 1 << 20, wait: Duration::from_millis(250) };

/// The tails that somebody looks at.
pub(super) struct Hub {
    inspect: Arc<dyn Inspect>,
    tails: Mutex<BTreeMap<TopicPartition, broadcast::Sender<Arc<str>>>>,
    closing: Arc<AtomicBool>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct TooLong {
    topic: String,
    partition: u32,
    offset: u64,
    appended_at: schemas::EventTime,
    value_bytes: usize,
}

impl Hub {
    pub(super) fn new(inspect: Arc<dyn Inspect>, closing: Arc<AtomicBool>) -> Arc<Self> {
        Arc::new(Self { inspect, tails: Mutex::default(), closing })
    }

    /// The records of a partition from `next` on, or from where its tail stands if it is read already.
    pub(super) fn subscribe(self: &Arc<Self>, at: &TopicPartition, next: NextOffset) -> std::io::Result<broadcast::Receiver<Arc<str>>> {
        let mut tails = self.lock();
        if let Some(tail) = tails.get(at) {
            return Ok(tail.subscribe());
        }
        let (sender, receiver) = broadcast::channel(BEHIND_MAX);
        let (hub, place, tail) = (Arc::clone(self), at.clone(), sender.clone());
        std::thread::Builder::new().name("api-tail".into()).spawn(move || hub.follow(&place, next, &tail))?;
        tails.insert(at.clone(), sender);
        Ok(receiver)
    }

    fn follow(&self, at: &TopicPartition, mut next: NextOffset, tail: &broadcast::Sender<Arc<str>>) {
        let mut gathered = Gathered::default();
        while !self.is_over(at, tail) {
            gathered.clear();
            if let Err(error) = self.inspect.read(at, next, &TAIL_LIMITS, &mut gathered) {
                tracing::warn!(%at, error = error_chain(&error), "tail ends; clients come again");
                self.lock().remove(at);
                return;
            }
            for (_, record) in gathered.records() {
                next = record.offset.next();
                // Nobody there is no error: `is_over` finds out.
                let _ = tail.send(live(&record));
            }
        }
    }

    /// Under the lock, so that nobody subscribes to a tail that is about to end.
    fn is_over(&self, at: &TopicPartition, tail: &broadcast::Sender<Arc<str>>) -> bool {
        let mut tails = self.lock();
        let over = tail.receiver_count() == 0 || self.closing.load(Ordering::Relaxed);
        if over {
            tails.remove(at);
        }
        over
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<TopicPartition, broadcast::Sender<Arc<str>>>> {
        self.tails.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn live(record: &Record<'_>) -> Arc<str> {
    // One record is one line, so that a shell can read it. Inside its strings JSON escapes every line break.
    let json = serde_json::to_string(&RecordView::of(record)).unwrap_or_default().replace(['\n', '\r'], " ");
    if json.len() <= LIVE_BYTES_MAX {
        return json.into();
    }
    let short = TooLong {
        topic: record.topic.to_string(),
        partition: record.partition.0,
        offset: record.offset.0,
        appended_at: record.appended_at,
        value_bytes: record.value.map_or(0, <[u8]>::len),
    };
    serde_json::to_string(&short).unwrap_or_default().into()
}

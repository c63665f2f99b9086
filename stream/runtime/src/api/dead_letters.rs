//! `POST /api/dlq/{topic}/replay`: dead letters go back to the topic that they came from, with their own headers and a count
//! of replays.

use std::{collections::BTreeSet, sync::Arc, sync::PoisonError, time::Duration};

use axum::{
    Json,
    extract::{Path, State},
};
use schemas::{EventTime, topics::DLQ_SUFFIX};
use serde::{Deserialize, Serialize};
use stream_core::{NextOffset, Partition, Record, TopicName, TopicPartition};

use super::{
    Shared, blocking, bus_failed,
    extract::{ApiError, Body},
    records::publish_failed,
};
use crate::{
    dead_letters::Original,
    gathered::Gathered,
    inspect::{Appended, ReadLimits},
    publish::PublishBatch,
    time::wall_clock,
};

/// Letters that one replay looks at; whoever has more asks again from where it ended.
const REPLAY_MAX: usize = 1_000;
/// Bytes of one replay; it is one publication, all or nothing.
const REPLAY_BYTES_MAX: usize = 8 << 20;
/// The source under whose name replays are published.
const SOURCE: &str = "dlq-replay";

const READ: ReadLimits = ReadLimits { records_max: 1_000, bytes_max: 4 << 20, wait: Duration::ZERO };

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Selection {
    partition: u32,
    /// Not before this offset,
    from: Option<u64>,
    /// and before this one.
    until: Option<u64>,
    /// These; or by the filters below.
    offsets: Vec<u64>,
    reason: Option<String>,
    since: Option<EventTime>,
    limit: Option<usize>,
}

#[derive(Default, Serialize)]
pub(super) struct Replay {
    replayed: usize,
    refused: Vec<Refusal>,
    /// Where to go on.
    next: u64,
}

#[derive(Serialize)]
struct Refusal {
    offset: u64,
    why: String,
}

/// Publishes the selected dead letters again.
pub(super) async fn replay(
    State(shared): State<Arc<Shared>>,
    Path(topic): Path<String>,
    Body(selection): Body<Selection>,
) -> Result<Json<Replay>, ApiError> {
    blocking(move || replay_blocking(&shared, &topic, &selection)).await.map(Json)
}

fn replay_blocking(shared: &Shared, topic: &str, selection: &Selection) -> Result<Replay, ApiError> {
    let name = if topic.ends_with(DLQ_SUFFIX) { topic.to_string() } else { format!("{topic}{DLQ_SUFFIX}") };
    let topic = shared.topic(&name)?;
    let selector = Selector::new(selection)?;
    // One at a time, so that the sequences of this source rise.
    let _turn = shared.replaying.lock().unwrap_or_else(PoisonError::into_inner);
    let at = TopicPartition::new(&topic.name, Partition(selection.partition));
    let status = topic.partitions.get(selection.partition as usize);
    let status = status.ok_or_else(|| ApiError::not_found(format!("{at} does not exist")))?;
    let (mut replay, mut batch, mut gathered) = (Replay::default(), PublishBatch::default(), Gathered::default());
    let mut next = status.start.max(NextOffset(selector.first()));
    let end = status.next.min(NextOffset(selection.until.unwrap_or(u64::MAX)));
    'pages: while next < end {
        gathered.clear();
        shared.inspect.read(&at, next, &READ, &mut gathered).map_err(|error| bus_failed(&error))?;
        if gathered.records().len() == 0 {
            next = end;
        }
        for (_, record) in gathered.records() {
            let is_full = replay.replayed == selector.limit || batch.bytes() > REPLAY_BYTES_MAX || replay.refused.len() == REPLAY_MAX;
            if is_full {
                break 'pages;
            }
            if !end.is_past(record.offset) {
                next = end;
                break 'pages;
            }
            next = record.offset.next();
            if selector.takes(&record) {
                match put_back(&record, &mut batch) {
                    Ok(()) => replay.replayed += 1,
                    Err(why) => replay.refused.push(Refusal { offset: record.offset.0, why }),
                }
            }
        }
    }
    replay.next = next.0;
    if batch.is_empty() {
        return Ok(replay);
    }
    // Time as sequence: it rises without being kept. Should a clock have gone back, nothing is lost and the answer says so.
    let sequence = u64::try_from(wall_clock().0).unwrap_or(0);
    match shared.inspect.append(SOURCE, sequence, &batch, &[]).map_err(publish_failed)? {
        Appended::New => Ok(replay),
        Appended::Known => {
            Err(ApiError::conflict("an earlier replay bears a later time: this machine's clock went back; nothing was replayed"))
        }
    }
}

fn put_back(record: &Record<'_>, batch: &mut PublishBatch) -> Result<(), String> {
    let original = Original::of(record)?;
    let pushed = batch.push(&TopicName::new(&original.topic), record.key, record.value, original.headers.as_headers());
    pushed.map_err(|error| error.to_string())
}

struct Selector<'a> {
    from: u64,
    offsets: BTreeSet<u64>,
    reason: Option<&'a str>,
    since: Option<EventTime>,
    limit: usize,
}

impl<'a> Selector<'a> {
    fn new(selection: &'a Selection) -> Result<Self, ApiError> {
        let Selection { from, offsets, reason, since, limit, .. } = selection;
        let filtered = reason.is_some() || since.is_some() || limit.is_some();
        if offsets.is_empty() != filtered {
            return Err(ApiError::bad_request("what shall be replayed?").expected("either offsets, or filters: reason, since, limit"));
        }
        let limit = limit.unwrap_or(REPLAY_MAX);
        if offsets.len() > REPLAY_MAX || !(1..=REPLAY_MAX).contains(&limit) {
            return Err(ApiError::bad_request("more than one replay carries").expected(format!("1 to {REPLAY_MAX} letters")));
        }
        let from = from.unwrap_or(0);
        Ok(Self { from, offsets: offsets.iter().copied().collect(), reason: reason.as_deref(), since: *since, limit })
    }

    fn first(&self) -> u64 {
        self.offsets.first().copied().unwrap_or(0).max(self.from)
    }

    fn takes(&self, record: &Record<'_>) -> bool {
        if !self.offsets.is_empty() {
            return self.offsets.contains(&record.offset.0);
        }
        self.reason.is_none_or(|reason| record.headers.text("dlq.reason") == Some(reason))
            && self.since.is_none_or(|since| record.appended_at >= since)
    }
}

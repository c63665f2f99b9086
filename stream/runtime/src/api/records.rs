//! Topics and their records: reading, and publishing from other processes.

use std::{sync::Arc, time::Duration};

use axum::{
    Json,
    extract::{Path, State},
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use schemas::topics;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use stream_core::{HeaderBuffer, NextOffset, Partition, TopicName, TopicPartition};

use super::{
    Shared, blocking, bus_failed,
    extract::{ApiError, Body, Params},
    view::RecordView,
};
use crate::{
    gathered::Gathered,
    inspect::{Appended, PartitionStatus, ReadLimits},
    publish::{PublishBatch, PublishError},
    time::{Clock, SystemClock},
};

/// Records of one answer.
const RECORDS_MAX: usize = 1_000;
/// Bytes of records in one answer, before they become JSON.
const READ_BYTES_MAX: usize = 4 << 20;
/// The longest wait for a first record.
const WAIT_MS_MAX: u64 = 30_000;
/// A wait is cut into such slices, so that a closing server need not wait for it.
const WAIT_SLICE: Duration = Duration::from_millis(250);
/// Records of one publication.
const PUBLISH_RECORDS_MAX: usize = 10_000;
/// Headers of one record.
const HEADERS_MAX: usize = 64;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct TopicView {
    name: String,
    about: &'static str,
    key: &'static str,
    cleanup: &'static str,
    records: u64,
    bytes: Option<u64>,
    partitions: Vec<PartitionView>,
}

#[derive(Serialize)]
struct PartitionView {
    partition: usize,
    start: u64,
    next: u64,
    bytes: Option<u64>,
}

/// All topics.
pub(super) async fn topics(State(shared): State<Arc<Shared>>) -> Result<Json<serde_json::Value>, ApiError> {
    let topics = blocking(move || shared.inspect.topics().map_err(|error| bus_failed(&error))).await?;
    let views: Vec<_> = topics
        .iter()
        .map(|topic| {
            let row = topics::find(topic.name.as_str());
            let view = |(partition, at): (usize, &PartitionStatus)| PartitionView {
                partition,
                start: at.start.0,
                next: at.next.0,
                bytes: at.bytes,
            };
            TopicView {
                name: topic.name.to_string(),
                about: row.map_or("records that a processor rejected", |row| row.about),
                key: row.map_or("as in its source", |row| row.key),
                cleanup: match topic.cleanup {
                    topics::Cleanup::Delete => "delete",
                    topics::Cleanup::Compact => "compact",
                },
                records: topic.partitions.iter().map(|at| at.next.0.saturating_sub(at.start.0)).sum(),
                bytes: topic.partitions.iter().map(|at| at.bytes).sum(),
                partitions: topic.partitions.iter().enumerate().map(view).collect(),
            }
        })
        .collect();
    Ok(Json(serde_json::json!({ "topics": views })))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ReadParams {
    #[serde(default)]
    partition: u32,
    offset: Option<u64>,
    last: Option<u64>,
    limit: Option<usize>,
    #[serde(default)]
    wait_ms: u64,
}

#[derive(Serialize)]
pub(super) struct ReadView {
    topic: String,
    partition: u32,
    /// The first record that is left.
    start: u64,
    /// The position after the last record of the partition.
    end: u64,
    /// Where to read on.
    next: u64,
    records: Vec<RecordView>,
}

/// Records from a position on.
pub(super) async fn read(
    State(shared): State<Arc<Shared>>,
    Path(topic): Path<String>,
    Params(params): Params<ReadParams>,
) -> Result<Json<ReadView>, ApiError> {
    let limit = params.limit.unwrap_or(100);
    if !(1..=RECORDS_MAX).contains(&limit) {
        return Err(ApiError::bad_request(format!("limit is {limit}")).expected(format!("1 to {RECORDS_MAX}")));
    }
    if params.wait_ms > WAIT_MS_MAX {
        return Err(ApiError::bad_request(format!("wait_ms is {}", params.wait_ms)).expected(format!("at most {WAIT_MS_MAX}")));
    }
    if params.offset.is_some() && params.last.is_some() {
        return Err(ApiError::bad_request("offset and last contradict each other").expected("one of them"));
    }
    let place = Arc::clone(&shared.waiting).try_acquire_owned();
    let place = place.map_err(|_| ApiError::unavailable("too many requests read or wait already").expected("fewer at a time"))?;
    blocking(move || {
        let _place = place;
        read_blocking(&shared, &topic, &params, limit)
    })
    .await
    .map(Json)
}

fn read_blocking(shared: &Shared, topic: &str, params: &ReadParams, limit: usize) -> Result<ReadView, ApiError> {
    let topic = shared.topic(topic)?;
    let count = topic.partitions.len();
    let missing = || {
        ApiError::not_found(format!("{} has no partition {}", topic.name, params.partition))
            .expected(format!("0 to {}", count.saturating_sub(1)))
    };
    let status = *topic.partitions.get(params.partition as usize).ok_or_else(missing)?;
    let from = match (params.offset, params.last) {
        (Some(offset), _) => offset,
        (None, Some(last)) => status.next.0.saturating_sub(last).max(status.start.0),
        (None, None) => status.start.0,
    };
    let at = TopicPartition::new(&topic.name, Partition(params.partition));
    let mut gathered = Gathered::default();
    let end = SystemClock.monotonic() + Duration::from_millis(params.wait_ms);
    loop {
        let wait = end.saturating_sub(SystemClock.monotonic()).min(WAIT_SLICE);
        let limits = ReadLimits { records_max: limit, bytes_max: READ_BYTES_MAX, wait };
        shared.inspect.read(&at, NextOffset(from), &limits, &mut gathered).map_err(|error| bus_failed(&error))?;
        if gathered.records().len() > 0 || wait.is_zero() || shared.is_closing() {
            break;
        }
    }
    let records: Vec<_> = gathered.records().take(limit).map(|(_, record)| RecordView::of(&record)).collect();
    let next = records.last().map_or(from, |last| last.offset + 1);
    let end = status.next.0.max(next);
    Ok(ReadView { topic: topic.name.to_string(), partition: params.partition, start: status.start.0, end, next, records })
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct Publication {
    source: String,
    sequence: u64,
    #[serde(default)]
    position_base64: String,
    records: Vec<NewRecord>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct NewRecord {
    key: Option<String>,
    key_base64: Option<String>,
    value: Option<Box<RawValue>>,
    value_base64: Option<String>,
    #[serde(default)]
    headers: Vec<NewHeader>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct NewHeader {
    name: String,
    value: Option<String>,
    value_base64: Option<String>,
}

#[derive(Serialize)]
pub(super) struct Published {
    appended: &'static str,
    records: usize,
}

/// Takes records of another process. A sequence that the bus has already is acknowledged and dropped, so a client that did
/// not hear the answer sends the same again.
pub(super) async fn publish(
    State(shared): State<Arc<Shared>>,
    Path(topic): Path<String>,
    Body(body): Body<Publication>,
) -> Result<Json<Published>, ApiError> {
    blocking(move || publish_blocking(&shared, &topic, &body)).await.map(Json)
}

fn publish_blocking(shared: &Shared, topic: &str, body: &Publication) -> Result<Published, ApiError> {
    let topic = shared.topic(topic)?.name;
    if topics::find(topic.as_str()).is_none() {
        return Err(ApiError::forbidden(format!("{topic} is written by the engine alone")).expected("a topic of the table"));
    }
    if !is_source(&body.source) {
        return Err(ApiError::bad_request(format!("source {:?}", body.source)).expected("1 to 64 of a-z, 0-9, '.', '_', '-'"));
    }
    if body.records.len() > PUBLISH_RECORDS_MAX {
        return Err(ApiError::too_large(format!("{} records", body.records.len())).expected(format!("at most {PUBLISH_RECORDS_MAX}")));
    }
    let mut batch = PublishBatch::default();
    for (index, record) in body.records.iter().enumerate() {
        push(&mut batch, &topic, record).map_err(|error| error.at(&format!("record {index}")))?;
    }
    let position = from_base64("positionBase64", &body.position_base64)?;
    // Sources of this process have names without a slash: a stranger cannot move their cursors.
    let appended = shared.inspect.append(&format!("api/{}", body.source), body.sequence, &batch, &position).map_err(publish_failed)?;
    Ok(Published {
        appended: match appended {
            Appended::New => "new",
            Appended::Known => "known",
        },
        records: batch.len(),
    })
}

pub(super) fn publish_failed(error: PublishError) -> ApiError {
    let expected = match error {
        PublishError::Retry(_) => "the same again later",
        PublishError::Closed(_) => "the same again when the bus is open",
        PublishError::Unknown(_) => "the same again, with the same sequence: if it is on the bus already, it is dropped",
    };
    ApiError::unavailable(error.to_string()).expected(expected)
}

fn push(batch: &mut PublishBatch, topic: &TopicName, record: &NewRecord) -> Result<(), ApiError> {
    let key = bytes_of("key", record.key.as_deref(), record.key_base64.as_deref())?;
    let value = bytes_of("value", record.value.as_deref().map(RawValue::get), record.value_base64.as_deref())?;
    if record.value.as_deref().is_some_and(|value| !value.get().starts_with('{')) {
        return Err(ApiError::bad_request("value is no JSON object").expected("an object, or valueBase64"));
    }
    if record.headers.len() > HEADERS_MAX {
        return Err(ApiError::too_large(format!("{} headers", record.headers.len())).expected(format!("at most {HEADERS_MAX}")));
    }
    let mut headers = HeaderBuffer::default();
    for header in &record.headers {
        let value = bytes_of("header value", header.value.as_deref(), header.value_base64.as_deref())?;
        headers.push(&header.name, value.as_deref());
    }
    let pushed = batch.push(topic, key.as_deref(), value.as_deref(), headers.as_headers());
    pushed.map_err(|error| ApiError::too_large(error.to_string()))
}

fn bytes_of(what: &str, text: Option<&str>, base64: Option<&str>) -> Result<Option<Vec<u8>>, ApiError> {
    match (text, base64) {
        (Some(_), Some(_)) => Err(ApiError::bad_request(format!("{what} stands there twice")).expected("as text or as base64")),
        (Some(text), None) => Ok(Some(text.as_bytes().to_vec())),
        (None, Some(base64)) => from_base64(what, base64).map(Some),
        (None, None) => Ok(None),
    }
}

fn from_base64(what: &str, text: &str) -> Result<Vec<u8>, ApiError> {
    STANDARD.decode(text).map_err(|error| ApiError::bad_request(format!("{what}: {error}")).expected("standard base64 with padding"))
}

fn is_source(name: &str) -> bool {
    let known = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"._-".contains(&byte);
    (1..=64).contains(&name.len()) && name.bytes().all(known)
}

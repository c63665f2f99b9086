//! `GET /api/stream`: new records as server-sent events (WHATWG HTML, section 9.2).
//!
//! `hello` names the positions from which on nothing is left out, `record` carries one record, `missed` says how many
//! records of a topic a slow client was not sent.

use std::{
    convert::Infallible,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use axum::{
    extract::State,
    response::sse::{Event, KeepAlive, Sse},
};
use futures_core::Stream;
use serde::{Deserialize, Serialize};
use stream_core::{NextOffset, Partition, TopicPartition};
use tokio::sync::{OwnedSemaphorePermit, broadcast, mpsc};

use super::{
    Shared, blocking,
    extract::{ApiError, Params},
};

/// Partitions of one stream.
const TAILS_MAX: usize = 16;
/// Events on their way to one client; what it cannot take waits in the tail, then is missed.
const IN_FLIGHT_MAX: usize = 64;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct StreamParams {
    topics: String,
}

#[derive(Serialize)]
struct Hello {
    topics: Vec<HelloTopic>,
}

#[derive(Clone, Serialize)]
struct HelloTopic {
    topic: String,
    partition: u32,
    next: u64,
}

#[derive(Serialize)]
struct Missed<'a> {
    topic: &'a str,
    partition: u32,
    count: u64,
}

/// What one client reads; its place is free again when it goes.
pub(super) struct Events {
    events: mpsc::Receiver<Event>,
    _place: OwnedSemaphorePermit,
}

impl Stream for Events {
    type Item = Result<Event, Infallible>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.events.poll_recv(context).map(|event| event.map(Ok))
    }
}

/// New records of some topics.
pub(super) async fn stream(
    State(shared): State<Arc<Shared>>,
    Params(params): Params<StreamParams>,
) -> Result<Sse<impl Stream<Item = Result<Event, Infallible>>>, ApiError> {
    let place = Arc::clone(&shared.waiting).try_acquire_owned();
    let place = place.map_err(|_| ApiError::unavailable("too many clients read or wait already").expected("fewer at a time"))?;
    let tails = blocking(move || subscribe(&shared, &params.topics)).await?;
    let (sender, events) = mpsc::channel(IN_FLIGHT_MAX);
    let hello = Hello { topics: tails.iter().map(|(at, _)| at.clone()).collect() };
    // The channel is empty and long enough.
    let _ = sender.try_send(event("hello", &hello));
    for (at, tail) in tails {
        tokio::spawn(forward(at, tail, sender.clone()));
    }
    Ok(Sse::new(Events { events, _place: place }).keep_alive(KeepAlive::default()))
}

/// One tail, and where it begins.
type Tail = (HelloTopic, broadcast::Receiver<Arc<str>>);

fn subscribe(shared: &Shared, names: &str) -> Result<Vec<Tail>, ApiError> {
    let mut places = Vec::new();
    for name in names.split(',').map(str::trim).filter(|name| !name.is_empty()) {
        let topic = shared.topic(name)?;
        for (partition, status) in (0..).zip(&topic.partitions) {
            places.push((TopicPartition::new(&topic.name, Partition(partition)), status.next));
        }
    }
    places.sort();
    places.dedup();
    if !(1..=TAILS_MAX).contains(&places.len()) {
        return Err(ApiError::bad_request(format!("{} partitions", places.len())).expected(format!("topics with 1 to {TAILS_MAX} in all")));
    }
    let open = |(at, next): (TopicPartition, NextOffset)| {
        let tail = shared.hub.subscribe(&at, next).map_err(|error| ApiError::unavailable(format!("no thread for {at}: {error}")))?;
        Ok((HelloTopic { topic: at.topic.to_string(), partition: at.partition.0, next: next.0 }, tail))
    };
    places.into_iter().map(open).collect()
}

/// Brings the records of one tail to one client, until either ends.
async fn forward(at: HelloTopic, mut tail: broadcast::Receiver<Arc<str>>, to: mpsc::Sender<Event>) {
    loop {
        let received = tokio::select! {
            () = to.closed() => return,
            received = tail.recv() => received,
        };
        let event = match received {
            Ok(record) => Event::default().event("record").data(record.as_ref()),
            Err(broadcast::error::RecvError::Lagged(count)) => {
                event("missed", &Missed { topic: &at.topic, partition: at.partition, count })
            }
            Err(broadcast::error::RecvError::Closed) => return,
        };
        if to.send(event).await.is_err() {
            return;
        }
    }
}

fn event(name: &str, data: &impl Serialize) -> Event {
    Event::default().event(name).data(serde_json::to_string(data).unwrap_or_default())
}

//! The way from the disk to the bus, and what follows from each answer.
//!
//! Blocks go out several at once, with the place after them as the cursor. Whether a publication of unknown outcome was taken
//! is asked of the next publisher, whose cursor knows. So each record is published once, whatever dies in between.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use super::{
    mark::Mark,
    queue::{Peeked, Queue},
};
use crate::{
    engine::error_chain,
    publish::{Open, Publish, PublishError},
    time::Clock,
};

/// Bytes that go out at once: enough to make up for the cost of a transaction when much waits.
const PUBLISH_BYTES: usize = 1 << 20;
/// Pause after the bus could not be reached or did not take anything.
const RETRY_PAUSE: Duration = Duration::from_millis(500);
/// Being fenced once can follow from an outage of the bus. Twice within this time is another process of the same name.
const FENCED_AGAIN: Duration = Duration::from_secs(60);

/// What to do next.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// Go on.
    Again,
    /// Nothing waits.
    Idle,
    /// The bus is away; try again later.
    Pause(Duration),
    /// It makes no sense to go on.
    Fail(String),
}

/// Publishes from a queue, one step after the other.
pub(super) struct Drainer {
    queue: Arc<Mutex<Queue>>,
    open: Open,
    publisher: Option<Box<dyn Publish>>,
    /// What the publisher did not take for now: it is offered the very same again, since it may have been taken after all.
    refused: Option<Peeked>,
    clock: Box<dyn Clock>,
    fenced_at: Option<Duration>,
    /// Told only once.
    is_away: bool,
}

impl Drainer {
    pub(super) fn new(queue: Arc<Mutex<Queue>>, open: Open, clock: Box<dyn Clock>) -> Self {
        Self { queue, open, publisher: None, refused: None, clock, fenced_at: None, is_away: false }
    }

    /// Publishes a few blocks, if there are any. The queue is free while the bus is busy.
    pub(super) fn step(&mut self) -> Next {
        if self.publisher.is_none() {
            if self.queue().records() == 0 {
                return Next::Idle;
            }
            match (self.open)() {
                Ok(publisher) => {
                    let mark = publisher.cursor().and_then(|cursor| Mark::decode(&cursor.position));
                    mark.into_iter().for_each(|mark| self.queue().pass(mark));
                    self.publisher = Some(publisher);
                }
                Err(error) => return self.away(&error_chain(&error)),
            }
        }
        let peeked = self.refused.take().or_else(|| self.queue().peek(PUBLISH_BYTES));
        let Some(peeked) = peeked else { return Next::Idle };
        let Some(publisher) = &mut self.publisher else { return Next::Again };
        if !peeked.batch.is_empty() {
            match publisher.publish(&peeked.batch, &peeked.mark.encode()) {
                Ok(()) => {}
                Err(PublishError::Retry(why)) => {
                    self.refused = Some(peeked);
                    return self.away(&why);
                }
                Err(PublishError::Unknown(why)) => {
                    self.publisher = None;
                    return self.away(&why);
                }
                Err(PublishError::Closed(why)) => {
                    self.publisher = None;
                    return self.closed(&why);
                }
            }
        }
        if std::mem::take(&mut self.is_away) {
            tracing::info!("the bus takes what waited in the spool");
        }
        let mut queue = self.queue();
        queue.report_damaged(peeked.damaged);
        queue.pass(peeked.mark);
        Next::Again
    }

    fn away(&mut self, why: &str) -> Next {
        if !std::mem::replace(&mut self.is_away, true) {
            tracing::warn!(why, "the bus takes nothing for now; what comes waits in the spool");
        }
        Next::Pause(RETRY_PAUSE)
    }

    fn closed(&mut self, why: &str) -> Next {
        let now = self.clock.monotonic();
        match self.fenced_at.replace(now) {
            Some(before) if now.saturating_sub(before) < FENCED_AGAIN => Next::Fail(why.into()),
            _ => self.away(why),
        }
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

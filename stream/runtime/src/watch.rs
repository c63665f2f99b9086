//! The watch over a process: what was lost, and which part stopped, goes out as alerts.

use std::{
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use schemas::{Alert, Severity};

use crate::{
    bus::BusError,
    loss::{self, Loss},
    publish::{Open, Publish, PublishBatch, PublishError},
    time::{Clock, SystemClock, wall_clock},
};

/// How often losses are published.
const LOSS_PERIOD: Duration = Duration::from_secs(60);
/// Between two looks.
const LOOK: Duration = Duration::from_secs(1);

/// What the watch is told.
#[derive(Debug, Default, Clone)]
pub(crate) struct Notice(Arc<(Mutex<Told>, Condvar)>);

#[derive(Debug, Default)]
struct Told {
    /// Parts that stopped, and why; until an alert says so.
    stopped: Vec<(&'static str, String)>,
    is_closing: bool,
}

impl Notice {
    /// A part stopped.
    pub(crate) fn stopped(&self, part: &'static str, why: String) {
        self.lock().stopped.push((part, why));
        self.0.1.notify_all();
    }

    /// The process ends.
    pub(crate) fn close(&self) {
        self.lock().is_closing = true;
        self.0.1.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, Told> {
        self.0.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Publishes losses and stopped parts in the name of a process.
pub struct Watch {
    open: Open,
    publisher: Option<Box<dyn Publish>>,
    loss: Loss,
    notice: Notice,
    /// Told only once.
    is_away: bool,
}

impl Watch {
    pub(crate) fn new(open: Open, loss: Loss, notice: Notice) -> Self {
        Self { open, publisher: None, loss, notice, is_away: false }
    }

    /// Opens the way onto the bus. Where this is not done, or has failed, it is tried for as long as the process lives.
    ///
    /// # Errors
    /// If the bus is away, or does not let us publish.
    pub fn open(&mut self) -> Result<(), BusError> {
        if self.publisher.is_none() {
            self.publisher = Some((self.open)()?);
        }
        Ok(())
    }

    /// Until the process ends.
    pub(crate) fn run(mut self) {
        let mut published = Duration::ZERO;
        loop {
            let (ended, stopped) = {
                let told = self.notice.lock();
                (told.is_closing, told.stopped.clone())
            };
            let now = SystemClock.monotonic();
            if (ended || now.saturating_sub(published) >= LOSS_PERIOD)
                && self.publish(ended, |publisher, loss| loss.publish(wall_clock(), publisher))
            {
                published = now;
            }
            if !stopped.is_empty() && self.publish(ended, |publisher, _| publish_stopped(publisher, &stopped)) {
                self.notice.lock().stopped.drain(..stopped.len());
            }
            if ended {
                return;
            }
            let told = self.notice.lock();
            if !told.is_closing {
                drop(self.notice.0.1.wait_timeout(told, LOOK));
            }
        }
    }

    /// Whether it is on the bus. A process that ends waits for no bus that is away.
    fn publish(&mut self, ended: bool, what: impl FnOnce(&mut dyn Publish, &Loss) -> Result<(), PublishError>) -> bool {
        let opened = if ended && self.publisher.is_none() { return false } else { self.open() };
        let outcome = match (opened, &mut self.publisher) {
            (Err(error), _) => Err(error.to_string()),
            (Ok(()), None) => return false,
            (Ok(()), Some(publisher)) => what(publisher.as_mut(), &self.loss).map_err(|error| {
                if !matches!(error, PublishError::Retry(_)) {
                    self.publisher = None;
                }
                error.to_string()
            }),
        };
        let is_away = outcome.is_err();
        if let (Err(why), false) = (&outcome, std::mem::replace(&mut self.is_away, is_away)) {
            tracing::error!(why, "alerts about this process itself cannot be published for now");
        }
        !is_away
    }
}

fn publish_stopped(publisher: &mut dyn Publish, stopped: &[(&'static str, String)]) -> Result<(), PublishError> {
    let mut batch = PublishBatch::default();
    for (part, why) in stopped {
        loss::push_alert(&mut batch, part_stopped(part, why));
    }
    loss::publish_beside(publisher, &batch)
}

fn part_stopped(part: &str, why: &str) -> Alert {
    let mut alert = loss::runtime_alert("NephoscopePartStopped", Severity::High, [("part", part)], wall_clock());
    alert.message = format!("part {part} of nephoscope stopped: {why}");
    alert.description =
        format!("{why}\nThe other parts run on. Nothing is lost: {part} goes on where it stopped once it is started again.");
    alert
}

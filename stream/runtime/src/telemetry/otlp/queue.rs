//! From spans to a collector: a bounded queue, and a thread that empties it.
//!
//! The SDK has a batch processor of its own, but it keeps to itself what it drops, and its shutdown waits for the collector.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread::JoinHandle,
    time::Duration,
};

use opentelemetry::Context;
use opentelemetry_sdk::{
    Resource,
    error::OTelSdkResult,
    trace::{Span, SpanData, SpanExporter, SpanProcessor},
};
use tokio::{
    sync::{mpsc, watch},
    time::{Instant, sleep_until},
};

use super::settings::BatchSettings;
use crate::loss::Loss;

/// How losses of spans are labelled.
const COMPONENT: &str = "otlp";
const SPANS: &str = "spans";
/// How long what is left may take once the process ends. What is not sent by then is lost, and counted.
const DRAIN: Duration = Duration::from_millis(1_500);
/// Time between two counts of lost spans.
const TELL: Duration = Duration::from_secs(10);

/// The side of the workers: takes spans that ended, never waits.
pub(super) struct Queue {
    spans: mpsc::Sender<SpanData>,
    overflow: Arc<AtomicU64>,
}

impl fmt::Debug for Queue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Queue").finish_non_exhaustive()
    }
}

impl SpanProcessor for Queue {
    fn on_start(&self, _: &mut Span, _: &Context) {}

    fn on_end(&self, span: SpanData) {
        if span.span_context.is_sampled() && self.spans.try_send(span).is_err() {
            self.overflow.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn force_flush(&self) -> OTelSdkResult {
        Ok(())
    }

    fn shutdown_with_timeout(&self, _: Duration) -> OTelSdkResult {
        Ok(())
    }
}

/// The side of the collector.
struct Sender<E> {
    exporter: E,
    settings: BatchSettings,
    spans: mpsc::Receiver<SpanData>,
    batch: Vec<SpanData>,
    /// When the thread must end, once it is told to.
    stop: watch::Receiver<Option<Instant>>,
    overflow: Arc<AtomicU64>,
    failed: u64,
    loss: Loss,
}

/// The thread of a [`Sender`].
pub(super) struct Sending {
    stop: watch::Sender<Option<Instant>>,
    thread: JoinHandle<()>,
}

/// Starts the thread.
///
/// # Errors
/// If it cannot be started.
pub(super) fn start<E: SpanExporter + 'static>(
    mut exporter: E,
    resource: &Resource,
    settings: BatchSettings,
    loss: Loss,
) -> std::io::Result<(Queue, Sending)> {
    exporter.set_resource(resource);
    let (sender, spans) = mpsc::channel(settings.queue_max);
    let (stop, stopped) = watch::channel(None);
    let overflow = Arc::new(AtomicU64::new(0));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let sending = Sender { exporter, settings, spans, batch: Vec::new(), stop: stopped, overflow: Arc::clone(&overflow), failed: 0, loss };
    let thread = std::thread::Builder::new().name(COMPONENT.into()).spawn(move || runtime.block_on(sending.run()))?;
    Ok((Queue { spans: sender, overflow }, Sending { stop, thread }))
}

impl Sending {
    /// Sends what is left for as long as a process may take to end, then ends.
    pub(super) fn stop(self) {
        // Without a receiver the thread has ended already.
        let _ = self.stop.send(Some(Instant::now() + DRAIN));
        if self.thread.join().is_err() {
            tracing::error!("the thread that exports spans panicked");
        }
    }
}

impl<E: SpanExporter> Sender<E> {
    async fn run(mut self) {
        let mut told = Instant::now();
        while !self.is_over() {
            self.gather().await;
            self.export().await;
            if told.elapsed() >= TELL {
                told = Instant::now();
                self.tell();
            }
        }
        self.batch.extend(std::iter::from_fn(|| self.spans.try_recv().ok()));
        self.export().await;
        self.tell();
    }

    /// Whether the end was said, or whoever could say it is gone.
    fn is_over(&self) -> bool {
        self.stop.borrow().is_some() || self.stop.has_changed().is_err()
    }

    /// Fills the batch until it is full, its time is over, or the end has come.
    async fn gather(&mut self) {
        let mut until = None;
        while self.batch.len() < self.settings.batch_max {
            tokio::select! {
                Some(span) = self.spans.recv() => {
                    until.get_or_insert_with(|| Instant::now() + self.settings.delay);
                    self.batch.push(span);
                }
                () = reached(until) => return,
                _ = told_to_stop(&mut self.stop) => return,
            }
        }
    }

    /// Sends the batch. The exporter tries again by itself, until its timeout or the end.
    async fn export(&mut self) {
        if self.batch.is_empty() {
            return;
        }
        let size = self.batch.len() as u64;
        let export = self.exporter.export(std::mem::take(&mut self.batch));
        let mut stop = self.stop.clone();
        let limit = async { sleep_until(told_to_stop(&mut stop).await).await };
        let problem = tokio::select! {
            exported = export => exported.err().map(|error| error.to_string()),
            () = limit => Some("the process ends, and the collector has not answered".to_string()),
        };
        if let Some(problem) = problem {
            tracing::warn!(spans = size, problem, "spans could not be exported");
            self.failed += size;
        }
    }

    /// Reports what was lost since the last time.
    fn tell(&mut self) {
        self.loss.report(COMPONENT, SPANS, "queue_full", self.overflow.swap(0, Ordering::Relaxed));
        self.loss.report(COMPONENT, SPANS, "export_failed", std::mem::take(&mut self.failed));
    }
}

/// Returns at this time; without one, never.
async fn reached(time: Option<Instant>) {
    match time {
        Some(time) => sleep_until(time).await,
        None => std::future::pending().await,
    }
}

/// Returns the time of the end, once somebody said it.
async fn told_to_stop(stop: &mut watch::Receiver<Option<Instant>>) -> Instant {
    let end = stop.wait_for(Option::is_some).await.ok().and_then(|end| *end);
    // Without a word: whoever could say it is gone, and the process with it.
    end.unwrap_or_else(Instant::now)
}

//! Event time of one instance: what it has seen, and how far it may close windows. Moved by records and by ticks that
//! the runtime injects, never by a wall clock.

use schemas::EventTime;
use serde::{Deserialize, Serialize};

/// How long an instance waits for stragglers, and how finely its watermark moves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lateness {
    /// The watermark stays this far behind the newest record. 5 s covers the batching of syslog relays and OTLP exporters.
    pub lateness_ms: i64,
    /// `on_watermark` is called when the watermark has moved by at least this much.
    pub watermark_step_ms: i64,
}

impl Lateness {
    /// 5 s and 1 s.
    pub const DEFAULT: Self = Self { lateness_ms: 5_000, watermark_step_ms: 1_000 };
}

impl Default for Lateness {
    fn default() -> Self {
        Self::DEFAULT
    }
}

/// Whether a record came in time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Timing {
    /// No window that it belongs to has been closed.
    OnTime,
    /// Older than the last watermark that this instance was told.
    Late,
}

/// The clock of one instance. Part of its state: a restored instance must show the same clock as the one that committed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct EventClock {
    /// Highest event time seen.
    pub highest: EventTime,
    /// Everything before this has been seen, as far as we care to wait.
    pub watermark: EventTime,
    /// The last watermark that the processor was told.
    pub delivered: EventTime,
    /// The watermark when the last record had been processed: idle ticks count from here.
    pub at_last_record: EventTime,
    /// When the last record was appended.
    pub appended_at: EventTime,
}

impl Default for EventClock {
    fn default() -> Self {
        let never = EventTime::MIN;
        Self { highest: never, watermark: never, delivered: never, at_last_record: never, appended_at: never }
    }
}

impl EventClock {
    /// Whether any record has been observed. Without one there is nothing that a tick could count from.
    pub fn is_started(&self) -> bool {
        self.watermark != EventTime::MIN
    }

    /// Takes note of a record and returns the watermark to deliver, if it has moved far enough.
    pub(crate) fn advance(&mut self, observed: Option<EventTime>, appended_at: EventTime, lateness: Lateness) -> Option<EventTime> {
        self.appended_at = appended_at;
        if let Some(time) = observed {
            self.highest = self.highest.max(time);
            self.watermark = self.watermark.max(self.highest.plus_millis(-lateness.lateness_ms));
        }
        self.at_last_record = self.watermark;
        let due = self.is_started()
            && (self.delivered == EventTime::MIN || self.watermark.millis_since(self.delivered) >= lateness.watermark_step_ms);
        due.then(|| {
            self.delivered = self.watermark;
            self.watermark
        })
    }

    /// The idle tick that is due after `idle_ms` without a record, if it would move the watermark. Whole seconds only.
    pub fn idle_tick(&self, idle_ms: i64) -> Option<EventTime> {
        const SECOND_NANOS: i64 = 1_000_000_000;
        let to = self.at_last_record.plus_millis(idle_ms);
        let to = EventTime(to.0.div_euclid(SECOND_NANOS).saturating_mul(SECOND_NANOS));
        (self.is_started() && to > self.watermark).then_some(to)
    }

    /// Applies an idle tick.
    pub(crate) fn tick(&mut self, to: EventTime) {
        self.watermark = self.watermark.max(to);
        self.delivered = self.watermark;
    }
}

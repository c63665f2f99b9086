//! The two clocks of the embedded bus. It is an edge: the time of an append is a fact about the machine, and becomes part
//! of the log, from where everybody else has it.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use schemas::EventTime;

/// The machine's time of day, for the append time of a chunk.
#[allow(clippy::disallowed_methods)]
pub(super) fn now() -> EventTime {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    EventTime(i64::try_from(since.as_nanos()).unwrap_or(i64::MAX))
}

/// Time that never goes back, for waits.
#[allow(clippy::disallowed_methods)]
pub(super) fn instant() -> Instant {
    Instant::now()
}

//! Times as the data sets write them.

use anyhow::Context;
use schemas::EventTime;

/// Reads `2024-01-15 10:39:49` with or without a fraction.
pub(crate) fn parse(text: &str) -> anyhow::Result<EventTime> {
    let rfc3339 = format!("{}Z", text.trim().replacen(' ', "T", 1));
    EventTime::parse(&rfc3339).with_context(|| format!("expected a time as 2024-01-15 10:39:49.5, found {text:?}"))
}

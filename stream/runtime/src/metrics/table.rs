//! The list of metrics: one row for each, and nothing is exposed that has no row.
//!
//! Names with `messaging_` are those of OpenTelemetry's semantic conventions in Prometheus' spelling; ours begin with
//! `nephoscope_`. Dashboards, alert rules and tests take the names from here.

/// What a metric is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Only grows.
    Counter,
    /// A value now.
    Gauge,
    /// A distribution.
    Histogram,
}

/// What a binary runs; one that runs several exposes the metrics of each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Part {
    /// Reads topics and writes topics.
    Processor,
    /// Reads the world and writes topics.
    Source,
    /// Reads topics and acts on the world.
    Sink,
}

/// A row of the list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Metric {
    /// Name as Prometheus stores it; of a counter with its `_total`.
    pub name: &'static str,
    /// What it is.
    pub kind: Kind,
    /// What it counts, in a line.
    pub help: &'static str,
    /// Names of its labels, in order.
    pub labels: &'static [&'static str],
    /// What exposes it.
    pub parts: &'static [Part],
}

impl Metric {
    /// The name of the family: a counter's without its `_total`, as OpenMetrics has it.
    pub fn family(&self) -> &'static str {
        match self.kind {
            Kind::Counter => self.name.strip_suffix("_total").unwrap_or(self.name),
            Kind::Gauge | Kind::Histogram => self.name,
        }
    }

    /// The names under which a query finds it.
    pub fn series(&self) -> Vec<String> {
        match self.kind {
            Kind::Counter | Kind::Gauge => vec![self.name.into()],
            Kind::Histogram => ["_bucket", "_sum", "_count"].map(|suffix| format!("{}{suffix}", self.name)).into(),
        }
    }
}

pub(super) const EVERY: &[Part] = &[Part::Processor, Part::Source, Part::Sink];
const READERS: &[Part] = &[Part::Processor, Part::Sink];
const SOURCES: &[Part] = &[Part::Source];

macro_rules! metrics {
    ($($ident:ident = $name:literal $kind:ident $labels:expr, $parts:expr, $help:literal;)+) => {
        $(
            #[doc = $help]
            pub const $ident: Metric = Metric { name: $name, kind: Kind::$kind, help: $help, labels: &$labels, parts: $parts };
        )+
        /// All of them, in the order in which they are exposed.
        pub const METRICS: &[Metric] = &[$($ident),+];
    };
}

metrics! {
    CONSUMED_MESSAGES = "messaging_client_consumed_messages_total" Counter
        ["stage", "messaging_system", "messaging_destination_name", "messaging_consumer_group_name"], READERS,
        "Records gathered from the bus, those included that a restore makes come again";
    SENT_MESSAGES = "messaging_client_sent_messages_total" Counter
        ["stage", "messaging_system", "messaging_destination_name", "error_type"], EVERY,
        "Records sent to the bus; those of a transaction that did not succeed with its result as error_type";
    PROCESS_DURATION = "messaging_process_duration_seconds" Histogram
        ["stage", "messaging_system", "messaging_destination_name", "messaging_consumer_group_name", "error_type"], READERS,
        "Time of processing a batch, its commit not included";
    RECORDS = "nephoscope_records_total" Counter ["stage", "topic"], READERS, "Records processed and committed";
    REJECTS = "nephoscope_rejects_total" Counter ["stage", "topic", "reason"], READERS, "Records rejected to the dead-letter topic";
    LATE = "nephoscope_late_total" Counter ["stage"], READERS, "Records older than the last watermark";
    EVENT_TIME_CLAMPED = "nephoscope_event_time_clamped_total" Counter ["stage"], READERS,
        "Records whose time was ahead of their append time";
    LAG_RECORDS = "nephoscope_lag_records" Gauge ["stage", "topic", "partition"], READERS, "Records behind the end of the partition";
    WATERMARK_SECONDS = "nephoscope_watermark_seconds" Gauge ["stage", "topic", "partition"], READERS,
        "Watermark of the partition, seconds since the epoch";
    BATCH_RECORDS = "nephoscope_batch_records" Histogram ["stage"], EVERY, "Records of a batch";
    BATCH_DURATION = "nephoscope_batch_duration_seconds" Histogram ["stage"], READERS, "Time of a batch, from its begin to the end of its commit";
    COMMIT_DURATION = "nephoscope_commit_duration_seconds" Histogram ["stage"], EVERY, "Time of a successful commit";
    COMMITS = "nephoscope_commits_total" Counter ["stage", "result"], EVERY, "Transactions by result";
    ABORTS = "nephoscope_aborts_total" Counter ["stage", "cause"], READERS, "Transactions that left no trace, by cause";
    REBALANCES = "nephoscope_rebalances_total" Counter ["stage", "kind"], READERS, "Input partitions assigned and revoked, sessions lost";
    RESTORE_DURATION = "nephoscope_restore_duration_seconds" Histogram ["stage"], READERS,
        "Time from the assignment or abort of a partition until it processes";
    REPLAYED_RECORDS = "nephoscope_replayed_records_total" Counter ["stage"], READERS,
        "Records processed again in a restore, outputs discarded";
    SNAPSHOT_BYTES = "nephoscope_snapshot_bytes" Histogram ["stage"], READERS, "Bytes that a snapshot wrote: only what changed is written";
    SNAPSHOT_DURATION = "nephoscope_snapshot_duration_seconds" Histogram ["stage"], READERS, "CPU time of making a snapshot";
    STATE_BYTES = "nephoscope_state_bytes" Gauge ["stage", "topic", "partition"], READERS, "Bytes of the whole state, as of the last snapshot";
    PREFETCH_BYTES = "nephoscope_prefetch_bytes" Gauge ["stage"], READERS, "Bytes that the bus's client has read ahead";
    PAUSED_PARTITIONS = "nephoscope_paused_partitions" Gauge ["stage"], READERS,
        "Assigned partitions that are paused: they restore, wait for a broadcast, or for a slow sink";
    DLQ = "nephoscope_dlq_total" Counter ["stage", "topic"], READERS, "Dead letters committed, by the topic of the record that died";
    READY = "nephoscope_ready" Gauge ["stage"], READERS, "1 if every assigned partition is processing";
    SPOOL_BYTES = "nephoscope_spool_bytes" Gauge ["stage"], SOURCES, "Bytes that wait on disk for the bus";
    DROPPED = "nephoscope_dropped_total" Counter ["component", "topic", "cause"], EVERY, "Records lost, by who lost them and why";
    REFUSED = "nephoscope_refused_total" Counter ["component", "cause"], SOURCES,
        "Connections refused, or ended for what they sent or failed to send, by who refused them and why";
    SLOW_DECODE = "nephoscope_slow_decode_total" Counter [], EVERY, "Values decoded by the decoder of an older schema version";
    CPU_SECONDS = "nephoscope_cpu_seconds_total" Counter ["thread"], EVERY, "CPU time by name of the thread";
    BUILD_INFO = "nephoscope_build_info" Gauge ["version"], EVERY, "Version of this program; the value is 1";
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The rows of `docs/telemetry.md`.
    fn documented() -> String {
        let row = |metric: &Metric| {
            let kind = match metric.kind {
                Kind::Counter => "counter",
                Kind::Gauge => "gauge",
                Kind::Histogram => "histogram",
            };
            let labels: Vec<_> = metric.labels.iter().map(|label| format!("`{label}`")).collect();
            let part = |part: &Part| match part {
                Part::Processor => "processor",
                Part::Source => "collector",
                Part::Sink => "sink",
            };
            let parts = if metric.parts == EVERY { "all".into() } else { metric.parts.iter().map(part).collect::<Vec<_>>().join(", ") };
            format!("| `{}` | {kind} | {} | {parts} | {} |\n", metric.name, labels.join(", "), metric.help)
        };
        METRICS.iter().map(row).collect()
    }

    #[test]
    fn the_documentation_lists_them_all() {
        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/telemetry.md");
        let text = std::fs::read_to_string(path).expect("docs/telemetry.md");
        assert!(text.contains(&documented()), "the table in docs/telemetry.md should be:\n{}", documented());
    }

    #[test]
    fn names_are_as_their_kind_demands_and_no_two_are_equal() {
        let mut names: Vec<_> = METRICS.iter().map(|metric| metric.family()).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), METRICS.len());
        for metric in METRICS {
            assert_eq!(metric.name.ends_with("_total"), metric.kind == Kind::Counter, "{}", metric.name);
            assert!(metric.name.starts_with("nephoscope_") || metric.name.starts_with("messaging_"), "{}", metric.name);
        }
    }
}

//! A desk at which the processor works through alerts and every incident it tells can be read.

use incident::{Config, IncidentProcessor};
use schemas::{Alert, AlertStatus, EventTime, Incident, Severity, alert, topics};
use stream_core::{
    Applied, EventClock, Headers, Instance, Lateness, NextOffset, Offset, Outbox, Partition, Processor, Record, Reject, SnapshotReader,
    SnapshotWriter, TopicPartition, config_hash,
};

/// Where the stories of these tests begin.
pub const T0: EventTime = EventTime::from_millis(1_700_000_040_000);

/// One instance.
pub struct Desk {
    config: Config,
    instance: Instance<IncidentProcessor>,
    out: Outbox,
    next: NextOffset,
}

#[allow(dead_code, reason = "each test file uses some of it")]
impl Desk {
    pub fn new(config: Config) -> Self {
        let at = TopicPartition::new(&topics::ALERTS.into(), Partition(0));
        let processor = IncidentProcessor::new(&config, &at).expect("a configuration that works");
        let lateness = IncidentProcessor::lateness(&config).unwrap_or(Lateness::DEFAULT);
        let instance = Instance::new(processor, EventClock::default(), at, lateness);
        Self { config, instance, out: Outbox::new(IncidentProcessor::NAME), next: NextOffset(0) }
    }

    /// Feeds an alert that is stored when it is last seen.
    pub fn alert(&mut self, alert: &Alert) -> Vec<Incident> {
        self.record(&serde_json::to_vec(alert).expect("JSON"), alert.last_received).expect("is taken")
    }

    /// Feeds any record.
    pub fn record(&mut self, value: &[u8], appended_at: EventTime) -> Result<Vec<Incident>, Reject> {
        self.out.clear();
        let at = self.instance.at().clone();
        let offset = Offset(self.next.0);
        self.next = offset.next();
        let (topic, partition, headers) = (&at.topic, at.partition, Headers::default());
        let record = Record { topic, partition, offset, appended_at, key: None, value: Some(value), headers };
        match self.instance.apply(record, &mut self.out) {
            Applied::Accepted => Ok(self.told()),
            Applied::Rejected(reject) => Err(reject),
            Applied::Poisoned(reject) => panic!("poisoned: {reject}"),
        }
    }

    /// Silence since the last record.
    pub fn silence(&mut self, ms: i64) -> Vec<Incident> {
        self.out.clear();
        if let Some(to) = self.instance.clock.idle_tick(ms) {
            self.instance.tick(self.next, to, &mut self.out).expect("within the limits");
        }
        self.told()
    }

    /// Puts the instance through its snapshot.
    pub fn restore(&mut self) {
        let sections = self.sections();
        let hash = config_hash(&self.config);
        let reader = SnapshotReader::new(&sections, IncidentProcessor::STATE_VERSION, hash, hash);
        self.instance.processor = IncidentProcessor::restore(&reader, &self.config, self.instance.at()).expect("our own snapshot");
        assert!(sections == self.sections(), "a restored state writes itself as it was read");
    }

    /// Bytes of a snapshot.
    pub fn state_bytes(&self) -> u64 {
        self.sections().iter().map(|(name, bytes)| name.len() + bytes.len()).sum::<usize>() as u64
    }

    fn sections(&self) -> Vec<(String, Vec<u8>)> {
        let mut writer = SnapshotWriter::default();
        self.instance.processor.snapshot(&mut writer).expect("can be written");
        writer.into_sections()
    }

    fn told(&self) -> Vec<Incident> {
        self.out.outputs().map(|output| serde_json::from_slice(output.value.expect("a value")).expect("an incident")).collect()
    }
}

/// A firing alert about a program on a host that said this, `ms` after [`T0`].
pub fn firing(host: &str, service: &str, line: &str, ms: i64) -> Alert {
    let labels = [("host", host), ("line", line)].map(|(key, value)| (key.to_string(), value.to_string())).into();
    let fingerprint = alert::fingerprint("SevereLog", &labels);
    let at = T0.plus_millis(ms);
    Alert {
        id: alert::hex16(format!("{fingerprint} {ms}").as_bytes()),
        fingerprint,
        name: "SevereLog".into(),
        severity: Severity::High,
        started_at: at,
        last_received: at,
        labels,
        service: service.into(),
        source: vec!["drain".into()],
        message: format!("{host}: {line}"),
        annotations: [("line".to_string(), line.to_string())].into(),
        ..Alert::default()
    }
}

/// The end of an alert.
#[allow(dead_code, reason = "each test file uses some of it")]
pub fn over(alert: &Alert, ms: i64) -> Alert {
    let at = T0.plus_millis(ms);
    let id = alert::hex16(format!("{} over {ms}", alert.fingerprint).as_bytes());
    Alert { id, status: AlertStatus::Resolved, last_received: at, ends_at: Some(at), ..alert.clone() }
}

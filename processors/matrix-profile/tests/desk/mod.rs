//! A desk at which a processor works through parsed lines and the alerts that it puts out can be read.

use matrix_profile::{Config, MatrixProfile};
use schemas::{EventTime, Feedback, ParsedLog, Subject, TemplateId, Verdict, VerdictKind, VerdictScope, topics};
use serde_json::Value;
use stream_core::{
    Applied, EventClock, Headers, Instance, Lateness, NextOffset, Offset, Outbox, Partition, Processor, Record, SnapshotReader,
    SnapshotWriter, TopicPartition, config_hash,
};

/// Where the stories of these tests begin: 2023-11-14T22:14:00Z.
pub const T0: EventTime = EventTime::from_millis(1_700_000_040_000);

pub struct Desk {
    config: Config,
    instance: Instance<MatrixProfile>,
    out: Outbox,
    next: NextOffset,
    told: u64,
}

#[allow(dead_code)] // each test file uses some of it
impl Desk {
    pub fn new(config: Config) -> Self {
        let at = TopicPartition::new(&topics::LOGS_PARSED.into(), Partition(0));
        let processor = MatrixProfile::new(&config, &at).expect("a configuration that works");
        let instance = Instance::new(processor, EventClock::default(), at, Lateness::DEFAULT);
        Self { config, instance, out: Outbox::new(MatrixProfile::NAME), next: NextOffset(0), told: 0 }
    }

    /// A line that is appended when it is written.
    pub fn line(&mut self, log: &ParsedLog) -> Vec<Value> {
        self.append(log, EventTime::from_micros(log.event_time))
    }

    pub fn append(&mut self, log: &ParsedLog, appended_at: EventTime) -> Vec<Value> {
        self.out.clear();
        let at = self.instance.at().clone();
        let offset = Offset(self.next.0);
        self.next = offset.next();
        let value = log.to_bytes().expect("fits the schema");
        let record = Record {
            topic: &at.topic,
            partition: at.partition,
            offset,
            appended_at,
            key: None,
            value: Some(&value),
            headers: Headers::default(),
        };
        assert_eq!(self.instance.apply(record, &mut self.out), Applied::Accepted);
        self.alerts()
    }

    /// Silence since the last record.
    pub fn silence(&mut self, ms: i64) -> Vec<Value> {
        self.out.clear();
        if let Some(to) = self.instance.clock.idle_tick(ms) {
            self.instance.tick(self.next, to, &mut self.out).expect("within the limits");
        }
        self.alerts()
    }

    pub fn verdict(&mut self, text: &str, kind: VerdictKind, scope: VerdictScope) {
        let id = TemplateId::of(text);
        let verdict = Verdict { template_id: id.to_string(), template: text.into(), verdict: kind, ..Verdict::default() };
        self.broadcast(topics::LOGS_VERDICTS, &scope.key(id), &verdict.to_bytes().expect("fits the schema"));
    }

    pub fn feedback(&mut self, feedback: &Feedback) {
        self.broadcast(topics::FEEDBACK, &feedback.subject, &serde_json::to_vec(feedback).expect("JSON"));
    }

    fn broadcast(&mut self, topic: &str, key: &str, value: &[u8]) {
        let topic = topic.into();
        let offset = Offset(self.told);
        self.told += 1;
        let record = Record {
            topic: &topic,
            partition: Partition(0),
            offset,
            appended_at: T0,
            key: Some(key.as_bytes()),
            value: Some(value),
            headers: Headers::default(),
        };
        assert_eq!(self.instance.broadcast(record, &mut self.out), Applied::Accepted);
    }

    /// Puts the instance through its snapshot.
    pub fn restore(&mut self) {
        let sections = self.sections();
        let hash = config_hash(&self.config);
        let reader = SnapshotReader::new(&sections, MatrixProfile::STATE_VERSION, hash, hash);
        self.instance.processor = MatrixProfile::restore(&reader, &self.config, self.instance.at()).expect("our own snapshot");
        assert!(sections == self.sections(), "a restored state writes itself as it was read");
    }

    fn sections(&self) -> Vec<(String, Vec<u8>)> {
        let mut writer = SnapshotWriter::default();
        self.instance.processor.snapshot(&mut writer).expect("can be written");
        writer.into_sections()
    }

    fn alerts(&self) -> Vec<Value> {
        self.out.outputs().map(|output| serde_json::from_slice(output.value.expect("a value")).expect("JSON")).collect()
    }
}

/// A line of a host, written `ms` after [`T0`].
#[allow(dead_code)]
pub fn line(host: &str, ms: i64, text: &str) -> ParsedLog {
    ParsedLog {
        host: host.into(),
        event_time: T0.plus_millis(ms).micros(),
        // As kernels and services do: what is an error says so.
        severity: Some(if text.contains("error") || text.contains("Out of") { 3 } else { 6 }),
        app_name: Some("shop".into()),
        template_id: TemplateId::of(text).to_string(),
        template: text.into(),
        raw_offset: ms,
        ..ParsedLog::default()
    }
}

/// Alerts as `name status severity host class`.
#[allow(dead_code)]
pub fn short(alerts: &[Value]) -> Vec<String> {
    let text = |value: &Value| value.as_str().unwrap_or("-").to_string();
    let words =
        |a: &Value| [&a["name"], &a["status"], &a["severity"], &a["labels"]["host"], &a["labels"]["failure_class"]].map(text).join(" ");
    alerts.iter().map(words).collect()
}

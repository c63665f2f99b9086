//! A desk at which a processor works through records and everything it puts out can be read.

use drain::{Config, DrainProcessor};
use schemas::{EventTime, LogRecord, ParsedLog, Subject, TemplateRecord};
use serde_json::{Value, json};
use stream_core::{
    Applied, EventClock, Headers, Instance, Lateness, NextOffset, Offset, Outbox, Partition, Processor, Record, SnapshotReader,
    SnapshotWriter, TopicPartition, config_hash,
};

/// Where the stories of these tests begin: 2023-11-14T22:14:00Z, the start of a minute.
pub const T0: EventTime = EventTime::from_millis(1_700_000_040_000);

/// One instance and its outputs.
pub struct Desk {
    config: Config,
    instance: Instance<DrainProcessor>,
    out: Outbox,
    next: NextOffset,
}

/// An output as people would read it.
#[derive(Debug, Clone, PartialEq)]
pub struct Output {
    pub topic: String,
    pub key: String,
    pub value: Value,
}

#[allow(dead_code)] // each test file uses some of it
impl Desk {
    pub fn new(config: Config) -> Self {
        let at = TopicPartition::new(&"logs.raw.v1".into(), Partition(0));
        let processor = DrainProcessor::new(&config, &at).expect("a configuration that works");
        let instance = Instance::new(processor, EventClock::default(), at, DrainProcessor::lateness(&config).unwrap_or(Lateness::DEFAULT));
        Self { config, instance, out: Outbox::new(DrainProcessor::NAME), next: NextOffset(0) }
    }

    /// Feeds a record that is appended when it is observed.
    pub fn line(&mut self, record: &LogRecord) -> Vec<Output> {
        self.record(&record.to_bytes().expect("fits the schema"), EventTime::from_micros(record.observed_time))
    }

    pub fn record(&mut self, value: &[u8], appended_at: EventTime) -> Vec<Output> {
        self.out.clear();
        let at = self.instance.at().clone();
        let offset = Offset(self.next.0);
        self.next = offset.next();
        let (topic, partition, headers) = (&at.topic, at.partition, Headers::default());
        let record = Record { topic, partition, offset, appended_at, key: None, value: Some(value), headers };
        match self.instance.apply(record, &mut self.out) {
            Applied::Accepted => self.outputs(),
            Applied::Rejected(reject) => panic!("rejected: {reject}"),
            Applied::Poisoned(reject) => panic!("poisoned: {reject}"),
        }
    }

    /// The next record stands at this offset.
    pub fn skip_to(&mut self, offset: u64) {
        self.next = NextOffset(offset);
    }

    /// Silence since the last record.
    pub fn silence(&mut self, ms: i64) -> Vec<Output> {
        self.out.clear();
        if let Some(to) = self.instance.clock.idle_tick(ms) {
            self.instance.tick(self.next, to, &mut self.out).expect("within the limits");
        }
        self.outputs()
    }

    /// Puts the instance through its snapshot.
    pub fn restore(&mut self) {
        let sections = self.sections();
        let hash = config_hash(&self.config);
        let reader = SnapshotReader::new(&sections, DrainProcessor::STATE_VERSION, hash, hash);
        self.instance.processor = DrainProcessor::restore(&reader, &self.config, self.instance.at()).expect("our own snapshot");
        assert!(sections == self.sections(), "a restored state writes itself as it was read");
    }

    pub fn state_bytes(&self) -> u64 {
        self.sections().iter().map(|(name, bytes)| name.len() + bytes.len()).sum::<usize>() as u64
    }

    fn sections(&self) -> Vec<(String, Vec<u8>)> {
        let mut writer = SnapshotWriter::default();
        self.instance.processor.snapshot(&mut writer).expect("can be written");
        writer.into_sections()
    }

    fn outputs(&self) -> Vec<Output> {
        let read = |topic: &str, value: &[u8]| match topic {
            "logs.parsed.v1" => json!(ParsedLog::from_bytes(value).expect("a parsed line")),
            "logs.templates.v1" => json!(TemplateRecord::from_bytes(value).expect("a template")),
            _ => serde_json::from_slice(value).expect("JSON"),
        };
        let key = |key: Option<&[u8]>| String::from_utf8_lossy(key.expect("a key")).into_owned();
        let outputs = self.out.outputs();
        outputs
            .map(|o| Output { topic: o.topic.to_string(), key: key(o.key), value: read(o.topic.as_str(), o.value.expect("a value")) })
            .collect()
    }
}

/// A line of a host, written and observed `ms` after [`T0`].
#[allow(dead_code)]
pub fn line(host: &str, ms: i64, severity: i32, message: &str) -> LogRecord {
    let at = T0.plus_millis(ms).micros();
    LogRecord {
        host: host.into(),
        event_time: at,
        observed_time: at,
        severity: Some(severity),
        app_name: Some("shop".into()),
        raw: message.into(),
        message_length: message.len() as i32,
        ..LogRecord::default()
    }
}

/// The alerts among outputs, as `name status severity host`.
#[allow(dead_code)]
pub fn alerts(outputs: &[Output]) -> Vec<String> {
    let text = |value: &Value| value.as_str().unwrap_or("-").to_string();
    let alerts = outputs.iter().filter(|output| output.topic == "alerts.v1").map(|output| &output.value);
    alerts.map(|a| [&a["name"], &a["status"], &a["severity"], &a["labels"]["host"]].map(text).join(" ")).collect()
}

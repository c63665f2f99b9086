//! Incidents as a stream processor: alerts in, incidents out.

use schemas::{Alert, EventTime, Incident, cloudevents, topics};
use stream_core::{
    ConfigError, HeaderBuffer, Lateness, Outbox, Processor, Record, Reject, RejectReason, SnapshotReader, SnapshotWriter, StateError,
    TopicName, TopicPartition,
};

use crate::{
    book::{IncidentBook, SECTION},
    config::Config,
    sighting::Sighting,
};

/// Counts up when the meaning of the snapshot changes.
const STATE_VERSION: u16 = 2;

/// One instance. It must see all alerts, so their topic has one partition.
pub struct IncidentProcessor {
    config: Config,
    book: IncidentBook,
    topic: TopicName,
}

impl Processor for IncidentProcessor {
    type Config = Config;
    const NAME: &'static str = "incident";
    const STATE_VERSION: u16 = STATE_VERSION;

    fn inputs(_: &Config) -> Vec<TopicName> {
        vec![topics::ALERTS.into()]
    }

    fn outputs(_: &Config) -> Vec<TopicName> {
        vec![topics::INCIDENTS.into()]
    }

    fn lateness(_: &Config) -> Option<Lateness> {
        // The alerts of a story come in any order; what is held back is only how often it is told.
        Some(Lateness { lateness_ms: 0, ..Lateness::DEFAULT })
    }

    fn state_bytes_bound(config: &Config) -> u64 {
        IncidentBook::state_bytes_bound(config)
    }

    fn new(config: &Config, _: &TopicPartition) -> Result<Self, ConfigError> {
        config.validate()?;
        Ok(Self::assemble(config, IncidentBook::new(config)))
    }

    fn on_record(&mut self, record: Record<'_>, out: &mut Outbox) -> Result<(), Reject> {
        let undecodable = |found: String| Reject::new(RejectReason::Undecodable, format!("expected an alert in JSON, found {found}"));
        let value = record.value.ok_or_else(|| undecodable("a record without a value".into()))?;
        let mut alert: Alert = serde_json::from_slice(value).map_err(|error| undecodable(format!("{} bytes: {error}", value.len())))?;
        alert.sanitize().map_err(|error| Reject::new(RejectReason::InvalidField, error.to_string()))?;
        let sighting = Sighting::read(&alert, record.appended_at, &self.config)?;
        out.observe(alert.last_received.max(sighting.at));
        let line = alert.annotations.get("line").unwrap_or(&alert.message);
        let told = self.book.on_alert(sighting, line);
        self.tell(&told, out)
    }

    fn on_watermark(&mut self, now: EventTime, out: &mut Outbox) -> Result<(), Reject> {
        let told = self.book.on_watermark(now);
        self.tell(&told, out)
    }

    fn snapshot(&self, w: &mut SnapshotWriter) -> Result<(), StateError> {
        w.put(SECTION, &self.book)
    }

    fn restore(r: &SnapshotReader<'_>, config: &Config, _: &TopicPartition) -> Result<Self, StateError> {
        if r.state_version != STATE_VERSION {
            return Err(StateError::Version { found: r.state_version, expected: STATE_VERSION });
        }
        Ok(Self::assemble(config, r.get::<IncidentBook>(SECTION)?.restored(config)?))
    }
}

impl IncidentProcessor {
    fn assemble(config: &Config, book: IncidentBook) -> Self {
        Self { config: config.clone(), book, topic: topics::INCIDENTS.into() }
    }

    fn tell(&self, incidents: &[Incident], out: &mut Outbox) -> Result<(), Reject> {
        for incident in incidents {
            let json = serde_json::to_vec(incident).map_err(|error| Reject::new(RejectReason::InvalidField, error.to_string()))?;
            let mut headers = HeaderBuffer::default();
            for (name, value) in cloudevents::incident_headers(incident, &out.next_id(), Self::NAME) {
                headers.push(name, Some(value.as_bytes()));
            }
            out.emit_with_headers(&self.topic, Some(incident.id.as_bytes()), Some(&json), headers.as_headers())?;
        }
        Ok(())
    }
}

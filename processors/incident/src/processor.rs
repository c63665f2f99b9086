//! Incidents as a stream processor: alerts in, incidents out; and heartbeats in, alerts about who is silent out.

use schemas::{Alert, EventTime, Heartbeat, Incident, Model, Subject, cloudevents, topics};
use stream_core::{
    AlertBook, ConfigError, HeaderBuffer, Lateness, Outbox, Processor, Record, Reject, RejectReason, SnapshotReader, SnapshotWriter,
    StateError, TopicName, TopicPartition, config_hash,
};

use crate::{
    book::{IncidentBook, SECTION},
    config::Config,
    sighting::Sighting,
    vigil::{self, Vigil},
};

/// Counts up when the meaning of the snapshot changes.
const STATE_VERSION: u16 = 2;

/// One instance. It must see all alerts, or all heartbeats, so their topics have one partition each.
pub struct IncidentProcessor {
    config: Config,
    duty: Duty,
}

/// What an instance does follows from the topic that it reads.
enum Duty {
    /// Alerts to incidents.
    Stories { book: IncidentBook, topic: TopicName },
    /// Heartbeats to alerts about who is silent.
    Vigil { vigil: Vigil, alerts: AlertBook },
}

impl Processor for IncidentProcessor {
    type Config = Config;
    const NAME: &'static str = "incident";
    const STATE_VERSION: u16 = STATE_VERSION;

    fn inputs(_: &Config) -> Vec<TopicName> {
        vec![topics::ALERTS.into(), topics::HOST_HEARTBEATS.into()]
    }

    fn outputs(_: &Config) -> Vec<TopicName> {
        vec![topics::INCIDENTS.into()]
    }

    fn lateness(_: &Config) -> Option<Lateness> {
        // The alerts of a story come in any order; what is held back is only how often it is told.
        Some(Lateness { lateness_ms: 0, ..Lateness::DEFAULT })
    }

    fn state_bytes_bound(config: &Config) -> u64 {
        IncidentBook::state_bytes_bound(config).max(Vigil::state_bytes_bound(config) + AlertBook::STATE_BYTES_BOUND)
    }

    fn new(config: &Config, at: &TopicPartition) -> Result<Self, ConfigError> {
        config.validate()?;
        let duty = if is_vigil(at) {
            Duty::Vigil { vigil: Vigil::default(), alerts: AlertBook::new(model(config)) }
        } else {
            Duty::Stories { book: IncidentBook::new(config), topic: topics::INCIDENTS.into() }
        };
        Ok(Self { config: config.clone(), duty })
    }

    fn on_record(&mut self, record: Record<'_>, out: &mut Outbox) -> Result<(), Reject> {
        let (book, topic) = match &mut self.duty {
            Duty::Stories { book, topic } => (book, &*topic),
            Duty::Vigil { vigil, alerts } => {
                let bytes = record.value.unwrap_or_default();
                let heartbeat = Heartbeat::from_bytes(bytes).map_err(|error| Reject::new(RejectReason::Undecodable, error.to_string()))?;
                out.observe(EventTime::from_micros(heartbeat.time));
                return vigil.on_heartbeat(&heartbeat, &self.config, alerts, out);
            }
        };
        let undecodable = |found: String| Reject::new(RejectReason::Undecodable, format!("expected an alert in JSON, found {found}"));
        let value = record.value.ok_or_else(|| undecodable("a record without a value".into()))?;
        let mut alert: Alert = serde_json::from_slice(value).map_err(|error| undecodable(format!("{} bytes: {error}", value.len())))?;
        alert.sanitize().map_err(|error| Reject::new(RejectReason::InvalidField, error.to_string()))?;
        let sighting = Sighting::read(&alert, record.appended_at, &self.config)?;
        out.observe(alert.last_received.max(sighting.at));
        let line = alert.annotations.get("line").unwrap_or(&alert.message);
        let told = book.on_alert(sighting, line);
        tell(&told, topic, out)
    }

    fn on_watermark(&mut self, now: EventTime, out: &mut Outbox) -> Result<(), Reject> {
        match &mut self.duty {
            Duty::Stories { book, topic } => tell(&book.on_watermark(now), topic, out),
            Duty::Vigil { vigil, alerts } => {
                vigil.on_watermark(now, &self.config, alerts, out)?;
                alerts.on_watermark(now, out)
            }
        }
    }

    fn snapshot(&self, w: &mut SnapshotWriter) -> Result<(), StateError> {
        match &self.duty {
            Duty::Stories { book, .. } => w.put(SECTION, book),
            Duty::Vigil { vigil, alerts } => {
                w.put(vigil::SECTION, vigil)?;
                alerts.snapshot(w)
            }
        }
    }

    fn restore(r: &SnapshotReader<'_>, config: &Config, at: &TopicPartition) -> Result<Self, StateError> {
        if r.state_version != STATE_VERSION {
            return Err(StateError::Version { found: r.state_version, expected: STATE_VERSION });
        }
        let duty = if is_vigil(at) {
            Duty::Vigil { vigil: r.get::<Vigil>(vigil::SECTION)?.restored(config)?, alerts: AlertBook::restore(r, model(config))? }
        } else {
            Duty::Stories { book: r.get::<IncidentBook>(SECTION)?.restored(config)?, topic: topics::INCIDENTS.into() }
        };
        Ok(Self { config: config.clone(), duty })
    }
}

fn is_vigil(at: &TopicPartition) -> bool {
    at.topic.as_str() == topics::HOST_HEARTBEATS
}

fn model(config: &Config) -> Model {
    let version = env!("CARGO_PKG_VERSION").into();
    Model { name: IncidentProcessor::NAME.into(), version, config_hash: format!("{:016x}", config_hash(config)) }
}

fn tell(incidents: &[Incident], topic: &TopicName, out: &mut Outbox) -> Result<(), Reject> {
    for incident in incidents {
        let json = serde_json::to_vec(incident).map_err(|error| Reject::new(RejectReason::InvalidField, error.to_string()))?;
        let mut headers = HeaderBuffer::default();
        for (name, value) in cloudevents::incident_headers(incident, &out.next_id(), IncidentProcessor::NAME) {
            headers.push(name, Some(value.as_bytes()));
        }
        out.emit_with_headers(topic, Some(incident.id.as_bytes()), Some(&json), headers.as_headers())?;
    }
    Ok(())
}

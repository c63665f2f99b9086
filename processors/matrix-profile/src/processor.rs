//! The sequence detector as a stream processor: parsed lines in, alerts out; verdicts and corrections from the side.

use schemas::{EventTime, Feedback, FeedbackKind, Model, ParsedLog, Subject, Verdict, topics};
use stream_core::{
    AlertBook, ConfigError, Outbox, Processor, Record, Reject, RejectReason, SnapshotReader, SnapshotWriter, StateError, TopicName,
    TopicPartition, config_hash,
};

use crate::{
    config::Config,
    snapshot::{STATE_VERSION, state_bytes_bound},
    watch::Watch,
};

/// One instance of the detector.
pub struct MatrixProfile(Watch);

impl Processor for MatrixProfile {
    type Config = Config;
    const NAME: &'static str = "matrix-profile";
    const STATE_VERSION: u16 = STATE_VERSION;

    fn inputs(_: &Config) -> Vec<TopicName> {
        vec![topics::LOGS_PARSED.into()]
    }

    fn broadcasts(_: &Config) -> Vec<TopicName> {
        vec![topics::LOGS_VERDICTS.into(), topics::FEEDBACK.into()]
    }

    fn outputs(_: &Config) -> Vec<TopicName> {
        Vec::new()
    }

    fn state_bytes_bound(config: &Config) -> u64 {
        state_bytes_bound(config)
    }

    fn new(config: &Config, _: &TopicPartition) -> Result<Self, ConfigError> {
        config.validate()?;
        Ok(Self(Watch::new(config, AlertBook::new(model(config)))))
    }

    fn on_record(&mut self, record: Record<'_>, out: &mut Outbox) -> Result<(), Reject> {
        let undecodable = || Reject::new(RejectReason::Undecodable, "expected a parsed line, found a record without a value");
        let log = ParsedLog::from_bytes(record.value.ok_or_else(undecodable)?)?;
        self.0.hear(&log, &record, out)
    }

    fn on_broadcast(&mut self, record: Record<'_>) -> Result<(), Reject> {
        match record.topic.as_str() {
            topics::LOGS_VERDICTS => self.on_verdict(&record),
            _ => self.on_feedback(&record),
        }
    }

    fn on_watermark(&mut self, now: EventTime, out: &mut Outbox) -> Result<(), Reject> {
        self.0.on_watermark(now, out)
    }

    fn snapshot(&self, w: &mut SnapshotWriter) -> Result<(), StateError> {
        self.0.snapshot(w)
    }

    fn restore(r: &SnapshotReader<'_>, config: &Config, _: &TopicPartition) -> Result<Self, StateError> {
        if r.state_version != STATE_VERSION {
            return Err(StateError::Version { found: r.state_version, expected: STATE_VERSION });
        }
        config.validate().map_err(|error| StateError::Config(error.to_string()))?;
        Watch::restore(r, config, model(config)).map(Self)
    }
}

impl MatrixProfile {
    fn on_verdict(&mut self, record: &Record<'_>) -> Result<(), Reject> {
        let verdict = record.value.map(Verdict::from_bytes).transpose()?;
        let taken = self.0.verdicts.apply(record.key.unwrap_or_default(), verdict.as_ref());
        taken.map(drop).map_err(|refused| Reject::new(RejectReason::InvalidField, refused.to_string()))
    }

    /// Corrections that concern this part; others are for other parts.
    fn on_feedback(&mut self, record: &Record<'_>) -> Result<(), Reject> {
        let undecodable = |detail: String| Reject::new(RejectReason::Undecodable, detail);
        let value = record.value.ok_or_else(|| undecodable("expected feedback, found a record without a value".into()))?;
        let feedback: Feedback = serde_json::from_slice(value).map_err(|error| undecodable(format!("feedback: {error}")))?;
        match feedback.kind {
            FeedbackKind::FalseAlarm => self.0.false_alarm(&feedback.id, &feedback.subject, feedback.at),
            FeedbackKind::Missed => {
                let host = feedback.host.as_deref().unwrap_or(&feedback.subject);
                let template = feedback.value.as_deref().and_then(|value| value.parse().ok());
                self.0.missed(&feedback.id, host, template, feedback.at);
            }
            FeedbackKind::Undo => self.0.undo(feedback.undo_of.as_deref().unwrap_or(&feedback.subject)),
            _ => {}
        }
        Ok(())
    }
}

fn model(config: &Config) -> Model {
    let version = env!("CARGO_PKG_VERSION").into();
    Model { name: MatrixProfile::NAME.into(), version, config_hash: format!("{:016x}", config_hash(config)) }
}

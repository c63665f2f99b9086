//! Drain as a stream processor: raw lines in, parsed lines, templates and alerts out.

use schemas::{EventTime, LogRecordView, Model, topics};
use stream_core::{
    AlertBook, ConfigError, Outbox, Processor, Record, Reject, RejectReason, SnapshotReader, SnapshotWriter, StateError, TopicName,
    TopicPartition, config_hash,
};

use crate::{
    activity::{Activity, HOST_BYTES_MAX, Line},
    alarms::{Alarms, Facts, is_history},
    change::Match,
    config::Config,
    forest::{Forest, Plot, damaged},
    records::ParsedLine,
    snapshot::STATE_VERSION,
    template::TemplateId,
};

/// One instance of the log path's first processor.
pub struct DrainProcessor {
    config: Config,
    forest: Forest,
    alarms: Alarms,
    line: ParsedLine,
    parsed_topic: TopicName,
}

impl Processor for DrainProcessor {
    type Config = Config;
    const NAME: &'static str = "drain";
    const STATE_VERSION: u16 = STATE_VERSION;

    fn prepare(config: Config) -> Result<Config, ConfigError> {
        Ok(config.with_files()?)
    }

    fn inputs(_: &Config) -> Vec<TopicName> {
        vec![topics::LOGS_RAW.into()]
    }

    fn outputs(_: &Config) -> Vec<TopicName> {
        vec![topics::LOGS_PARSED.into(), topics::LOGS_TEMPLATES.into()]
    }

    fn state_bytes_bound(config: &Config) -> u64 {
        let watch_bytes = 64;
        Forest::state_bytes_bound(config) + Activity::state_bytes_bound(config) + AlertBook::STATE_BYTES_BOUND + watch_bytes
    }

    fn new(config: &Config, at: &TopicPartition) -> Result<Self, ConfigError> {
        let alarms = Alarms::new(at.clone(), Activity::new(config), AlertBook::new(model(config)), config);
        Ok(Self::assemble(config, Forest::new(config, at)?, alarms))
    }

    fn on_record(&mut self, record: Record<'_>, out: &mut Outbox) -> Result<(), Reject> {
        let undecodable = || Reject::new(RejectReason::Undecodable, "expected a log record, found a record without a value");
        let raw = LogRecordView::from_bytes(record.value.ok_or_else(undecodable)?)?;
        if raw.host.is_empty() || raw.host.len() > HOST_BYTES_MAX {
            let detail = format!("host: expected 1 to {HOST_BYTES_MAX} bytes, found {}", raw.host.len());
            return Err(Reject::new(RejectReason::InvalidField, detail));
        }
        out.observe(raw.event_time);
        let time = raw.event_time.min(record.appended_at);

        self.line.begin(&raw, &record);
        let is_excluded = raw.app_name.is_some_and(|app| self.config.exclude_apps.iter().any(|excluded| excluded == app));
        let Plot { drain, catalogue, .. } = self.forest.plot(raw.host);
        let parsed = (!is_excluded).then(|| drain.parse(raw.message, time.0));
        let (template_id, cluster, matched) = match &parsed {
            Some(parsed) => {
                self.line.parsed(parsed);
                (parsed.template_id, parsed.cluster_id, Some(parsed.matched))
            }
            None => (TemplateId::UNKNOWN, TemplateId::UNKNOWN, None),
        };
        out.emit(&self.parsed_topic, raw.host.as_bytes(), &self.line.log)?;
        if !is_excluded {
            catalogue.on_line(template_id, time, drain, out)?;
        }
        let is_held_off = matched == Some(Match::Unknown) && drain.is_paused(time.0);
        if !drain.events().is_empty() {
            self.forest.settle(raw.host);
        }

        self.alarms.appended_at = record.appended_at;
        let severity = self.line.log.severity.and_then(|severity| u8::try_from(severity).ok()).filter(|severity| *severity <= 7);
        let line = Line { host: raw.host, cluster, app: raw.app_name, severity, time, offset: record.offset };
        let facts = Facts {
            template_id: &self.line.log.template_id,
            template: &self.line.log.template,
            message: raw.message,
            app: raw.app_name,
            vm: raw.attribute("vm"),
            is_new: matched == Some(Match::New),
            is_held_off,
            is_history: is_history(time, record.appended_at) || raw.attribute("backfill").is_some(),
        };
        self.alarms.on_line(&line, &facts, &mut self.forest, out)
    }

    fn on_watermark(&mut self, now: EventTime, out: &mut Outbox) -> Result<(), Reject> {
        self.alarms.on_watermark(now, &self.forest, out)
    }

    fn snapshot(&self, w: &mut SnapshotWriter) -> Result<(), StateError> {
        self.forest.snapshot(&self.config, w)?;
        let activity = self.alarms.activity.snapshot().map_err(|error| damaged("activity", &error))?;
        w.section("activity").extend(activity);
        w.put("watch", &(self.alarms.appended_at, self.forest.explosion_told_at()))?;
        self.alarms.book.snapshot(w)
    }

    fn restore(r: &SnapshotReader<'_>, config: &Config, at: &TopicPartition) -> Result<Self, StateError> {
        if r.state_version != STATE_VERSION {
            return Err(StateError::Version { found: r.state_version, expected: STATE_VERSION });
        }
        let mut forest = Forest::restore(r, config, at)?;
        let activity = Activity::restore(config, r.require("activity")?).map_err(|error| damaged("activity", &error))?;
        let mut alarms = Alarms::new(at.clone(), activity, AlertBook::restore(r, model(config))?, config);
        let explosion_told_at;
        (alarms.appended_at, explosion_told_at) = r.get("watch")?;
        forest.set_explosion_told_at(explosion_told_at);
        Ok(Self::assemble(config, forest, alarms))
    }
}

impl DrainProcessor {
    fn assemble(config: &Config, forest: Forest, alarms: Alarms) -> Self {
        let (line, parsed_topic) = (ParsedLine::default(), topics::LOGS_PARSED.into());
        Self { config: config.clone(), forest, alarms, line, parsed_topic }
    }
}

fn model(config: &Config) -> Model {
    let version = env!("CARGO_PKG_VERSION").into();
    Model { name: DrainProcessor::NAME.into(), version, config_hash: format!("{:016x}", config_hash(config)) }
}

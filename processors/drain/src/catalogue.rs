//! What has been published of each template: every change at once, its count every ten minutes while it is in use.

use schemas::{EventTime, topics};
use stream_core::{Outbox, Reject, SnapshotReader, SnapshotWriter, StateError, TopicName};

use crate::{
    change::{Change, ChangeKind, TemplateEvent},
    config::Config,
    drain::Drain,
    records::{report, template_record},
    template::TemplateId,
    tree::HashMap,
};

/// A template in use is published again after this much event time.
const REPORT_MS: i64 = 600_000;
const SECTION: &str = "catalogue";
/// Bytes of one entry: id and time.
const ENTRY_BYTES_MAX: u64 = 18;

/// The templates that have been published, and when.
#[derive(Debug)]
pub(crate) struct Catalogue {
    published: HashMap<TemplateId, EventTime>,
    /// Which tree, as it is told.
    pub instance: String,
    topic: TopicName,
    /// Seeds were planted of which nobody has been told.
    has_seeds: bool,
}

impl Catalogue {
    pub(crate) fn new(instance: String) -> Self {
        Self { published: HashMap::default(), instance, topic: topics::LOGS_TEMPLATES.into(), has_seeds: true }
    }

    /// Publishes what a line of template `id` changed, or the template itself when that is due.
    pub(crate) fn on_line(&mut self, id: TemplateId, now: EventTime, drain: &Drain, out: &mut Outbox) -> Result<(), Reject> {
        if std::mem::take(&mut self.has_seeds) {
            self.publish_seeds(now, drain, out)?;
        }
        for event in drain.events() {
            // The event is from before the line was counted.
            let template = drain.template(event.template.id).unwrap_or_else(|| event.template.clone());
            self.publish(&TemplateEvent { template, ..event.clone() }, now, out)?;
        }
        let is_due = self.published.get(&id).is_some_and(|at| now.millis_since(*at) >= REPORT_MS);
        if let Some(template) = is_due.then(|| drain.template(id)).flatten() {
            self.published.insert(id, now);
            out.emit(&self.topic, id.to_string().as_bytes(), &report(&template, None, &self.instance))?;
        }
        Ok(())
    }

    /// Seeds come before the first line, when there is no outbox; they are told with it.
    fn publish_seeds(&mut self, now: EventTime, drain: &Drain, out: &mut Outbox) -> Result<(), Reject> {
        let made_now: Vec<TemplateId> = drain.events().iter().map(|event| event.template.id).collect();
        let seeds = drain.templates().filter(|template| !made_now.contains(&template.id) && !self.published.contains_key(&template.id));
        let seeds: Vec<_> = seeds.collect();
        for template in seeds {
            let change = Change { kind: ChangeKind::Seeded, from: Vec::new() };
            self.publish(&TemplateEvent { template, change, superseded_by: None }, now, out)?;
        }
        Ok(())
    }

    fn publish(&mut self, event: &TemplateEvent, now: EventTime, out: &mut Outbox) -> Result<(), Reject> {
        let id = event.template.id;
        let is_gone = event.superseded_by.is_some() || event.change.kind == ChangeKind::Evicted;
        if is_gone {
            self.published.remove(&id);
        } else {
            self.published.insert(id, now);
        }
        out.emit(&self.topic, id.to_string().as_bytes(), &template_record(event, &self.instance))
    }

    /// The largest section that these caps allow.
    pub(crate) fn state_bytes_bound(config: &Config) -> u64 {
        (config.clusters_max as u64 + 1) * ENTRY_BYTES_MAX
    }

    /// What has been published and when, by id.
    pub(crate) fn published(&self) -> Vec<(TemplateId, EventTime)> {
        let mut published: Vec<_> = self.published.iter().map(|(id, at)| (*id, *at)).collect();
        published.sort_unstable();
        published
    }

    pub(crate) fn snapshot(&self, w: &mut SnapshotWriter) -> Result<(), StateError> {
        w.put(SECTION, &self.published())
    }

    pub(crate) fn restore(r: &SnapshotReader<'_>, instance: String, drain: &Drain) -> Result<Self, StateError> {
        Ok(Self::known(r.get(SECTION)?, instance, drain))
    }

    /// Templates that `drain` has and nobody has been told of are seeds.
    pub(crate) fn known(published: Vec<(TemplateId, EventTime)>, instance: String, drain: &Drain) -> Self {
        let published: HashMap<_, _> = published.into_iter().filter(|(id, _)| drain.template(*id).is_some()).collect();
        Self { published, ..Self::new(instance) }
    }
}

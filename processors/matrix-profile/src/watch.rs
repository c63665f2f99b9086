//! All hosts of one instance: who says what, in which order, and what is told of it.

use std::collections::BTreeMap;

use schemas::{ChangeKind, EventTime, MatchKind, ParsedLog, TemplateId};
use stream_core::{AlertBook, Outbox, Record, Reject};
use verdict::{Judgement, Model, Verdicts};

use crate::{
    alias::Aliases,
    config::{Config, Scoring},
    corrections::Corrections,
    host::{Heard, Host},
    predictions::{Facts, NOVEL, Predictions},
    reorder::{Ordered, Reorder},
    sequence::{Line, Sequence},
    store::M,
    vocabulary::Vocabulary,
};

/// What is older than this when it is appended is history: it raises no alerts unless it is severe.
const HISTORY_MS: i64 = 600_000;
/// Syslog severity up to which history is told as well: critical (RFC 5424, table 2).
const SEVERE: u8 = 2;

/// The state of one instance.
#[derive(Debug)]
pub(crate) struct Watch {
    pub config: Config,
    scoring: Scoring,
    excluded: Vec<TemplateId>,
    pub vocabulary: Vocabulary,
    pub verdicts: Verdicts,
    pub aliases: Aliases,
    /// By number; numbers are given in the order in which hosts first speak.
    pub hosts: BTreeMap<u32, Host>,
    pub numbers: BTreeMap<String, u32>,
    pub next_number: u32,
    pub reorder: Reorder<Heard>,
    pub predictions: Predictions,
    pub corrections: Corrections,
    /// The latest event time. A watermark beyond it is silence, not a record.
    pub highest: EventTime,
}

impl Watch {
    pub(crate) fn new(config: &Config, book: AlertBook) -> Self {
        Self {
            scoring: config.scoring(),
            excluded: config.exclude_templates.iter().filter_map(|id| id.parse().ok()).collect(),
            vocabulary: Vocabulary::default(),
            verdicts: Verdicts::default(),
            aliases: Aliases::default(),
            hosts: BTreeMap::new(),
            numbers: BTreeMap::new(),
            next_number: 0,
            reorder: Reorder::new(config.reorder_ms),
            predictions: Predictions::new(book, config.resolve_after_s),
            corrections: Corrections::default(),
            highest: EventTime::MIN,
            config: config.clone(),
        }
    }

    /// A line arrives. Lines without a template of their own pass: nothing can be said of them.
    pub(crate) fn hear(&mut self, log: &ParsedLog, record: &Record<'_>, out: &mut Outbox) -> Result<(), Reject> {
        let written_at = EventTime::from_micros(log.event_time);
        let heard = Heard::of(log, record.appended_at.millis_since(written_at) > HISTORY_MS)?;
        out.observe(written_at);
        let time = written_at.min(record.appended_at);
        self.highest = self.highest.max(time);
        let has_template = heard.template != TemplateId::UNKNOWN && log.r#match != MatchKind::Skipped;
        if !has_template || self.excluded.contains(&heard.template) {
            return Ok(());
        }
        self.vocabulary.meet(heard.template, &log.template);
        self.follow(log, heard.template);
        let mut left = Vec::new();
        let host = self.number(&log.host, &mut left);
        if let Some(host) = self.hosts.get_mut(&host) {
            host.heard_at = host.heard_at.max(record.appended_at);
        }
        self.reorder.push(host, (time, record.offset), record.appended_at, heard, &mut |ordered| left.push(ordered));
        left.into_iter().try_for_each(|ordered| self.take(ordered, out))
    }

    /// Event time has come to `now`.
    pub(crate) fn on_watermark(&mut self, now: EventTime, out: &mut Outbox) -> Result<(), Reject> {
        if now > self.highest {
            let mut left = Vec::new();
            self.reorder.flush(&mut |ordered| left.push(ordered));
            left.into_iter().try_for_each(|ordered| self.take(ordered, out))?;
        }
        let (verdicts, vocabulary) = (&self.verdicts, &self.vocabulary);
        let is_cleared = |id| given(verdicts, vocabulary, id).is_some_and(|judgement| judgement.probability < 0.5);
        self.predictions.on_watermark(now, is_cleared, out)
    }

    /// A person says that an alert was none: its windows are normal, and it ends.
    pub(crate) fn false_alarm(&mut self, id: &str, fingerprint: &str, at: EventTime) {
        let Some(told) = self.predictions.told.get_mut(fingerprint) else { return };
        let Some(host) = self.numbers.get(&told.host).and_then(|number| self.hosts.get_mut(number)) else { return };
        told.is_disowned = true;
        self.corrections.false_alarm(id, &told.host, &told.windows, at, &mut host.sequence.store);
    }

    /// A person says that a host failed and nobody told.
    pub(crate) fn missed(&mut self, id: &str, host: &str, template: Option<TemplateId>, since: EventTime) {
        let Some(known) = self.numbers.get(host).and_then(|number| self.hosts.get_mut(number)) else { return };
        self.corrections.missed(id, host, template, since, &mut known.sequence.store);
    }

    /// A person takes back what they said.
    pub(crate) fn undo(&mut self, id: &str) {
        let number = self.corrections.host_of(id).and_then(|host| self.numbers.get(host));
        let Some(host) = number.and_then(|number| self.hosts.get_mut(number)) else { return };
        self.corrections.undo(id, &mut host.sequence.store);
    }

    /// Templates that this line superseded live on in its own.
    fn follow(&mut self, log: &ParsedLog, to: TemplateId) {
        self.aliases.revive(to);
        let Some(change) = log.change.as_ref().filter(|change| matches!(change.kind, ChangeKind::Generalised | ChangeKind::Merged)) else {
            return;
        };
        for from in change.from.iter().filter_map(|from| from.parse().ok()).filter(|from| *from != to) {
            self.aliases.supersede(from, to);
            self.hosts.values_mut().for_each(|host| host.sequence.rename(from, to));
        }
    }

    /// The number of a host; a new one may cost the longest silent its place.
    fn number(&mut self, name: &str, left: &mut Vec<Ordered<Heard>>) -> u32 {
        if let Some(number) = self.numbers.get(name) {
            return *number;
        }
        if self.hosts.len() >= self.config.hosts_max
            && let Some(silent) = self.hosts.iter().min_by_key(|(number, host)| (host.heard_at, **number)).map(|(number, _)| *number)
        {
            // Its lines that still wait are of a host that nobody remembers: they are dropped with it.
            self.reorder.forget(silent, &mut |_| {});
            left.retain(|ordered| ordered.host != silent);
            if let Some(host) = self.hosts.remove(&silent) {
                self.numbers.remove(&host.name);
                self.corrections.forget(&host.name);
            }
        }
        let number = self.next_number;
        self.next_number = self.next_number.wrapping_add(1);
        self.hosts.insert(number, Host::new(name, &self.scoring));
        self.numbers.insert(name.into(), number);
        number
    }

    /// A line in its turn.
    fn take(&mut self, ordered: Ordered<Heard>, out: &mut Outbox) -> Result<(), Reject> {
        let Ordered { host, time, mut record, is_late, offset: _ } = ordered;
        let Some(host) = self.hosts.get_mut(&host) else { return Ok(()) };
        record.template = self.aliases.resolve(record.template);
        let judgement = judge(&self.verdicts, &self.vocabulary, record.template).for_severity(record.severity.map(i32::from));
        let line = Line { template: record.template, probability: judgement.probability, provider: judgement.provider };
        let is_told = !record.is_history || record.severity.is_some_and(|severity| severity <= SEVERE);
        let is_history = record.is_history;
        let assessment = match is_late {
            true => Sequence::late(line, &self.scoring),
            false => {
                host.remember(record.clone());
                host.sequence.push(line, time, &self.scoring, &self.vocabulary)
            }
        };
        let alone = [record];
        let heard = if is_late { &alone[..] } else { &*host.heard.make_contiguous() };
        let deciding = assessment.deciding().map_or(line.template, |share| share.line.template);
        let class = judge(&self.verdicts, &self.vocabulary, deciding).class;
        let facts = Facts { host: &host.name, class, heard, is_history };
        if assessment.is_alarm() && is_told {
            self.predictions.failure(&assessment, &facts, time, &self.vocabulary, out)?;
        }
        let is_novel = !is_late && !assessment.is_alarm() && assessment.profile.distance >= NOVEL;
        host.novel = if is_novel { host.novel.saturating_add(1) } else { 0 };
        if self.config.novel_sequences && is_told && host.novel >= M as u32 {
            self.predictions.novel(&assessment, &facts, time, &self.vocabulary, out)?;
        }
        Ok(())
    }
}

/// The word of a person or of the table on a template.
fn given(verdicts: &Verdicts, vocabulary: &Vocabulary, id: TemplateId) -> Option<Judgement> {
    verdicts.given(Model::shipped(), id, vocabulary.text(id).map_or("", |text| text))
}

fn judge(verdicts: &Verdicts, vocabulary: &Vocabulary, id: TemplateId) -> Judgement {
    given(verdicts, vocabulary, id).unwrap_or_else(|| vocabulary.local(id))
}

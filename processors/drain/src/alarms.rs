//! From what lines and activity say to alerts.

use std::{collections::BTreeMap, sync::Arc};

use schemas::{EventTime, Evidence, Severity};
use stream_core::{AlertBook, AlertDraft, Offset, Outbox, Reject, TopicPartition};

use crate::{
    activity::{Activity, BURST_Z, Finding, FindingKind, Line, SILENCE_SCORE},
    config::Config,
    drain::Drain,
    forest::{Forest, Plot},
    template::TemplateId,
};

/// Severity up to which a line is told at once, warm or not: critical (RFC 5424, table 2).
const SEVERE: u8 = 2;
/// Severity up to which a new template is told: warning. A severe line has its alert already.
const TOLD_WHEN_NEW: u8 = 4;
/// What is older than this when it is appended is history: it raises no alerts unless it is severe.
const HISTORY_MS: i64 = 600_000;
/// Alerts of single lines resolve after this much event time without recurrence.
const RESOLVE_AFTER_MS: i64 = 900_000;
/// An explosion is told once in this time while it lasts.
const EXPLOSION_EVERY_MS: i64 = 60_000;
/// Bytes of a template in an alert.
const TEMPLATE_BYTES_MAX: usize = 1_024;
/// Bytes of a line in an alert.
const LINE_BYTES_MAX: usize = 512;

const SEVERE_LOG: &str = "SevereLog";
const NEW_TEMPLATE: &str = "NewTemplate";
const TEMPLATE_BURST: &str = "TemplateBurst";
const TEMPLATE_SILENCE: &str = "TemplateSilence";
const TEMPLATE_EXPLOSION: &str = "TemplateExplosion";

/// What an alert of a line says beyond its [`Line`].
pub(crate) struct Facts<'a> {
    pub template_id: &'a str,
    pub template: &'a str,
    /// The line itself: its values are what the template leaves out.
    pub message: &'a str,
    pub app: Option<&'a str>,
    pub vm: Option<&'a str>,
    /// The line made its template.
    pub is_new: bool,
    /// The line found no template because the explosion guard holds them back.
    pub is_held_off: bool,
    pub is_history: bool,
}

/// Whether a line is too old to raise alerts.
pub(crate) fn is_history(event_time: EventTime, appended_at: EventTime) -> bool {
    appended_at.millis_since(event_time) > HISTORY_MS
}

/// The alerts of one instance.
#[derive(Debug)]
pub(crate) struct Alarms {
    pub at: TopicPartition,
    pub activity: Activity,
    pub book: AlertBook,
    /// Length of the activity's buckets.
    bucket_s: u32,
    /// When the last line was appended.
    pub appended_at: EventTime,
}

impl Alarms {
    pub(crate) fn new(at: TopicPartition, activity: Activity, book: AlertBook, config: &Config) -> Self {
        Self { at, activity, book, bucket_s: config.activity.bucket_s, appended_at: EventTime::MIN }
    }

    /// A line has been parsed; the tree of its host knows what it changed.
    pub(crate) fn on_line(&mut self, line: &Line<'_>, facts: &Facts<'_>, forest: &mut Forest, out: &mut Outbox) -> Result<(), Reject> {
        let whose = (!forest.is_shared()).then_some(line.host);
        let plot = forest.plot(line.host);
        if line.cluster != TemplateId::UNKNOWN {
            self.activity.count(line);
            let superseded = plot.drain.events().iter().filter(|event| event.superseded_by.is_some());
            for from in superseded.map(|event| event.template.cluster_id).filter(|from| *from != line.cluster) {
                self.activity.merge(whose, from, line.cluster, line.time);
            }
        }
        match line.severity {
            Some(0..=SEVERE) => self.book.fire(self.severe(line, facts), line.time, out)?,
            Some(0..=TOLD_WHEN_NEW) if facts.is_new && !facts.is_history && self.activity.tells_of_new(line) => {
                self.book.fire(self.new_template(line, facts), line.time, out)?;
            }
            _ => {}
        }
        let told_before = line.time.millis_since(plot.explosion_told_at).saturating_abs() < EXPLOSION_EVERY_MS;
        if facts.is_held_off && !facts.is_history && !told_before {
            plot.explosion_told_at = line.time;
            self.book.fire(self.explosion(line, plot), line.time, out)?;
        }
        self.tell_findings(facts.is_history, forest, out)
    }

    /// Event time has come to `now`.
    pub(crate) fn on_watermark(&mut self, now: EventTime, forest: &Forest, out: &mut Outbox) -> Result<(), Reject> {
        self.activity.close_silent(now);
        self.tell_findings(is_history(now, self.appended_at), forest, out)?;
        self.book.on_watermark(now, out)
    }

    /// Begins and ends the alerts that the activity calls for. In history nothing begins: what still lasts when the
    /// present is reached is found again with its next bucket.
    fn tell_findings(&mut self, is_history: bool, forest: &Forest, out: &mut Outbox) -> Result<(), Reject> {
        let findings = self.activity.findings();
        if findings.is_empty() {
            return Ok(());
        }
        let mut texts: BTreeMap<TemplateId, Arc<str>> = BTreeMap::new();
        let mut whose = None;
        for finding in &findings {
            if whose.is_none_or(|host: &str| host != finding.host && !forest.is_shared()) {
                let templates = forest.drain(&finding.host).into_iter().flat_map(Drain::templates);
                texts = templates.map(|template| (template.cluster_id, template.text)).collect();
                whose = Some(&finding.host);
            }
            let text = texts.get(&finding.cluster).map_or("a template that is forgotten by now", |text| &**text);
            match finding.kind {
                FindingKind::BurstOver => self.over(TEMPLATE_BURST, finding, out)?,
                FindingKind::SilenceOver => self.over(TEMPLATE_SILENCE, finding, out)?,
                _ if is_history => {}
                FindingKind::Burst { z, count, mean } => self.book.fire(self.burst(finding, text, z, count, mean), finding.at, out)?,
                FindingKind::Silence { score, buckets, mean } => {
                    self.book.fire(self.silence(finding, text, score, buckets, mean), finding.at, out)?;
                }
                FindingKind::Withheld { count } => self.book.fire(self.withheld(finding, count), finding.at, out)?,
            }
        }
        Ok(())
    }

    fn over(&mut self, name: &str, finding: &Finding, out: &mut Outbox) -> Result<(), Reject> {
        let fingerprint = schemas::alert::fingerprint(name, &identity(&finding.host, &finding.cluster.to_string(), None));
        self.book.resolve(&fingerprint, finding.at, out)
    }

    fn severe(&self, line: &Line<'_>, facts: &Facts<'_>) -> AlertDraft {
        let severity = line.severity.unwrap_or_default();
        let mut draft = AlertDraft {
            name: SEVERE_LOG,
            description: format!(
                "A line of syslog severity {severity}{}. Lines of severity 0 to {SEVERE} are told at once, on known and unknown hosts alike. \
                 Look at the line itself (evidence), then at what the host wrote in the minutes before.",
                of_app(facts)
            ),
            score: f64::from(7 - severity.min(7)),
            threshold: f64::from(7 - SEVERE),
            ..self.of_line(line, facts)
        };
        if facts.is_history {
            draft.annotations.insert("backfill".into(), "true".into());
        }
        draft
    }

    fn new_template(&self, line: &Line<'_>, facts: &Facts<'_>) -> AlertDraft {
        AlertDraft {
            name: NEW_TEMPLATE,
            description: format!(
                "The first line of its kind{}, on a host that is known well enough for that to mean something. \
                 Look at the line itself (evidence): a new version says new things, and so does a new fault.",
                of_app(facts)
            ),
            score: 1.0,
            threshold: 1.0,
            ..self.of_line(line, facts)
        }
    }

    /// What the alerts of a line have in common.
    fn of_line(&self, line: &Line<'_>, facts: &Facts<'_>) -> AlertDraft {
        let template = if facts.template.is_empty() { "a line without a template" } else { facts.template };
        let texts = [("template", cut(template)), ("line", prefix(facts.message, LINE_BYTES_MAX))];
        let mut annotations: BTreeMap<_, _> = texts.map(|(key, text)| (key.to_string(), text.to_string())).into();
        annotations.extend(facts.app.map(|app| ("app".to_string(), app.to_string())));
        AlertDraft {
            severity: severity(line.severity),
            labels: identity(line.host, facts.template_id, facts.vm),
            message: format!("{}: {}", line.host, cut(template)),
            annotations,
            service: facts.app.map(Into::into),
            evidence: vec![self.evidence(line.offset)],
            resolve_after_ms: Some(RESOLVE_AFTER_MS),
            ..AlertDraft::default()
        }
    }

    fn explosion(&self, line: &Line<'_>, plot: &Plot) -> AlertDraft {
        let (templates, instance) = (plot.drain.templates().count(), &plot.catalogue.instance);
        AlertDraft {
            name: TEMPLATE_EXPLOSION,
            severity: Severity::Warning,
            labels: [("instance".to_string(), instance.clone())].into(),
            message: format!("{instance}: new templates crowd out the known ones; none are learnt for 10 minutes"),
            description: "More than a quarter of all templates were evicted within 10 minutes. Some program writes lines that never \
                          repeat, or somebody floods the log. The host that wrote the newest such line stands in the annotations; \
                          its lines without a template have the id 0000000000000000. Masks or exclude_apps help for good."
                .into(),
            annotations: [("host".to_string(), line.host.to_string()), ("templates".to_string(), templates.to_string())].into(),
            score: 0.25,
            threshold: 0.25,
            evidence: vec![self.evidence(line.offset)],
            resolve_after_ms: Some(RESOLVE_AFTER_MS),
            ..AlertDraft::default()
        }
    }

    fn burst(&self, finding: &Finding, text: &str, z: f64, count: u32, mean: f64) -> AlertDraft {
        AlertDraft {
            name: TEMPLATE_BURST,
            message: format!("{}: {count} lines in {} s instead of {mean:.1}: {}", finding.host, self.bucket_s, cut(text)),
            description: format!(
                "{count} lines of one template in one bucket, {z:.1} times the usual spread above the usual {mean:.1}. Told from \
                 {BURST_Z} in two buckets running. The newest line is the evidence; what else became frequent at the same time?"
            ),
            score: z,
            threshold: BURST_Z,
            ..self.of_finding(finding, text)
        }
    }

    fn silence(&self, finding: &Finding, text: &str, score: f64, buckets: u32, mean: f64) -> AlertDraft {
        let (bucket_s, silent_s) = (self.bucket_s, u64::from(buckets) * u64::from(self.bucket_s));
        AlertDraft {
            name: TEMPLATE_SILENCE,
            message: format!("{}: silent for {silent_s} s, usually {mean:.1} lines in {bucket_s} s: {}", finding.host, cut(text)),
            description: format!(
                "A template that was in nearly every one of 60 buckets is in none of the last {buckets}: {score:.0} lines are missing \
                 beyond what chance explains. Does the program still run, and does the host still send? Its last line is the evidence."
            ),
            score,
            threshold: SILENCE_SCORE,
            ..self.of_finding(finding, text)
        }
    }

    /// What bursts and silences have in common. They are named by the cluster, which stays when its template generalises.
    fn of_finding(&self, finding: &Finding, text: &str) -> AlertDraft {
        AlertDraft {
            severity: severity(finding.severity),
            labels: identity(&finding.host, &finding.cluster.to_string(), None),
            annotations: [("template", Some(cut(text))), ("app", finding.app.as_deref())]
                .into_iter()
                .filter_map(|(key, text)| Some((key.to_string(), text?.to_string())))
                .collect(),
            service: finding.app.as_deref().map(Into::into),
            evidence: vec![self.evidence(finding.offset)],
            ..AlertDraft::default()
        }
    }

    fn withheld(&self, finding: &Finding, count: u32) -> AlertDraft {
        AlertDraft {
            name: NEW_TEMPLATE,
            severity: Severity::Warning,
            labels: [("host".to_string(), finding.host.clone())].into(),
            message: format!("{}: {count} more new templates within {} s", finding.host, self.bucket_s),
            description: "The first ten of a bucket have alerts of their own. So many at once are a new program, an upgrade, or a fault \
                          with many voices. The newest of the others is the evidence."
                .into(),
            score: f64::from(count),
            threshold: 1.0,
            evidence: vec![self.evidence(finding.offset)],
            resolve_after_ms: Some(RESOLVE_AFTER_MS),
            ..AlertDraft::default()
        }
    }

    fn evidence(&self, offset: Offset) -> Evidence {
        Evidence { topic: self.at.topic.to_string(), partition: self.at.partition.0, offset: offset.0 }
    }
}

fn severity(syslog: Option<u8>) -> Severity {
    match syslog {
        Some(0..=2) => Severity::Critical,
        Some(3) => Severity::High,
        Some(4) => Severity::Warning,
        _ => Severity::Info,
    }
}

fn identity(host: &str, template_id: &str, vm: Option<&str>) -> BTreeMap<String, String> {
    let labels = [("host", Some(host)), ("template_id", Some(template_id)), ("vm", vm)];
    labels.into_iter().filter_map(|(key, value)| Some((key.to_string(), value?.to_string()))).collect()
}

fn of_app(facts: &Facts<'_>) -> String {
    facts.app.map_or_else(String::new, |app| format!(" from {app}"))
}

fn cut(template: &str) -> &str {
    prefix(template, TEMPLATE_BYTES_MAX)
}

fn prefix(text: &str, bytes_max: usize) -> &str {
    text.get(..text.floor_char_boundary(bytes_max)).unwrap_or_default()
}

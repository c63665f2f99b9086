//! From scores to alerts.

use std::collections::BTreeMap;

use schemas::{EventTime, Evidence, FailureClass, Severity, TemplateId, alert, topics};
use serde::{Deserialize, Serialize};
use stream_core::{AlertBook, AlertDraft, Outbox, Reject};

use crate::{
    host::Heard,
    sequence::Assessment,
    store::{M, Window},
    vocabulary::Vocabulary,
};

/// Score from which a prediction gets somebody up.
const CRITICAL: f64 = 0.9;
/// Profile from which a window is unlike everything before.
pub(crate) const NOVEL: f64 = 0.9;
/// Predictions that feedback can still speak of, the longest silent is forgotten.
pub(crate) const PREDICTIONS_MAX: usize = 1_024;
/// Windows and deciding templates that are remembered of a prediction, the latest.
pub(crate) const WINDOWS_MAX: usize = 8;
/// Bytes of a template in an alert.
const TEMPLATE_BYTES_MAX: usize = 512;

const FAILURE_PREDICTED: &str = "FailurePredicted";
const LOG_SEQUENCE_NOVEL: &str = "LogSequenceNovel";

/// A prediction that was told.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Prediction {
    pub host: String,
    /// The templates that decided.
    pub deciding: Vec<TemplateId>,
    pub windows: Vec<Window>,
    fired_at: EventTime,
    /// A person called it false: it ends with the next watermark.
    pub is_disowned: bool,
}

/// The alerts of one instance.
#[derive(Debug)]
pub(crate) struct Predictions {
    pub book: AlertBook,
    pub told: BTreeMap<String, Prediction>,
    resolve_after_ms: i64,
}

/// What an alert says about the line and its surroundings.
pub(crate) struct Facts<'a> {
    pub host: &'a str,
    pub class: FailureClass,
    /// The lines of the window, newest first, in step with the shares of the assessment.
    pub heard: &'a [Heard],
    pub is_history: bool,
}

impl Predictions {
    pub(crate) fn new(book: AlertBook, resolve_after_s: u32) -> Self {
        Self { book, told: BTreeMap::new(), resolve_after_ms: i64::from(resolve_after_s) * 1_000 }
    }

    /// A failure is foreseen.
    pub(crate) fn failure(
        &mut self,
        assessment: &Assessment,
        facts: &Facts<'_>,
        time: EventTime,
        vocabulary: &Vocabulary,
        out: &mut Outbox,
    ) -> Result<(), Reject> {
        let draft = self.predicted(assessment, facts, vocabulary);
        let fingerprint = alert::fingerprint(draft.name, &draft.labels);
        self.book.fire(draft, time, out)?;
        let told = self.told.entry(fingerprint).or_insert_with(|| Prediction {
            host: facts.host.into(),
            deciding: Vec::new(),
            windows: Vec::new(),
            fired_at: time,
            is_disowned: false,
        });
        (told.fired_at, told.is_disowned) = (told.fired_at.max(time), false);
        remember(&mut told.deciding, assessment.deciding().map(|share| share.line.template));
        remember(&mut told.windows, assessment.window);
        if self.told.len() > PREDICTIONS_MAX {
            let oldest = self.told.iter().min_by_key(|(_, told)| told.fired_at).map(|(fingerprint, _)| fingerprint.clone());
            oldest.and_then(|fingerprint| self.told.remove(&fingerprint));
        }
        Ok(())
    }

    /// Windows have been unlike everything before for some time, and nothing in them sounds like a failure.
    pub(crate) fn novel(
        &mut self,
        assessment: &Assessment,
        facts: &Facts<'_>,
        time: EventTime,
        vocabulary: &Vocabulary,
        out: &mut Outbox,
    ) -> Result<(), Reject> {
        let draft = AlertDraft {
            name: LOG_SEQUENCE_NOVEL,
            severity: Severity::Info,
            labels: [("host".to_string(), facts.host.to_string())].into(),
            message: format!("{}: {M} windows running are unlike everything before", facts.host),
            description: "What this host says now it never said before, though no line of it sounds like a failure. A new program or a \
                          new version says new things."
                .into(),
            score: assessment.profile.distance,
            threshold: NOVEL,
            ..self.common(assessment, facts, vocabulary)
        };
        self.book.fire(draft, time, out)
    }

    /// Event time has come to `now`. Ends what is over, what a person called false, and what nobody believes any more:
    /// `is_cleared` says whether a template has been called normal by now.
    pub(crate) fn on_watermark(&mut self, now: EventTime, is_cleared: impl Fn(TemplateId) -> bool, out: &mut Outbox) -> Result<(), Reject> {
        let is_over = |told: &Prediction| told.is_disowned || told.deciding.iter().all(|template| is_cleared(*template));
        let over: Vec<(String, bool)> = self
            .told
            .iter()
            .filter(|(fingerprint, told)| self.book.is_open(fingerprint) && is_over(told))
            .map(|(fingerprint, told)| (fingerprint.clone(), told.is_disowned))
            .collect();
        for (fingerprint, is_disowned) in over {
            let why = if is_disowned { "a person called it a false alarm" } else { "every template that decided is called normal now" };
            self.book.annotate(&fingerprint, "retracted", why);
            self.book.resolve(&fingerprint, now, out)?;
        }
        self.book.on_watermark(now, out)
    }

    fn predicted(&self, assessment: &Assessment, facts: &Facts<'_>, vocabulary: &Vocabulary) -> AlertDraft {
        let deciding = assessment.deciding();
        let place = deciding.and_then(|share| facts.heard.iter().find(|heard| heard.template == share.line.template));
        let (app, vm) = place.map_or((None, None), |heard| (heard.app.as_deref(), heard.vm.as_deref()));
        let text = deciding.map_or("", |share| text(vocabulary, share.line.template));
        let labels = [("host", Some(facts.host)), ("vm", vm), ("app", app), ("failure_class", Some(facts.class.name()))];
        let whom = vm.map_or_else(String::new, |vm| format!(" ({vm})"));
        AlertDraft {
            name: FAILURE_PREDICTED,
            severity: if assessment.score >= CRITICAL { Severity::Critical } else { Severity::High },
            labels: labels.into_iter().filter_map(|(key, value)| Some((key.to_string(), value?.to_string()))).collect(),
            message: format!("{}{whom}: failure foreseen, {}: {text}", facts.host, facts.class.name()),
            description: format!(
                "The last lines of this host tell of a failure (score {:.2}, told from {:.2}) and are {:.0} % unlike everything it said while it \
                 was well. The annotations name the lines with their probabilities and the nearest that it said before. If it is no failure: \
                 nephoscope feedback false_alarm <fingerprint>.",
                assessment.score,
                assessment.threshold,
                100.0 * assessment.profile.distance
            ),
            service: app.map(Into::into),
            score: assessment.score,
            threshold: assessment.threshold,
            ..self.common(assessment, facts, vocabulary)
        }
    }

    /// What both alerts say about their window.
    fn common(&self, assessment: &Assessment, facts: &Facts<'_>, vocabulary: &Vocabulary) -> AlertDraft {
        let share = |share: &crate::sequence::Share| {
            let (line, text) = (share.line, text(vocabulary, share.line.template));
            format!(
                "{} p {:.2} ({}) ν {:.2} weight {:.2}: {text}",
                line.template,
                line.probability,
                line.provider.name(),
                share.novelty,
                share.weight
            )
        };
        let lines = |lines: Vec<String>| lines.join("\n");
        let mut annotations = BTreeMap::from([
            ("templates".to_string(), lines(assessment.shares.iter().map(share).collect())),
            ("profile".to_string(), format!("{:.3}", assessment.profile.distance)),
        ]);
        if let Some(nearest) = assessment.profile.nearest {
            annotations.insert("nearest".into(), lines(nearest.templates().iter().map(|id| text(vocabulary, *id).to_string()).collect()));
        }
        if let Some(deciding) = assessment.deciding() {
            annotations.insert("probability".into(), format!("{:.3}", deciding.line.probability));
            annotations.insert("provider".into(), deciding.line.provider.name().into());
        }
        if facts.is_history {
            annotations.insert("backfill".into(), "true".into());
        }
        let evidence =
            |heard: &Heard| Evidence { topic: topics::LOGS_RAW.into(), partition: heard.raw_partition, offset: heard.raw_offset };
        AlertDraft {
            annotations,
            evidence: facts.heard.iter().map(evidence).collect(),
            resolve_after_ms: Some(self.resolve_after_ms),
            ..AlertDraft::default()
        }
    }
}

/// The latest few, without repeats.
fn remember<T: PartialEq>(list: &mut Vec<T>, item: Option<T>) {
    let Some(item) = item.filter(|item| !list.contains(item)) else { return };
    list.push(item);
    if list.len() > WINDOWS_MAX {
        list.remove(0);
    }
}

fn text(vocabulary: &Vocabulary, id: TemplateId) -> &str {
    let text = vocabulary.text(id).map_or("a template that is forgotten by now", |text| &**text);
    text.get(..text.floor_char_boundary(TEMPLATE_BYTES_MAX)).unwrap_or_default()
}

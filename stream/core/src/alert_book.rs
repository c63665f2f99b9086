//! The open alerts of an instance: what fires, repeats and resolves, and how much of it people get to see.
//!
//! A processor says "this is wrong" as often as it likes; the book turns that into one firing alert, a repeat every five
//! minutes of event time or when the severity changes, and exactly one resolved alert. Per host it lets through at most
//! 20 new alerts below severity high in 10 minutes; the rest is folded into one `AlertBudgetExceeded`.

use std::collections::BTreeMap;

use schemas::{Alert, AlertStatus, EventTime, Evidence, Model, Severity, alert};
use serde::{Deserialize, Serialize};

use crate::{Outbox, Reject, RejectReason, SnapshotReader, SnapshotWriter, StateError};

/// Open alerts at most; beyond, the oldest of the lowest severity resolves (before all others those that nobody saw).
pub const OPEN_MAX: usize = 10_000;
/// Bytes of text in open alerts at most, with the same consequence: 1.6 KiB each when all [`OPEN_MAX`] are open.
pub const OPEN_BYTES_MAX: usize = 16 << 20;
/// Alerts that one watermark resolves at most: one record may cause 10,000 outputs and 8 MiB, and others want theirs too.
const RESOLVED_MAX: usize = 1_000;
/// Bytes of their texts.
const RESOLVED_BYTES_MAX: usize = 1 << 20;
/// A firing alert is repeated after this much event time.
pub const REPEAT_MS: i64 = 300_000;
/// New alerts per host and window, below severity high.
pub const BUDGET_PER_HOST: u32 = 20;
/// The budget's window.
pub const BUDGET_WINDOW_MS: i64 = 600_000;
/// Hosts whose budget is remembered; beyond, the one whose window began first is forgotten.
const BUDGET_HOSTS_MAX: usize = 4_096;
/// Bytes of one host's budget in a snapshot: its name, escaped, and [`FOLDED_NAMES_MAX`] names of at most 128 bytes.
const BUDGET_BYTES_MAX: usize = 600 + FOLDED_NAMES_MAX * 160;
/// Annotations of a draft: the book adds `count` and `closed`.
const DRAFT_ANNOTATIONS_MAX: usize = alert::ANNOTATIONS_MAX - 2;
/// Names kept in a folded alert.
const FOLDED_NAMES_MAX: usize = 16;
/// The name of the alert that stands for those which the budget held back.
pub const BUDGET_EXCEEDED: &str = "AlertBudgetExceeded";

/// A trouble as a processor sees it.
#[derive(Debug, Clone, Default)]
pub struct AlertDraft {
    /// Kind of trouble, UpperCamelCase.
    pub name: &'static str,
    /// How bad.
    pub severity: Severity,
    /// Identity; label `host` is what the budget counts by.
    pub labels: BTreeMap<String, String>,
    /// One line: what and where.
    pub message: String,
    /// Why, what is normal, what to look at next.
    pub description: String,
    /// Everything else; at most 30 entries.
    pub annotations: BTreeMap<String, String>,
    /// The service that it concerns.
    pub service: Option<String>,
    /// The value that was compared.
    pub score: f64,
    /// What it was compared with.
    pub threshold: f64,
    /// The records that it rests on.
    pub evidence: Vec<Evidence>,
    /// Resolve by itself after this much event time without recurrence; none waits for [`AlertBook::resolve`].
    pub resolve_after_ms: Option<i64>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Open {
    alert: Alert,
    emitted_at: EventTime,
    resolve_after_ms: Option<i64>,
    /// When it was last seen, in the time of the watermark: an alert of a host whose clock is slow is not over at once.
    quiet_from: EventTime,
    /// How often it was seen.
    count: u64,
    /// The budget held it back: nobody was told that it fires, so nobody is told that it ended.
    held_back: bool,
}

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
struct Budget {
    since: EventTime,
    spent: u32,
    folded: BTreeMap<String, u64>,
}

/// The open alerts of one instance. Part of its state.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct AlertBook {
    #[serde(skip)]
    model: Model,
    open: BTreeMap<String, Open>,
    budgets: BTreeMap<String, Budget>,
    /// The last one that came.
    watermark: EventTime,
    /// Sum of [`Open::bytes`].
    #[serde(skip)]
    open_bytes: usize,
}

impl AlertBook {
    /// The largest section that [`AlertBook::snapshot`] writes. JSON doubles the bytes of a text at most: control
    /// characters are escaped before they get here.
    pub const STATE_BYTES_BOUND: u64 = (2 * OPEN_BYTES_MAX + BUDGET_HOSTS_MAX * BUDGET_BYTES_MAX) as u64;

    /// An empty book; `model` is what decides in this processor.
    pub fn new(model: Model) -> Self {
        Self { model, ..Self::default() }
    }

    /// Number of open alerts.
    pub fn open_count(&self) -> usize {
        self.open.len()
    }

    /// Whether the trouble with this fingerprint is open.
    pub fn is_open(&self, fingerprint: &str) -> bool {
        self.open.contains_key(fingerprint)
    }

    /// The trouble is there, or still there, at event time `now`.
    ///
    /// # Errors
    /// If the alert breaks its contract (the book is then as it was) or an output limit.
    pub fn fire(&mut self, draft: AlertDraft, now: EventTime, out: &mut Outbox) -> Result<(), Reject> {
        let now = whole_millis(now);
        let resolve_after_ms = draft.resolve_after_ms;
        let alert = self.alert(draft, now)?;
        if let Some(open) = self.open.get_mut(&alert.fingerprint) {
            let before = open.bytes();
            open.quiet_from = now.max(self.watermark);
            let outcome = open.recur(alert, out);
            self.open_bytes = self.open_bytes - before + open.bytes();
            return outcome;
        }
        let host = alert.labels.get("host").cloned().unwrap_or_default();
        let held_back = alert.severity < Severity::High && !self.spend(&host, &alert.name, now);
        let folded = held_back.then(|| self.budget_exceeded(&host));
        let quiet_from = now.max(self.watermark);
        let open = Open { alert, emitted_at: now, resolve_after_ms, quiet_from, count: 1, held_back };
        while self.open.len() >= OPEN_MAX || (!self.open.is_empty() && self.open_bytes + open.bytes() > OPEN_BYTES_MAX) {
            self.close_least(now, out)?;
        }
        if !held_back {
            out.alert(open.alert.clone())?;
        }
        self.open_bytes += open.bytes();
        self.open.insert(open.alert.fingerprint.clone(), open);
        folded.map_or(Ok(()), |draft| self.fire(draft, now, out))
    }

    /// Adds a note to an open alert, told with its next word. Nothing happens if it is not open.
    pub fn annotate(&mut self, fingerprint: &str, name: &str, note: &str) {
        let Some(open) = self.open.get_mut(fingerprint) else { return };
        let before = open.bytes();
        open.alert.annotations.insert(name.into(), note.into());
        self.open_bytes = self.open_bytes - before + open.bytes();
    }

    /// The trouble is over. Nothing happens if it was not open.
    ///
    /// # Errors
    /// If an output limit is broken.
    pub fn resolve(&mut self, fingerprint: &str, now: EventTime, out: &mut Outbox) -> Result<(), Reject> {
        let Some(open) = self.open.remove(fingerprint) else {
            return Ok(());
        };
        self.open_bytes -= open.bytes();
        if open.held_back { Ok(()) } else { out.alert(open.resolved(whole_millis(now))) }
    }

    /// Event time moved: alerts that have not recurred for long enough resolve, at most as many at once as one record may
    /// cause; the others with the next watermark.
    ///
    /// # Errors
    /// If an output limit is broken.
    pub fn on_watermark(&mut self, now: EventTime, out: &mut Outbox) -> Result<(), Reject> {
        self.watermark = self.watermark.max(whole_millis(now));
        let quiet = |open: &Open| open.resolve_after_ms.is_some_and(|after| self.watermark.millis_since(open.quiet_from) >= after);
        let mut bytes = 0;
        let ended: Vec<String> = self
            .open
            .iter()
            .filter(|(_, open)| quiet(open))
            .take_while(|(_, open)| {
                bytes += open.bytes();
                bytes <= RESOLVED_BYTES_MAX
            })
            .take(RESOLVED_MAX)
            .map(|(fingerprint, _)| fingerprint.clone())
            .collect();
        for fingerprint in ended {
            self.resolve(&fingerprint, now, out)?;
        }
        Ok(())
    }

    /// Writes the book as section `alerts`.
    ///
    /// # Errors
    /// If it cannot be encoded.
    pub fn snapshot(&self, w: &mut SnapshotWriter) -> Result<(), StateError> {
        let bytes = serde_json::to_vec(self).map_err(|error| damaged(error.to_string()))?;
        w.section(SECTION).extend(bytes);
        Ok(())
    }

    /// Reads the section `alerts`.
    ///
    /// # Errors
    /// If it is missing or damaged.
    pub fn restore(r: &SnapshotReader<'_>, model: Model) -> Result<Self, StateError> {
        let book: Self = serde_json::from_slice(r.require(SECTION)?).map_err(|error| damaged(error.to_string()))?;
        if book.open.len() > OPEN_MAX || book.budgets.len() > BUDGET_HOSTS_MAX {
            let found = format!("{} open alerts and {} budgets", book.open.len(), book.budgets.len());
            return Err(damaged(format!("{found}, at most {OPEN_MAX} and {BUDGET_HOSTS_MAX} are possible")));
        }
        let open_bytes = book.open.values().map(Open::bytes).sum();
        Ok(Self { model, open_bytes, ..book })
    }

    /// The draft as an alert that keeps the contract: texts are escaped and cut before they are kept, not only before
    /// they are sent.
    fn alert(&self, draft: AlertDraft, now: EventTime) -> Result<Alert, Reject> {
        let annotations = draft.annotations.len();
        if annotations > DRAFT_ANNOTATIONS_MAX {
            let detail = format!("alert {} has {annotations} annotations, at most {DRAFT_ANNOTATIONS_MAX} are allowed", draft.name);
            return Err(Reject::new(RejectReason::InvalidField, detail));
        }
        let mut alert = Alert {
            fingerprint: alert::fingerprint(draft.name, &draft.labels),
            name: draft.name.into(),
            status: AlertStatus::Firing,
            severity: draft.severity,
            started_at: now,
            last_received: now,
            environment: "default".into(),
            service: draft.service.unwrap_or_else(|| "unknown".into()),
            message: draft.message,
            description: draft.description,
            labels: draft.labels,
            annotations: draft.annotations,
            score: draft.score,
            threshold: draft.threshold,
            evidence: draft.evidence,
            model: self.model.clone(),
            ..Alert::default()
        };
        alert.sanitize().map_err(|error| Reject::new(RejectReason::InvalidField, error.to_string()))?;
        Ok(alert)
    }

    /// Takes one from the host's budget; false if there is none left.
    fn spend(&mut self, host: &str, name: &str, now: EventTime) -> bool {
        if !self.budgets.contains_key(host) && self.budgets.len() >= BUDGET_HOSTS_MAX {
            let oldest = self.budgets.iter().min_by_key(|(_, budget)| budget.since).map(|(host, _)| host.clone());
            oldest.and_then(|host| self.budgets.remove(&host));
        }
        let budget = self.budgets.entry(host.into()).or_insert_with(|| Budget { since: now, ..Budget::default() });
        // A clock that was far ahead must not keep the budget spent for ever.
        if now.millis_since(budget.since).saturating_abs() >= BUDGET_WINDOW_MS {
            *budget = Budget { since: now, ..Budget::default() };
        }
        if name == BUDGET_EXCEEDED || budget.spent < BUDGET_PER_HOST {
            budget.spent += u32::from(name != BUDGET_EXCEEDED);
            return true;
        }
        if budget.folded.len() < FOLDED_NAMES_MAX || budget.folded.contains_key(name) {
            *budget.folded.entry(name.into()).or_default() += 1;
        }
        false
    }

    fn budget_exceeded(&self, host: &str) -> AlertDraft {
        let folded = self.budgets.get(host).map(|budget| budget.folded.clone()).unwrap_or_default();
        let total: u64 = folded.values().sum();
        AlertDraft {
            name: BUDGET_EXCEEDED,
            severity: Severity::Warning,
            labels: [("host".to_string(), host.to_string())].into(),
            message: format!("{host}: more than {BUDGET_PER_HOST} new alerts in 10 minutes, {total} held back"),
            description: "Alerts of severity high and critical are never held back. The annotations name what was, and how often.".into(),
            annotations: folded.into_iter().map(|(name, count)| (name, count.to_string())).collect(),
            score: f64::from(BUDGET_PER_HOST) + total as f64,
            threshold: f64::from(BUDGET_PER_HOST),
            resolve_after_ms: Some(BUDGET_WINDOW_MS),
            ..AlertDraft::default()
        }
    }

    /// Resolves the oldest alert of the lowest severity, to make room.
    fn close_least(&mut self, now: EventTime, out: &mut Outbox) -> Result<(), Reject> {
        let key = |open: &Open| (!open.held_back, open.alert.severity, open.alert.started_at);
        let Some(least) = self.open.iter().min_by_key(|(_, open)| key(open)).map(|(fingerprint, _)| fingerprint.clone()) else {
            return Ok(());
        };
        if let Some(open) = self.open.get_mut(&least) {
            let before = open.bytes();
            let limits = format!("more than {OPEN_MAX} alerts or {OPEN_BYTES_MAX} bytes of them are open");
            open.alert.annotations.insert("closed".into(), limits);
            self.open_bytes = self.open_bytes - before + open.bytes();
        }
        self.resolve(&least, now, out)
    }
}

const SECTION: &str = "alerts";

fn damaged(detail: String) -> StateError {
    StateError::Damaged { section: SECTION.into(), detail }
}

/// The contract gives alerts milliseconds; the book counts in them too, so that it comes back from JSON as it was.
fn whole_millis(time: EventTime) -> EventTime {
    EventTime::from_millis(time.millis())
}

impl Open {
    /// Bytes of its texts, and what stands around them in a snapshot.
    fn bytes(&self) -> usize {
        const FRAME_BYTES: usize = 680;
        const EVIDENCE_BYTES: usize = 64;
        let alert = &self.alert;
        let entries = |entries: &BTreeMap<String, String>| entries.iter().map(|(key, value)| key.len() + value.len() + 8).sum::<usize>();
        let texts = alert.name.len() + alert.service.len() + alert.message.len() + alert.description.len();
        let model = alert.model.name.len() + alert.model.version.len() + alert.model.config_hash.len();
        let evidence: usize = alert.evidence.iter().map(|evidence| evidence.topic.len() + EVIDENCE_BYTES).sum();
        FRAME_BYTES + texts + model + evidence + entries(&alert.labels) + entries(&alert.annotations)
    }

    /// Seen again: repeats the alert if its severity changed or enough time went by. What the budget held back stays
    /// silent unless it has become high or critical: those are never held back.
    fn recur(&mut self, seen: Alert, out: &mut Outbox) -> Result<(), Reject> {
        let now = seen.last_received;
        let other_severity = seen.severity != self.alert.severity;
        let due = now.millis_since(self.emitted_at) >= REPEAT_MS;
        let evidence = if seen.evidence.is_empty() { std::mem::take(&mut self.alert.evidence) } else { seen.evidence };
        self.count += 1;
        self.alert = Alert { started_at: self.alert.started_at, last_received: self.alert.last_received.max(now), evidence, ..seen };
        self.alert.annotations.insert("count".into(), self.count.to_string());
        let silent = self.held_back && self.alert.severity < Severity::High;
        if silent || !(other_severity || due) {
            return Ok(());
        }
        self.held_back = false;
        self.emitted_at = now;
        out.alert(self.alert.clone())
    }

    fn resolved(self, now: EventTime) -> Alert {
        let ends_at = now.max(self.alert.last_received);
        let mut alert = Alert { status: AlertStatus::Resolved, ends_at: Some(ends_at), ..self.alert };
        alert.annotations.insert("count".into(), self.count.to_string());
        alert
    }
}

#[cfg(test)]
mod tests;

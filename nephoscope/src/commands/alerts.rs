//! `alerts list` and `alerts show`: what is or was wrong, and what it rests on.

use std::{collections::BTreeMap, time::Duration};

use anyhow::bail;
use schemas::{Alert, AlertStatus, Evidence, Severity, topics};
use serde::Serialize;
use stream_runtime::time::wall_clock;

use crate::{
    cli::{AlertsList, AlertsShow},
    moment::{ago, lasting, local},
    origin::{Origin, Topic},
    output::{Cell, FAINT, HEAD, Output, Table, plain, severity_style, status_style, styled},
    record::Record,
    redact::Redactor,
};

/// What is listed if nothing is said.
const SINCE_DEFAULT_MS: i64 = 24 * 3_600_000;
/// Digits of a fingerprint that tell alerts apart for people.
const SHORT_DIGITS: usize = 10;

/// Lists each alert by its last word.
pub fn list(args: &AlertsList, origin: &Origin, redactor: &Redactor, out: &mut Output) -> anyhow::Result<()> {
    let now = wall_clock();
    let since = args.since.unwrap_or_else(|| now.plus_millis(-SINCE_DEFAULT_MS));
    let mut last = BTreeMap::new();
    origin.scan_since(&origin.topic(topics::ALERTS)?, Some(since), |record| {
        if let Some(alert) = record.value_as::<Alert>() {
            last.insert(alert.fingerprint.clone(), alert);
        }
        Ok(())
    })?;
    let status = args.status.map(AlertStatus::from);
    let severity = args.severity.map(Severity::from);
    let is_meant =
        |alert: &Alert| status.is_none_or(|status| alert.status == status) && severity.is_none_or(|least| alert.severity >= least);
    let mut alerts: Vec<Alert> = last.into_values().filter(is_meant).collect();
    alerts.iter_mut().for_each(|alert| redactor.alert(alert));
    alerts.sort_by(|a, b| (b.last_received, &a.fingerprint).cmp(&(a.last_received, &b.fingerprint)));
    if out.is_json() {
        return Ok(out.document(&alerts)?);
    }
    if alerts.is_empty() {
        return Ok(out.line(format!("no such alerts since {}", local(since)))?);
    }
    let mut table = Table::new(&["FINGERPRINT", "SEVERITY", "STATUS", "LAST", "HOST", "NAME", "MESSAGE"]);
    for alert in &alerts {
        table.row([
            alert.fingerprint.chars().take(SHORT_DIGITS).collect::<String>().into(),
            Cell::styled(severity_style(alert.severity), alert.severity.to_string()),
            Cell::styled(status_style(alert.status), alert.status.to_string()),
            ago(alert.last_received, now).into(),
            alert.labels.get("host").map_or_else(|| "-".into(), |host| plain(host)).into(),
            Cell::styled(HEAD, plain(&alert.name)),
            plain(&alert.message).into(),
        ]);
    }
    out.table(&table)?;
    if out.is_terminal() {
        out.line(styled(FAINT, "nephoscope alerts show FINGERPRINT says why"))?;
    }
    Ok(())
}

/// An alert with everything that belongs to it.
#[derive(Debug, Serialize)]
struct Whole {
    alert: Alert,
    /// All that was said about it, oldest first.
    history: Vec<Word>,
    /// The records that it rests on; none where retention has removed one.
    evidence: Vec<Ground>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Word {
    id: String,
    at: schemas::EventTime,
    status: AlertStatus,
    severity: Severity,
    message: String,
}

#[derive(Debug, Serialize)]
struct Ground {
    #[serde(flatten)]
    place: Evidence,
    record: Option<Record>,
}

/// Shows one alert whole.
pub fn show(args: &AlertsShow, origin: &Origin, redactor: &Redactor, out: &mut Output) -> anyhow::Result<()> {
    let topic = origin.topic(topics::ALERTS)?;
    let (alert, history) = find(&args.alert, origin, redactor, &topic)?;
    let topics = origin.topics()?;
    let mut evidence = Vec::new();
    for place in &alert.evidence {
        let mut record = record_at(origin, &topics, place)?;
        record.iter_mut().for_each(|record| redactor.record(record));
        evidence.push(Ground { place: place.clone(), record });
    }
    let whole = Whole { alert, history, evidence };
    if out.is_json() { Ok(out.document(&whole)?) } else { print(&whole, out) }
}

/// The alert whose id or fingerprint begins so: the last word about it, or the very word if the id is whole.
pub(super) fn find(wanted: &str, origin: &Origin, redactor: &Redactor, topic: &Topic) -> anyhow::Result<(Alert, Vec<Word>)> {
    let wanted = wanted.trim().to_ascii_lowercase();
    let mut found: Vec<String> = Vec::new();
    visit(origin, topic, |alert| {
        let is_meant = alert.fingerprint.starts_with(&wanted) || alert.id.starts_with(&wanted);
        if is_meant && !found.contains(&alert.fingerprint) {
            found.push(alert.fingerprint);
        }
    })?;
    let fingerprint = match found.as_slice() {
        [] => bail!("no alert begins with {wanted:?}; `nephoscope alerts list --since 30d` shows those there are"),
        [fingerprint] => fingerprint,
        several => {
            let names = several.iter().take(5).map(|fingerprint| fingerprint.as_str()).collect::<Vec<_>>().join(", ");
            bail!("{} alerts begin with {wanted:?}: {names}{}", several.len(), if several.len() > 5 { " …" } else { "" });
        }
    };
    // An id names one word of several, so what belongs to the fingerprint is known only now.
    let (mut last, mut named, mut history) = (None, None, Vec::new());
    visit(origin, topic, |mut alert| {
        if alert.fingerprint != *fingerprint {
            return;
        }
        redactor.alert(&mut alert);
        let (id, message) = (alert.id.clone(), alert.message.clone());
        history.push(Word { id, at: alert.last_received, status: alert.status, severity: alert.severity, message });
        if alert.id == wanted {
            named = Some(alert.clone());
        }
        last = Some(alert);
    })?;
    let alert = named.or(last).ok_or_else(|| anyhow::anyhow!("alert {fingerprint} has just been removed by retention"))?;
    Ok((alert, history))
}

fn visit(origin: &Origin, topic: &Topic, mut visit: impl FnMut(Alert)) -> anyhow::Result<()> {
    origin.scan_since(topic, None, |record| {
        record.value_as().into_iter().for_each(&mut visit);
        Ok(())
    })
}

/// A record, if its topic still keeps it.
fn record_at(origin: &Origin, topics: &[Topic], place: &Evidence) -> anyhow::Result<Option<Record>> {
    let topic = topics.iter().find(|topic| topic.name == place.topic);
    if !topic.is_some_and(|topic| topic.partitions.iter().any(|part| part.partition == place.partition)) {
        return Ok(None);
    }
    let records = origin.read(&place.topic, place.partition, place.offset, 1, Duration::ZERO)?;
    Ok(records.into_iter().find(|record| record.offset == place.offset))
}

fn print(whole: &Whole, out: &mut Output) -> anyhow::Result<()> {
    let Whole { alert, history, evidence } = whole;
    let severity = styled(severity_style(alert.severity), alert.severity.to_string());
    let status = styled(status_style(alert.status), alert.status.to_string());
    out.line(format!("{}  {severity}  {status}", styled(HEAD, plain(&alert.name))))?;
    out.line(plain(&alert.message))?;
    for line in alert.description.lines() {
        out.line(format!("  {}", plain(line)))?;
    }
    out.line("")?;
    let end = alert.ends_at.unwrap_or(alert.last_received);
    let mut table = Table::new(&["", ""]);
    let mut say = |name: &str, value: String| table.row([Cell::styled(FAINT, name), value.into()]);
    say("started", format!("{}, {}", local(alert.started_at), ago(alert.started_at, wall_clock())));
    say(if alert.ends_at.is_some() { "ended" } else { "last seen" }, format!("{} (lasted {})", local(end), lasting(alert.started_at, end)));
    say("score", format!("{:.3}, threshold {:.3}", alert.score, alert.threshold));
    if let Some(lead) = alert.lead_time_seconds {
        say("lead time", crate::moment::span(lead as i64));
    }
    say("decided by", format!("{} {}", plain(&alert.model.name), plain(&alert.model.version)));
    say("service", format!("{} ({})", plain(&alert.service), plain(&alert.environment)));
    say("id", plain(&alert.id));
    say("fingerprint", plain(&alert.fingerprint));
    for (name, value) in alert.labels.iter().chain(&alert.annotations) {
        say(&plain(name), plain(value));
    }
    out.rows(&table)?;
    out.line("")?;
    out.line(styled(HEAD, format!("What was said ({})", history.len())))?;
    for word in history {
        let severity = styled(severity_style(word.severity), word.severity.to_string());
        out.line(format!("  {} {severity} {} {}", styled(FAINT, local(word.at)), word.status, plain(&word.message)))?;
    }
    out.line("")?;
    out.line(styled(HEAD, format!("Evidence ({})", evidence.len())))?;
    for Ground { place, record } in evidence {
        match record {
            Some(record) => out.line(format!("  {}", record.line()))?,
            None => {
                let place = format!("{}/{}/{}", plain(&place.topic), place.partition, place.offset);
                out.line(styled(FAINT, format!("  {place} is no longer kept")))?;
            }
        }
    }
    Ok(())
}

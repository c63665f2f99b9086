//! `incidents list` and `incidents show`: alerts of one story together, and what probably caused them.

use std::collections::BTreeMap;

use anyhow::bail;
use schemas::{AlertStatus, Incident, IncidentStatus, Severity, topics};
use stream_runtime::time::wall_clock;

use crate::{
    cli::{IncidentsList, IncidentsShow},
    moment::{ago, lasting, local},
    origin::Origin,
    output::{Cell, FAINT, GOOD, HEAD, Output, PLAIN, Table, plain, severity_style, status_style, styled},
    redact::Redactor,
};

/// What is listed if nothing is said.
const SINCE_DEFAULT_MS: i64 = 24 * 3_600_000;
/// Digits of an id that tell incidents apart for people.
const SHORT_DIGITS: usize = 10;

/// Lists each incident by its last word.
pub fn list(args: &IncidentsList, origin: &Origin, redactor: &Redactor, out: &mut Output) -> anyhow::Result<()> {
    let now = wall_clock();
    let since = args.since.unwrap_or_else(|| now.plus_millis(-SINCE_DEFAULT_MS));
    let mut last = BTreeMap::new();
    origin.scan_since(&origin.topic(topics::INCIDENTS)?, Some(since), |record| {
        if let Some(incident) = record.value_as::<Incident>() {
            last.insert(incident.id.clone(), incident);
        }
        Ok(())
    })?;
    let status = args.status.map(IncidentStatus::from);
    let severity = args.severity.map(Severity::from);
    // What goes on in another incident is listed there.
    let is_meant = |incident: &Incident| {
        incident.merged_into.is_none()
            && status.is_none_or(|status| incident.status == status)
            && severity.is_none_or(|least| incident.severity >= least)
    };
    let mut incidents: Vec<Incident> = last.into_values().filter(is_meant).collect();
    incidents.iter_mut().for_each(|incident| redactor.incident(incident));
    let is_over = |incident: &Incident| incident.status == IncidentStatus::Resolved;
    incidents.sort_by(|a, b| (is_over(a), b.started_at, &a.id).cmp(&(is_over(b), a.started_at, &b.id)));
    if out.is_json() {
        return Ok(out.document(&incidents)?);
    }
    if incidents.is_empty() {
        return Ok(out.line(format!("no such incidents since {}", local(since)))?);
    }
    let mut table = Table::new(&["ID", "SEVERITY", "STATUS", "BEGAN", "ALERTS", "PROBABLE CAUSE", "WHAT"]);
    for incident in &incidents {
        table.row([
            incident.id.chars().take(SHORT_DIGITS).collect::<String>().into(),
            Cell::styled(severity_style(incident.severity), incident.severity.to_string()),
            status_cell(incident.status),
            ago(incident.started_at, now).into(),
            incident.alerts_total.to_string().into(),
            Cell::styled(HEAD, incident.causes.first().map_or_else(|| "-".into(), |cause| plain(&cause.node.to_string()))),
            plain(&incident.title).into(),
        ]);
    }
    out.table(&table)?;
    if out.is_terminal() {
        out.line(styled(FAINT, "nephoscope incidents show ID says why and how it went"))?;
    }
    Ok(())
}

/// Shows one incident whole.
pub fn show(args: &IncidentsShow, origin: &Origin, redactor: &Redactor, out: &mut Output) -> anyhow::Result<()> {
    let mut incident = find(&args.incident, origin)?;
    redactor.incident(&mut incident);
    if out.is_json() { Ok(out.document(&incident)?) } else { print(&incident, out) }
}

/// The last word about the incident whose id begins so.
fn find(wanted: &str, origin: &Origin) -> anyhow::Result<Incident> {
    let wanted = wanted.trim().to_ascii_lowercase();
    let mut found: BTreeMap<String, Incident> = BTreeMap::new();
    origin.scan_since(&origin.topic(topics::INCIDENTS)?, None, |record| {
        let incident = record.value_as::<Incident>().filter(|incident| incident.id.starts_with(&wanted));
        found.extend(incident.map(|incident| (incident.id.clone(), incident)));
        Ok(())
    })?;
    if found.len() > 1 {
        let names = found.keys().take(5).map(String::as_str).collect::<Vec<_>>().join(", ");
        bail!("{} incidents begin with {wanted:?}: {names}{}", found.len(), if found.len() > 5 { " …" } else { "" });
    }
    match found.pop_first() {
        Some((_, incident)) => Ok(incident),
        None => bail!("no incident begins with {wanted:?}; `nephoscope incidents list --since 30d` shows those there are"),
    }
}

fn status_cell(status: IncidentStatus) -> Cell {
    Cell::styled(if status == IncidentStatus::Open { PLAIN } else { GOOD }, status.to_string())
}

fn print(incident: &Incident, out: &mut Output) -> anyhow::Result<()> {
    let severity = styled(severity_style(incident.severity), incident.severity.to_string());
    out.line(format!("{}  {severity}  {}", styled(HEAD, plain(&incident.title)), incident.status))?;
    out.line("")?;
    let mut table = Table::new(&["", ""]);
    let mut say = |name: &str, value: String| table.row([Cell::styled(FAINT, name), value.into()]);
    say("began", format!("{}, {}", local(incident.started_at), ago(incident.started_at, wall_clock())));
    match incident.ends_at {
        Some(end) => say("ended", format!("{} (lasted {})", local(end), lasting(incident.started_at, end))),
        None => say("last change", local(incident.last_update)),
    }
    if let Some(into) = &incident.merged_into {
        say("goes on in", plain(into));
    }
    for (name, things) in [("hosts", &incident.hosts), ("machines", &incident.vms), ("services", &incident.services)] {
        if !things.is_empty() {
            say(name, plain(&things.join(", ")));
        }
    }
    say("id", plain(&incident.id));
    out.rows(&table)?;

    out.line("")?;
    out.line(styled(HEAD, "Probable causes"))?;
    for (number, cause) in incident.causes.iter().enumerate() {
        let score = styled(FAINT, format!("score {:.2}", cause.score));
        out.line(format!("  {}. {}  {score}", number + 1, styled(HEAD, plain(&cause.node.to_string()))))?;
        out.line(format!("     {}", plain(&cause.because)))?;
    }
    out.line("")?;
    out.line(styled(HEAD, "How it went"))?;
    for entry in &incident.timeline {
        out.line(format!("  {} {}", styled(FAINT, local(entry.at)), plain(&entry.text)))?;
    }
    out.line("")?;
    let firing = incident.alerts.iter().filter(|alert| alert.status == AlertStatus::Firing).count();
    out.line(styled(HEAD, format!("Alerts ({}, {firing} of those listed last)", incident.alerts_total)))?;
    let mut table = Table::new(&["FINGERPRINT", "SEVERITY", "STATUS", "BEGAN", "NAME", "ABOUT"]);
    for alert in &incident.alerts {
        let about: Vec<String> = alert.nodes.iter().map(ToString::to_string).collect();
        table.row([
            alert.fingerprint.chars().take(SHORT_DIGITS).collect::<String>().into(),
            Cell::styled(severity_style(alert.severity), alert.severity.to_string()),
            Cell::styled(status_style(alert.status), alert.status.to_string()),
            local(alert.started_at).into(),
            Cell::styled(HEAD, plain(&alert.name)),
            plain(&about.join(" ")).into(),
        ]);
    }
    out.table(&table)?;
    if out.is_terminal() {
        out.line(styled(FAINT, "nephoscope alerts show FINGERPRINT shows the lines behind an alert"))?;
    }
    Ok(())
}

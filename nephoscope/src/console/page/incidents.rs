//! Incidents as plain HTML: each with its causes, how it went, and its alerts.

use schemas::{EventTime, Incident, IncidentAlert, IncidentStatus};

use super::{ago, escape, tone};

/// Hosts that are named in a summary.
const HOSTS_NAMED: usize = 4;
/// Alerts and lines of the timeline in the page itself, and incidents that have them; the script asks for the rest.
const ALERTS_SHOWN: usize = 20;
const LINES_SHOWN: usize = 40;
const WHOLE_SHOWN: usize = 20;

/// All of them, the first ones whole.
pub(super) fn list(incidents: &[Incident], now_ms: i64) -> String {
    incidents.iter().enumerate().map(|(place, incident)| item(incident, place < WHOLE_SHOWN, now_ms)).collect()
}

fn item(incident: &Incident, is_whole: bool, now_ms: i64) -> String {
    let end = incident.ends_at.filter(|_| incident.status == IncidentStatus::Resolved).map(EventTime::millis);
    let when = match end {
        Some(end) => format!("ended {}", ago(end, now_ms)),
        None => format!("since {}", ago(incident.started_at.millis(), now_ms)),
    };
    let body = if is_whole { body(incident) } else { String::new() };
    format!(
        "<details class=\"alert incident {}\"><summary><span class=\"level\">{}</span> <b>{}</b> <span class=\"said\">{}</span> \
         <span class=\"when\">{when}</span></summary>{body}</details>",
        tone(incident.severity),
        incident.severity,
        escape(&incident.title),
        escape(&gist(incident)),
    )
}

/// The probable cause and how far it reaches.
fn gist(incident: &Incident) -> String {
    let cause = incident.causes.first().map_or_else(|| "no cause known".into(), |cause| format!("probable cause {}", cause.node));
    let named = incident.hosts.iter().take(HOSTS_NAMED).map(String::as_str).collect::<Vec<_>>().join(", ");
    let hosts = match incident.hosts.len() {
        0 => String::new(),
        1..=HOSTS_NAMED => format!("; on {named}"),
        hosts => format!("; on {named} and {} more", hosts - HOSTS_NAMED),
    };
    let alerts = if incident.alerts_total == 1 { "1 alert".into() } else { format!("{} alerts", incident.alerts_total) };
    format!("{cause}{hosts}; {alerts}")
}

fn body(incident: &Incident) -> String {
    let causes: String = incident
        .causes
        .iter()
        .map(|cause| format!("<li><b>{}</b> {}</li>", escape(&cause.node.to_string()), escape(&cause.because)))
        .collect();
    // Of a long story the end: what happened last is what goes on.
    let first = incident.timeline.len().saturating_sub(LINES_SHOWN);
    let lines: String = incident
        .timeline
        .iter()
        .skip(first)
        .map(|entry| format!("<li><time>{}</time> {}</li>", clock(entry.at), escape(&entry.text)))
        .collect();
    let alerts: String = incident.alerts.iter().take(ALERTS_SHOWN).map(alert).collect();
    format!(
        "<div class=\"proof\"><p class=\"facts\">Probable causes</p><ol class=\"causes\">{causes}</ol>\
         <p class=\"facts\">How it went</p><ol class=\"lines\">{lines}</ol><p class=\"facts\">Its alerts</p><ul>{alerts}</ul></div>"
    )
}

fn alert(alert: &IncidentAlert) -> String {
    let nodes = alert.nodes.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    format!("<li>{} {} {} on {}</li>", alert.severity, escape(&alert.name), alert.status, escape(&nodes))
}

/// Time of day, as the script would write it in UTC.
fn clock(time: EventTime) -> String {
    time.to_string().get(11..19).map_or_else(String::new, |clock| format!("{clock}Z"))
}

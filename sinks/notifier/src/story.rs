//! An incident as an alert, so that every destination can be told it and every route, silence and group understands it: its
//! fingerprint is the incident's id, so where alerts have keys it is one thing that gets worse and ends.

use std::collections::BTreeMap;

use schemas::{
    Alert, AlertStatus, Incident, IncidentStatus, Model, Node,
    alert::{InvalidAlert, hex16},
};

/// The name of such an alert.
pub const NAME: &str = "Incident";
/// The label with its id, by which it is grouped: alone.
pub const LABEL: &str = "incident";
/// Alerts that are listed.
const LISTED_MAX: usize = 12;
/// Names that are listed.
const NAMES_MAX: usize = 8;

/// What it is about, as labels: of its first alert, and kept from then on, since an identity must not change with the opinion
/// about the cause.
pub fn labels(incident: &Incident) -> BTreeMap<String, String> {
    let nodes = incident.alerts.first().map_or(&[][..], |first| &first.nodes);
    labels_of(nodes).chain([(LABEL.to_string(), incident.id.clone())]).collect()
}

/// Things as the labels of an alert name them.
pub fn labels_of(nodes: &[Node]) -> impl Iterator<Item = (String, String)> {
    nodes.iter().map(|node| (node.kind.as_str().to_string(), node.name.clone()))
}

/// Whether an alert is an incident told as one.
pub fn is_told_by(alert: &Alert) -> bool {
    alert.name == NAME && alert.labels.get(LABEL) == Some(&alert.fingerprint)
}

/// An incident as an alert.
///
/// # Errors
/// If it breaks the contract of alerts: whoever wrote it did not keep that of incidents.
pub fn alert(incident: &Incident, labels: BTreeMap<String, String>) -> Result<Alert, InvalidAlert> {
    let status = if incident.status == IncidentStatus::Open { AlertStatus::Firing } else { AlertStatus::Resolved };
    let mut annotations = BTreeMap::from([("alerts".to_string(), incident.alerts_total.to_string())]);
    for (name, things) in [("hosts", &incident.hosts), ("vms", &incident.vms), ("services", &incident.services)] {
        if !things.is_empty() {
            annotations.insert(name.into(), listed(things));
        }
    }
    let mut alert = Alert {
        id: hex16(format!("nephoscope-notifier-incident-1\0{}\0{}", incident.id, incident.revision).as_bytes()),
        fingerprint: incident.id.clone(),
        name: NAME.into(),
        status,
        severity: incident.severity,
        started_at: incident.started_at,
        last_received: incident.last_update,
        ends_at: (status == AlertStatus::Resolved).then(|| incident.ends_at.unwrap_or(incident.last_update)),
        environment: "default".into(),
        service: labels.get("service").cloned().unwrap_or_else(|| "nephoscope".into()),
        source: vec!["incident".into()],
        message: incident.title.clone(),
        description: description(incident),
        labels,
        annotations,
        score: incident.causes.first().map_or(0.0, |cause| cause.score),
        model: Model { name: "incident".into(), version: "1".into(), config_hash: String::new() },
        ..Alert::default()
    };
    alert.sanitize()?;
    Ok(alert)
}

fn description(incident: &Incident) -> String {
    let mut lines = Vec::new();
    if let Some(into) = &incident.merged_into {
        lines.push(format!("It is part of another story and told on there: incident {into}."));
    }
    let ranks = ["Probable cause", "or", "or"];
    lines.extend(ranks.iter().zip(&incident.causes).map(|(rank, cause)| format!("{rank}: {}: {}", cause.node, cause.because)));
    let total = usize::try_from(incident.alerts_total).unwrap_or(usize::MAX).max(incident.alerts.len());
    lines.push(format!("Alerts: {total}"));
    for alert in incident.alerts.iter().take(LISTED_MAX) {
        let about = alert.nodes.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
        lines.push(format!("  {} {} {} on {about}", alert.started_at, alert.severity, alert.name));
    }
    let more = total.saturating_sub(LISTED_MAX);
    if more > 0 {
        lines.push(format!("  and {more} more: nephoscope incidents show {}", incident.id));
    }
    lines.join("\n")
}

fn listed(names: &[String]) -> String {
    let shown = names.iter().take(NAMES_MAX).cloned().collect::<Vec<_>>().join(", ");
    match names.len().saturating_sub(NAMES_MAX) {
        0 => shown,
        more => format!("{shown} and {more} more"),
    }
}

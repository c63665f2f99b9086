//! A story as it is published.

use std::collections::BTreeSet;

use schemas::{
    AlertStatus, Incident, IncidentAlert, IncidentStatus, Node, NodeKind, TimelineEntry,
    incident::{ALERTS_MAX, NODES_MAX, THINGS_MAX},
};

use crate::{
    cause::Ranked,
    story::{Line, Member, Story},
};

/// The record of a story with these causes.
pub(crate) fn incident(story: &Story, causes: &[Ranked<'_>]) -> Incident {
    let (hosts, vms, services) = (names(story, NodeKind::Host), names(story, NodeKind::Vm), names(story, NodeKind::Service));
    let mut incident = Incident {
        id: story.id.to_string(),
        revision: story.revision,
        status: if story.is_open() { IncidentStatus::Open } else { IncidentStatus::Resolved },
        title: title(story, causes, hosts.len()),
        severity: story.severity,
        started_at: story.started_at,
        last_update: story.last_update,
        ends_at: story.ending.map(|ending| ending.ends_at),
        merged_into: story.ending.and_then(|ending| ending.into).map(|into| into.to_string()),
        causes: causes.iter().map(|ranked| ranked.cause.clone()).collect(),
        alerts: alerts(story),
        alerts_total: story.members.len() as u64 + story.untracked,
        hosts: hosts.into_iter().take(THINGS_MAX).collect(),
        vms: vms.into_iter().take(THINGS_MAX).collect(),
        services: services.into_iter().take(THINGS_MAX).collect(),
        actions: Vec::new(),
        timeline: story.lines.iter().map(entry).collect(),
    };
    incident.sanitize();
    incident
}

/// What the first cause says, and how far it reaches.
fn title(story: &Story, causes: &[Ranked<'_>], hosts: usize) -> String {
    let total = story.members.len() as u64 + story.untracked;
    let first = causes.first();
    let said = first.and_then(|ranked| ranked.alert).map_or("an alert without a word", |word| word.message.as_str());
    let about = match first {
        Some(ranked) if !said.contains(&ranked.cause.node.name) => format!("{}: {said}", ranked.cause.node.name),
        _ => said.to_string(),
    };
    match (total, hosts) {
        (1, _) => about,
        (_, 0 | 1) => format!("{total} alerts: {about}"),
        _ => format!("{total} alerts on {hosts} hosts: {about}"),
    }
}

fn names(story: &Story, kind: NodeKind) -> BTreeSet<String> {
    let nodes = story.reach.places.iter().flat_map(|(place, subjects)| subjects.iter().chain([place]));
    nodes.filter(|node| node.kind == kind).map(|node| node.name.clone()).collect()
}

/// Its alerts, the earliest first; where there are too many, those that fire and are worse.
fn alerts(story: &Story) -> Vec<IncidentAlert> {
    let mut members: Vec<&Member> = story.members.values().collect();
    let when = |member: &&Member| (member.word.started_at, member.word.fingerprint);
    if members.len() > ALERTS_MAX {
        members.sort_by_key(|member| (!member.is_firing(), std::cmp::Reverse(member.word.severity), when(member)));
        members.truncate(ALERTS_MAX);
    }
    members.sort_by_key(when);
    members.into_iter().map(alert).collect()
}

fn alert(member: &Member) -> IncidentAlert {
    let word = &member.word;
    let mut nodes: Vec<Node> = vec![word.subject.clone()];
    nodes.extend(word.places.iter().filter(|place| **place != word.subject).take(NODES_MAX - 1).cloned());
    IncidentAlert {
        id: word.id.to_string(),
        fingerprint: word.fingerprint.to_string(),
        name: word.name.clone(),
        status: word.status,
        severity: word.severity,
        started_at: word.started_at,
        ends_at: (word.status == AlertStatus::Resolved).then_some(word.at),
        nodes,
    }
}

fn entry(line: &Line) -> TimelineEntry {
    TimelineEntry { at: line.at, kind: line.kind, text: line.text.clone(), fingerprint: line.fingerprint.map(|id| id.to_string()) }
}

//! What probably caused a story: the things in it, ranked by what speaks for each.
//!
//! Causes precede symptoms, lie lower in the stack and are named by those who suffer. So each thing gets the weight of its worst early
//! alert, and more for each thing around it that fell ill later, for each that names it, and for each host on which it says the same;
//! a thing that itself complains about another in trouble gets less. A rule, not a model: every score can be told in a line.

use std::collections::{BTreeMap, BTreeSet};

use schemas::{Cause, EventTime, Node, NodeKind, Severity, incident::CAUSES_MAX};

use crate::{
    config::Weights,
    graph::Graph,
    sighting::{Layer, Sighting},
    story::Story,
};

/// Names that stand in a reason.
const NAMES_TOLD_MAX: usize = 3;

/// A cause, and the alert that speaks most for it.
#[derive(Debug, Clone, PartialEq)]
pub struct Ranked<'a> {
    /// As it is published.
    pub cause: Cause,
    /// Its own alert that weighs most, else the weightiest of those that name it.
    pub alert: Option<&'a Sighting>,
}

/// What speaks for one thing.
#[derive(Debug, Default)]
struct Evidence<'a> {
    /// Its own alert that weighs most, and how much.
    best: Option<(f64, &'a Sighting)>,
    /// When its first alert began.
    first: Option<EventTime>,
    /// An alert that names it, the first.
    naming: Option<&'a Sighting>,
    /// Whose alerts name it.
    named_by: BTreeSet<Node>,
    /// What its alerts name.
    names: BTreeSet<Node>,
    /// Hosts of a service, services of a host.
    around: BTreeSet<Node>,
    /// For each thing that it says, where.
    hosts: BTreeSet<Node>,
}

/// The most probable causes of a story, the first first.
pub fn rank<'a>(story: &'a Story, graph: &Graph, weights: &Weights) -> Vec<Ranked<'a>> {
    let evidence = gather(story, graph, weights);
    let mut ranked: Vec<Ranked<'_>> = evidence.iter().filter_map(|(node, found)| judge(node, found, &evidence, story, weights)).collect();
    let first = |ranked: &Ranked<'_>| evidence.get(&ranked.cause.node).and_then(|found| found.first).unwrap_or(EventTime(i64::MAX));
    ranked.sort_by(|a, b| {
        let by_score = b.cause.score.total_cmp(&a.cause.score);
        by_score.then_with(|| first(a).cmp(&first(b))).then_with(|| a.cause.node.cmp(&b.cause.node))
    });
    ranked.truncate(CAUSES_MAX);
    ranked
}

fn gather<'a>(story: &'a Story, graph: &Graph, weights: &Weights) -> BTreeMap<Node, Evidence<'a>> {
    let mut evidence: BTreeMap<Node, Evidence<'a>> = BTreeMap::new();
    let words = || story.members.values().map(|member| &member.word);
    let subjects: BTreeSet<&Node> = words().map(|word| &word.subject).collect();
    for word in words() {
        let weight = weight(word, story.started_at, weights);
        let hosts = word.places.iter().filter(|place| place.kind != NodeKind::Peer && **place != word.subject);
        evidence.entry(word.subject.clone()).or_default().own(word, weight);
        for host in hosts {
            evidence.entry(host.clone()).or_default().own(word, weight * weights.share);
            evidence.entry(host.clone()).or_default().around.insert(word.subject.clone());
            let subject = evidence.entry(word.subject.clone()).or_default();
            subject.around.insert(host.clone());
            subject.hosts.insert(host.clone());
        }
        for mention in &word.mentions {
            let service = || graph.service(&mention.name).filter(|service| subjects.contains(service));
            let Some(named) = graph.resolve(mention).or_else(service) else { continue };
            if named == word.subject || word.places.contains(&named) {
                continue;
            }
            let speaker = word.places.first().unwrap_or(&word.subject);
            for node in [&word.subject, speaker] {
                evidence.entry(node.clone()).or_default().names.insert(named.clone());
            }
            let of_named = evidence.entry(named).or_default();
            of_named.named_by.insert(speaker.clone());
            of_named.naming = Some(of_named.naming.filter(|first| first.started_at <= word.started_at).unwrap_or(word));
        }
    }
    evidence
}

impl<'a> Evidence<'a> {
    fn own(&mut self, word: &'a Sighting, weight: f64) {
        self.first = Some(self.first.map_or(word.started_at, |first| first.min(word.started_at)));
        if self.best.is_none_or(|(best, _)| weight > best) {
            self.best = Some((weight, word));
        }
    }
}

/// An alert's weight by severity, layer and how late it began.
fn weight(word: &Sighting, story_started_at: EventTime, weights: &Weights) -> f64 {
    let severity = match word.severity {
        Severity::Critical => weights.critical,
        Severity::High => weights.high,
        Severity::Warning => weights.warning,
        Severity::Info | Severity::Low => weights.info,
    };
    let late_s = word.started_at.millis_since(story_started_at).max(0) as f64 / 1_000.0;
    severity * word.layer.weight(weights) * libm::exp(-late_s / weights.decay_s)
}

fn judge<'a>(
    node: &Node,
    found: &Evidence<'a>,
    evidence: &BTreeMap<Node, Evidence<'a>>,
    story: &Story,
    weights: &Weights,
) -> Option<Ranked<'a>> {
    let most = weights.counted_max as usize;
    let counted = |number: usize| number.min(most) as f64;
    let is_ill = |node: &Node| evidence.get(node).is_some_and(|found| found.first.is_some());
    let began_later =
        |node: &&Node| matches!((found.first, evidence.get(*node).and_then(|other| other.first)), (Some(own), Some(other)) if other > own);
    let touching: BTreeSet<&Node> = found.around.iter().chain(&found.named_by).collect();
    let later = touching.into_iter().filter(began_later).count();
    let further_hosts = found.hosts.len().saturating_sub(1);
    // One voice about an address is hearsay, not a thing with a reason of its own.
    if found.best.is_none() && found.named_by.is_empty() {
        return None;
    }
    let mut score = found.best.map_or(0.0, |(best, _)| best)
        + weights.precedes * counted(later)
        + weights.named * counted(found.named_by.len())
        + weights.spread * counted(further_hosts);
    let blamed = found.names.iter().find(|named| is_ill(named) || evidence.get(*named).is_some_and(|other| other.named_by.len() > 1));
    if blamed.is_some() {
        score *= weights.blames;
    }

    let mut reasons = Vec::new();
    if let Some((_, word)) = found.best {
        reasons.push(format!("{}, {}, {}", word.name, word.severity, since(word.started_at, story.started_at)));
        reasons.extend(matches!(word.layer, Layer::Machine).then(|| "said by hardware or kernel".to_string()));
    }
    if !found.named_by.is_empty() {
        reasons.push(format!("named by {}", list(&found.named_by)));
    }
    reasons.extend((later > 0).then(|| format!("{later} around it began later")));
    reasons.extend((further_hosts > 0).then(|| format!("on {} hosts", found.hosts.len())));
    reasons.extend(blamed.map(|blamed| format!("but it names {blamed}")));
    let alert = found.best.map(|(_, word)| word).or(found.naming);
    Some(Ranked { cause: Cause { node: node.clone(), score, because: reasons.join("; ") }, alert })
}

fn since(time: EventTime, start: EventTime) -> String {
    match time.millis_since(start) / 1_000 {
        ..=0 => "at the very beginning".into(),
        seconds @ ..120 => format!("{seconds} s after the beginning"),
        seconds => format!("{} min after the beginning", seconds / 60),
    }
}

fn list(nodes: &BTreeSet<Node>) -> String {
    let names: Vec<&str> = nodes.iter().take(NAMES_TOLD_MAX).map(|node| node.name.as_str()).collect();
    let rest = nodes.len().saturating_sub(NAMES_TOLD_MAX);
    if rest == 0 { names.join(", ") } else { format!("{} and {rest} more", names.join(", ")) }
}

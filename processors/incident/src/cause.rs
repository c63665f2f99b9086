//! What probably caused a story: the things in it, ranked by what speaks for each.
//!
//! Causes precede symptoms, lie lower in the stack and are named by those who suffer. So each thing gets the weight of its worst early
//! alert, and more for each thing around it that fell ill later, for each that names it, and for each host on which it says the same.
//! An alert that complains about another passes part of its weight on to that one, as a walk along calls does (Monitorrank,
//! SIGMETRICS 2013). And the narrowest thing that explains all is preferred, as in spatial fault localisation (SCORE, NSDI 2005): what
//! is said about a host on which one program alone is in trouble is said about that program. A rule, not a model: every score can be
//! told in a line.

mod evidence;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

use schemas::{Cause, EventTime, Node, incident::CAUSES_MAX};

use crate::{
    config::Weights,
    graph::Graph,
    sighting::{Layer, Sighting},
    story::Story,
};
use evidence::{Evidence, gather};

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

fn judge<'a>(
    node: &Node,
    found: &Evidence<'a>,
    evidence: &BTreeMap<Node, Evidence<'a>>,
    story: &Story,
    weights: &Weights,
) -> Option<Ranked<'a>> {
    // Nothing is known of it but that it was there.
    if found.best.is_none() && found.named_by.is_empty() {
        return None;
    }
    let counted = |number: usize| number.min(weights.counted_max as usize) as f64;
    let began_later =
        |node: &&Node| matches!((found.first, evidence.get(*node).and_then(|other| other.first)), (Some(own), Some(other)) if other > own);
    let touching: BTreeSet<&Node> = found.around.iter().chain(&found.named_by).collect();
    let later = touching.into_iter().filter(began_later).count();
    let further_hosts = found.hosts.len().saturating_sub(1);
    let around = weights.precedes * counted(later)
        + weights.named * counted(found.named_by.len())
        + weights.spread * counted(further_hosts)
        + found.passed;
    let blamed = found.blamed();
    let score = found.best.map_or(0.0, |(best, _)| best) + if blamed.is_some() { around * weights.blames } else { around };

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

//! What speaks for each thing of a story.

use std::collections::{BTreeMap, BTreeSet};

use schemas::{EventTime, Node, NodeKind, Severity};

use crate::{
    config::Weights,
    graph::Graph,
    sighting::{Layer, Sighting},
    story::Story,
};

/// What speaks for one thing.
#[derive(Debug, Default)]
pub(super) struct Evidence<'a> {
    /// Its own alert that weighs most, and how much.
    pub best: Option<(f64, &'a Sighting)>,
    /// When its first alert began.
    pub first: Option<EventTime>,
    /// The alert that names it, the first.
    pub naming: Option<&'a Sighting>,
    /// Whose alerts name it.
    pub named_by: BTreeSet<Node>,
    /// The most that an alert which names it passes on to it.
    pub passed: f64,
    /// Hosts of a service, services of a host.
    pub around: BTreeSet<Node>,
    /// Where it says what it says.
    pub hosts: BTreeSet<Node>,
    /// What its alerts are about.
    subjects: BTreeSet<&'a Node>,
    /// Whom its alerts blame.
    blames: BTreeSet<Node>,
    /// An alert of its own blames nobody.
    has_own_word: bool,
}

/// One alert, with what it weighs and whom it names.
struct Word<'a> {
    said: &'a Sighting,
    weight: f64,
    named: Vec<Node>,
    /// Who came to it. That one is only worth a thought if it comes to several.
    callers: Vec<Node>,
}

/// What is known of a thing before anybody is blamed.
#[derive(Default)]
struct Standing<'a> {
    /// When its first alert began, and the greatest severity of its alerts.
    ill: Option<(EventTime, Severity)>,
    /// Who names it: program and place.
    voices: BTreeSet<(&'a Node, &'a Node)>,
    /// Places to which it came.
    called: BTreeSet<&'a Node>,
}

/// What speaks for each thing that the story's alerts are about, are on, or name.
pub(super) fn gather<'a>(story: &'a Story, graph: &Graph, weights: &Weights) -> BTreeMap<Node, Evidence<'a>> {
    let words = words(story, graph, weights);
    let standing = stand(&words);
    let mut evidence: BTreeMap<Node, Evidence<'a>> = BTreeMap::new();
    for word in &words {
        let said = word.said;
        let blamed = word.named.iter().find(|named| standing.get(*named).is_some_and(|of| of.is_in_doubt() && !of.suffers_from(said)));
        let kept = if blamed.is_some() { word.weight * weights.blames } else { word.weight };
        evidence.entry(said.subject.clone()).or_default().own(said, kept, blamed);
        for host in said.places.iter().filter(|place| place.kind != NodeKind::Peer && **place != said.subject) {
            let of_host = evidence.entry(host.clone()).or_default();
            of_host.own(said, kept * weights.share, blamed);
            of_host.around.insert(said.subject.clone());
            let subject = evidence.entry(said.subject.clone()).or_default();
            subject.around.insert(host.clone());
            subject.hosts.insert(host.clone());
        }
        let returned = |caller: &&Node| standing.get(*caller).is_some_and(|of| of.called.len() > 1);
        for named in word.named.iter().chain(word.callers.iter().filter(returned)) {
            let passed = if blamed == Some(named) { word.weight - kept } else { 0.0 };
            evidence.entry(named.clone()).or_default().named(said, passed);
        }
    }
    pass_to_only_voices(&mut evidence);
    evidence
}

fn words<'a>(story: &'a Story, graph: &Graph, weights: &Weights) -> Vec<Word<'a>> {
    let all = || story.members.values().map(|member| &member.word);
    let subjects: BTreeSet<&Node> = all().map(|word| &word.subject).collect();
    let read = |said: &'a Sighting| {
        let mut word = Word { said, weight: weight(said, story.started_at, weights), named: Vec::new(), callers: Vec::new() };
        for mention in &said.mentions {
            let service = || graph.service(&mention.name).filter(|service| subjects.contains(service));
            let Some(named) = graph.resolve(mention).or_else(service) else { continue };
            if named != said.subject && !said.places.contains(&named) {
                (if mention.is_caller { &mut word.callers } else { &mut word.named }).push(named);
            }
        }
        word
    };
    all().map(read).collect()
}

fn stand<'a>(words: &'a [Word<'a>]) -> BTreeMap<&'a Node, Standing<'a>> {
    let mut standing: BTreeMap<&Node, Standing<'_>> = BTreeMap::new();
    for Word { said, named, callers, .. } in words {
        for node in said.places.iter().chain([&said.subject]) {
            let ill = &mut standing.entry(node).or_default().ill;
            let (first, severity) = ill.unwrap_or((said.started_at, said.severity));
            *ill = Some((first.min(said.started_at), severity.max(said.severity)));
        }
        let place = speaker(said);
        for node in named {
            standing.entry(node).or_default().voices.insert((&said.subject, place));
        }
        for node in callers {
            standing.entry(node).or_default().called.insert(place);
        }
    }
    standing
}

/// What is said about a host on which one program alone is in trouble is said about that program: whoever names the host cannot reach it.
fn pass_to_only_voices(evidence: &mut BTreeMap<Node, Evidence<'_>>) {
    let only_voice = |(host, of_host): (&Node, &Evidence<'_>)| {
        let mut subjects = of_host.subjects.iter();
        let only = subjects.next().filter(|only| only.kind == NodeKind::Service && host.kind != NodeKind::Service)?;
        subjects.next().is_none().then(|| (host.clone(), (*only).clone()))
    };
    let pairs: Vec<(Node, Node)> = evidence.iter().filter_map(only_voice).collect();
    for (host, service) in pairs {
        let Some(Evidence { named_by, passed, naming, .. }) = evidence.get(&host) else { continue };
        let (named_by, passed, naming) = (named_by.clone(), *passed, *naming);
        if let Some(of_service) = evidence.get_mut(&service) {
            of_service.named_by.extend(named_by.into_iter().filter(|node| *node != service));
            of_service.passed = of_service.passed.max(passed);
            of_service.naming = of_service.naming.or(naming);
        }
    }
}

impl<'a> Evidence<'a> {
    /// Whom it blames, if it does nothing else.
    pub(super) fn blamed(&self) -> Option<&Node> {
        self.blames.first().filter(|_| !self.has_own_word)
    }

    fn own(&mut self, word: &'a Sighting, weight: f64, blamed: Option<&Node>) {
        self.subjects.insert(&word.subject);
        self.first = Some(self.first.map_or(word.started_at, |first| first.min(word.started_at)));
        if self.best.is_none_or(|(best, _)| weight > best) {
            self.best = Some((weight, word));
        }
        self.has_own_word |= blamed.is_none();
        self.blames.extend(blamed.cloned());
    }

    fn named(&mut self, word: &'a Sighting, passed: f64) {
        self.named_by.insert(speaker(word).clone());
        self.passed = self.passed.max(passed);
        self.naming = Some(self.naming.filter(|first| first.started_at <= word.started_at).unwrap_or(word));
    }
}

impl Standing<'_> {
    /// One voice about a thing that is well, as far as one knows, is hearsay.
    fn is_in_doubt(&self) -> bool {
        self.ill.is_some() || self.voices.len() > 1
    }

    /// Hardware and kernel that name what fell ill after them, and not worse than they, tell whom they harm.
    fn suffers_from(&self, word: &Sighting) -> bool {
        word.layer == Layer::Machine && self.ill.is_some_and(|(first, severity)| first > word.started_at && severity <= word.severity)
    }
}

/// Who says it: the machine, as far as one is known.
fn speaker(word: &Sighting) -> &Node {
    word.places.first().unwrap_or(&word.subject)
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

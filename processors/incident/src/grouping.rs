//! Which story an alert belongs to: how near what it is about is to what the story is about.

use std::fmt;

use schemas::{EventTime, Node, NodeKind};

use crate::{
    config::Config,
    graph::Graph,
    identity::Identity,
    mention::short,
    sighting::Sighting,
    story::{Reach, Story},
};

/// Why an alert and a story belong together. From near to far.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Bond {
    /// The same program on the same machine, or the machine itself.
    Same(Node),
    /// It names what is in trouble there.
    Names(Node),
    /// It is about what was named there.
    IsNamed(Node),
    /// Another program on the same machine.
    SameMachine(Node),
    /// What they are about had to do with each other within a day.
    Near(Node),
    /// Both name the same.
    NameTheSame(String),
    /// The same is said on another machine.
    SameSymptom,
    /// Virtual machines of one host.
    Siblings(Node),
}

impl Bond {
    /// Steps from one to the other; what is further than two does not belong together.
    pub fn distance(&self) -> u8 {
        match self {
            Self::Same(_) => 0,
            Self::Names(_) | Self::IsNamed(_) | Self::SameMachine(_) | Self::Near(_) => 1,
            Self::NameTheSame(_) | Self::SameSymptom | Self::Siblings(_) => 2,
        }
    }

    /// Whether it says by itself that two stories are one, if an alert has such a bond to both. That something else on the machine
    /// is in trouble, or that there was once a connection, does not.
    pub fn joins_stories(&self) -> bool {
        matches!(self, Self::Same(_) | Self::Names(_) | Self::IsNamed(_))
    }
}

impl fmt::Display for Bond {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Same(node) => write!(f, "same {node}"),
            Self::Names(node) => write!(f, "it names {node}"),
            Self::IsNamed(node) => write!(f, "{node} was named"),
            Self::SameMachine(node) => write!(f, "also on {node}"),
            Self::Near(node) => write!(f, "near {node}"),
            Self::NameTheSame(name) => write!(f, "it names {name} too"),
            Self::SameSymptom => write!(f, "the same elsewhere"),
            Self::Siblings(node) => write!(f, "on the same host as {node}"),
        }
    }
}

/// An alert with what the graph knows around it, looked up once for all stories.
pub struct Neighbourhood<'a> {
    sighting: &'a Sighting,
    /// What it names, as far as that is something.
    named: Vec<Node>,
    /// What its places had to do with within a day.
    near: Vec<Node>,
    siblings: Vec<Node>,
}

impl<'a> Neighbourhood<'a> {
    /// Looks it up.
    pub fn new(sighting: &'a Sighting, graph: &Graph, config: &Config) -> Self {
        let named = sighting.mentions.iter().filter_map(|mention| graph.resolve(mention).or_else(|| graph.service(&mention.name)));
        let near = |place: &Node| graph.neighbours(place, sighting.at, config.edge_ms).cloned().collect::<Vec<_>>();
        let vms = sighting.places.iter().filter(|place| place.kind == NodeKind::Vm);
        let hosts = vms.flat_map(near).filter(|node| node.kind == NodeKind::Host);
        let siblings = hosts.flat_map(|host| near(&host)).filter(|node| node.kind == NodeKind::Vm && !sighting.places.contains(node));
        Self { sighting, named: named.collect(), siblings: siblings.collect(), near: sighting.places.iter().flat_map(near).collect() }
    }

    /// The nearest bond to a story, if there is one.
    pub fn bond(&self, story: &Story) -> Option<Bond> {
        let (sighting, reach) = (self.sighting, &story.reach);
        let here = sighting.places.iter().find_map(|place| Some((place, reach.places.get(place)?)));
        if let Some((place, subjects)) = here
            && (subjects.contains(&sighting.subject) || subjects.contains(place) || sighting.subject == *place)
        {
            return Some(Bond::Same(place.clone()));
        }
        if let Some(node) = self.named.iter().find(|node| is_in_trouble(reach, node)) {
            return Some(Bond::Names(node.clone()));
        }
        if let Some(node) = sighting.places.iter().chain([&sighting.subject]).find(|node| is_named(reach, node)) {
            return Some(Bond::IsNamed(node.clone()));
        }
        if let Some((place, _)) = here {
            return Some(Bond::SameMachine(place.clone()));
        }
        if let Some(node) = self.near.iter().find(|node| reach.places.contains_key(*node)) {
            return Some(Bond::Near(node.clone()));
        }
        let endpoints = sighting.mentions.iter().filter(|mention| mention.is_endpoint).map(|mention| &mention.name);
        if let Some(name) = endpoints.into_iter().find(|name| reach.named.get(*name) == Some(&true)) {
            return Some(Bond::NameTheSame(name.clone()));
        }
        if sighting.symptom.is_some_and(|symptom| reach.symptoms.contains(&symptom)) {
            return Some(Bond::SameSymptom);
        }
        self.siblings.iter().find(|vm| reach.places.contains_key(*vm)).cloned().map(Bond::Siblings)
    }

    /// The open stories that the alert belongs to, the nearest first; of equally near ones the older.
    pub fn rank<'s>(&self, stories: impl Iterator<Item = &'s Story>, config: &Config) -> Vec<(Bond, EventTime, Identity)> {
        let is_fresh = |story: &&Story| story.is_open() && self.sighting.at.millis_since(story.heard_at).saturating_abs() <= config.join_ms;
        let ranked = stories.filter(is_fresh).filter_map(|story| Some((self.bond(story)?, story.started_at, story.id)));
        let mut ranked: Vec<_> = ranked.collect();
        ranked.sort_by_key(|(bond, started_at, id)| (bond.distance(), !bond.joins_stories(), *started_at, *id));
        ranked
    }
}

/// Whether alerts of a story are about this machine or service.
fn is_in_trouble(reach: &Reach, node: &Node) -> bool {
    reach.places.contains_key(node) || (node.kind == NodeKind::Service && reach.places.values().any(|subjects| subjects.contains(node)))
}

/// Whether alerts of a story name this machine or service.
fn is_named(reach: &Reach, node: &Node) -> bool {
    let name = node.name.to_ascii_lowercase();
    reach.named.contains_key(&name) || (node.kind == NodeKind::Host && reach.named.contains_key(short(&name)))
}

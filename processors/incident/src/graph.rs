//! Which things there are, and which of them have to do with each other: machines that run on one another, things that name one
//! another. Learnt from alerts alone; an edge lives a day.

use std::collections::BTreeMap;

use schemas::{EventTime, Node, NodeKind};
use serde::{Deserialize, Serialize};

use crate::{
    mention::{Mention, short},
    sighting::Sighting,
};

/// Edges of one thing; beyond, the one that was heard of least recently is forgotten.
const EDGES_MAX: usize = 32;
/// Bytes of all names; beyond, things leave as they do beyond their number.
const BYTES_MAX: usize = 16 << 20;
/// Bytes of a service's name by which it is recognised in a line.
const SERVICE_BYTES_MIN: usize = 4;
/// Of too many things this share leaves at once, so that room is not made for each newcomer anew.
const LEAVE_SHARE: usize = 16;

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
struct Thing {
    heard_at: EventTime,
    edges: BTreeMap<Node, EventTime>,
}

/// Things and their edges. Part of the state.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Graph {
    things: BTreeMap<Node, Thing>,
    #[serde(skip)]
    bytes: usize,
}

impl Graph {
    /// The largest snapshot of a graph of this many things.
    pub fn bytes_bound(things_max: usize) -> u64 {
        // Times are at most ten bytes, and so are lengths.
        let times = things_max as u64 * (EDGES_MAX as u64 + 1) * 20;
        BYTES_MAX as u64 + times + 20
    }

    /// Number of things.
    pub fn len(&self) -> usize {
        self.things.len()
    }

    /// Whether nothing is known.
    pub fn is_empty(&self) -> bool {
        self.things.is_empty()
    }

    /// Takes note of what an alert is about, where that is, and whom it names of those who are known.
    pub fn learn(&mut self, sighting: &Sighting, things_max: usize, edge_ms: i64) {
        let at = sighting.at;
        for place in &sighting.places {
            self.hear_of(place, at);
        }
        self.hear_of(&sighting.subject, at);
        for pair in sighting.places.windows(2) {
            if let [inner, outer] = pair {
                self.connect(inner, outer, at);
            }
        }
        let named: Vec<Node> = sighting.mentions.iter().filter_map(|mention| self.resolve(mention)).collect();
        for (place, named) in sighting.places.iter().flat_map(|place| named.iter().map(move |named| (place, named))) {
            self.hear_of(named, at);
            self.connect(place, named, at);
        }
        if self.things.len() > things_max || self.bytes > BYTES_MAX {
            self.make_room(things_max, at, edge_ms);
        }
    }

    /// The machine or endpoint that is meant: a known host or virtual machine of that name, else the address itself; none for a word
    /// that nothing is known by.
    pub fn resolve(&self, mention: &Mention) -> Option<Node> {
        self.machine(&mention.name).or_else(|| mention.is_endpoint.then(|| Node::new(NodeKind::Peer, &mention.name)))
    }

    /// The known machine of a name, whether either is short or with its domain.
    pub fn machine(&self, name: &str) -> Option<Node> {
        let known = |node: Node| self.things.contains_key(&node).then_some(node);
        let named = |name: &str| known(Node::new(NodeKind::Host, name)).or_else(|| known(Node::new(NodeKind::Vm, name)));
        named(name).or_else(|| if short(name) == name { self.only_one_below(name) } else { named(short(name)) })
    }

    /// The host whose first label is `label`, if there is but one.
    fn only_one_below(&self, label: &str) -> Option<Node> {
        let begin = Node::new(NodeKind::Host, &format!("{label}."));
        let below = |node: &&Node| node.kind == NodeKind::Host && node.name.starts_with(&begin.name);
        let mut found = self.things.range(&begin..).map(|(node, _)| node).take_while(below);
        match (found.next(), found.next()) {
            (Some(only), None) => Some(only.clone()),
            _ => None,
        }
    }

    /// The service of this name, if it is known. Short names are words of any line.
    pub fn service(&self, name: &str) -> Option<Node> {
        let node = (name.len() >= SERVICE_BYTES_MIN).then(|| Node::new(NodeKind::Service, name))?;
        self.things.contains_key(&node).then_some(node)
    }

    /// What a thing had to do with within `edge_ms` of `now`.
    pub fn neighbours(&self, node: &Node, now: EventTime, edge_ms: i64) -> impl Iterator<Item = &Node> {
        let edges = self.things.get(node).into_iter().flat_map(|thing| &thing.edges);
        edges.filter(move |(_, at)| is_fresh(**at, now, edge_ms)).map(|(node, _)| node)
    }

    /// After a restore: the sum that is not written.
    pub(crate) fn recount(&mut self) {
        let edges = |thing: &Thing| thing.edges.keys().map(node_bytes).sum::<usize>();
        self.bytes = self.things.iter().map(|(node, thing)| node_bytes(node) + edges(thing)).sum();
    }

    /// Whether it can have come from a snapshot of a graph of this many things.
    pub(crate) fn is_within(&self, things_max: usize) -> bool {
        self.things.len() <= things_max && self.things.values().all(|thing| thing.edges.len() <= EDGES_MAX)
    }

    fn hear_of(&mut self, node: &Node, at: EventTime) {
        match self.things.get_mut(node) {
            Some(thing) => thing.heard_at = thing.heard_at.max(at),
            None => {
                self.bytes += node_bytes(node);
                self.things.insert(node.clone(), Thing { heard_at: at, ..Thing::default() });
            }
        }
    }

    fn connect(&mut self, one: &Node, other: &Node, at: EventTime) {
        if one == other {
            return;
        }
        for (from, to) in [(one, other), (other, one)] {
            let Some(thing) = self.things.get_mut(from) else { continue };
            match thing.edges.get_mut(to) {
                Some(heard) => *heard = at.max(*heard),
                None => {
                    if thing.edges.len() >= EDGES_MAX {
                        let oldest = thing.edges.iter().min_by_key(|(_, at)| **at).map(|(node, _)| node.clone());
                        self.bytes -= oldest.map_or(0, |oldest| thing.edges.remove(&oldest).map_or(0, |_| node_bytes(&oldest)));
                    }
                    self.bytes += node_bytes(to);
                    thing.edges.insert(to.clone(), at);
                }
            }
        }
    }

    /// Edges that are too old leave, and of the things those that were heard of least recently, a share at once.
    fn make_room(&mut self, things_max: usize, now: EventTime, edge_ms: i64) {
        for thing in self.things.values_mut() {
            thing.edges.retain(|_, at| is_fresh(*at, now, edge_ms));
        }
        self.recount();
        let mut by_age: Vec<(EventTime, Node)> = self.things.iter().map(|(node, thing)| (thing.heard_at, node.clone())).collect();
        by_age.sort();
        let keep = things_max - (things_max / LEAVE_SHARE).min(things_max.saturating_sub(1));
        for (_, node) in by_age {
            if self.things.len() <= keep && self.bytes <= BYTES_MAX - BYTES_MAX / LEAVE_SHARE {
                break;
            }
            self.forget(&node);
        }
    }

    fn forget(&mut self, node: &Node) {
        let Some(thing) = self.things.remove(node) else { return };
        self.bytes -= node_bytes(node) + thing.edges.keys().map(node_bytes).sum::<usize>();
        for other in thing.edges.keys() {
            let back = self.things.get_mut(other).and_then(|other| other.edges.remove(node));
            self.bytes -= back.map_or(0, |_| node_bytes(node));
        }
    }
}

fn is_fresh(at: EventTime, now: EventTime, edge_ms: i64) -> bool {
    now.millis_since(at) <= edge_ms
}

/// Bytes of a name in a snapshot: its kind, its length, itself.
fn node_bytes(node: &Node) -> usize {
    node.name.len() + 12
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{NOW, sighting};

    const DAY_MS: i64 = 86_400_000;

    fn host(name: &str) -> Node {
        Node::new(NodeKind::Host, name)
    }

    #[test]
    fn an_edge_is_learnt_from_a_line_and_lives_a_day() {
        let mut graph = Graph::default();
        graph.learn(&sighting("db-7", "kernel", "read error"), 100, DAY_MS);
        graph.learn(&sighting("web-1", "shop", "cannot reach db-7"), 100, DAY_MS);
        let near = |now| graph.neighbours(&host("web-1"), now, DAY_MS).any(|node| *node == host("db-7"));
        assert!(near(NOW) && near(NOW.plus_millis(DAY_MS)));
        assert!(!near(NOW.plus_millis(DAY_MS + 1)));
    }

    #[test]
    fn a_host_is_found_by_its_short_name_unless_two_share_it() {
        let mut graph = Graph::default();
        graph.learn(&sighting("db-7.example.org", "kernel", ""), 100, DAY_MS);
        assert_eq!(graph.machine("db-7"), Some(host("db-7.example.org")));
        graph.learn(&sighting("web-1", "kernel", ""), 100, DAY_MS);
        assert_eq!(graph.machine("web-1.example.org"), Some(host("web-1")));
        graph.learn(&sighting("db-7.example.com", "kernel", ""), 100, DAY_MS);
        assert_eq!(graph.machine("db-7"), None);
        let endpoint = Mention { name: "db-7".into(), is_endpoint: true, is_caller: false };
        assert_eq!(graph.resolve(&endpoint), Some(Node::new(NodeKind::Peer, "db-7")));
    }

    #[test]
    fn it_stays_within_its_caps_and_keeps_its_count() {
        let mut graph = Graph::default();
        for n in 0..500 {
            let line = format!("lost 10.0.{}.{}:80 and node-{}", n / 250, n % 250, n / 2);
            graph.learn(&sighting(&format!("node-{n}"), "kernel", &line), 64, DAY_MS);
            assert!(graph.is_within(64));
            let counted = graph.bytes;
            graph.recount();
            assert_eq!(counted, graph.bytes);
        }
        assert_eq!(graph.machine("node-0"), None, "the first was heard of least recently");
        assert!(graph.machine("node-499").is_some());
    }
}

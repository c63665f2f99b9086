//! The tree above the clusters: token count, then one level for each leading token.

use serde::{Deserialize, Serialize};

use super::leaf::Leaf;
use crate::tree::HashMap;

/// Number of a cluster, as Drain3 counts them: from 1, never reused.
pub(crate) type Number = u64;
/// Place of a node.
pub(crate) type Place = u32;

const ROOT: Place = 0;
/// Bytes of a node in the state without its token.
pub(crate) const NODE_BYTES_MAX: usize = 5 + 3;

#[derive(Clone, Debug, Default)]
struct Node {
    parent: Place,
    children: HashMap<Box<str>, Place>,
    /// The live clusters, if it is a leaf.
    leaf: Leaf,
}

/// The nodes. A branch outlives its clusters, since Drain3 keeps it and it decides where later lines go; branches without
/// clusters are forgotten only when there are more nodes than [`Branches::nodes_max`] or [`Branches::bytes_max`] allow.
#[derive(Clone, Debug)]
pub(crate) struct Branches {
    nodes: Vec<Node>,
    /// Bytes of the tokens that lead to them.
    bytes: usize,
    nodes_max: usize,
    bytes_max: usize,
}

/// What decides where a cluster goes.
#[derive(Clone, Debug)]
pub(crate) struct Shape {
    /// Levels below the root, the one of the token count included.
    pub levels: usize,
    pub children_max: usize,
    /// What a parameter is in a template.
    pub param: String,
}

/// A node as it is written: its parent comes before it.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct NodeRow {
    parent: Place,
    token: String,
}

impl Branches {
    pub(crate) fn new(nodes_max: usize, bytes_max: usize) -> Self {
        Self { nodes: vec![Node::default()], bytes: 0, nodes_max, bytes_max }
    }

    fn child(&self, of: Place, token: &str) -> Option<Place> {
        self.nodes.get(of as usize)?.children.get(token).copied()
    }

    /// The leaf that a line of `count` tokens leads to.
    pub(crate) fn leaf<'a>(&self, count: usize, mut tokens: impl Iterator<Item = &'a str>, shape: &Shape) -> Option<&Leaf> {
        let mut place = self.child(ROOT, &count.to_string())?;
        for _ in 1..shape.levels.min(count.max(1)) {
            let token = tokens.next()?;
            place = self.child(place, token).or_else(|| self.child(place, &shape.param))?;
        }
        self.nodes.get(place as usize).map(|node| &node.leaf)
    }

    /// The leaf for a new cluster; branches that are missing grow. `is_value` says which tokens branch as a parameter.
    pub(crate) fn grow<'a>(
        &mut self,
        count: usize,
        mut tokens: impl Iterator<Item = &'a str>,
        shape: &Shape,
        is_value: impl Fn(&str) -> bool,
    ) -> Place {
        let key = count.to_string();
        let mut place = self.child(ROOT, &key).unwrap_or_else(|| self.add(ROOT, &key));
        for _ in 1..shape.levels.min(count.max(1)) {
            let Some(token) = tokens.next() else { break };
            place = match self.child(place, token) {
                Some(child) => child,
                None => self.branch(place, token, shape, is_value(token)),
            };
        }
        place
    }

    /// A child for a token that has none: of its own while there is room, else the common one.
    fn branch(&mut self, place: Place, token: &str, shape: &Shape, is_value: bool) -> Place {
        let children = self.nodes.get(place as usize).map_or(0, |node| node.children.len());
        match self.child(place, &shape.param) {
            Some(common) if is_value || children >= shape.children_max => common,
            None if is_value || children + 1 >= shape.children_max => self.add(place, &shape.param),
            _ => self.add(place, token),
        }
    }

    fn add(&mut self, parent: Place, token: &str) -> Place {
        let place = Place::try_from(self.nodes.len()).unwrap_or(Place::MAX);
        self.nodes.push(Node { parent, ..Node::default() });
        self.bytes += token.len();
        if let Some(node) = self.nodes.get_mut(parent as usize) {
            node.children.insert(token.into(), place);
        }
        place
    }

    /// The leaf at a place, to add a cluster to it or to change one. Drain3 leaves the numbers of evicted clusters where they
    /// are and passes over them; to take them out is the same.
    pub(crate) fn leaf_at(&mut self, place: Place) -> Option<&mut Leaf> {
        self.nodes.get_mut(place as usize).map(|node| &mut node.leaf)
    }

    /// All clusters whose lines have `count` tokens, in the order in which Python walks: a node before its children, those as they came.
    pub(crate) fn of_count(&self, count: usize) -> Vec<Number> {
        let mut found = Vec::new();
        let mut open: Vec<Place> = self.child(ROOT, &count.to_string()).into_iter().collect();
        while let Some(node) = open.pop().and_then(|place| self.nodes.get(place as usize)) {
            found.extend(node.leaf.numbers());
            let from = open.len();
            open.extend(node.children.values());
            open.get_mut(from..).into_iter().for_each(|children| children.sort_unstable_by(|a, b| b.cmp(a)));
        }
        found
    }

    /// Whether there are more nodes than there may be.
    pub(crate) fn is_overgrown(&self) -> bool {
        self.nodes.len() > self.nodes_max || self.bytes > self.bytes_max
    }

    /// Forgets the branches that lead to no cluster; returns where each node stands from now on.
    pub(crate) fn prune(&mut self) -> HashMap<Place, Place> {
        let mut alive = vec![false; self.nodes.len()];
        for start in 0..self.nodes.len() {
            let mut place = start;
            let is_leaf = self.nodes.get(start).is_some_and(|node| !node.leaf.is_empty());
            while (is_leaf || place == 0)
                && let Some(known) = alive.get_mut(place).filter(|known| !**known)
            {
                *known = true;
                place = self.nodes.get(place).map_or(0, |node| node.parent as usize);
            }
        }
        let old = std::mem::take(&mut self.nodes);
        let mut places = HashMap::default();
        self.bytes = 0;
        for (place, mut node) in old.into_iter().enumerate().filter(|(place, _)| alive.get(*place).is_some_and(|alive| *alive)) {
            node.children.retain(|_, child| alive.get(*child as usize).is_some_and(|alive| *alive));
            places.insert(place as Place, self.nodes.len() as Place);
            self.bytes += node.children.keys().map(|token| token.len()).sum::<usize>();
            self.nodes.push(node);
        }
        for node in &mut self.nodes {
            node.parent = places.get(&node.parent).copied().unwrap_or(ROOT);
            node.children.values_mut().for_each(|child| *child = places.get(child).copied().unwrap_or(ROOT));
        }
        places
    }

    /// The nodes without the root, parents first and children by token, and the number under which each is written.
    pub(crate) fn rows(&self) -> (Vec<NodeRow>, HashMap<Place, Place>) {
        let (mut rows, mut numbers) = (Vec::new(), HashMap::default());
        numbers.insert(ROOT, ROOT);
        let mut open = vec![ROOT];
        while let Some(place) = open.pop() {
            let Some(node) = self.nodes.get(place as usize) else { continue };
            let mut children: Vec<_> = node.children.iter().collect();
            children.sort();
            let parent = numbers.get(&place).copied().unwrap_or(ROOT);
            for (token, child) in children {
                rows.push(NodeRow { parent, token: token.to_string() });
                numbers.insert(*child, rows.len() as Place);
                open.push(*child);
            }
        }
        (rows, numbers)
    }

    /// For each place, the root first, how many tokens the lines have that come there.
    pub(crate) fn counts(rows: &[NodeRow]) -> Vec<Option<usize>> {
        let mut counts = vec![None];
        for row in rows {
            counts.push(match row.parent {
                ROOT => row.token.parse().ok(),
                parent => counts.get(parent as usize).copied().flatten(),
            });
        }
        counts
    }

    /// Rows read back under the same limits; `None` if a parent does not come before its children or a child comes twice.
    pub(crate) fn restored(&self, rows: &[NodeRow]) -> Option<Self> {
        let mut branches = Self::new(self.nodes_max, self.bytes_max);
        for row in rows {
            if row.parent as usize >= branches.nodes.len() || branches.child(row.parent, &row.token).is_some() {
                return None;
            }
            branches.add(row.parent, &row.token);
        }
        Some(branches)
    }

    pub(crate) fn state_bytes(&self) -> usize {
        self.bytes + self.nodes.len() * NODE_BYTES_MAX
    }

    pub(crate) fn len(&self) -> usize {
        self.nodes.len()
    }
}

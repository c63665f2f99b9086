//! Drain3 0.9.11, assignment for assignment: each line goes to the cluster to which the Python program gives it.
//!
//! Drain (He et al., ICWS 2017) as IBM's Drain3 (MIT) implements it: masks, then a tree of token count and leading tokens, then the
//! most similar cluster of the leaf. For comparison, and for those whose templates must stay what they are; the default is
//! [`Mode::Guarded`](crate::Mode). [`Drain3`] alone has Drain3's bounds, which are few; under the contract it has ours. What differs is
//! told in `docs/decisions/drain-modes.md`, and that nothing else does is tested beside the Python program.

mod branches;
mod ini;
mod leaf;
mod masks;
mod reference;
mod rule;
mod snapshot;

use std::sync::Arc;

use hashlink::LruCache;

use crate::tree::Hasher;
use branches::{Branches, Number, Place, Shape};
pub use ini::{Drain3Error, Drain3Mask, Drain3Settings};
use leaf::Sight;
use masks::{Bounds, Masked, Masks};
pub(crate) use reference::Reference;

/// A cluster: the tokens of its template, and how many lines it has taken.
#[derive(Clone, Debug)]
pub(crate) struct Cluster {
    pub tokens: Vec<Box<str>>,
    pub size: u64,
    pub leaf: Place,
}

/// The clusters of Drain3.
///
/// ```
/// use drain::{Drain3, Drain3Settings};
/// let mut drain3 = Drain3::new(&Drain3Settings::default())?;
/// drain3.add("connected to 10.0.0.1");
/// let second = drain3.add("connected to 192.168.0.1").cluster;
/// assert_eq!((second, drain3.template(second).as_deref()), (1, Some("connected to <*>")));
/// assert_eq!(drain3.matches("connected to backup", Drain3Search::Leaf), Some(1));
/// assert_eq!(drain3.matches("disconnected", Drain3Search::Leaf), None);
/// # use drain::Drain3Search;
/// # Ok::<(), drain::Drain3Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Drain3 {
    shape: Shape,
    sim_th: f64,
    values_branch: bool,
    masks: Arc<Masks>,
    bounds: Bounds,
    clusters_max: usize,
    clusters: LruCache<Number, Cluster, Hasher>,
    /// What the tokens of all clusters need.
    bytes: usize,
    branches: Branches,
    /// Clusters so far.
    counter: Number,
    line: Masked,
    sight: Sight,
}

/// Where a line went.
#[derive(Debug)]
pub struct Assignment {
    /// Number of the cluster, from 1.
    pub cluster: u64,
    /// What that did to the cluster.
    pub change: Drain3Change,
    /// The clusters that left to make room.
    pub evicted: Vec<u64>,
}

/// What a line did to its cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Drain3Change {
    /// `cluster_created`
    Created,
    /// `cluster_template_changed`
    Changed,
    /// `none`
    None,
}

/// Which clusters a match without learning looks at (`full_search_strategy`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Drain3Search {
    /// Those of the leaf that the line leads to: `never`.
    Leaf,
    /// Those of its leaf, and if none fits, all with as many tokens: `fallback`.
    LeafThenAll,
    /// All with as many tokens: `always`.
    All,
}

/// Whether a line may make a cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum May {
    Create,
    JoinOnly,
    /// Nothing may change: `match` instead of `add_log_message`.
    Look,
}

impl Drain3 {
    /// No clusters.
    ///
    /// # Errors
    /// If a setting is out of its bounds or a mask does not compile.
    pub fn new(settings: &Drain3Settings) -> Result<Self, Drain3Error> {
        Self::bounded(settings, Bounds::NONE, settings.max_clusters.unwrap_or(usize::MAX))
    }

    fn bounded(settings: &Drain3Settings, bounds: Bounds, clusters_max: usize) -> Result<Self, Drain3Error> {
        settings.validate()?;
        let masks = Arc::new(Masks::new(settings)?);
        let levels = settings.depth.saturating_sub(2);
        Ok(Self {
            shape: Shape { levels, children_max: settings.max_children, param: masks.param.clone() },
            sim_th: settings.sim_th,
            values_branch: settings.parametrize_numeric_tokens,
            masks,
            bounds,
            clusters_max,
            clusters: LruCache::with_hasher(usize::MAX, Hasher::default()),
            bytes: 0,
            // Twice what live clusters can need, so that pruning is rare.
            branches: Branches::new(bounds.nodes_max, bounds.templates_bytes_max.saturating_mul(2)),
            counter: 0,
            line: Masked::default(),
            sight: Sight::default(),
        })
    }

    /// The same settings without clusters; the masks, which are costly to compile, are shared.
    fn empty(&self) -> Self {
        Self {
            shape: self.shape.clone(),
            sim_th: self.sim_th,
            values_branch: self.values_branch,
            masks: Arc::clone(&self.masks),
            bounds: self.bounds,
            clusters_max: self.clusters_max,
            clusters: LruCache::with_hasher(usize::MAX, Hasher::default()),
            bytes: 0,
            branches: Branches::new(self.bounds.nodes_max, self.bounds.templates_bytes_max.saturating_mul(2)),
            counter: 0,
            line: Masked::default(),
            sight: Sight::default(),
        }
    }

    /// `TemplateMiner.add_log_message`: finds or makes the cluster of a line.
    pub fn add(&mut self, line: &str) -> Assignment {
        self.masks.read(line, &self.bounds, &mut self.line);
        let found = self.assign(May::Create);
        found.unwrap_or(Assignment { cluster: 0, change: Drain3Change::None, evicted: Vec::new() })
    }

    /// `TemplateMiner.match`: the cluster whose template a line fits as it is. Nothing changes, not even who was used last.
    pub fn matches(&mut self, line: &str, search: Drain3Search) -> Option<u64> {
        self.masks.read(line, &self.bounds, &mut self.line);
        match search {
            Drain3Search::Leaf => self.best_of_leaf(1.0, true),
            Drain3Search::LeafThenAll => self.best_of_leaf(1.0, true).or_else(|| self.best_of_all()),
            Drain3Search::All => self.best_of_all(),
        }
    }

    /// The template of a live cluster as Drain3 writes it.
    pub fn template(&self, cluster: u64) -> Option<String> {
        self.clusters.peek(&cluster).map(|cluster| cluster.tokens.join(" "))
    }

    /// The live clusters with their sizes, by number.
    pub fn clusters(&self) -> Vec<(u64, u64)> {
        let mut clusters: Vec<_> = self.clusters.iter().map(|(number, cluster)| (*number, cluster.size)).collect();
        clusters.sort_unstable();
        clusters
    }

    /// The cluster for the line that has been read.
    fn assign(&mut self, may: May) -> Option<Assignment> {
        let found = match may {
            May::Look => self.best_of_leaf(1.0, true),
            _ => self.best_of_leaf(self.sim_th, false),
        };
        match found {
            Some(number) => {
                let (line, param) = (&self.line, self.masks.param.as_str());
                let cluster = self.clusters.get_mut(&number)?;
                cluster.size += 1;
                let mut change = Drain3Change::None;
                if may != May::Look {
                    for (position, (token, theirs)) in cluster.tokens.iter_mut().zip(line.tokens()).enumerate() {
                        if **token != *theirs && **token != *param {
                            self.bytes = self.bytes.saturating_sub(cost(token, param) - cost(param, param));
                            *token = param.into();
                            if let Some(leaf) = self.branches.leaf_at(cluster.leaf) {
                                leaf.widen(number, position);
                            }
                            change = Drain3Change::Changed;
                        }
                    }
                }
                Some(Assignment { cluster: number, change, evicted: Vec::new() })
            }
            None if may == May::Create => Some(self.create()),
            None => None,
        }
    }

    fn create(&mut self) -> Assignment {
        self.bytes += self.line.tokens().map(|token| cost(token, &self.masks.param)).sum::<usize>();
        let mut evicted = Vec::new();
        while (self.clusters.len() >= self.clusters_max || self.bytes > self.bounds.templates_bytes_max)
            && let Some(number) = self.evict()
        {
            evicted.push(number);
        }
        self.counter += 1;
        let tokens: Vec<Box<str>> = self.line.tokens().map(Into::into).collect();
        if self.branches.is_overgrown() {
            let places = self.branches.prune();
            for (_, cluster) in &mut self.clusters {
                cluster.leaf = places.get(&cluster.leaf).copied().unwrap_or_default();
            }
        }
        let is_value = |token: &str| self.values_branch && Masks::has_digit(token);
        let leaf = self.branches.grow(tokens.len(), self.line.tokens(), &self.shape, is_value);
        self.clusters.insert(self.counter, Cluster { tokens, size: 1, leaf });
        self.put(self.counter);
        Assignment { cluster: self.counter, change: Drain3Change::Created, evicted }
    }

    /// Puts a cluster, the newest of all, into its leaf.
    fn put(&mut self, number: Number) {
        let Some(cluster) = self.clusters.peek(&number) else { return };
        if let Some(leaf) = self.branches.leaf_at(cluster.leaf) {
            leaf.push(number, &cluster.tokens, &self.masks.param);
        }
    }

    fn evict(&mut self) -> Option<Number> {
        let (number, cluster) = self.clusters.remove_lru()?;
        if let Some(leaf) = self.branches.leaf_at(cluster.leaf) {
            leaf.remove(number);
        }
        self.bytes = self.bytes.saturating_sub(cluster.tokens.iter().map(|token| cost(token, &self.masks.param)).sum());
        Some(number)
    }

    /// The most similar cluster of the line's leaf; of equals the one with more parameters, then the first. `None` below `sim_th`.
    fn best_of_leaf(&mut self, sim_th: f64, params_count: bool) -> Option<Number> {
        let Self { branches, clusters, line, masks, shape, sight, .. } = self;
        let leaf = branches.leaf(line.len(), line.tokens(), shape)?;
        let mut best = Best::new(line.len(), sim_th);
        if leaf.numbers().len() < FEW {
            for number in leaf.numbers() {
                best.consider(*number, likeness(clusters.peek(number), line, &masks.param, params_count));
            }
            return best.number();
        }
        for (number, agreeing, params) in sight.of(leaf, line.tokens()) {
            let equal_max = agreeing + if params_count { params } else { 0 };
            if best.may_yield(equal_max, params) {
                best.consider(number, likeness(clusters.peek(&number), line, &masks.param, params_count));
            }
        }
        best.number()
    }

    /// The same of all clusters with as many tokens as the line, where only a template that fits as it is counts.
    fn best_of_all(&self) -> Option<Number> {
        let mut best = Best::new(self.line.len(), 1.0);
        for number in self.branches.of_count(self.line.len()) {
            best.consider(number, likeness(self.clusters.peek(&number), &self.line, &self.masks.param, true));
        }
        best.number()
    }
}

/// Below so many clusters a leaf is compared as it is.
const FEW: usize = 8;

/// How many tokens are equal, and how many of the template's are parameters.
fn likeness(cluster: Option<&Cluster>, line: &Masked, param: &str, params_count: bool) -> Option<(usize, usize)> {
    let (mut equal, mut params) = (0, 0);
    for (token, theirs) in cluster?.tokens.iter().zip(line.tokens()) {
        if **token == *param {
            params += 1;
        } else if **token == *theirs {
            equal += 1;
        }
    }
    Some((equal + if params_count { params } else { 0 }, params))
}

/// The most similar cluster so far.
struct Best {
    found: Option<(usize, usize, Number)>,
    length: usize,
    sim_th: f64,
}

impl Best {
    fn new(length: usize, sim_th: f64) -> Self {
        Self { found: None, length, sim_th }
    }

    /// Could a cluster with at most so many equal tokens, and so many parameters, be better, and good enough?
    fn may_yield(&self, equal_max: usize, params: usize) -> bool {
        self.found.is_none_or(|(most, of_them, _)| (equal_max, params) > (most, of_them)) && self.is_enough(equal_max)
    }

    fn consider(&mut self, number: Number, likeness: Option<(usize, usize)>) {
        let Some((equal, params)) = likeness else { return };
        if self.found.is_none_or(|(most, of_them, _)| (equal, params) > (most, of_them)) {
            self.found = Some((equal, params, number));
        }
    }

    /// The one cluster without tokens fits by its count alone.
    fn is_enough(&self, equal: usize) -> bool {
        self.length == 0 || equal as f64 / self.length as f64 >= self.sim_th
    }

    fn number(&self) -> Option<Number> {
        self.found.filter(|(equal, ..)| self.is_enough(*equal)).map(|(.., number)| number)
    }
}

/// Bytes that a token of a template needs, now or once it is a parameter.
fn cost(token: &str, param: &str) -> usize {
    token.len().max(param.len()) + 1
}

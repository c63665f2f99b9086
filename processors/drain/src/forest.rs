//! The trees of one instance: one for all hosts, or one for each.

use hashlink::LruCache;
use schemas::EventTime;
use serde::{Deserialize, Serialize};
use stream_core::{SnapshotReader, SnapshotWriter, StateError, TopicPartition};

use crate::{
    activity::HOST_BYTES_MAX,
    catalogue::Catalogue,
    config::{Config, ConfigError, Mode, TreeScope},
    drain::Drain,
    snapshot::Snapshot,
    template::TemplateId,
    tree::Hasher,
};

/// Templates of all trees of hosts together: eight hundred hosts of a hundred templates of 100 bytes. Where there are more, the
/// tree of the host that has been silent for longest goes, as if its host had never been heard; more partitions make more room.
const TREES_BYTES_MAX: usize = 20 << 20;
/// Bytes of a tree of a host in the state, without templates, seeds, evictions and the host's name.
const TREE_FRAME_BYTES_MAX: u64 = 128;
const MODE: &str = "mode";
const TREES: &str = "trees";

/// A tree and what has been told of it.
#[derive(Debug)]
pub(crate) struct Plot {
    pub drain: Drain,
    pub catalogue: Catalogue,
    /// When an explosion of its templates was last told.
    pub explosion_told_at: EventTime,
    /// Bytes of its state when last measured.
    bytes: usize,
    /// Number of the line that was its last: the order in which trees go.
    touched: u64,
}

/// All trees of one instance.
#[derive(Debug)]
pub(crate) struct Forest {
    trees: Trees,
    at: TopicPartition,
}

#[derive(Debug)]
enum Trees {
    One(Box<Plot>),
    OfHosts(OfHosts),
}

#[derive(Debug)]
struct OfHosts {
    /// What a new host begins with: the seeds.
    nursery: Drain,
    /// Least recently heard first.
    plots: LruCache<Box<str>, Plot, Hasher>,
    hosts_max: usize,
    bytes: usize,
    bytes_max: usize,
    lines: u64,
}

#[derive(Serialize, Deserialize)]
struct TreeRow {
    host: String,
    touched: u64,
    explosion_told_at: EventTime,
    templates: Vec<u8>,
    usage: Vec<u8>,
    published: Vec<(TemplateId, EventTime)>,
}

impl Plot {
    fn new(drain: Drain, catalogue: Catalogue) -> Self {
        Self { drain, catalogue, explosion_told_at: EventTime::MIN, bytes: 0, touched: 0 }
    }
}

impl Forest {
    pub(crate) fn new(config: &Config, at: &TopicPartition) -> Result<Self, ConfigError> {
        let tree = config.of_tree();
        let drain = Drain::new(&tree)?;
        let trees = match config.tree_scope {
            TreeScope::Instance => Trees::One(Box::new(Plot::new(drain, Catalogue::new(at.to_string())))),
            TreeScope::Host => Trees::OfHosts(OfHosts {
                nursery: drain,
                plots: LruCache::with_hasher(usize::MAX, Hasher::default()),
                hosts_max: config.hosts_max.max(1),
                bytes: 0,
                bytes_max: TREES_BYTES_MAX,
                lines: 0,
            }),
        };
        Ok(Self { trees, at: at.clone() })
    }

    /// Whether hosts share a tree.
    pub(crate) fn is_shared(&self) -> bool {
        matches!(self.trees, Trees::One(_))
    }

    /// The tree for a line of `host`.
    pub(crate) fn plot(&mut self, host: &str) -> &mut Plot {
        match &mut self.trees {
            Trees::One(plot) => plot,
            Trees::OfHosts(hosts) => hosts.plot(host, &self.at),
        }
    }

    /// The tree of `host`, if it has been heard.
    pub(crate) fn drain(&self, host: &str) -> Option<&Drain> {
        match &self.trees {
            Trees::One(plot) => Some(&plot.drain),
            Trees::OfHosts(hosts) => hosts.plots.peek(host).map(|plot| &plot.drain),
        }
    }

    /// When an explosion of the one tree was last told; trees of hosts keep that to themselves.
    pub(crate) fn explosion_told_at(&self) -> EventTime {
        match &self.trees {
            Trees::One(plot) => plot.explosion_told_at,
            Trees::OfHosts(_) => EventTime::MIN,
        }
    }

    pub(crate) fn set_explosion_told_at(&mut self, at: EventTime) {
        if let Trees::One(plot) = &mut self.trees {
            plot.explosion_told_at = at;
        }
    }

    /// Measures the tree of `host` after a change; others make room for it.
    pub(crate) fn settle(&mut self, host: &str) {
        if let Trees::OfHosts(hosts) = &mut self.trees {
            hosts.settle(host);
        }
    }

    /// The largest state that these caps allow.
    pub(crate) fn state_bytes_bound(config: &Config) -> u64 {
        let tree = config.of_tree();
        let one = Drain::state_bytes_bound(&tree) + Catalogue::state_bytes_bound(&tree);
        match config.tree_scope {
            TreeScope::Instance => one,
            TreeScope::Host => {
                let (evictions, seeds) = (tree.clusters_max as u64 / 4 + 1, tree.seed_templates.len() as u64 + 1);
                let frame = TREE_FRAME_BYTES_MAX + HOST_BYTES_MAX as u64 + evictions * 10 + seeds * 8;
                // A tree that fills the room alone stands alone.
                one.max(TREES_BYTES_MAX as u64) + config.hosts_max as u64 * frame
            }
        }
    }

    /// Sections of its own for one tree, so that little of a large one is rewritten; the trees of hosts stand in one.
    pub(crate) fn snapshot(&self, config: &Config, w: &mut SnapshotWriter) -> Result<(), StateError> {
        match &self.trees {
            Trees::One(plot) => {
                let Snapshot { templates, usage } = plot.drain.snapshot();
                w.section("templates").extend(templates);
                w.section("usage").extend(usage);
                plot.catalogue.snapshot(w)?;
                if config.mode == Mode::Guarded { Ok(()) } else { w.put(MODE, &(config.mode, config.tree_scope)) }
            }
            Trees::OfHosts(hosts) => {
                w.put(TREES, &(hosts.rows(), hosts.lines))?;
                w.put(MODE, &(config.mode, config.tree_scope))
            }
        }
    }

    pub(crate) fn restore(r: &SnapshotReader<'_>, config: &Config, at: &TopicPartition) -> Result<Self, StateError> {
        let written: (Mode, TreeScope) = if r.section(MODE).is_some() { r.get(MODE)? } else { Default::default() };
        if written != (config.mode, config.tree_scope) {
            return Err(StateError::Config(format!(
                "drain.mode, drain.tree_scope: expected {written:?}, under which it was written, found {:?}; `nephoscope state reset drain` \
                 starts anew",
                (config.mode, config.tree_scope)
            )));
        }
        let mut forest = Self::new(config, at).map_err(|error| StateError::Config(error.to_string()))?;
        match &mut forest.trees {
            Trees::One(plot) => {
                let sections = Snapshot { templates: r.require("templates")?.into(), usage: r.require("usage")?.into() };
                plot.drain = plot.drain.restored(&config.of_tree(), &sections).map_err(|error| damaged("templates", &error))?;
                plot.catalogue = Catalogue::restore(r, at.to_string(), &plot.drain)?;
            }
            Trees::OfHosts(hosts) => hosts.restore(r, config, at)?,
        }
        Ok(forest)
    }
}

impl OfHosts {
    fn plot(&mut self, host: &str, at: &TopicPartition) -> &mut Plot {
        self.lines = self.lines.saturating_add(1);
        if !self.plots.contains_key(host) && self.plots.len() >= self.hosts_max {
            self.forget_oldest();
        }
        let (nursery, lines) = (&self.nursery, self.lines);
        let plot = self.plots.entry(host.into()).or_insert_with(|| Plot::new(nursery.clone(), Catalogue::new(format!("{at}/{host}"))));
        plot.touched = lines;
        plot
    }

    fn settle(&mut self, host: &str) {
        let Some(plot) = self.plots.peek_mut(host) else { return };
        let bytes = plot.drain.state_bytes();
        self.bytes = (self.bytes + bytes).saturating_sub(plot.bytes);
        plot.bytes = bytes;
        // The host of the line was touched last, so it goes last.
        while self.bytes > self.bytes_max && self.plots.len() > 1 {
            self.forget_oldest();
        }
    }

    fn forget_oldest(&mut self) {
        if let Some((_, plot)) = self.plots.remove_lru() {
            self.bytes = self.bytes.saturating_sub(plot.bytes);
        }
    }

    fn rows(&self) -> Vec<TreeRow> {
        let row = |host: &str, plot: &Plot| {
            let Snapshot { templates, usage } = plot.drain.snapshot();
            let (touched, explosion_told_at) = (plot.touched, plot.explosion_told_at);
            TreeRow { host: host.to_string(), touched, explosion_told_at, templates, usage, published: plot.catalogue.published() }
        };
        let mut rows: Vec<TreeRow> = self.plots.iter().map(|(host, plot)| row(host, plot)).collect();
        rows.sort_by(|a, b| a.host.cmp(&b.host));
        rows
    }

    fn restore(&mut self, r: &SnapshotReader<'_>, config: &Config, at: &TopicPartition) -> Result<(), StateError> {
        let (mut rows, lines): (Vec<TreeRow>, u64) = r.get(TREES)?;
        if !rows.is_sorted_by(|a, b| a.host < b.host) {
            return Err(StateError::Damaged { section: TREES.into(), detail: "expected hosts in order, each once".into() });
        }
        self.lines = lines;
        rows.sort_by(|a, b| (a.touched, &a.host).cmp(&(b.touched, &b.host)));
        let surplus = rows.len().saturating_sub(self.hosts_max);
        let tree = config.of_tree();
        for row in rows.into_iter().skip(surplus) {
            let sections = Snapshot { templates: row.templates, usage: row.usage };
            let drain = self.nursery.restored(&tree, &sections).map_err(|error| damaged(TREES, &error))?;
            let catalogue = Catalogue::known(row.published, format!("{at}/{}", row.host), &drain);
            let bytes = drain.state_bytes();
            self.bytes += bytes;
            let plot = Plot { explosion_told_at: row.explosion_told_at, bytes, touched: row.touched, ..Plot::new(drain, catalogue) };
            self.plots.insert(row.host.into(), plot);
        }
        Ok(())
    }
}

/// A damaged section, with everything that the error knows.
pub(crate) fn damaged(section: &str, error: &dyn std::error::Error) -> StateError {
    let (mut detail, mut cause) = (error.to_string(), error.source());
    while let Some(error) = cause {
        detail = format!("{detail}: {error}");
        cause = error.source();
    }
    StateError::Damaged { section: section.into(), detail }
}

#[cfg(test)]
mod tests {
    use stream_core::Partition;

    use super::*;

    #[test]
    fn the_tree_of_the_most_silent_host_goes_when_there_is_no_room() {
        let config = Config { tree_scope: TreeScope::Host, ..Config::default() };
        let mut forest = Forest::new(&config, &TopicPartition::new(&"logs.raw.v1".into(), Partition(0))).unwrap();
        let Trees::OfHosts(hosts) = &mut forest.trees else { panic!("a tree for each host") };
        hosts.bytes_max = 3_000;
        for (host, words) in [("a", "one"), ("b", "two"), ("a", "three"), ("c", "four")] {
            let plot = forest.plot(host);
            for k in ["x", "yy", "zzz"] {
                plot.drain.parse(&format!("{words} {} {k}", "w".repeat(180)), 0);
            }
            forest.settle(host);
        }
        assert!(forest.drain("a").is_some() && forest.drain("b").is_none() && forest.drain("c").is_some());
    }
}

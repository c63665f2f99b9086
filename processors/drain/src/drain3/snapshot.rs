//! The state of mode `drain3` as bytes and back: the branches, the clusters by number, and what every line changes.

use serde::{Deserialize, Serialize};

use super::branches::{Branches, NodeRow, Number, Place};
use super::reference::{About, Reference};
use super::{Cluster, cost};
use crate::config::CLUSTERS_CEILING;
use crate::explosion::ExplosionGuard;
use crate::snapshot::{Snapshot, SnapshotError, decode, encode};
use crate::template::TemplateId;

#[derive(Serialize, Deserialize)]
struct ClusterRow {
    number: Number,
    leaf: Place,
    cluster_id: TemplateId,
    version: u32,
    /// Joined by blanks, which no token holds.
    tokens: String,
}

#[derive(Serialize, Deserialize)]
struct Templates {
    branches: Vec<NodeRow>,
    clusters: Vec<ClusterRow>,
    counter: Number,
}

#[derive(Serialize, Deserialize)]
struct UsageRow {
    #[serde(with = "postcard::fixint::le")]
    size: u64,
    #[serde(with = "postcard::fixint::le")]
    first_seen: i64,
    #[serde(with = "postcard::fixint::le")]
    last_seen: i64,
    #[serde(with = "postcard::fixint::le")]
    touched: u64,
}

#[derive(Serialize, Deserialize)]
struct Usage {
    rows: Vec<UsageRow>,
    touches: u64,
    seeds: Vec<TemplateId>,
    evictions: Vec<i64>,
    paused_until: Option<i64>,
}

impl Reference {
    pub(crate) fn snapshot(&self) -> Snapshot {
        let (branches, places) = self.drain3.branches.rows();
        let mut rows = Vec::new();
        let mut clusters = Vec::new();
        for (number, about) in &self.about {
            let Some(cluster) = self.drain3.clusters.peek(number) else { continue };
            let leaf = places.get(&cluster.leaf).copied().unwrap_or_default();
            let tokens = cluster.tokens.join(" ");
            clusters.push(ClusterRow { number: *number, leaf, cluster_id: about.cluster_id, version: about.version, tokens });
            let (first_seen, last_seen, touched) = (about.first_seen, about.last_seen, about.touched);
            rows.push(UsageRow { size: cluster.size, first_seen, last_seen, touched });
        }
        let templates = Templates { branches, clusters, counter: self.drain3.counter };
        let (evictions, paused_until) = (self.explosion.evictions(), self.explosion.paused_until());
        let usage = Usage { rows, touches: self.touches, seeds: self.seeds.clone(), evictions, paused_until };
        Snapshot { templates: encode(&templates), usage: encode(&usage) }
    }

    /// The same settings with the clusters of a snapshot; under a smaller cap the least recent ones are left out.
    pub(crate) fn restored(&self, snapshot: &Snapshot) -> Result<Self, SnapshotError> {
        let templates: Templates = decode("templates", &snapshot.templates)?;
        let usage: Usage = decode("usage", &snapshot.usage)?;
        let invalid = |expected, found: usize| Err(SnapshotError::Invalid { expected, found: found.to_string() });
        let count = templates.clusters.len();
        if count != usage.rows.len() {
            return invalid("as many clusters as usage rows", count);
        }
        if count > CLUSTERS_CEILING || usage.evictions.len() > CLUSTERS_CEILING {
            return invalid("at most 65536 clusters and evictions", count.max(usage.evictions.len()));
        }
        let mut reference = self.empty();
        let drain3 = &mut reference.drain3;
        let Some(branches) = drain3.branches.restored(&templates.branches) else {
            return invalid("branches behind their parents, each once", templates.branches.len());
        };
        drain3.branches = branches;
        let counts = Branches::counts(&templates.branches);
        let mut rows: Vec<(ClusterRow, UsageRow)> = Vec::with_capacity(count);
        let mut last = 0;
        for (row, usage) in templates.clusters.into_iter().zip(usage.rows) {
            if row.number <= last || row.number > templates.counter {
                return invalid("clusters in the order of their numbers, up to the counter", row.number as usize);
            }
            if row.leaf as usize >= drain3.branches.len() {
                return invalid("a leaf among the branches", row.leaf as usize);
            }
            if row.tokens.len() > Self::template_bytes_max() {
                return invalid("a template within its bounds", row.tokens.len());
            }
            last = row.number;
            rows.push((row, usage));
        }
        drain3.counter = templates.counter;
        rows.sort_by_key(|(row, usage)| (usage.touched, row.number));
        let surplus = rows.len().saturating_sub(drain3.clusters_max);
        let mut kept: Vec<(Number, About)> = Vec::with_capacity(rows.len());
        for (row, usage) in rows.into_iter().skip(surplus) {
            let tokens: Vec<Box<str>> = row.tokens.split(' ').filter(|token| !token.is_empty()).map(Into::into).collect();
            if counts.get(row.leaf as usize).copied().flatten() != Some(tokens.len()) {
                return invalid("a leaf for templates of as many tokens", tokens.len());
            }
            let text = drain3.canonical(&tokens);
            drain3.bytes += tokens.iter().map(|token| cost(token, &drain3.masks.param)).sum::<usize>();
            drain3.clusters.insert(row.number, Cluster { tokens, size: usage.size, leaf: row.leaf });
            let about = About {
                id: TemplateId::of(&text),
                text,
                cluster_id: row.cluster_id,
                version: row.version,
                first_seen: usage.first_seen,
                last_seen: usage.last_seen,
                touched: usage.touched,
            };
            kept.push((row.number, about));
        }
        // A leaf holds its clusters in the order of their numbers.
        kept.sort_by_key(|(number, ..)| *number);
        for (number, about) in kept {
            reference.drain3.put(number);
            reference.take_back(number, about);
        }
        reference.touches = usage.touches;
        reference.seeds = usage.seeds;
        reference.explosion = ExplosionGuard::restore(reference.drain3.clusters_max, usage.evictions, usage.paused_until);
        Ok(reference)
    }
}

//! The state as bytes and back.
//!
//! Two sections, each sorted by template id so that a small change dirties few chunks: `templates` holds what seldom changes,
//! `usage` what every line changes, in fixed widths so that it never shifts. The memo of signatures is not state: see [`crate::signature`].

use serde::{Deserialize, Serialize};

use crate::config::{CLUSTERS_CEILING, Config, ConfigError};
use crate::explosion::ExplosionGuard;
use crate::guarded::Guarded;
use crate::template::{TEXT_BYTES_MAX, Template, TemplateId};
use crate::tree::Cluster;

/// Version of the layout below.
pub const STATE_VERSION: u16 = 2;

/// The state of a [`Drain`](crate::Drain), section by section.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Snapshot {
    /// Templates: ids, versions, texts.
    pub templates: Vec<u8>,
    /// Counts, times and recency of the same templates in the same order; counters of the instance.
    pub usage: Vec<u8>,
}

/// Why a snapshot was refused.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    /// The bytes are no section of ours.
    #[error("drain snapshot: section \"{section}\" cannot be decoded")]
    Decode {
        /// Name of the section.
        section: &'static str,
        /// What postcard says.
        source: postcard::Error,
    },
    /// The bytes decode but contradict each other or a bound.
    #[error("drain snapshot: expected {expected}, found {found}")]
    Invalid {
        /// What must hold.
        expected: &'static str,
        /// What came.
        found: String,
    },
    /// The configuration was refused.
    #[error("drain snapshot: the configuration it is to be restored under is refused")]
    Config(#[from] ConfigError),
}

#[derive(Serialize, Deserialize)]
struct TemplateRow {
    cluster_id: TemplateId,
    version: u32,
    text: String,
}

#[derive(Serialize, Deserialize)]
struct UsageRow {
    #[serde(with = "postcard::fixint::le")]
    count: u64,
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

impl Guarded {
    pub(crate) fn state_bytes_bound(config: &Config) -> u64 {
        const ROW_FRAME_BYTES_MAX: u64 = 8 + 5 + 2 + 32;
        const FRAME_BYTES_MAX: u64 = 64;
        let text_bytes = TEXT_BYTES_MAX.min(config.line_bytes_max + 2 * config.tokens_max + 4) as u64;
        let (clusters, seeds) = (config.clusters_max as u64, config.seed_templates.len() as u64 + 1);
        clusters * (text_bytes + ROW_FRAME_BYTES_MAX) + (clusters / 4 + 1) * 10 + seeds * 8 + FRAME_BYTES_MAX
    }

    pub(crate) fn snapshot(&self) -> Snapshot {
        let row = |c: &Cluster| TemplateRow { cluster_id: c.cluster_id, version: c.version, text: c.template.text.to_string() };
        let templates: Vec<TemplateRow> = self.tree.sorted().map(row).collect();
        let row = |c: &Cluster| UsageRow { count: c.count, first_seen: c.first_seen, last_seen: c.last_seen, touched: c.touched };
        let usage = Usage {
            rows: self.tree.sorted().map(row).collect(),
            touches: self.touches,
            seeds: self.seeds.clone(),
            evictions: self.explosion.evictions(),
            paused_until: self.explosion.paused_until(),
        };
        Snapshot { templates: encode(&templates), usage: encode(&usage) }
    }

    /// The same configuration with the templates of a snapshot.
    pub(crate) fn restored(&self, snapshot: &Snapshot) -> Result<Self, SnapshotError> {
        let config = &self.config;
        let templates: Vec<TemplateRow> = decode("templates", &snapshot.templates)?;
        let usage: Usage = decode("usage", &snapshot.usage)?;
        let invalid = |expected, found: usize| Err(SnapshotError::Invalid { expected, found: found.to_string() });
        if templates.len() != usage.rows.len() {
            return invalid("as many templates as usage rows", templates.len());
        }
        for (expected, length) in [("at most 65536 templates", templates.len()), ("at most 65536 evictions", usage.evictions.len())] {
            if length > CLUSTERS_CEILING {
                return invalid(expected, length);
            }
        }
        let mut clusters = Vec::with_capacity(templates.len());
        let mut last = None;
        for (row, usage) in templates.into_iter().zip(usage.rows) {
            if row.text.len() > TEXT_BYTES_MAX {
                return invalid("a template of at most 4096 bytes", row.text.len());
            }
            let Some(template) = Template::parse(&row.text) else {
                return Err(SnapshotError::Invalid { expected: "a canonical template", found: row.text });
            };
            let id = template.id;
            if last.replace(id).is_some_and(|last| last >= id) {
                return Err(SnapshotError::Invalid { expected: "templates in the order of their ids", found: id.to_string() });
            }
            clusters.push(Cluster {
                template,
                cluster_id: row.cluster_id,
                version: row.version,
                count: usage.count,
                first_seen: usage.first_seen,
                last_seen: usage.last_seen,
                touched: usage.touched,
            });
        }
        let mut drain = self.empty();
        clusters.sort_by_key(|cluster| (cluster.touched, cluster.template.id));
        let surplus = clusters.len().saturating_sub(config.clusters_max);
        for cluster in clusters.into_iter().skip(surplus) {
            let template = cluster.template.clone();
            let serial = drain.tree.insert(cluster);
            drain.fanout.insert(serial, &template);
        }
        drain.touches = usage.touches;
        drain.seeds = usage.seeds;
        drain.explosion = ExplosionGuard::restore(config.clusters_max, usage.evictions, usage.paused_until);
        Ok(drain)
    }
}

/// Encoding to memory fails for no type of ours; an empty section would be refused on the way back.
pub(crate) fn encode(value: &impl Serialize) -> Vec<u8> {
    postcard::to_stdvec(value).unwrap_or_default()
}

/// Decodes all of `bytes`; postcard checks lengths against the bytes left.
pub(crate) fn decode<'a, T: Deserialize<'a>>(section: &'static str, bytes: &'a [u8]) -> Result<T, SnapshotError> {
    match postcard::take_from_bytes(bytes) {
        Ok((value, [])) => Ok(value),
        Ok((_, rest)) => Err(SnapshotError::Invalid { expected: "no bytes behind the section", found: rest.len().to_string() }),
        Err(source) => Err(SnapshotError::Decode { section, source }),
    }
}

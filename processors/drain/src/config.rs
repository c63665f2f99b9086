//! Configuration of the template tree and its errors.

use serde::{Deserialize, Serialize};

/// `[drain]`: how lines become templates. Every bound is on by default.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Most clusters kept; beyond it the least recently matched one leaves. 4,096 templates cover a fleet of mixed hosts
    /// in a few MB.
    pub clusters_max: usize,
    /// Least share of equal content tokens for a line to join a cluster that must widen for it. One half: a line that shares less than
    /// that with a template has more that is its own than is the template's (.3 to .9 differ by .003 in grouping accuracy).
    pub sim_th: f64,
    /// Distinct words at one position of otherwise equal templates that make it a parameter. Mean grouping accuracy on eight systems
    /// of LogHub-2k is .991, .992, .992, .944 and .945 for 4, 5, 6, 8 and "never": fewer merges verbs, more keeps names.
    pub fanout: usize,
    /// Entries of the memo from line shape to cluster. 65,536 shapes are the working set of a busy instance, about 4 MB.
    pub signature_cache: usize,
    /// Bytes of a line that are parsed; the rest becomes one parameter. Loki cuts at the same length.
    pub line_bytes_max: usize,
    /// Tokens of a line that are parsed; the rest becomes one parameter.
    pub tokens_max: usize,
    /// `false`: inference only. Lines that match no template get the unknown id and nothing changes.
    pub learn: bool,
    /// Masks of the user, tried before the built-in ones, in this order.
    pub masks: Vec<MaskRule>,
    /// Words, or whole template texts, that never turn into a parameter.
    pub pin: Vec<String>,
    /// Templates known from the start, with `<*>` for each parameter.
    pub seed_templates: Vec<String>,
    /// Programs whose lines are passed on without a template.
    pub exclude_apps: Vec<String>,
    /// Hosts whose activity is remembered, the least recently heard leaves: at 512 templates of 65 bytes each a full house
    /// is 50 MB of state. More hosts: more partitions.
    pub hosts_max: usize,
    /// Lines that a host must have written before a new template of its is worth an alert.
    pub warmup_lines: u64,
    /// Minutes of event time for which it must have been seen.
    pub warmup_min: u32,
    /// How often each template of a host is seen.
    pub activity: ActivityConfig,
}

/// `[drain.activity]`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ActivityConfig {
    /// Length of the buckets in which lines are counted. A minute: cron's step, and enough lines to count.
    pub bucket_s: u32,
    /// Templates of a host that are counted, the least recently seen leaves.
    pub templates_max: usize,
}

impl Default for ActivityConfig {
    fn default() -> Self {
        Self { bucket_s: 60, templates_max: 512 }
    }
}

/// One mask of the user.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MaskRule {
    /// Name published with each value that the rule finds.
    pub name: String,
    /// Pattern in the syntax of the `regex` crate: no look-around, no back-references, hence linear in the line.
    pub pattern: String,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            clusters_max: 4096,
            sim_th: 0.5,
            fanout: 6,
            signature_cache: 65_536,
            line_bytes_max: 3000,
            tokens_max: 256,
            learn: true,
            masks: Vec::new(),
            pin: Vec::new(),
            seed_templates: Vec::new(),
            exclude_apps: Vec::new(),
            hosts_max: 1_500,
            warmup_lines: 1_000,
            warmup_min: 10,
            activity: ActivityConfig::default(),
        }
    }
}

/// Hard ceilings: a snapshot or a configuration beyond them is refused before anything is allocated for it.
pub(crate) const CLUSTERS_CEILING: usize = 65_536;
const HOSTS_CEILING: usize = 65_536;
const SIGNATURES_CEILING: usize = 1 << 22;
/// With 256 tokens a template is at most 3,500 + 2 · 256 + 4 bytes, hence never cut at [`crate::template::TEXT_BYTES_MAX`],
/// so equal texts and equal token sequences are the same thing.
const LINE_BYTES_CEILING: usize = 3500;
const TOKENS_CEILING: usize = 256;

impl Config {
    /// Checks every bound; the error names key, expectation and value.
    pub fn validate(&self) -> Result<(), ConfigError> {
        let within = |key, found: usize, low: usize, high: usize, expected| {
            if (low..=high).contains(&found) { Ok(()) } else { Err(ConfigError::OutOfRange { key, expected, found: found.to_string() }) }
        };
        within("clusters_max", self.clusters_max, 1, CLUSTERS_CEILING, "1 to 65536")?;
        within("fanout", self.fanout, 2, usize::MAX, "2 or more")?;
        within("signature_cache", self.signature_cache, 0, SIGNATURES_CEILING, "0 to 4194304")?;
        within("line_bytes_max", self.line_bytes_max, 64, LINE_BYTES_CEILING, "64 to 3500")?;
        within("tokens_max", self.tokens_max, 8, TOKENS_CEILING, "8 to 256")?;
        within("hosts_max", self.hosts_max, 1, HOSTS_CEILING, "1 to 65536")?;
        within("activity.bucket_s", self.activity.bucket_s as usize, 1, 3_600, "1 to 3600")?;
        within("activity.templates_max", self.activity.templates_max, 1, HOSTS_CEILING, "1 to 65536")?;
        if !(self.sim_th > 0.0 && self.sim_th <= 1.0) {
            return Err(ConfigError::OutOfRange { key: "sim_th", expected: "above 0, at most 1", found: self.sim_th.to_string() });
        }
        Ok(())
    }
}

/// Why a configuration was refused.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// A number outside its bounds.
    #[error("drain.{key}: expected {expected}, found {found}")]
    OutOfRange {
        /// Key in `[drain]`.
        key: &'static str,
        /// The accepted range.
        expected: &'static str,
        /// The value that came.
        found: String,
    },
    /// A user mask that does not compile.
    #[error("drain.masks: rule \"{name}\" is not a pattern the regex crate accepts")]
    Mask {
        /// Name of the rule.
        name: String,
        /// What the regex compiler says.
        source: Box<regex::Error>,
    },
}

impl From<ConfigError> for stream_core::ConfigError {
    fn from(error: ConfigError) -> Self {
        match error {
            ConfigError::OutOfRange { key, expected, found } => Self { key: key.into(), expected: expected.into(), found },
            ConfigError::Mask { name, source } => {
                let found = format!("rule {name:?}: {source}");
                Self { key: "masks".into(), expected: "patterns that the regex crate accepts".into(), found }
            }
        }
    }
}

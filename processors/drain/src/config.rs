//! Configuration of the template tree and its errors.

use std::io::Read as _;

use serde::{Deserialize, Serialize};

use crate::drain3::Drain3Error;

/// `[drain]`: how lines become templates. Every bound is on by default.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// How lines become templates. `"drain3"` is there to compare with, and for those whose templates must stay what they are.
    pub mode: Mode,
    /// Settings of mode `drain3`: the file, as Drain3 reads it; empty: Drain3's defaults.
    pub ini: String,
    /// Whose lines share a tree. A fleet teaches one tree faster; tenants who must not see each other need their own.
    pub tree_scope: TreeScope,
    /// Most clusters kept of a tree; beyond it the least recently matched one leaves. 4,096 templates cover a fleet of mixed hosts
    /// in a few MB; a tree of a single host keeps at most 1,024 of them.
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
    /// A file of log lines that are learnt before the first line of the stream.
    pub seed_logs: String,
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
    /// What stands in the files that are named above: no keys of their own.
    #[serde(skip_deserializing, skip_serializing_if = "Files::is_empty")]
    pub files: Files,
}

/// `mode`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// Drain with guards: one configuration for all systems.
    #[default]
    Guarded,
    /// Drain3 0.9.11, assignment for assignment.
    Drain3,
}

/// `tree_scope`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TreeScope {
    /// One tree for all hosts of a partition.
    #[default]
    Instance,
    /// A tree for each host: what one host writes changes nothing for another.
    Host,
}

/// The text of the files that a configuration names.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Files {
    /// Of [`Config::ini`].
    pub ini: String,
    /// Of [`Config::seed_logs`].
    pub seed_log: String,
}

impl Files {
    fn is_empty(&self) -> bool {
        self.ini.is_empty() && self.seed_log.is_empty()
    }
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
            mode: Mode::Guarded,
            ini: "drain3.ini".into(),
            tree_scope: TreeScope::Instance,
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
            seed_logs: String::new(),
            exclude_apps: Vec::new(),
            hosts_max: 1_500,
            warmup_lines: 1_000,
            warmup_min: 10,
            activity: ActivityConfig::default(),
            files: Files::default(),
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
pub(crate) const TOKENS_CEILING: usize = 256;
/// Clusters of the tree of a single host, and entries of its memo.
const HOST_CLUSTERS_MAX: usize = 1_024;
/// Largest file that is taken in.
const FILE_BYTES_MAX: u64 = 16 << 20;

impl Config {
    /// Takes in the files that are named, once, at the start.
    ///
    /// # Errors
    /// If one cannot be read.
    pub fn with_files(mut self) -> Result<Self, ConfigError> {
        let read = |key, path: &str| {
            let unreadable = |source| ConfigError::File { key, path: path.into(), source };
            let file = std::fs::File::open(path).map_err(unreadable)?;
            let mut bytes = Vec::new();
            file.take(FILE_BYTES_MAX).read_to_end(&mut bytes).map_err(unreadable)?;
            Ok::<_, ConfigError>(String::from_utf8_lossy(&bytes).into_owned())
        };
        if self.mode == Mode::Drain3 && !self.ini.is_empty() {
            self.files.ini = read("ini", &self.ini)?;
        }
        if !self.seed_logs.is_empty() {
            self.files.seed_log = read("seed_logs", &self.seed_logs)?;
        }
        Ok(self)
    }

    /// The configuration of one tree.
    pub(crate) fn of_tree(&self) -> Self {
        let most = match self.tree_scope {
            TreeScope::Instance => usize::MAX,
            TreeScope::Host => HOST_CLUSTERS_MAX,
        };
        Self { clusters_max: self.clusters_max.min(most), signature_cache: self.signature_cache.min(most), ..self.clone() }
    }

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
    /// A file that cannot be read.
    #[error("drain.{key}: expected a file that can be read, found {path}")]
    File {
        /// Key in `[drain]`.
        key: &'static str,
        /// The file.
        path: String,
        /// Why not.
        source: std::io::Error,
    },
    /// A `drain3.ini` that cannot be used.
    #[error(transparent)]
    Drain3(#[from] Drain3Error),
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
            ConfigError::File { key, path, source } => {
                Self { key: key.into(), expected: "a file that can be read".into(), found: format!("{path}: {source}") }
            }
            ConfigError::Drain3(error) => {
                let cause = std::error::Error::source(&error).map_or_else(String::new, |cause| format!(": {cause}"));
                Self { key: "ini".into(), expected: "settings as Drain3 0.9.11 reads them".into(), found: format!("{error}{cause}") }
            }
            ConfigError::Mask { name, source } => {
                let found = format!("rule {name:?}: {source}");
                Self { key: "masks".into(), expected: "patterns that the regex crate accepts".into(), found }
            }
        }
    }
}

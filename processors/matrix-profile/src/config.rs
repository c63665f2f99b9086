//! Configuration of the sequence detector.

use serde::{Deserialize, Serialize};
use stream_core::ConfigError;
use verdict::Provider;

/// `[matrix_profile]`: how a host's lines become a score. Every bound is on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Records of a host that are training; the published method takes as many.
    pub training: u32,
    /// Windows that are remembered of a host, the least recently shown leaves. With learning on, 512 and 1,024 alert alike on the
    /// recordings at hand.
    pub store_max: usize,
    /// How much of a verdict depends on novelty: with one half a familiar fault counts half, and its repetition tells.
    pub novelty_weight: f64,
    /// What a line of the window counts against the next newer one.
    pub age_decay: f64,
    /// Score from which an alert is raised where a person or a table decides.
    pub threshold: f64,
    /// Score from which an alert is raised where only the local model decides.
    pub threshold_local: f64,
    /// Windows that score less are learned.
    pub push_below: f64,
    /// How long a record waits for those that happened before it, in event time of its host.
    pub reorder_ms: i64,
    /// Hosts that are remembered, the longest silent leaves and has to be learned anew. More hosts: more partitions.
    pub hosts_max: usize,
    /// An alert ends after this much event time without a further score above its threshold.
    pub resolve_after_s: u32,
    /// Template ids that are left out, such as those of a noisy cron job.
    pub exclude_templates: Vec<String>,
    /// Tell also of windows that are unlike everything before although nothing in them sounds like a failure.
    pub novel_sequences: bool,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            training: 150,
            store_max: 1_024,
            novelty_weight: 0.5,
            age_decay: 0.25,
            threshold: 0.5,
            threshold_local: 0.7,
            push_below: 0.4,
            reorder_ms: 2_000,
            hosts_max: 1_000,
            resolve_after_s: 900,
            exclude_templates: Vec::new(),
            novel_sequences: false,
        }
    }
}

const HOSTS_CEILING: usize = 65_536;
const STORE_CEILING: usize = 16_384;
const EXCLUDED_CEILING: usize = 4_096;

impl Config {
    /// Checks every bound; the error names key, expectation and value.
    ///
    /// # Errors
    /// If a value is outside its bounds.
    pub fn validate(&self) -> Result<(), ConfigError> {
        let refuse = |key: &str, expected: &str, found: String| Err(ConfigError { key: key.into(), expected: expected.into(), found });
        let counts = [
            ("training", self.training as usize, 4, 1_000_000, "4 to 1000000"),
            ("store_max", self.store_max, 1, STORE_CEILING, "1 to 16384"),
            ("hosts_max", self.hosts_max, 1, HOSTS_CEILING, "1 to 65536"),
            ("resolve_after_s", self.resolve_after_s as usize, 1, 86_400, "1 to 86400"),
            ("exclude_templates", self.exclude_templates.len(), 0, EXCLUDED_CEILING, "at most 4096 ids"),
        ];
        for (key, found, low, high, expected) in counts {
            if !(low..=high).contains(&found) {
                return refuse(key, expected, found.to_string());
            }
        }
        if !(0..=600_000).contains(&self.reorder_ms) {
            return refuse("reorder_ms", "0 to 600000", self.reorder_ms.to_string());
        }
        let shares = [
            ("novelty_weight", self.novelty_weight),
            ("age_decay", self.age_decay),
            ("threshold", self.threshold),
            ("threshold_local", self.threshold_local),
            ("push_below", self.push_below),
        ];
        for (key, found) in shares {
            if !(0.0..=1.0).contains(&found) {
                return refuse(key, "0 to 1", found.to_string());
            }
        }
        if self.push_below > self.threshold.min(self.threshold_local) {
            return refuse("push_below", "at most both thresholds: what is told must not be learned", self.push_below.to_string());
        }
        match self.exclude_templates.iter().find(|id| id.parse::<schemas::TemplateId>().is_err()) {
            Some(id) => refuse("exclude_templates", "template ids of sixteen hex digits", id.clone()),
            None => Ok(()),
        }
    }

    /// What scoring needs of it.
    pub fn scoring(&self) -> Scoring {
        Scoring {
            training: self.training,
            store_max: self.store_max,
            novelty_weight: self.novelty_weight,
            age_decay: self.age_decay,
            threshold: self.threshold,
            threshold_local: self.threshold_local,
            push_below: self.push_below,
            profile_from: if self.novel_sequences { 0.0 } else { self.push_below },
        }
    }
}

/// How a window is scored. See [`Config`] for the meaning of what has the same name.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Scoring {
    /// Records of a host that are training.
    pub training: u32,
    /// Windows of a host.
    pub store_max: usize,
    /// λ.
    pub novelty_weight: f64,
    /// γ.
    pub age_decay: f64,
    /// θ where a verdict is confirmed.
    pub threshold: f64,
    /// θ where it is a guess.
    pub threshold_local: f64,
    /// Windows that score less are learned.
    pub push_below: f64,
    /// A window that could not score this much even if it were entirely new scores 0 without a look at the past. Up to
    /// [`Scoring::push_below`] this changes neither alerts nor what is learned; 0 gives every score exactly.
    pub profile_from: f64,
}

impl Default for Scoring {
    fn default() -> Self {
        Config::default().scoring()
    }
}

impl Scoring {
    /// The default with every score exact.
    pub fn exact() -> Self {
        Self { profile_from: 0.0, ..Self::default() }
    }

    /// What a score is compared with where this provider's word decides.
    pub fn threshold_of(&self, provider: Provider) -> f64 {
        if provider.is_confirmed() { self.threshold } else { self.threshold_local }
    }
}

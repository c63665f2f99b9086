//! Configuration: how long things belong together, how much is kept, and what speaks for a cause.

use serde::{Deserialize, Serialize};
use stream_core::ConfigError;

/// `[incident]`: which alerts make one story.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// An incident takes in new alerts for this long after its last one. Ten minutes: longer than a fault takes to reach the services
    /// that depend on it, shorter than the time between two faults.
    pub join_ms: i64,
    /// An incident is over when all its alerts have been over for this long. Five minutes: what comes back sooner was never gone.
    pub resolve_after_ms: i64,
    /// An incident is told at most once in this time.
    pub emit_every_ms: i64,
    /// An alert that began or ended this often within `flap_window_ms` is flapping: it is told once and keeps its incident open until
    /// it has been steady for that window.
    pub flap_transitions: u32,
    /// See `flap_transitions`.
    pub flap_window_ms: i64,
    /// How long it is remembered that one thing has to do with another. A day: what names each other once does so again.
    pub edge_ms: i64,
    /// An alert of which nothing was heard for this long counts as over: whoever sent it is gone.
    pub stale_ms: i64,
    /// Things that are remembered; the ones that were heard of least recently leave.
    pub things_max: usize,
    /// Incidents that are open; beyond, the least severe is closed.
    pub open_max: usize,
    /// A host or VM whose heartbeat is not heard for this long is silent. 18 s: six beats of three seconds, as in VMFT-LAD's ground truth.
    pub silent_ms: i64,
    /// Who was heard less often than this is not missed.
    pub pulses_min: u64,
    /// Hosts and VMs whose heartbeats are watched; the one that has been silent for longest leaves.
    pub names_max: usize,
    /// Programs that speak for their machine: what they say is about it, and weighs as hardware and kernel do.
    pub machine_programs: Vec<String>,
    /// Programs that speak for their host without being its hardware: what they say is about the host, not about them.
    pub host_programs: Vec<String>,
    /// What speaks for a cause.
    pub weights: Weights,
}

/// `[incident.weights]`: what speaks for a cause. Chosen on half of the stories of `nephoscope-eval incident`, checked on the other half.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Weights {
    /// An alert of severity critical.
    pub critical: f64,
    /// An alert of severity high.
    pub high: f64,
    /// An alert of severity warning.
    pub warning: f64,
    /// An alert of severity info or low.
    pub info: f64,
    /// Factor of what hardware and kernel say.
    pub machine: f64,
    /// Factor of what is said about a virtual machine.
    pub vm: f64,
    /// Factor of what the network says.
    pub network: f64,
    /// Factor of what services say.
    pub service: f64,
    /// Factor of what was merely never said before.
    pub novelty: f64,
    /// An alert counts for 1/e when it began this long after the incident. Causes precede symptoms.
    pub decay_s: f64,
    /// For each thing around whose alerts began later.
    pub precedes: f64,
    /// For each thing whose alerts name this one.
    pub named: f64,
    /// Share that an alert keeps if it names another that is in trouble, or that several name; the rest passes to that one.
    pub blames: f64,
    /// For each further host on which a service says the same.
    pub spread: f64,
    /// Share of an alert about a service that also counts for the machine that it runs on.
    pub share: f64,
    /// For each of these kinds of evidence, at most so many things count.
    pub counted_max: u32,
}

impl Default for Config {
    fn default() -> Self {
        let list = |names: &[&str]| names.iter().map(|name| (*name).to_string()).collect();
        Self {
            join_ms: 600_000,
            resolve_after_ms: 300_000,
            emit_every_ms: 5_000,
            flap_transitions: 4,
            flap_window_ms: 1_800_000,
            edge_ms: 86_400_000,
            stale_ms: 86_400_000,
            things_max: 20_000,
            open_max: 1_000,
            silent_ms: 18_000,
            pulses_min: 10,
            names_max: 20_000,
            machine_programs: list(&["kernel", "ipmievd", "mcelog", "mdadm", "multipathd", "rasdaemon", "smartd", "thermald"]),
            host_programs: list(&[
                "auditd",
                "chronyd",
                "cron",
                "dbus-daemon",
                "init",
                "ntpd",
                "sshd",
                "su",
                "sudo",
                "systemd",
                "systemd-logind",
            ]),
            weights: Weights::default(),
        }
    }
}

impl Default for Weights {
    fn default() -> Self {
        Self {
            critical: 4.0,
            high: 3.0,
            warning: 2.0,
            info: 1.0,
            machine: 1.0,
            vm: 0.9,
            network: 0.8,
            service: 0.6,
            novelty: 0.5,
            decay_s: 120.0,
            precedes: 0.5,
            named: 1.0,
            blames: 0.5,
            spread: 0.5,
            share: 0.5,
            counted_max: 4,
        }
    }
}

/// Ceiling of `things_max`.
const THINGS_CEILING: usize = 100_000;
/// Ceiling of `names_max`.
const NAMES_CEILING: usize = 50_000;
/// Ceiling of `open_max`.
const OPEN_CEILING: usize = 10_000;

impl Config {
    /// Checks every bound.
    ///
    /// # Errors
    /// The first key that is out of bounds, what would do, and what stands there.
    pub fn validate(&self) -> Result<(), ConfigError> {
        let error = |key: &str, expected: &str, found: String| ConfigError { key: key.into(), expected: expected.into(), found };
        let spans = [
            ("join_ms", self.join_ms),
            ("resolve_after_ms", self.resolve_after_ms),
            ("emit_every_ms", self.emit_every_ms),
            ("flap_window_ms", self.flap_window_ms),
            ("edge_ms", self.edge_ms),
            ("stale_ms", self.stale_ms),
            ("silent_ms", self.silent_ms),
        ];
        if let Some((key, found)) = spans.into_iter().find(|(_, found)| !(1..=30 * 86_400_000).contains(found)) {
            return Err(error(key, "1 ms to 30 days", found.to_string()));
        }
        if !(2..=16).contains(&self.flap_transitions) {
            return Err(error("flap_transitions", "2 to 16", self.flap_transitions.to_string()));
        }
        if !(1..=THINGS_CEILING).contains(&self.things_max) {
            return Err(error("things_max", "1 to 100000", self.things_max.to_string()));
        }
        if !(1..=NAMES_CEILING).contains(&self.names_max) {
            return Err(error("names_max", "1 to 50000", self.names_max.to_string()));
        }
        if !(1..=OPEN_CEILING).contains(&self.open_max) {
            return Err(error("open_max", "1 to 10000", self.open_max.to_string()));
        }
        let weights = self.weights.all();
        if let Some((key, found)) = weights.into_iter().find(|(_, found)| !(0.0..=1_000.0).contains(found)) {
            return Err(error(&format!("weights.{key}"), "0 to 1000", found.to_string()));
        }
        if self.weights.decay_s < 1.0 {
            return Err(error("weights.decay_s", "1 or more", self.weights.decay_s.to_string()));
        }
        Ok(())
    }
}

impl Weights {
    fn all(&self) -> [(&'static str, f64); 15] {
        [
            ("critical", self.critical),
            ("high", self.high),
            ("warning", self.warning),
            ("info", self.info),
            ("machine", self.machine),
            ("vm", self.vm),
            ("network", self.network),
            ("service", self.service),
            ("novelty", self.novelty),
            ("decay_s", self.decay_s),
            ("precedes", self.precedes),
            ("named", self.named),
            ("blames", self.blames),
            ("spread", self.spread),
            ("share", self.share),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_work_is_refused_by_name() {
        let key = |config: Config| config.validate().map_err(|error| error.key);
        assert_eq!(key(Config::default()), Ok(()));
        assert_eq!(key(Config { join_ms: 0, ..Config::default() }), Err("join_ms".into()));
        assert_eq!(key(Config { flap_transitions: 1, ..Config::default() }), Err("flap_transitions".into()));
        assert_eq!(key(Config { things_max: 0, ..Config::default() }), Err("things_max".into()));
        assert_eq!(key(Config { open_max: 1 << 20, ..Config::default() }), Err("open_max".into()));
        for (weights, name) in [
            (Weights { named: -1.0, ..Weights::default() }, "weights.named"),
            (Weights { high: f64::NAN, ..Weights::default() }, "weights.high"),
            (Weights { decay_s: 0.0, ..Weights::default() }, "weights.decay_s"),
        ] {
            assert_eq!(key(Config { weights, ..Config::default() }), Err(name.into()));
        }
    }
}

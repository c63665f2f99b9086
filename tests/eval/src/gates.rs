//! The numbers that must be reached, from `gates.toml`.

use std::collections::BTreeMap;

use anyhow::Context;
use serde::Deserialize;

use crate::report::{Bound, Gate, Row, mean};

/// All gates, by suite.
#[derive(Clone, Debug, Deserialize)]
pub struct Gates(BTreeMap<String, BTreeMap<String, Group>>);

/// Targets for the mean over a group of sets.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Group {
    /// The sets; checked only if all are present. Empty = whatever is present.
    #[serde(default)]
    sets: Vec<String>,
    /// The mode whose rows are checked; every mode if none is named.
    mode: Option<String>,
    /// Metric to the least value of its mean.
    #[serde(default)]
    at_least: BTreeMap<String, f64>,
    /// Metric to the greatest value of its mean.
    #[serde(default)]
    at_most: BTreeMap<String, f64>,
}

impl Gates {
    /// The gates that are kept beside this crate.
    pub fn shipped() -> anyhow::Result<Self> {
        toml::from_str(include_str!("../gates.toml")).context("reading gates.toml")
    }

    /// Checks the rows of a suite.
    pub(crate) fn check(&self, suite: &str, rows: &[Row]) -> Vec<Gate> {
        let mut gates = Vec::new();
        for (name, group) in self.0.get(suite).into_iter().flatten() {
            let is_mode = |row: &&Row| group.mode.as_ref().is_none_or(|mode| *mode == row.mode);
            let chosen = rows.iter().filter(is_mode).filter(|row| group.sets.is_empty() || group.sets.contains(&row.set));
            let (count, wanted) = (chosen.clone().count(), group.sets.len());
            if count == 0 || count < wanted {
                continue;
            }
            let means = mean(chosen);
            let least = group.at_least.iter().map(|target| (target, Bound::AtLeast));
            let most = group.at_most.iter().map(|target| (target, Bound::AtMost));
            for ((metric, &target), bound) in least.chain(most) {
                let value = means.get(metric.as_str()).copied().unwrap_or(f64::NAN);
                gates.push(Gate { name: format!("{name}.{metric}"), value, target, bound, pass: bound.holds(value, target) });
            }
        }
        gates
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(set: &str, ga: f64) -> Row {
        Row { set: set.into(), mode: "m".into(), metrics: [("ga", ga)].into() }
    }

    #[test]
    fn a_group_may_name_its_mode_and_bound_from_above() {
        let gates: Gates =
            toml::from_str("[s.a]\nmode = \"m\"\nat_most = { ga = 0.5 }\n[s.b]\nmode = \"n\"\nat_least = { ga = 0.5 }").unwrap();
        let passed: Vec<bool> = [0.4, 0.6].map(|ga| gates.check("s", &[row("A", ga)])[0].pass).into();
        assert_eq!(passed, [true, false]);
        assert_eq!(gates.check("s", &[row("A", 0.4)]).len(), 1, "no row has mode n");
    }

    #[test]
    fn a_group_counts_only_when_all_its_sets_are_present_and_the_default_always() {
        let gates: Gates =
            toml::from_str("[s.default]\nat_least = { ga = 0.5 }\n[s.known]\nsets = [\"A\", \"B\"]\nat_least = { ga = 0.7 }").unwrap();
        let names = |rows: &[Row]| gates.check("s", rows).into_iter().map(|g| (g.name, g.pass)).collect::<Vec<_>>();
        assert_eq!(names(&[row("A", 0.4), row("C", 0.8)]), [("default.ga".to_owned(), true)]);
        assert_eq!(
            names(&[row("A", 0.4), row("B", 0.8), row("C", 0.0)]),
            [("default.ga".to_owned(), false), ("known.ga".to_owned(), false)]
        );
        assert!(names(&[]).is_empty());
    }

    #[test]
    fn a_metric_that_is_missing_misses_its_gate() {
        let gates: Gates = toml::from_str("[s.default]\nat_least = { fga = 0.0 }").unwrap();
        assert!(!gates.check("s", &[row("A", 1.0)])[0].pass);
    }

    #[test]
    fn the_shipped_gates_are_read() {
        let gates = Gates::shipped().unwrap();
        assert!(gates.0.contains_key("loghub"));
    }
}

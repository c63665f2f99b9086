//! Alert rules of Prometheus, and what `promtool` is told to expect of them.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;
use serde_json::Value;

use crate::{FileError, promql::Names, yaml};

const SEVERITIES: [&str; 2] = ["critical", "warning"];

/// A rule file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs, reason = "the names are Prometheus'")]
pub struct RuleFile {
    pub groups: Vec<Group>,
}

/// Rules that are evaluated together.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs, reason = "the names are Prometheus'")]
pub struct Group {
    pub name: String,
    pub rules: Vec<Rule>,
}

/// An alert rule.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs, reason = "the names are Prometheus'")]
pub struct Rule {
    pub alert: String,
    pub expr: String,
    #[serde(rename = "for")]
    pub lasting: Option<String>,
    pub labels: BTreeMap<String, String>,
    pub annotations: BTreeMap<String, String>,
}

/// A test file of `promtool`.
#[derive(Debug, Deserialize)]
struct TestFile {
    tests: Vec<Test>,
}

#[derive(Debug, Deserialize)]
struct Test {
    alert_rule_test: Vec<Expectation>,
}

#[derive(Debug, Deserialize)]
struct Expectation {
    alertname: String,
    exp_alerts: Vec<Value>,
}

impl RuleFile {
    /// Reads one.
    ///
    /// # Errors
    /// If it is no YAML, or holds a key that nobody looked at.
    pub fn parse(text: &str) -> Result<Self, FileError> {
        yaml("alert rules", text)
    }

    /// All rules.
    pub fn rules(&self) -> impl Iterator<Item = &Rule> {
        self.groups.iter().flat_map(|group| &group.rules)
    }

    /// What is wrong with them.
    pub fn problems(&self) -> Vec<String> {
        let (mut problems, mut names) = (Vec::new(), BTreeSet::new());
        for rule in self.rules() {
            let mut complain = |problem: String| problems.push(format!("{}: {problem}", rule.alert));
            if !names.insert(&rule.alert) || !rule.alert.starts_with("Nephoscope") {
                complain("expected a name of its own that begins with Nephoscope".into());
            }
            let severity = rule.labels.get("severity").map(String::as_str).unwrap_or_default();
            if !SEVERITIES.contains(&severity) {
                complain(format!("severity: expected one of {SEVERITIES:?}, found {severity:?}"));
            }
            for key in ["summary", "description"] {
                if rule.annotations.get(key).is_none_or(String::is_empty) {
                    complain(format!("it has no {key}"));
                }
            }
            Names::of(&rule.expr).unknown().into_iter().for_each(complain);
        }
        problems
    }

    /// The rules that no test of `promtool` sees firing.
    ///
    /// # Errors
    /// If the test file has another form.
    pub fn untested(&self, tests: &str) -> Result<Vec<&str>, FileError> {
        let file: TestFile = yaml("tests of alert rules", tests)?;
        let expectations = file.tests.iter().flat_map(|test| &test.alert_rule_test);
        let seen: BTreeSet<&str> =
            expectations.filter(|expected| !expected.exp_alerts.is_empty()).map(|expected| expected.alertname.as_str()).collect();
        Ok(self.rules().map(|rule| rule.alert.as_str()).filter(|name| !seen.contains(name)).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::read;

    fn problems(change: impl FnOnce(String) -> String) -> Vec<String> {
        match RuleFile::parse(&change(read("deploy/prometheus/nephoscope.rules.yml").expect("is there"))) {
            Ok(rules) => rules.problems(),
            Err(error) => vec![error.to_string()],
        }
    }

    #[test]
    fn ours_are_right() {
        assert_eq!(problems(|text| text), Vec::<String>::new());
    }

    #[test]
    fn each_fault_is_found() {
        for (from, to, expected) in [
            ("alert: NephoscopeStuck", "alert: Stuck", "Stuck: expected a name of its own"),
            ("alert: NephoscopeStuck", "alert: NephoscopePartDown", "NephoscopePartDown: expected a name of its own"),
            ("severity: warning", "severity: urgent", "severity: expected one of"),
            ("          summary:", "          sumary:", "it has no summary"),
            ("nephoscope_dlq_total", "nephoscope_dead_letters_total", "there is no metric nephoscope_dead_letters_total"),
            ("{result!=", "{outcome!=", "nephoscope_commits_total has no label outcome"),
            ("        for: 1m", "        fro: 1m", "unknown field"),
        ] {
            let found = problems(|text| {
                assert!(text.contains(from), "{from}");
                text.replacen(from, to, 1)
            });
            assert!(found.iter().any(|problem| problem.contains(expected)), "{expected}: {found:#?}");
        }
    }

    #[test]
    fn a_rule_without_a_test_is_named() {
        let rules = RuleFile::parse(&read("deploy/prometheus/nephoscope.rules.yml").expect("is there")).expect("are rules");
        let tests = read("deploy/prometheus/nephoscope.rules.test.yml").expect("is there");
        assert_eq!(rules.untested(&tests).expect("are tests"), Vec::<&str>::new());
        let renamed = tests.replace("alertname: NephoscopeStuck", "alertname: NephoscopeStill");
        assert_eq!(rules.untested(&renamed).expect("are tests"), ["NephoscopeStuck"]);
    }
}

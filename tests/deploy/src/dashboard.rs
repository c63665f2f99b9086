//! Grafana's dashboards: what Grafana needs to show one, and questions that our metrics answer.

use std::collections::BTreeSet;

use serde::Deserialize;

use crate::{FileError, promql::Names};

/// The grid is so many columns wide.
const COLUMNS: u32 = 24;
/// Kinds of panel that Grafana brings along.
const KINDS: [&str; 3] = ["stat", "table", "timeseries"];
/// Grafana's own variables, and what stands for them where a query is read by others.
pub const VARIABLES: [(&str, &str); 1] = [("$__rate_interval", "5m")];

/// A dashboard, as far as we hold it; its whole form is for Grafana's own types to judge.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
#[allow(missing_docs, reason = "the names are Grafana's")]
pub struct Dashboard {
    pub uid: String,
    pub title: String,
    pub schema_version: u32,
    pub panels: Vec<Panel>,
    pub templating: Templating,
}

/// Its variables.
#[derive(Debug, Deserialize)]
#[allow(missing_docs, reason = "the names are Grafana's")]
pub struct Templating {
    pub list: Vec<Variable>,
}

/// A variable.
#[derive(Debug, Deserialize)]
#[allow(missing_docs, reason = "the names are Grafana's")]
pub struct Variable {
    pub name: String,
    #[serde(rename = "type")]
    pub kind: String,
    pub query: serde_json::Value,
    pub datasource: Option<Source>,
}

/// A panel.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
#[allow(missing_docs, reason = "the names are Grafana's")]
pub struct Panel {
    pub id: u32,
    #[serde(rename = "type")]
    pub kind: String,
    pub title: String,
    #[serde(default)]
    pub description: String,
    pub grid_pos: Place,
    pub datasource: Option<Source>,
    #[serde(default)]
    pub targets: Vec<Target>,
}

/// Where a panel stands.
#[derive(Debug, Clone, Copy, Deserialize)]
#[allow(missing_docs, reason = "the names are Grafana's")]
pub struct Place {
    pub x: u32,
    pub y: u32,
    pub w: u32,
    pub h: u32,
}

/// Whom it asks.
#[derive(Debug, PartialEq, Eq, Deserialize)]
#[allow(missing_docs, reason = "the names are Grafana's")]
pub struct Source {
    #[serde(rename = "type")]
    pub kind: String,
    pub uid: String,
}

/// A question.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
#[allow(missing_docs, reason = "the names are Grafana's")]
pub struct Target {
    pub ref_id: String,
    pub expr: String,
    pub datasource: Source,
}

impl Dashboard {
    /// Reads one.
    ///
    /// # Errors
    /// If it is no JSON, or lacks what every dashboard has.
    pub fn parse(what: &str, text: &str) -> Result<Self, FileError> {
        serde_json::from_str(text).map_err(|error| FileError::form(what, error))
    }

    /// All its questions, Grafana's own variables replaced.
    pub fn expressions(&self) -> impl Iterator<Item = String> {
        let fill = |expression: &str| VARIABLES.iter().fold(expression.to_string(), |text, (name, value)| text.replace(name, value));
        self.panels.iter().flat_map(|panel| &panel.targets).map(move |target| fill(&target.expr))
    }

    /// What is wrong with it.
    pub fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        if self.uid.is_empty() || self.uid.len() > 40 || self.schema_version < 39 {
            problems.push(format!("expected a uid of up to 40 characters and a schema of Grafana 11 or later, found {:?}", self.uid));
        }
        let mut ids = BTreeSet::new();
        for panel in &self.panels {
            let mut complain = |problem: String| problems.push(format!("panel {} {:?}: {problem}", panel.id, panel.title));
            if !ids.insert(panel.id) {
                complain("its id is taken".into());
            }
            let Place { x, w, h, .. } = panel.grid_pos;
            if w == 0 || h == 0 || x + w > COLUMNS {
                complain(format!("it does not fit into {COLUMNS} columns: {:?}", panel.grid_pos));
            }
            if panel.kind != "row" {
                self.check_panel(panel, &mut complain);
            }
        }
        for (at, panel) in self.panels.iter().enumerate() {
            let covered = self.panels[..at].iter().filter(|other| overlap(panel.grid_pos, other.grid_pos));
            problems.extend(covered.map(|other| format!("panel {} lies on panel {}", panel.id, other.id)));
        }
        for variable in self.templating.list.iter().filter(|variable| variable.kind == "query") {
            let query = variable.query.get("query").and_then(|query| query.as_str()).unwrap_or_default();
            let inner = query.strip_prefix("label_values(").and_then(|rest| rest.strip_suffix(')')).and_then(|rest| rest.rsplit_once(", "));
            match inner {
                Some((metric, label)) => {
                    let unknown = Names::of(&format!("count by ({label}) ({metric})")).unknown();
                    problems.extend(unknown.into_iter().map(|problem| format!("variable {}: {problem}", variable.name)));
                }
                None => problems.push(format!("variable {}: expected label_values(metric, label), found {query:?}", variable.name)),
            }
            if !variable.datasource.as_ref().is_some_and(|source| self.is_known(source)) {
                problems
                    .push(format!("variable {}: expected the data source of the variable, found {:?}", variable.name, variable.datasource));
            }
        }
        problems
    }

    fn check_panel(&self, panel: &Panel, complain: &mut impl FnMut(String)) {
        if !KINDS.contains(&panel.kind.as_str()) {
            complain(format!("its kind is {:?}, expected one of {KINDS:?}", panel.kind));
        }
        if panel.title.is_empty() || panel.description.is_empty() {
            complain("expected a title and a description".into());
        }
        if panel.targets.is_empty() {
            complain("it asks nothing".into());
        }
        let mut refs = BTreeSet::new();
        for target in &panel.targets {
            if !refs.insert(&target.ref_id) {
                complain(format!("its query {} stands twice", target.ref_id));
            }
            for source in panel.datasource.iter().chain([&target.datasource]) {
                if !self.is_known(source) {
                    complain(format!("expected the data source of the variable, found {source:?}"));
                }
            }
            if panel.datasource.is_none() {
                complain("it has no data source".into());
            }
            for variable in variables(&target.expr) {
                let is_known = self.templating.list.iter().any(|known| known.name == variable);
                if !is_known && !VARIABLES.iter().any(|(name, _)| name[1..] == *variable) {
                    complain(format!("there is no variable ${variable}"));
                }
            }
            Names::of(&target.expr).unknown().into_iter().for_each(&mut *complain);
        }
    }

    /// Whether it is the data source that the reader chooses.
    fn is_known(&self, source: &Source) -> bool {
        let name = source.uid.strip_prefix("${").and_then(|rest| rest.strip_suffix('}'));
        let is_chosen = |name| self.templating.list.iter().any(|variable| variable.name == name && variable.kind == "datasource");
        source.kind == "prometheus" && name.is_some_and(is_chosen)
    }
}

fn overlap(a: Place, b: Place) -> bool {
    a.x < b.x + b.w && b.x < a.x + a.w && a.y < b.y + b.h && b.y < a.y + a.h
}

/// The names behind each dollar sign.
fn variables(expression: &str) -> impl Iterator<Item = &str> {
    expression.split('$').skip(1).map(|rest| {
        let end = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(rest.len());
        &rest[..end]
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::read;

    fn problems(change: impl FnOnce(String) -> String) -> Vec<String> {
        let text = change(read("deploy/grafana/dashboards/nephoscope.json").expect("is there"));
        match Dashboard::parse("dashboard", &text) {
            Ok(dashboard) => dashboard.problems(),
            Err(error) => vec![error.to_string()],
        }
    }

    #[test]
    fn ours_is_right() {
        assert_eq!(problems(|text| text), Vec::<String>::new());
    }

    #[test]
    fn each_fault_is_found() {
        for (from, to, expected) in [
            ("\"uid\": \"nephoscope\"", "\"uid\": \"\"", "expected a uid"),
            ("\"schemaVersion\": 41", "\"schemaVersion\": 16", "expected a uid of up to 40 characters and a schema"),
            ("\"schemaVersion\"", "\"schema\"", "missing field `schemaVersion`"),
            ("\"id\": 2,", "\"id\": 1,", "its id is taken"),
            ("\"x\": 4,", "\"x\": 3,", "lies on panel"),
            ("\"x\": 20,", "\"x\": 21,", "does not fit"),
            ("\"type\": \"timeseries\"", "\"type\": \"graph\"", "its kind is \"graph\""),
            ("\"uid\": \"${datasource}\"", "\"uid\": \"prometheus\"", "expected the data source of the variable"),
            ("nephoscope_lag_records", "nephoscope_lags", "there is no metric nephoscope_lags"),
            ("sum by (stage, topic)", "sum by (stage, host)", "nothing in it has a label host"),
            ("$__rate_interval", "$interval", "there is no variable $interval"),
            ("label_values(nephoscope_commits_total, stage)", "label_values(nephoscope_commits_total, host)", "variable stage: nothing"),
        ] {
            let found = problems(|text| {
                assert!(text.contains(from), "{from}");
                text.replacen(from, to, 1)
            });
            assert!(found.iter().any(|problem| problem.contains(expected)), "{expected}: {found:#?}");
        }
    }
}

//! What a suite hands back: a table for people, the same numbers for programs.

use std::collections::BTreeMap;
use std::fmt::Write;

use serde::Serialize;

/// Metric name (snake case, as in the table heads) to value.
pub type Metrics = BTreeMap<&'static str, f64>;

/// One system or set.
#[derive(Clone, Debug, Serialize)]
pub struct Row {
    /// Name of its folder.
    pub set: String,
    /// Mode of the detector.
    pub mode: String,
    /// Its numbers.
    pub metrics: Metrics,
}

/// Unweighted mean over the rows of one mode.
#[derive(Clone, Debug, Serialize)]
pub struct Mean {
    /// Mode of the detector.
    pub mode: String,
    /// The means.
    pub metrics: Metrics,
}

/// A number that must be reached.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Gate {
    /// Where it applies and which metric it is, as `default.ga`.
    pub name: String,
    /// What was measured.
    pub value: f64,
    /// What must be reached.
    pub target: f64,
    /// From which side.
    pub bound: Bound,
    /// Whether it was.
    pub pass: bool,
}

impl Gate {
    /// For people.
    pub(crate) fn line(&self) -> String {
        let verdict = if self.pass { "reached" } else { "MISSED" };
        format!("gate {} {} {}: {} {verdict}\n", self.name, self.bound.sign(), number(self.target), number(self.value))
    }
}

/// Which side of a target is good.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Bound {
    /// The target or more.
    AtLeast,
    /// The target or less.
    AtMost,
}

impl Bound {
    fn sign(self) -> char {
        match self {
            Self::AtLeast => '≥',
            Self::AtMost => '≤',
        }
    }

    /// Whether a value reaches a target; one that is not a number does not.
    pub(crate) fn holds(self, value: f64, target: f64) -> bool {
        match self {
            Self::AtLeast => value >= target,
            Self::AtMost => value <= target,
        }
    }
}

/// At most six decimals, no needless ones.
fn number(value: f64) -> String {
    let text = format!("{value:.6}");
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').into() } else { text }
}

/// The JSON of a suite.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// Name of the suite.
    pub suite: &'static str,
    /// One row per system or set.
    pub rows: Vec<Row>,
    /// Means per mode.
    pub mean: Vec<Mean>,
    /// Gates and whether they were reached.
    pub gates: Vec<Gate>,
}

/// A finished suite.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// For people.
    pub text: String,
    /// For programs.
    pub report: Report,
}

/// Means of the metrics that all rows have; empty without rows.
pub(crate) fn mean<'a>(rows: impl Iterator<Item = &'a Row> + Clone) -> Metrics {
    let count = rows.clone().count() as f64;
    let mut means = Metrics::new();
    for row in rows {
        for (name, value) in &row.metrics {
            *means.entry(name).or_default() += value / count;
        }
    }
    means
}

/// Columns of text, numbers to the right.
#[derive(Debug, Default)]
pub struct Table {
    lines: Vec<Vec<String>>,
}

impl Table {
    /// A table with these heads.
    pub fn new<S: Into<String>>(heads: impl IntoIterator<Item = S>) -> Self {
        Self { lines: vec![heads.into_iter().map(Into::into).collect()] }
    }

    /// Adds a line.
    pub fn line(&mut self, cells: Vec<String>) {
        self.lines.push(cells);
    }

    /// The table as text, first column to the left.
    pub fn render(&self) -> String {
        let columns = self.lines.iter().map(Vec::len).max().unwrap_or(0);
        let width = |column: usize| self.lines.iter().filter_map(|l| l.get(column)).map(|cell| cell.chars().count()).max().unwrap_or(0);
        let widths: Vec<usize> = (0..columns).map(width).collect();
        let mut text = String::new();
        for line in &self.lines {
            for (column, (cell, width)) in line.iter().zip(&widths).enumerate() {
                let _ = if column == 0 { write!(text, "{cell:<width$}") } else { write!(text, "  {cell:>width$}") };
            }
            text.truncate(text.trim_end().len());
            text.push('\n');
        }
        text
    }
}

//! The published detector with the published providers, and whether the published counts come out.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use matrix_profile::{Vmft, VmftParams};

use super::counts::{Counts, Criterion, FIRST_ROW, PublishedRow, auc, auc_published};
use super::dataset::{Data, Recording, Set};
use crate::report::Metrics;

/// Thresholds of the published tables: 0, .01 … .35.
const THRESHOLDS: u32 = 36;
/// The τ of the published per-row scores. A row at exactly this distance is still near, so an alarm is a score above it.
pub const TAU: f64 = 0.15;

/// Who says which template is faulty.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Feedback {
    /// Nobody: everything that is far from the past counts.
    None,
    /// The cached verdicts of `templates.csv`; a template that is not there is not faulty.
    Table,
}

impl Feedback {
    /// Folder of the published counts.
    fn method(self) -> &'static str {
        match self {
            Self::None => "vmft-lad_Fake",
            Self::Table => "vmft-lad_GPT3",
        }
    }
}

/// The faulty templates of the table.
pub fn faulty(data: &Data) -> BTreeSet<i64> {
    data.templates.iter().filter(|(_, template)| template.is_faulty).map(|(number, _)| *number).collect()
}

/// Scores of both kinds of feedback, row by row from `first` on: they share the search.
fn both_scores(recording: &Recording, faulty: &BTreeSet<i64>, params: VmftParams, first: usize) -> [Vec<f64>; 2] {
    let mut vmft = Vmft::new(params);
    let mut scores = [Vec::with_capacity(recording.templates.len()), Vec::with_capacity(recording.templates.len())];
    // Rows since the last faulty template.
    let mut harmless = params.m;
    for (row, template) in recording.templates.iter().enumerate() {
        harmless = if faulty.contains(template) { 0 } else { harmless + 1 };
        let distance = match row < first {
            true => {
                vmft.pass(*template);
                None
            }
            false => vmft.distance(*template),
        };
        for (scores, is_any_faulty) in scores.iter_mut().zip([true, harmless < params.m]) {
            scores.push(distance.map_or(0.0, |distance| params.score(distance, is_any_faulty)));
        }
    }
    scores
}

/// Scores at the threshold of the published per-row scores.
pub fn scores(recording: &Recording, faulty: &BTreeSet<i64>, feedback: Feedback) -> Vec<f64> {
    let [none, table] = both_scores(recording, faulty, VmftParams::with_threshold(TAU), 0);
    if feedback == Feedback::None { none } else { table }
}

/// The counts of a set at every threshold, without feedback and with the table.
pub struct Tables {
    /// By feedback, then by threshold.
    counts: [Vec<Counts>; 2],
}

impl Tables {
    /// Runs a new detector for each recording and threshold.
    pub fn of(set: &Set, faulty: &BTreeSet<i64>) -> Self {
        let mut counts = [Vec::new(), Vec::new()];
        for step in 0..THRESHOLDS {
            let tau = f64::from(step) / 100.0;
            let mut at_tau = [Counts::default(); 2];
            for recording in set.recordings.iter().filter(|recording| recording.failure.is_some()) {
                let scores = both_scores(recording, faulty, VmftParams::with_threshold(tau), FIRST_ROW);
                at_tau.iter_mut().zip(&scores).for_each(|(counts, scores)| counts.add(recording, scores, tau));
            }
            counts.iter_mut().zip(at_tau).for_each(|(list, counts)| list.push(counts));
        }
        Self { counts }
    }

    fn of_feedback(&self, feedback: Feedback) -> &[Counts] {
        let [none, table] = &self.counts;
        if feedback == Feedback::None { none } else { table }
    }

    /// Areas by both tie rules, and how many published rows come out, for those criteria that were published.
    pub fn metrics(&self, feedback: Feedback, published: &[std::path::PathBuf]) -> anyhow::Result<Metrics> {
        let counts = self.of_feedback(feedback);
        let mut metrics = areas(counts);
        let Some(folder) = published.iter().find(|path| path.file_name().is_some_and(|name| name == feedback.method())) else {
            return Ok(metrics);
        };
        let (mut rows, mut unequal) = (0, 0);
        for (criterion, file) in [(Criterion::One, "criteria1.csv"), (Criterion::Two, "criteria2.csv")] {
            let path = folder.join(file);
            if !path.is_file() {
                continue;
            }
            for row in PublishedRow::read(&path)? {
                let step = (0..THRESHOLDS).position(|step| (f64::from(step) / 100.0 - row.threshold).abs() < 1e-9);
                let ours = step.and_then(|step| counts.get(step));
                rows += 1;
                unequal += usize::from(!ours.is_some_and(|ours| row.equals(ours, criterion)));
            }
        }
        metrics.insert("published_rows", rows as f64);
        metrics.insert("published_rows_unequal", unequal as f64);
        Ok(metrics)
    }
}

/// Areas by both tie rules and both criteria.
fn areas(counts: &[Counts]) -> Metrics {
    let areas = [
        ("auc_c1", auc(counts, Criterion::One)),
        ("auc_c2", auc(counts, Criterion::Two)),
        ("auc_published_c1", auc_published(counts, Criterion::One)),
        ("auc_published_c2", auc_published(counts, Criterion::Two)),
    ];
    areas.into_iter().filter_map(|(name, area)| Some((name, area?))).collect()
}

/// Areas of another method from its published counts; the keys tell which were there.
pub fn published_areas(folder: &Path) -> anyhow::Result<BTreeMap<&'static str, f64>> {
    let mut found = BTreeMap::new();
    for (criterion, file, fixed, theirs) in
        [(Criterion::One, "criteria1.csv", "auc_c1", "auc_published_c1"), (Criterion::Two, "criteria2.csv", "auc_c2", "auc_published_c2")]
    {
        let path = folder.join(file);
        if path.is_file() {
            let counts: Vec<Counts> = PublishedRow::read(&path)?.iter().map(PublishedRow::counts).collect();
            found.extend(auc(&counts, criterion).map(|area| (fixed, area)));
            found.extend(auc_published(&counts, criterion).map(|area| (theirs, area)));
        }
    }
    Ok(found)
}

//! Everything that is said of one detector.

use super::alarms::Alarms;
use super::counts::{Counts, Criterion, auc, auc_exact, benign_stretches, first_telling_row};
use super::dataset::{Data, Recording, Set};
use super::view;
use crate::report::{Metrics, Row};

/// A detector's scores of every recording, in the order of the data.
pub struct Judged {
    /// Name of its mode.
    pub mode: String,
    /// Threshold that was fixed before anybody looked at these data.
    pub threshold: f64,
    /// By set, recording, row.
    pub scores: Vec<Vec<Vec<f64>>>,
}

/// Name of the row over all sets.
pub const ALL: &str = "all";

impl Judged {
    /// Scores every recording with `score`.
    pub fn new(mode: impl Into<String>, threshold: f64, data: &Data, mut score: impl FnMut(&Set, &Recording) -> Vec<f64>) -> Self {
        let of_set =
            |set: &Set, score: &mut dyn FnMut(&Set, &Recording) -> Vec<f64>| set.recordings.iter().map(|r| score(set, r)).collect();
        let scores = data.sets.iter().map(|set| of_set(set, &mut score)).collect();
        Self { mode: mode.into(), threshold, scores }
    }

    /// One row for each set with failures, and one over everything.
    pub fn rows(&self, data: &Data) -> Vec<Row> {
        let mut rows = Vec::new();
        let mut all = Vec::new();
        for (set, scores) in data.sets.iter().zip(&self.scores) {
            let pairs: Vec<(&Recording, &[f64])> = set.recordings.iter().zip(scores.iter().map(Vec::as_slice)).collect();
            all.extend(&pairs);
            if set.has_failures() {
                let mut metrics = roc(&pairs);
                metrics.extend(self.alarms(&pairs));
                rows.push(Row { set: set.name.clone(), mode: self.mode.clone(), metrics });
            }
        }
        let mut metrics = self.alarms(&all);
        metrics.extend(self.views(&all));
        rows.push(Row { set: ALL.into(), mode: self.mode.clone(), metrics });
        rows
    }

    fn alarms(&self, pairs: &[(&Recording, &[f64])]) -> Metrics {
        let mut alarms = Alarms::default();
        pairs.iter().for_each(|(recording, scores)| alarms.add(recording, scores, self.threshold));
        let mut metrics = Metrics::from([
            ("files", pairs.len() as f64),
            ("lines", pairs.iter().map(|(_, scores)| scores.len()).sum::<usize>() as f64),
            ("failures", alarms.failures as f64),
            ("benign_rows", alarms.benign_rows as f64),
            ("fp_rows", alarms.false_rows as f64),
            ("fpr", alarms.false_rate()),
            ("early", alarms.early_rate()),
            ("lead_min", alarms.lead_mean()),
            ("lead_median_min", alarms.lead_quantile(0.5)),
            ("lead_p5_min", alarms.lead_quantile(0.05)),
            ("lead_least_min", alarms.lead_quantile(0.0)),
        ]);
        // The threshold that looking at these data would choose: the highest that still tells every failure in time.
        if let Some(threshold) = highest_for_all(pairs) {
            let mut chosen = Alarms::default();
            pairs.iter().for_each(|(recording, scores)| chosen.add(recording, scores, threshold));
            metrics.extend([("threshold_chosen", threshold), ("fp_rows_chosen", chosen.false_rows as f64)]);
        }
        metrics
    }

    fn views(&self, pairs: &[(&Recording, &[f64])]) -> Metrics {
        const C1: [[&str; 3]; 3] = [
            ["nab_c1_standard", "nab_c1_low_fp", "nab_c1_low_fn"],
            ["nab_c1_standard_published_null", "nab_c1_low_fp_published_null", "nab_c1_low_fn_published_null"],
            ["nab_c1_standard_fixed", "nab_c1_low_fp_fixed", "nab_c1_low_fn_fixed"],
        ];
        const C2: [[&str; 3]; 3] = [
            ["nab_c2_standard", "nab_c2_low_fp", "nab_c2_low_fn"],
            ["nab_c2_standard_published_null", "nab_c2_low_fp_published_null", "nab_c2_low_fn_published_null"],
            ["nab_c2_standard_fixed", "nab_c2_low_fp_fixed", "nab_c2_low_fn_fixed"],
        ];
        let mut metrics = Metrics::new();
        for (criterion, names) in [(Criterion::One, C1), (Criterion::Two, C2)] {
            let corpus = view::corpus(pairs.iter().copied(), criterion);
            let values = [view::own(&corpus), view::published(&corpus), view::fixed(&corpus, self.threshold)];
            metrics.extend(names.into_iter().flatten().zip(values.into_iter().flatten()));
        }
        metrics
    }
}

/// Exact areas and those on the grid 0, .05 … 1.
fn roc(pairs: &[(&Recording, &[f64])]) -> Metrics {
    let highest = |scores: &[f64], rows: std::ops::Range<usize>| {
        scores.get(rows.start..rows.end.min(scores.len())).unwrap_or_default().iter().copied().fold(0.0, f64::max)
    };
    let (mut benign, mut early, mut ever) = (Vec::new(), Vec::new(), Vec::new());
    let mut grid = vec![Counts::default(); 21];
    for (recording, scores) in pairs {
        let Some(failure) = recording.failure else { continue };
        benign.extend(benign_stretches(failure.injected).map(|rows| highest(scores, rows)));
        let first = first_telling_row(failure.injected);
        early.push(highest(scores, first..failure.failed.max(first)));
        ever.push(highest(scores, first..scores.len().max(first)));
        for (step, counts) in grid.iter_mut().enumerate() {
            counts.add(recording, scores, step as f64 / 20.0);
        }
    }
    let mut metrics = Metrics::from([
        ("benign_stretches", benign.len() as f64),
        ("auc_exact_c1", auc_exact(&benign, &ever)),
        ("auc_exact_c2", auc_exact(&benign, &early)),
    ]);
    metrics.extend(auc(&grid, Criterion::One).map(|area| ("auc_grid_c1", area)));
    metrics.extend(auc(&grid, Criterion::Two).map(|area| ("auc_grid_c2", area)));
    metrics
}

fn highest_for_all(pairs: &[(&Recording, &[f64])]) -> Option<f64> {
    let highest = |(recording, scores): &(&Recording, &[f64])| {
        let failure = recording.labelled()?;
        let rows = scores.get(first_telling_row(failure.injected)..failure.failed.min(scores.len()))?;
        rows.iter().copied().max_by(f64::total_cmp)
    };
    pairs.iter().filter_map(highest).min_by(f64::total_cmp)
}

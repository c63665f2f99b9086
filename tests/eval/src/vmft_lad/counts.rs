//! Confusion counts as the authors count them, and areas under the curves that they make.

use std::cmp::Ordering;
use std::path::Path;

use anyhow::Context;
use serde::Deserialize;

use super::dataset::Recording;

/// First row whose score counts.
pub const FIRST_ROW: usize = 151;
/// Benign rows are judged in stretches that end at multiples of this.
const STRETCH: usize = 200;

/// Counts over a set at one threshold.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Failures told before they happened.
    pub tp: usize,
    /// Failures told only after.
    pub tp_late: usize,
    /// Failures never told.
    pub fn_: usize,
    /// Benign stretches in which something was told.
    pub fp: usize,
    /// Benign stretches in silence.
    pub tn: usize,
}

/// Which detections of a failure count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Criterion {
    /// Also those that come after the failure.
    One,
    /// Only those before it.
    Two,
}

/// The stretches of benign rows of a recording.
pub fn benign_stretches(injected: usize) -> impl Iterator<Item = std::ops::Range<usize>> {
    let end = injected.saturating_sub(1);
    let mut row = FIRST_ROW;
    std::iter::from_fn(move || {
        let start = row;
        let next = (start / STRETCH + 1) * STRETCH;
        row = next.min(end);
        (start < end).then_some(start..row)
    })
}

/// Row from which a failure may be told: it has been injected, and the detector has left its training.
pub fn first_telling_row(injected: usize) -> usize {
    injected.saturating_sub(1).max(FIRST_ROW)
}

impl Counts {
    /// Adds a recording that ends in a failure. Positive: a score of at least `threshold`.
    pub fn add(&mut self, recording: &Recording, scores: &[f64], threshold: f64) {
        let Some(failure) = recording.failure else { return };
        let is_positive = |row: usize| scores.get(row).is_some_and(|score| *score >= threshold);
        for stretch in benign_stretches(failure.injected) {
            match stretch.into_iter().any(is_positive) {
                true => self.fp += 1,
                false => self.tn += 1,
            }
        }
        let told = (first_telling_row(failure.injected)..scores.len()).find(|row| is_positive(*row));
        match told {
            Some(row) if row < failure.failed => self.tp += 1,
            Some(_) => self.tp_late += 1,
            None => self.fn_ += 1,
        }
    }

    /// False and true positive rate.
    fn point(&self, criterion: Criterion) -> (f64, f64) {
        let told = self.tp + if criterion == Criterion::One { self.tp_late } else { 0 };
        let share = |part: usize, whole: usize, of_none: f64| if whole == 0 { of_none } else { part as f64 / whole as f64 };
        (share(self.fp, self.fp + self.tn, 0.0), share(told, self.tp + self.tp_late + self.fn_, 1.0))
    }
}

/// Area under the points (0, 0), …, those of equal false positive rate by their true positive rate. None for a single threshold.
pub fn auc(counts: &[Counts], criterion: Criterion) -> Option<f64> {
    area(counts, criterion, |a, b| a.0.total_cmp(&b.0).then(a.1.total_cmp(&b.1)))
}

/// The same where equal false positive rates stay in the order of their thresholds and the area is cut to three digits: as published.
pub fn auc_published(counts: &[Counts], criterion: Criterion) -> Option<f64> {
    area(counts, criterion, |a, b| a.0.total_cmp(&b.0)).map(|area| (area * 1_000.0).floor() / 1_000.0)
}

fn area(counts: &[Counts], criterion: Criterion, order: impl Fn(&(f64, f64), &(f64, f64)) -> Ordering) -> Option<f64> {
    if counts.len() < 2 {
        return None;
    }
    let mut points: Vec<(f64, f64)> = counts.iter().map(|counts| counts.point(criterion)).collect();
    points.insert(0, (0.0, 0.0));
    points.sort_by(order);
    Some(points.windows(2).map(|pair| (pair[1].0 - pair[0].0) * (pair[1].1 + pair[0].1) / 2.0).sum())
}

/// Probability that a failure scores above a benign stretch, ties as one half: the exact area, with every threshold there is.
pub fn auc_exact(benign: &[f64], failures: &[f64]) -> f64 {
    let mut sorted = benign.to_vec();
    sorted.sort_by(f64::total_cmp);
    let above = |value: &f64| {
        let (below, up_to) = (sorted.partition_point(|other| other < value), sorted.partition_point(|other| other <= value));
        (below + up_to) as f64 / 2.0
    };
    failures.iter().map(above).sum::<f64>() / (benign.len() * failures.len()) as f64
}

/// One published row.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub struct PublishedRow {
    /// Threshold.
    #[serde(rename = "threshold")]
    pub threshold: f64,
    tp: f64,
    tn: f64,
    fp: f64,
    #[serde(rename = "FN")]
    fn_: f64,
    /// Only where detections after the failure are told apart.
    #[serde(default)]
    tp_late: f64,
}

impl PublishedRow {
    /// Reads a table of counts.
    pub fn read(path: &Path) -> anyhow::Result<Vec<Self>> {
        let mut reader = csv::Reader::from_path(path).with_context(|| format!("expected counts at {}", path.display()))?;
        reader.deserialize().collect::<Result<_, _>>().with_context(|| format!("reading {}", path.display()))
    }

    /// The same as counts; where late detections are not told apart, all count as in time.
    pub fn counts(&self) -> Counts {
        let whole = |count: f64| count as usize;
        Counts { tp: whole(self.tp), tp_late: whole(self.tp_late), fn_: whole(self.fn_), fp: whole(self.fp), tn: whole(self.tn) }
    }

    /// Whether it says what `ours` says.
    pub fn equals(&self, ours: &Counts, criterion: Criterion) -> bool {
        let ours = match criterion {
            Criterion::One => Counts { tp: ours.tp + ours.tp_late, tp_late: 0, ..*ours },
            Criterion::Two => *ours,
        };
        self.counts() == ours
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stretches_end_at_multiples_of_two_hundred_and_before_the_injection() {
        let stretches: Vec<_> = benign_stretches(452).collect();
        assert_eq!(stretches, [151..200, 200..400, 400..451]);
        assert_eq!(benign_stretches(401).collect::<Vec<_>>(), [151..200, 200..400]);
        assert!(benign_stretches(152).next().is_none() && benign_stretches(0).next().is_none());
    }

    fn counts(tp: usize, fp: usize) -> Counts {
        Counts { tp, fp, tn: 4 - fp, fn_: 4 - tp, tp_late: 0 }
    }

    #[test]
    fn ties_are_sorted_by_the_fixed_rule_and_left_alone_by_the_published_one() {
        // FPR ½ twice: in the order of the thresholds the curve jumps up and falls again.
        let list = [counts(4, 2), counts(2, 2), counts(2, 0)];
        assert_eq!(auc(&list, Criterion::Two), Some(0.5 * (0.5 + 0.5) / 2.0));
        assert_eq!(auc_published(&list, Criterion::Two), Some(0.5 * (0.5 + 1.0) / 2.0));
        assert_eq!(auc(&list[..1], Criterion::Two), None);
    }

    #[test]
    fn a_late_detection_counts_by_the_first_criterion_only() {
        let late = Counts { tp_late: 4, fp: 1, tn: 1, ..Counts::default() };
        assert_eq!((late.point(Criterion::One), late.point(Criterion::Two)), ((0.5, 1.0), (0.5, 0.0)));
    }

    #[test]
    fn the_exact_area_counts_ties_half() {
        assert_eq!(auc_exact(&[0.1, 0.5], &[0.5, 0.9]), (1.5 + 2.0) / 4.0);
    }
}

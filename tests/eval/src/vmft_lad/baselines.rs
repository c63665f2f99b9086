//! What takes no detector: rows that tell how much of a number is owed to the data.

use std::collections::BTreeSet;

use matrix_profile::Scoring;

use super::dataset::{Data, Set};
use super::evaluation::Judged;
use super::faithful;
use super::semantic::{FAULTY, NORMAL, Verdicts};
use crate::report::Row;

/// Rows of training, as the detectors have them.
const TRAINING: usize = 150;

/// The verdict on the newest template alone, at the threshold that its provider has.
pub(super) fn verdict_alone(mode: &str, verdicts: &Verdicts<'_>, data: &Data) -> Judged {
    let threshold = Scoring::default().threshold_of(verdicts.provider);
    let p = |set: &Set, template: &i64| (verdicts.probability)(set, *template);
    Judged::new(mode, threshold, data, |set, recording| recording.templates.iter().map(|template| p(set, template)).collect())
}

/// The verdict of the table alone, and "this template was never seen before".
pub(super) fn rows(data: &Data) -> Vec<Row> {
    let faulty = faithful::faulty(data);
    let p = |template: &i64| if faulty.contains(template) { FAULTY } else { NORMAL };
    let verdict = Judged::new("verdict-alone/table", 0.5, data, |_, recording| recording.templates.iter().map(p).collect());
    let novelty = Judged::new("never-seen-before", 0.5, data, |_, recording| {
        let mut seen = BTreeSet::new();
        let rows = recording.templates.iter().enumerate();
        rows.map(|(row, template)| f64::from(u8::from(seen.insert(*template) && row >= TRAINING))).collect()
    });
    [verdict.rows(data), novelty.rows(data)].concat()
}

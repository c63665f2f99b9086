//! What takes no detector: rows that tell how much of a number is owed to the data.

use std::collections::BTreeSet;

use super::dataset::Data;
use super::evaluation::Judged;
use super::faithful;
use crate::report::Row;

/// Rows of training, as the detectors have them.
const TRAINING: usize = 150;
/// What a cached verdict is worth.
const FAULTY: f64 = 0.97;
const NORMAL: f64 = 0.03;

/// The verdict on the newest template alone, and "this template was never seen before".
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

//! Suite `verdicts`: how well the verdict model tells failures on text that it was never shown.
//!
//! Two kinds of data are found in DIR. Systems of LogHub whose lines carry alert labels (`Label`, `-` = none) or levels (`Level`): a
//! template is positive if most of its lines have a label, or WARN and above. And `templates.csv` with a column of cached verdicts:
//! there the model is trained anew without all of its templates and their near-duplicates, because normal ones among them are part of
//! the shipped training. The measure is the area under the ROC curve over templates.

mod auc;
mod dataset;

use std::collections::BTreeSet;
use std::path::Path;

use anyhow::Context;
use verdict::training::{self, jaccard, word_set};
use verdict::{Local, Model, Weights};

use crate::gates::Gates;
use crate::report::{Gate, Mean, Outcome, Report, Row, Table, mean};
use auc::area;
use dataset::{Labelled, Origin};

const SUITE: &str = "verdicts";
const MODES: [(&str, Local); 3] = [("linear", Local::Linear), ("linear+lexicon", Local::LinearAndLexicon), ("lexicon", Local::Lexicon)];
/// Words in common from which two texts count as the same.
const NEAR: f64 = 0.8;

/// Runs the suite on all labelled templates below `data`.
///
/// # Errors
/// If there are none, or a file cannot be read.
pub fn run(data: &Path, gates: &Gates) -> anyhow::Result<Outcome> {
    let found = dataset::discover(data)?;
    let mut rows = Vec::new();
    for set in &found.sets {
        let weights = weights(set)?;
        for (mode, local) in MODES {
            rows.push(row(set, mode, &Model::new(weights.clone(), local)));
        }
    }
    let mut text = table(&rows).render();
    text += &format!("{} sets, {} files without labels or levels skipped\n", found.sets.len(), found.skipped);
    let gates = gates.check(SUITE, &rows);
    text += &gates.iter().map(Gate::line).collect::<String>();
    let means = MODES.map(|(mode, _)| Mean { mode: mode.into(), metrics: mean(rows.iter().filter(|row| row.mode == mode)) });
    Ok(Outcome { text, report: Report { suite: SUITE, rows, mean: means.into(), gates } })
}

/// The shipped weights; for templates that were partly trained on, weights of a training without them.
fn weights(set: &Labelled) -> anyhow::Result<Weights> {
    if set.origin == Origin::Lines {
        return Ok(Weights::shipped());
    }
    let shown: Vec<BTreeSet<String>> = set.templates.iter().map(|template| word_set(&template.text)).collect();
    let keep = |text: &str| {
        let words = word_set(text);
        !shown.iter().any(|other| jaccard(&words, other) >= NEAR)
    };
    training::shipped(keep).context("training")
}

fn row(set: &Labelled, mode: &str, model: &Model) -> Row {
    let scored: Vec<(f64, bool)> = set.templates.iter().map(|t| (model.judge(&t.text).probability, t.is_faulty)).collect();
    let count = |wanted: bool, below: bool| scored.iter().filter(|(p, faulty)| *faulty == wanted && (*p < 0.5) == below).count() as f64;
    let metrics = [
        ("templates", scored.len() as f64),
        ("positives", count(true, true) + count(true, false)),
        ("auc", area(&scored)),
        ("missed", count(true, true)),
        ("false", count(false, false)),
    ];
    Row { set: set.name.clone(), mode: mode.into(), metrics: metrics.into() }
}

fn table(rows: &[Row]) -> Table {
    let mut table = Table::new(["set", "mode", "templates", "positives", "AUC", "missed at .5", "false at .5"]);
    for row in rows {
        let of = |name: &str| row.metrics.get(name).copied().unwrap_or(f64::NAN);
        let count = |name: &str| format!("{:.0}", of(name));
        let auc = format!("{:.4}", of("auc"));
        table.line(vec![
            row.set.clone(),
            row.mode.to_string(),
            count("templates"),
            count("positives"),
            auc,
            count("missed"),
            count("false"),
        ]);
    }
    table
}

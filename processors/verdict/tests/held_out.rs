//! How well the model carries over to lines that stand in no file of the grammar: `held_out.txt`, as many kinds of machines write them.

use std::collections::BTreeSet;

use verdict::training::{jaccard, word_set};
use verdict::{Model, grammar};

/// Share of common words from which a line counts as taught.
const NEAR: f64 = 0.8;
/// The least area under the ROC curve. The shipped weights reach more (docs/benchmarks.md); a change of the grammar may cost a little.
const AREA_MIN: f64 = 0.93;

/// The held-out lines that no line of the grammar nearly says.
fn held_out() -> Vec<(&'static str, bool)> {
    let examples = grammar::examples().expect("the grammar is understood");
    let taught: BTreeSet<BTreeSet<String>> = examples.iter().map(|example| word_set(&example.text)).collect();
    let mut is_faulty = None;
    let mut lines = Vec::new();
    for line in include_str!("held_out.txt").lines().filter(|line| !line.is_empty() && !line.starts_with("# ")) {
        match line {
            "[faulty]" => is_faulty = Some(true),
            "[normal]" => is_faulty = Some(false),
            _ => lines.push((line, is_faulty.expect("a head comes first"))),
        }
    }
    lines.retain(|(line, _)| {
        let words = word_set(line);
        taught.iter().all(|taught| jaccard(&words, taught) < NEAR)
    });
    lines
}

#[test]
fn it_ranks_failures_above_daily_work_in_lines_that_were_held_out() {
    let lines = held_out();
    let of =
        |wanted: bool| lines.iter().filter(move |(_, faulty)| *faulty == wanted).map(|(line, _)| Model::shipped().judge(line).probability);
    let pairs = of(true).count() * of(false).count();
    assert!(of(true).count() >= 80 && of(false).count() >= 100, "{} lines are left", lines.len());
    let won: f64 = of(true).map(|p| of(false).map(|n| if p > n { 1.0 } else { f64::from(u8::from(p == n)) / 2.0 }).sum::<f64>()).sum();
    let (missed, alarms) = (of(true).filter(|p| *p < 0.5).count(), of(false).filter(|p| *p >= 0.5).count());
    let area = won / pairs as f64;
    println!("area {area:.4}, {missed} of {} missed at .5, {alarms} of {} false", of(true).count(), of(false).count());
    assert!(area >= AREA_MIN, "area {area:.4} under the curve, {missed} missed, {alarms} false");
}

//! The numbers as tables.

use super::dataset::Data;
use super::evaluation::ALL;
use super::faithful::published_areas;
use crate::report::{Metrics, Row, Table};

/// A number, or a dash.
fn cell(metrics: &Metrics, name: &str, decimals: usize) -> String {
    metrics.get(name).map_or_else(|| "–".into(), |value| format!("{value:.decimals$}"))
}

/// Areas under curves, set by set, with those of the published counts of every method at hand.
pub(super) fn areas(rows: &[Row], data: &Data) -> anyhow::Result<String> {
    let heads = ["AUC, criterion 1 / 2", "exact", "36 published thresholds", "as published", "grid of 21", "published rows that differ"];
    let mut text = String::new();
    for set in data.sets.iter().filter(|set| set.has_failures()) {
        let mut table = Table::new([[set.name.as_str()].as_slice(), &heads[1..]].concat());
        let pair = |metrics: &Metrics, one: &str, two: &str| match (metrics.contains_key(one), metrics.contains_key(two)) {
            (false, false) => "–".to_string(),
            _ => format!("{} / {}", cell(metrics, one, 4), cell(metrics, two, 4)),
        };
        let cells = |name: String, metrics: &Metrics| {
            let differ = match metrics.get("published_rows") {
                Some(rows) => format!("{} of {rows:.0}", cell(metrics, "published_rows_unequal", 0)),
                None => "–".into(),
            };
            vec![
                name,
                pair(metrics, "auc_exact_c1", "auc_exact_c2"),
                pair(metrics, "auc_c1", "auc_c2"),
                pair(metrics, "auc_published_c1", "auc_published_c2"),
                pair(metrics, "auc_grid_c1", "auc_grid_c2"),
                differ,
            ]
        };
        for row in rows.iter().filter(|row| row.set == set.name) {
            table.line(cells(row.mode.clone(), &row.metrics));
        }
        for folder in data.published(&set.name)? {
            let method = folder.file_name().unwrap_or_default().to_string_lossy().into_owned();
            table.line(cells(format!("{method}, as published"), &published_areas(&folder)?));
        }
        text += &format!("{}\n{}\n", heads[0], table.render());
    }
    Ok(text)
}

/// What an operator would have seen, with the threshold fixed in advance beside one chosen on these data.
pub(super) fn alarms(rows: &[Row]) -> String {
    let heads =
        ["detector, set", "early", "false rows", "of", "rate", "lead min", "median", "p5", "least", "θ chosen here", "false rows then"];
    let mut table = Table::new(heads);
    for row in rows {
        let m = &row.metrics;
        let early = format!("{:.1} %", 100.0 * m.get("early").copied().unwrap_or(f64::NAN));
        let rate = format!("{:.4} %", 100.0 * m.get("fpr").copied().unwrap_or(f64::NAN));
        let mut cells = vec![format!("{}, {}", row.mode, row.set), early, cell(m, "fp_rows", 0), cell(m, "benign_rows", 0), rate];
        cells.extend(["lead_min", "lead_median_min", "lead_p5_min", "lead_least_min"].map(|name| cell(m, name, 3)));
        cells.extend([cell(m, "threshold_chosen", 3), cell(m, "fp_rows_chosen", 0)]);
        table.line(cells);
    }
    table.render() + "\n"
}

/// The view of the Numenta Anomaly Benchmark, over all sets.
pub(super) fn views(rows: &[Row]) -> String {
    let mut text = String::new();
    for (criterion, prefix) in [("criterion 1", "nab_c1"), ("criterion 2", "nab_c2")] {
        let mut table =
            Table::new([&format!("NAB view, {criterion}: standard / low FP / low FN"), "own null", "published null", "own null, θ fixed"]);
        for row in rows.iter().filter(|row| row.set == ALL) {
            let triple = |suffix: &str| {
                ["standard", "low_fp", "low_fn"].map(|profile| cell(&row.metrics, &format!("{prefix}_{profile}{suffix}"), 2)).join(" / ")
            };
            table.line(vec![row.mode.clone(), triple(""), triple("_published_null"), triple("_fixed")]);
        }
        text += &(table.render() + "\n");
    }
    text
}

/// What the numbers rest on.
pub(super) fn basis(data: &Data) -> String {
    let mut text = String::new();
    for set in &data.sets {
        let failures = set.recordings.iter().filter(|recording| recording.failure.is_some()).count();
        let rows: usize = set.recordings.iter().map(|recording| recording.templates.len()).sum();
        text += &format!("{}: {} files, {failures} failures, {rows} rows\n", set.name, set.recordings.len());
    }
    let numbers: std::collections::BTreeSet<i64> =
        data.sets.iter().flat_map(|set| &set.recordings).flat_map(|recording| recording.templates.iter().copied()).collect();
    let unknown = numbers.iter().filter(|number| !data.templates.contains_key(number)).count();
    text + &format!(
        "{} templates, {unknown} of them without text; {} files or folders without their partner skipped\n",
        numbers.len(),
        data.skipped
    )
}

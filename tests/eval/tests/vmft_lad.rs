//! The suite on recordings of our own and, where `NEPHOSCOPE_DATA` names their folder, on the published ones.

use std::path::{Path, PathBuf};

use eval::vmft_lad::{Options, run};
use eval::{Gates, Outcome};

/// A recording of `rows` rows, ten seconds apart, whose templates go round; `odd` rows have templates of their own.
fn write(folder: &Path, name: &str, rows: usize, odd: &[(usize, i64)]) {
    std::fs::create_dir_all(folder).expect("folder");
    let mut text = String::from("timestamp,value\n");
    for row in 0..rows {
        let template = odd.iter().find(|(at, _)| *at == row).map_or([10, 20, 30, 40][row % 4], |(_, template)| *template);
        let fraction = if row % 2 == 0 { "" } else { ".500000" };
        text += &format!("2024-01-01 {:02}:{:02}:{:02}{fraction},{template}\n", row / 360, row / 6 % 60, row % 6 * 10);
    }
    std::fs::write(folder.join(format!("{name}.csv")), text).expect("file");
}

fn metadata(folder: &Path, entries: &[(&str, usize, usize, &str)]) {
    let entry = |(name, label, failure, at): &(&str, usize, usize, &str)| {
        format!(
            "\"{name}\": {{\"comment\": \"\", \"label_region\": {label}, \"failure_point\": {failure}, \"failure_point_timestamp\": \"{at}\"}}"
        )
    };
    let text = format!("{{{}}}", entries.iter().map(entry).collect::<Vec<_>>().join(","));
    std::fs::write(folder.join("dataset_metadata.json"), text).expect("file");
}

/// One set that fails, with a faulty line two minutes before the end; one that does not; one without metadata.
fn corpus(root: &Path) {
    let failing = root.join("data/pump");
    write(&failing, "a", 460, &[(430, 99)]);
    write(&failing, "b", 460, &[(300, 50), (430, 99)]);
    write(&failing, "stray", 200, &[]);
    metadata(
        &failing,
        &[("a", 421, 443, "2024-01-01 01:13:40"), ("b", 421, 443, "2024-01-01 01:13:40"), ("gone", 9, 9, "2024-01-01 00:00:00")],
    );
    write(&root.join("data/benign"), "quiet", 400, &[(390, 50)]);
    write(&root.join("data/unknown"), "x", 20, &[]);
    let templates =
        "log_key,log_template,gpt35_faulty\n10,a,False\n20,b,False\n30,c,False\n40,d,False\n50,e,False\n99,pump <:NUM:> stuck,True\n";
    std::fs::write(root.join("templates.csv"), templates).expect("file");
}

fn evaluate(data: &Path) -> Outcome {
    run(data, &Options::default(), &Gates::shipped().expect("gates")).expect("suite runs")
}

fn metric(outcome: &Outcome, set: &str, mode: &str, name: &str) -> f64 {
    let row = outcome.report.rows.iter().find(|row| row.set == set && row.mode == mode);
    *row.and_then(|row| row.metrics.get(name)).unwrap_or_else(|| panic!("{set} {mode} {name}\n{}", outcome.text))
}

#[test]
fn sets_are_discovered_and_what_lacks_its_partner_is_counted() {
    let folder = tempfile::tempdir().expect("folder");
    corpus(&folder.path().join("vmft-lad"));
    let outcome = evaluate(folder.path());
    assert!(outcome.text.contains("benign: 1 files, 0 failures, 400 rows"), "{}", outcome.text);
    assert!(outcome.text.contains("pump: 2 files, 2 failures, 920 rows"), "{}", outcome.text);
    assert!(outcome.text.contains("6 templates, 0 of them without text; 3 files or folders"), "{}", outcome.text);
    assert!(outcome.report.gates.iter().all(|gate| !gate.name.starts_with("faithful")), "no gate for sets that are not here");
}

#[test]
fn early_false_and_lead_are_counted_row_by_row() {
    let folder = tempfile::tempdir().expect("folder");
    corpus(folder.path());
    let outcome = evaluate(folder.path());
    // Row 430 is at 1:11:40, the failure at 1:13:40; benign rows are 151 to 419 twice, and 151 to 399.
    for (mode, false_rows) in [("verdict-alone/table", 0.0), ("never-seen-before", 2.0), ("faithful/table", 0.0)] {
        assert_eq!(metric(&outcome, "all", mode, "benign_rows"), 269.0 * 2.0 + 249.0);
        assert_eq!(metric(&outcome, "all", mode, "fp_rows"), false_rows, "{mode}\n{}", outcome.text);
        assert_eq!(metric(&outcome, "pump", mode, "early"), 1.0);
        assert_eq!(metric(&outcome, "pump", mode, "lead_min"), 2.0);
    }
    // Nobody's verdict: the odd template and the three windows after it are far from the past.
    assert_eq!(metric(&outcome, "all", "faithful/fake", "fp_rows"), 8.0);
    assert_eq!(metric(&outcome, "pump", "verdict-alone/table", "auc_exact_c2"), 1.0);
    assert_eq!(metric(&outcome, "pump", "faithful/table", "auc_c2"), 1.0);
}

#[test]
fn counts_that_were_published_are_compared_row_by_row() {
    let folder = tempfile::tempdir().expect("folder");
    corpus(folder.path());
    let published = folder.path().join("published/pump/vmft-lad_GPT3");
    std::fs::create_dir_all(&published).expect("folder");
    let text = "threshold,TP,TN,FP,FN,TP_LATE\n0.1,2.0,6.0,0.0,0.0,0.0\n0.2,1.0,6.0,0.0,1.0,0.0\n";
    std::fs::write(published.join("criteria2.csv"), text).expect("file");
    let outcome = evaluate(folder.path());
    assert_eq!(metric(&outcome, "pump", "faithful/table", "published_rows"), 2.0);
    assert_eq!(metric(&outcome, "pump", "faithful/table", "published_rows_unequal"), 1.0, "{}", outcome.text);
}

#[test]
fn a_folder_without_failures_is_an_error_that_says_what_was_expected() {
    let folder = tempfile::tempdir().expect("folder");
    corpus(folder.path());
    std::fs::remove_dir_all(folder.path().join("data/pump")).expect("removed");
    let error = run(folder.path(), &Options::default(), &Gates::shipped().expect("gates")).expect_err("nothing fails");
    assert!(format!("{error:#}").contains("expected data/<set>/*.csv with dataset_metadata.json"), "{error:#}");
}

#[test]
fn the_gates_hold_on_the_published_recordings() {
    let Some(data) = std::env::var_os("NEPHOSCOPE_DATA").map(PathBuf::from).filter(|data| data.join("vmft-lad").is_dir()) else {
        println!("SKIPPED: NEPHOSCOPE_DATA names no folder with vmft-lad");
        return;
    };
    let outcome = evaluate(&data);
    let missed: Vec<_> = outcome.report.gates.iter().filter(|gate| !gate.pass).collect();
    assert!(missed.is_empty(), "{missed:?}\n{}", outcome.text);
}

//! The suite on series of our own and, where `NEPHOSCOPE_DATA` names their folder, on the benchmark's.

use std::path::{Path, PathBuf};

use eval::nab::{Detector, Options, run};
use eval::{Gates, Outcome};

fn options() -> Options {
    Options { threshold: 0.5, ..Options::default() }
}

fn evaluate(data: &Path, options: &Options) -> Outcome {
    run(data, options, &Gates::shipped().expect("gates")).expect("suite runs")
}

/// Two series that repeat themselves, one with a step, and a label without a file.
fn corpus(root: &Path) {
    for (name, step) in [("quiet", None), ("step", Some(300..330))] {
        let folder = root.join("data/made");
        std::fs::create_dir_all(&folder).expect("folder");
        let mut text = String::from("timestamp,value\n");
        for row in 0..600usize {
            let value = (row % 24) as f64 + if step.as_ref().is_some_and(|step| step.contains(&row)) { 90.0 } else { 0.0 };
            text += &format!("2014-04-{:02} {:02}:00:00,{value}\n", 1 + row / 24, row % 24);
        }
        std::fs::write(folder.join(format!("{name}.csv")), text).expect("file");
    }
    std::fs::create_dir_all(root.join("labels")).expect("folder");
    let labels =
        r#"{"made/quiet.csv": [], "made/step.csv": [["2014-04-13 12:00:00.000000", "2014-04-14 17:00:00.000000"]], "made/gone.csv": []}"#;
    std::fs::write(root.join("labels/combined_windows.json"), labels).expect("file");
}

#[test]
fn null_and_perfect_are_the_ends_of_the_scale() {
    let folder = tempfile::tempdir().expect("folder");
    corpus(&folder.path().join("nab"));
    let outcome = evaluate(folder.path(), &options());
    let standard = |mode: &str| outcome.report.rows.iter().find(|row| row.mode == mode).expect("a row").metrics["standard"];
    assert_eq!((standard("null"), standard("perfect")), (0.0, 100.0));
    assert!(standard("discord") > 60.0, "the step is found near its start: {}", outcome.text);
    assert!(outcome.text.contains("2 files, 1200 rows, 1 windows; 1 labels without a file skipped"), "{}", outcome.text);
}

#[test]
fn a_detector_may_be_chosen_and_looked_at_file_by_file() {
    let folder = tempfile::tempdir().expect("folder");
    corpus(folder.path());
    let outcome = evaluate(folder.path(), &Options { detector: vec![Detector::Discord], files: true, ..options() });
    assert_eq!(outcome.report.rows.len(), 1);
    assert!(outcome.text.contains("made/step.csv"), "{}", outcome.text);
}

#[test]
fn labels_that_name_no_row_are_an_error() {
    let folder = tempfile::tempdir().expect("folder");
    corpus(folder.path());
    let labels = r#"{"made/step.csv": [["2013-01-01 00:00:00", "2013-01-02 00:00:00"]]}"#;
    std::fs::write(folder.path().join("labels/combined_windows.json"), labels).expect("file");
    let error = run(folder.path(), &options(), &Gates::shipped().expect("gates")).expect_err("no such row");
    assert!(format!("{error:#}").contains("expected a row at 2013-01-01 00:00:00"), "{error:#}");
}

#[test]
fn the_gates_and_the_known_detector_hold_on_the_benchmark() {
    let Some(data) = std::env::var_os("NEPHOSCOPE_DATA").map(PathBuf::from).filter(|data| data.join("nab").is_dir()) else {
        println!("SKIPPED: NEPHOSCOPE_DATA names no folder with nab");
        return;
    };
    let outcome = evaluate(&data, &options());
    let missed: Vec<_> = outcome.report.gates.iter().filter(|gate| !gate.pass).collect();
    assert!(missed.is_empty(), "{missed:?}\n{}", outcome.text);
}

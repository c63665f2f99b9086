//! The suite on a small corpus of our own and, where `NEPHOSCOPE_DATA` names its folder, on LogHub-2k.

use std::path::{Path, PathBuf};

use eval::loghub::{Mode, Options, run};
use eval::{Gates, Outcome};

const OPTIONS: Options = Options { mode: Mode::Guarded, ini: None, online: false, leave_one_out: false, misses: false };

fn write(folder: &Path, file: &str, rows: &[(&str, &str, &str)]) {
    std::fs::create_dir_all(folder).expect("folder");
    let mut text = String::from("LineId,Content,EventId,EventTemplate\n");
    for (index, (content, event, template)) in rows.iter().enumerate() {
        text += &format!("{index},\"{content}\",{event},\"{template}\"\n");
    }
    std::fs::write(folder.join(file), text).expect("file");
}

/// Two systems: one that is grouped rightly, one whose truth tells apart what differs in a number only.
fn corpus(root: &Path) {
    let good = [
        ("fan 11 of rack 12 failed", "E1", "fan <*> of rack <*> failed"),
        ("fan 13 of rack 14 failed", "E1", "fan <*> of rack <*> failed"),
        ("door opened", "E2", "door opened"),
        ("not labelled", "", ""),
    ];
    write(&root.join("Good"), "Good_2k.log_structured.csv", &good);
    let odd = [("code 11 seen here", "E1", "code 11 seen here"), ("code 12 seen here", "E2", "code 12 seen here")];
    write(&root.join("Odd"), "Odd_2k.log_structured.csv", &odd);
    write(&root.join("Odd"), "Other.csv", &odd);
    std::fs::create_dir_all(root.join("Empty")).expect("folder");
    std::fs::write(root.join("README.md"), "no folder").expect("file");
}

fn evaluate(data: &Path, options: &Options) -> Outcome {
    run(data, options, &Gates::shipped().expect("gates")).expect("suite runs")
}

#[test]
fn systems_are_discovered_and_what_lacks_its_file_is_counted() {
    let folder = tempfile::tempdir().expect("folder");
    corpus(folder.path());
    let outcome = evaluate(folder.path(), &OPTIONS);
    let sets: Vec<&str> = outcome.report.rows.iter().map(|row| row.set.as_str()).collect();
    assert_eq!(sets, ["Good", "Odd"]);
    assert!(outcome.text.contains("2 systems, 1 folders without a structured file skipped"), "{}", outcome.text);
    let (good, odd) = (&outcome.report.rows[0].metrics, &outcome.report.rows[1].metrics);
    assert_eq!(
        (good["lines"], good["ga"], good["fga"], good["pa"], good["fta"]),
        (3.0, 1.0, 1.0, 1.0, 1.0),
        "unlabelled rows are left out"
    );
    assert_eq!((odd["ga"], odd["pa"], odd["groups_predicted"], odd["groups_true"]), (0.0, 0.0, 1.0, 2.0));
    assert_eq!(outcome.report.mean[0].metrics["ga"], 0.5);
    let gates: Vec<(&str, bool)> = outcome.report.gates.iter().map(|gate| (gate.name.as_str(), gate.pass)).collect();
    assert_eq!(gates, [("default.fga", false), ("default.ga", false)], "sets that are not here have no gate");
}

#[test]
fn the_parent_of_the_folder_will_do() {
    let folder = tempfile::tempdir().expect("folder");
    corpus(&folder.path().join("loghub2k"));
    assert_eq!(evaluate(folder.path(), &OPTIONS).report.rows.len(), 2);
}

#[test]
fn a_folder_without_systems_is_an_error_that_says_what_was_expected() {
    let folder = tempfile::tempdir().expect("folder");
    let error = run(folder.path(), &OPTIONS, &Gates::shipped().expect("gates")).expect_err("nothing there");
    assert!(format!("{error:#}").contains("expected <System>/<System>_2k.log_structured.csv"), "{error:#}");
}

#[test]
fn online_scores_the_ids_as_they_were_emitted() {
    let folder = tempfile::tempdir().expect("folder");
    let names = ["ada", "bob", "eve", "joe", "lia", "max", "zoe"].map(|name| format!("account of {name} locked"));
    let rows: Vec<(&str, &str, &str)> = names.iter().map(|line| (line.as_str(), "E1", "account of <*> locked")).collect();
    write(&folder.path().join("Names"), "Names_2k.log_structured.csv", &rows);
    assert_eq!(evaluate(folder.path(), &OPTIONS).report.rows[0].metrics["ga"], 1.0);
    let online = evaluate(folder.path(), &Options { online: true, ..OPTIONS });
    // Five names were five events; the sixth made them one, too late for the five.
    assert_eq!((online.report.rows[0].metrics["groups_predicted"], online.report.rows[0].metrics["ga"]), (6.0, 0.0));
}

#[test]
fn views_for_people_are_printed_on_request() {
    let folder = tempfile::tempdir().expect("folder");
    corpus(folder.path());
    let outcome = evaluate(folder.path(), &Options { leave_one_out: true, misses: true, ..OPTIONS });
    assert!(outcome.text.contains("mean without Odd"), "{}", outcome.text);
    assert!(outcome.text.contains("1 lines: code 11 seen here\n    1 of 2: code <*> seen here"), "{}", outcome.text);
}

#[test]
fn drain3_groups_as_drain3_does_with_and_without_its_settings() {
    let folder = tempfile::tempdir().expect("folder");
    corpus(folder.path());
    let options = Options { mode: Mode::Drain3, ..OPTIONS };
    let outcome = evaluate(folder.path(), &options);
    let good = &outcome.report.rows[0];
    assert_eq!((good.mode, good.metrics["ga"], good.metrics["pa"]), ("drain3", 1.0, 1.0));
    assert!(outcome.report.gates.is_empty(), "the reference has nothing to reach");
    let ini = folder.path().join("drain3.ini");
    std::fs::write(&ini, "[DRAIN]\nsim_th = 1\n").expect("file");
    let strict = evaluate(folder.path(), &Options { ini: Some(ini), ..options });
    assert_eq!(strict.report.rows[0].metrics["groups_predicted"], 3.0, "no line joins another");
}

#[test]
fn the_gates_hold_on_loghub() {
    let Some(data) = std::env::var_os("NEPHOSCOPE_DATA").map(PathBuf::from).filter(|data| data.join("loghub2k").is_dir()) else {
        println!("SKIPPED: NEPHOSCOPE_DATA names no folder with loghub2k");
        return;
    };
    let outcome = evaluate(&data, &OPTIONS);
    let missed: Vec<_> = outcome.report.gates.iter().filter(|gate| !gate.pass).collect();
    assert!(missed.is_empty(), "{missed:?}\n{}", outcome.text);
}

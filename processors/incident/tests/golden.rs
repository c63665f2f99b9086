//! What the processor makes of every example of its input and of a story of our own, written down. Each is walked through straight,
//! and with a restore before every few records; all must give the same.

mod desk;

use std::{fmt::Write, path::Path};

use desk::{Desk, T0, firing, over};
use incident::Config;
use schemas::{EventTime, Incident};

type Step = (String, Vec<u8>, EventTime);

/// Walks records through a processor, restoring it before every `restore_every`-th, and then twenty minutes of silence.
fn walk(steps: &[Step], restore_every: usize) -> Vec<(String, Result<Vec<Incident>, String>)> {
    let mut desk = Desk::new(Config::default());
    let mut told = Vec::new();
    for (index, (name, value, appended_at)) in steps.iter().enumerate() {
        if index % restore_every == restore_every - 1 {
            desk.restore();
        }
        told.push((name.clone(), desk.record(value, *appended_at).map_err(|reject| reject.to_string())));
    }
    told.push(("five seconds of silence".into(), Ok(desk.silence(5_000))));
    told.push(("twenty minutes of silence".into(), Ok(desk.silence(1_200_000))));
    told
}

fn written(steps: &[Step]) -> String {
    let straight = walk(steps, usize::MAX);
    for restore_every in [1, 3] {
        assert!(straight == walk(steps, restore_every), "restored before every {restore_every}th record it gives something else");
    }
    let mut text = String::new();
    for (name, told) in straight {
        writeln!(text, "# {name}").expect("to a string");
        match told {
            Ok(incidents) => incidents
                .iter()
                .for_each(|incident| writeln!(text, "{}", serde_json::to_string_pretty(incident).expect("JSON")).expect("to a string")),
            Err(reject) => writeln!(text, "rejected: {reject}").expect("to a string"),
        }
    }
    text
}

#[test]
fn every_example_of_alerts() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../schemas/examples/alerts/v1");
    let mut files: Vec<_> = std::fs::read_dir(&folder).expect("the examples").map(|entry| entry.expect("an entry").path()).collect();
    files.sort();
    assert!(files.len() >= 8, "{} examples", files.len());
    let read = |(path, n): (&std::path::PathBuf, i64)| {
        let name = path.file_name().expect("a name").to_string_lossy().into_owned();
        (name, std::fs::read(path).expect("can be read"), T0.plus_millis(n * 1_000))
    };
    insta::assert_snapshot!(written(&files.iter().zip(0..).map(read).collect::<Vec<_>>()));
}

#[test]
fn a_story_of_our_own() {
    let disk = firing("db-7", "kernel", "I/O error on sdb", 12_000);
    let database = firing("db-7", "postgres", "could not fsync", 14_000);
    let shop = firing("web-1", "shop", "connection to db-7:5432 refused", 0);
    let other = firing("mail-1", "dovecot", "index is corrupt", 3_000);
    let alerts = [
        shop.clone(),
        other.clone(),
        disk.clone(),
        database.clone(),
        over(&other, 60_000),
        over(&disk, 200_000),
        over(&shop, 210_000),
        over(&database, 220_000),
    ];
    let step = |alert: &schemas::Alert| {
        let name = format!("{} {} {}", alert.status, alert.labels["host"], alert.message);
        (name, serde_json::to_vec(alert).expect("JSON"), alert.last_received)
    };
    insta::assert_snapshot!(written(&alerts.iter().map(step).collect::<Vec<_>>()));
}

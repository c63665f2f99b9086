//! `kill -9` at random instants. A child spools and publishes on a bus that is as bad as can be; the parent kills it, many times
//! over the same directories, and looks at what came of it.

use std::{
    collections::BTreeMap,
    io::{BufRead, BufReader},
    path::Path,
    process::{Command, Stdio},
    time::Duration,
};

use stream_runtime::{loss::Loss, metrics::SourceMetrics, publish::Publish};
use tempfile::tempdir;

use crate::support::*;

const DIRECTORY: &str = "SPOOL_DIRECTORY";
const RUN: &str = "SPOOL_RUN";
const NUMBERS_PER_RUN: u64 = 1_000_000;
const KILLS: u64 = 25;

/// Spools numbered records and says which ones were taken.
#[test]
#[ignore = "the child of the test below"]
#[allow(clippy::disallowed_methods)]
fn child() {
    let directory = std::env::var(DIRECTORY).unwrap();
    let run: u64 = std::env::var(RUN).unwrap().parse().unwrap();
    let bus = open_bus(&Path::new(&directory).join("bus"));
    let moody = Moody::new(&bus, Mood::Good);
    moody.drive_mad(run * 77 + 5);
    let mut spooled = moody.spool(&Path::new(&directory).join("spool"), 1 << 30, &Loss::default(), &SourceMetrics::default());
    let mut next = run * NUMBERS_PER_RUN;
    loop {
        let count = 1 + next % 7;
        spooled.publish(&batch(next..next + count, 60), &[]).unwrap();
        next += count;
        println!("taken {next}");
    }
}

/// Starts the child, kills it after a while, and returns the last number that it had taken.
fn run_and_kill(directory: &Path, run: u64, after: Duration) -> u64 {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--ignored", "--exact", "crash::child", "--nocapture"]).env(DIRECTORY, directory).env(RUN, run.to_string());
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let stdout = child.stdout.take().unwrap();
    let reader = std::thread::spawn(move || {
        let numbers = BufReader::new(stdout).lines().map_while(Result::ok).filter_map(|line| line.strip_prefix("taken ")?.parse().ok());
        numbers.max().unwrap_or(run * NUMBERS_PER_RUN)
    });
    std::thread::sleep(after);
    child.kill().unwrap();
    child.wait().unwrap();
    reader.join().unwrap()
}

#[test]
fn kills_at_random_instants_neither_lose_nor_double() {
    let directory = tempdir().unwrap();
    let taken: BTreeMap<u64, u64> = (0..KILLS)
        .map(|run| (run, run_and_kill(directory.path(), run, Duration::from_millis(50 + run.wrapping_mul(0x9e37_79b9) % 250))))
        .collect();
    let bus = open_bus(&directory.path().join("bus"));
    let before = published(&bus).len();
    let moody = Moody::new(&bus, Mood::Good);
    let spooled = moody.spool(&directory.path().join("spool"), 1 << 30, &Loss::default(), &SourceMetrics::default());
    let left = spooled.records();
    eventually("everything goes out", || spooled.records() == 0);
    let all = published(&bus);
    println!("{} records, {before} before the last start, {left} in the spool", all.len());
    assert!(all.windows(2).all(|pair| pair[0] < pair[1]), "a record is doubled or out of order");
    for (run, taken) in taken {
        let first = run * NUMBERS_PER_RUN;
        let of_run: Vec<_> = all.iter().copied().filter(|number| (first..first + NUMBERS_PER_RUN).contains(number)).collect();
        assert_eq!(of_run, (first..first + of_run.len() as u64).collect::<Vec<_>>(), "run {run}: a record is missing in between");
        assert!(first + of_run.len() as u64 >= taken, "run {run}: {taken} was taken, {} are there", of_run.len());
    }
    assert!(all.len() > 1_000 && before > 0, "the children had time to work: {} records", all.len());
}

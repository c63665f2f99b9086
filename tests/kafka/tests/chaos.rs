//! A short chaos run: at least forty faults, nothing lost, nothing doubled. `make chaos` makes longer ones.

use std::path::PathBuf;
use std::time::Duration;

use kafka_tests::ClusterError;
use kafka_tests::chaos::{self, Attack, ChaosError, Settings};

/// Faults that must have happened, or the run proves too little.
const FAULTS_MIN: u32 = 40;

/// The folder of the binaries that stand beside this test.
fn binaries() -> PathBuf {
    let here = std::env::current_exe().expect("a test has a path");
    here.ancestors().nth(2).expect("target/release/deps/chaos-…").into()
}

#[test]
fn a_short_run_of_all_faults_loses_and_doubles_nothing() {
    let directory = tempfile::tempdir().expect("a directory");
    let settings = Settings {
        attack: Attack::Seeded { length: Duration::from_secs(85), seed: 4, pace: Duration::from_millis(400) },
        three_brokers: true,
        workers: 4,
        collectors: 2,
        lines_per_s: 500,
        binaries: binaries(),
        directory: directory.path().into(),
        tell: false,
    };
    let report = match chaos::run(&settings) {
        Ok(report) => report,
        Err(error @ (ChaosError::Cluster(ClusterError::Absent(_)) | ChaosError::NotBuilt(_))) => {
            println!("SKIPPED: {error}");
            return;
        }
        Err(error) => panic!("{:#}", anyhow::Error::from(error)),
    };
    println!("{report}");
    if !report.is_clean() {
        panic!("kept in {}", directory.keep().display());
    }
    assert!(report.done() >= FAULTS_MIN, "only {} faults happened", report.done());
}

//! `make chaos`: a run of any length, and its table.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use kafka_tests::ClusterError;
use kafka_tests::chaos::{self, Attack, ChaosError, Settings};

/// Real processes on real brokers under a seeded schedule of faults; counts what was lost or doubled.
#[derive(Debug, Parser)]
#[command(version)]
struct Arguments {
    /// How long faults happen
    #[arg(long, default_value_t = 120)]
    seconds: u64,
    /// Decides on the faults
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Milliseconds from one fault to the next, on average, while a wave of them lasts
    #[arg(long, default_value_t = 500)]
    pace_ms: u64,
    /// Instead of all that: a few faults, one after the other, on one broker; prints how long each stops the outputs
    #[arg(long)]
    one_by_one: bool,
    /// One broker instead of three
    #[arg(long)]
    one_broker: bool,
    /// Workers at most
    #[arg(long, default_value_t = 4)]
    workers: usize,
    /// Collectors, each with a file of its own
    #[arg(long, default_value_t = 2)]
    collectors: usize,
    /// Lines per second, all files together
    #[arg(long, default_value_t = 1_000)]
    lines_per_s: u32,
    /// Where files, data directories and logs go; emptied first, and kept
    #[arg(long, default_value = "target/kafka/chaos")]
    directory: PathBuf,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let here = std::env::current_exe().unwrap_or_default();
    let settings = Settings {
        attack: if arguments.one_by_one {
            Attack::OneByOne
        } else {
            Attack::Seeded {
                length: Duration::from_secs(arguments.seconds),
                seed: arguments.seed,
                pace: Duration::from_millis(arguments.pace_ms.max(1)),
            }
        },
        three_brokers: !arguments.one_broker && !arguments.one_by_one,
        workers: arguments.workers.max(1),
        collectors: arguments.collectors.max(1),
        lines_per_s: arguments.lines_per_s,
        binaries: here.parent().map(Into::into).unwrap_or_default(),
        directory: arguments.directory,
        tell: true,
    };
    let _ = std::fs::remove_dir_all(&settings.directory);
    match chaos::run(&settings) {
        Ok(report) => {
            println!("\n{report}");
            if report.is_clean() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
        }
        Err(ChaosError::Cluster(ClusterError::Absent(why))) => {
            eprintln!("chaos: {why}");
            ExitCode::from(77)
        }
        Err(error) => {
            eprintln!("chaos: {:#}", anyhow::Error::from(error));
            ExitCode::FAILURE
        }
    }
}

//! `nephoscope-eval <suite> --data DIR [--json FILE] [--gate]`

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use clap::{Args, Parser, Subcommand};
use eval::{Gates, incident, loghub, nab, verdicts, vmft_lad};

/// Prints every accuracy the documentation claims, from public data.
#[derive(Parser)]
#[command(name = "nephoscope-eval", version)]
struct Cli {
    #[command(subcommand)]
    suite: Suite,
}

#[derive(Subcommand)]
enum Suite {
    /// Log parsing: grouping and template accuracy on folders `<System>/<System>_2k.log_structured.csv`.
    Loghub {
        #[command(flatten)]
        common: Common,
        #[command(flatten)]
        options: loghub::Options,
    },
    /// Incidents: scripted stories through the real processors; how many incidents, and where the true cause stands.
    Incident {
        /// Folder of stories (*.toml) [default: those of this repository]
        #[arg(long)]
        data: Option<PathBuf>,
        /// Print the incidents of each story with their causes and timelines.
        #[arg(long)]
        explain: bool,
        #[command(flatten)]
        answer: Answer,
    },
    /// Anomalies of numeric series: the Numenta Anomaly Benchmark, `data/<category>/<file>.csv` and `labels/combined_windows.json`.
    Nab {
        #[command(flatten)]
        common: Common,
        #[command(flatten)]
        options: nab::Options,
    },
    /// The verdict model on templates that it was never shown: alert labels and levels of LogHub, `templates.csv` with verdicts.
    Verdicts {
        #[command(flatten)]
        common: Common,
    },
    /// Failures of virtual machines foreseen: VMFT-LAD, `data/<set>/*.csv`, `templates.csv` and `published/`.
    VmftLad {
        #[command(flatten)]
        common: Common,
        #[command(flatten)]
        options: vmft_lad::Options,
    },
}

#[derive(Args)]
struct Common {
    /// Folder of the suite's data, or its parent.
    #[arg(long)]
    data: PathBuf,
    #[command(flatten)]
    answer: Answer,
}

#[derive(Args)]
struct Answer {
    /// Write the numbers here as JSON as well.
    #[arg(long)]
    json: Option<PathBuf>,
    /// Exit with 1 when a gate is missed.
    #[arg(long)]
    gate: bool,
}

fn main() -> anyhow::Result<ExitCode> {
    let gates = Gates::shipped()?;
    let (outcome, answer) = match Cli::parse().suite {
        Suite::Incident { data, explain, answer } => {
            let stories = data.unwrap_or_else(|| PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/stories")));
            (incident::run(&stories, explain, &gates)?, answer)
        }
        Suite::Loghub { common, options } => (loghub::run(&common.data, &options, &gates)?, common.answer),
        Suite::Nab { common, options } => (nab::run(&common.data, &options, &gates)?, common.answer),
        Suite::Verdicts { common } => (verdicts::run(&common.data, &gates)?, common.answer),
        Suite::VmftLad { common, options } => (vmft_lad::run(&common.data, &options, &gates)?, common.answer),
    };
    print!("{}", outcome.text);
    if let Some(path) = &answer.json {
        let json = serde_json::to_string_pretty(&outcome.report).context("encoding the report")?;
        std::fs::write(path, json + "\n").with_context(|| format!("writing {}", path.display()))?;
    }
    let missed = answer.gate && outcome.report.gates.iter().any(|gate| !gate.pass);
    Ok(if missed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

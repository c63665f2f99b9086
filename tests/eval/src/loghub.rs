//! Suite `loghub`: how well lines are grouped and templates are found, with one configuration for every system.
//!
//! Layout: `<System>/<System>_2k.log_structured.csv` with columns `Content`, `EventId`, `EventTemplate` (Zhu et al., ISSRE 2023). Each
//! system gets a fresh parser. Measures: see [`accuracy`].

pub mod accuracy;
mod dataset;
mod misses;
mod peers;
mod prediction;

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context;
use clap::{Args, ValueEnum};
use drain::{Config, Drain, Drain3, Drain3Settings};

use crate::clock::thread_cpu;
use crate::gates::Gates;
use crate::report::{Mean, Outcome, Report, Row, Table, mean};
use accuracy::Scores;
use dataset::Dataset;
pub use prediction::View;

/// What to evaluate.
#[derive(Args, Clone, Debug)]
pub struct Options {
    /// Which parser.
    #[arg(long, value_enum, default_value_t = Mode::Guarded)]
    pub mode: Mode,
    /// Settings of mode drain3, as Drain3 reads them [default: Drain3's defaults, no masks].
    #[arg(long)]
    pub ini: Option<PathBuf>,
    /// Score the ids as they were emitted line by line instead of the clusters at the end of the file.
    #[arg(long)]
    pub online: bool,
    /// For each system also the mean over all others: what the mean owes to it.
    #[arg(long)]
    pub leave_one_out: bool,
    /// Print the true groups that were not found, and what was predicted instead.
    #[arg(long)]
    pub misses: bool,
}

/// Which parser.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Mode {
    /// Drain with guards, the default of `nephoscope-drain`.
    Guarded,
    /// Drain3 0.9.11, assignment for assignment.
    Drain3,
    /// A peer: the crate `logdrain`, as it comes.
    Logdrain,
    /// A peer: the crate `drain3`, as it comes.
    CrateDrain3,
}

impl Mode {
    fn name(self) -> &'static str {
        match self {
            Self::Guarded => "guarded",
            Self::Drain3 => "drain3",
            Self::Logdrain => "logdrain",
            Self::CrateDrain3 => "crate-drain3",
        }
    }
}

const SUITE: &str = "loghub";
const RATES: [&str; 6] = ["ga", "fga", "pa", "fta", "pa_token", "fta_token"];
/// Least CPU time for a speed: 2,000 lines alone are too few to time.
const SPEED_MIN: Duration = Duration::from_millis(100);

/// Runs the suite on `data` or its subfolder `loghub2k`.
pub fn run(data: &Path, options: &Options, gates: &Gates) -> anyhow::Result<Outcome> {
    let found = dataset::discover(data)?;
    let settings = match &options.ini {
        Some(path) => {
            let text = std::fs::read_to_string(path).with_context(|| format!("reading {}", path.display()))?;
            Drain3Settings::from_ini(&text)?
        }
        None => Drain3Settings::default(),
    };
    let mut rows = Vec::new();
    let mut text = String::new();
    for path in &found.files {
        let dataset = Dataset::read(path).with_context(|| format!("reading {}", path.display()))?;
        let (row, misses) = evaluate(&dataset, options, &settings)?;
        if options.misses {
            text += &format!("{}\n{misses}\n", row.set);
        }
        rows.push(row);
    }
    let means = mean(rows.iter());
    text += &table(&rows, options).render();
    text += &format!("{} systems, {} folders without a structured file skipped\n", rows.len(), found.skipped);
    // The gates are what ours must reach; the reference is what it is.
    let gates = if options.mode == Mode::Guarded { gates.check(SUITE, &rows) } else { Vec::new() };
    for gate in &gates {
        let verdict = if gate.pass { "reached" } else { "MISSED" };
        text += &format!("gate {} ≥ {:.4}: {:.4} {verdict}\n", gate.name, gate.target, gate.value);
    }
    let mean = vec![Mean { mode: options.mode.name(), metrics: means }];
    Ok(Outcome { text, report: Report { suite: SUITE, rows, mean, gates } })
}

fn evaluate(dataset: &Dataset, options: &Options, settings: &Drain3Settings) -> anyhow::Result<(Row, String)> {
    let view = if options.online { View::Online } else { View::Final };
    let (predicted, lines_per_second) = match options.mode {
        Mode::Guarded => {
            let mut drain = Drain::new(&Config::default())?;
            let predicted = prediction::predict(&mut drain, &dataset.lines, view);
            (predicted, speed(&dataset.lines, |line| _ = std::hint::black_box(drain.parse(line, 0).template_id)))
        }
        Mode::Drain3 => {
            let mut drain3 = Drain3::new(settings)?;
            let predicted = prediction::by_cluster(&dataset.lines, view, |line| {
                let cluster = drain3.add(line).cluster;
                (cluster, drain3.template(cluster).unwrap_or_default())
            });
            (predicted, speed(&dataset.lines, |line| _ = std::hint::black_box(drain3.add(line).cluster)))
        }
        Mode::Logdrain => {
            let mut peer = peers::Logdrain::new()?;
            let predicted = prediction::by_cluster(&dataset.lines, view, |line| peer.add(line));
            (predicted, speed(&dataset.lines, |line| peer.only_add(line)))
        }
        Mode::CrateDrain3 => {
            let mut peer = peers::CrateDrain3::new();
            let predicted = prediction::by_cluster(&dataset.lines, view, |line| peer.add(line));
            (predicted, speed(&dataset.lines, |line| peer.only_add(line)))
        }
    };
    let scores = Scores::of(&predicted, &dataset.truth);
    let metrics = [
        ("files", 1.0),
        ("lines", dataset.lines.len() as f64),
        ("ga", scores.ga),
        ("fga", scores.fga),
        ("pa", scores.pa),
        ("fta", scores.fta),
        ("pa_token", scores.pa_token),
        ("fta_token", scores.fta_token),
        ("groups_predicted", scores.groups_predicted as f64),
        ("groups_true", scores.groups_true as f64),
        ("lines_per_second", lines_per_second),
    ];
    let row = Row { set: dataset.name.clone(), mode: options.mode.name(), metrics: metrics.into() };
    Ok((row, misses::describe(&predicted, &dataset.truth)))
}

/// Known lines per second of CPU time of this thread.
fn speed(lines: &[String], mut parse: impl FnMut(&str)) -> f64 {
    let start = thread_cpu();
    let mut parsed = 0_usize;
    loop {
        for line in lines {
            parse(line);
        }
        parsed += lines.len();
        let spent = thread_cpu().saturating_sub(start);
        if spent >= SPEED_MIN || lines.is_empty() {
            return parsed as f64 / spent.as_secs_f64();
        }
    }
}

fn table(rows: &[Row], options: &Options) -> Table {
    let mut table = Table::new(["system", "lines", "GA", "FGA", "PA", "FTA", "pa_token", "fta_token", "groups", "true", "lines/s"]);
    let cells = |name: String, metrics: &crate::Metrics| {
        let of = |name: &str| metrics.get(name).copied().unwrap_or(f64::NAN);
        let mut cells = vec![name, format!("{:.0}", of("lines"))];
        cells.extend(RATES.iter().map(|name| format!("{:.4}", of(name))));
        cells.extend(["groups_predicted", "groups_true", "lines_per_second"].iter().map(|name| format!("{:.0}", of(name))));
        cells
    };
    for row in rows {
        table.line(cells(row.set.clone(), &row.metrics));
    }
    table.line(cells("mean".into(), &mean(rows.iter())));
    if options.leave_one_out {
        for out in rows {
            let others = rows.iter().filter(|row| row.set != out.set);
            table.line(cells(format!("mean without {}", out.set), &mean(others)));
        }
    }
    table
}

//! Suite `vmft-lad`: how early, how surely and how quietly failures of machines are foreseen in their logs.
//!
//! Layout: `data/<set>/*.csv` (`timestamp,value`, the value a template number) with `data/<set>/dataset_metadata.json`,
//! `templates.csv`, and `published/<set>/<method>/criteria{1,2}.csv` if at hand. Data and published counts: VMFT-LAD
//! (Senevirathne et al., IEEE Access 12, 2024). Sets and files are discovered; what lacks its partner is skipped and counted.

pub mod alarms;
mod baselines;
pub mod counts;
pub mod dataset;
mod evaluation;
mod faithful;
mod semantic;
mod tables;
mod view;

use std::path::Path;

use clap::{Args, ValueEnum};

use crate::gates::Gates;
use crate::report::{Gate, Mean, Outcome, Report, Row};
use dataset::{Data, Set};
use evaluation::{ALL, Judged};
use faithful::{Feedback, Tables};
use semantic::{LocalModel, Names, Verdicts};

/// What to evaluate.
#[derive(Args, Clone, Debug, Default)]
pub struct Options {
    /// Which detectors; all of them if none is named.
    #[arg(long, value_enum)]
    pub mode: Vec<Mode>,
    /// Whose verdicts on templates; all of them if none is named.
    #[arg(long, value_enum)]
    pub provider: Vec<Provider>,
    /// Train the local model anew for each set, without anything like what that set's failures say: what it thinks of failures that
    /// nobody showed it.
    #[arg(long)]
    pub leave_one_type_out: bool,
}

/// Which detector.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Mode {
    /// The published one, step for step.
    Faithful,
    /// Ours.
    Semantic,
}

/// Whose verdicts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Provider {
    /// Nobody's: every template may be faulty.
    Fake,
    /// The cached verdicts of `templates.csv`.
    Table,
    /// The model that is compiled in: no table, no network.
    Linear,
}

const SUITE: &str = "vmft-lad";

impl Options {
    fn wants(&self, mode: Mode) -> bool {
        self.mode.is_empty() || self.mode.contains(&mode)
    }

    fn asks(&self, provider: Provider) -> bool {
        self.provider.is_empty() || self.provider.contains(&provider)
    }
}

/// Runs the suite on `data` or its subfolder `vmft-lad`.
pub fn run(data: &Path, options: &Options, gates: &Gates) -> anyhow::Result<Outcome> {
    let data = Data::read(data)?;
    let mut rows = baselines::rows(&data);
    if options.wants(Mode::Faithful) {
        rows.extend(faithful_rows(&data, options)?);
    }
    if options.wants(Mode::Semantic) {
        rows.extend(semantic_rows(&data, options)?);
    }
    let mut text = tables::areas(&rows, &data)?;
    text += &tables::alarms(&rows);
    text += &tables::views(&rows);
    text += &tables::basis(&data);
    let gates = gates.check(SUITE, &rows);
    text += &gates.iter().map(Gate::line).collect::<String>();
    let mean = rows.iter().filter(|row| row.set == ALL).map(|row| Mean { mode: row.mode.clone(), metrics: row.metrics.clone() }).collect();
    Ok(Outcome { text, report: Report { suite: SUITE, rows, mean, gates } })
}

fn semantic_rows(data: &Data, options: &Options) -> anyhow::Result<Vec<Row>> {
    let names = Names::of(data);
    let faulty = faithful::faulty(data);
    let mut rows = Vec::new();
    if options.asks(Provider::Table) {
        let probability = move |_: &Set, number: i64| if faulty.contains(&number) { semantic::FAULTY } else { semantic::NORMAL };
        let verdicts = Verdicts { mode: "semantic/table".into(), provider: verdict::Provider::Table, probability: Box::new(probability) };
        rows.extend(names.judge(data, &verdicts).rows(data));
    }
    if options.asks(Provider::Linear) {
        let mut models = vec![("linear", LocalModel::Shipped)];
        if options.leave_one_type_out {
            models.push(("linear, type left out", LocalModel::left_out(data)?));
        }
        for (name, model) in models {
            let verdicts = model.verdicts(&format!("semantic/{name}"), data);
            rows.extend(baselines::verdict_alone(&format!("verdict-alone/{name}"), &verdicts, data).rows(data));
            rows.extend(names.judge(data, &verdicts).rows(data));
        }
    }
    Ok(rows)
}

fn faithful_rows(data: &Data, options: &Options) -> anyhow::Result<Vec<Row>> {
    let faulty = faithful::faulty(data);
    let chosen = [(Provider::Fake, Feedback::None, "faithful/fake"), (Provider::Table, Feedback::Table, "faithful/table")];
    let chosen: Vec<_> = chosen.into_iter().filter(|(provider, ..)| options.asks(*provider)).collect();
    let mut rows = Vec::new();
    for (_, feedback, mode) in &chosen {
        let judged = Judged::new(*mode, faithful::TAU.next_up(), data, |_, recording| faithful::scores(recording, &faulty, *feedback));
        rows.extend(judged.rows(data));
    }
    for set in data.sets.iter().filter(|set| set.has_failures()) {
        let tables = Tables::of(set, &faulty);
        for (_, feedback, mode) in &chosen {
            let metrics = tables.metrics(*feedback, &data.published(&set.name)?)?;
            // The areas of the published thresholds belong to the same row as everything else about this detector.
            if let Some(row) = rows.iter_mut().find(|row| row.set == set.name && row.mode == *mode) {
                row.metrics.extend(metrics);
            }
        }
    }
    Ok(rows)
}

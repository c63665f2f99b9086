//! Suite `nab`: how early and how quietly anomalies of numeric series are found.
//!
//! Layout: `data/<category>/<file>.csv` (`timestamp,value`), `labels/combined_windows.json`, and `config/thresholds.json` if at
//! hand. Scorer: [`scorer`]. Each detector is scored with the best threshold for the whole corpus (as the benchmark does, on the test
//! data itself), with one fixed in advance, and with one that was chosen on the other half of the files.

mod dataset;
mod detectors;
pub mod scorer;

use std::path::Path;

use clap::Args;

use crate::gates::Gates;
use crate::report::{Gate, Mean, Metrics, Outcome, Report, Row, Table};
use dataset::Published;
pub use detectors::Detector;
use scorer::{Corpus, PROBATION, PROFILES, Profile, Scored, normalised, probation};

/// What to evaluate.
#[derive(Args, Clone, Debug, Default)]
pub struct Options {
    /// Which detectors; all of them if none is named.
    #[arg(long, value_enum)]
    pub detector: Vec<Detector>,
    /// The threshold that is fixed in advance.
    #[arg(long, default_value_t = FIXED)]
    pub threshold: f64,
    /// Print each file's windows, detections at the best standard threshold, and what they earn.
    #[arg(long)]
    pub files: bool,
}

const SUITE: &str = "nab";
/// Half of the scale: a distance at the 99th percentile of the past.
const FIXED: f64 = 0.5;

/// How a threshold was come by, as metric names of the three profiles.
const OPTIMISED: [&str; 3] = ["standard", "low_fp", "low_fn"];
const IN_ADVANCE: [&str; 3] = ["standard_fixed", "low_fp_fixed", "low_fn_fixed"];
const HELD_OUT: [&str; 3] = ["standard_held_out", "low_fp_held_out", "low_fn_held_out"];
const PUBLISHED: [&str; 3] = ["standard_published", "low_fp_published", "low_fn_published"];

/// Runs the suite on `data` or its subfolder `nab`.
pub fn run(data: &Path, options: &Options, gates: &Gates) -> anyhow::Result<Outcome> {
    let corpus = dataset::read(data)?;
    let published = corpus.published()?;
    let all = [Detector::Null, Detector::Perfect, Detector::WindowedGaussian, Detector::Discord];
    let chosen = if options.detector.is_empty() { &all[..] } else { &options.detector };
    let (mut rows, mut text) = (Vec::new(), String::new());
    for detector in chosen {
        let scored: Vec<Scored> = corpus
            .series
            .iter()
            .map(|series| {
                let probation = probation(series.values.len(), PROBATION);
                Scored { scores: detector.scores(series, probation), windows: series.windows.clone(), probation }
            })
            .collect();
        let metrics = evaluate(*detector, &scored, options, &published);
        if options.files {
            text += &by_file(*detector, &corpus, &scored);
        }
        rows.push(Row { set: "corpus".into(), mode: detector.name().into(), metrics });
    }
    text += &table(&rows).render();
    let points: usize = corpus.series.iter().map(|series| series.values.len()).sum();
    let windows: usize = corpus.series.iter().map(|series| series.windows.len()).sum();
    text += &format!("{} files, {points} rows, {windows} windows; {} labels without a file skipped\n", corpus.series.len(), corpus.skipped);
    let ours: Vec<Row> = rows.iter().filter(|row| row.mode == Detector::Discord.name()).cloned().collect();
    let gates = gates.check(SUITE, &ours);
    text += &gates.iter().map(Gate::line).collect::<String>();
    let mean = rows.iter().map(|row| Mean { mode: row.mode.clone(), metrics: row.metrics.clone() }).collect();
    Ok(Outcome { text, report: Report { suite: SUITE, rows, mean, gates } })
}

fn evaluate(detector: Detector, scored: &[Scored], options: &Options, published: &Published) -> Metrics {
    let corpus = Corpus::new(scored);
    let rows = scored.iter().map(|file| file.scores.len()).sum::<usize>();
    let mut metrics = Metrics::from([("files", scored.len() as f64), ("lines", rows as f64), ("windows", corpus.windows() as f64)]);
    for (index, profile) in PROFILES.iter().enumerate() {
        let best = corpus.best(profile);
        metrics.insert(OPTIMISED[index], corpus.normalised(profile, best.raw));
        metrics.insert(IN_ADVANCE[index], corpus.normalised(profile, corpus.raw_at(profile, options.threshold)));
        metrics.insert(HELD_OUT[index], held_out(scored, profile));
        if let Some(threshold) = published.threshold(detector.published_name(), index) {
            metrics.insert(PUBLISHED[index], corpus.normalised(profile, corpus.raw_at(profile, threshold)));
        }
        if let (0, Some(threshold)) = (index, best.threshold) {
            metrics.insert("threshold", threshold);
        }
    }
    metrics
}

/// Files of even and odd number: the threshold of either half is used on the other.
fn held_out(scored: &[Scored], profile: &Profile) -> f64 {
    let half = |parity: usize| Corpus::new(scored.iter().skip(parity).step_by(2));
    let (even, odd) = (half(0), half(1));
    let raw = |chosen_on: &Corpus, used_on: &Corpus| {
        let threshold = chosen_on.best(profile).threshold.unwrap_or(f64::INFINITY);
        used_on.raw_at(profile, threshold)
    };
    let raw = raw(&even, &odd) + raw(&odd, &even);
    normalised(raw, even.null(profile) + odd.null(profile), even.perfect(profile) + odd.perfect(profile))
}

fn by_file(detector: Detector, corpus: &dataset::Corpus, scored: &[Scored]) -> String {
    let threshold = Corpus::new(scored).best(&PROFILES[0]).threshold.unwrap_or(f64::INFINITY);
    let mut table = Table::new([detector.name(), "rows", "windows", "detections", "raw", "best of the file"]);
    for (series, file) in corpus.series.iter().zip(scored) {
        let alone = Corpus::new([file]);
        let detections = file.scores.iter().skip(file.probation).filter(|score| **score >= threshold).count();
        let numbers = [series.values.len(), series.windows.len(), detections].map(|number| number.to_string());
        let raws = [alone.raw_at(&PROFILES[0], threshold), alone.best(&PROFILES[0]).raw].map(|raw| format!("{raw:.3}"));
        table.line([vec![series.name.clone()], numbers.to_vec(), raws.to_vec()].concat());
    }
    table.render() + "\n"
}

fn table(rows: &[Row]) -> Table {
    let groups =
        [("T chosen on these data", OPTIMISED), ("held out", HELD_OUT), ("T fixed in advance", IN_ADVANCE), ("T published", PUBLISHED)];
    let mut heads = vec!["standard / low FP / low FN".to_string()];
    heads.extend(groups.iter().map(|(head, _)| (*head).to_string()));
    let mut table = Table::new(heads);
    for row in rows {
        let cell = |names: &[&'static str; 3]| {
            let numbers: Vec<String> = names.iter().filter_map(|name| row.metrics.get(name)).map(|value| format!("{value:.2}")).collect();
            if numbers.is_empty() { "–".to_string() } else { numbers.join(" / ") }
        };
        let mut cells = vec![row.mode.to_string()];
        cells.extend(groups.iter().map(|(_, names)| cell(names)));
        table.line(cells);
    }
    table
}

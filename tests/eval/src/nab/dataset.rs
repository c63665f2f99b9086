//! Series and labels as they lie in their folders.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};

use crate::timestamp;

/// One series.
pub(super) struct Series {
    /// Folder and file, as the labels name it.
    pub name: String,
    pub values: Vec<f64>,
    /// First and last row of each labelled window.
    pub windows: Vec<(usize, usize)>,
}

/// What lies below a folder.
pub(super) struct Corpus {
    /// Sorted by name.
    pub series: Vec<Series>,
    /// Labels without a file.
    pub skipped: usize,
    root: PathBuf,
}

/// Reads the series that have labels from `data` or `data/nab`.
pub(super) fn read(data: &Path) -> anyhow::Result<Corpus> {
    let inner = data.join("nab");
    let root = if inner.is_dir() { inner } else { data.to_path_buf() };
    let path = root.join("labels/combined_windows.json");
    let text = std::fs::read_to_string(&path).with_context(|| format!("expected labels at {}", path.display()))?;
    let labels: BTreeMap<String, Vec<(String, String)>> =
        serde_json::from_str(&text).with_context(|| format!("reading {}", path.display()))?;
    let mut corpus = Corpus { series: Vec::new(), skipped: 0, root };
    for (name, windows) in labels {
        let path = corpus.root.join("data").join(&name);
        if !path.is_file() {
            corpus.skipped += 1;
            continue;
        }
        corpus.series.push(series(name, &path, &windows).with_context(|| format!("reading {}", path.display()))?);
    }
    if corpus.series.is_empty() {
        bail!("expected data/<category>/<file>.csv below {}, found none that has labels", corpus.root.display());
    }
    Ok(corpus)
}

fn series(name: String, path: &Path, labels: &[(String, String)]) -> anyhow::Result<Series> {
    let (mut times, mut values) = (Vec::new(), Vec::new());
    for record in csv::Reader::from_path(path).context("opening")?.deserialize() {
        let (time, value): (String, f64) = record.context("expected a time and a number")?;
        times.push(timestamp::parse(&time)?);
        values.push(value);
    }
    let row = |label: &str| -> anyhow::Result<usize> {
        let time = timestamp::parse(label)?;
        times.iter().position(|row| *row == time).with_context(|| format!("expected a row at {label}, found none"))
    };
    let windows = labels.iter().map(|(first, last)| Ok((row(first)?, row(last)?))).collect::<anyhow::Result<_>>()?;
    Ok(Series { name, values, windows })
}

/// Thresholds that were published with the corpus: detector, profile, value.
#[derive(Default)]
pub(super) struct Published(BTreeMap<String, BTreeMap<String, Entry>>);

#[derive(serde::Deserialize)]
struct Entry {
    threshold: f64,
}

impl Corpus {
    /// Reads `config/thresholds.json`, if it is there.
    pub(super) fn published(&self) -> anyhow::Result<Published> {
        let path = self.root.join("config/thresholds.json");
        if !path.is_file() {
            return Ok(Published::default());
        }
        let text = std::fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))?;
        serde_json::from_str(&text).map(Published).with_context(|| format!("reading {}", path.display()))
    }
}

impl Published {
    /// The threshold of a detector under the n-th profile.
    pub(super) fn threshold(&self, detector: &str, profile: usize) -> Option<f64> {
        let profile = ["standard", "reward_low_FP_rate", "reward_low_FN_rate"].get(profile)?;
        Some(self.0.get(detector)?.get(*profile)?.threshold)
    }
}

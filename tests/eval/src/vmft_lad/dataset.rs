//! Sequences, failures, templates and published counts as they lie in their folders.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use schemas::EventTime;
use serde::Deserialize;

use crate::timestamp;

/// The folder of sequences that needs no metadata: nothing fails there.
const BENIGN: &str = "benign";

/// One recording: what a host and its virtual machine monitor said until a failure, or without one.
#[derive(Clone, Debug)]
pub struct Recording {
    /// File name without ending.
    pub name: String,
    /// When each line was written.
    pub times: Vec<EventTime>,
    /// Template of each line.
    pub templates: Vec<i64>,
    /// The failure, if there was one.
    pub failure: Option<Failure>,
}

/// When a fault was injected and when it brought the machine down, as rows counted from 1.
#[derive(Clone, Copy, Debug)]
pub struct Failure {
    /// L, the first row after the injection; 0 if that is not known.
    pub injected: usize,
    /// F, the row of the failure.
    pub failed: usize,
    /// Its time.
    pub failed_at: EventTime,
}

/// One folder of recordings.
#[derive(Clone, Debug)]
pub struct Set {
    /// Name of the folder.
    pub name: String,
    /// Sorted by name.
    pub recordings: Vec<Recording>,
}

/// A template.
#[derive(Clone, Debug)]
pub struct Template {
    /// Its text, placeholders as `<:NAME:>`.
    pub text: String,
    /// The cached verdict.
    pub is_faulty: bool,
}

/// Everything below a folder.
#[derive(Clone, Debug)]
pub struct Data {
    /// Folder of the data.
    pub root: PathBuf,
    /// Sorted by name.
    pub sets: Vec<Set>,
    /// By template number.
    pub templates: BTreeMap<i64, Template>,
    /// Recordings without metadata, metadata without recordings, folders without either.
    pub skipped: usize,
}

#[derive(Deserialize)]
struct Metadata {
    label_region: usize,
    failure_point: usize,
    #[serde(default)]
    failure_point_timestamp: String,
}

#[derive(Deserialize)]
struct TemplateRow {
    log_key: i64,
    log_template: String,
    gpt35_faulty: String,
}

impl Recording {
    /// L, 0 without a failure.
    pub fn injected(&self) -> usize {
        self.failure.map_or(0, |failure| failure.injected)
    }

    /// Rows before the fault was injected; all of them if there was none, none if that is not known.
    pub fn benign_rows(&self) -> usize {
        self.failure.map_or(self.templates.len(), |failure| failure.injected.saturating_sub(1))
    }

    /// The failure, if it is known when it began.
    pub fn labelled(&self) -> Option<Failure> {
        self.failure.filter(|failure| failure.injected > 1)
    }
}

impl Set {
    /// Whether anything fails here.
    pub fn has_failures(&self) -> bool {
        self.recordings.iter().any(|recording| recording.failure.is_some())
    }
}

impl Data {
    /// Reads `data` or `data/vmft-lad`.
    pub fn read(data: &Path) -> anyhow::Result<Self> {
        let inner = data.join("vmft-lad");
        let root = if inner.is_dir() { inner } else { data.to_path_buf() };
        let mut found = Self { sets: Vec::new(), templates: templates(&root.join("templates.csv"))?, skipped: 0, root };
        for folder in folders(&found.root.join("data"))? {
            let set = set(&folder, &mut found.skipped).with_context(|| format!("reading {}", folder.display()))?;
            match set.recordings.is_empty() {
                true => found.skipped += 1,
                false => found.sets.push(set),
            }
        }
        if !found.sets.iter().any(Set::has_failures) {
            bail!("expected data/<set>/*.csv with dataset_metadata.json below {}, found no failure", found.root.display());
        }
        Ok(found)
    }

    /// Methods whose counts were published for a set, sorted.
    pub fn published(&self, set: &str) -> anyhow::Result<Vec<PathBuf>> {
        let folder = self.root.join("published").join(set);
        if folder.is_dir() { folders(&folder) } else { Ok(Vec::new()) }
    }
}

fn folders(of: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let entries = std::fs::read_dir(of).with_context(|| format!("expected a folder at {}", of.display()))?;
    let mut found: Vec<PathBuf> = entries.map(|entry| Ok(entry?.path())).collect::<std::io::Result<_>>()?;
    found.retain(|path| path.is_dir());
    found.sort();
    Ok(found)
}

fn set(folder: &Path, skipped: &mut usize) -> anyhow::Result<Set> {
    let name = folder.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let mut set = Set { name, recordings: Vec::new() };
    let path = folder.join("dataset_metadata.json");
    let mut metadata: BTreeMap<String, Metadata> = match path.is_file() {
        true => serde_json::from_reader(std::io::BufReader::new(std::fs::File::open(&path)?)).context("reading dataset_metadata.json")?,
        false if set.name == BENIGN => BTreeMap::new(),
        false => return Ok(set),
    };
    let mut files: Vec<PathBuf> = std::fs::read_dir(folder)?.map(|entry| Ok(entry?.path())).collect::<std::io::Result<_>>()?;
    files.retain(|path| path.extension().is_some_and(|ending| ending == "csv"));
    files.sort();
    for file in files {
        let name = file.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let failure = match metadata.remove(&name) {
            Some(about) => about.failure()?,
            None if set.name == BENIGN => None,
            None => {
                *skipped += 1;
                continue;
            }
        };
        set.recordings.push(recording(name, &file, failure).with_context(|| format!("reading {}", file.display()))?);
    }
    *skipped += metadata.len();
    Ok(set)
}

impl Metadata {
    fn failure(&self) -> anyhow::Result<Option<Failure>> {
        if self.failure_point == 0 {
            return Ok(None);
        }
        let failed_at = timestamp::parse(&self.failure_point_timestamp)?;
        Ok(Some(Failure { injected: self.label_region, failed: self.failure_point, failed_at }))
    }
}

fn recording(name: String, path: &Path, failure: Option<Failure>) -> anyhow::Result<Recording> {
    let mut recording = Recording { name, times: Vec::new(), templates: Vec::new(), failure };
    for row in csv::Reader::from_path(path).context("opening")?.deserialize() {
        let (time, template): (String, i64) = row.context("expected a time and a template number")?;
        recording.times.push(timestamp::parse(&time)?);
        recording.templates.push(template);
    }
    Ok(recording)
}

fn templates(path: &Path) -> anyhow::Result<BTreeMap<i64, Template>> {
    let mut reader = csv::Reader::from_path(path).with_context(|| format!("expected templates at {}", path.display()))?;
    let rows = reader.deserialize().map(|row| {
        let row: TemplateRow = row.with_context(|| format!("reading {}", path.display()))?;
        Ok((row.log_key, Template { text: row.log_template, is_faulty: row.gpt35_faulty.eq_ignore_ascii_case("true") }))
    });
    rows.collect()
}

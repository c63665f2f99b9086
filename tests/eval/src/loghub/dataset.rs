//! Systems of LogHub as they lie in their folders.

use std::path::{Path, PathBuf};

use anyhow::{Context, bail};

use super::accuracy::Labelled;

/// The structured files below a folder.
pub(super) struct Found {
    pub files: Vec<PathBuf>,
    /// Folders that hold no structured file of their own name.
    pub skipped: usize,
}

/// One system.
pub(super) struct Dataset {
    pub name: String,
    /// Column `Content`, in file order.
    pub lines: Vec<String>,
    /// Group and text of each line.
    pub truth: Vec<Labelled>,
}

/// Finds `<System>/<System>_2k.log_structured.csv` in `data` or in `data/loghub2k`, sorted by name.
pub(super) fn discover(data: &Path) -> anyhow::Result<Found> {
    let inner = data.join("loghub2k");
    let root = if inner.is_dir() { inner } else { data.to_path_buf() };
    let entries = std::fs::read_dir(&root).with_context(|| format!("expected a folder of systems at {}", root.display()))?;
    let mut found = Found { files: Vec::new(), skipped: 0 };
    for entry in entries {
        let folder = entry.with_context(|| format!("listing {}", root.display()))?.path();
        let Some(name) = folder.file_name().and_then(|name| name.to_str()).filter(|_| folder.is_dir()) else { continue };
        let file = folder.join(format!("{name}_2k.log_structured.csv"));
        if file.is_file() {
            found.files.push(file);
        } else {
            found.skipped += 1;
        }
    }
    if found.files.is_empty() {
        bail!("expected <System>/<System>_2k.log_structured.csv below {}, found none", root.display());
    }
    found.files.sort();
    Ok(found)
}

impl Dataset {
    /// Reads one structured file; rows without a group are left out.
    pub(super) fn read(path: &Path) -> anyhow::Result<Self> {
        let mut reader = csv::Reader::from_path(path).context("opening")?;
        let heads = reader.byte_headers().context("reading the heads")?.clone();
        let column = |name: &str| {
            heads.iter().position(|head| head == name.as_bytes()).with_context(|| format!("expected a column {name}, found none"))
        };
        let (content, event, text) = (column("Content")?, column("EventId")?, column("EventTemplate")?);
        let mut dataset = Self {
            name: path.parent().and_then(Path::file_name).map(|name| name.to_string_lossy().into_owned()).unwrap_or_default(),
            lines: Vec::new(),
            truth: Vec::new(),
        };
        for record in reader.byte_records() {
            let record = record.context("reading a row")?;
            let cell = |column: usize| String::from_utf8_lossy(record.get(column).unwrap_or_default()).into_owned();
            let group = cell(event);
            if !group.is_empty() {
                dataset.lines.push(cell(content));
                dataset.truth.push(Labelled { group, text: cell(text) });
            }
        }
        Ok(dataset)
    }
}

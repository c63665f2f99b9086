//! Templates with somebody's word on whether they tell of a failure.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use schemas::canonical;

/// Where the labels stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Origin {
    /// On lines.
    Lines,
    /// On templates.
    Templates,
}

/// One template.
pub(super) struct Template {
    pub text: String,
    pub is_faulty: bool,
}

/// One file.
pub(super) struct Labelled {
    pub name: String,
    pub origin: Origin,
    pub templates: Vec<Template>,
}

/// What lies below a folder.
pub(super) struct Found {
    pub sets: Vec<Labelled>,
    /// Structured files without labels or levels, or with those of one kind only.
    pub skipped: usize,
}

/// Levels of logging frameworks; true = WARN and above.
const LEVELS: [(&str, bool); 14] = [
    ("TRACE", false),
    ("DEBUG", false),
    ("INFO", false),
    ("NOTICE", false),
    ("WARN", true),
    ("WARNING", true),
    ("ERROR", true),
    ("ERR", true),
    ("SEVERE", true),
    ("FAILURE", true),
    ("FATAL", true),
    ("CRITICAL", true),
    ("ALERT", true),
    ("EMERG", true),
];

/// Finds `<System>/<System>_2k.log_structured.csv` and `templates.csv` in `data` and in the folders below it, sorted by path.
pub(super) fn discover(data: &Path) -> anyhow::Result<Found> {
    let mut files = Vec::new();
    collect(data, 0, &mut files)?;
    files.sort();
    let mut found = Found { sets: Vec::new(), skipped: 0 };
    for file in files {
        let set = read(&file).with_context(|| format!("reading {}", file.display()))?;
        let both = set.as_ref().is_some_and(|set| [true, false].iter().all(|kind| set.templates.iter().any(|t| t.is_faulty == *kind)));
        match set {
            Some(set) if both => found.sets.push(set),
            _ => found.skipped += 1,
        }
    }
    if found.sets.is_empty() {
        bail!("expected <System>_2k.log_structured.csv with labels or levels, or templates.csv, below {}, found none", data.display());
    }
    Ok(found)
}

fn collect(folder: &Path, depth: usize, files: &mut Vec<PathBuf>) -> anyhow::Result<()> {
    for entry in std::fs::read_dir(folder).with_context(|| format!("listing {}", folder.display()))? {
        let path = entry.with_context(|| format!("listing {}", folder.display()))?.path();
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        if path.is_dir() && depth < 2 {
            collect(&path, depth + 1, files)?;
        } else if name == "templates.csv" || name.ends_with("_2k.log_structured.csv") {
            files.push(path);
        }
    }
    Ok(())
}

fn read(path: &Path) -> anyhow::Result<Option<Labelled>> {
    let mut reader = csv::ReaderBuilder::new().flexible(true).from_path(path).context("opening")?;
    let heads = reader.byte_headers().context("reading the heads")?.clone();
    let column = |name: &str| heads.iter().position(|head| head.eq_ignore_ascii_case(name.as_bytes()));
    let verdict = heads.iter().position(|head| head.ends_with(b"_faulty"));
    let (text, label, origin) = match (column("log_template"), verdict, column("EventTemplate"), column("Label"), column("Level")) {
        (Some(text), Some(verdict), ..) => (text, Column::Verdict(verdict), Origin::Templates),
        (_, _, Some(text), Some(label), _) => (text, Column::Label(label), Origin::Lines),
        (_, _, Some(text), None, Some(level)) => (text, Column::Level(level), Origin::Lines),
        _ => return Ok(None),
    };
    let mut lines: BTreeMap<String, [usize; 2]> = BTreeMap::new();
    for record in reader.byte_records() {
        let record = record.context("reading a row")?;
        let cell = |column: usize| String::from_utf8_lossy(record.get(column).unwrap_or_default()).into_owned();
        if let Some(is_faulty) = label.judge(&cell) {
            let template = canonical(without_stamp(&cell(text)));
            if let Some(count) = lines.entry(template).or_default().get_mut(usize::from(is_faulty)) {
                *count += 1;
            }
        }
    }
    let templates = lines.into_iter().map(|(text, [normal, faulty])| Template { text, is_faulty: faulty > normal }).collect();
    let folder = path.parent().and_then(Path::file_name).map(|name| name.to_string_lossy().into_owned());
    Ok(Some(Labelled { name: folder.unwrap_or_default(), origin, templates }))
}

/// The column that says what a row is.
enum Column {
    Verdict(usize),
    Label(usize),
    Level(usize),
}

impl Column {
    /// Whether a row is positive; none if it does not say.
    fn judge(&self, cell: &impl Fn(usize) -> String) -> Option<bool> {
        match *self {
            Self::Verdict(at) => match cell(at).to_ascii_lowercase().as_str() {
                "true" => Some(true),
                "false" => Some(false),
                _ => None,
            },
            Self::Label(at) => Some(cell(at)).filter(|label| !label.is_empty()).map(|label| label != "-"),
            Self::Level(at) => {
                let level = cell(at).to_ascii_uppercase();
                LEVELS.iter().find(|(name, _)| *name == level).map(|(_, positive)| *positive)
            }
        }
    }
}

/// Drops the time stamp of the kernel, `[<:NUM:>.<:NUM:>]`: it says nothing about the line.
fn without_stamp(text: &str) -> &str {
    let rest = text.strip_prefix('[').map(str::trim_start).and_then(|rest| rest.strip_prefix("<:NUM:>.<:NUM:>]"));
    rest.unwrap_or(text).trim_start()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(folder: &Path, name: &str, text: &str) {
        std::fs::create_dir_all(folder).unwrap();
        std::fs::write(folder.join(name), text).unwrap();
    }

    #[test]
    fn labels_levels_and_verdicts_are_found_and_files_without_are_counted() {
        let data = tempfile::tempdir().unwrap();
        write(
            &data.path().join("A"),
            "A_2k.log_structured.csv",
            "Label,Level,EventTemplate\n-,FATAL,fine\nBAD,INFO,broken\n-,INFO,broken\nBAD,INFO,broken\n",
        );
        write(&data.path().join("B"), "B_2k.log_structured.csv", "Level,EventTemplate\nINFO,up\nwarn,down\nhost7,what\n");
        write(&data.path().join("C"), "C_2k.log_structured.csv", "Content,EventTemplate\nx,x\n");
        write(data.path(), "templates.csv", "log_key,log_template,x_faulty\n1,[ <:NUM:>.<:NUM:>] sd <:*:>: error,True\n2,hello,False\n");
        let found = discover(data.path()).unwrap();
        let rows: Vec<(Origin, Vec<(&str, bool)>)> =
            found.sets.iter().map(|set| (set.origin, set.templates.iter().map(|t| (t.text.as_str(), t.is_faulty)).collect())).collect();
        assert_eq!(rows[0], (Origin::Lines, vec![("broken", true), ("fine", false)]));
        assert_eq!(rows[1], (Origin::Lines, vec![("down", true), ("up", false)]));
        assert_eq!(rows[2], (Origin::Templates, vec![("hello", false), ("sd <*>: error", true)]));
        assert_eq!((rows.len(), found.skipped), (3, 1));
    }

    #[test]
    fn a_folder_without_labels_is_an_error() {
        assert!(discover(tempfile::tempdir().unwrap().path()).is_err());
    }
}

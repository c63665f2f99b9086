//! Configuration: one file for all parts, `NEPHOSCOPE_<SECTION>__<KEY>` over it, and errors that name file, key, what was
//! found and what was expected.
//!
//! Each part reads its own section into a plain struct; what no part reads is refused, so a misspelt section is no silence.

use std::path::{Path, PathBuf};

use figment::{
    Figment, Metadata, Source,
    error::Kind,
    providers::{Env, Format, Serialized, Toml},
    value::{Tag, Value},
};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

/// Prefix of the environment's keys.
const ENV_PREFIX: &str = "NEPHOSCOPE_";
/// Where the file is looked for if none is named.
const FILE_NAME: &str = "nephoscope.toml";
/// Where the system's file stands.
const SYSTEM_DIR: &str = "/etc/nephoscope";

/// `[bus]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct BusSettings {
    /// Which bus; the embedded one needs nothing else.
    pub backend: Backend,
    /// Where the store, the sockets and run files stand.
    pub data_dir: PathBuf,
}

/// Kinds of bus.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Backend {
    /// The durable log in this process.
    Embedded,
}

impl Default for BusSettings {
    fn default() -> Self {
        Self { backend: Backend::Embedded, data_dir: default_data_dir() }
    }
}

/// `[listen]`: where this process answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ListenSettings {
    /// Page, API, health and metrics; loopback, since log content is nobody else's business.
    pub admin: String,
    /// File that holds the token; empty makes one in the data directory.
    pub token_file: String,
}

impl Default for ListenSettings {
    fn default() -> Self {
        Self { admin: "127.0.0.1:7700".into(), token_file: String::new() }
    }
}

/// `[telemetry]`: what this process says about itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TelemetrySettings {
    /// Filter of the log, in the syntax of `RUST_LOG`.
    pub log: String,
    /// Form of the log.
    pub log_format: LogFormat,
}

/// Forms of this program's own log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// A line for people.
    Text,
    /// A JSON object per line.
    Json,
}

impl Default for TelemetrySettings {
    fn default() -> Self {
        Self { log: "info".into(), log_format: LogFormat::Text }
    }
}

/// Where state is kept if nothing is said: `/var/lib/nephoscope` for root, else below the user's state directory.
#[allow(clippy::disallowed_methods, reason = "the environment says where a user's files belong")]
pub fn default_data_dir() -> PathBuf {
    if rustix::process::geteuid().is_root() {
        return "/var/lib/nephoscope".into();
    }
    let absolute = |name: &str| std::env::var(name).ok().map(PathBuf::from).filter(|path| path.is_absolute());
    let state = absolute("XDG_STATE_HOME").or_else(|| absolute("HOME").map(|home| home.join(".local/state")));
    state.unwrap_or_else(std::env::temp_dir).join("nephoscope")
}

/// A configuration that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}{key}: {problem}", place.as_ref().map(|place| format!("{place}: ")).unwrap_or_default())]
pub struct ConfigFileError {
    /// File or environment variable, where known.
    pub place: Option<String>,
    /// Key, dotted.
    pub key: String,
    /// What was found and what was expected.
    pub problem: String,
}

/// All configuration there is, read section by section.
#[derive(Debug)]
pub struct ConfigFile {
    figment: Figment,
    path: Option<PathBuf>,
    sections: Vec<(&'static str, toml::Table)>,
}

impl ConfigFile {
    /// Reads the named file, or the first of `./nephoscope.toml` and `/etc/nephoscope/nephoscope.toml`, and the environment.
    ///
    /// # Errors
    /// If a named file is missing, or a file is no TOML.
    pub fn load(path: Option<&Path>) -> Result<Self, ConfigFileError> {
        let named = path.map(Path::to_path_buf);
        if let Some(path) = named.as_ref().filter(|path| !path.is_file()) {
            let problem = "no such file".into();
            return Err(ConfigFileError { place: None, key: path.display().to_string(), problem });
        }
        let usual = [PathBuf::from(FILE_NAME), Path::new(SYSTEM_DIR).join(FILE_NAME)];
        let path = named.or_else(|| usual.into_iter().find(|path| path.is_file()));
        let file = path.as_ref().map(|path| Figment::from(Toml::file_exact(path))).unwrap_or_default();
        let env = Env::prefixed(ENV_PREFIX).filter(|key| key.as_str().contains("__")).split("__");
        let this = Self { figment: file.merge(env), path, sections: Vec::new() };
        this.figment.extract::<Value>().map_err(|error| this.describe(error, ""))?;
        Ok(this)
    }

    /// The file that was read.
    pub fn path(&self) -> Option<&Path> {
        self.path.as_deref()
    }

    /// Puts a value above file and environment, as a command-line flag does.
    pub fn set(&mut self, key: &str, value: impl Serialize) {
        let figment = std::mem::take(&mut self.figment);
        self.figment = figment.merge(Serialized::default(key, value));
    }

    /// Reads a section; what it lacks has its default.
    ///
    /// # Errors
    /// If a key is unknown or a value does not fit.
    pub fn section<T: Serialize + DeserializeOwned + Default>(&mut self, name: &'static str) -> Result<T, ConfigFileError> {
        let defaults = Figment::from(Serialized::default(name, T::default()));
        let value: T = defaults.merge(&self.figment).extract_inner(name).map_err(|error| self.describe(error, name))?;
        let table = toml::Table::try_from(&value).map_err(|error| ConfigFileError {
            place: None,
            key: name.into(),
            problem: format!("cannot be written as TOML: {error}"),
        })?;
        self.sections.push((name, table));
        Ok(value)
    }

    /// Refuses what no part has read.
    ///
    /// # Errors
    /// Names the first unknown section.
    pub fn finish(&self) -> Result<(), ConfigFileError> {
        let Ok(Value::Dict(_, found)) = self.figment.extract::<Value>() else { return Ok(()) };
        let known: Vec<&str> = self.sections.iter().map(|(name, _)| *name).collect();
        for (name, value) in &found {
            if !known.contains(&name.as_str()) {
                let problem = format!("unknown section{}", suggestion(name, &known));
                return Err(ConfigFileError { place: self.place_of(value.tag()), key: name.clone(), problem });
            }
        }
        Ok(())
    }

    /// The effective configuration with the origin of each value: valid TOML.
    pub fn print(&self) -> String {
        let mut text = String::from("# effective configuration; the comment behind each value says where it comes from\n");
        for (name, table) in &self.sections {
            self.print_table(name, table, &mut text);
        }
        text
    }

    /// The effective configuration as JSON.
    pub fn to_json(&self) -> serde_json::Value {
        let sections = self.sections.iter().map(|(name, table)| ((*name).to_string(), serde_json::json!(table)));
        serde_json::Value::Object(sections.collect())
    }

    fn print_table(&self, path: &str, table: &toml::Table, text: &mut String) {
        text.push_str(&format!("\n[{path}]\n"));
        for (key, value) in table.iter().filter(|(_, value)| !value.is_table()) {
            let origin = self.figment.find_metadata(&format!("{path}.{key}")).map_or("default".into(), origin);
            text.push_str(&format!("{key} = {value} # {origin}\n"));
        }
        for (key, value) in table {
            if let Some(table) = value.as_table() {
                self.print_table(&format!("{path}.{key}"), table, text);
            }
        }
    }

    fn place_of(&self, tag: Tag) -> Option<String> {
        self.figment.get_metadata(tag).map(origin)
    }

    fn describe(&self, error: figment::Error, section: &str) -> ConfigFileError {
        let mut path = error.path.clone();
        if !section.is_empty() {
            // figment appends the section that was extracted, behind the path within it.
            path.pop_if(|last| last == section);
            path.insert(0, section.into());
        }
        let problem = match &error.kind {
            Kind::UnknownField(found, known) => {
                path.retain(|part| part != found);
                path.push(found.clone());
                format!("unknown key{}", suggestion(found, known))
            }
            Kind::InvalidType(found, expected) | Kind::InvalidValue(found, expected) => format!("found {found}, expected {expected}"),
            other => other.to_string(),
        };
        ConfigFileError { place: error.metadata.as_ref().map(origin), key: path.join("."), problem }
    }
}

fn origin(metadata: &Metadata) -> String {
    match &metadata.source {
        Some(Source::File(path)) => path.display().to_string(),
        _ if metadata.name.contains("environment") => "environment".into(),
        _ => "command line".into(),
    }
}

/// `; did you mean "x"?`, or the whole list where nothing is near.
fn suggestion(found: &str, known: &[&str]) -> String {
    let nearest = known.iter().map(|known| (edit_distance(found, known), *known)).min();
    match nearest {
        Some((distance, known)) if distance <= known.len().div_ceil(3) => format!("; did you mean \"{known}\"?"),
        _ => format!("; known are {}", known.join(", ")),
    }
}

/// Levenshtein distance of two short words.
fn edit_distance(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.bytes().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], i + 1);
        for (j, y) in b.bytes().enumerate() {
            let cheapest = (diagonal + usize::from(x != y)).min(row[j] + 1).min(row[j + 1] + 1);
            diagonal = std::mem::replace(&mut row[j + 1], cheapest);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::{BatchSettings, DlqSettings};

    fn load(text: &str) -> (tempfile::TempDir, Result<ConfigFile, ConfigFileError>) {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let path = dir.path().join("n.toml");
        std::fs::write(&path, text).expect("writes");
        let file = ConfigFile::load(Some(&path));
        (dir, file)
    }

    #[test]
    fn what_is_printed_is_valid_input_and_names_origins() {
        let (_dir, file) = load("[batch]\nbatch_ms = 7\n");
        let mut file = file.expect("reads");
        file.set("dlq.leak", 0.5);
        let batch: BatchSettings = file.section("batch").expect("fits");
        let dlq: DlqSettings = file.section("dlq").expect("fits");
        assert_eq!((batch.batch_ms, batch.records_max, dlq.leak), (7, 50_000, 0.5));
        file.finish().expect("nothing unknown");
        let text = file.print();
        assert!(text.contains("n.toml\n") && text.contains("records_max = 50000 # default"), "{text}");
        assert!(text.contains("leak = 0.5 # command line"), "{text}");
        let (_dir, again) = load(&text);
        let mut again = again.expect("is valid input");
        assert_eq!(again.section::<BatchSettings>("batch").expect("fits"), batch);
        assert_eq!(again.section::<DlqSettings>("dlq").expect("fits"), dlq);
    }

    #[test]
    fn an_unknown_key_is_named_with_its_neighbour() {
        let (_dir, file) = load("[batch]\nbatch_mz = 7\n");
        let error = file.expect("reads").section::<BatchSettings>("batch").expect_err("is refused").to_string();
        assert!(error.contains("n.toml: batch.batch_mz: unknown key; did you mean \"batch_ms\"?"), "{error}");
    }

    #[test]
    fn an_unknown_section_is_named_with_its_neighbour() {
        let (_dir, file) = load("[btach]\nbatch_ms = 7\n");
        let mut file = file.expect("reads");
        let _: BatchSettings = file.section("batch").expect("defaults");
        let error = file.finish().expect_err("is refused").to_string();
        assert!(error.contains("btach: unknown section; did you mean \"batch\"?"), "{error}");
    }

    #[test]
    fn a_value_of_the_wrong_type_names_what_was_expected() {
        let (_dir, file) = load("[batch]\nbatch_ms = \"soon\"\n");
        let error = file.expect("reads").section::<BatchSettings>("batch").expect_err("is refused").to_string();
        assert!(error.contains("batch.batch_ms: found string \"soon\", expected u64"), "{error}");
    }

    #[test]
    fn a_named_file_must_exist() {
        let error = ConfigFile::load(Some(Path::new("/nowhere/n.toml"))).expect_err("is missing").to_string();
        assert_eq!(error, "/nowhere/n.toml: no such file");
    }
}

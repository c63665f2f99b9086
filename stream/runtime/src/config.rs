//! Configuration: one file for all parts, `NEPHOSCOPE_<SECTION>__<KEY>` over it, and errors that name file, key, what was
//! found and what was expected.
//!
//! Each part reads its own section into a plain struct; what no part reads is refused, so a misspelt section is no silence.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

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
    /// Where the store, the spool, the sockets and run files stand.
    pub data_dir: PathBuf,
    /// Kafka: before the names of consumer groups, transactional ids and state logs.
    pub prefix: String,
    /// Kafka: before the names of all topics.
    pub topic_prefix: String,
    /// Kafka: create missing topics; otherwise they are only verified.
    pub create_topics: bool,
    /// Kafka: replicas of each topic; 0 means three, or as many as there are brokers.
    pub replication_factor: u16,
    /// Kafka: name of this replica; empty derives one from machine and data directory, which is free here and now.
    pub instance: String,
    /// Kafka: a replica that comes back under its name gets its partitions back at once. Off for fleets that grow and shrink.
    pub static_membership: bool,
}

/// Kinds of bus.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Backend {
    /// The durable log in this process.
    Embedded,
    /// Apache Kafka 4.0 or later, or what speaks its protocol with transactions.
    Kafka,
}

impl Default for BusSettings {
    fn default() -> Self {
        Self {
            backend: Backend::Embedded,
            data_dir: default_data_dir(),
            prefix: "nephoscope".into(),
            topic_prefix: String::new(),
            create_topics: true,
            replication_factor: 0,
            instance: String::new(),
            static_membership: true,
        }
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

impl ListenSettings {
    /// Where a single part answers: several of them run on one machine.
    pub fn of_part() -> Self {
        Self { admin: "127.0.0.1:0".into(), ..Self::default() }
    }
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
    /// Where the keys of free sections come from, by section and key.
    origins: BTreeMap<(&'static str, String), String>,
}

/// One key of a section whose keys we do not know: dotted, whether it was written quoted, as nested tables, or in the
/// environment with `_`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Property {
    /// Its dotted name.
    pub name: String,
    /// Its value as text.
    pub value: String,
    /// File or environment, where known.
    pub place: Option<String>,
    /// Whether it comes from the environment.
    pub is_environment: bool,
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
        let this = Self { figment: file.merge(env), path, sections: Vec::new(), origins: BTreeMap::new() };
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
        self.section_or(name, T::default())
    }

    /// Reads a section; what it lacks is as in `defaults`.
    ///
    /// # Errors
    /// If a key is unknown or a value does not fit.
    pub fn section_or<T: Serialize + DeserializeOwned>(&mut self, name: &'static str, defaults: T) -> Result<T, ConfigFileError> {
        let defaults = Figment::from(Serialized::default(name, defaults));
        let value: T = defaults.merge(&self.figment).extract_inner(name).map_err(|error| self.describe(error, name))?;
        let table = toml::Table::try_from(&value).map_err(|error| ConfigFileError {
            place: None,
            key: name.into(),
            problem: format!("cannot be written as TOML: {error}"),
        })?;
        self.sections.push((name, table));
        Ok(value)
    }

    /// Reads a section whose keys only its reader knows. Values of `secrets` are not kept for printing.
    ///
    /// # Errors
    /// If a value is neither text, number nor boolean.
    pub fn properties(&mut self, section: &'static str, secrets: &[&str]) -> Result<Vec<Property>, ConfigFileError> {
        let mut found = Vec::new();
        if let Ok(value) = self.figment.find_value(section) {
            self.flatten(section, "", &value, &mut found)?;
        }
        let mut table = toml::Table::new();
        for property in &found {
            let is_literal = secrets.contains(&property.name.as_str()) && property.is_environment;
            let shown = if is_literal { environment_name(section, &property.name) } else { property.value.clone() };
            table.insert(property.name.clone(), shown.into());
            self.origins.insert((section, property.name.clone()), property.place.clone().unwrap_or_else(|| "command line".into()));
        }
        self.sections.push((section, table));
        Ok(found)
    }

    fn flatten(&self, section: &str, path: &str, value: &Value, into: &mut Vec<Property>) -> Result<(), ConfigFileError> {
        let place = self.place_of(value.tag());
        let text = match value {
            Value::Dict(_, inner) => {
                for (key, value) in inner {
                    let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
                    self.flatten(section, &path, value, into)?;
                }
                return Ok(());
            }
            Value::String(_, text) => text.clone(),
            Value::Char(_, char) => char.to_string(),
            Value::Bool(_, value) => value.to_string(),
            Value::Num(_, number) => match (number.to_i128(), number.to_u128(), number.to_f64()) {
                (Some(number), ..) => number.to_string(),
                (_, Some(number), _) => number.to_string(),
                (.., number) => number.unwrap_or_default().to_string(),
            },
            Value::Array(..) | Value::Empty(..) => {
                let problem = "found a list, expected text, a number or a boolean".into();
                return Err(ConfigFileError { place, key: format!("{section}.{path}"), problem });
            }
        };
        let is_environment = place.as_deref() == Some("environment");
        into.push(Property { name: path.replace('_', "."), value: text, place, is_environment });
        Ok(())
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
            self.print_table(&[name], table, &mut text);
        }
        text
    }

    /// The effective configuration as JSON.
    pub fn to_json(&self) -> serde_json::Value {
        let sections = self.sections.iter().map(|(name, table)| ((*name).to_string(), serde_json::json!(table)));
        serde_json::Value::Object(sections.collect())
    }

    fn print_table(&self, path: &[&str], table: &toml::Table, text: &mut String) {
        text.push_str(&format!("\n[{}]\n", path.iter().map(|key| quoted(key)).collect::<Vec<_>>().join(".")));
        for (key, value) in table.iter().filter(|(_, value)| !value.is_table()) {
            let origin = self.origin_of(path, key);
            text.push_str(&format!("{} = {value} # {origin}\n", quoted(key)));
        }
        for (key, value) in table {
            if let Some(table) = value.as_table() {
                self.print_table(&[path, &[key]].concat(), table, text);
            }
        }
    }

    /// Where a value comes from, in words.
    fn origin_of(&self, path: &[&str], key: &str) -> String {
        if let Some((_, origin)) = self.origins.iter().find(|((section, name), _)| path == [*section] && name == key) {
            return origin.clone();
        }
        let root = path.first().and_then(|section| self.figment.find_value(section).ok());
        let step = |value: Value, key: &&str| match value {
            Value::Dict(_, mut inner) => inner.remove(*key),
            _ => None,
        };
        let found = root.and_then(|root| path.iter().skip(1).chain([&key]).try_fold(root, step));
        found.and_then(|value| self.place_of(value.tag())).unwrap_or_else(|| "default".into())
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

/// A key as it is written in TOML.
fn quoted(key: &str) -> String {
    if key.contains('.') { format!("\"{key}\"") } else { key.to_owned() }
}

/// How a configuration file refers to a secret that came from the environment.
fn environment_name(section: &str, property: &str) -> String {
    format!("env:{ENV_PREFIX}{}__{}", section.to_uppercase(), property.replace('.', "_").to_uppercase())
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

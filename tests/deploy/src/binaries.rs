//! The programs of the workspace, as cargo knows them, and what the built ones answer.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use serde::Deserialize;

use crate::{FileError, root};

/// Prefix of the settings in the environment.
pub const SETTING: &str = "NEPHOSCOPE_";
/// Members whose programs a user installs; those of test suites and of the schemas' generator he does not.
const PRODUCTS: [&str; 4] = ["ingest", "nephoscope", "processors", "sinks"];
/// The section whose keys are dotted and known to librdkafka alone.
const FREE_SECTION: &str = "kafka";

/// The programs.
#[derive(Debug)]
pub struct Binaries {
    products: BTreeSet<String>,
    /// Folders of all members, from the root.
    members: Vec<PathBuf>,
    /// Where cargo puts them.
    folder: PathBuf,
}

#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Package>,
    workspace_root: PathBuf,
}

#[derive(Deserialize)]
struct Package {
    manifest_path: PathBuf,
    targets: Vec<Target>,
}

#[derive(Deserialize)]
struct Target {
    name: String,
    kind: Vec<String>,
}

impl Binaries {
    /// Asks cargo.
    ///
    /// # Errors
    /// If it does not answer.
    pub fn of_workspace() -> Result<Self, FileError> {
        let broken = |problem: String| FileError::form("cargo metadata", problem);
        let mut cargo = Command::new(env!("CARGO"));
        cargo.args(["metadata", "--no-deps", "--offline", "--format-version", "1"]).current_dir(root());
        let output = cargo.output().map_err(|error| broken(error.to_string()))?;
        let metadata: Metadata = serde_json::from_slice(&output.stdout)
            .map_err(|error| broken(format!("{error}: {}", String::from_utf8_lossy(&output.stderr))))?;
        let member = |package: &Package| {
            let path = package.manifest_path.strip_prefix(&metadata.workspace_root).unwrap_or(&package.manifest_path);
            path.parent().map(Path::to_path_buf).unwrap_or_default()
        };
        let is_product = |package: &&Package| PRODUCTS.iter().any(|folder| member(package).starts_with(folder));
        let targets = metadata.packages.iter().filter(is_product).flat_map(|package| &package.targets);
        let products = targets.filter(|target| target.kind.iter().any(|kind| kind == "bin")).map(|target| target.name.clone());
        // A test lies in the folder `deps` beside the programs of its own build.
        let this = std::env::current_exe().map_err(|error| broken(error.to_string()))?;
        let folder = this.parent().and_then(Path::parent).map(Path::to_path_buf).unwrap_or_default();
        Ok(Self { products: products.collect(), members: metadata.packages.iter().map(member).collect(), folder })
    }

    /// Names of the programs that a user installs.
    pub fn products(&self) -> impl Iterator<Item = &str> {
        self.products.iter().map(String::as_str)
    }

    /// Folders of the packages, from the root.
    pub fn members(&self) -> &[PathBuf] {
        &self.members
    }

    /// Where a product is, if it was built with this test. The error says why not.
    ///
    /// # Errors
    /// If it is no product, or was not built.
    pub fn built(&self, name: &str) -> Result<PathBuf, String> {
        if !self.products.contains(name) {
            return Err(format!("{name} is no binary of the product"));
        }
        let path = self.folder.join(name);
        if path.is_file() { Ok(path) } else { Err(format!("{} was not built with this test", path.display())) }
    }

    /// Whether a command line can be meant: its own help, asked with the same words, must explain it.
    ///
    /// # Errors
    /// What the program says against it.
    pub fn explain(&self, words: &[String]) -> Result<(), String> {
        let [program, arguments @ ..] = words else { return Err("no program is named".into()) };
        let mut command = Command::new(self.built(program)?);
        let output = command.args(arguments).arg("--help").env_clear().stdin(Stdio::null()).output();
        let output = output.map_err(|error| format!("{program}: {error}"))?;
        let complaint = || String::from_utf8_lossy(&output.stderr).lines().next().unwrap_or("no reason given").to_string();
        if output.status.success() { Ok(()) } else { Err(format!("{}: {}", words.join(" "), complaint())) }
    }

    /// What is wrong with the settings among some variables: the program is started with just these, and asked for its
    /// effective configuration, in which each must stand as taken from the environment.
    ///
    /// # Errors
    /// If the program refuses them all.
    pub fn unknown_settings(&self, program: &str, environment: &BTreeMap<String, String>) -> Result<Vec<String>, String> {
        let mut command = Command::new(self.built(program)?);
        if program == "nephoscope" {
            command.arg("up");
        }
        command.arg("--print-config").env_clear().envs(environment).stdin(Stdio::null()).current_dir("/");
        let output = command.output().map_err(|error| format!("{program}: {error}"))?;
        if !output.status.success() {
            return Err(String::from_utf8_lossy(&output.stderr).trim().to_string());
        }
        let taken = taken_from_environment(&String::from_utf8_lossy(&output.stdout));
        let settings = environment.keys().filter_map(|name| Some((name, name.strip_prefix(SETTING)?)));
        Ok(settings.filter(|(_, key)| !taken.contains(&key_of(key))).map(|(name, _)| format!("{program} has no setting {name}")).collect())
    }
}

/// The keys, dotted, of a printed configuration whose values came from the environment.
fn taken_from_environment(printed: &str) -> BTreeSet<String> {
    let (mut section, mut taken) = (String::new(), BTreeSet::new());
    for line in printed.lines() {
        if let Some(name) = line.strip_prefix('[').and_then(|line| line.strip_suffix(']')) {
            section = name.replace('"', "");
        } else if let Some((key, value)) = line.split_once(" = ")
            && value.ends_with("# environment")
        {
            taken.insert(format!("{section}.{}", key.replace('"', "")));
        }
    }
    taken
}

/// `DRAIN__WARMUP_LINES` is `drain.warmup_lines`; `KAFKA__BOOTSTRAP_SERVERS` is `kafka.bootstrap.servers`.
fn key_of(variable: &str) -> String {
    let key = variable.to_lowercase().replace("__", ".");
    match key.split_once('.') {
        Some((FREE_SECTION, rest)) => format!("{FREE_SECTION}.{}", rest.replace('_', ".")),
        _ => key,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_variable_names_a_key() {
        assert_eq!(key_of("DRAIN__ACTIVITY__BUCKET_S"), "drain.activity.bucket_s");
        assert_eq!(key_of("KAFKA__BOOTSTRAP_SERVERS"), "kafka.bootstrap.servers");
    }

    #[test]
    fn only_what_came_from_the_environment_counts() {
        let printed = "[bus]\nbackend = \"kafka\" # environment\nprefix = \"a\" # default\n\n[kafka]\n\"bootstrap.servers\" = \"b # environment\" # environment\n";
        assert_eq!(taken_from_environment(printed), ["bus.backend", "kafka.bootstrap.servers"].map(String::from).into());
    }

    #[test]
    fn only_what_a_user_installs_is_a_product() {
        let binaries = Binaries::of_workspace().expect("a workspace");
        let products: Vec<&str> = binaries.products().collect();
        assert!(products.contains(&"nephoscope") && !products.contains(&"nephoscope-eval"), "{products:?}");
        assert!(binaries.built("sh").is_err());
    }
}

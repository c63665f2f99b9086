//! Units of systemd: what they run, with which settings, how they are watched and confined.

use std::collections::BTreeMap;

use crate::{FileError, binaries::Binaries};

/// The line that begins what all units have in common, to the next empty line.
const CONFINED: &str = "# Confined: the same in every unit.";
/// Where packages put programs.
const PROGRAMS: &str = "/usr/local/bin/";
/// What each unit must say, so that systemd watches it as the part expects to be watched.
const WATCHED: [(&str, &str); 6] = [
    ("Type", "notify"),
    ("WatchdogSec", "30"),
    ("Restart", "on-failure"),
    ("RestartSec", "2"),
    ("StartLimitBurst", "5"),
    ("TimeoutStopSec", "20"),
];

/// A unit file.
#[derive(Debug)]
pub struct Unit {
    name: String,
    settings: Vec<(String, String)>,
    confined: String,
}

impl Unit {
    /// Reads one.
    ///
    /// # Errors
    /// If a line is neither a section nor a setting.
    pub fn parse(name: &str, text: &str) -> Result<Self, FileError> {
        let lines = text.lines().filter(|line| !line.is_empty() && !line.starts_with(['#', '[']));
        let setting = |line: &str| {
            let pair = line.split_once('=').ok_or_else(|| FileError::form(name, format!("{line:?} is no setting")))?;
            Ok((pair.0.to_string(), pair.1.to_string()))
        };
        let confined = text.split_once(CONFINED).map_or("", |(_, rest)| rest.split("\n\n").next().unwrap_or(rest));
        Ok(Self { name: name.into(), settings: lines.map(setting).collect::<Result<_, FileError>>()?, confined: confined.trim().into() })
    }

    /// The values of a setting, in order.
    pub fn values<'a>(&'a self, key: &'a str) -> impl Iterator<Item = &'a str> {
        self.settings.iter().filter(move |(found, _)| found == key).map(|(_, value)| value.as_str())
    }

    /// What it runs: the program's name and its arguments.
    pub fn command(&self) -> Vec<String> {
        let start = self.values("ExecStart").last().unwrap_or_default();
        start.strip_prefix(PROGRAMS).unwrap_or(start).split_whitespace().map(str::to_string).collect()
    }

    /// The variables that it sets.
    pub fn environment(&self) -> BTreeMap<String, String> {
        let pairs = self.values("Environment").filter_map(|pair| pair.split_once('='));
        pairs.map(|(name, value)| (name.to_string(), value.to_string())).collect()
    }

    /// What confines it as every other unit.
    pub fn confined(&self) -> &str {
        &self.confined
    }

    /// What is wrong with it.
    pub fn problems(&self, binaries: &Binaries) -> Vec<String> {
        let mut problems = Vec::new();
        let mut complain = |problem: String| problems.push(format!("{}: {problem}", self.name));
        for (key, expected) in WATCHED {
            let found: Vec<_> = self.values(key).collect();
            if found != [expected] {
                complain(format!("expected {key}={expected}, found {found:?}"));
            }
        }
        for key in ["MemoryMax", "StateDirectory", "WantedBy"] {
            if self.values(key).next().is_none() {
                complain(format!("{key} is missing"));
            }
        }
        let command = self.command();
        let program = command.first().map(String::as_str).unwrap_or_default();
        if !binaries.products().any(|name| name == program) {
            complain(format!("ExecStart: expected {PROGRAMS} and a binary of the product, found {command:?}"));
        } else if self.name != format!("{program}.service") {
            complain(format!("it runs {program}, so expected {program}.service"));
        }
        if self.confined.is_empty() {
            complain("it is not confined as the others".into());
        }
        problems
    }
}

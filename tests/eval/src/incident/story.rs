//! A story as it is written: what hosts say, minute by minute, and what truly caused it.

use std::{collections::BTreeMap, path::Path};

use anyhow::{Context, ensure};
use schemas::Severity;
use serde::Deserialize;

/// One file of `stories/`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Story {
    /// In a sentence, for whoever reads the file.
    #[allow(dead_code, reason = "part of the format, read by people")]
    pub about: String,
    /// What truly happens; nothing on a quiet day.
    #[serde(default)]
    pub truth: Vec<Truth>,
    /// Hosts to which nothing happens.
    #[serde(default)]
    pub quiet_hosts: Vec<String>,
    /// What hosts say all the time, besides what every host says.
    #[serde(default)]
    pub steady: Vec<Steady>,
    /// What is said because of it.
    #[serde(default)]
    pub line: Vec<Line>,
    /// Alerts of layers that have no detector yet, written by hand.
    #[serde(default)]
    pub alert: Vec<HandWritten>,
}

/// One thing that truly happens.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Truth {
    /// Its name among the truths of a story.
    pub name: String,
    /// What caused it, as `host/NAME` and so on.
    pub cause: String,
    /// Hosts that it reaches.
    pub hosts: Vec<String>,
}

/// What hosts say all the time, or until it stops.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Steady {
    /// Who.
    pub hosts: Vec<String>,
    /// Which program; none means all that the host says.
    pub app: Option<String>,
    /// Syslog severity.
    #[serde(default)]
    pub severity: i32,
    /// How often.
    #[serde(default)]
    pub every_s: i64,
    /// What, `{n}` being a number that changes.
    #[serde(default)]
    pub line: String,
    /// When it stops.
    pub until_s: Option<i64>,
}

/// A line that is said because of a truth.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Line {
    /// Because of which.
    pub truth: String,
    /// When first.
    pub at_s: i64,
    /// Who.
    pub hosts: Vec<String>,
    /// Which program.
    pub app: String,
    /// Syslog severity.
    pub severity: i32,
    /// What.
    pub line: String,
    /// How far apart, if more than once.
    #[serde(default)]
    pub every_s: i64,
    /// How often.
    #[serde(default = "once")]
    pub times: i64,
}

fn once() -> i64 {
    1
}

/// An alert written by hand.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HandWritten {
    /// Because of which truth.
    pub truth: String,
    /// When.
    pub at_s: i64,
    /// Kind.
    pub name: String,
    /// How bad.
    pub severity: Severity,
    /// Identity.
    pub labels: BTreeMap<String, String>,
    /// Service.
    pub service: String,
    /// One line.
    pub message: String,
    /// How long.
    pub for_s: i64,
}

impl Story {
    /// Reads a story.
    ///
    /// # Errors
    /// If it is none, or a line belongs to no truth.
    pub fn read(name: &str, text: &str) -> anyhow::Result<Self> {
        let story: Self = toml::from_str(text).with_context(|| format!("reading story {name}"))?;
        let names: Vec<&str> = story.truth.iter().map(|truth| truth.name.as_str()).collect();
        let used = story.line.iter().map(|line| &line.truth).chain(story.alert.iter().map(|alert| &alert.truth));
        for truth in used {
            ensure!(names.contains(&truth.as_str()), "story {name}: expected one of the truths {names:?}, found {truth:?}");
        }
        Ok(story)
    }

    /// All stories of a folder, by name.
    ///
    /// # Errors
    /// If it cannot be read, or holds none.
    pub fn all(folder: &Path) -> anyhow::Result<BTreeMap<String, Self>> {
        let mut stories = BTreeMap::new();
        for entry in std::fs::read_dir(folder).with_context(|| format!("reading {}", folder.display()))? {
            let path = entry?.path();
            if path.extension().is_some_and(|extension| extension == "toml") {
                let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
                let text = std::fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))?;
                stories.insert(name.clone(), Self::read(&name, &text)?);
            }
        }
        ensure!(!stories.is_empty(), "expected stories (*.toml) in {}, found none", folder.display());
        Ok(stories)
    }

    /// All hosts.
    pub fn hosts(&self) -> impl Iterator<Item = &String> {
        self.truth.iter().flat_map(|truth| &truth.hosts).chain(&self.quiet_hosts)
    }

    /// The same story elsewhere: hosts, machines and addresses have other names, programs and what they say have not.
    pub fn elsewhere(&self) -> Self {
        let mut names: Vec<String> = self.hosts().cloned().collect();
        names.extend(self.alert.iter().filter_map(|alert| alert.labels.get("vm").cloned()));
        names.sort_by_key(|name| std::cmp::Reverse(name.len()));
        names.dedup();
        // In two steps, so that no name is renamed twice.
        let rename = |text: &str| {
            let marked =
                names.iter().enumerate().fold(text.to_string(), |text, (n, name)| text.replace(name.as_str(), &format!("\u{1}{n}\u{2}")));
            let named =
                names.iter().enumerate().fold(marked, |text, (n, name)| text.replace(&format!("\u{1}{n}\u{2}"), &format!("far-{name}")));
            named.replace("10.0.", "10.99.")
        };
        let all = |list: &mut Vec<String>| list.iter_mut().for_each(|name| *name = rename(name));
        let mut story = self.clone();
        all(&mut story.quiet_hosts);
        for truth in &mut story.truth {
            truth.cause = rename(&truth.cause);
            truth.name = format!("far {}", truth.name);
            all(&mut truth.hosts);
        }
        story.steady.iter_mut().for_each(|steady| all(&mut steady.hosts));
        for line in &mut story.line {
            all(&mut line.hosts);
            line.line = rename(&line.line);
            line.truth = format!("far {}", line.truth);
        }
        for alert in &mut story.alert {
            alert.labels.values_mut().for_each(|value| *value = rename(value));
            alert.message = rename(&alert.message);
            alert.truth = format!("far {}", alert.truth);
        }
        story
    }

    /// Both at once.
    pub fn and(mut self, other: Self) -> Self {
        self.truth.extend(other.truth);
        self.quiet_hosts.extend(other.quiet_hosts);
        self.steady.extend(other.steady);
        self.line.extend(other.line);
        self.alert.extend(other.alert);
        self
    }
}

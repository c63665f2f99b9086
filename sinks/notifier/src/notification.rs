//! What one message says: the alerts that are news, and what else fires in their group.

use std::collections::BTreeMap;

use schemas::{Alert, AlertStatus, EventTime, Severity};

use crate::story;

/// What one request tells.
#[derive(Debug, Clone, PartialEq)]
pub struct Notification {
    /// What it is about.
    pub about: About,
    /// When it was put together.
    pub at: EventTime,
    /// Alerts, those first that are news.
    pub entries: Vec<Entry>,
    /// How many more fire in the group than fitted.
    pub left_out: usize,
}

/// What a message is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum About {
    /// Alerts, each for itself.
    Each,
    /// A group, by what its alerts have in common.
    Group(BTreeMap<String, String>),
    /// What fires, said again.
    Again,
    /// That we are alive.
    Watchdog,
    /// A trial.
    Trial,
}

/// One alert of a message.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    /// The alert; secrets masked.
    pub alert: Alert,
    /// Where its record stands.
    pub offset: u64,
    /// Whether it is what the message is for.
    pub is_news: bool,
    /// As it was told before, if under another severity.
    pub before: Option<Alert>,
}

impl Notification {
    /// The alerts that it is for.
    pub fn news(&self) -> impl Iterator<Item = &Entry> {
        self.entries.iter().filter(|entry| entry.is_news)
    }

    /// The last word on each alert, in order: one that came and went within a message comes twice in it.
    pub fn last_words(&self) -> Vec<&Entry> {
        let last: BTreeMap<&str, usize> =
            self.entries.iter().zip(0..).map(|(entry, index)| (entry.alert.fingerprint.as_str(), index)).collect();
        let is_last = |(entry, index): &(&Entry, usize)| last.get(entry.alert.fingerprint.as_str()) == Some(index);
        self.entries.iter().zip(0..).filter(is_last).map(|(entry, _)| entry).collect()
    }

    /// Whether something in it still fires.
    pub fn status(&self) -> AlertStatus {
        let fires = self.left_out > 0 || self.last_words().iter().any(|entry| entry.alert.status == AlertStatus::Firing);
        if fires { AlertStatus::Firing } else { AlertStatus::Resolved }
    }

    /// The worst in it: of what fires, if something does.
    pub fn severity(&self) -> Severity {
        let status = self.status();
        let all = self.last_words().into_iter().map(|entry| &entry.alert);
        all.filter(|alert| alert.status == status).map(|alert| alert.severity).max().unwrap_or_default()
    }

    /// One line about it: `[FIRING 3] TemplateBurst on web-1`.
    pub fn title(&self) -> String {
        let status = self.status();
        let counted: Vec<_> = self.last_words().into_iter().filter(|entry| entry.alert.status == status).collect();
        if let [only] = counted.as_slice()
            && story::is_told_by(&only.alert)
        {
            let mark = if status == AlertStatus::Firing { "INCIDENT" } else { "RESOLVED" };
            return format!("[{mark}] {}", only.alert.message);
        }
        let names = distinct(counted.iter().map(|entry| entry.alert.name.as_str()));
        let hosts = distinct(counted.iter().filter_map(|entry| entry.alert.labels.get("host")).map(String::as_str));
        let on = if hosts.is_empty() { String::new() } else { format!(" on {hosts}") };
        let mark = match status {
            AlertStatus::Firing => format!("FIRING {}", counted.len() + self.left_out),
            AlertStatus::Resolved => format!("RESOLVED {}", counted.len()),
        };
        format!("[{mark}] {names}{on}")
    }

    /// A name for the group that stays the same: what chats and mail programs put together by.
    pub fn group_key(&self) -> String {
        match &self.about {
            About::Group(labels) => group_key(labels),
            About::Each | About::Again => String::new(),
            About::Watchdog => "watchdog".into(),
            About::Trial => "trial".into(),
        }
    }
}

/// The name of a group: `{host="web-1",name="TemplateBurst"}`.
pub fn group_key(labels: &BTreeMap<String, String>) -> String {
    let pairs: Vec<_> = labels.iter().map(|(name, value)| format!("{name}={value:?}")).collect();
    format!("{{{}}}", pairs.join(","))
}

/// The first few different ones, and how many more.
fn distinct<'a>(texts: impl Iterator<Item = &'a str>) -> String {
    const SHOWN: usize = 3;
    let mut all: Vec<&str> = Vec::new();
    texts.for_each(|text| {
        if !all.contains(&text) {
            all.push(text);
        }
    });
    let shown = all.iter().take(SHOWN).copied().collect::<Vec<_>>().join(", ");
    match all.len().saturating_sub(SHOWN) {
        0 => shown,
        more => format!("{shown} and {more} more"),
    }
}

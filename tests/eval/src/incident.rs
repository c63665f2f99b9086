//! Incidents: scripted stories, each with its true cause. The alerts come from the real detectors as far as they exist.

mod play;
mod story;

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
    path::Path,
};

use schemas::{EventTime, Incident};

use crate::{Gates, Mean, Metrics, Outcome, Report, Row, Table, report::mean};
use play::Played;
use story::Story;

const SUITE: &str = "incident";
const PAIRS: &str = "incident-pairs";
/// Stories on which weights may be chosen, and those on which they are checked, in turn by name.
const HALVES: [&str; 2] = ["choose", "check"];
/// Stories of a folder of their own: written before the method was last changed, played only to report.
const HELD_OUT: &str = "held-out";
/// Two stories at once.
const PAIR: &str = "pair";
const QUIET: &str = "quiet";

/// Plays all stories of a folder and of its folder `held-out`, and each at once with the next ones elsewhere. With `explain`, prints
/// what each story came to, and why.
///
/// # Errors
/// If a story cannot be read or played.
pub fn run(folder: &Path, explain: bool, gates: &Gates) -> anyhow::Result<Outcome> {
    let mut stories: Vec<(String, bool, Story)> = Story::all(folder)?.into_iter().map(|(name, story)| (name, false, story)).collect();
    let held_out = folder.join(HELD_OUT);
    if held_out.is_dir() {
        stories.extend(Story::all(&held_out)?.into_iter().map(|(name, story)| (name, true, story)));
    }
    let config = incident::Config::default();
    let mut table = Table::new(["story", "half", "incidents", "rank of cause", "s to cause", "alerts", "by hand", "first cause told"]);
    let (mut rows, mut pairs, mut quiet) = (Vec::new(), Vec::new(), Vec::new());
    let mut index = 0;
    let mut explained = String::new();
    for (name, is_held_out, story) in &stories {
        let played = play::play(story, &config)?;
        if explain {
            writeln!(explained, "{}", explanation(name, &played))?;
        }
        if story.truth.is_empty() {
            let incidents = last_words(&played).len() as f64;
            quiet.push(Row { set: name.clone(), mode: QUIET.into(), metrics: [("incidents", incidents)].into() });
            table.line(vec![
                name.clone(),
                QUIET.into(),
                format!("{incidents}"),
                "-".into(),
                "-".into(),
                played.truth_of.len().to_string(),
                "0".into(),
                "-".into(),
            ]);
            continue;
        }
        if story.truth.len() > 1 {
            pairs.push(pair(name, &played));
        }
        for truth in &story.truth {
            let found = judge(&played, &truth.name, &truth.cause);
            let set = if story.truth.len() > 1 { format!("{name} ({})", truth.name) } else { name.clone() };
            let mode = if *is_held_out { HELD_OUT } else { HALVES[index % 2] };
            index += usize::from(!is_held_out);
            let number = |value: Option<f64>| value.map_or_else(|| "-".into(), |value| format!("{value}"));
            table.line(vec![
                set.clone(),
                mode.into(),
                format!("{}", found.incidents),
                number(found.rank),
                number(found.seconds),
                found.alerts.to_string(),
                played.by_hand.to_string(),
                found.first.clone(),
            ]);
            rows.push(Row { set, mode: mode.into(), metrics: found.metrics() });
        }
    }
    let single: Vec<_> = stories.iter().filter(|(_, _, story)| story.truth.len() == 1).collect();
    for (n, (name, _, story)) in single.iter().enumerate() {
        for step in [1, 2] {
            let (other_name, _, other) = single[(n + step) % single.len()];
            let both = story.clone().and(other.elsewhere());
            pairs.push(pair(&format!("{name} + {other_name}"), &play::play(&both, &config)?));
        }
    }
    let mut checked = gates.check(SUITE, &rows);
    checked.extend(gates.check(PAIRS, &pairs));
    let modes = HALVES.into_iter().chain([HELD_OUT]).filter(|mode| rows.iter().any(|row| row.mode == *mode));
    let mut means: Vec<Mean> =
        modes.map(|mode| Mean { mode: mode.into(), metrics: mean(rows.iter().filter(|row| row.mode == mode)) }).collect();
    means.push(Mean { mode: "all".into(), metrics: mean(rows.iter()) });
    means.push(Mean { mode: PAIR.into(), metrics: mean(pairs.iter()) });
    let mut text = explained + &table.render();
    for Mean { mode, metrics } in &means {
        let numbers: Vec<String> = metrics.iter().map(|(name, value)| format!("{name} {value:.3}")).collect();
        writeln!(text, "{mode}: {}", numbers.join(", "))?;
    }
    let merged: Vec<&str> = pairs.iter().filter(|row| row.metrics["apart"] < 1.0).map(|row| row.set.as_str()).collect();
    writeln!(
        text,
        "{} pairs of unrelated stories at once, merged: {}",
        pairs.len(),
        if merged.is_empty() { "none".into() } else { merged.join("; ") }
    )?;
    for gate in &checked {
        writeln!(text, "{} {}: {:.3}, at least {:.3}", if gate.pass { "reached" } else { "MISSED" }, gate.name, gate.value, gate.target)?;
    }
    rows.extend(pairs);
    rows.extend(quiet);
    Ok(Outcome { text, report: Report { suite: SUITE, rows, mean: means, gates: checked } })
}

/// What was found of one truth.
struct Found {
    incidents: usize,
    rank: Option<f64>,
    seconds: Option<f64>,
    alerts: usize,
    first: String,
}

impl Found {
    fn metrics(&self) -> Metrics {
        let is = |holds: bool| f64::from(u8::from(holds));
        let mut metrics: Metrics = [
            ("one", is(self.incidents == 1)),
            ("rank1", is(self.rank == Some(1.0))),
            ("top3", is(self.rank.is_some())),
            ("alerts_per_incident", self.alerts as f64 / self.incidents.max(1) as f64),
        ]
        .into();
        metrics.extend(self.seconds.map(|seconds| ("seconds", seconds)));
        metrics
    }
}

/// What a story came to: its incidents with their causes and their timelines.
fn explanation(name: &str, played: &Played) -> String {
    let mut text = format!("{name}\n");
    for incident in last_words(played) {
        text += &format!("  {} {}\n", incident.severity, incident.title);
        for cause in &incident.causes {
            text += &format!("    {:.2} {}: {}\n", cause.score, cause.node, cause.because);
        }
        for entry in &incident.timeline {
            text += &format!("      {} {}\n", entry.at, entry.text);
        }
    }
    text
}

/// The last word about each incident that did not turn out to be part of another.
fn last_words(played: &Played) -> Vec<&Incident> {
    let last: BTreeMap<&str, &Incident> = played.told.iter().map(|incident| (incident.id.as_str(), incident)).collect();
    last.into_values().filter(|incident| incident.merged_into.is_none()).collect()
}

fn of_truth(played: &Played, incident: &Incident, truth: &str) -> usize {
    let belongs = |fingerprint: &str| played.truth_of.get(fingerprint).is_some_and(|of| of.as_deref() == Some(truth));
    incident.alerts.iter().filter(|alert| belongs(&alert.fingerprint)).count()
}

fn judge(played: &Played, truth: &str, cause: &str) -> Found {
    let of: Vec<&Incident> = last_words(played).into_iter().filter(|incident| of_truth(played, incident, truth) > 0).collect();
    let main = of.iter().max_by_key(|incident| of_truth(played, incident, truth));
    let rank = |incident: &Incident| incident.causes.iter().position(|found| found.node.to_string() == cause);
    let right = played.told.iter().find(|incident| of_truth(played, incident, truth) > 0 && rank(incident) == Some(0));
    let began = played.began.get(truth).copied().unwrap_or(EventTime::MIN);
    Found {
        incidents: of.len(),
        rank: main.and_then(|incident| rank(incident)).map(|place| place as f64 + 1.0),
        seconds: right.map(|incident| (incident.last_update.millis_since(began) / 1_000) as f64),
        alerts: played.truth_of.values().filter(|of| of.as_deref() == Some(truth)).count(),
        first: main.and_then(|incident| incident.causes.first()).map_or_else(|| "-".into(), |found| found.node.to_string()),
    }
}

fn pair(name: &str, played: &Played) -> Row {
    let truths = |incident: &Incident| {
        let of = incident.alerts.iter().filter_map(|alert| played.truth_of.get(&alert.fingerprint)?.as_deref());
        of.collect::<BTreeSet<_>>().len()
    };
    let is_apart = played.told.iter().all(|incident| truths(incident) <= 1);
    Row { set: name.into(), mode: PAIR.into(), metrics: [("apart", f64::from(u8::from(is_apart)))].into() }
}

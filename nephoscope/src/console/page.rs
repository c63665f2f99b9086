//! The page: static files, and the overview as plain HTML within it, so that it is readable before its script has run and
//! where none runs. The script redraws the same elements; log content reaches both only as escaped text.

mod incidents;

use std::fmt::Write as _;

use schemas::{Incident, Severity};
use syslog::collector::SourceState;

use super::{
    Overview, SourceView, StageView,
    alerts::{AlertSummary, SEVERITIES},
    minutes::MINUTES,
    templates::TemplateSummary,
    view::HostSummary,
};
use crate::output::{bytes, count};

/// The style sheet.
pub const STYLE: &str = include_str!("../../page/style.css");
/// The script.
pub const SCRIPT: &str = include_str!("../../page/app.js");
const INDEX: &str = include_str!("../../page/index.html");

/// Width and height of a sparkline's drawing.
const SPARK: (f64, f64) = (120.0, 20.0);
/// Width and height of the drawing of the hour: ten units per minute, lines above, alerts below.
const HOUR: (f64, f64) = (600.0, 100.0);
const LINES_HEIGHT: f64 = 74.0;
const CELL_TOP: f64 = 82.0;

/// The page with the overview and the incidents, those that are open and those that ended, already in it.
pub fn render(overview: &Overview, open: &[Incident], past: &[Incident]) -> String {
    let (tone, verdict) = verdict(overview);
    let ended = overview.resolved_alerts.len();
    let parts = [
        ("tone", tone.to_string()),
        ("verdict", escape(&verdict)),
        ("gist", escape(&gist(overview))),
        ("hour", hour(overview)),
        ("hour-text", escape(&hour_text(overview))),
        ("incidents", incidents::list(open, overview.now_ms)),
        ("past-hidden", if past.is_empty() { "hidden".into() } else { String::new() }),
        ("past-count", number_of(past.len(), "incident")),
        ("past", incidents::list(past, overview.now_ms)),
        ("alerts-open", if open.is_empty() { "open".into() } else { String::new() }),
        ("alerts-hidden", if overview.open_alerts.is_empty() { "hidden".into() } else { String::new() }),
        ("alerts-count", number_of(overview.open_alerts.len(), "alert")),
        ("alerts", list(&overview.open_alerts, overview.now_ms)),
        ("ended-hidden", if ended == 0 { "hidden".into() } else { String::new() }),
        ("ended-count", number_of(ended, "alert")),
        ("ended", list(&overview.resolved_alerts, overview.now_ms)),
        ("sources", overview.sources.iter().map(|source| source_row(source, overview.now_ms)).collect()),
        ("hosts", overview.hosts.iter().map(|host| host_row(host, overview.now_ms)).collect()),
        ("stages", overview.stages.iter().map(stage_row).collect()),
        ("losses", escape(&losses(overview))),
        ("known", format!("{} of {} kinds", overview.templates.len(), count(overview.templates_known as u64))),
        ("templates", overview.templates.iter().map(template_row).collect()),
        ("about", escape(&about(overview))),
    ];
    fill(INDEX, &parts)
}

/// Replaces each `<!--name-->` once, from left to right: what is put in is never looked at again, whatever a log says.
fn fill(page: &str, parts: &[(&str, String)]) -> String {
    let mut filled = String::with_capacity(page.len() * 4);
    let mut rest = page;
    while let Some((before, after)) = rest.split_once("<!--") {
        let (name, after) = after.split_once("-->").unwrap_or((after, ""));
        filled.push_str(before);
        filled.push_str(parts.iter().find(|(key, _)| *key == name).map_or("", |(_, value)| value));
        rest = after;
    }
    filled.push_str(rest);
    filled
}

fn verdict(overview: &Overview) -> (&'static str, String) {
    let stopped: Vec<&str> =
        overview.stages.iter().filter(|stage| stage.status.state == "stopped").map(|stage| stage.status.name.as_str()).collect();
    if !stopped.is_empty() {
        return ("critical", format!("{} stopped", stopped.join(", ")));
    }
    let incidents = overview.open_incidents.first().map(|worst| ("incident", overview.open_incidents.len(), worst.severity));
    let alerts = overview.open_alerts.first().map(|worst| ("alert", overview.open_alerts.len(), worst.severity));
    match incidents.or(alerts) {
        Some((what, 1, severity)) => (tone(severity), format!("1 {what} is open, severity {severity}")),
        Some((what, open, worst)) => (tone(worst), format!("{} {what}s are open, the worst {worst}", count(open as u64))),
        None if overview.lines == 0 => ("quiet", "No line has come yet".into()),
        None => ("calm", "Nothing unusual".into()),
    }
}

fn number_of(number: usize, what: &str) -> String {
    if number == 1 { format!("1 {what}") } else { format!("{} {what}s", count(number as u64)) }
}

fn tone(severity: Severity) -> &'static str {
    match severity {
        Severity::Critical => "critical",
        Severity::High => "high",
        Severity::Warning => "warning",
        Severity::Info | Severity::Low => "info",
    }
}

fn gist(overview: &Overview) -> String {
    let rate: f64 = overview.sources.iter().map(|source| source.rate).sum();
    let hosts = if overview.hosts_known == 1 { "1 host".into() } else { format!("{} hosts", count(overview.hosts_known as u64)) };
    let kinds = count(overview.templates_known as u64);
    let news = if overview.templates_new == 0 { String::new() } else { format!(" ({} new within the hour)", overview.templates_new) };
    let mut gist = format!("{} lines from {hosts}, {kinds} kinds of line{news}, {} lines/s now", count(overview.lines), per_second(rate));
    match overview.sources.iter().filter(|source| source.status.state == SourceState::Blind).count() {
        0 => {}
        1 => gist.push_str("; 1 source cannot be seen"),
        blind => _ = write!(gist, "; {blind} sources cannot be seen"),
    }
    gist
}

fn about(overview: &Overview) -> String {
    let memory = overview.rss_bytes.map_or_else(String::new, |rss| format!(", {} of memory", bytes(rss)));
    format!("Nephoscope {}{memory}.", overview.version)
}

fn losses(overview: &Overview) -> String {
    if overview.losses.is_empty() {
        return "Nothing was lost since the start.".into();
    }
    let one =
        |(component, topic, cause, lost): &(String, String, String, u64)| format!("{} of {topic} by {component} ({cause})", count(*lost));
    format!("Lost since the start: {}.", overview.losses.iter().map(one).collect::<Vec<_>>().join("; "))
}

/// The last hour: lines per minute as a hill, and below it the worst alert that was open in each minute.
fn hour(overview: &Overview) -> String {
    let (width, height) = HOUR;
    let cells: String = overview
        .alert_minutes
        .iter()
        .enumerate()
        .map(|(minute, counts)| {
            let worst = SEVERITIES.iter().rev().find(|severity| counts[**severity as usize] > 0);
            let (x, y, class) = (minute * 10, CELL_TOP, worst.map_or("none", |severity| tone(*severity)));
            format!("<rect x=\"{x}\" y=\"{y}\" width=\"9\" height=\"14\" class=\"{class}\"/>")
        })
        .collect();
    let text = escape(&hour_text(overview));
    format!(
        "<svg id=\"hour\" viewBox=\"0 0 {width} {height}\" preserveAspectRatio=\"none\" role=\"img\" aria-label=\"{text}\">\
         <path class=\"hill\" d=\"{}\"/>{cells}</svg>",
        hill(&overview.minutes)
    )
}

fn hour_text(overview: &Overview) -> String {
    let most = overview.minutes.iter().max().copied().unwrap_or(0);
    let bad = overview.alert_minutes.iter().filter(|counts| counts.iter().any(|count| *count > 0)).count();
    let alerts = match bad {
        0 => "no alert was open".into(),
        1 => "alerts were open in 1 minute".into(),
        MINUTES => "alerts were open all the time".into(),
        bad => format!("alerts were open in {bad} minutes"),
    };
    format!("at most {} {} a minute; {alerts}", count(u64::from(most)), if most == 1 { "line" } else { "lines" })
}

/// A closed area of steps, one per minute.
fn hill(minutes: &[u32]) -> String {
    let most = f64::from(minutes.iter().max().copied().unwrap_or(0).max(1));
    let mut path = format!("M0,{LINES_HEIGHT}");
    for (minute, lines) in minutes.iter().enumerate() {
        let y = LINES_HEIGHT - f64::from(*lines) / most * (LINES_HEIGHT - 4.0);
        let _ = write!(path, "L{},{y:.1}L{},{y:.1}", minute * 10, minute * 10 + 10);
    }
    let _ = write!(path, "L{},{LINES_HEIGHT}Z", HOUR.0);
    path
}

fn spark(minutes: &[u32]) -> String {
    let (width, height) = SPARK;
    let most = minutes.iter().max().copied().unwrap_or(0);
    let step = width / (MINUTES - 1) as f64;
    let point = |(minute, lines): (usize, &u32)| {
        let y = height - 1.5 - f64::from(*lines) / f64::from(most.max(1)) * (height - 3.0);
        format!("{}{:.1},{y:.1}", if minute == 0 { "M" } else { "L" }, minute as f64 * step)
    };
    let path: String = minutes.iter().enumerate().map(point).collect();
    format!(
        "<svg class=\"spark\" viewBox=\"0 0 {width} {height}\" preserveAspectRatio=\"none\" role=\"img\" aria-label=\"at most {most} a minute\"><path d=\"{path}\"/></svg>"
    )
}

fn list(alerts: &[AlertSummary], now_ms: i64) -> String {
    alerts.iter().map(|alert| alert_item(alert, now_ms)).collect()
}

fn alert_item(alert: &AlertSummary, now_ms: i64) -> String {
    let when = match alert.ends_at_ms {
        Some(end) => format!("ended {}", ago(end, now_ms)),
        None => format!("since {}", ago(alert.started_at_ms, now_ms)),
    };
    format!(
        "<details class=\"alert {tone}\"><summary><span class=\"level\">{severity}</span> <b>{name}</b> <span class=\"said\">{message}</span> \
         <span class=\"when\">{when}</span></summary><p>{description}</p></details>",
        tone = tone(alert.severity),
        severity = alert.severity,
        name = escape(&alert.name),
        message = escape(&alert.message),
        description = escape(&alert.description),
    )
}

fn source_row(source: &SourceView, now_ms: i64) -> String {
    let status = &source.status;
    let (class, word) = match status.state {
        SourceState::Watching => ("good", "watching"),
        SourceState::CatchingUp => ("busy", "reading the past"),
        SourceState::Waiting => ("idle", "not there yet"),
        SourceState::Blind => ("bad", "cannot be seen"),
        SourceState::Stopped => ("bad", "stopped"),
    };
    let last = status.last_seen.map_or_else(|| "never".into(), |micros| ago(micros / 1_000, now_ms));
    let why = if status.reason.is_empty() { String::new() } else { format!("<span class=\"why\">{}</span>", escape(&status.reason)) };
    format!(
        "<tr><th scope=\"row\">{} <span class=\"kind\">{}</span>{why}</th><td class=\"state {class}\">{word}</td><td class=\"n\">{}</td>\
         <td class=\"n\">{}</td><td class=\"n\">{last}</td></tr>",
        escape(&status.name),
        format!("{:?}", status.kind).to_lowercase(),
        per_second(source.rate),
        count(status.records)
    )
}

fn host_row(host: &HostSummary, now_ms: i64) -> String {
    format!(
        "<tr><th scope=\"row\">{}</th><td>{}</td><td class=\"n\">{}</td><td class=\"n\">{}</td></tr>",
        escape(&host.host),
        spark(&host.minutes),
        count(host.last_hour),
        ago(host.last_seen_ms, now_ms)
    )
}

fn stage_row(stage: &StageView) -> String {
    let status = &stage.status;
    let class = match status.state {
        "running" => "good",
        "stopped" => "bad",
        _ => "busy",
    };
    let why = status.why.as_ref().map_or_else(String::new, |why| format!("<span class=\"why\">{}</span>", escape(why)));
    let numbers = [count(status.records), count(status.lag), count(status.rejects.values().sum()), bytes(status.state_bytes)];
    let cells: String = numbers.iter().map(|number| format!("<td class=\"n\">{number}</td>")).collect();
    format!(
        "<tr><th scope=\"row\">{}{why}</th><td class=\"state {class}\">{}</td><td class=\"n\">{}</td>{cells}</tr>",
        escape(&status.name),
        escape(status.state),
        per_second(stage.rate)
    )
}

fn template_row(template: &TemplateSummary) -> String {
    let text: Vec<String> = template.text.split("<*>").map(escape).collect();
    let new = if template.is_new { "<span class=\"new\">new</span> " } else { "" };
    let severe = match template.severity {
        Some(0..=2) => "critical",
        Some(3) => "high",
        Some(4) => "warning",
        _ => "",
    };
    format!(
        "<tr><td class=\"n\">{}</td><td>{}</td><td class=\"text {severe}\">{new}{}</td><td class=\"n total\">{}</td></tr>",
        count(template.last_hour),
        spark(&template.minutes),
        text.join("<i>&lt;*&gt;</i>"),
        count(template.count)
    )
}

fn per_second(rate: f64) -> String {
    match rate {
        0.0 => "0".into(),
        rate if rate < 10.0 => format!("{rate:.1}"),
        rate => count(rate.round() as u64),
    }
}

fn ago(then_ms: i64, now_ms: i64) -> String {
    match now_ms.saturating_sub(then_ms).max(0) / 1_000 {
        seconds @ 0..90 => format!("{seconds} s ago"),
        seconds @ 90..5_400 => format!("{} min ago", (seconds + 30) / 60),
        seconds @ 5_400..172_800 => format!("{} h ago", (seconds + 1_800) / 3_600),
        seconds => format!("{} days ago", (seconds + 43_200) / 86_400),
    }
}

/// Log content is hostile input.
fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_filled_in_is_not_filled_again() {
        let parts = [("a", "<!--b-->&lt;".to_string()), ("b", "secret".to_string())];
        assert_eq!(fill("<!--a-->|<!--b-->|<!--c-->|", &parts), "<!--b-->&lt;|secret||");
    }

    #[test]
    fn the_whole_page_is_small_and_asks_nobody_else() {
        let all = [INDEX, STYLE, SCRIPT];
        assert!(all.iter().map(|file| file.len()).sum::<usize>() < 60 << 10);
        let namespace = "http://www.w3.org/2000/svg";
        for file in all {
            let rest = file.replace(namespace, "");
            assert!(!rest.contains("http:") && !rest.contains("https:") && !rest.contains("url("));
            assert!(["innerHTML", "outerHTML", "insertAdjacent", "document.write", "eval("].iter().all(|word| !rest.contains(word)));
        }
        assert!(!INDEX.contains("style=") && !INDEX.contains("onclick"), "the policy forbids both");
    }
}

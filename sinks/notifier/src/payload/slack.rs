//! Slack's incoming webhooks, and those of chats that take the same: a text, which is always there, and blocks.

use schemas::{AlertStatus, Severity};
use serde_json::{Value, json};

use super::{cut, link, plain};
use crate::notification::{Entry, Notification};

/// Bytes of a block's text: Slack counts 3,000 characters.
const BLOCK_BYTES_MAX: usize = 3_000;
/// Alerts with a block of their own: a message may have 50 blocks, and nobody reads as many.
const SHOWN_MAX: usize = 20;
/// Bytes of the text.
const TEXT_BYTES_MAX: usize = 4_000;
/// Stands between `@` and a word: invisible, and no mention any more (U+2060, word joiner).
const JOINER: char = '\u{2060}';

/// The body of a request.
pub fn body(notification: &Notification, external_url: &str) -> Value {
    let words = notification.last_words();
    let title = format!("{} {}", mark(notification.status(), notification.severity()), escaped(&plain(&notification.title())));
    let mut blocks = vec![section(&format!("*{title}*"))];
    let news: Vec<&Entry> = words.iter().copied().filter(|entry| entry.is_news).collect();
    blocks.extend(news.iter().take(SHOWN_MAX).map(|entry| section(&told(entry, external_url))));
    let unshown = news.len().saturating_sub(SHOWN_MAX);
    if unshown > 0 {
        blocks.push(context(&format!("and {unshown} more: {}", by_severity(news.iter().skip(SHOWN_MAX).copied()))));
    }
    let others = words.len() - news.len() + notification.left_out;
    if others > 0 {
        blocks.push(context(&format!("{others} told before still fire")));
    }
    let first = news.first().map_or_else(String::new, |entry| format!(": {}", escaped(&plain(&entry.alert.message))));
    json!({ "text": cut(&format!("{title}{first}"), TEXT_BYTES_MAX), "blocks": blocks })
}

fn told(entry: &Entry, external_url: &str) -> String {
    let alert = &entry.alert;
    let name = escaped(&plain(&alert.name));
    let name = link(alert, external_url).map_or_else(|| name.clone(), |url| format!("<{}|{name}>", escaped(url)));
    let mut text = format!("{} *{name}* {}\n{}", mark(alert.status, alert.severity), alert.severity, escaped(&plain(&alert.message)));
    if alert.status == AlertStatus::Firing && !alert.description.is_empty() {
        let lines: Vec<String> = alert.description.lines().map(|line| format!("> {}", escaped(&plain(line)))).collect();
        text = format!("{text}\n{}", lines.join("\n"));
    }
    let labels: Vec<String> =
        alert.labels.iter().map(|(name, value)| format!("{}={}", escaped(&plain(name)), escaped(&plain(value)))).collect();
    cut(&format!("{text}\n{}", labels.join(" ")), BLOCK_BYTES_MAX)
}

/// `verbatim`: Slack then makes neither links nor mentions of what stands in the text.
fn section(text: &str) -> Value {
    json!({ "type": "section", "text": { "type": "mrkdwn", "verbatim": true, "text": cut(text, BLOCK_BYTES_MAX) } })
}

fn context(text: &str) -> Value {
    json!({ "type": "context", "elements": [{ "type": "mrkdwn", "verbatim": true, "text": cut(text, BLOCK_BYTES_MAX) }] })
}

fn by_severity<'a>(entries: impl Iterator<Item = &'a Entry>) -> String {
    let mut counts = [Severity::Critical, Severity::High, Severity::Warning, Severity::Info, Severity::Low].map(|severity| (severity, 0));
    entries
        .for_each(|entry| counts.iter_mut().filter(|(severity, _)| *severity == entry.alert.severity).for_each(|(_, count)| *count += 1));
    let told: Vec<String> = counts.iter().filter(|(_, count)| *count > 0).map(|(severity, count)| format!("{count} {severity}")).collect();
    told.join(", ")
}

fn mark(status: AlertStatus, severity: Severity) -> &'static str {
    match (status, severity) {
        (AlertStatus::Resolved, _) => ":white_check_mark:",
        (_, Severity::Critical) => ":rotating_light:",
        (_, Severity::High) => ":red_circle:",
        (_, Severity::Warning) => ":large_orange_circle:",
        _ => ":large_blue_circle:",
    }
}

/// What Slack would interpret: `&`, `<` and `>` (its own rule; else `<!channel>` in a log line calls everybody), signs of its
/// markup, and mentions, which chats that take the same webhooks find in plain text.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '@' => out.extend(['@', JOINER]),
            '*' | '_' | '~' | '`' => out.extend([JOINER, c, JOINER]),
            other => out.push(other),
        }
    }
    out
}

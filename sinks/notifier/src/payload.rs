//! What each kind of destination is sent, as bytes: pure functions of a [`Notification`](crate::Notification).
//!
//! Texts in an alert come from logs, and logs are hostile: each of these knows what its destination would interpret.

pub mod alertmanager;
pub mod console;
pub mod email;
pub mod file;
pub mod keep;
pub mod pagerduty;
pub mod slack;
pub mod webhook;

#[cfg(test)]
mod tests;

use schemas::{Alert, alert};

/// Where people see more: the alert's own link, else the page.
pub(crate) fn link<'a>(alert: &'a Alert, external_url: &'a str) -> Option<&'a str> {
    let own = alert.url.as_deref().filter(|url| is_link(url));
    own.or_else(|| Some(external_url).filter(|url| is_link(url)))
}

/// What may stand behind words that somebody clicks on.
fn is_link(url: &str) -> bool {
    let scheme = url.starts_with("https://") || url.starts_with("http://");
    scheme && url.bytes().all(|byte| byte.is_ascii_graphic() && !matches!(byte, b'<' | b'>' | b'|' | b'"' | b'\\'))
}

/// A text on one line, nothing in it that moves a cursor or hides.
pub(crate) fn plain(text: &str) -> String {
    alert::one_line(text, alert::TEXT_BYTES_MAX)
}

/// The first bytes of a text that fit, whole characters, with an ellipsis if something is missing.
pub(crate) fn cut(text: &str, bytes_max: usize) -> String {
    if text.len() <= bytes_max {
        return text.into();
    }
    let end = (0..=bytes_max.saturating_sub('…'.len_utf8())).rev().find(|end| text.is_char_boundary(*end)).unwrap_or(0);
    format!("{}…", text.get(..end).unwrap_or_default())
}

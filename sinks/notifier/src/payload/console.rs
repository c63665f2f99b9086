//! Standard output: a line for each alert.

use super::plain;
use crate::notification::Notification;

/// The lines of a message.
pub fn lines(notification: &Notification) -> String {
    let line = |entry: &crate::notification::Entry| {
        let alert = &entry.alert;
        let time = alert.ends_at.unwrap_or(alert.last_received);
        format!("{time} {:<8} {:<8} {} {}\n", alert.severity, alert.status, plain(&alert.name), plain(&alert.message))
    };
    notification.entries.iter().map(line).collect()
}

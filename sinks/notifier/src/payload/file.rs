//! A file: one JSON object a line, the alert as it stands on the topic.

use crate::notification::Notification;

/// The lines of a message.
pub fn lines(notification: &Notification) -> Vec<u8> {
    let mut lines = Vec::new();
    for entry in &notification.entries {
        // Its maps have text keys and its numbers are finite, so it can be written.
        lines.extend(serde_json::to_vec(&entry.alert).unwrap_or_default());
        lines.push(b'\n');
    }
    lines
}

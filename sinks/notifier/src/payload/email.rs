//! E-mail: plain text, so that no reader interprets it. Messages about one group refer to one another, so that mail programs
//! put them together.

use schemas::{AlertStatus, alert::hex16};

use super::{cut, link, plain};
use crate::notification::{Entry, Notification};

/// Bytes of a subject: longer ones are cut by most programs anyway.
const SUBJECT_BYTES_MAX: usize = 200;
/// The right side of our message ids: nobody's host.
const ID_DOMAIN: &str = "alerts.nephoscope.invalid";

/// What of a message is ours to say; addresses and encoding are the mail library's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mail {
    /// Its subject: one line.
    pub subject: String,
    /// Its text.
    pub text: String,
    /// Its id: the same if it is sent again, so that mail systems that look drop it.
    pub message_id: String,
    /// The id that all messages about the group refer to.
    pub thread_id: String,
}

/// Puts a mail together.
pub fn mail(notification: &Notification, external_url: &str) -> Mail {
    let words = notification.last_words();
    let (news, others): (Vec<&Entry>, Vec<&Entry>) = words.into_iter().partition(|entry| entry.is_news);
    let mut text = String::new();
    for entry in &news {
        text.push_str(&told(entry, external_url));
    }
    if !others.is_empty() {
        text.push_str(&format!("Told before, and still firing ({}):\n", others.len() + notification.left_out));
        for entry in &others {
            text.push_str(&format!("  {} {}: {}\n", entry.alert.severity, plain(&entry.alert.name), plain(&entry.alert.message)));
        }
    }
    let key = notification.group_key();
    let told: Vec<String> = notification.news().map(|entry| format!("{}\0{}", entry.alert.fingerprint, entry.offset)).collect();
    let id = |what: &str| format!("<{}@{ID_DOMAIN}>", hex16(what.as_bytes()));
    Mail {
        subject: cut(&plain(&format!("{} {}", notification.severity(), notification.title())), SUBJECT_BYTES_MAX),
        text,
        message_id: id(&format!("mail\0{key}\0{}", told.join("\0"))),
        thread_id: id(&format!("thread\0{key}")),
    }
}

fn told(entry: &Entry, external_url: &str) -> String {
    let alert = &entry.alert;
    let status = if alert.status == AlertStatus::Firing { "FIRING" } else { "RESOLVED" };
    let mut text = format!("{status} {} {}\n{}\n", alert.severity, plain(&alert.name), plain(&alert.message));
    for line in alert.description.lines() {
        text.push_str(&format!("  {}\n", plain(line)));
    }
    text.push('\n');
    let mut say = |name: &str, value: &str| text.push_str(&format!("  {:<12} {}\n", plain(name), plain(value)));
    say("started", &alert.started_at.to_string());
    alert.ends_at.iter().for_each(|ends_at| say("ended", &ends_at.to_string()));
    say("score", &format!("{} (threshold {})", alert.score, alert.threshold));
    say("service", &format!("{} ({})", alert.service, alert.environment));
    alert.labels.iter().chain(&alert.annotations).for_each(|(name, value)| say(name, value));
    say("fingerprint", &alert.fingerprint);
    link(alert, external_url).into_iter().for_each(|url| say("see", url));
    text.push('\n');
    text
}

//! Feedback (`feedback.v1`, JSON, key: subject): one record for every correction by a person.

use serde::{Deserialize, Serialize};

use crate::time::EventTime;

/// What a person says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FeedbackKind {
    /// An alert was none. Subject: its fingerprint.
    FalseAlarm,
    /// A host failed and nobody told. Subject: the host; `at`: since when; `value`: a template id, if one tells of it.
    Missed,
    /// An earlier correction is taken back: `undoOf`.
    Undo,
    /// A kind that is for another reader, or newer than this one.
    #[default]
    #[serde(other)]
    Other,
}

/// One correction.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Feedback {
    /// Unique; the same id twice is the same correction.
    pub id: String,
    /// What is said.
    pub kind: FeedbackKind,
    /// What it is said of.
    pub subject: String,
    /// The host, where the subject is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    /// What the kind asks for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
    /// When what is spoken of happened.
    pub at: EventTime,
    /// Until when it holds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<EventTime>,
    /// Who says so.
    pub by: String,
    /// Why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
    /// The correction that is taken back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub undo_of: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kind_that_is_not_known_is_for_another_reader() {
        let text = r#"{"id":"1","kind":"label","subject":"m","at":"2026-01-01T00:00:00.000Z","by":"ada","value":"busy"}"#;
        let feedback: Feedback = serde_json::from_str(text).expect("feedback");
        assert_eq!((feedback.kind, feedback.value.as_deref()), (FeedbackKind::Other, Some("busy")));
        let known = Feedback { kind: FeedbackKind::FalseAlarm, undo_of: None, ..feedback };
        let back: Feedback = serde_json::from_str(&serde_json::to_string(&known).expect("JSON")).expect("feedback");
        assert_eq!(back, known);
    }
}

//! The alert (`alerts.v1`, key: fingerprint): JSON, one object per record. Names are chosen so that Keep reads it
//! unmodified, and Alertmanager, PagerDuty and Alerta are renames.

use std::{collections::BTreeMap, fmt};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::time::EventTime;

/// Bytes of `message`.
pub const MESSAGE_BYTES_MAX: usize = 256;
/// Bytes of `description` and of an annotation.
pub const TEXT_BYTES_MAX: usize = 4_096;
/// Entries of `labels`.
pub const LABELS_MAX: usize = 16;
/// Bytes of a label's value.
pub const LABEL_BYTES_MAX: usize = 256;
/// Entries of `annotations`.
pub const ANNOTATIONS_MAX: usize = 32;
/// Entries of `evidence`.
pub const EVIDENCE_MAX: usize = 32;

/// Whether the trouble lasts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AlertStatus {
    /// It lasts.
    #[default]
    Firing,
    /// It is over.
    Resolved,
}

/// How bad it is. Ordered: `Critical` is the greatest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Worth a note.
    Low,
    /// Worth knowing.
    #[default]
    Info,
    /// Look at it today.
    Warning,
    /// Look at it now.
    High,
    /// Get up.
    Critical,
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Low => "low",
            Self::Info => "info",
            Self::Warning => "warning",
            Self::High => "high",
            Self::Critical => "critical",
        })
    }
}

impl fmt::Display for AlertStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Firing => "firing",
            Self::Resolved => "resolved",
        })
    }
}

/// A record that an alert rests on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Evidence {
    /// Topic.
    pub topic: String,
    /// Partition.
    pub partition: u32,
    /// Offset.
    pub offset: u64,
}

/// What decided: a model, or a rule of the named processor.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Model {
    /// Name of the model, or of the processor whose rule it was.
    pub name: String,
    /// Version of the model or of the program.
    pub version: String,
    /// Hash of the configuration under which it decided.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub config_hash: String,
}

/// One word about one trouble: it began, it lasts, it is over.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Alert {
    /// Unique, and the same in every rerun: see `stream_core::ids`.
    pub id: String,
    /// Identity of the trouble: hash of name and labels.
    pub fingerprint: String,
    /// Kind of trouble, UpperCamelCase, ≤ 128 bytes.
    pub name: String,
    /// Whether it lasts.
    pub status: AlertStatus,
    /// How bad it is.
    pub severity: Severity,
    /// When it began (event time).
    pub started_at: EventTime,
    /// When it was last seen (event time).
    pub last_received: EventTime,
    /// When it ended; only on resolved alerts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ends_at: Option<EventTime>,
    /// Where: production, staging …
    pub environment: String,
    /// The service that it concerns, `unknown` if none is known.
    pub service: String,
    /// The processor that says so, as a list of one (Keep's shape).
    pub source: Vec<String>,
    /// One line: what and where.
    pub message: String,
    /// Why we think so, what is normal, what to look at next.
    pub description: String,
    /// Where to see more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// Identity: never scores, times, counts or ids.
    pub labels: BTreeMap<String, String>,
    /// Everything else worth saying.
    pub annotations: BTreeMap<String, String>,
    /// The value that was compared.
    pub score: f64,
    /// What it was compared with.
    pub threshold: f64,
    /// How long before the failure, if that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lead_time_seconds: Option<f64>,
    /// The records that it rests on.
    pub evidence: Vec<Evidence>,
    /// What decided.
    pub model: Model,
}

/// An alert that breaks the contract.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("alert {name}: {field} {problem}")]
pub struct InvalidAlert {
    /// The alert's name.
    pub name: String,
    /// The field at fault.
    pub field: String,
    /// What was expected and what came.
    pub problem: String,
}

impl Alert {
    /// Brings texts within their limits and escapes control characters (log content is hostile input), then checks
    /// what cannot be mended.
    ///
    /// # Errors
    /// [`InvalidAlert`] for a bad name or label key, too many entries, or a number that is not finite.
    pub fn sanitize(&mut self) -> Result<(), InvalidAlert> {
        self.message = one_line(&self.message, MESSAGE_BYTES_MAX);
        self.description = text(&self.description, TEXT_BYTES_MAX);
        self.service = one_line(&self.service, LABEL_BYTES_MAX);
        self.environment = one_line(&self.environment, LABEL_BYTES_MAX);
        for value in self.labels.values_mut() {
            *value = one_line(value, LABEL_BYTES_MAX);
        }
        for value in self.annotations.values_mut() {
            *value = text(value, TEXT_BYTES_MAX);
        }
        self.evidence.truncate(EVIDENCE_MAX);
        self.check()
    }

    fn check(&self) -> Result<(), InvalidAlert> {
        let fail = |field: &str, problem: String| Err(InvalidAlert { name: self.name.clone(), field: field.into(), problem });
        let camel = self.name.starts_with(|c: char| c.is_ascii_uppercase()) && self.name.bytes().all(|b| b.is_ascii_alphanumeric());
        if !camel || self.name.len() > 128 {
            return fail("name", "must be UpperCamelCase of at most 128 bytes".into());
        }
        if self.labels.len() > LABELS_MAX {
            return fail("labels", format!("has {} entries, at most {LABELS_MAX} are allowed", self.labels.len()));
        }
        if self.annotations.len() > ANNOTATIONS_MAX {
            return fail("annotations", format!("has {} entries, at most {ANNOTATIONS_MAX} are allowed", self.annotations.len()));
        }
        if let Some(key) = self.labels.keys().find(|key| !is_label_key(key)) {
            return fail("labels", format!("has key {key:?}, expected [a-zA-Z_][a-zA-Z0-9_]*"));
        }
        let numbers = [Some(self.score), Some(self.threshold), self.lead_time_seconds];
        if numbers.into_iter().flatten().any(|number| !number.is_finite()) {
            return fail("score, threshold, leadTimeSeconds", "must be finite".into());
        }
        Ok(())
    }
}

fn is_label_key(key: &str) -> bool {
    !key.starts_with(|c: char| c.is_ascii_digit()) && !key.is_empty() && key.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

/// One line of at most `bytes_max` bytes, control characters escaped.
pub fn one_line(value: &str, bytes_max: usize) -> String {
    bounded(value, bytes_max, |c| c.is_control())
}

/// Text of at most `bytes_max` bytes, control characters other than line feed and tab escaped.
pub fn text(value: &str, bytes_max: usize) -> String {
    bounded(value, bytes_max, |c| c.is_control() && c != '\n' && c != '\t')
}

fn bounded(value: &str, bytes_max: usize, escape: impl Fn(char) -> bool) -> String {
    const ELLIPSIS: char = '…';
    let mut out = String::with_capacity(value.len().min(bytes_max));
    // The end of the last piece after which an ellipsis would still fit.
    let mut keep = 0;
    for c in value.chars() {
        // Marks of direction can make a terminal show what the text does not say; some readers break lines at U+2028 and U+2029.
        let hidden = matches!(c, '\u{061C}' | '\u{200E}' | '\u{200F}' | '\u{2028}'..='\u{202E}' | '\u{2066}'..='\u{2069}');
        if escape(c) || hidden {
            out.extend(c.escape_default());
        } else {
            out.push(c);
        }
        if out.len() > bytes_max {
            out.truncate(keep);
            out.push(ELLIPSIS);
            return out;
        }
        if out.len() + ELLIPSIS.len_utf8() <= bytes_max {
            keep = out.len();
        }
    }
    out
}

/// The identity of a trouble: `hex(SHA-256("nephoscope-fingerprint-1\0" ‖ str32(name) ‖ u32 n ‖ n × (str32 key ‖ str32 value))[0..16])`,
/// integers big-endian, keys in byte order. Values count as they are published, see [`Alert::sanitize`].
///
/// ```
/// let labels = [("device".to_string(), "vda".to_string()), ("host".to_string(), "vm-7".to_string())].into();
/// assert_eq!(schemas::alert::fingerprint("DiskWriteStall", &labels), "832b9dae9e06b086c1aa3d277e96eaa0");
/// ```
pub fn fingerprint(name: &str, labels: &BTreeMap<String, String>) -> String {
    fn push_str32(bytes: &mut Vec<u8>, value: &str) {
        bytes.extend((value.len() as u32).to_be_bytes());
        bytes.extend(value.as_bytes());
    }
    let mut bytes = b"nephoscope-fingerprint-1\0".to_vec();
    push_str32(&mut bytes, name);
    bytes.extend((labels.len() as u32).to_be_bytes());
    for (key, value) in labels {
        push_str32(&mut bytes, key);
        push_str32(&mut bytes, &one_line(value, LABEL_BYTES_MAX));
    }
    hex16(&bytes)
}

/// The first 16 bytes of the SHA-256 of `bytes`, in hex.
pub fn hex16(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().take(16).map(|byte| format!("{byte:02x}")).collect()
}

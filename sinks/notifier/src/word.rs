//! One word about one alert, as it is kept until it is told: the bytes of its record, so that one that is refused becomes a
//! dead letter untouched, and what decides about it.

use schemas::{Alert, AlertStatus, EventTime, Severity};
use serde::{Deserialize, Serialize};
use stream_core::{Record, RefusedLater, Reject, RejectReason};

/// Bytes beside its own that a word costs in memory.
const OVERHEAD_BYTES: usize = 96;

/// One word.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Word {
    /// Where its record stands.
    pub offset: u64,
    /// When the record was appended.
    pub appended_at: EventTime,
    /// Whether the trouble lasts.
    pub status: AlertStatus,
    /// How bad it is.
    pub severity: Severity,
    key: Option<Vec<u8>>,
    headers: Vec<u8>,
    value: Vec<u8>,
}

impl Word {
    /// Reads a record. None for a tombstone, which says nothing.
    ///
    /// # Errors
    /// If it is no alert, or one that breaks the contract.
    pub fn read(record: &Record<'_>) -> Result<Option<(Self, Alert)>, Reject> {
        let Some(value) = record.value else { return Ok(None) };
        let mut alert: Alert = serde_json::from_slice(value).map_err(|error| Reject::new(RejectReason::Undecodable, error.to_string()))?;
        alert.sanitize().map_err(|error| Reject::new(RejectReason::InvalidField, error.to_string()))?;
        if alert.fingerprint.is_empty() || alert.fingerprint.len() > 128 {
            return Err(Reject::new(RejectReason::InvalidField, "fingerprint: expected 1 to 128 bytes"));
        }
        let word = Self {
            offset: record.offset.0,
            appended_at: record.appended_at,
            status: alert.status,
            severity: alert.severity,
            key: record.key.map(<[u8]>::to_vec),
            headers: record.headers.encoded().to_vec(),
            value: value.to_vec(),
        };
        Ok(Some((word, alert)))
    }

    /// An incident that its record tells, as an alert.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn of_incident(record: &Record<'_>, alert: &Alert) -> Result<Self, serde_json::Error> {
        let (offset, appended_at, value) = (record.offset.0, record.appended_at, serde_json::to_vec(alert)?);
        Ok(Self { offset, appended_at, status: alert.status, severity: alert.severity, key: None, headers: Vec::new(), value })
    }

    /// Whether the trouble lasts.
    pub fn is_firing(&self) -> bool {
        self.status == AlertStatus::Firing
    }

    /// The alert, within its limits and with nothing in it that is not text. None only if the state is not what was written.
    pub fn alert(&self) -> Option<Alert> {
        let mut alert: Alert = serde_json::from_slice(&self.value).ok()?;
        alert.sanitize().ok()?;
        Some(alert)
    }

    /// Bytes in memory and, about, in the state.
    pub fn bytes(&self) -> usize {
        self.value.len() + self.headers.len() + self.key.as_ref().map_or(0, Vec::len) + OVERHEAD_BYTES
    }

    /// What is kept of a word that was told: it cannot become a dead letter any more.
    pub fn told(self) -> Self {
        Self { key: None, headers: Vec::new(), ..self }
    }

    /// It was refused.
    pub fn refused(self, reject: Reject) -> RefusedLater {
        let Self { offset, appended_at, key, headers, value, .. } = self;
        RefusedLater { offset: stream_core::Offset(offset), appended_at, key, value: Some(value), headers, reject }
    }
}

//! Bad input: why a record was not processed. Never a panic.

use std::fmt;

use schemas::CodecError;

/// Kind of fault, as it stands in the dead letter's header and in metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RejectReason {
    /// The bytes are not what the topic carries.
    Undecodable,
    /// A newer writer's schema.
    UnknownSchema,
    /// Decoded, but a field breaks its rule.
    InvalidField,
    /// Larger than the limit.
    TooLarge,
    /// Older than the processor can still place.
    TooOld,
    /// It would cause more output than one record may.
    OutputLimit,
    /// Whom a sink sent it to refuses it for good.
    Refused,
    /// Processing it panicked.
    Panic,
}

impl RejectReason {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::Undecodable,
        Self::UnknownSchema,
        Self::InvalidField,
        Self::TooLarge,
        Self::TooOld,
        Self::OutputLimit,
        Self::Refused,
        Self::Panic,
    ];

    /// The word for headers and metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Undecodable => "undecodable",
            Self::UnknownSchema => "unknown_schema",
            Self::InvalidField => "invalid_field",
            Self::TooLarge => "too_large",
            Self::TooOld => "too_old",
            Self::OutputLimit => "output_limit",
            Self::Refused => "refused",
            Self::Panic => "panic",
        }
    }
}

impl fmt::Display for RejectReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// Bytes of a reject's detail.
const DETAIL_BYTES_MAX: usize = 1_024;

/// A record that was not processed, and why. The state is as it was before the record: check first, mutate after.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{reason}: {detail}")]
pub struct Reject {
    /// Kind of fault.
    pub reason: RejectReason,
    /// What was expected, what came, where; ≤ 1,024 bytes, one line.
    pub detail: String,
}

impl Reject {
    /// Makes a reject; the detail is cut and escaped as log content is.
    pub fn new(reason: RejectReason, detail: impl AsRef<str>) -> Self {
        Self { reason, detail: schemas::alert::one_line(detail.as_ref(), DETAIL_BYTES_MAX) }
    }
}

impl From<CodecError> for Reject {
    fn from(error: CodecError) -> Self {
        let reason = match error {
            CodecError::UnknownSchema { .. } => RejectReason::UnknownSchema,
            CodecError::Unencodable { .. } => RejectReason::InvalidField,
            CodecError::NotSingleObject { .. } | CodecError::Damaged { .. } => RejectReason::Undecodable,
        };
        Self::new(reason, error.to_string())
    }
}

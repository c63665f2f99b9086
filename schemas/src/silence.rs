//! The silence (`control.silences.v1`, key: id): what people are not to be told for a while. JSON, the last record of an id
//! holds; a silence that ends early is written again with an earlier end, so that who ended it stays known.

use serde::{Deserialize, Serialize};

use crate::time::EventTime;

/// Matchers of one silence.
pub const MATCHERS_MAX: usize = 32;
/// Bytes of a matcher.
pub const MATCHER_BYTES_MAX: usize = 1_024;
/// Bytes of author and reason.
pub const TEXT_BYTES_MAX: usize = 1_024;
/// Bytes of an id.
pub const ID_BYTES_MAX: usize = 64;

/// What people are not to be told for a while.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Silence {
    /// Unique; the record's key.
    pub id: String,
    /// All must hold for an alert to be silenced: `name=value`, `!=`, `=~`, `!~`, as in Alertmanager.
    pub matchers: Vec<String>,
    /// When it begins.
    pub starts_at: EventTime,
    /// When it ends. There is always an end: what is silenced for ever is forgotten.
    pub ends_at: EventTime,
    /// Who said so.
    pub by: String,
    /// Why.
    pub why: String,
}

/// A silence that breaks the contract.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("silence {id:?}: {field} {problem}")]
pub struct InvalidSilence {
    /// Its id.
    pub id: String,
    /// The field at fault.
    pub field: &'static str,
    /// What was expected and what came.
    pub problem: String,
}

impl Silence {
    /// Whether it holds at a time.
    pub fn holds_at(&self, time: EventTime) -> bool {
        self.starts_at <= time && time < self.ends_at
    }

    /// Checks what the schema demands. Whether the matchers can be read is for whoever reads them to say.
    ///
    /// # Errors
    /// [`InvalidSilence`] names the first field at fault.
    pub fn check(&self) -> Result<(), InvalidSilence> {
        let fail = |field, problem: String| Err(InvalidSilence { id: self.id.clone(), field, problem });
        if self.id.is_empty() || self.id.len() > ID_BYTES_MAX {
            return fail("id", format!("must have 1 to {ID_BYTES_MAX} bytes"));
        }
        if self.matchers.is_empty() || self.matchers.len() > MATCHERS_MAX {
            return fail("matchers", format!("has {} entries, expected 1 to {MATCHERS_MAX}", self.matchers.len()));
        }
        if self.matchers.iter().any(|matcher| matcher.len() > MATCHER_BYTES_MAX) {
            return fail("matchers", format!("has one of more than {MATCHER_BYTES_MAX} bytes"));
        }
        if self.ends_at < self.starts_at {
            return fail("endsAt", format!("is {}, before startsAt, {}", self.ends_at, self.starts_at));
        }
        for (field, text) in [("by", &self.by), ("why", &self.why)] {
            if text.trim().is_empty() || text.len() > TEXT_BYTES_MAX {
                return fail(field, format!("must have 1 to {TEXT_BYTES_MAX} bytes"));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn silence() -> Silence {
        let (starts_at, ends_at) = (EventTime::from_millis(1_000), EventTime::from_millis(2_000));
        let [id, by, why] = ["a", "ann", "upgrade"].map(String::from);
        Silence { id, matchers: vec!["host=web-1".into()], starts_at, ends_at, by, why }
    }

    #[test]
    fn it_holds_from_its_start_until_before_its_end() {
        let holds = [999, 1_000, 1_999, 2_000].map(|millis| silence().holds_at(EventTime::from_millis(millis)));
        assert_eq!(holds, [false, true, true, false]);
    }

    #[test]
    fn each_field_is_demanded() {
        let broken = |change: fn(&mut Silence)| {
            let mut silence = silence();
            change(&mut silence);
            silence.check().map_err(|error| error.field)
        };
        assert_eq!(silence().check(), Ok(()));
        assert_eq!(broken(|silence| silence.id.clear()), Err("id"));
        assert_eq!(broken(|silence| silence.matchers.clear()), Err("matchers"));
        assert_eq!(broken(|silence| silence.matchers = vec!["m".repeat(MATCHER_BYTES_MAX + 1)]), Err("matchers"));
        assert_eq!(broken(|silence| silence.ends_at = EventTime::from_millis(999)), Err("endsAt"));
        assert_eq!(broken(|silence| silence.by = " ".into()), Err("by"));
        assert_eq!(broken(|silence| silence.why = "w".repeat(TEXT_BYTES_MAX + 1)), Err("why"));
    }
}

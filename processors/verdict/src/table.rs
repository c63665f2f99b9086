//! The verdicts that others gave, and who of them is heard.

use std::collections::BTreeMap;
use std::str::FromStr;

use schemas::{FailureClass, TemplateId, Verdict, VerdictKind, VerdictScope};
use serde::{Deserialize, Serialize};

use crate::judgement::{Judgement, Provider};
use crate::model::Model;

/// Verdicts kept at most. Beyond, the oldest of the table goes first, then the oldest of an operator.
pub const ENTRIES_MAX: usize = 65_536;

/// Why a record of `logs.verdicts.v1` was not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// The key is not `<template id>/<scope>`.
    #[error("expected the key <template id>/operator or <template id>/model, found {0:?}")]
    Key(String),
    /// The key and the record speak of different templates.
    #[error("the key names template {key}, the record {record:?}")]
    Mismatch {
        /// Template of the key.
        key: TemplateId,
        /// Template of the record.
        record: String,
    },
}

/// One given verdict.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Entry {
    kind: VerdictKind,
    class: FailureClass,
    decided_at: i64,
}

/// The table of given verdicts, in front of the local model: operator before table before model.
///
/// ```
/// use schemas::{TemplateId, Verdict, VerdictKind, VerdictScope};
/// use verdict::{Model, Provider, Verdicts};
///
/// let text = "cache warmed in <*> ms";
/// let id = TemplateId::of(text);
/// let mut verdicts = Verdicts::default();
/// let word = Verdict { template_id: id.to_string(), verdict: VerdictKind::Faulty, ..Verdict::default() };
/// verdicts.apply(VerdictScope::Operator.key(id).as_bytes(), Some(&word))?;
/// let judged = verdicts.judge(Model::shipped(), id, text);
/// assert_eq!((judged.probability, judged.provider), (0.97, Provider::Operator));
/// # Ok::<(), verdict::Refused>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Verdicts {
    entries: BTreeMap<(TemplateId, VerdictScope), Entry>,
}

impl Verdicts {
    /// Takes a record of the topic, `None` for a tombstone. Returns the template if what is said of it changed.
    ///
    /// # Errors
    /// [`Refused`] if key or record are none of this topic; the table is then as it was.
    pub fn apply(&mut self, key: &[u8], record: Option<&Verdict>) -> Result<Option<TemplateId>, Refused> {
        let (id, scope) = parse_key(key)?;
        let Some(record) = record else {
            return Ok(self.entries.remove(&(id, scope)).map(|_| id));
        };
        if TemplateId::from_str(&record.template_id) != Ok(id) {
            return Err(Refused::Mismatch { key: id, record: record.template_id.chars().take(64).collect() });
        }
        let entry = Entry { kind: record.verdict, class: record.failure_class, decided_at: record.decided_at };
        let before = self.entries.insert((id, scope), entry);
        if self.entries.len() > ENTRIES_MAX {
            self.drop_oldest();
        }
        let said = |entry: Entry| (entry.kind, entry.class);
        Ok((before.map(said) != Some(said(entry))).then_some(id))
    }

    fn drop_oldest(&mut self) {
        let age =
            |((id, scope), entry): (&(TemplateId, VerdictScope), &Entry)| (*scope == VerdictScope::Operator, entry.decided_at, *id, *scope);
        if let Some((_, _, id, scope)) = self.entries.iter().map(age).min() {
            self.entries.remove(&(id, scope));
        }
    }

    /// What an operator or the table says of a template. A verdict without a class takes the model's.
    pub fn given(&self, model: &Model, id: TemplateId, template: &str) -> Option<Judgement> {
        let scopes = [(VerdictScope::Operator, Provider::Operator), (VerdictScope::Model, Provider::Table)];
        let mut said = scopes.into_iter().filter_map(|(scope, provider)| {
            let entry = self.entries.get(&(id, scope))?;
            Judgement::confirmed(entry.kind, entry.class, provider)
        });
        let judgement = said.next()?;
        let class = match judgement.class {
            FailureClass::Unknown if judgement.probability > 0.5 => model.class(template),
            class => class,
        };
        Some(Judgement { class, ..judgement })
    }

    /// What is to be thought of a template: the word of an operator, else of the table, else of the model.
    pub fn judge(&self, model: &Model, id: TemplateId, template: &str) -> Judgement {
        self.given(model, id, template).unwrap_or_else(|| model.judge(template))
    }

    /// Number of given verdicts.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether nobody said anything yet.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }
}

fn parse_key(key: &[u8]) -> Result<(TemplateId, VerdictScope), Refused> {
    let text = String::from_utf8_lossy(key);
    let parsed = text.split_once('/').and_then(|(id, scope)| Some((id.parse().ok()?, scope.parse().ok()?)));
    parsed.ok_or_else(|| Refused::Key(text.chars().take(64).collect()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn word(text: &str, kind: VerdictKind, decided_at: i64) -> Verdict {
        Verdict { template_id: TemplateId::of(text).to_string(), verdict: kind, decided_at, ..Verdict::default() }
    }

    fn key(text: &str, scope: VerdictScope) -> Vec<u8> {
        scope.key(TemplateId::of(text)).into_bytes()
    }

    #[test]
    fn the_operator_is_heard_before_the_table_and_the_table_before_the_model() {
        let (text, model) = ("disk failure imminent", Model::shipped());
        let id = TemplateId::of(text);
        let mut verdicts = Verdicts::default();
        let provider = |verdicts: &Verdicts| verdicts.judge(model, id, text).provider;
        assert_eq!(provider(&verdicts), Provider::Local);
        let changed = verdicts.apply(&key(text, VerdictScope::Model), Some(&word(text, VerdictKind::Normal, 1))).unwrap();
        assert_eq!((changed, provider(&verdicts)), (Some(id), Provider::Table));
        verdicts.apply(&key(text, VerdictScope::Operator), Some(&word(text, VerdictKind::Faulty, 2))).unwrap();
        assert_eq!(verdicts.judge(model, id, text).probability, 0.97);
        assert_eq!(verdicts.apply(&key(text, VerdictScope::Operator), None), Ok(Some(id)), "a tombstone undoes");
        assert_eq!(provider(&verdicts), Provider::Table);
        assert_eq!(verdicts.apply(&key(text, VerdictScope::Operator), None), Ok(None), "there is nothing left to undo");
    }

    #[test]
    fn a_verdict_that_says_nothing_leaves_the_word_to_the_next() {
        let (text, model) = ("x", Model::shipped());
        let mut verdicts = Verdicts::default();
        verdicts.apply(&key(text, VerdictScope::Operator), Some(&word(text, VerdictKind::Unknown, 1))).unwrap();
        assert_eq!(verdicts.judge(model, TemplateId::of(text), text).provider, Provider::Local);
    }

    #[test]
    fn a_repeat_changes_nothing_and_a_faulty_word_without_class_takes_the_models() {
        let (text, model) = ("Out of memory: Killed process <*>", Model::shipped());
        let mut verdicts = Verdicts::default();
        let faulty = word(text, VerdictKind::Faulty, 1);
        assert!(verdicts.apply(&key(text, VerdictScope::Operator), Some(&faulty)).unwrap().is_some());
        let again = Verdict { decided_at: 2, ..faulty };
        assert!(verdicts.apply(&key(text, VerdictScope::Operator), Some(&again)).unwrap().is_none());
        assert_eq!(verdicts.judge(model, TemplateId::of(text), text).class, model.class(text));
    }

    #[test]
    fn foreign_keys_and_records_are_refused() {
        let mut verdicts = Verdicts::default();
        for bad in [&b""[..], b"0c042ead4b207399", b"0c042ead4b207399/ghost", b"xyz/operator", b"\xff/model"] {
            assert!(matches!(verdicts.apply(bad, None), Err(Refused::Key(_))), "{bad:?}");
        }
        let other = word("other", VerdictKind::Faulty, 1);
        assert!(matches!(verdicts.apply(&key("one", VerdictScope::Model), Some(&other)), Err(Refused::Mismatch { .. })));
        assert!(verdicts.is_empty());
    }

    #[test]
    fn the_table_is_bounded_and_operators_leave_last() {
        let mut verdicts = Verdicts::default();
        let first = word("first", VerdictKind::Faulty, 0);
        verdicts.apply(&key("first", VerdictScope::Operator), Some(&first)).unwrap();
        for at in 0..ENTRIES_MAX as i64 {
            let text = format!("t{at}");
            verdicts.apply(&key(&text, VerdictScope::Model), Some(&word(&text, VerdictKind::Normal, 10 + at))).unwrap();
        }
        assert_eq!(verdicts.len(), ENTRIES_MAX);
        assert!(verdicts.given(Model::shipped(), TemplateId::of("first"), "first").is_some());
        assert!(verdicts.given(Model::shipped(), TemplateId::of("t0"), "t0").is_none());
    }
}

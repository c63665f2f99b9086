//! All templates and all given verdicts, as they stand on their topics, and what follows from them.

use std::collections::BTreeMap;

use anyhow::bail;
use schemas::{TemplateId, TemplateRecord, Verdict, VerdictScope, topics};
use verdict::{Judgement, Model, Verdicts};

use crate::origin::Origin;

/// What is known of templates.
#[derive(Debug, Default)]
pub(in crate::commands) struct Book {
    texts: BTreeMap<TemplateId, String>,
    words: BTreeMap<(TemplateId, VerdictScope), Verdict>,
    /// The same words as the processors keep them, so that one rule decides here and there.
    table: Verdicts,
}

impl Book {
    /// Reads both topics.
    ///
    /// # Errors
    /// If there is no answer.
    pub(in crate::commands) fn read(origin: &Origin) -> anyhow::Result<Self> {
        let mut book = Self::default();
        origin.scan_since(&origin.topic(topics::LOGS_TEMPLATES)?, None, |record| {
            if let Some(template) = record.value_as::<TemplateRecord>()
                && let Ok(id) = template.template_id.parse()
            {
                book.texts.insert(id, template.template);
            }
            Ok(())
        })?;
        origin.scan_since(&origin.topic(topics::LOGS_VERDICTS)?, None, |record| {
            let key = record.key.as_deref().unwrap_or_default();
            let is_readable = record.problem.is_none() && record.value_base64.is_none();
            // What the processors refuse, they say themselves; here it says nothing.
            if let Some((id, scope)) = parse_key(key)
                && is_readable
            {
                let _ = book.apply(id, scope, record.value_as());
            }
            Ok(())
        })?;
        Ok(book)
    }

    fn apply(&mut self, id: TemplateId, scope: VerdictScope, word: Option<Verdict>) -> Result<(), verdict::Refused> {
        self.table.apply(scope.key(id).as_bytes(), word.as_ref())?;
        match word {
            Some(word) => _ = self.words.insert((id, scope), word),
            None => _ = self.words.remove(&(id, scope)),
        }
        Ok(())
    }

    /// The template whose id begins so.
    ///
    /// # Errors
    /// If there is none or more than one.
    pub(in crate::commands) fn find(&self, wanted: &str) -> anyhow::Result<(TemplateId, &str)> {
        let wanted = wanted.trim().to_ascii_lowercase();
        let mut found = self.all().filter(|(id, _)| !wanted.is_empty() && id.to_string().starts_with(&wanted));
        match (found.next(), found.next()) {
            (Some(only), None) => Ok(only),
            (None, _) => bail!("no template begins with {wanted:?}; `nephoscope templates list` shows those there are"),
            (Some((first, _)), Some((second, _))) => {
                bail!("{} templates begin with {wanted:?}: {first}, {second}{}", found.count() + 2, " …")
            }
        }
    }

    /// Templates by id: those that were seen, and those that only a verdict names.
    fn all(&self) -> impl Iterator<Item = (TemplateId, &str)> {
        let mut all: BTreeMap<TemplateId, &str> = self.words.iter().map(|((id, _), word)| (*id, word.template.as_str())).collect();
        all.extend(self.texts.iter().map(|(id, text)| (*id, text.as_str())));
        all.remove(&TemplateId::UNKNOWN);
        all.into_iter()
    }

    /// What is thought of each template, and the word that decided, if one was given.
    pub(super) fn judged(&self) -> impl Iterator<Item = (TemplateId, &str, Judgement, Option<&Verdict>)> {
        self.all().map(|(id, text)| {
            let (judgement, given) = self.judge(id, text);
            (id, text, judgement, given)
        })
    }

    /// What is thought of a template, and the word that decided, if one was given.
    pub(super) fn judge(&self, id: TemplateId, text: &str) -> (Judgement, Option<&Verdict>) {
        let judgement = self.table.judge(Model::shipped(), id, text);
        let scope = match judgement.provider {
            verdict::Provider::Operator => Some(VerdictScope::Operator),
            verdict::Provider::Table => Some(VerdictScope::Model),
            verdict::Provider::Local => None,
        };
        (judgement, scope.and_then(|scope| self.words.get(&(id, scope))))
    }

    /// A new word with the probability that it will have, and what is then thought of its template.
    ///
    /// # Errors
    /// If the word is not of a template.
    pub(super) fn with(&self, scope: VerdictScope, mut word: Verdict) -> anyhow::Result<(Verdict, Judgement)> {
        let id = word.template_id.parse()?;
        let mut table = self.table.clone();
        table.apply(scope.key(id).as_bytes(), Some(&word))?;
        let judgement = table.judge(Model::shipped(), id, &word.template);
        word.probability = judgement.probability;
        Ok((word, judgement))
    }

    /// Forgets a word. Whether there was one.
    ///
    /// # Errors
    /// Never for a template of this book.
    pub(super) fn take_back(&mut self, id: TemplateId, scope: VerdictScope) -> anyhow::Result<bool> {
        let was_there = self.words.contains_key(&(id, scope));
        self.apply(id, scope, None)?;
        Ok(was_there)
    }

    /// Whether this word says something else than the one that is there.
    pub(super) fn is_news(&self, id: TemplateId, scope: VerdictScope, word: &Verdict) -> bool {
        let said = |word: &Verdict| (word.verdict, word.failure_class, word.reason.clone());
        self.words.get(&(id, scope)).map(said) != Some(said(word))
    }

    /// Whether a line of this template was ever read.
    pub(super) fn is_seen(&self, id: TemplateId) -> bool {
        self.texts.contains_key(&id)
    }

    /// Everything that was given, by template and scope.
    pub(super) fn given(&self) -> impl Iterator<Item = (VerdictScope, &Verdict)> {
        self.words.iter().map(|((_, scope), word)| (*scope, word))
    }
}

fn parse_key(key: &str) -> Option<(TemplateId, VerdictScope)> {
    let (id, scope) = key.split_once('/')?;
    Some((id.parse().ok()?, scope.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use schemas::VerdictKind;

    fn book(texts: &[&str]) -> Book {
        Book { texts: texts.iter().map(|text| (TemplateId::of(text), text.to_string())).collect(), ..Book::default() }
    }

    #[test]
    fn a_template_is_found_by_how_its_id_begins_and_only_if_that_is_clear() {
        let book = book(&["a", "b", "c <*>"]);
        let id = TemplateId::of("c <*>");
        assert_eq!(book.find(&id.to_string()[..8].to_uppercase()).expect("is there"), (id, "c <*>"));
        for (wanted, says) in [("zz", "no template begins"), ("", "no template begins")] {
            assert!(book.find(wanted).expect_err(wanted).to_string().contains(says));
        }
    }

    #[test]
    fn a_word_that_names_a_template_nobody_saw_is_listed_with_its_text() {
        let (mut book, id) = (book(&[]), TemplateId::of("gone"));
        let word = Verdict { template_id: id.to_string(), template: "gone".into(), verdict: VerdictKind::Normal, ..Verdict::default() };
        book.apply(id, VerdictScope::Model, Some(word.clone())).expect("fits");
        assert_eq!(
            book.judged().map(|(id, text, judgement, given)| (id, text, judgement.probability, given)).collect::<Vec<_>>(),
            [(id, "gone", 0.03, Some(&word))]
        );
        assert!(!book.is_seen(id) && !book.is_news(id, VerdictScope::Model, &word));
        assert!(book.take_back(id, VerdictScope::Model).expect("is of this book") && book.all().next().is_none());
    }
}

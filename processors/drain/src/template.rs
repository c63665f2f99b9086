//! Templates.

use std::sync::Arc;

pub use schemas::{TemplateId, canonical, template::TEMPLATE_BYTES_MAX as TEXT_BYTES_MAX};

use crate::token::{PLACEHOLDER, Token, TokenKind, Tokens, template_kind, variable};

/// A token of a template.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Part {
    pub kind: TokenKind,
    /// Range in the text.
    pub text: (u32, u32),
}

/// A template: its canonical text, its tokens, its id.
#[derive(Clone, Debug)]
pub(crate) struct Template {
    pub id: TemplateId,
    pub text: Arc<str>,
    pub parts: Box<[Part]>,
}

/// How a line compares with a template of its skeleton.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Likeness {
    /// Content tokens that are equal.
    pub equal: u32,
    /// Placeholders of the template: they take anything and count neither way.
    pub wild: u32,
    /// Positions that would have to become placeholders.
    pub widened: u32,
}

impl Likeness {
    /// Equal content tokens over content tokens.
    pub(crate) fn similarity(&self) -> f64 {
        match self.equal + self.widened {
            0 => 1.0,
            compared => f64::from(self.equal) / f64::from(compared),
        }
    }
}

impl Template {
    /// The template that says of a line what its masks left.
    pub(crate) fn of_line(line: &Tokens) -> Self {
        let parts = line.list().iter().map(|token| Part { kind: token.kind, text: token.text }).collect();
        Self::new(&String::from_utf8_lossy(line.shape()), parts)
    }

    /// Reads back a text that [`Template::text`] gave; `None` if no template writes itself like that.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let mut parts: Vec<Part> = Vec::new();
        let mut at = 0;
        while at < text.len() {
            let (kind, length) = template_kind(text.get(at..)?)?;
            let blank_twice = kind == TokenKind::Blank && parts.last().is_none_or(|part| part.kind == TokenKind::Blank);
            if blank_twice {
                return None;
            }
            parts.push(Part { kind, text: (u32::try_from(at).ok()?, u32::try_from(at + length).ok()?) });
            at += length;
        }
        let trailing_blank = parts.last().is_some_and(|part| part.kind == TokenKind::Blank);
        (!trailing_blank && text.len() <= TEXT_BYTES_MAX).then(|| Self::new(text, parts.into()))
    }

    fn new(text: &str, parts: Box<[Part]>) -> Self {
        Self { id: TemplateId::of(text), text: text.into(), parts }
    }

    /// The same template with placeholders where `wild` says so.
    pub(crate) fn widen(&self, wild: impl Fn(usize, &Part) -> bool) -> Self {
        let mut text = String::with_capacity(self.text.len());
        let mut parts = Vec::with_capacity(self.parts.len());
        for (index, part) in self.parts.iter().enumerate() {
            let from = text.len() as u32;
            let kind = if wild(index, part) { TokenKind::Wild } else { part.kind };
            text.push_str(if kind == TokenKind::Wild { PLACEHOLDER } else { self.part(part) });
            parts.push(Part { kind, text: (from, text.len() as u32) });
        }
        Self::new(&text, parts.into())
    }

    pub(crate) fn part(&self, part: &Part) -> &str {
        self.text.get(part.text.0 as usize..part.text.1 as usize).unwrap_or_default()
    }

    /// Compares part by part; `None` if the skeletons differ or two different words meet: the same sentence about
    /// other values is one event, another sentence is another ("VM started", "VM paused": Drain3 #109).
    pub(crate) fn compare(&self, line: &Tokens) -> Option<Likeness> {
        if self.parts.len() != line.list().len() {
            return None;
        }
        let mut likeness = Likeness::default();
        for (part, token) in self.parts.iter().zip(line.list()) {
            match (part.kind, token.kind) {
                (TokenKind::Blank, TokenKind::Blank) => {}
                (TokenKind::Wild, kind) if kind.is_content() => likeness.wild += 1,
                (ours, theirs) if ours == theirs && self.part(part).as_bytes() == line.text(token) => {
                    likeness.equal += u32::from(ours.is_content())
                }
                (TokenKind::Word, TokenKind::Word) if variable(self.part(part).as_bytes()) != variable(line.text(token)) => return None,
                (ours, theirs) if ours.is_content() && theirs.is_content() => likeness.widened += 1,
                _ => return None,
            }
        }
        Some(likeness)
    }

    /// The template that also takes `line`.
    pub(crate) fn generalise(&self, line: &Tokens) -> Self {
        let differs = |part: &Part, token: &Token| part.kind.is_content() && self.part(part).as_bytes() != line.text(token);
        self.widen(|index, part| part.kind == TokenKind::Wild || line.list().get(index).is_some_and(|token| differs(part, token)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_no_template_writes_is_refused() {
        for text in [" a", "a ", "a  b", "a\tb", "vcs22"] {
            assert!(Template::parse(text).is_none(), "{text:?}");
        }
        assert_eq!(Template::parse("").map(|t| t.parts.len()), Some(0));
    }
}

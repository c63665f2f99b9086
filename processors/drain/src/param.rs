//! The values of a line at the placeholders of its template.

use crate::mask::ParamType;
use crate::structure::Structure;
use crate::template::Template;
use crate::token::{TokenKind, Tokens};

/// Most values kept of a line.
pub const PARAMS_MAX: usize = 64;
/// Most bytes kept of a value.
pub const VALUE_BYTES_MAX: usize = 256;

/// A value: a byte range of what was parsed ([`Parsed::source`](crate::Parsed)), so that nothing is copied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Param {
    /// What kind of value it is.
    pub kind: ParamType,
    /// Range of its name, which values beside the sentence of a structured line have.
    pub name: Option<(usize, usize)>,
    /// First byte.
    pub start: usize,
    /// One past the last byte, at most [`VALUE_BYTES_MAX`] behind the first.
    pub end: usize,
}

impl Param {
    /// The value in what was parsed: for a plain line, the line.
    pub fn value(self, source: &str) -> &str {
        source.get(self.start..self.end).unwrap_or_default()
    }

    /// The name in what was parsed.
    pub fn name(self, source: &str) -> Option<&str> {
        self.name.and_then(|(start, end)| source.get(start..end))
    }
}

/// The values of one line; reused from line to line.
#[derive(Clone, Debug, Default)]
pub(crate) struct Params {
    list: Vec<Param>,
    truncated: bool,
}

impl Params {
    pub(crate) fn list(&self) -> &[Param] {
        &self.list
    }

    pub(crate) fn truncated(&self) -> bool {
        self.truncated
    }

    pub(crate) fn clear(&mut self) {
        self.list.clear();
        self.truncated = false;
    }

    /// Collects the ranges of `line` that stand at the placeholders of `template`, which `tokens` match.
    pub(crate) fn read(&mut self, line: &str, template: &Template, tokens: &Tokens) {
        for (_, token) in template.parts.iter().zip(tokens.list()).filter(|(part, _)| part.kind == TokenKind::Wild) {
            let kind = if token.kind == TokenKind::Wild { token.param } else { ParamType::Word };
            self.push(line, kind, None, (token.line.0 as usize, token.line.1 as usize));
        }
    }

    /// Adds what `structure` found beside the sentence.
    pub(crate) fn read_fields(&mut self, source: &str, structure: &Structure) {
        for field in structure.fields() {
            self.push(source, field.kind, field.name, field.value);
        }
        self.truncated |= structure.is_truncated;
    }

    /// Adds a value; beyond the bounds it is cut or left out.
    pub(crate) fn push(&mut self, source: &str, kind: ParamType, name: Option<(usize, usize)>, (start, whole): (usize, usize)) {
        if self.list.len() >= PARAMS_MAX {
            self.truncated = true;
            return;
        }
        let end = source.floor_char_boundary(whole.min(start + VALUE_BYTES_MAX));
        self.truncated |= end < whole;
        self.list.push(Param { kind, name, start, end });
    }
}

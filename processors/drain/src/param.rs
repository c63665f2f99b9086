//! The values of a line at the placeholders of its template.

use crate::mask::ParamType;
use crate::template::Template;
use crate::token::{TokenKind, Tokens};

/// Most values kept of a line.
pub const PARAMS_MAX: usize = 64;
/// Most bytes kept of a value.
pub const VALUE_BYTES_MAX: usize = 256;

/// A value: a byte range of the line it came from, so that nothing is copied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Param {
    /// What kind of value it is.
    pub kind: ParamType,
    /// First byte in the line.
    pub start: usize,
    /// One past the last byte, at most [`VALUE_BYTES_MAX`] behind the first.
    pub end: usize,
}

impl Param {
    /// The value in the line that was parsed.
    pub fn value(self, line: &str) -> &str {
        line.get(self.start..self.end).unwrap_or_default()
    }
}

/// The values of one line; reused from line to line.
#[derive(Debug, Default)]
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
        self.clear();
        for (_, token) in template.parts.iter().zip(tokens.list()).filter(|(part, _)| part.kind == TokenKind::Wild) {
            if self.list.len() == PARAMS_MAX {
                self.truncated = true;
                return;
            }
            let kind = if token.kind == TokenKind::Wild { token.param } else { ParamType::Word };
            let (start, whole) = (token.line.0 as usize, token.line.1 as usize);
            let end = line.floor_char_boundary(whole.min(start + VALUE_BYTES_MAX));
            self.truncated |= end < whole;
            self.list.push(Param { kind, start, end });
        }
    }
}

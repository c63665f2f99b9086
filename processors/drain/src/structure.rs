//! Lines that are more than a sentence: JSON, logfmt, and sentences with a stack trace behind them.
//!
//! Programs that log JSON or logfmt put the sentence under one key; it is parsed as if it had been logged alone, so that a
//! program keeps its templates when it changes its format, and the other keys become named values. Without such a key the
//! keys are what the lines of one event have in common. All of it is linear in the line: each byte is looked at a constant number of
//! times, and nothing recurses. What is not well-formed is a plain line.

mod json;
mod level;
mod logfmt;

use crate::mask::{Masker, ParamType, Span};
use crate::param::{PARAMS_MAX, VALUE_BYTES_MAX};
use crate::token::PLACEHOLDER;

/// Keys under which programs put the sentence, the most telling first.
const MESSAGE_KEYS: [&str; 4] = ["message", "msg", "log", "event"];
/// A container runtime wraps a program's JSON in its own, and a collector wraps that.
const LAYERS_MAX: usize = 3;
/// Bytes of a sentence that are kept: what Docker puts into one record. Of these `line_bytes_max` are parsed.
const SENTENCE_BYTES_MAX: usize = 16 << 10;
/// Bytes of a name that are kept.
const NAME_BYTES_MAX: usize = 128;
/// Names and values of all fields together: 64 fields of full length.
const FIELDS_BYTES_MAX: usize = PARAMS_MAX * (NAME_BYTES_MAX + VALUE_BYTES_MAX);

/// A piece of a line, perhaps with escapes in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Piece {
    start: usize,
    end: usize,
    is_escaped: bool,
}

/// A key and its value.
#[derive(Clone, Copy, Debug)]
struct Member {
    key: Piece,
    value: Piece,
    kind: ValueKind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ValueKind {
    Text,
    Number,
    /// `true`, `false`, `null`.
    Literal,
    /// Object or array, as it stands.
    Nested,
}

/// What a layer of a line turned out to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Layer {
    Plain,
    /// Keys and values without a sentence.
    Keys,
    Sentence,
}

/// A value beside the sentence.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Field {
    /// Range of the name in the source; the frames of a stack have none.
    pub name: Option<(usize, usize)>,
    pub value: (usize, usize),
    pub kind: ParamType,
}

/// What the last line was; reused from line to line.
#[derive(Clone, Debug, Default)]
pub(crate) struct Structure {
    /// Sentence, names and values, where they are not simply pieces of the line.
    source: String,
    is_own_source: bool,
    /// The sentence is a list of keys, whose values are the fields.
    pub has_keys_only: bool,
    /// End of the sentence in the source.
    sentence_end: usize,
    fields: Vec<Field>,
    /// Fields were left out or cut.
    pub is_truncated: bool,
    /// Syslog severity that the line says of itself.
    pub severity: Option<u8>,
    members: Vec<Member>,
    sentence: String,
    outer: String,
    values: String,
    spans: Vec<Span>,
}

impl Structure {
    /// Finds the structure of a line.
    pub(crate) fn read(&mut self, line: &str, masker: &Masker) {
        self.fields.clear();
        self.is_truncated = false;
        self.has_keys_only = false;
        self.severity = None;
        let mut layer = self.unwrap(line, masker);
        self.is_own_source = layer != Layer::Plain;
        if self.is_own_source {
            for _ in 1..LAYERS_MAX {
                layer = if layer == Layer::Sentence { self.unwrap_sentence(masker) } else { break };
            }
            self.has_keys_only = layer == Layer::Keys;
            self.source.clear();
            self.source.push_str(&self.sentence);
            self.source.push_str(&self.values);
            let shift = self.sentence.len();
            for field in &mut self.fields {
                field.name = field.name.map(|(start, end)| (start + shift, end + shift));
                field.value = (field.value.0 + shift, field.value.1 + shift);
            }
        }
        let sentence = if self.is_own_source { &self.sentence } else { line };
        self.sentence_end = sentence.len();
        if let Some(first_end) = frames_begin(sentence) {
            let frames = sentence.trim_ascii_end().len();
            self.fields.push(Field { name: None, value: (first_end + 1, frames.max(first_end + 1)), kind: ParamType::Stack });
            self.sentence_end = first_end;
        }
    }

    /// What sentence and fields are ranges of.
    pub(crate) fn source<'a>(&'a self, line: &'a str) -> &'a str {
        if self.is_own_source { &self.source } else { line }
    }

    /// What is parsed as the line.
    pub(crate) fn sentence<'a>(&'a self, line: &'a str) -> &'a str {
        self.source(line).get(..self.sentence_end).unwrap_or_default()
    }

    pub(crate) fn fields(&self) -> &[Field] {
        &self.fields
    }

    /// The sentence may be JSON or logfmt itself.
    fn unwrap_sentence(&mut self, masker: &Masker) -> Layer {
        let mut outer = std::mem::take(&mut self.outer);
        std::mem::swap(&mut outer, &mut self.sentence);
        let layer = self.unwrap(&outer, masker);
        if layer == Layer::Plain {
            std::mem::swap(&mut outer, &mut self.sentence);
        }
        self.outer = outer;
        layer
    }

    /// Reads one layer of JSON or logfmt into sentence and fields; a plain line changes nothing.
    fn unwrap(&mut self, line: &str, masker: &Masker) -> Layer {
        self.members.clear();
        let mut sentence: Option<(usize, Piece)> = None;
        let mut is_full = false;
        let mut each = |member: Member| {
            let key = line.get(member.key.start..member.key.end).unwrap_or_default();
            let rank = MESSAGE_KEYS.iter().position(|known| *known == key).filter(|_| member.kind == ValueKind::Text);
            if let Some(rank) = rank.filter(|rank| sentence.is_none_or(|(best, _)| *rank < best)) {
                sentence = Some((rank, member.value));
            }
            // One more than there is room for, since the sentence may be among them.
            if self.members.len() <= PARAMS_MAX { self.members.push(member) } else { is_full = true }
        };
        let is_structured = match line.trim_ascii_start().as_bytes().first() {
            Some(b'{') => json::members(line, &mut each),
            Some(_) => logfmt::members(line, &mut each),
            None => false,
        };
        if !is_structured {
            return Layer::Plain;
        }
        self.is_truncated |= is_full;
        if self.fields.is_empty() {
            self.values.clear();
        }
        let mut members = std::mem::take(&mut self.members);
        self.sentence.clear();
        match sentence {
            Some((_, piece)) => self.is_truncated |= unescape(line, piece, SENTENCE_BYTES_MAX, &mut self.sentence),
            None => self.list_keys(line, &mut members),
        };
        for member in members.iter().filter(|member| sentence.is_none_or(|(_, piece)| piece != member.value)) {
            self.take(line, member, masker);
        }
        self.members = members;
        if sentence.is_some() { Layer::Sentence } else { Layer::Keys }
    }

    /// A field of the line.
    fn take(&mut self, line: &str, member: &Member, masker: &Masker) {
        if self.fields.len() >= PARAMS_MAX || self.values.len() >= FIELDS_BYTES_MAX {
            self.is_truncated = true;
            return;
        }
        let start = self.values.len();
        unescape(line, member.key, NAME_BYTES_MAX, &mut self.values);
        let name_end = self.values.len();
        self.is_truncated |= unescape(line, member.value, VALUE_BYTES_MAX, &mut self.values);
        let value = self.values.get(name_end..).unwrap_or_default();
        if self.severity.is_none() && level::is_key(self.values.get(start..name_end).unwrap_or_default()) {
            self.severity = level::severity(value, member.kind == ValueKind::Number);
        }
        let kind = match member.kind {
            ValueKind::Number => ParamType::Number,
            ValueKind::Literal => ParamType::Word,
            ValueKind::Nested => ParamType::Text,
            ValueKind::Text => {
                masker.spans(value, &mut self.spans);
                match self.spans.as_slice() {
                    [span] if span.start == 0 && span.end == value.len() => span.kind,
                    _ if value.contains(|c: char| c.is_whitespace()) => ParamType::Text,
                    _ => ParamType::Word,
                }
            }
        };
        self.fields.push(Field { name: Some((start, name_end)), value: (name_end, self.values.len()), kind });
    }

    /// The template of lines without a sentence: their keys, sorted, each with a placeholder for its value.
    fn list_keys(&mut self, line: &str, members: &mut [Member]) {
        let key = |member: &Member| line.get(member.key.start..member.key.end).unwrap_or_default();
        members.sort_by(|a, b| key(a).cmp(key(b)));
        for (index, member) in members.iter().enumerate() {
            if index > 0 && members.get(index - 1).is_some_and(|before| key(before) == key(member)) {
                continue;
            }
            self.sentence.push_str(if index == 0 { "" } else { " " });
            unescape(line, member.key, NAME_BYTES_MAX, &mut self.sentence);
            self.sentence.push('=');
            self.sentence.push_str(PLACEHOLDER);
        }
    }
}

/// End of the first line of a text whose later lines hold frames of a stack, as the JVM, .NET, Node and Python print them.
fn frames_begin(text: &str) -> Option<usize> {
    let first_end = text.find('\n')?;
    let frame = |line: &str| {
        let inner = line.trim_ascii_start();
        let is_indented = inner.len() < line.len();
        (is_indented && inner.starts_with("at "))
            || inner.starts_with("Caused by:")
            || (inner.starts_with("File \"") && inner.contains("\", line "))
    };
    text.get(first_end + 1..)?.lines().any(frame).then_some(first_end)
}

/// Appends at most `bytes_max` bytes of a piece with its escapes resolved; whether something was left out.
fn unescape(line: &str, piece: Piece, bytes_max: usize, out: &mut String) -> bool {
    let text = line.get(piece.start..piece.end).unwrap_or_default();
    if !piece.is_escaped {
        let end = text.floor_char_boundary(bytes_max.min(text.len()));
        out.push_str(text.get(..end).unwrap_or_default());
        return end < text.len();
    }
    let from = out.len();
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        let c = if c == '\\' { escaped(&mut chars) } else { c };
        if out.len() - from + c.len_utf8() > bytes_max {
            return true;
        }
        out.push(c);
    }
    false
}

/// The character behind a backslash (RFC 8259, section 7); half a surrogate pair is no character.
fn escaped(chars: &mut std::str::Chars<'_>) -> char {
    let unit = |chars: &mut std::str::Chars<'_>| {
        let digits = chars.as_str().get(..4)?;
        let unit = u32::from_str_radix(digits, 16).ok().filter(|_| digits.bytes().all(|byte| byte.is_ascii_hexdigit()))?;
        *chars = chars.as_str().get(4..)?.chars();
        Some(unit)
    };
    match chars.next() {
        Some('n') => '\n',
        Some('t') => '\t',
        Some('r') => '\r',
        Some('b') => '\u{8}',
        Some('f') => '\u{c}',
        Some('u') => {
            let Some(high) = unit(chars) else { return char::REPLACEMENT_CHARACTER };
            let mut ahead = chars.clone();
            let is_pair = (0xd800..0xdc00).contains(&high) && ahead.next() == Some('\\') && ahead.next() == Some('u');
            if is_pair && let Some(low) = unit(&mut ahead).filter(|low| (0xdc00..0xe000).contains(low)) {
                *chars = ahead;
                return char::from_u32(0x1_0000 + ((high - 0xd800) << 10) + (low - 0xdc00)).unwrap_or(char::REPLACEMENT_CHARACTER);
            }
            char::from_u32(high).unwrap_or(char::REPLACEMENT_CHARACTER)
        }
        Some(same) => same,
        None => '\\',
    }
}

#[cfg(test)]
mod tests;

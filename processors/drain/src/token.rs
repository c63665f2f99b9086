//! Tokens: a masked line as words, blanks, delimiters and placeholders.
//!
//! Delimiters are tokens of their own and rendering joins without separators, so a template keeps the punctuation of its
//! lines. Runs of placeholders collapse, and so do annotations behind a value ("`<*> (12 KB)`", "`<*>()`"): lines of one
//! event that differ in such details meet in one template although Drain compares equal token counts only (Drain3 #66).

use crate::mask::{Masker, ParamType, Span};

/// How a parameter is written in a template.
pub const PLACEHOLDER: &str = "<*>";

pub(crate) const WORD: u8 = 1;
pub(crate) const DIGIT: u8 = 2;
/// Bytes inside words that make names, paths and addresses of them.
pub(crate) const MARK: u8 = 4;
const BLANK: u8 = 8;
const LETTER: u8 = 16;

const CLASSES: [u8; 256] = classes();

#[expect(clippy::indexing_slicing, reason = "evaluated at compile time")]
const fn classes() -> [u8; 256] {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        table[byte] = match byte as u8 {
            b'0'..=b'9' => WORD | DIGIT,
            b'a'..=b'z' | b'A'..=b'Z' | b'_' | b'-' => WORD | LETTER,
            // Letters of other scripts: UTF-8 sequences stay whole.
            0x80..=0xff => WORD | LETTER,
            b'.' | b'/' | b'\\' | b'@' | b'$' => WORD | MARK,
            b'%' | b'+' | b'~' | b'#' => WORD,
            b' ' | b'\t' | b'\n' | b'\r' | 0x0b | 0x0c => BLANK,
            _ => 0,
        };
        byte += 1;
    }
    table
}

pub(crate) fn class(byte: u8) -> u8 {
    CLASSES.get(usize::from(byte)).copied().unwrap_or(0)
}

/// Dots that lead the eye from a name to its value: they part words as a delimiter does.
const LEADER: &[u8] = b"...";

/// What a token is to the comparison of lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TokenKind {
    /// A run of white space, written as one blank.
    Blank,
    /// One byte outside words, or a run of marks that holds no letter ("-", "....").
    Delimiter,
    /// A word without a value in it: part of what a line says.
    Word,
    /// A parameter.
    Wild,
}

impl TokenKind {
    /// Words and parameters are content; blanks and delimiters are the skeleton around it.
    pub(crate) fn is_content(self) -> bool {
        matches!(self, Self::Word | Self::Wild)
    }
}

/// A token: its bytes in the shape, and the bytes of the line it stands for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Token {
    pub kind: TokenKind,
    /// Range in the shape.
    pub text: (u32, u32),
    /// Range in the line.
    pub line: (u32, u32),
    /// For a placeholder: what it holds.
    pub param: ParamType,
}

/// A tokenised line. Reused from line to line; nothing is allocated once it has grown.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tokens {
    spans: Vec<Span>,
    list: Vec<Token>,
    /// The text of the tokens joined: a template in which only what was masked is a placeholder.
    shape: Vec<u8>,
}

impl Tokens {
    pub(crate) fn list(&self) -> &[Token] {
        &self.list
    }

    pub(crate) fn shape(&self) -> &[u8] {
        &self.shape
    }

    /// Masks and tokenises `line`; what lies beyond the bounds becomes one final placeholder.
    pub(crate) fn read(&mut self, line: &str, masker: &Masker, line_bytes_max: usize, tokens_max: usize) {
        let head = head(line, line_bytes_max);
        let mut spans = std::mem::take(&mut self.spans);
        masker.spans(head, &mut spans);
        self.list.clear();
        self.shape.clear();
        let end = self.tokenise(head.as_bytes(), &spans, tokens_max);
        if end < line.trim_ascii_end().len() {
            self.placeholder((end, line.len()), ParamType::Text);
        }
        while self.list.last().is_some_and(|token| token.kind == TokenKind::Blank) {
            self.pop();
        }
        self.spans = spans;
    }

    /// Returns the byte at which the tokens ran out, or the length of `line`.
    fn tokenise(&mut self, line: &[u8], spans: &[Span], tokens_max: usize) -> usize {
        let mut spans = spans.iter().peekable();
        let mut at = 0;
        while let Some(&byte) = line.get(at) {
            if self.list.len() >= tokens_max.saturating_sub(1) {
                return at;
            }
            if let Some(span) = spans.next_if(|span| span.start == at) {
                let (end, whole) = self.word_around(line, span, &mut spans);
                self.placeholder((at, end), if whole { span.kind } else { ParamType::Text });
                at = end;
                continue;
            }
            let start = at;
            at += 1;
            let kind = class(byte);
            if kind & BLANK != 0 {
                at += run(line, at, BLANK);
                if !self.list.is_empty() {
                    self.push(TokenKind::Blank, b" ", (start, at), ParamType::Text);
                }
            } else if kind & WORD != 0 {
                at = self.word(line, start, &mut spans);
            } else {
                self.push(TokenKind::Delimiter, &[byte], (start, at), ParamType::Text);
                // A word right behind would be read as the rest of the value.
                if line.get(at..).map_or(0, rest_of_value) == 0 {
                    self.collapse_annotation(byte);
                }
            }
        }
        at
    }

    /// The word that starts at `start`: a placeholder if it holds a digit or (part of) a mask, or stands in an identity slot.
    fn word(&mut self, line: &[u8], start: usize, spans: &mut Spans<'_>) -> usize {
        let mut end = start;
        let mut seen = 0;
        while let Some(&byte) = line.get(end)
            && class(byte) & WORD != 0
        {
            if let Some(span) = spans.next_if(|span| span.start == end) {
                let (end, whole) = self.word_around(line, span, spans);
                let lead = line.get(start..span.start).unwrap_or_default();
                if word_kind(lead) == TokenKind::Delimiter && !lead.is_empty() {
                    self.push(TokenKind::Delimiter, lead, (start, span.start), ParamType::Text);
                    self.placeholder((span.start, end), if whole { span.kind } else { ParamType::Text });
                } else {
                    self.placeholder((start, end), ParamType::Text);
                }
                return end;
            }
            let leader = line.get(end..).map_or(0, leader_length);
            if leader > 0 {
                end += if end == start { leader } else { 0 };
                break;
            }
            seen |= class(byte);
            end += 1;
        }
        let mut word = line.get(start..end).unwrap_or_default();
        let value = seen & DIGIT != 0 && !is_numbered_name(word);
        if value {
            // The full stop behind a value is punctuation; it is read next, by itself.
            word = word.strip_suffix(b".").unwrap_or(word);
            end = start + word.len();
        }
        let prefix = if value { identifier_prefix(word) } else { 0 };
        if seen & (LETTER | DIGIT) != 0 && self.in_identity_slot() {
            self.placeholder((start, end), ParamType::Word);
        } else if prefix > 0 {
            self.identifier((start, start + prefix, end), line);
        } else if value {
            self.placeholder((start, end), ParamType::Word);
        } else {
            self.push(word_kind(word), word, (start, end), ParamType::Text);
        }
        end
    }

    /// End of the word that `span` ends in, and whether that is the end of the span itself.
    fn word_around(&self, line: &[u8], span: &Span, spans: &mut Spans<'_>) -> (usize, bool) {
        let mut end = span.end;
        loop {
            end += line.get(end..).map_or(0, rest_of_value);
            // Another mask may begin inside this word and reach beyond it.
            match spans.next_if(|next| next.start < end) {
                Some(next) => end = end.max(next.end),
                None => return (end, end == span.end),
            }
        }
    }

    /// After "for user", "of user", "by user", "invalid user" and "unknown user" comes a name, whatever it looks like.
    fn in_identity_slot(&self) -> bool {
        let [.., role, _, noun, Token { kind: TokenKind::Blank, .. }] = self.list.as_slice() else { return false };
        let is = |token: &Token, word: &[u8]| self.text(token).eq_ignore_ascii_case(word);
        noun.text.1 - noun.text.0 == 4
            && is(noun, b"user")
            && [&b"for"[..], b"of", b"by", b"invalid", b"unknown"].iter().any(|word| is(role, word))
    }

    /// Pushes a placeholder, or lets the last one grow when only a blank lies between.
    fn placeholder(&mut self, line: (usize, usize), param: ParamType) {
        let mut joined = ParamType::Text;
        if let [.., value @ Token { kind: TokenKind::Wild, .. }, joint] = self.list.as_slice() {
            let listed =
                matches!(value.param, ParamType::Number | ParamType::List) && param == ParamType::Number && self.text(joint) == b",";
            if listed || joint.kind == TokenKind::Blank {
                joined = if listed { ParamType::List } else { ParamType::Text };
                self.pop();
            }
        }
        match self.list.last_mut() {
            Some(last) if last.kind == TokenKind::Wild => {
                last.line.1 = short(line.1);
                last.param = joined;
            }
            _ => self.push(TokenKind::Wild, PLACEHOLDER.as_bytes(), line, param),
        }
    }

    /// Pushes `block_<*>`; behind a blank or comma and another `block_<*>` it only continues a list.
    fn identifier(&mut self, (start, value, end): (usize, usize, usize), line: &[u8]) {
        let prefix = line.get(start..value).unwrap_or_default();
        if let [.., name, Token { kind: TokenKind::Wild, .. }, joint] = self.list.as_slice()
            && (joint.kind == TokenKind::Blank || self.text(joint) == b",")
            && self.text(name) == prefix
        {
            self.pop();
        } else {
            self.push(TokenKind::Word, prefix, (start, value), ParamType::Text);
        }
        self.placeholder((value, end), ParamType::Word);
    }

    /// `<*> (<*>)`, `<*>(<*>)`, `<*> ()`, `<*>()`, `<*>[]` are one value; so is a quantity in another unit, `<*> bytes (12 KB)`.
    fn collapse_annotation(&mut self, close: u8) {
        let open = match close {
            b')' => b'(',
            b']' => b'[',
            _ => return,
        };
        let mut tokens = self.list.iter().rev().skip(1).peekable();
        let inner = tokens.next_if(|token| token.kind == TokenKind::Wild && open == b'(');
        let opened = tokens.next().is_some_and(|token| token.kind == TokenKind::Delimiter && self.text(token) == [open]);
        if !opened {
            return;
        }
        let blank = tokens.next_if(|token| token.kind == TokenKind::Blank).is_some();
        let Some(before) = tokens.next() else { return };
        let same_quantity = before.kind == TokenKind::Word
            && inner.is_some_and(|token| token.param == ParamType::Quantity)
            && tokens.next().is_some_and(|token| token.kind == TokenKind::Blank)
            && tokens.next().is_some_and(|token| token.kind == TokenKind::Wild);
        if before.kind != TokenKind::Wild && !same_quantity {
            return;
        }
        let Some(end) = self.list.last().map(|token| token.line.1) else { return };
        for _ in 0..2 + usize::from(inner.is_some()) + usize::from(blank) {
            self.pop();
        }
        if let Some(value) = self.list.last_mut() {
            value.line.1 = end;
            value.param = ParamType::Text;
        }
    }

    fn push(&mut self, kind: TokenKind, text: &[u8], line: (usize, usize), param: ParamType) {
        let from = short(self.shape.len());
        self.shape.extend_from_slice(text);
        self.list.push(Token { kind, text: (from, short(self.shape.len())), line: (short(line.0), short(line.1)), param });
    }

    fn pop(&mut self) {
        if let Some(token) = self.list.pop() {
            self.shape.truncate(token.text.0 as usize);
        }
    }

    pub(crate) fn text(&self, token: &Token) -> &[u8] {
        self.shape.get(token.text.0 as usize..token.text.1 as usize).unwrap_or_default()
    }
}

type Spans<'a> = std::iter::Peekable<std::slice::Iter<'a, Span>>;

/// Kind and length of the first token of a template text; `None` if no template holds it.
pub(crate) fn template_kind(text: &str) -> Option<(TokenKind, usize)> {
    let bytes = text.as_bytes();
    if text.starts_with(PLACEHOLDER) {
        return Some((TokenKind::Wild, PLACEHOLDER.len()));
    }
    let word = bytes.get(..word_length(bytes).max(leader_length(bytes)))?;
    match (word, bytes.first()?) {
        ([], b' ') => Some((TokenKind::Blank, 1)),
        ([], byte) if class(*byte) & BLANK != 0 => None,
        ([], _) => Some((TokenKind::Delimiter, 1)),
        _ if word.iter().any(u8::is_ascii_digit) && !is_numbered_name(word) => None,
        _ => Some((word_kind(word), word.len())),
    }
}

/// Length of the word that `line` begins with: it ends before the dots of a leader.
fn word_length(line: &[u8]) -> usize {
    let word = line.get(..run(line, 0, WORD)).unwrap_or_default();
    word.windows(LEADER.len()).position(|dots| dots == LEADER).unwrap_or(word.len())
}

/// Length of what belongs to a value that ends inside a word: the rest of the word, but not a full stop.
pub(crate) fn rest_of_value(line: &[u8]) -> usize {
    let length = word_length(line);
    length - usize::from(length > 0 && line.get(length - 1) == Some(&b'.'))
}

/// Length of the dots that `line` begins with, if they are a leader.
pub(crate) fn leader_length(line: &[u8]) -> usize {
    let dots = line.iter().take_while(|byte| **byte == b'.').count();
    if dots < LEADER.len() { 0 } else { dots }
}

/// Length of the run of bytes of a class at `from`.
fn run(line: &[u8], from: usize, kind: u8) -> usize {
    line.get(from..).map_or(0, |rest| rest.iter().take_while(|byte| class(**byte) & kind != 0).count())
}

/// Length of the part of `block_-4711` that names the kind of thing: letters and underscores up to a number.
fn identifier_prefix(word: &[u8]) -> usize {
    let prefix = word.iter().take_while(|byte| byte.is_ascii_alphabetic() || **byte == b'_').count();
    let number = match word.get(prefix..) {
        Some([b'-', number @ ..]) => number,
        number => number.unwrap_or_default(),
    };
    let named = word.get(..prefix).is_some_and(|name| matches!(name, [first, .., b'_'] if first.is_ascii_alphabetic()));
    if named && number.first().is_some_and(u8::is_ascii_digit) { prefix } else { 0 }
}

/// What words have in common that are plainly values of one variable: truth values, or names with a number behind them
/// (`eth0`, `lo1`). For any other word the word itself.
pub(crate) fn variable(word: &[u8]) -> &[u8] {
    let truth = word.eq_ignore_ascii_case(b"true") || word.eq_ignore_ascii_case(b"false");
    match () {
        _ if truth => b"true",
        _ if is_numbered_name(word) => b"0",
        _ => word,
    }
}

/// `eth0`, `SOCKS5`: letters with one digit behind them are a word, more digits make a value.
fn is_numbered_name(word: &[u8]) -> bool {
    let word = word.strip_suffix(b".").unwrap_or(word);
    matches!(word, [name @ .., digit] if digit.is_ascii_digit() && name.len() >= 2 && name.iter().all(u8::is_ascii_alphabetic))
}

/// Kind of a run of word bytes without values. Marks alone ("-", "/", "....") part what stands around them.
fn word_kind(word: &[u8]) -> TokenKind {
    let lettered = word.iter().any(|byte| byte.is_ascii_alphanumeric() || !byte.is_ascii());
    if lettered { TokenKind::Word } else { TokenKind::Delimiter }
}

/// The longest prefix of at most `bytes_max` bytes that ends outside a word.
fn head(line: &str, bytes_max: usize) -> &str {
    if line.len() <= bytes_max {
        return line;
    }
    let bytes = line.as_bytes();
    let mut end = bytes_max;
    while end > 0 && bytes.get(end - 1).is_some_and(|byte| class(*byte) & WORD != 0) {
        end -= 1;
    }
    line.get(..end).unwrap_or_default()
}

/// Offsets as stored: records are far below 4 GiB.
fn short(offset: usize) -> u32 {
    u32::try_from(offset).unwrap_or(u32::MAX)
}

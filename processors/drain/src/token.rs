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

/// What a token is to the comparison of lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TokenKind {
    /// A run of white space, written as one blank.
    Blank,
    /// One byte outside words.
    Delimiter,
    /// A word of letters, `_`, `-` and an optional final dot: part of what a line says.
    Plain,
    /// Another word without digits.
    Mixed,
    /// A parameter.
    Wild,
}

impl TokenKind {
    /// Words and parameters are content; blanks and delimiters are the skeleton around it.
    pub(crate) fn is_content(self) -> bool {
        matches!(self, Self::Plain | Self::Mixed | Self::Wild)
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
#[derive(Debug, Default)]
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
                self.collapse_annotation(byte);
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
                let (end, _) = self.word_around(line, span, spans);
                let kind = if line.get(start..span.start).is_some_and(|lead| lead.len() == 1) && span.end == end {
                    span.kind
                } else {
                    ParamType::Text
                };
                self.placeholder((start, end), kind);
                return end;
            }
            seen |= class(byte);
            end += 1;
        }
        let word = line.get(start..end).unwrap_or_default();
        if seen & DIGIT != 0 || self.in_identity_slot() {
            self.placeholder((start, end), ParamType::Word);
        } else {
            let kind = if is_plain(word) { TokenKind::Plain } else { TokenKind::Mixed };
            self.push(kind, word, (start, end), ParamType::Text);
        }
        end
    }

    /// End of the word that `span` ends in, and whether that is the end of the span itself.
    fn word_around(&self, line: &[u8], span: &Span, spans: &mut Spans<'_>) -> (usize, bool) {
        let mut end = span.end;
        loop {
            end += run(line, end, WORD);
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
        if let [.., Token { kind: TokenKind::Wild, .. }, Token { kind: TokenKind::Blank, .. }] = self.list.as_slice() {
            self.pop();
        }
        match self.list.last_mut() {
            Some(last) if last.kind == TokenKind::Wild => {
                last.line.1 = short(line.1);
                last.param = ParamType::Text;
            }
            _ => self.push(TokenKind::Wild, PLACEHOLDER.as_bytes(), line, param),
        }
    }

    /// `<*> (<*>)`, `<*>(<*>)`, `<*>()` and `<*>[]` are one value.
    fn collapse_annotation(&mut self, close: u8) {
        use TokenKind::{Blank, Delimiter, Wild};
        let open = match close {
            b')' => b'(',
            b']' => b'[',
            _ => return,
        };
        let extra = match self.list.as_slice() {
            [.., Token { kind: Wild, .. }, open_at @ Token { kind: Delimiter, .. }, _] if self.text(open_at) == [open] => 2,
            [.., Token { kind: Wild, .. }, open_at @ Token { kind: Delimiter, .. }, Token { kind: Wild, .. }, _]
                if open == b'(' && self.text(open_at) == [open] =>
            {
                3
            }
            [
                ..,
                Token { kind: Wild, .. },
                Token { kind: Blank, .. },
                open_at @ Token { kind: Delimiter, .. },
                Token { kind: Wild, .. },
                _,
            ] if open == b'(' && self.text(open_at) == [open] => 4,
            _ => return,
        };
        let Some(end) = self.list.last().map(|token| token.line.1) else { return };
        for _ in 0..extra {
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
    let word = bytes.get(..run(bytes, 0, WORD))?;
    match (word, bytes.first()?) {
        ([], b' ') => Some((TokenKind::Blank, 1)),
        ([], byte) if class(*byte) & BLANK != 0 => None,
        ([], _) => Some((TokenKind::Delimiter, 1)),
        _ if word.iter().any(u8::is_ascii_digit) => None,
        _ if is_plain(word) => Some((TokenKind::Plain, word.len())),
        _ => Some((TokenKind::Mixed, word.len())),
    }
}

/// Length of the run of bytes of a class at `from`.
fn run(line: &[u8], from: usize, kind: u8) -> usize {
    line.get(from..).map_or(0, |rest| rest.iter().take_while(|byte| class(**byte) & kind != 0).count())
}

/// Letters, `'`, `_`, `-` and an optional final dot.
fn is_plain(word: &[u8]) -> bool {
    let stem = word.strip_suffix(b".").unwrap_or(word);
    !stem.is_empty() && stem.iter().all(|byte| class(*byte) & LETTER != 0)
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

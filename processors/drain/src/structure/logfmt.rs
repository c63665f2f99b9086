//! logfmt: `key=value key="quoted value" …` from the first byte to the last.

use super::{Member, Piece, ValueKind};

/// Fewer pairs are a sentence about a setting.
const PAIRS_MIN: usize = 3;

/// Calls `each` for the pairs that fill `line`; `false` if other things do. Pairs may have been told by then.
pub(super) fn members(line: &str, each: &mut impl FnMut(Member)) -> bool {
    let bytes = line.as_bytes();
    let (mut at, mut pairs) = (0, 0);
    loop {
        at += run(bytes, at, |byte| byte == b' ' || byte == b'\t');
        if at >= bytes.len() || bytes.get(at..).is_some_and(|rest| rest.iter().all(u8::is_ascii_whitespace)) {
            return pairs >= PAIRS_MIN;
        }
        let Some((member, end)) = pair(bytes, at) else { return false };
        each(member);
        (at, pairs) = (end, pairs + 1);
    }
}

fn pair(bytes: &[u8], at: usize) -> Option<(Member, usize)> {
    let key_end = at + run(bytes, at, |byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-' | b'/' | b'@'));
    let begins = bytes.get(at).is_some_and(|byte| byte.is_ascii_alphabetic() || *byte == b'_');
    if !begins || bytes.get(key_end) != Some(&b'=') {
        return None;
    }
    let key = Piece { start: at, end: key_end, is_escaped: false };
    let start = key_end + 1;
    if bytes.get(start) == Some(&b'"') {
        let value = quoted(bytes, start + 1)?;
        let end = value.end + 1;
        let is_alone = bytes.get(end).is_none_or(u8::is_ascii_whitespace);
        return is_alone.then_some((Member { key, value, kind: ValueKind::Text }, end));
    }
    let end = start + run(bytes, start, |byte| !byte.is_ascii_whitespace());
    let value = bytes.get(start..end)?;
    // "a=1, b=2" is prose, and `a==b` is code.
    let is_prose = matches!(value, [.., b',' | b';' | b':' | b')' | b'"'] | [b'=' | b'(', ..]);
    let kind = match value {
        b"true" | b"false" | b"null" | b"nil" => ValueKind::Literal,
        _ => ValueKind::Text,
    };
    (!is_prose).then_some((Member { key, value: Piece { start, end, is_escaped: false }, kind }, end))
}

/// What stands before the closing quote.
fn quoted(bytes: &[u8], start: usize) -> Option<Piece> {
    let (mut at, mut is_escaped) = (start, false);
    loop {
        match bytes.get(at)? {
            b'"' => return Some(Piece { start, end: at, is_escaped }),
            b'\\' => {
                is_escaped = true;
                at += 2;
            }
            _ => at += 1,
        }
    }
}

fn run(bytes: &[u8], from: usize, belongs: impl Fn(u8) -> bool) -> usize {
    bytes.get(from..).map_or(0, |rest| rest.iter().take_while(|byte| belongs(**byte)).count())
}

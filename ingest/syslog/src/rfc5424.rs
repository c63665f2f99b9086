//! The syslog protocol of RFC 5424, strictly, but for three liberties that cost nothing and that senders take: fractions of
//! up to nine digits, the leap second, and structured-data names longer than 32 bytes.

use std::borrow::Cow;
use std::collections::BTreeMap;

use schemas::ParseStatus;

use crate::message::Message;
use crate::scan::{Scanner, printable};
use crate::time::Reception;
use crate::timestamp;

/// Limits of RFC 5424, section 6.
const HOST_BYTES_MAX: usize = 255;
const APP_BYTES_MAX: usize = 48;
const PROC_BYTES_MAX: usize = 128;
const MSGID_BYTES_MAX: usize = 32;

/// U+FEFF in UTF-8, which RFC 5424 puts before UTF-8 text.
const BYTE_ORDER_MARK: &[u8] = b"\xEF\xBB\xBF";

/// Parses what follows `<PRI>`; `None` if the line is not RFC 5424.
pub(crate) fn parse<'a>(raw: &'a [u8], start: usize, reception: &Reception<'_>) -> Option<Message<'a>> {
    let mut scanner = Scanner::new(raw, start);
    if !scanner.skip_all(b"1 ") {
        return None;
    }
    let time = if scanner.skip(b'-') { None } else { Some(timestamp::strict(&mut scanner)?) };
    if !scanner.skip(b' ') {
        return None;
    }
    let host = field(&mut scanner, HOST_BYTES_MAX)?;
    let app_name = field(&mut scanner, APP_BYTES_MAX)?;
    let proc_id = field(&mut scanner, PROC_BYTES_MAX)?;
    let msg_id = field(&mut scanner, MSGID_BYTES_MAX)?;
    let structured_data = StructuredData::parse(&mut scanner)?;
    if !scanner.at_end() && !scanner.skip(b' ') {
        return None;
    }
    scanner.skip_all(BYTE_ORDER_MARK);
    Some(Message {
        time_us: time.and_then(|written| reception.resolve(&written)),
        host,
        app_name,
        proc_id,
        msg_id,
        structured_data,
        text: scanner.at()..raw.len(),
        status: ParseStatus::Rfc5424,
        ..Message::default()
    })
}

/// A header field and the space after it: `Some(None)` for the nil value `-`.
fn field<'a>(scanner: &mut Scanner<'a>, bytes_max: usize) -> Option<Option<&'a str>> {
    let word = scanner.take_while(|b| b != b' ');
    if word.is_empty() || word.len() > bytes_max || !scanner.skip(b' ') {
        return None;
    }
    printable(word).map(|text| (text != "-").then_some(text))
}

/// The structured data of a line (RFC 5424, 6.3), checked but not yet unescaped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct StructuredData<'a> {
    raw: &'a [u8],
}

impl<'a> StructuredData<'a> {
    fn parse(scanner: &mut Scanner<'a>) -> Option<Self> {
        if scanner.skip(b'-') {
            return Some(Self::default());
        }
        let rest = scanner.rest();
        let start = scanner.at();
        elements(scanner, |_, _| ())?;
        Some(Self { raw: rest.get(..scanner.at() - start)? })
    }

    /// No element at all.
    pub fn is_empty(&self) -> bool {
        self.raw.is_empty()
    }

    /// Element id → parameter → value, unescaped.
    ///
    /// A parameter may stand several times in an element (several `ip` of one `origin`): its values are joined with commas.
    pub fn to_map(&self) -> BTreeMap<String, BTreeMap<String, String>> {
        let mut map: BTreeMap<String, BTreeMap<String, String>> = BTreeMap::new();
        elements(&mut Scanner::new(self.raw, 0), |id, parameter| {
            let element = map.entry(id.to_owned()).or_default();
            let Some((name, value)) = parameter else { return };
            let value = unescape(value);
            element
                .entry(name.to_owned())
                .and_modify(|values| {
                    values.push(',');
                    values.push_str(&value);
                })
                .or_insert_with(|| value.into_owned());
        });
        map
    }
}

/// Walks over `[id name="value" …]…`, at least one element. `visit` gets each id alone first, then each of its parameters.
fn elements<'a>(scanner: &mut Scanner<'a>, mut visit: impl FnMut(&'a str, Option<(&'a str, &'a [u8])>)) -> Option<()> {
    if scanner.peek() != Some(b'[') {
        return None;
    }
    while scanner.skip(b'[') {
        let id = name(scanner)?;
        visit(id, None);
        while scanner.skip(b' ') {
            let parameter = name(scanner)?;
            if !scanner.skip_all(b"=\"") {
                return None;
            }
            visit(id, Some((parameter, value(scanner)?)));
        }
        if !scanner.skip(b']') {
            return None;
        }
    }
    Some(())
}

/// `SD-NAME`: printable US-ASCII but for `=`, space, `]` and `"`.
fn name<'a>(scanner: &mut Scanner<'a>) -> Option<&'a str> {
    let name = scanner.take_while(|b| b.is_ascii_graphic() && !matches!(b, b'=' | b']' | b'"'));
    std::str::from_utf8(name).ok().filter(|name| !name.is_empty())
}

/// The bytes up to the closing quote, which is taken too.
fn value<'a>(scanner: &mut Scanner<'a>) -> Option<&'a [u8]> {
    let rest = scanner.rest();
    let mut length = 0;
    loop {
        length += rest.get(length..)?.iter().position(|b| matches!(b, b'"' | b'\\'))?;
        if rest.get(length) == Some(&b'"') {
            scanner.advance(length + 1);
            return rest.get(..length);
        }
        length += 2; // a backslash and whatever it escapes
    }
}

/// Removes the backslash before `"`, `\` and `]`; before anything else it stands for itself (RFC 5424, 6.3.3).
fn unescape(value: &[u8]) -> Cow<'_, str> {
    if !value.contains(&b'\\') {
        return String::from_utf8_lossy(value);
    }
    let mut plain = Vec::with_capacity(value.len());
    let mut bytes = value.iter().copied().peekable();
    while let Some(byte) = bytes.next() {
        let escapes = byte == b'\\' && matches!(bytes.peek(), Some(b'"' | b'\\' | b']'));
        plain.extend(if escapes { bytes.next() } else { Some(byte) });
    }
    Cow::Owned(String::from_utf8_lossy(&plain).into_owned())
}

//! BSD syslog as it is found: RFC 3164 describes what was seen in 2001 and says itself that anything may come.

use std::net::Ipv6Addr;

use schemas::ParseStatus;

use crate::message::Message;
use crate::scan::{Scanner, printable};
use crate::time::Reception;
use crate::timestamp::{self, Shape};

const HOST_BYTES_MAX: usize = 255;
const TAG_BYTES_MAX: usize = 48;
const PROC_BYTES_MAX: usize = 128;

/// Parses what follows `<PRI>`, or the whole line if it has none; `None` if it is plain text.
///
/// A line without priority comes from a file that anything may have written (`2024-01-01 10:00:00 INFO loader: ready`), so
/// its second word counts as host only in the form that syslog daemons write: time, host, tag.
pub(crate) fn parse<'a>(raw: &'a [u8], start: usize, with_priority: bool, reception: &Reception<'_>) -> Option<Message<'a>> {
    let mut scanner = Scanner::new(raw, start);
    let Some(stamp) = timestamp::loose(&mut scanner) else {
        return without_time(raw, scanner, with_priority);
    };
    let after_time = scanner;
    let mut host = stamp.origin;
    if host.is_none() && stamp.shape != Shape::Colon {
        host = hostname(&mut scanner);
    }
    let mut tag = tag(&mut scanner);
    let from_daemon = stamp.shape != Shape::Application && (host.is_none() || tag.is_some());
    if !with_priority && !from_daemon {
        (scanner, host, tag) = (after_time, None, None);
    }
    Some(Message {
        time_us: reception.resolve(&stamp.written),
        host,
        app_name: tag.map(|t| t.app_name),
        proc_id: tag.and_then(|t| t.proc_id),
        text: scanner.at()..raw.len(),
        status: ParseStatus::Rfc3164,
        ..Message::default()
    })
}

/// `<13>cron[12]: text`. Without a time only a tag with a process id is believed: `error: text` is text.
fn without_time<'a>(raw: &'a [u8], mut scanner: Scanner<'a>, with_priority: bool) -> Option<Message<'a>> {
    let tag = tag(&mut scanner).filter(|t| with_priority && t.proc_id.is_some())?;
    let text = scanner.at()..raw.len();
    Some(Message { app_name: Some(tag.app_name), proc_id: tag.proc_id, text, status: ParseStatus::Rfc3164, ..Message::default() })
}

/// Takes the host and the space after it, unless the next word is a tag or text.
fn hostname<'a>(scanner: &mut Scanner<'a>) -> Option<&'a str> {
    let mut ahead = *scanner;
    let word = printable(ahead.take_while(|b| b != b' ')).filter(|w| (1..=HOST_BYTES_MAX).contains(&w.len()))?;
    if !ahead.skip(b' ') || !word.bytes().all(|b| b.is_ascii_alphanumeric() || b".-_:%/@".contains(&b)) {
        return None;
    }
    // An address such as `2001:db8::` ends like a tag; to take it for one loses the host of every line of that sender.
    if word.ends_with(':') && word.parse::<Ipv6Addr>().is_err() {
        return None;
    }
    ahead.skip_all(b": "); // Cisco ASA with a device id: `host : %ASA-6-302013: …`
    *scanner = ahead;
    Some(word)
}

/// `name[pid]:` or `name:`.
#[derive(Clone, Copy)]
pub(crate) struct Tag<'a> {
    pub(crate) app_name: &'a str,
    pub(crate) proc_id: Option<&'a str>,
}

/// Takes the tag and one space after it. A colon ends a name only before a space (`http://…` and `Foo::Bar` are no tags).
pub(crate) fn tag<'a>(scanner: &mut Scanner<'a>) -> Option<Tag<'a>> {
    let rest = scanner.rest();
    let ends = |at: usize| matches!(rest.get(at), None | Some(b' '));
    let length = rest.iter().enumerate().take(TAG_BYTES_MAX + 1).find_map(|(at, byte)| match byte {
        b'[' => Some(Some(at)),
        b':' if ends(at + 1) => Some(Some(at)),
        0..=b' ' | 127 => Some(None),
        _ => None,
    })??;
    let app_name = std::str::from_utf8(rest.get(..length)?).ok().filter(|name| !name.is_empty())?;
    let mut ahead = *scanner;
    ahead.advance(length);
    let mut proc_id = None;
    if ahead.skip(b'[') {
        proc_id = Some(printable(ahead.take_while(|b| b != b']')).filter(|pid| (1..=PROC_BYTES_MAX).contains(&pid.len()))?);
        if !ahead.skip(b']') || !(ahead.skip(b':') || ends(ahead.at() - scanner.at())) {
            return None;
        }
    } else {
        ahead.skip(b':');
    }
    ahead.skip(b' ');
    *scanner = ahead;
    Some(Tag { app_name, proc_id })
}

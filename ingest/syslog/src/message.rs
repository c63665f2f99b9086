//! One line, taken apart without copying: the chain RFC 5424 → RFC 3164 → plain text.
//!
//! A grammar that fails hands over to the next one and the last one accepts everything, so no line is ever dropped for the
//! way it is written. All grammars are linear in the line: a regex that ran back once pinned a core per sender elsewhere.

use std::ops::Range;

use schemas::ParseStatus;

use crate::rfc5424::StructuredData;
use crate::scan::Scanner;
use crate::time::Reception;
use crate::{rfc3164, rfc5424};

/// The largest priority: facility 23, severity 7 (RFC 5424, 6.2.1).
const PRIORITY_MAX: u32 = 191;

/// A line's fields, borrowed from its bytes.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Message<'a> {
    /// 0 to 23.
    pub facility: Option<u8>,
    /// 0 (emergency) to 7 (debug).
    pub severity: Option<u8>,
    /// Microseconds since the epoch; `None` if the line has no time that can be believed.
    pub time_us: Option<i64>,
    /// As written; see [`HostRule`](crate::host::HostRule) for the host that a record gets.
    pub host: Option<&'a str>,
    /// Program.
    pub app_name: Option<&'a str>,
    /// Process id.
    pub proc_id: Option<&'a str>,
    /// RFC 5424 message id.
    pub msg_id: Option<&'a str>,
    /// RFC 5424 structured data.
    pub structured_data: StructuredData<'a>,
    /// Where the message stands in the line.
    pub text: Range<usize>,
    /// The grammar that the line follows.
    pub status: ParseStatus,
}

impl<'a> Message<'a> {
    /// Takes a line apart. Total: any bytes give a message.
    ///
    /// ```
    /// use jiff::tz::TimeZone;
    /// use syslog::{Message, Reception};
    ///
    /// let zone = TimeZone::UTC;
    /// let reception = Reception::new(1_700_000_000_000_000, &zone);
    /// let line = b"<34>Nov 14 22:13:15 fw1 su[230]: 'su root' failed on /dev/pts/8";
    /// let message = Message::parse(line, &reception);
    /// assert_eq!((message.host, message.app_name, message.proc_id), (Some("fw1"), Some("su"), Some("230")));
    /// assert_eq!(&line[message.text], b"'su root' failed on /dev/pts/8");
    /// ```
    pub fn parse(raw: &'a [u8], reception: &Reception<'_>) -> Self {
        let raw = trim_end(raw);
        let mut scanner = Scanner::new(raw, 0);
        let priority = priority(&mut scanner);
        let grammar = rfc5424::parse(raw, scanner.at(), reception);
        let message = grammar.or_else(|| rfc3164::parse(raw, scanner.at(), priority.is_some(), reception));
        let plain = || Self { text: scanner.at()..raw.len(), ..Self::default() };
        Self { facility: priority.map(|p| p >> 3), severity: priority.map(|p| p & 7), ..message.unwrap_or_else(plain) }
    }
}

/// Takes `<PRI>`, 0 to 191; anything else is left as part of the text.
fn priority(scanner: &mut Scanner<'_>) -> Option<u8> {
    let mut ahead = *scanner;
    if !ahead.skip(b'<') {
        return None;
    }
    let value = ahead.number(1, 3).filter(|p| *p <= PRIORITY_MAX)?;
    if !ahead.skip(b'>') {
        return None;
    }
    *scanner = ahead;
    u8::try_from(value).ok()
}

/// Without the line end or the C string's NUL that some senders put into datagrams and counted frames.
fn trim_end(raw: &[u8]) -> &[u8] {
    let end = raw.iter().rposition(|b| !matches!(b, b'\n' | b'\r' | 0)).map_or(0, |last| last + 1);
    raw.get(..end).unwrap_or_default()
}

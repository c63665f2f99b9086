//! One record of `/dev/kmsg` (Linux ≥ 3.5, Documentation/ABI/testing/dev-kmsg).

use std::borrow::Cow;
use std::ops::Range;

use crate::scan::Scanner;

/// A record of the kernel ring: `prio,seq,usec,flags[,…];text\n KEY=value\n…`.
///
/// ```
/// use syslog::kmsg::KernelRecord;
///
/// let line = b"4,1204,98765432,-;eth0: link\\x20down\n SUBSYSTEM=net\n DEVICE=n2\n";
/// let record = KernelRecord::parse(line).expect("a record of the kernel");
/// assert_eq!((record.facility, record.severity, record.seq, record.uptime_us), (0, 4, 1204, 98_765_432));
/// assert_eq!(record.text(), "eth0: link down");
/// assert_eq!(record.properties().collect::<Vec<_>>(), [("SUBSYSTEM", "net".into()), ("DEVICE", "n2".into())]);
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KernelRecord<'a> {
    raw: &'a [u8],
    /// 0 for the kernel itself; processes may write records too (systemd does, early at boot).
    pub facility: u32,
    /// 0 (emergency) to 7 (debug).
    pub severity: u8,
    /// Number of the record since boot; a gap means records that were overwritten unread.
    pub seq: u64,
    /// Microseconds since boot, without time in suspend.
    pub uptime_us: u64,
    /// Where the text stands in the record, still escaped.
    pub text: Range<usize>,
}

impl<'a> KernelRecord<'a> {
    /// Takes a record apart; `None` if it is not one.
    pub fn parse(raw: &'a [u8]) -> Option<Self> {
        let header_end = raw.iter().position(|b| *b == b';')?;
        let header = std::str::from_utf8(raw.get(..header_end)?).ok()?;
        let mut fields = header.split(',');
        let priority: u32 = fields.next()?.parse().ok()?;
        let seq = fields.next()?.parse().ok()?;
        let uptime_us = fields.next()?.parse().ok()?;
        let start = header_end + 1;
        let length = raw.get(start..)?.iter().position(|b| *b == b'\n').unwrap_or(raw.len() - start);
        let severity = u8::try_from(priority & 7).ok()?;
        Some(Self { raw, facility: priority >> 3, severity, seq, uptime_us, text: start..start + length })
    }

    /// The text, unescaped; borrowed if it stands like that in the record.
    pub fn text(&self) -> Cow<'a, str> {
        unescape(self.raw.get(self.text.clone()).unwrap_or_default())
    }

    /// The dictionary after the text, values unescaped: `SUBSYSTEM`, `DEVICE` and what drivers add.
    pub fn properties(&self) -> impl Iterator<Item = (&'a str, Cow<'a, str>)> + use<'a> {
        let lines = self.raw.get(self.text.end..).unwrap_or_default().split(|b| *b == b'\n');
        lines.filter_map(|line| {
            let mut scanner = Scanner::new(line, 0);
            let name = scanner.skip(b' ').then(|| scanner.take_while(|b| b != b'=')).filter(|name| !name.is_empty())?;
            scanner.skip(b'=').then_some((std::str::from_utf8(name).ok()?, unescape(scanner.rest())))
        })
    }
}

/// The kernel writes bytes that are not printable, and the backslash, as `\xNN`.
pub(crate) fn unescape(escaped: &[u8]) -> Cow<'_, str> {
    if !escaped.contains(&b'\\') {
        return String::from_utf8_lossy(escaped);
    }
    let mut plain = Vec::with_capacity(escaped.len());
    let mut rest = escaped;
    while let Some((byte, after)) = rest.split_first() {
        let code = after.strip_prefix(b"x").filter(|_| *byte == b'\\').and_then(|hex| hex.first_chunk::<2>()).and_then(hex_byte);
        plain.push(code.unwrap_or(*byte));
        rest = if code.is_some() { after.get(3..).unwrap_or_default() } else { after };
    }
    Cow::Owned(String::from_utf8_lossy(&plain).into_owned())
}

fn hex_byte(digits: &[u8; 2]) -> Option<u8> {
    let [high, low] = digits.map(|d| char::from(d).to_digit(16));
    u8::try_from(high? * 16 + low?).ok()
}

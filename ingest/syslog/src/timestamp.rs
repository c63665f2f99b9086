//! The forms in which senders write a time: the one of RFC 5424 and the many of everybody else.

use crate::scan::{Scanner, printable};
use crate::time::{WrittenTime, Zone, abbreviation_offset_s};

/// `TIMESTAMP` of RFC 5424, 6.2.3.
pub(crate) fn strict(scanner: &mut Scanner<'_>) -> Option<WrittenTime<'static>> {
    let (year, month, day) = date(scanner)?;
    if !scanner.skip(b'T') {
        return None;
    }
    let (hour, minute, second) = clock(scanner, 2)?;
    let micros = if scanner.skip(b'.') { fraction_micros(scanner)? } else { 0 };
    let zone = Zone::Offset(offset_s(scanner)?);
    Some(WrittenTime { year: Some(year), month, day, hour, minute, second, micros, zone })
}

/// What stands at the head of a line that is not RFC 5424.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stamp<'a> {
    pub(crate) written: WrittenTime<'a>,
    /// The host, where it stands before the time (`logging origin-id` of Cisco IOS).
    pub(crate) origin: Option<&'a str>,
    pub(crate) shape: Shape,
}

/// What the form of a time says about the text that follows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shape {
    /// A host may follow.
    Syslog,
    /// A colon ended the time (Cisco): no host follows.
    Colon,
    /// `yyyy-mm-dd hh:mm:ss`: the form of applications' own files.
    Application,
}

/// Takes a time in any of the forms in use, and the space after it:
///
/// ```text
/// Oct 11 22:14:15          Oct  1 22:14:15.123 UTC:     Oct 11 2003 22:14:15       Oct 11 22:14:15 2003
/// 2003 Oct 11 22:14:15     2003-10-11T22:14:15+02:00    2003-10-11 22:14:15,123
/// ```
///
/// Before it may stand a Cisco sequence number (`123: `), its origin (`router1: `) and its mark for a clock that is not set
/// (`*`) or not synchronised (`.`).
pub(crate) fn loose<'a>(scanner: &mut Scanner<'a>) -> Option<Stamp<'a>> {
    let mut ahead = *scanner;
    let sequence = skip_sequence(&mut ahead);
    let origin = if sequence { skip_origin(&mut ahead) } else { None };
    let marked = ahead.skip(b'*') || ahead.skip(b'.');
    let (mut written, mut shape) = match ahead.peek()? {
        b'0'..=b'9' => year_first(&mut ahead)?,
        _ => (month_first(&mut ahead)?, Shape::Syslog),
    };
    if written.year.is_none() {
        written.year = trailing_year(&mut ahead);
    }
    written.zone = zone(&mut ahead, if sequence || marked { Abbreviations::Any } else { Abbreviations::Known });
    if ahead.skip(b':') {
        shape = Shape::Colon;
    }
    if !ahead.at_end() && !ahead.skip(b' ') {
        return None;
    }
    *scanner = ahead;
    Some(Stamp { written, origin, shape })
}

/// `123: `, or only `: ` as NX-OS writes it.
fn skip_sequence(scanner: &mut Scanner<'_>) -> bool {
    let mut ahead = *scanner;
    ahead.take_while(|b| b.is_ascii_digit());
    let found = ahead.skip_all(b": ");
    if found {
        *scanner = ahead;
    }
    found
}

/// `router1: ` between sequence and time; a month is followed by no colon, so it is not taken for one.
fn skip_origin<'a>(scanner: &mut Scanner<'a>) -> Option<&'a str> {
    let mut ahead = *scanner;
    let origin = printable(ahead.word())?.strip_suffix(':')?;
    *scanner = ahead;
    Some(origin)
}

/// `Mmm d hh:mm:ss`, `Mmm dd yyyy hh:mm:ss`.
fn month_first(scanner: &mut Scanner<'_>) -> Option<WrittenTime<'static>> {
    let (month, day) = month_and_day(scanner)?;
    let mut ahead = *scanner;
    let year = ahead.number(4, 4).filter(|_| ahead.skip(b' '));
    if year.is_some() {
        *scanner = ahead;
    }
    with_clock(scanner, year, month, day)
}

/// `yyyy Mmm dd hh:mm:ss` (NX-OS) or ISO 8601 with `T` or a space.
fn year_first(scanner: &mut Scanner<'_>) -> Option<(WrittenTime<'static>, Shape)> {
    let mut ahead = *scanner;
    let year = ahead.number(4, 4)?;
    if ahead.skip(b' ') {
        let (month, day) = month_and_day(&mut ahead)?;
        *scanner = ahead;
        return Some((with_clock(scanner, Some(year), month, day)?, Shape::Syslog));
    }
    let (_, month, day) = date(scanner)?;
    let shape = if scanner.skip(b'T') {
        Shape::Syslog
    } else if scanner.skip(b' ') {
        Shape::Application
    } else {
        return None;
    };
    Some((with_clock(scanner, Some(year), month, day)?, shape))
}

/// `Mmm d ` or `Mmm  d ` or `Mmm dd `.
fn month_and_day(scanner: &mut Scanner<'_>) -> Option<(i8, i8)> {
    let month = month(scanner)?;
    if !scanner.skip(b' ') {
        return None;
    }
    scanner.skip(b' ');
    let day = i8::try_from(scanner.number(1, 2)?).ok()?;
    scanner.skip(b' ').then_some((month, day))
}

fn month(scanner: &mut Scanner<'_>) -> Option<i8> {
    const MONTHS: [&[u8; 3]; 12] = [b"jan", b"feb", b"mar", b"apr", b"may", b"jun", b"jul", b"aug", b"sep", b"oct", b"nov", b"dec"];
    let word = scanner.rest().first_chunk::<3>()?.map(|b| b.to_ascii_lowercase());
    let index = MONTHS.iter().position(|name| **name == word)?;
    scanner.advance(3);
    i8::try_from(index + 1).ok()
}

fn with_clock(scanner: &mut Scanner<'_>, year: Option<u32>, month: i8, day: i8) -> Option<WrittenTime<'static>> {
    let (hour, minute, second) = clock(scanner, 1)?;
    let mut ahead = *scanner;
    let micros = if ahead.skip(b'.') || ahead.skip(b',') { fraction_micros(&mut ahead) } else { None };
    if micros.is_some() {
        *scanner = ahead;
    }
    let year = year.and_then(|y| i16::try_from(y).ok());
    Some(WrittenTime { year, month, day, hour, minute, second, micros: micros.unwrap_or(0), zone: Zone::Listener })
}

/// ` 2003` after the time; a host of four digits that begin with 19 or 20 is rarer than this form, one such as `2001:db8::` is not.
fn trailing_year(scanner: &mut Scanner<'_>) -> Option<i16> {
    let mut ahead = *scanner;
    let year = ahead.skip(b' ').then(|| ahead.number(4, 4)).flatten().filter(|y| (1900..=2099).contains(y))?;
    if !ahead.rest().starts_with(b" ") && !ahead.rest().starts_with(b": ") {
        return None;
    }
    *scanner = ahead;
    i16::try_from(year).ok()
}

/// Which zone abbreviations are taken after a time.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Abbreviations {
    /// Those of [`abbreviation_offset_s`]: another capital word may be a host or a tag.
    Known,
    /// Every capital word before a colon: Cisco puts the zone there.
    Any,
}

fn zone<'a>(scanner: &mut Scanner<'a>, abbreviations: Abbreviations) -> Zone<'a> {
    let mut ahead = *scanner;
    let spaced = ahead.skip(b' ');
    if let Some(offset) = loose_offset_s(&mut ahead)
        && matches!(ahead.peek(), None | Some(b' ' | b':'))
    {
        *scanner = ahead;
        return Zone::Offset(offset);
    }
    let mut ahead = *scanner;
    if spaced {
        ahead.advance(1);
    }
    let name = printable(ahead.take_while(|b| b.is_ascii_uppercase())).unwrap_or_default();
    let known = abbreviation_offset_s(name).is_some() && (!spaced || name.len() > 1);
    let ends = matches!(ahead.peek(), None | Some(b' ' | b':'));
    let cisco = abbreviations == Abbreviations::Any && (2..=5).contains(&name.len()) && ahead.peek() == Some(b':');
    if (known && ends) || cisco {
        *scanner = ahead;
        return Zone::Named(name);
    }
    Zone::Listener
}

/// `+hh:mm`, `+hhmm` or `+hh`.
fn loose_offset_s(scanner: &mut Scanner<'_>) -> Option<i32> {
    let mut strict = *scanner;
    if let Some(offset) = offset_s(&mut strict)
        && strict.at() > scanner.at() + 1
    {
        *scanner = strict;
        return Some(offset);
    }
    let sign = match scanner.peek()? {
        b'+' => 1,
        b'-' => -1,
        _ => return None,
    };
    scanner.advance(1);
    let hours = scanner.number(2, 2).filter(|h| *h <= 23)?;
    let minutes = scanner.number(2, 2).unwrap_or(0);
    i32::try_from(hours * 3_600 + minutes * 60).ok().filter(|_| minutes <= 59).map(|seconds| sign * seconds)
}

/// `yyyy-mm-dd`.
fn date(scanner: &mut Scanner<'_>) -> Option<(i16, i8, i8)> {
    let year = i16::try_from(scanner.number(4, 4)?).ok()?;
    let month = scanner.skip(b'-').then(|| scanner.number(2, 2)).flatten()?;
    let day = scanner.skip(b'-').then(|| scanner.number(2, 2)).flatten()?;
    Some((year, i8::try_from(month).ok()?, i8::try_from(day).ok()?))
}

/// `hh:mm:ss`, hours to 23, minutes to 59, seconds to 60; `hour_digits_min` is 1 where senders leave out the leading zero.
fn clock(scanner: &mut Scanner<'_>, hour_digits_min: usize) -> Option<(i8, i8, i8)> {
    let hour = scanner.number(hour_digits_min, 2).filter(|h| *h <= 23)?;
    let minute = scanner.skip(b':').then(|| scanner.number(2, 2)).flatten().filter(|m| *m <= 59)?;
    let second = scanner.skip(b':').then(|| scanner.number(2, 2)).flatten().filter(|s| *s <= 60)?;
    Some((i8::try_from(hour).ok()?, i8::try_from(minute).ok()?, i8::try_from(second).ok()?))
}

/// The digits after the point, one to nine; those beyond microseconds are cut.
fn fraction_micros(scanner: &mut Scanner<'_>) -> Option<i32> {
    let start = scanner.at();
    let value = scanner.number(1, 9)?;
    let digits = u32::try_from(scanner.at() - start).ok()?;
    let micros = if digits <= 6 { value * 10u32.pow(6 - digits) } else { value / 10u32.pow(digits - 6) };
    i32::try_from(micros).ok()
}

/// `Z`, `+hh:mm` or `-hh:mm`, in seconds east of UTC (RFC 5424: `TIME-OFFSET`).
fn offset_s(scanner: &mut Scanner<'_>) -> Option<i32> {
    if scanner.skip(b'Z') {
        return Some(0);
    }
    let sign = match scanner.peek()? {
        b'+' => 1,
        b'-' => -1,
        _ => return None,
    };
    scanner.advance(1);
    let hours = scanner.number(2, 2).filter(|h| *h <= 23)?;
    let minutes = scanner.skip(b':').then(|| scanner.number(2, 2)).flatten().filter(|m| *m <= 59)?;
    i32::try_from(hours * 3_600 + minutes * 60).ok().map(|seconds| sign * seconds)
}

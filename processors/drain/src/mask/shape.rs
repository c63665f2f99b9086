//! The built-in shapes, hand-written over bytes.
//!
//! The scanner walks from word to word. Letters alone are skipped at the cost of one table look-up per byte; only a word
//! with a digit, a mark (`. / \ @ $`) or a colon behind it is looked at again. A shape ends where no ASCII letter or digit follows.

use super::{ParamType, Span};
use crate::token::{DIGIT, MARK, WORD, class, leader_length, rest_of_value};

/// Longest run of colon-joined hex groups taken for one value (a SHA-256 fingerprint has 95 bytes).
const COLON_HEX_BYTES_MAX: usize = 96;
/// Fewer hex digits are as likely a word or a decimal number.
const HEX_BYTES_MIN: usize = 6;
/// Fewer stars are emphasis.
const STARS_MIN: usize = 4;
/// Most groups of thousands in a number: more than 2^64 needs.
const THOUSANDS_MAX: usize = 8;

const MONTHS: [&[u8]; 12] = [b"Jan", b"Feb", b"Mar", b"Apr", b"May", b"Jun", b"Jul", b"Aug", b"Sep", b"Oct", b"Nov", b"Dec"];
const WEEKDAYS: [&[u8]; 7] = [b"Mon", b"Tue", b"Wed", b"Thu", b"Fri", b"Sat", b"Sun"];
/// Symbols only: a spelled-out unit ("bytes", "seconds") is part of what the line says, a symbol is part of the value.
const UNITS: [&[u8]; 27] = [
    b"B", b"KB", b"kB", b"MB", b"GB", b"TB", b"KiB", b"MiB", b"GiB", b"TiB", b"kbps", b"Mbps", b"Gbps", b"ns", b"us", b"ms", b"s", b"sec",
    b"secs", b"min", b"mins", b"h", b"hrs", b"Hz", b"MHz", b"GHz", b"%",
];

/// Scanner over `line[..end]`.
pub(super) struct Shapes<'a> {
    bytes: &'a [u8],
}

/// Where a shape ends and what it is.
type Found = Option<(usize, ParamType)>;

impl<'a> Shapes<'a> {
    pub(super) fn new(line: &'a [u8], end: usize) -> Self {
        Self { bytes: line.get(..end).unwrap_or(line) }
    }

    /// Appends the masked ranges from byte `from` on.
    pub(super) fn scan(&self, from: usize, spans: &mut Vec<Span>) {
        let mut at = from;
        while let Some(&byte) = self.bytes.get(at) {
            let start = at;
            let found = if class(byte) & WORD == 0 {
                at += 1;
                match byte {
                    b'<' => self.placeholder(start),
                    b'*' => self.stars(start),
                    b':' if self.at(at) == b':' => self.colon_hex(start).map(|end| Span { start, end, kind: ParamType::Ipv6 }),
                    _ => None,
                }
            } else {
                let (end, seen) = self.extent(start);
                at = end;
                let plain = seen & (DIGIT | MARK) == 0 && self.at(end) != b':' && !self.begins_calendar_word(start, end);
                if plain { None } else { self.word(start, end, seen) }
            };
            if let Some(mut span) = found {
                // What follows in the same word belongs to the value.
                let rest = self.bytes.get(span.end..).map_or(0, rest_of_value);
                span.end += rest;
                span.kind = if rest > 0 { ParamType::Text } else { span.kind };
                at = at.max(span.end);
                spans.push(span);
            }
        }
    }

    /// End of the word at `start` and the classes of its bytes; the dots of a leader are a word of their own.
    fn extent(&self, start: usize) -> (usize, u8) {
        let (mut end, mut seen) = (start, 0);
        while let Some(&byte) = self.bytes.get(end)
            && class(byte) & WORD != 0
        {
            let leader = if byte == b'.' { self.bytes.get(end..).map_or(0, leader_length) } else { 0 };
            if leader > 0 {
                return (if end == start { end + leader } else { end }, seen);
            }
            seen |= class(byte);
            end += 1;
        }
        (end, seen)
    }

    /// The shape of the word `[start, end)`, which may reach beyond the word.
    fn word(&self, start: usize, end: usize, seen: u8) -> Option<Span> {
        // "-5", "/10.0.0.1" and "(~3" begin with marks: shapes of values begin at the first letter or digit.
        let lead = self.bytes.get(start..end)?.iter().position(u8::is_ascii_alphanumeric);
        let first = start + lead?;
        let colon = self.at(end) == b':';
        let span = |start, (end, kind)| Span { start, end, kind };
        if colon && let Some(found) = self.url(end) {
            return Some(span(first, found));
        }
        if (seen & DIGIT != 0 || colon)
            && let Some(found) = self.numeric(first)
        {
            return Some(span(first, found));
        }
        if colon && let Some(found) = self.host(first, end, seen) {
            return Some(span(first, found));
        }
        if seen & MARK != 0
            && let Some(found) = self.name_or_path(start, end, seen)
        {
            return Some(span(start, found));
        }
        if let Some(found) = self.calendar(first) {
            return Some(span(first, found));
        }
        if seen & DIGIT == 0 {
            return None;
        }
        let (end, kind) = self.number(start, first, end)?;
        // "<1 sec": below the least that the program can measure, and a value all the same.
        let compared = kind == ParamType::Quantity && matches!(self.at(start.wrapping_sub(1)), b'<' | b'>');
        Some(span(start - usize::from(compared), (end, kind)))
    }

    fn numeric(&self, first: usize) -> Found {
        self.mac(first)
            .map(|end| (end, ParamType::Mac))
            .or_else(|| self.ipv4(first).map(|end| (end, ParamType::Ipv4)))
            .or_else(|| self.date(first).map(|end| (end, ParamType::Date)))
            .or_else(|| self.time(first).map(|end| (end, ParamType::Time)))
            .or_else(|| self.colon_hex(first).map(|end| (end, ParamType::Ipv6)))
    }

    /// `<*>` in the line itself: what was masked upstream is a value here as well, and masking twice changes nothing.
    fn placeholder(&self, start: usize) -> Option<Span> {
        self.starts_with(start, b"<*>").then_some(Span { start, end: start + 3, kind: ParamType::Text })
    }

    /// `****`: what C and Fortran print when a number has no room, and programs for what must not be read; with what is left of the value.
    fn stars(&self, start: usize) -> Option<Span> {
        let stars = self.bytes.get(start..)?.iter().take_while(|byte| **byte == b'*').count();
        (stars >= STARS_MIN).then_some(Span { start, end: start + stars, kind: ParamType::Text })
    }

    fn url(&self, colon: usize) -> Found {
        if !self.starts_with(colon, b"://") {
            return None;
        }
        let mut end = colon + 3;
        while let Some(&byte) = self.bytes.get(end)
            && !byte.is_ascii_whitespace()
            && !matches!(byte, b'"' | b'\'' | b'<' | b'>' | b'(' | b')' | b'[' | b']' | b'{' | b'}' | b'|')
        {
            end += 1;
        }
        while matches!(self.bytes.get(end - 1), Some(b'.' | b',' | b';' | b':' | b'!' | b'?')) {
            end -= 1;
        }
        Some((end, ParamType::Url))
    }

    fn mac(&self, first: usize) -> Option<usize> {
        let joint = self.at(first + 2);
        if joint != b':' && joint != b'-' {
            return None;
        }
        let pair = |i: usize| self.at(i).is_ascii_hexdigit() && self.at(i + 1).is_ascii_hexdigit();
        let whole = (0..6).all(|k| pair(first + 3 * k) && (k == 0 || self.at(first + 3 * k - 1) == joint));
        let end = first + 17;
        (whole && self.ends(end) && self.at(end) != joint).then_some(end)
    }

    fn ipv4(&self, first: usize) -> Option<usize> {
        let mut end = first;
        for octet in 0..4 {
            if octet > 0 {
                if self.at(end) != b'.' {
                    return None;
                }
                end += 1;
            }
            let digits = self.digits(end, 3);
            if digits == 0 {
                return None;
            }
            end += digits;
        }
        // "1.2.3.4.5" is a version, no address.
        if !self.ends(end) || (self.at(end) == b'.' && self.at(end + 1).is_ascii_digit()) {
            return None;
        }
        Some(end)
    }

    /// Hex groups joined by at least two colons. A digit must be among them ("::" alone joins names), and no group has more than four.
    fn colon_hex(&self, start: usize) -> Option<usize> {
        let (mut end, mut colons, mut group, mut digits) = (start, 0, 0, 0);
        while end - start < COLON_HEX_BYTES_MAX {
            match self.at(end) {
                b':' => (colons, group) = (colons + 1, 0),
                byte if byte.is_ascii_hexdigit() => {
                    (group, digits) = (group + 1, digits + usize::from(byte.is_ascii_digit()));
                    if group > 4 {
                        return None;
                    }
                }
                _ => break,
            }
            end += 1;
        }
        // A colon at the end is punctuation.
        if self.at(end.wrapping_sub(1)) == b':' && self.at(end.wrapping_sub(2)) != b':' {
            (end, colons) = (end - 1, colons - 1);
        }
        (colons >= 2 && digits > 0 && self.ends(end)).then_some(end)
    }

    /// `2024-05-03`, `2024/5/3`, `2024.05.03`, `03/May/2024`, `3-May-24`, each with an optional time of day.
    fn date(&self, first: usize) -> Option<usize> {
        let lead = self.digits(first, 4);
        let joint = self.at(first + lead);
        if !matches!(joint, b'-' | b'/' | b'.') {
            return None;
        }
        let middle_at = first + lead + 1;
        let middle = match self.digits(middle_at, 2) {
            0 if MONTHS.iter().any(|month| self.starts_with(middle_at, month)) => 3,
            digits => digits,
        };
        let last_at = middle_at + middle + 1;
        if middle == 0 || self.at(last_at - 1) != joint {
            return None;
        }
        let last = self.digits(last_at, 4);
        let sound = match (lead, middle, last) {
            (4, 1 | 2, 1 | 2) => true,
            (1 | 2, 3, 2 | 4) => true,
            (1 | 2, 1 | 2, 4) => joint != b'.' || lead == 2,
            (2, 2, 2) => joint != b'.',
            _ => false,
        };
        let end = last_at + last;
        if !sound {
            return None;
        }
        let time = match self.at(end) {
            b' ' | b'T' | b':' | b'-' | b'.' | b'_' => self.time_of_day(end + 1),
            _ => None,
        };
        time.or_else(|| self.ends(end).then_some(end))
    }

    fn time(&self, first: usize) -> Option<usize> {
        let end = self.time_of_day(first)?;
        // "1:2" counts as little as "a:b"; a time has two digits behind each colon.
        (self.at(end) != b':').then_some(end)
    }

    /// `h:mm[:ss][.fraction][zone]`, also with dots (`15.42.50.675872`) as some batch systems write it behind a date.
    fn time_of_day(&self, first: usize) -> Option<usize> {
        let hours = self.digits(first, 2);
        let joint = self.at(first + hours);
        if hours == 0
            || !(joint == b':' || (joint == b'.' && first > 0 && self.at(first - 1) == b'-'))
            || self.digits(first + hours + 1, 3) != 2
        {
            return None;
        }
        let mut end = first + hours + 3;
        if self.at(end) == joint && self.digits(end + 1, 3) == 2 {
            end += 3;
            let fraction = self.digits(end + 1, 9);
            if matches!(self.at(end), b'.' | b',' | b':') && fraction > 0 {
                end += 1 + fraction;
            }
        }
        if self.at(end) == b'Z' {
            end += 1;
        } else if matches!(self.at(end), b'+' | b'-') && self.digits(end + 1, 4) >= 2 {
            end += 1 + self.digits(end + 1, 4);
            if self.at(end) == b':' && self.digits(end + 1, 2) == 2 {
                end += 3;
            }
        }
        self.ends(end).then_some(end)
    }

    /// A host name (a dot or a digit tells it from the key of `key:50`) before a port, which is a value of its own.
    fn host(&self, first: usize, end: usize, seen: u8) -> Found {
        let host = self.bytes.get(first..end)?;
        let plain = host.iter().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_'));
        let named = seen & DIGIT != 0 || host.contains(&b'.') || host == b"localhost";
        let ends_in_letter = host.last().is_some_and(u8::is_ascii_alphanumeric);
        let port = self.digits(end + 1, 6);
        (plain && named && ends_in_letter && (2..=5).contains(&port) && self.ends(end + 1 + port)).then_some((end, ParamType::Host))
    }

    /// Absolute paths, `user@node`, and dotted names with a digit. A dotted name without one is a word: whether it is an exception
    /// (`java.io.IOException`) or a host of which there are many, only the other lines can tell.
    fn name_or_path(&self, start: usize, end: usize, seen: u8) -> Found {
        let mut word = self.bytes.get(start..end)?;
        while let [head @ .., b'.'] = word {
            word = head;
        }
        let end = start + word.len();
        let slash = |b: &u8| matches!(b, b'/' | b'\\');
        let rooted = matches!(word, [b'/' | b'\\', ..] | [b'~', b'/', ..]);
        let segments = word.split(slash).filter(|s| s.iter().any(u8::is_ascii_alphanumeric)).count();
        let slashes = word.iter().filter(|b| slash(b)).count();
        if rooted && segments >= 1 && slashes >= 2 {
            return Some((self.glob(end), ParamType::Path));
        }
        let node = word.iter().position(|b| *b == b'@').is_some_and(|at| at + 1 < word.len());
        let dots = word.split(|b| *b == b'.').filter(|part| !part.is_empty()).count() > 2;
        (node || (dots && seen & DIGIT != 0)).then_some((end, ParamType::Name))
    }

    /// End of a path that goes on with `*` and more words.
    fn glob(&self, mut end: usize) -> usize {
        while self.at(end) == b'*' || (self.at(end - 1) == b'*' && class(self.at(end)) & WORD != 0) {
            end += 1;
            while class(self.at(end)) & WORD != 0 {
                end += 1;
            }
        }
        end
    }

    /// `Fri Jun 17 07:07:00 2005`, `Jun 17`: month and weekday names count only beside a number.
    fn calendar(&self, first: usize) -> Found {
        let mut at = first;
        if WEEKDAYS.iter().any(|day| self.starts_with(at, day)) && !self.at(at + 3).is_ascii_alphanumeric() {
            at += 3 + usize::from(self.at(at + 3) == b',');
            at += self.blanks(at);
        }
        if !MONTHS.iter().any(|month| self.starts_with(at, month)) || self.blanks(at + 3) == 0 {
            return None;
        }
        at += 3 + self.blanks(at + 3);
        let day = self.digits(at, 3);
        if !(1..=2).contains(&day) || self.at(at + day).is_ascii_alphabetic() {
            return None;
        }
        let mut end = at + day;
        if self.at(end) == b' '
            && let Some(time) = self.time_of_day(end + 1)
        {
            end = time;
        }
        let zone = self.bytes.get(end + 1..).map_or(0, |rest| rest.iter().take(5).take_while(|b| b.is_ascii_uppercase()).count());
        let year = if self.at(end) == b' ' && zone >= 3 && self.at(end + 1 + zone) == b' ' { end + 2 + zone } else { end + 1 };
        if self.at(year - 1) == b' ' && self.digits(year, 5) == 4 && self.ends(year + 4) {
            end = year + 4;
        }
        Some((end, ParamType::Date))
    }

    fn begins_calendar_word(&self, start: usize, end: usize) -> bool {
        end - start == 3
            && self.at(start).is_ascii_uppercase()
            && (MONTHS.iter().any(|m| self.starts_with(start, m)) || WEEKDAYS.iter().any(|d| self.starts_with(start, d)))
    }

    /// `0x1f`, `3fa9c2`, `-12`, `1,234,567`, `3.5`, each with an optional unit.
    fn number(&self, start: usize, first: usize, end: usize) -> Found {
        let word = self.bytes.get(first..end)?;
        if let [b'0', b'x' | b'X', hex @ ..] = word
            && !hex.is_empty()
            && hex.iter().all(u8::is_ascii_hexdigit)
        {
            return Some((end, ParamType::Hex));
        }
        let signed = self.bytes.get(start..first).is_some_and(|sign| matches!(sign, [] | [b'-' | b'+' | b'~' | b'.' | b'#']));
        let mut digits = self.digits(first, usize::MAX);
        if signed && digits > 0 {
            digits += self.thousands(first + digits);
            if self.at(first + digits) == b'.' {
                let fraction = self.digits(first + digits + 1, usize::MAX);
                digits += if fraction > 0 { 1 + fraction } else { 0 };
            }
            let after = first + digits;
            if let Some(unit_end) = self.unit(after) {
                return Some((unit_end, ParamType::Quantity));
            }
            if after >= end || (after + 1 == end && self.at(after) == b'.') {
                return Some((after, ParamType::Number));
            }
        }
        (word.len() >= HEX_BYTES_MIN && word.iter().all(u8::is_ascii_hexdigit)).then_some((end, ParamType::Hex))
    }

    /// Length of the groups `,ddd` at `at`.
    fn thousands(&self, at: usize) -> usize {
        let mut end = at;
        while self.at(end) == b',' && self.digits(end + 1, 4) == 3 && end - at < 4 * THOUSANDS_MAX {
            end += 4;
        }
        if self.at(end).is_ascii_alphanumeric() { 0 } else { end - at }
    }

    /// End of a unit symbol at `at` or one blank behind it.
    fn unit(&self, at: usize) -> Option<usize> {
        let from = at + usize::from(self.at(at) == b' ');
        let length = self.bytes.get(from..)?.iter().take(5).take_while(|b| b.is_ascii_alphabetic() || **b == b'%').count();
        let symbol = self.bytes.get(from..from + length)?;
        (UNITS.contains(&symbol) && self.ends(from + length)).then_some(from + length)
    }

    fn at(&self, index: usize) -> u8 {
        self.bytes.get(index).copied().unwrap_or(0)
    }

    fn ends(&self, index: usize) -> bool {
        !self.at(index).is_ascii_alphanumeric()
    }

    fn digits(&self, from: usize, max: usize) -> usize {
        self.bytes.get(from..).map_or(0, |rest| rest.iter().take(max).take_while(|b| b.is_ascii_digit()).count())
    }

    fn blanks(&self, from: usize) -> usize {
        self.bytes.get(from..).map_or(0, |rest| rest.iter().take(3).take_while(|b| **b == b' ').count())
    }

    fn starts_with(&self, from: usize, prefix: &[u8]) -> bool {
        self.bytes.get(from..).is_some_and(|rest| rest.starts_with(prefix))
    }
}

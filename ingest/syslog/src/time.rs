//! When a line was written: years and zones that senders leave out.
//!
//! RFC 3164 timestamps have neither year nor zone. Receivers that took the year of their own clock stamped every December
//! line that came after midnight eleven months into the future, and those that took local time as UTC shifted all of
//! them. The rules here take the receive time as a witness: a line was written before it was received, give or take a day.

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::{AmbiguousOffset, Offset, TimeZone};

/// A line's time may lie this far ahead of its receipt (wrong zones); one further ahead is not believed.
pub const AHEAD_MAX_US: i64 = 86_400 * 1_000_000;

/// No zone is further from UTC than this; lets most candidate years be refused without asking the zone.
const ZONE_MAX_US: i64 = 26 * 3_600 * 1_000_000;

/// The zone that a timestamp names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Zone<'a> {
    /// None: the zone of the listener.
    Listener,
    /// Seconds east of UTC.
    Offset(i32),
    /// An abbreviation such as `CET`. What it means depends on who says it: the listener's zone decides, then
    /// [`abbreviation_offset_s`].
    Named(&'a str),
}

/// A timestamp as its sender wrote it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WrittenTime<'a> {
    /// Absent in RFC 3164.
    pub year: Option<i16>,
    /// 1 to 12.
    pub month: i8,
    /// 1 to 31.
    pub day: i8,
    /// 0 to 23.
    pub hour: i8,
    /// 0 to 59.
    pub minute: i8,
    /// 0 to 60; 60 is the leap second, which becomes the next second.
    pub second: i8,
    /// Fraction of the second.
    pub micros: i32,
    /// Zone, as far as it is given.
    pub zone: Zone<'a>,
}

/// What the receiver knows when it resolves a timestamp: its clock at receipt and the zone of its senders.
#[derive(Debug, Clone, Copy)]
pub struct Reception<'z> {
    received_us: i64,
    year: i16,
    zone: &'z TimeZone,
}

impl<'z> Reception<'z> {
    /// `received_us`: microseconds since the epoch. `zone`: of senders that do not give theirs.
    pub fn new(received_us: i64, zone: &'z TimeZone) -> Self {
        let received = Timestamp::from_microsecond(received_us).unwrap_or(Timestamp::UNIX_EPOCH);
        Self { received_us, year: Offset::UTC.to_datetime(received).year(), zone }
    }

    /// Microseconds since the epoch.
    pub fn received_us(&self) -> i64 {
        self.received_us
    }

    /// The instant that `written` means, in microseconds since the epoch; `None` if there is no such time or it lies more
    /// than [`AHEAD_MAX_US`] ahead of the receipt.
    ///
    /// Without a year it is the latest instant, of this year's, the last and the next one's, that is not too far ahead;
    /// 29 February exists in leap years only. A local time that exists twice or never (clock changes) is read in the way
    /// that brings it closest to the receipt.
    ///
    /// ```
    /// use jiff::tz::TimeZone;
    /// use syslog::time::{Reception, WrittenTime, Zone};
    ///
    /// let new_year = 1_735_689_601_000_000; // 2025-01-01T00:00:01Z
    /// let written = WrittenTime { year: None, month: 12, day: 31, hour: 23, minute: 59, second: 58, micros: 0, zone: Zone::Listener };
    /// let resolved = Reception::new(new_year, &TimeZone::UTC).resolve(&written);
    /// assert_eq!(resolved, Some(new_year - 3_000_000)); // three seconds ago, not in a year
    /// ```
    pub fn resolve(&self, written: &WrittenTime<'_>) -> Option<i64> {
        let believed = |time: &i64| *time <= self.received_us.saturating_add(AHEAD_MAX_US);
        match written.year {
            Some(year) => self.instant(written, year).filter(believed),
            None => [1, 0, -1].into_iter().find_map(|step| self.instant(written, self.year.checked_add(step)?).filter(believed)),
        }
    }

    /// Limits a time that needs no resolving (kernel, journal) in the same way.
    pub fn believe(&self, time_us: i64) -> Option<i64> {
        (time_us <= self.received_us.saturating_add(AHEAD_MAX_US)).then_some(time_us)
    }

    fn instant(&self, written: &WrittenTime<'_>, year: i16) -> Option<i64> {
        let leap = i64::from(written.second == 60) * 1_000_000;
        let nanos = written.micros.checked_mul(1_000)?;
        let local = DateTime::new(year, written.month, written.day, written.hour, written.minute, written.second.min(59), nanos).ok()?;
        if let Zone::Offset(offset_s) = written.zone {
            return Some(at_offset(local, Offset::from_seconds(offset_s).ok()?)? + leap);
        }
        let as_utc = at_offset(local, Offset::UTC)?;
        if as_utc - ZONE_MAX_US > self.received_us.saturating_add(AHEAD_MAX_US) {
            return None;
        }
        let (first, second) = match self.zone.to_ambiguous_timestamp(local).offset() {
            AmbiguousOffset::Unambiguous { offset } => (offset, offset),
            AmbiguousOffset::Gap { before, after } | AmbiguousOffset::Fold { before, after } => (before, after),
        };
        if let Zone::Named(name) = written.zone {
            let named = [first, second].into_iter().find(|offset| self.is_named(local, *offset, name));
            if let Some(offset) = named.or_else(|| Offset::from_seconds(abbreviation_offset_s(name)?).ok()) {
                return Some(at_offset(local, offset)? + leap);
            }
        }
        let candidates = [at_offset(local, first)?, at_offset(local, second)?];
        candidates.into_iter().min_by_key(|time| time.abs_diff(self.received_us)).map(|time| time + leap)
    }

    /// Does the listener's own zone call this offset by that name?
    fn is_named(&self, local: DateTime, offset: Offset, name: &str) -> bool {
        offset.to_timestamp(local).is_ok_and(|time| {
            let info = self.zone.to_offset_info(time);
            info.offset() == offset && info.abbreviation() == name
        })
    }
}

fn at_offset(local: DateTime, offset: Offset) -> Option<i64> {
    offset.to_timestamp(local).ok().map(Timestamp::as_microsecond)
}

/// Seconds east of UTC of the abbreviations that mean one thing to nearly everybody: those of RFC 822 (5.1) and of Europe.
pub fn abbreviation_offset_s(name: &str) -> Option<i32> {
    let hours = match name {
        "Z" | "UT" | "UTC" | "GMT" | "WET" => 0,
        "CET" | "WEST" => 1,
        "CEST" | "EET" => 2,
        "EEST" | "MSK" => 3,
        "EDT" => -4,
        "EST" | "CDT" => -5,
        "CST" | "MDT" => -6,
        "MST" | "PDT" => -7,
        "PST" => -8,
        _ => return None,
    };
    Some(hours * 3_600)
}

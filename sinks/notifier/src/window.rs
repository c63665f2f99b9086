//! Times of the week in which a route holds: `mon-fri 08:00-18:00 Europe/Berlin`, `sat,sun`, `22:00-06:00`.
//!
//! A span that passes midnight belongs to the day on which it begins. Without a zone, this machine's holds.

use std::{fmt, str::FromStr};

use jiff::{Timestamp, civil::Weekday, tz::TimeZone};
use schemas::EventTime;

const DAYS: [&str; 7] = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];
const DAY_MINUTES: u16 = 24 * 60;

/// Some hours of some days of every week.
#[derive(Debug, Clone)]
pub struct Window {
    text: String,
    /// From Monday on.
    days: [bool; 7],
    /// Minutes of the day: from the first, to before the second.
    from: u16,
    to: u16,
    zone: TimeZone,
}

/// A text that is no window.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("found {found:?}, expected {expected}")]
pub struct WindowError {
    /// The text.
    pub found: String,
    /// What would have been understood.
    pub expected: String,
}

impl Window {
    /// Whether a time lies in it.
    pub fn contains(&self, time: EventTime) -> bool {
        let Ok(stamp) = Timestamp::from_nanosecond(time.0.into()) else { return false };
        let local = stamp.to_zoned_datetime(self.zone.clone());
        let minute = u16::from(local.hour().unsigned_abs()) * 60 + u16::from(local.minute().unsigned_abs());
        let is_day =
            |weekday: Weekday| self.days.get(usize::from(weekday.to_monday_zero_offset().unsigned_abs())).copied().unwrap_or(false);
        let (today, yesterday) = (local.weekday(), local.weekday().previous());
        if self.from < self.to {
            return is_day(today) && (self.from..self.to).contains(&minute);
        }
        (is_day(today) && minute >= self.from) || (is_day(yesterday) && minute < self.to)
    }
}

impl FromStr for Window {
    type Err = WindowError;

    fn from_str(text: &str) -> Result<Self, WindowError> {
        let wrong = |expected: &str| WindowError { found: text.into(), expected: expected.into() };
        let form =
            || wrong("days, hours and a zone, each or any, such as \"mon-fri 08:00-18:00 Europe/Berlin\", \"sat,sun\" or \"22:00-06:00\"");
        let mut this = Self { text: text.into(), days: [true; 7], from: 0, to: DAY_MINUTES, zone: TimeZone::system() };
        let mut words = text.split_whitespace().peekable();
        if words.peek().is_none() {
            return Err(form());
        }
        if let Some(days) = words.peek().and_then(|word| days(word)) {
            this.days = days;
            words.next();
        }
        if let Some((from, to)) = words.peek().and_then(|word| hours(word)) {
            (this.from, this.to) = (from, to);
            words.next();
        }
        if let Some(name) = words.next() {
            this.zone = match name {
                "UTC" => TimeZone::UTC,
                other => TimeZone::get(other).map_err(|_| wrong("hours such as 08:00-18:00, or a zone of this machine's tz database"))?,
            };
        }
        if words.next().is_some() { Err(form()) } else { Ok(this) }
    }
}

/// `mon`, `mon-fri`, `sat,sun`.
fn days(text: &str) -> Option<[bool; 7]> {
    let number = |name: &str| DAYS.iter().position(|day| *day == name.to_ascii_lowercase());
    let mut days = [false; 7];
    for part in text.split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last) = (number(first)?, number(last)?);
        let length = (last + 7 - first) % 7;
        (0..=length).for_each(|n| days.get_mut((first + n) % 7).into_iter().for_each(|day| *day = true));
    }
    Some(days)
}

/// `08:00-18:00`, in minutes of the day.
fn hours(text: &str) -> Option<(u16, u16)> {
    let minute = |text: &str| {
        let (hour, minute) = text.split_once(':')?;
        let is_short = (1..=2).contains(&hour.len()) && minute.len() == 2;
        let (hour, minute) = (hour.parse::<u16>().ok()?, minute.parse::<u16>().ok()?);
        (is_short && minute < 60 && hour * 60 + minute <= DAY_MINUTES).then_some(hour * 60 + minute)
    };
    let (from, to) = text.split_once('-')?;
    let (from, to) = (minute(from)?, minute(to)?);
    (from < DAY_MINUTES && from != to).then_some((from, to))
}

impl fmt::Display for Window {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> EventTime {
        EventTime::parse(text).expect("a time")
    }

    #[test]
    fn days_and_hours_are_those_of_the_zone() {
        let window: Window = "mon-fri 08:00-18:00 Europe/Berlin".parse().expect("a window");
        // 2026-11-24 is a Tuesday; Berlin is an hour ahead in winter.
        for (time, expected) in [
            ("2026-11-24T06:59:59Z", false),
            ("2026-11-24T07:00:00Z", true),
            ("2026-11-24T16:59:59Z", true),
            ("2026-11-24T17:00:00Z", false),
            ("2026-11-22T10:00:00Z", false),
            ("2026-07-14T06:30:00Z", true),
        ] {
            assert_eq!(window.contains(at(time)), expected, "{time}");
        }
    }

    #[test]
    fn a_night_belongs_to_the_day_on_which_it_begins() {
        let window: Window = "fri 22:00-06:00 UTC".parse().expect("a window");
        for (time, expected) in [
            ("2026-11-27T21:59:00Z", false),
            ("2026-11-27T22:00:00Z", true),
            ("2026-11-28T05:59:00Z", true),
            ("2026-11-28T06:00:00Z", false),
            ("2026-11-28T22:00:00Z", false),
            ("2026-11-27T05:00:00Z", false),
        ] {
            assert_eq!(window.contains(at(time)), expected, "{time}");
        }
    }

    #[test]
    fn parts_may_be_left_out() {
        let contains = |text: &str, time: &str| text.parse::<Window>().expect(text).contains(at(time));
        assert!(contains("sat,sun UTC", "2026-11-28T12:00:00Z") && !contains("sat,sun UTC", "2026-11-24T12:00:00Z"));
        assert!(contains("sun-tue UTC", "2026-11-23T12:00:00Z") && !contains("sun-tue UTC", "2026-11-25T12:00:00Z"));
        assert!(contains("00:00-24:00 UTC", "2026-11-24T23:59:59Z"));
        assert!("mon".parse::<Window>().is_ok());
    }

    #[test]
    fn anything_else_says_what_would_do() {
        for text in
            ["", "someday", "mon-fri 8-18", "25:00-26:00", "08:00-08:00", "mon 08:00-18:00 Nowhere/City", "mon UTC now", "08:60-09:00"]
        {
            assert!(text.parse::<Window>().expect_err(text).to_string().contains("expected"), "{text}");
        }
    }
}

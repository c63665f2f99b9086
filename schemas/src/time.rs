//! Event time: when something happened, as far as its source knows.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// Nanoseconds since the Unix epoch, UTC (OTLP's unit; range 1677 to 2262).
///
/// `Display`, JSON and [`EventTime::parse`] use RFC 3339 with milliseconds, as the alert topics do.
///
/// ```
/// use schemas::EventTime;
/// let t = EventTime::from_millis(1_700_000_000_123);
/// assert_eq!(t.to_string(), "2023-11-14T22:13:20.123Z");
/// assert_eq!(EventTime::parse("2023-11-14T22:13:20.123Z"), Some(t));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct EventTime(pub i64);

const NANOS_PER_MILLI: i64 = 1_000_000;
const MILLIS_PER_DAY: i64 = 86_400_000;

impl EventTime {
    /// The earliest time there is.
    pub const MIN: Self = Self(i64::MIN);

    /// From microseconds; saturates at the ends of the range.
    pub const fn from_micros(micros: i64) -> Self {
        Self(micros.saturating_mul(1_000))
    }

    /// From milliseconds; saturates at the ends of the range.
    pub const fn from_millis(millis: i64) -> Self {
        Self(millis.saturating_mul(NANOS_PER_MILLI))
    }

    /// Whole microseconds, rounded down.
    pub const fn micros(self) -> i64 {
        self.0.div_euclid(1_000)
    }

    /// Whole milliseconds, rounded down.
    pub const fn millis(self) -> i64 {
        self.0.div_euclid(NANOS_PER_MILLI)
    }

    /// Later by `millis`; saturates.
    pub const fn plus_millis(self, millis: i64) -> Self {
        Self(self.0.saturating_add(millis.saturating_mul(NANOS_PER_MILLI)))
    }

    /// Milliseconds from `earlier` to here, negative if it is later; saturates.
    pub const fn millis_since(self, earlier: Self) -> i64 {
        self.0.saturating_sub(earlier.0) / NANOS_PER_MILLI
    }

    /// Reads RFC 3339 in UTC (`Z`), with any number of fractional digits up to nine. What `Display` writes of any time
    /// can be read.
    pub fn parse(text: &str) -> Option<Self> {
        let body = text.strip_suffix('Z')?;
        let (date, clock) = body.split_once('T')?;
        let mut date = date.splitn(3, '-').map(|p| p.parse::<i64>().ok());
        let (year, month, day) = (date.next()??, date.next()??, date.next()??);
        let (clock, fraction) = clock.split_once('.').unwrap_or((clock, ""));
        let mut clock = clock.splitn(3, ':').map(|p| p.parse::<i64>().ok());
        let (hour, minute, second) = (clock.next()??, clock.next()??, clock.next()??);
        let in_range = [(year, 1677..=2262), (month, 1..=12), (day, 1..=31), (hour, 0..=23), (minute, 0..=59), (second, 0..=60)];
        let in_range = in_range.iter().all(|(number, range)| range.contains(number));
        if !in_range || fraction.len() > 9 || !fraction.bytes().all(|b| b.is_ascii_digit()) {
            return None;
        }
        let nanos: i64 = format!("{fraction:0<9}").parse().ok()?;
        let seconds = days_from_civil(year, month, day) * 86_400 + hour * 3_600 + minute * 60 + second;
        let total = i128::from(seconds) * 1_000_000_000 + i128::from(nanos);
        // The range begins within a millisecond, which `Display` rounds down.
        let begins_before = total < i128::from(i64::MIN) && total.div_euclid(NANOS_PER_MILLI.into()) == Self::MIN.millis().into();
        if begins_before { Some(Self::MIN) } else { i64::try_from(total).ok().map(Self) }
    }
}

impl fmt::Display for EventTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let millis = self.millis();
        let (year, month, day) = civil_from_days(millis.div_euclid(MILLIS_PER_DAY));
        let in_day = millis.rem_euclid(MILLIS_PER_DAY);
        let (seconds, fraction) = (in_day / 1_000, in_day % 1_000);
        let (hour, minute, second) = (seconds / 3_600, seconds / 60 % 60, seconds % 60);
        write!(f, "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{fraction:03}Z")
    }
}

impl Serialize for EventTime {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() { serializer.collect_str(self) } else { serializer.serialize_i64(self.0) }
    }
}

impl<'de> Deserialize<'de> for EventTime {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        if !deserializer.is_human_readable() {
            return i64::deserialize(deserializer).map(Self);
        }
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        Self::parse(&text)
            .ok_or_else(|| de::Error::invalid_value(de::Unexpected::Str(&text), &"a UTC time in RFC 3339, e.g. 2023-11-14T22:13:20.123Z"))
    }
}

/// Days since 1970-01-01 of a date of the proleptic Gregorian calendar (Howard Hinnant, "chrono-compatible low-level date algorithms").
fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468
}

/// The inverse of [`days_from_civil`].
fn civil_from_days(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let era = days.div_euclid(146_097);
    let day_of_era = days.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    (year, month, day_of_year - (153 * shifted + 2) / 5 + 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_ends_of_the_range_survive_text() {
        assert_eq!(EventTime::parse(&EventTime::MIN.to_string()), Some(EventTime::MIN));
        let last = EventTime::from_millis(EventTime(i64::MAX).millis());
        assert_eq!(EventTime::parse(&EventTime(i64::MAX).to_string()), Some(last));
        assert_eq!(EventTime::parse("1677-09-21T00:12:43.144Z"), None);
        assert_eq!(EventTime::parse("2262-04-11T23:47:16.855Z"), None);
        assert_eq!(EventTime::parse("9223372036854775807-01-01T00:00:00Z"), None);
    }

    proptest! {
        #[test]
        fn every_millisecond_survives_text(millis in EventTime::MIN.millis()..=EventTime(i64::MAX).millis()) {
            let t = EventTime::from_millis(millis);
            prop_assert_eq!(EventTime::parse(&t.to_string()), Some(t));
        }

        #[test]
        fn any_numbers_of_the_right_shape_are_read_or_refused(
            year in 1677..2263i64,
            numbers in proptest::array::uniform5(prop_oneof![-1..70i64, any::<i64>()]),
            fraction in "[0-9]{0,12}",
        ) {
            let [month, day, hour, minute, second] = numbers;
            let _ = EventTime::parse(&format!("{year}-{month}-{day}T{hour}:{minute}:{second}.{fraction}Z"));
        }

        #[test]
        fn parse_is_total(text in "\\PC{0,40}") {
            let _ = EventTime::parse(&text);
        }
    }
}

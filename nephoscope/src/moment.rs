//! Points in time as people write and read them: spans back from now, local clock times. JSON always has RFC 3339 in UTC.

use jiff::{SignedDuration, Span, SpanRelativeTo, Timestamp, civil::Date, tz::TimeZone};
use schemas::EventTime;
use stream_runtime::time::wall_clock;

/// Reads `15m`, `2h`, `1d` (that long ago), RFC 3339, or a date (its first moment, local time).
///
/// # Errors
/// What would have been understood.
pub fn since(text: &str) -> Result<EventTime, String> {
    let expected = || "expected a span such as 15m, 2h or 1d, a date, or a time such as 2026-02-03T04:05:06Z".to_string();
    if let Ok(time) = text.parse::<Timestamp>() {
        return Ok(from_jiff(time));
    }
    if let Ok(date) = text.parse::<Date>() {
        return date.to_zoned_datetime(TimeZone::system()).map(|zoned| from_jiff(zoned.timestamp())).map_err(|_| expected());
    }
    let span: Span = text.parse().map_err(|_| expected())?;
    let span = span.abs().to_duration(SpanRelativeTo::days_are_24_hours()).map_err(|_| expected())?;
    let millis = i64::try_from(span.as_millis()).map_err(|_| expected())?;
    Ok(wall_clock().plus_millis(-millis))
}

/// Reads a length of time, `15m`, `2h`, `1d`, in milliseconds; at most a year.
///
/// # Errors
/// What would have been understood.
pub fn length(text: &str) -> Result<i64, String> {
    const YEAR_MS: i64 = 366 * 86_400_000;
    let expected = || "expected a span such as 15m, 2h or 1d, at most a year".to_string();
    let span: Span = text.parse().map_err(|_| expected())?;
    let millis = span.to_duration(SpanRelativeTo::days_are_24_hours()).map_err(|_| expected())?.as_millis();
    i64::try_from(millis).ok().filter(|millis| (1_000..=YEAR_MS).contains(millis)).ok_or_else(expected)
}

/// Local date and time with milliseconds.
pub fn local(time: EventTime) -> String {
    let Ok(stamp) = Timestamp::from_nanosecond(time.0.into()) else { return time.to_string() };
    stamp.to_zoned_datetime(TimeZone::system()).strftime("%Y-%m-%d %H:%M:%S%.3f").to_string()
}

/// How long before `now`, in its largest unit.
pub fn ago(time: EventTime, now: EventTime) -> String {
    match now.millis_since(time) {
        ..0 => "now".into(),
        millis => format!("{} ago", span(millis / 1_000)),
    }
}

/// A length of time in its largest unit, rounded down.
pub fn span(seconds: i64) -> String {
    match seconds {
        ..60 => format!("{seconds}s"),
        60..3_600 => format!("{}m", seconds / 60),
        3_600..86_400 => format!("{}h", seconds / 3_600),
        _ => format!("{}d", seconds / 86_400),
    }
}

/// A length of time as it is said about a lasting trouble: `1h 4m 2s`.
pub fn lasting(from: EventTime, to: EventTime) -> String {
    let whole_seconds = SignedDuration::from_secs(to.millis_since(from).max(0) / 1_000);
    format!("{whole_seconds:#}")
}

fn from_jiff(time: Timestamp) -> EventTime {
    EventTime(i64::try_from(time.as_nanosecond()).unwrap_or(if time.as_second() < 0 { i64::MIN } else { i64::MAX }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_count_back_from_now() {
        for (text, millis) in [("15m", 900_000), ("2h", 7_200_000), ("1d", 86_400_000), ("1w", 604_800_000), ("90s", 90_000)] {
            let time = since(text).expect("is a span");
            let back = wall_clock().millis_since(time);
            assert!((millis..millis + 10_000).contains(&back), "{text}: {back}");
        }
    }

    #[test]
    fn a_length_has_an_end() {
        assert_eq!((length("2h"), length("90s")), (Ok(7_200_000), Ok(90_000)));
        for text in ["", "0s", "-2h", "2", "forever", "10y"] {
            assert!(length(text).is_err(), "{text}");
        }
    }

    #[test]
    fn times_of_any_zone_are_read() {
        assert_eq!(since("2023-11-14T22:13:20.123Z"), Ok(EventTime::from_millis(1_700_000_000_123)));
        assert_eq!(since("2023-11-14T23:13:20.123+01:00"), Ok(EventTime::from_millis(1_700_000_000_123)));
    }

    #[test]
    fn anything_else_says_what_would_do() {
        for text in ["", "soon", "12", "-", "2023-13-01", "9999999999999999y"] {
            assert!(since(text).expect_err(text).starts_with("expected a span"), "{text}");
        }
    }

    #[test]
    fn ages_use_their_largest_unit() {
        let now = EventTime::from_millis(10_000_000_000);
        let age = |seconds: i64| ago(now.plus_millis(-1_000 * seconds), now);
        assert_eq!(
            [age(-5), age(0), age(59), age(60), age(7_199), age(86_400)],
            ["now", "0s ago", "59s ago", "1m ago", "1h ago", "1d ago"]
        );
    }
}

//! Years, zones and clock changes.

use jiff::Timestamp;
use jiff::civil::{DateTime, date};
use jiff::tz::{Offset, TimeZone};
use syslog::time::{Reception, WrittenTime, Zone};

const DAY_US: i64 = 86_400_000_000;
const HOUR_US: i64 = 3_600_000_000;

fn written(local: DateTime) -> WrittenTime<'static> {
    WrittenTime {
        year: None,
        month: local.month(),
        day: local.day(),
        hour: local.hour(),
        minute: local.minute(),
        second: local.second(),
        micros: local.subsec_nanosecond() / 1_000,
        zone: Zone::Listener,
    }
}

fn micros(text: &str) -> i64 {
    text.parse::<Timestamp>().expect("a time").as_microsecond()
}

fn resolve(local: &str, received: &str, zone: &TimeZone) -> Option<Timestamp> {
    let written = written(local.parse().expect("a local time"));
    Reception::new(micros(received), zone).resolve(&written).map(|us| Timestamp::from_microsecond(us).expect("in range"))
}

fn at(text: &str) -> Option<Timestamp> {
    Some(text.parse().expect("a time"))
}

/// Every day of a full Gregorian cycle, received a day early, at once, a day late and nearly a year late, from UTC−14 to UTC+14.
#[test]
fn the_year_is_right_on_every_day_of_four_centuries() {
    for offset_h in [-14, 0, 14] {
        let zone = TimeZone::fixed(Offset::from_hours(offset_h).expect("in range"));
        let mut day = date(1900, 1, 1);
        for n in 0..146_097_i32 {
            let local = day.at(if n % 2 == 0 { 0 } else { 23 }, 59, 58, 0);
            let event_us = zone.to_timestamp(local).expect("in range").as_microsecond();
            let written = written(local);
            for delay_us in [-DAY_US, 0, DAY_US, 363 * DAY_US] {
                let resolved = Reception::new(event_us + delay_us, &zone).resolve(&written);
                assert_eq!(resolved, Some(event_us), "{local} at UTC{offset_h:+} received {delay_us} µs later");
            }
            let too_early = Reception::new(event_us - DAY_US - 1, &zone).resolve(&written);
            assert_ne!(too_early, Some(event_us), "{local}: more than a day ahead is not believed");
            day = day.tomorrow().expect("in range");
        }
    }
}

#[test]
fn new_year_at_the_edges_of_the_world() {
    let (east, west) = (TimeZone::fixed(Offset::constant(14)), TimeZone::fixed(Offset::constant(-12)));
    assert_eq!(resolve("2000-01-01T00:00:01", "2024-12-31T10:00:02Z", &east), at("2024-12-31T10:00:01Z"));
    assert_eq!(resolve("2000-12-31T23:59:59", "2024-12-31T10:00:02Z", &east), at("2024-12-31T09:59:59Z"));
    assert_eq!(resolve("2000-12-31T23:59:59", "2025-01-01T12:00:01Z", &west), at("2025-01-01T11:59:59Z"));
    assert_eq!(resolve("2000-01-01T00:00:00", "2025-01-01T11:59:59Z", &west), at("2025-01-01T12:00:00Z"));
}

#[test]
fn the_29th_of_february_is_in_a_leap_year_or_nowhere() {
    let utc = TimeZone::UTC;
    assert_eq!(resolve("2000-02-29T12:00:00", "2025-01-10T00:00:00Z", &utc), at("2024-02-29T12:00:00Z"));
    assert_eq!(resolve("2000-02-29T12:00:00", "2028-02-29T11:00:00Z", &utc), at("2028-02-29T12:00:00Z"));
    assert_eq!(resolve("2000-02-29T12:00:00", "2027-02-28T12:00:00Z", &utc), None);
}

/// Central European rules, as the POSIX string that the zone file of any city there ends with.
fn europe() -> TimeZone {
    TimeZone::posix("CET-1CEST,M3.5.0,M10.5.0/3").expect("a POSIX zone")
}

#[test]
fn an_hour_that_exists_twice_is_the_one_closest_to_the_receipt() {
    assert_eq!(resolve("2000-10-27T02:30:00", "2024-10-27T00:30:01Z", &europe()), at("2024-10-27T00:30:00Z"), "summer time");
    assert_eq!(resolve("2000-10-27T02:30:00", "2024-10-27T01:30:01Z", &europe()), at("2024-10-27T01:30:00Z"), "winter time");
}

#[test]
fn an_hour_that_never_was_is_read_in_the_way_closest_to_the_receipt() {
    // A sender that has not noticed the change still writes winter time.
    assert_eq!(resolve("2000-03-31T02:30:00", "2024-03-31T01:30:01Z", &europe()), at("2024-03-31T01:30:00Z"));
    assert_eq!(resolve("2000-03-31T02:30:00", "2024-03-31T00:30:01Z", &europe()), at("2024-03-31T00:30:00Z"));
}

#[test]
fn a_zone_name_settles_the_hour_that_exists_twice() {
    let received = micros("2024-10-27T03:00:00Z");
    let local = written("2024-10-27T02:30:00".parse().expect("a local time"));
    let (zone, mut times) = (europe(), Vec::new());
    for name in ["CEST", "CET"] {
        times.push(Reception::new(received, &zone).resolve(&WrittenTime { zone: Zone::Named(name), ..local }));
    }
    assert_eq!(times, [Some(micros("2024-10-27T00:30:00Z")), Some(micros("2024-10-27T01:30:00Z"))]);
}

/// `CST` is China's in China and America's elsewhere.
#[test]
fn the_listeners_zone_says_what_an_abbreviation_means() {
    let local = WrittenTime { zone: Zone::Named("CST"), ..written("2024-05-01T12:00:00".parse().expect("a local time")) };
    let received = micros("2024-05-01T20:00:00Z");
    let china = TimeZone::posix("CST-8").expect("a POSIX zone");
    assert_eq!(Reception::new(received, &china).resolve(&local), Some(micros("2024-05-01T04:00:00Z")));
    assert_eq!(Reception::new(received, &europe()).resolve(&local), Some(micros("2024-05-01T18:00:00Z")));
}

#[test]
fn a_time_more_than_a_day_ahead_is_not_believed() {
    let local = written("2024-05-02T12:00:00".parse().expect("a local time"));
    let dated = WrittenTime { year: Some(2024), zone: Zone::Offset(0), ..local };
    let received = micros("2024-05-01T12:00:00Z");
    let zone = TimeZone::UTC;
    assert_eq!(Reception::new(received, &zone).resolve(&dated), Some(received + DAY_US));
    assert_eq!(Reception::new(received - 1, &zone).resolve(&dated), None);
    assert_eq!(Reception::new(received, &zone).believe(received + DAY_US + 1), None);
    assert_eq!(Reception::new(received, &zone).believe(received + HOUR_US), Some(received + HOUR_US));
}

#[test]
fn a_leap_second_is_the_next_second() {
    let local = WrittenTime {
        year: Some(2016),
        second: 60,
        zone: Zone::Offset(0),
        ..written("2016-12-31T23:59:00".parse().expect("a local time"))
    };
    let received = micros("2017-01-01T00:00:01Z");
    assert_eq!(Reception::new(received, &TimeZone::UTC).resolve(&local), Some(received - 1_000_000));
}

#[test]
fn impossible_dates_have_no_time() {
    let base = written("2024-05-02T12:00:00".parse().expect("a local time"));
    for bad in [
        WrittenTime { month: 13, ..base },
        WrittenTime { day: 0, ..base },
        WrittenTime { month: 2, day: 30, ..base },
        WrittenTime { year: Some(-10_000), ..base },
    ] {
        assert_eq!(Reception::new(micros("2024-05-01T12:00:00Z"), &TimeZone::UTC).resolve(&bad), None, "{bad:?}");
    }
    assert!(Reception::new(i64::MAX, &TimeZone::UTC).resolve(&WrittenTime { year: Some(2024), ..base }).is_some());
}

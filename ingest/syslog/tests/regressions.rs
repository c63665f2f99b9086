//! What went wrong in other receivers, each by its name.

use jiff::Timestamp;
use jiff::tz::TimeZone;
use rustix::time::{ClockId, clock_gettime};
use schemas::ParseStatus;
use syslog::frame::{Deframer, FrameLimits};
use syslog::kmsg::KernelRecord;
use syslog::{Message, Reception};

fn received_us() -> i64 {
    "2025-01-01T00:00:05Z".parse::<Timestamp>().expect("a time").as_microsecond()
}

fn parse(line: &[u8]) -> Message<'_> {
    Message::parse(line, &Reception::new(received_us(), &TimeZone::UTC))
}

fn frames(stream: &[u8]) -> Vec<Vec<u8>> {
    let mut deframer = Deframer::new(FrameLimits { frame_bytes_max: 200_000, head_bytes_max: 65_536 });
    deframer.push(stream);
    std::iter::from_fn(|| deframer.next_frame().map(|f| f.bytes.to_vec())).collect()
}

/// Vector #20147.
#[test]
fn a_parse_failure_drops_no_frame() {
    for stream in [&b"<34>1 garbage\n"[..], b"13 <34>1 garbage\n", b"<999>1 - - - - - -\n", b"\xff\xfe\n"] {
        let frames = frames(stream);
        assert_eq!(frames.len(), 1);
        let message = parse(&frames[0]);
        assert_eq!(message.status, ParseStatus::Plain);
        assert_eq!(message.text.end, frames[0].len());
    }
}

/// Vector #26103: every line of such a sender was lost.
#[test]
fn an_ipv6_host_may_end_in_two_colons() {
    let message = parse(b"<13>Jan  1 00:00:01 2001:db8:: su: text");
    assert_eq!((message.host, message.app_name), (Some("2001:db8::"), Some("su")));
    let message = parse(b"<13>Jan  1 00:00:01 fe80::1: text");
    assert_eq!((message.host, message.app_name), (None, Some("fe80::1")), "one colon ends a tag, even of this look");
}

/// Vector #7796.
#[test]
fn text_in_brackets_is_no_structured_data() {
    for line in [&b"<13>Jan  1 00:00:01 host app: [error] [client 192.0.2.1] x"[..], b"<13>1 - host app - - - [error] [client 192.0.2.1] x"]
    {
        let message = parse(line);
        assert!(message.structured_data.is_empty());
        assert_eq!(&line[message.text.clone()], b"[error] [client 192.0.2.1] x");
    }
}

/// Vector #9928.
#[test]
fn a_cisco_prefix_does_not_hide_the_time() {
    let message = parse(b"<189>4711: *Dec 31 23:59:59.000: %SYS-5-CONFIG_I: Configured");
    assert_eq!((message.time_us, message.app_name), (Some(received_us() - 6_000_000), Some("%SYS-5-CONFIG_I")));
}

/// Vector #22644.
#[test]
fn a_missing_priority_is_null_not_a_default() {
    let message = parse(b"Jan  1 00:00:01 host app[3]: text");
    assert_eq!((message.facility, message.severity, message.host, message.proc_id), (None, None, Some("host"), Some("3")));
}

/// Vector #19584.
#[test]
fn a_line_of_last_december_is_not_of_next_december() {
    assert_eq!(parse(b"<13>Dec 31 23:59:59 host app: x").time_us, Some(received_us() - 6_000_000));
}

/// Vector #21334.
#[test]
fn local_time_is_not_utc() {
    let tokyo = TimeZone::posix("JST-9").expect("a POSIX zone");
    let message = Message::parse(b"<13>Jan  1 09:00:00 host app: x", &Reception::new(received_us(), &tokyo));
    assert_eq!(message.time_us, Some(received_us() - 5_000_000));
}

/// Datadog agent PR #54492.
#[test]
fn a_leading_digit_is_no_count() {
    for line in [&b"2025 Jan  1 00:00:01 host app: year first"[..], b"12 monkeys", b"5 <b>bold</b>", b"1 <13"] {
        assert_eq!(frames(&[line, b"\n"].concat()), [line]);
    }
}

/// Datadog agent PR #54492.
#[test]
fn a_one_digit_day_may_be_padded_with_a_space_a_zero_or_nothing() {
    for line in [&b"<13>Jan  1 00:00:01 h a: x"[..], b"<13>Jan 01 00:00:01 h a: x", b"<13>Jan 1 00:00:01 h a: x"] {
        assert_eq!(parse(line).time_us, Some(received_us() - 4_000_000));
    }
}

/// fluentd #2982.
#[test]
fn the_count_does_not_cover_the_space_before_the_message() {
    assert_eq!(frames(b"6 <13>ab6 <13>cd"), [b"<13>ab", b"<13>cd"]);
}

/// rsyslog's imtcp takes a frame above its limit for lines from there on, and so tears the ones behind it.
#[test]
fn a_frame_above_the_limit_does_not_tear_those_behind_it() {
    let stream = [b"200100 <13>".as_slice(), &vec![b'\n'; 200_096], b"6 <13>ab"].concat();
    let frames = frames(&stream);
    assert_eq!(frames.iter().map(Vec::len).collect::<Vec<_>>(), [65_536, 6]);
}

fn cpu_ns() -> i128 {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    i128::from(time.tv_sec) * 1_000_000_000 + i128::from(time.tv_nsec)
}

/// Least thread CPU time of three runs.
fn cost_ns(work: impl Fn()) -> i128 {
    let run = || {
        let start = cpu_ns();
        work();
        cpu_ns() - start
    };
    (0..3).map(|_| run()).min().expect("three runs").max(1)
}

/// fluent-bit #775, node-problem-detector #960: a regex that runs back pinned a core. Sixteen times the line costs about
/// sixteen times as much (four times that is allowed for noise; quadratic would be sixteen times that).
#[test]
fn no_line_costs_more_than_its_length() {
    let (small, large) = (64 * 1024, 1024 * 1024);
    for unit in ["[", "\\", "\"", "a:", "[a b=\"c\"]", "Jan ", "1 ", "<1", "9: ", "\\x41"] {
        let line =
            |bytes: usize| -> Vec<u8> { [b"<13>1 - - - - - [a b=\"".as_slice(), unit.repeat(bytes / unit.len()).as_bytes()].concat() };
        let tail =
            |bytes: usize| -> Vec<u8> { [b"<13>Jan  1 00:00:01 h ".as_slice(), unit.repeat(bytes / unit.len()).as_bytes()].concat() };
        let cost = |bytes: usize| {
            let lines = [line(bytes), tail(bytes), unit.repeat(bytes / unit.len()).into_bytes()];
            cost_ns(|| {
                for line in &lines {
                    std::hint::black_box(parse(line).structured_data.to_map());
                    std::hint::black_box(KernelRecord::parse(line).map(|r| r.text().len()));
                    std::hint::black_box(frames(line));
                }
            })
        };
        let (short, long) = (cost(small), cost(large));
        assert!(long < short * 64, "{unit:?}: {short} ns for 64 KiB, {long} ns for 1 MiB");
    }
}

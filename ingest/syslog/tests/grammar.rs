//! What the grammars make of lines as senders write them.

use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan};
use proptest::prelude::*;
use schemas::ParseStatus;
use syslog::{Message, Reception};

fn received() -> Timestamp {
    "2024-11-24T12:00:00Z".parse().expect("a time")
}

fn parse(line: &[u8]) -> Message<'_> {
    let zone = TimeZone::posix("CET-1CEST,M3.5.0,M10.5.0/3").expect("a POSIX zone");
    Message::parse(line, &Reception::new(received().as_microsecond(), &zone))
}

fn text<'a>(line: &'a [u8], message: &Message<'_>) -> &'a str {
    std::str::from_utf8(&line[message.text.clone()]).expect("UTF-8")
}

/// One line of a table: the line, then host, program, process id and text that it must give, and the time in UTC.
type Row<'a> = (&'a str, Option<&'a str>, Option<&'a str>, Option<&'a str>, &'a str, Option<&'a str>);

fn check(rows: &[Row<'_>], status: ParseStatus) {
    for (line, host, app, pid, expected, time) in rows {
        let message = parse(line.as_bytes());
        let time = time.map(|t| t.parse::<Timestamp>().expect("a time").as_microsecond());
        assert_eq!(
            (message.host, message.app_name, message.proc_id, text(line.as_bytes(), &message), message.time_us, message.status),
            (*host, *app, *pid, *expected, time, status),
            "{line}"
        );
    }
}

#[test]
fn rfc_5424_with_its_own_examples() {
    let rows: &[Row<'_>] = &[
        (
            "<34>1 2003-10-11T22:14:15.003Z mymachine.example.com su - ID47 - \u{feff}'su root' failed for lonvick on /dev/pts/8",
            Some("mymachine.example.com"),
            Some("su"),
            None,
            "'su root' failed for lonvick on /dev/pts/8",
            Some("2003-10-11T22:14:15.003Z"),
        ),
        (
            "<165>1 2003-08-24T05:14:15.000003-07:00 192.0.2.1 myproc 8710 - - %% It's time to make the do-nuts.",
            Some("192.0.2.1"),
            Some("myproc"),
            Some("8710"),
            "%% It's time to make the do-nuts.",
            Some("2003-08-24T12:14:15.000003Z"),
        ),
        (
            "<165>1 2003-10-11T22:14:15.003Z mymachine.example.com evntslog - ID47 [exampleSDID@32473 iut=\"3\" eventSource=\"Application\" eventID=\"1011\"] An application event log entry...",
            Some("mymachine.example.com"),
            Some("evntslog"),
            None,
            "An application event log entry...",
            Some("2003-10-11T22:14:15.003Z"),
        ),
        (
            "<165>1 2003-10-11T22:14:15.003Z mymachine.example.com evntslog - ID47 [a@1 b=\"c\"][d@2]",
            Some("mymachine.example.com"),
            Some("evntslog"),
            None,
            "",
            Some("2003-10-11T22:14:15.003Z"),
        ),
        ("<0>1 - - - - - -", None, None, None, "", None),
        ("<0>1 - 2001:db8:: a - - - [not=\"data\"] text", Some("2001:db8::"), Some("a"), None, "[not=\"data\"] text", None),
        (
            "1 2003-10-11T22:14:15.123456789Z h a p m - nine digits, no priority",
            Some("h"),
            Some("a"),
            Some("p"),
            "nine digits, no priority",
            Some("2003-10-11T22:14:15.123456Z"),
        ),
    ];
    check(rows, ParseStatus::Rfc5424);
}

#[test]
fn structured_data_is_unescaped_and_repeated_parameters_are_joined() {
    let line = br#"<13>1 - - - - - [a@1 x="\"q\" \] \\ \n" y=""][origin ip="192.0.2.1" ip="192.0.2.129"][empty] t"#;
    let message = parse(line);
    assert_eq!(text(line, &message), "t");
    let map = message.structured_data.to_map();
    assert_eq!(map["a@1"]["x"], r#""q" ] \ \n"#);
    assert_eq!(map["a@1"]["y"], "");
    assert_eq!(map["origin"]["ip"], "192.0.2.1,192.0.2.129");
    assert!(map["empty"].is_empty());
}

#[test]
fn what_breaks_rfc_5424_is_still_published() {
    let long = "h".repeat(256);
    for line in [
        "<13>1 2003-10-11T22:14:15 host app - - - no offset".to_owned(),
        "<13>1 2003-10-11t22:14:15Z host app - - - small t".to_owned(),
        "<13>1 2003-10-11T24:14:15Z host app - - - hour 24".to_owned(),
        "<13>1 - host app - - [a b=\"c] open".to_owned(),
        "<13>1 - host app - - [a b=\"c\"".to_owned(),
        "<13>1 - host app - - text without structured data".to_owned(),
        "<13>1 -  app - - - empty host".to_owned(),
        format!("<13>1 - {long} app - - - long host"),
        "<13>2 - host app - - - version 2".to_owned(),
    ] {
        let message = parse(line.as_bytes());
        assert_eq!((message.status, message.facility, message.severity), (ParseStatus::Plain, Some(1), Some(5)), "{line}");
        assert_eq!(text(line.as_bytes(), &message), &line[4..]);
    }
}

#[test]
fn rfc_3164_and_its_dialects() {
    let rows: &[Row<'_>] = &[
        (
            "<34>Oct 11 22:14:15 mymachine su: 'su root' failed",
            Some("mymachine"),
            Some("su"),
            None,
            "'su root' failed",
            Some("2024-10-11T20:14:15Z"),
        ),
        ("<13>Feb  5 17:32:18 10.0.0.99 Use the BFG!", Some("10.0.0.99"), None, None, "Use the BFG!", Some("2024-02-05T16:32:18Z")),
        ("<13>Nov 24 07:45:01 cron[99]: no host", None, Some("cron"), Some("99"), "no host", Some("2024-11-24T06:45:01Z")),
        ("<13>Nov 24 07:45:01 root: no host", None, Some("root"), None, "no host", Some("2024-11-24T06:45:01Z")),
        ("<13>Nov 24 07:45:01 h postfix/smtpd[7]: x", Some("h"), Some("postfix/smtpd"), Some("7"), "x", Some("2024-11-24T06:45:01Z")),
        ("<13>Nov 24 07:45:01 h sshd(pam_unix)[7]: x", Some("h"), Some("sshd(pam_unix)"), Some("7"), "x", Some("2024-11-24T06:45:01Z")),
        ("<13>Nov 24 07:45:01 h app[7] no colon", Some("h"), Some("app"), Some("7"), "no colon", Some("2024-11-24T06:45:01Z")),
        (
            "<13>Nov 24 07:45:01 h kernel: [   12.345678] eth0: up",
            Some("h"),
            Some("kernel"),
            None,
            "[   12.345678] eth0: up",
            Some("2024-11-24T06:45:01Z"),
        ),
        ("<13>Nov 24 07:45:01 h http://x/y was asked", Some("h"), None, None, "http://x/y was asked", Some("2024-11-24T06:45:01Z")),
        ("<13>Nov 24 07:45:01 h", None, None, None, "h", Some("2024-11-24T06:45:01Z")),
        ("<13>Nov 24 07:45:01", None, None, None, "", Some("2024-11-24T06:45:01Z")),
        ("<13>Nov 24 07:45:01.123 h a: x", Some("h"), Some("a"), None, "x", Some("2024-11-24T06:45:01.123Z")),
        ("<13>Nov 24 2023 07:45:01 h a: x", Some("h"), Some("a"), None, "x", Some("2023-11-24T06:45:01Z")),
        ("<13>Nov 24 07:45:01 2023 h a: x", Some("h"), Some("a"), None, "x", Some("2023-11-24T06:45:01Z")),
        ("<13>2023 Nov 24 07:45:01 h a: x", Some("h"), Some("a"), None, "x", Some("2023-11-24T06:45:01Z")),
        ("<13>2024-11-24T07:45:01.5+02:00 h a: x", Some("h"), Some("a"), None, "x", Some("2024-11-24T05:45:01.5Z")),
        ("<13>2024-11-24T07:45:01Z h a: x", Some("h"), Some("a"), None, "x", Some("2024-11-24T07:45:01Z")),
        ("<13>2024-11-24 07:45:01,250 -0500 h a: x", Some("h"), Some("a"), None, "x", Some("2024-11-24T12:45:01.25Z")),
        ("<13>Nov 24 07:45:01 UTC h a: x", Some("h"), Some("a"), None, "x", Some("2024-11-24T07:45:01Z")),
        ("<13>Nov 24 07:45:01 +0100 h a: x", Some("h"), Some("a"), None, "x", Some("2024-11-24T06:45:01Z")),
        ("<13>Nov 24 07:45:01 CRON: no zone, no host", None, Some("CRON"), None, "no zone, no host", Some("2024-11-24T06:45:01Z")),
        ("<13>Nov 24 7:45:01 h a: x", Some("h"), Some("a"), None, "x", Some("2024-11-24T06:45:01Z")),
        ("<13>Foo[12]: no time", None, Some("Foo"), Some("12"), "no time", None),
        ("<13>Feb 31 07:45:01 h a: a day that never is", Some("h"), Some("a"), None, "a day that never is", None),
    ];
    check(rows, ParseStatus::Rfc3164);
}

#[test]
fn cisco_writes_it_in_its_own_way() {
    let rows: &[Row<'_>] = &[
        (
            "<189>29: *Mar  1 18:48:50.483 UTC: %SYS-5-CONFIG_I: Configured",
            None,
            Some("%SYS-5-CONFIG_I"),
            None,
            "Configured",
            Some("2024-03-01T18:48:50.483Z"),
        ),
        (
            "<189>000029: .Mar  1 18:48:50: %SYS-5-CONFIG_I: Configured",
            None,
            Some("%SYS-5-CONFIG_I"),
            None,
            "Configured",
            Some("2024-03-01T17:48:50Z"),
        ),
        (
            "<189>29: router1: *Mar  1 18:48:50.483: %LINK-3-UPDOWN: down",
            Some("router1"),
            Some("%LINK-3-UPDOWN"),
            None,
            "down",
            Some("2024-03-01T17:48:50.483Z"),
        ),
        ("<189>29: *Mar  1 18:48:50 IST: %SYS-5-RESTART: up", None, Some("%SYS-5-RESTART"), None, "up", Some("2024-03-01T17:48:50Z")),
        (
            "<189>: 2024 Mar 11 12:34:56 UTC: %ETHPORT-5-IF_UP: Interface",
            None,
            Some("%ETHPORT-5-IF_UP"),
            None,
            "Interface",
            Some("2024-03-11T12:34:56Z"),
        ),
        ("<166>Mar 29 2024 12:34:56: %ASA-6-302013: Built", None, Some("%ASA-6-302013"), None, "Built", Some("2024-03-29T11:34:56Z")),
        (
            "<166>Mar 29 2024 12:34:56 fw1 : %ASA-6-302013: Built",
            Some("fw1"),
            Some("%ASA-6-302013"),
            None,
            "Built",
            Some("2024-03-29T11:34:56Z"),
        ),
    ];
    check(rows, ParseStatus::Rfc3164);
}

#[test]
fn files_without_priority() {
    let rows: &[Row<'_>] = &[
        ("Nov 24 07:45:01 h cron[99]: x", Some("h"), Some("cron"), Some("99"), "x", Some("2024-11-24T06:45:01Z")),
        ("2024-11-24T07:45:01.123456+01:00 h kernel: x", Some("h"), Some("kernel"), None, "x", Some("2024-11-24T06:45:01.123456Z")),
        ("2024-11-24 07:45:01,123 INFO loader: ready", None, None, None, "INFO loader: ready", Some("2024-11-24T06:45:01.123Z")),
        ("2024-11-24 07:45:01 status installed foo", None, None, None, "status installed foo", Some("2024-11-24T06:45:01Z")),
        ("Nov 24 07:45:01 last message repeated 3 times", None, None, None, "last message repeated 3 times", Some("2024-11-24T06:45:01Z")),
    ];
    check(rows, ParseStatus::Rfc3164);
}

#[test]
fn plain_text_is_a_message() {
    let rows: &[Row<'_>] = &[
        ("just text", None, None, None, "just text", None),
        ("", None, None, None, "", None),
        ("<192>no such priority", None, None, None, "<192>no such priority", None),
        ("<1x>", None, None, None, "<1x>", None),
        ("<", None, None, None, "<", None),
        ("<13>error: no tag without a time", None, None, None, "error: no tag without a time", None),
        ("<13>May the force be with you", None, None, None, "May the force be with you", None),
        ("123: counted", None, None, None, "123: counted", None),
    ];
    check(rows, ParseStatus::Plain);
}

#[test]
fn line_ends_and_terminating_nul_are_no_text() {
    for end in ["", "\n", "\r\n", "\0", "\n\0"] {
        let line = format!("<14>Nov 24 07:45:01 h a: hello{end}");
        assert_eq!(text(line.as_bytes(), &parse(line.as_bytes())), "hello");
    }
}

#[test]
fn bytes_that_are_no_text_stay_in_the_message() {
    let line = b"<14>Nov 24 07:45:01 h a: \xff\xfe\0x";
    let message = parse(line);
    assert_eq!((message.app_name, &line[message.text.clone()]), (Some("a"), &b"\xff\xfe\0x"[..]));
    let line = b"<14>Nov 24 07:45:01 h \xff\xfe: x";
    let message = parse(line);
    assert_eq!((message.app_name, &line[message.text.clone()]), (None, &b"\xff\xfe: x"[..]));
}

fn word() -> impl Strategy<Value = String> {
    "[a-z][a-z0-9.-]{0,20}"
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn the_parser_is_total_and_keeps_its_ranges(line in prop::collection::vec(any::<u8>(), 0..300)) {
        let message = parse(&line);
        prop_assert!(line.get(message.text.clone()).is_some());
        prop_assert!(message.facility.is_none_or(|f| f < 24) && message.severity.is_none_or(|s| s < 8));
        let _ = message.structured_data.to_map();
    }

    /// Near misses reach deeper than random bytes: a good line with one byte changed.
    #[test]
    fn one_wrong_byte_never_loses_the_text(at in any::<prop::sample::Index>(), byte in any::<u8>(), which in 0usize..3) {
        let lines: [&[u8]; 3] = [
            b"<34>1 2003-10-11T22:14:15.003Z host su 12 ID47 [a@1 b=\"c\"] the text",
            b"<34>Oct 11 22:14:15 host su[12]: the text",
            b"<189>29: *Mar  1 18:48:50.483 UTC: %SYS-5-CONFIG_I: the text",
        ];
        let mut line = lines[which].to_vec();
        let at = at.index(line.len() - b"the text".len());
        line[at] = byte;
        let message = parse(&line);
        prop_assert!(line[message.text].ends_with(b"the text"));
    }

    #[test]
    fn a_written_rfc_5424_line_is_read_back(
        priority in 0u8..192, host in word(), app in word(), pid in 0u32..99_999, id in "[A-Z0-9]{1,32}",
        value in "\\PC{0,20}", body in "[^\0\r\n]{0,60}", ago_s in 0i64..4_000_000,
    ) {
        let time = received().saturating_sub(ago_s.seconds()).expect("in range");
        let escaped = value.replace('\\', "\\\\").replace('"', "\\\"").replace(']', "\\]");
        let line = format!("<{priority}>1 {time} {host} {app} {pid} {id} [x@1 v=\"{escaped}\"] {body}");
        let message = parse(line.as_bytes());
        prop_assert_eq!(message.status, ParseStatus::Rfc5424);
        prop_assert_eq!((message.facility, message.severity), (Some(priority >> 3), Some(priority & 7)));
        prop_assert_eq!((message.host, message.app_name, message.msg_id), (Some(&*host), Some(&*app), Some(&*id)));
        prop_assert_eq!(message.proc_id, Some(&*pid.to_string()));
        prop_assert_eq!(message.time_us, Some(time.as_microsecond()));
        prop_assert_eq!(&message.structured_data.to_map()["x@1"]["v"], &value);
        prop_assert_eq!(text(line.as_bytes(), &message), body.strip_prefix('\u{feff}').unwrap_or(&body));
    }

    #[test]
    fn a_written_rfc_3164_line_is_read_back(
        priority in 0u8..192, host in word(), app in word(), pid in 0u32..99_999, body in "[^\0\r\n]{0,60}", ago_s in 0i64..20_000_000,
    ) {
        let time = received().saturating_sub(ago_s.seconds()).expect("in range").to_zoned_datetime(TimeZone::UTC);
        let line = format!("<{priority}>{} UTC {host} {app}[{pid}]: {body}", time.strftime("%b %e %H:%M:%S"));
        let message = parse(line.as_bytes());
        prop_assert_eq!(message.status, ParseStatus::Rfc3164);
        prop_assert_eq!((message.host, message.app_name), (Some(&*host), Some(&*app)));
        prop_assert_eq!(message.proc_id, Some(&*pid.to_string()));
        prop_assert_eq!(message.time_us, Some(time.timestamp().as_microsecond()));
        prop_assert_eq!(text(line.as_bytes(), &message), &body);
    }
}

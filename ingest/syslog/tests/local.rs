//! Records of the kernel ring and of the journal, and the host rule.

use std::collections::BTreeMap;
use std::net::IpAddr;

use proptest::prelude::*;
use syslog::host::{HOST_BYTES_MAX, HostFrom, HostRule};
use syslog::journal::JournalEntry;
use syslog::kmsg::KernelRecord;

#[test]
fn a_kernel_record_gives_all_its_fields() {
    let line = b"30,17,4000,-,caller=T1;systemd[1]: say \\x22hi\\x22 \\x5c \\xzz \\x4\n SUBSYSTEM=pci\n DEVICE=+pci:0000:00:1f.2\nnot a property\n =nameless\n";
    let record = KernelRecord::parse(line).expect("a record");
    assert_eq!((record.facility, record.severity, record.seq, record.uptime_us), (3, 6, 17, 4000));
    assert_eq!(record.text(), "systemd[1]: say \"hi\" \\ \\xzz \\x4");
    let properties: Vec<_> = record.properties().collect();
    assert_eq!(properties, [("SUBSYSTEM", "pci".into()), ("DEVICE", "+pci:0000:00:1f.2".into())]);
}

#[test]
fn escaped_text_of_the_kernel_is_utf_8_again() {
    let record = KernelRecord::parse(b"6,1,2,-;usb: \\xc3\\xa9\\xff\n").expect("a record");
    assert_eq!(record.text(), "usb: é\u{fffd}");
}

#[test]
fn what_is_no_kernel_record_is_refused() {
    for line in [&b""[..], b"6,1,2,-", b"6,1;x", b"x,1,2,-;x", b"-6,1,2,-;x", b"6,18446744073709551616,2,-;x", b"\xff,1,2;x"] {
        assert_eq!(KernelRecord::parse(line), None, "{}", line.escape_ascii());
    }
}

#[test]
fn a_journal_entry_in_each_form_of_a_field() {
    let parse = |message: &str| {
        let line = format!(r#"{{"__CURSOR":"c","MESSAGE":{message},"UNREAD":{{"a":[1]}}}}"#);
        JournalEntry::parse(line.as_bytes()).expect("an entry").message.into_owned()
    };
    assert_eq!(parse(r#""plain""#), b"plain");
    assert_eq!(parse(r#""esc\t\u00e9\"""#), "esc\té\"".as_bytes());
    assert_eq!(parse("[104,105,0,255]"), b"hi\0\xff");
    assert_eq!(parse(r#"["one",[116,119,111],null]"#), b"one\ntwo");
    assert_eq!(parse("[]"), b"");
    assert_eq!(parse("null"), b"");
    assert_eq!(parse("{}"), b"");
}

#[test]
fn journal_fields_fall_back_and_stay_in_range() {
    let entry = JournalEntry::parse(
        br#"{"__CURSOR":"c","_COMM":"sshd","SYSLOG_PID":"9","PRIORITY":"8","SYSLOG_FACILITY":"24","__REALTIME_TIMESTAMP":"x"}"#,
    )
    .expect("an entry");
    assert_eq!((entry.app_name.as_deref(), entry.proc_id.as_deref()), (Some("sshd"), Some("9")));
    assert_eq!((entry.severity, entry.facility, entry.time_us), (None, None, None));
    let entry = JournalEntry::parse(br#"{"__CURSOR":"c","_COMM":"sh","SYSLOG_IDENTIFIER":"backup","_PID":"8","SYSLOG_PID":"9"}"#)
        .expect("an entry");
    assert_eq!((entry.app_name.as_deref(), entry.proc_id.as_deref()), (Some("backup"), Some("8")));
}

#[test]
fn what_is_no_journal_entry_is_an_error_that_says_so() {
    for line in [&b""[..], b"{}", b"[]", b"-- No entries --", br#"{"MESSAGE":"no cursor"}"#, br#"{"__CURSOR":"c","MESSAGE":"#] {
        let error = JournalEntry::parse(line).expect_err("no entry");
        assert!(error.to_string().contains("__CURSOR"));
    }
    let nested = [b"{\"__CURSOR\":\"c\",\"MESSAGE\":".as_slice(), &[b'['; 100_000]].concat();
    assert!(JournalEntry::parse(&nested).is_err(), "deep nesting is an error, not an overflow");
}

fn peer() -> IpAddr {
    "192.0.2.7".parse().expect("an address")
}

#[test]
fn the_host_is_the_lines_else_the_peers_name_else_its_address() {
    let by_message = HostRule::new(HostFrom::Message, BTreeMap::new());
    for nameless in [None, Some(""), Some("-"), Some("localhost"), Some("LOCALHOST")] {
        assert_eq!(by_message.host(nameless, peer()), "192.0.2.7");
        assert_eq!(by_message.local_host(nameless, "Node1"), "node1");
    }
    assert_eq!(by_message.host(Some("Web1"), peer()), "web1");
    assert_eq!(by_message.host(None, "::ffff:192.0.2.7".parse().expect("an address")), "192.0.2.7");
    let by_peer = HostRule::new(HostFrom::Peer, BTreeMap::from([(peer(), "SW7".to_owned())]));
    assert_eq!(by_peer.host(Some("web1"), peer()), "sw7");
    assert_eq!(by_peer.host(Some("web1"), "::ffff:192.0.2.7".parse().expect("an address")), "sw7");
    assert_eq!(by_peer.host(Some("web1"), "2001:db8::1".parse().expect("an address")), "2001:db8::1");
}

proptest! {
    #[test]
    fn a_host_is_short_and_lower_case(name in "\\PC{0,300}") {
        let host = HostRule::default().host(Some(&name), peer());
        prop_assert!(host.len() <= HOST_BYTES_MAX + 1 || !name.is_ascii());
        prop_assert_eq!(host.to_lowercase(), host);
    }
}

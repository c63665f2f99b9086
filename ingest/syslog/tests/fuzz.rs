//! Short runs of the fuzz targets; `cargo bolero test <name>` runs one for longer.

use bolero::check;
use jiff::tz::TimeZone;
use syslog::frame::{Cut, Deframer, FrameLimits};
use syslog::journal::JournalEntry;
use syslog::kmsg::KernelRecord;
use syslog::{Message, Reception};

const ITERATIONS: usize = 20_000;
const RECEIVED_US: i64 = 1_700_000_000_000_000;

/// `prefix` brings the bytes into the grammar under test.
fn parse_after(prefix: &[u8], bytes: &[u8]) {
    let line = [prefix, bytes].concat();
    let zone = TimeZone::UTC;
    let message = Message::parse(&line, &Reception::new(RECEIVED_US, &zone));
    assert!(line.get(message.text.clone()).is_some());
    message.structured_data.to_map();
}

#[test]
fn frame() {
    check!().with_iterations(ITERATIONS).for_each(|bytes: &[u8]| {
        let limits = FrameLimits { frame_bytes_max: 32, head_bytes_max: 8 };
        let mut deframer = Deframer::new(limits);
        let mut given = 0;
        for read in bytes.chunks(5) {
            deframer.push(read);
            while let Some(frame) = deframer.next_frame() {
                assert!(!frame.bytes.is_empty() && frame.bytes.len() <= limits.frame_bytes_max);
                given += frame.bytes.len();
            }
        }
        given += deframer.cut(Cut::Stalled).map_or(0, |frame| frame.bytes.len());
        assert!(given <= bytes.len());
    });
}

#[test]
fn rfc5424() {
    check!().with_iterations(ITERATIONS).for_each(|bytes: &[u8]| {
        parse_after(b"<13>1 ", bytes);
        parse_after(b"<13>1 2023-11-14T22:13:15Z h a p m [", bytes);
    });
}

#[test]
fn rfc3164() {
    check!().with_iterations(ITERATIONS).for_each(|bytes: &[u8]| {
        parse_after(b"", bytes);
        parse_after(b"<13>", bytes);
        parse_after(b"<13>Nov 14 ", bytes);
        parse_after(b"<13>Nov 14 22:13:15", bytes);
    });
}

#[test]
fn kmsg() {
    check!().with_iterations(ITERATIONS).for_each(|bytes: &[u8]| {
        for prefix in [&b""[..], b"6,1,2,-;"] {
            let line = [prefix, bytes].concat();
            let Some(record) = KernelRecord::parse(&line) else { continue };
            assert!(line.get(record.text.clone()).is_some());
            record.text();
            record.properties().count();
        }
    });
}

#[test]
fn journal() {
    check!().with_iterations(ITERATIONS).for_each(|bytes: &[u8]| {
        let _ = JournalEntry::parse(bytes);
        let _ = JournalEntry::parse(&[br#"{"__CURSOR":"c","MESSAGE":"#, bytes, b"}"].concat());
    });
}

//! RELP: an answer means that the line is on the bus, so whatever dies, each line arrives. What was on its way when the
//! connection broke comes again: that is counted and shown.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::process::{Command, Stdio};

use schemas::LogRecord;
use stream_runtime::loss::Loss;
use stream_runtime::metrics::SourceMetrics;
use stream_runtime::spool::{SpoolSpec, Spooled, directory};
use stream_runtime::time::{Clock, SystemClock};
use syslog::frame::FrameLimits;
use syslog::relp::Decoder;

use super::bus::MemoryBus;
use super::rsyslogd::{Rsyslogd, has_module, ready};
use super::sender::{Sender, Sent, text};
use super::{Collector, LIFE, PATIENCE, append};

const KILLS: usize = 20;

/// A port that is free until the collector takes it.
fn free() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("an address")
}

/// How often each line of the relay arrived.
fn count(records: &[LogRecord]) -> BTreeMap<&str, usize> {
    let mut seen = BTreeMap::new();
    for record in records.iter().filter(|record| record.app_name.as_deref() == Some("relay")) {
        *seen.entry(record.message()).or_default() += 1;
    }
    seen
}

fn doubled(seen: &BTreeMap<&str, usize>) -> usize {
    seen.values().map(|times| times - 1).sum()
}

/// A sender of our own, which can be looked into: whatever is missing here is our loss.
#[test]
fn relp_loses_nothing_that_it_answered_when_the_receiver_is_killed() {
    let address = free();
    let mut collector = Collector::new(&format!("relp = [\"{address}\"]"));
    let sender = Sender::start(address);
    for _ in 0..KILLS {
        collector.live_and_be_killed();
    }
    collector.start();
    let sent = sender.finish();
    let records = collector.stop_and_read();
    assert_complete(&records, &sent);
}

/// On Kafka an answer means that the line is in the spool. Here no broker ever comes, so the spool is where all must be.
#[test]
fn relp_loses_nothing_that_it_answered_when_the_receiver_is_killed_while_the_brokers_are_away() {
    let (address, nobody) = (free(), free());
    let bus = format!("[bus]\nbackend = \"kafka\"\n[kafka]\n\"bootstrap.servers\" = \"{nobody}\"\n");
    let mut collector = Collector::on(&bus, &format!("relp = [\"{address}\"]"));
    let sender = Sender::start(address);
    for _ in 0..KILLS {
        collector.live_and_be_killed();
    }
    collector.start();
    let sent = sender.finish();
    collector.stop();
    let (spool, bus) = (directory(&collector.data(), "syslog"), MemoryBus::default());
    let spec =
        SpoolSpec { directory: &spool, source: "test", bytes_max: 1 << 30, loss: Loss::default(), metrics: SourceMetrics::default() };
    let spooled = Spooled::open(spec, bus.opening()).expect("opens");
    bus.wait_for(sent.lines);
    drop(spooled);
    assert_complete(&bus.records(), &sent);
}

fn assert_complete(records: &[LogRecord], sent: &Sent) {
    let seen = count(records);
    let missing: Vec<usize> = (0..sent.lines).filter(|n| !seen.contains_key(text(*n).as_str())).collect();
    assert!(
        missing.is_empty(),
        "{} of {} answered lines are missing: {:?} …",
        missing.len(),
        sent.lines,
        missing.iter().take(9).collect::<Vec<_>>()
    );
    assert_eq!(seen.len(), sent.lines, "and nothing else came");
    assert!(doubled(&seen) <= sent.repeated, "{} doubled, {} sent again", doubled(&seen), sent.repeated);
    println!("{KILLS} kills, {} sessions, {} lines: none lost, {} doubled", sent.sessions, sent.lines, doubled(&seen));
}

/// A real rsyslogd. It notices the end of a connection only when it has something more to send: so there is something more to
/// send at the end, as there always is on a machine that lives.
#[test]
fn relp_from_a_real_rsyslogd_loses_nothing_when_the_receiver_is_killed() {
    const LINES_PER_ROUND: usize = 500;
    if !has_rsyslogd() {
        return;
    }
    let address = free();
    let mut collector = Collector::new(&format!("relp = [\"{address}\"]"));
    let folder = tempfile::tempdir().expect("a folder");
    let input = folder.path().join("input.log");
    let mut file = append(&input);
    let relay = Rsyslogd::start(folder.path(), &input, &to(address));
    for round in 0..KILLS {
        for n in 0..LINES_PER_ROUND {
            writeln!(file, "line {} of round {round}", round * LINES_PER_ROUND + n).expect("writes");
        }
        collector.live_and_be_killed();
    }
    let expected: Vec<String> = (0..KILLS * LINES_PER_ROUND).map(|n| format!("line {n} of round {}", n / LINES_PER_ROUND)).collect();
    let records = collector.settle(
        |collector| {
            collector.start();
            writeln!(file, "still here").expect("writes");
        },
        |records| {
            let seen = count(records);
            expected.iter().filter(|line| !seen.contains_key(line.as_str())).cloned().collect()
        },
    );
    let mut seen = count(&records);
    seen.remove("still here");
    assert_eq!(seen.len(), expected.len(), "each line arrived, and nothing else");
    println!("{KILLS} kills, {} lines from rsyslogd: none lost, {} doubled", seen.len(), doubled(&seen));
    drop(relay);
}

/// What rsyslogd has no answer for it keeps, per connection, and sends it again with what that connection has to send next. So
/// there must be one connection only, also when messages had to wait on the disk: else some would be kept for ever.
#[test]
fn what_a_receiver_took_and_never_answered_comes_again_with_the_next_line() {
    const LINES: usize = 3_000;
    /// Below librelp's window of 128, so that it goes on.
    const UNANSWERED: usize = 50;
    if !has_rsyslogd() {
        return;
    }
    let address = free();
    let folder = tempfile::tempdir().expect("a folder");
    let input = folder.path().join("input.log");
    let mut file = append(&input);
    let relay = Rsyslogd::start(folder.path(), &input, &to(address));
    let expected: Vec<String> = (0..=LINES).map(text).collect();
    for line in &expected[..LINES] {
        writeln!(file, "{line}").expect("writes");
    }
    let spool = folder.path().join("work");
    let waits = || fs::read_dir(&spool).expect("is there").flatten().any(|file| file.metadata().is_ok_and(|file| file.len() > 100_000));
    while !waits() {
        SystemClock.sleep(LIFE);
    }
    let taken = forget(address, LINES, |n| n % (LINES / UNANSWERED) == 0);
    assert_eq!(taken.len(), LINES, "over one connection");

    let mut collector = Collector::new(&format!("relp = [\"{address}\"]"));
    let come_again: Vec<&String> =
        expected.iter().enumerate().filter(|(n, _)| n % (LINES / UNANSWERED) == 0).map(|(_, line)| line).collect();
    let records = collector.settle(
        |collector| {
            collector.start();
            writeln!(file, "{}", text(LINES)).expect("writes");
        },
        |records| {
            let seen = count(records);
            come_again.iter().filter(|line| !seen.contains_key(line.as_str())).map(|line| (*line).clone()).collect()
        },
    );
    // An answer that the broken connection swallowed has its line come again too: that is inherent.
    assert!(count(&records).keys().all(|line| expected.iter().any(|known| known == line)), "and nothing else");
    drop(relay);
}

/// A receiver that takes `lines` lines over one connection, answers those that it does not forget, and dies.
fn forget(address: SocketAddr, lines: usize, forgets: impl Fn(usize) -> bool) -> BTreeSet<String> {
    let listener = TcpListener::bind(address).expect("binds");
    let (mut stream, _) = listener.accept().expect("rsyslogd comes");
    drop(listener);
    stream.set_read_timeout(Some(PATIENCE)).expect("is set");
    let mut decoder = Decoder::new(FrameLimits { frame_bytes_max: 10_000, head_bytes_max: 10_000 });
    let (mut taken, mut chunk) = (BTreeSet::new(), [0; 16_384]);
    while taken.len() < lines {
        let bytes = stream.read(&mut chunk).expect("rsyslogd goes on");
        assert!(bytes > 0, "rsyslogd went after {} lines", taken.len());
        decoder.push(&chunk[..bytes]);
        while let Some(frame) = decoder.next_frame().expect("frames") {
            let data = String::from_utf8_lossy(frame.data).into_owned();
            let is_line = data.contains(" relay ");
            if is_line && forgets(taken.len()) {
                taken.insert(data);
                continue;
            }
            let answer = if frame.command == "open" { "200 OK\nrelp_version=0\ncommands=syslog" } else { "200 OK" };
            writeln!(stream, "{} rsp {} {answer}", frame.txnr, answer.len()).expect("answers");
            if is_line {
                taken.insert(data);
            }
        }
    }
    taken
}

fn has_rsyslogd() -> bool {
    let has = Command::new("rsyslogd").arg("-v").stdout(Stdio::null()).status().is_ok() && has_module("omrelp");
    if !has {
        let _ = writeln!(std::io::stderr(), "SKIPPED: rsyslogd with its module omrelp not installed");
    }
    has
}

/// The ready configuration, with another place to send to.
fn to(address: SocketAddr) -> String {
    ready("62-nephoscope-relp.conf", &[("port=\"2514\"", &format!("port=\"{}\"", address.port()))])
}

//! RELP: an answer means that the line is on the bus, so whatever dies, each line arrives. What was on its way when the
//! connection broke comes again: that is counted and shown.

use std::collections::BTreeMap;
use std::io::Write;
use std::net::{SocketAddr, TcpListener};
use std::process::{Command, Stdio};

use schemas::LogRecord;

use super::rsyslogd::{Rsyslogd, has_module, ready};
use super::sender::{Sender, text};
use super::{Collector, append};

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
    const KILLS: usize = 20;
    let address = free();
    let mut collector = Collector::new(&format!("relp = [\"{address}\"]"));
    let sender = Sender::start(address);
    for _ in 0..KILLS {
        collector.live_and_be_killed();
    }
    collector.start();
    let sent = sender.finish();
    let records = collector.stop_and_read();
    let seen = count(&records);
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

/// A real rsyslogd. What it has no answer for it keeps in memory, and notices the end of a connection only when it has
/// something more to send: so there is something more to send at the end, as there always is on a machine that lives.
#[test]
fn relp_from_a_real_rsyslogd_loses_nothing_when_the_receiver_is_killed() {
    const KILLS: usize = 20;
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
        || writeln!(file, "still here").expect("writes"),
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

//! This very machine: its kernel ring, its name, and everything at once.

use std::fs::OpenOptions;
use std::io::Write;

use schemas::{ParseStatus, SourceKind, TimeSource};
use syslog::Config;
use syslog::collector::SourceState;
use syslog::collector::config::Switch;

use super::bus::MemoryBus;
use super::{Rig, eventually, following, skipped};

#[test]
fn a_line_of_this_kernel_arrives_once() {
    let mut ring = match OpenOptions::new().read(true).write(true).open("/dev/kmsg") {
        Ok(ring) => ring,
        Err(error) => return skipped(&format!("/dev/kmsg: {error}")),
    };
    let bus = MemoryBus::default();
    let config = || Config { kmsg: Switch::On, ..following(&[]) };
    let found = |text: &str| bus.records().into_iter().filter(|record| record.message() == text).collect::<Vec<_>>();
    let mut write = |text: &str| ring.write_all(format!("<13>nephoscope[7]: {text}\n").as_bytes()).expect("writes to the ring");
    for n in 0..3 {
        let (while_away, while_there) = (format!("away {} {n}", std::process::id()), format!("there {} {n}", std::process::id()));
        write(&while_away);
        let rig = Rig::start_on(bus.clone(), config());
        eventually("the line written before is read", || found(&while_away).len() == 1);
        eventually("the ring is watched", || rig.status(SourceKind::Kmsg).state == SourceState::Watching);
        write(&while_there);
        eventually("the line written now is read", || found(&while_there).len() == 1);
        rig.stop();
    }
    for n in 0..3 {
        for kind in ["away", "there"] {
            let records = found(&format!("{kind} {} {n}", std::process::id()));
            assert_eq!(records.len(), 1, "after all restarts still once");
            let record = &records[0];
            assert_eq!((record.app_name.as_deref(), record.proc_id.as_deref(), record.facility), (Some("nephoscope"), Some("7"), Some(1)));
            assert_eq!((record.parse_status, record.time_source), (ParseStatus::Kmsg, TimeSource::Kernel));
            assert!((record.event_time - record.observed_time).abs() < 60_000_000, "{record:?}");
        }
    }
}

#[test]
fn looking_for_everything_finds_something_or_says_why_not() {
    let rig = Rig::start(Config { udp: Vec::new(), tcp: Vec::new(), ..Config::default() });
    let status = rig.collector.status();
    let local = status.iter().filter(|source| matches!(source.kind, SourceKind::Journal | SourceKind::Kmsg | SourceKind::File));
    assert!(local.clone().count() > 0, "{status:?}");
    eventually("each source is seen, or says why not", || {
        let status = rig.collector.status();
        status
            .iter()
            .all(|source| source.state == SourceState::Watching || (source.state != SourceState::CatchingUp && !source.reason.is_empty()))
    });
    let has_journal = status.iter().any(|source| source.kind == SourceKind::Journal && source.state != SourceState::Blind);
    assert_eq!(has_journal, !status.iter().any(|source| source.kind == SourceKind::Kmsg), "the same lines only once");
    rig.stop();
}

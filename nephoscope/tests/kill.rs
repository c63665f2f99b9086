//! `kill -9` of the whole process at random moments: every line of a file arrives once, and every raw record has exactly
//! one parsed record, counted by its input coordinates.

use std::{
    collections::BTreeMap,
    fs::OpenOptions,
    io::Write,
    path::Path,
    process::{Child, Command, Stdio},
    time::Duration,
};

use schemas::{LogRecord, ParsedLog, Subject, topics};
use stream_core::{NextOffset, Partition, TopicPartition};
use stream_runtime::{
    embedded::EmbeddedBus,
    gathered::Gathered,
    inspect::{Inspect, ReadLimits},
    time::{Clock, SystemClock, wall_clock},
};

const KILLS: u64 = 100;
const LINES_PER_ROUND: usize = 100;

fn start(directory: &Path) -> Child {
    Command::new(env!("CARGO_BIN_EXE_nephoscope"))
        .args(["up", "--config", &directory.join("n.toml").display().to_string()])
        .args(["--data-dir", &directory.join("data").display().to_string()])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("starts")
}

fn read_all(bus: &EmbeddedBus, topic: &str) -> Vec<(u64, Vec<u8>)> {
    let at = TopicPartition::new(&topic.into(), Partition(0));
    let limits = ReadLimits { records_max: 10_000, bytes_max: 16 << 20, wait: Duration::ZERO };
    let (mut all, mut next) = (Vec::new(), NextOffset(0));
    loop {
        let mut gathered = Gathered::default();
        bus.read(&at, next, &limits, &mut gathered).expect("reads");
        let Some((_, last)) = gathered.records().last() else { return all };
        next = last.offset.next();
        all.extend(gathered.records().map(|(_, record)| (record.offset.0, record.value.expect("a value").to_vec())));
    }
}

#[test]
fn a_hundred_kills_lose_and_double_nothing() {
    let directory = tempfile::tempdir().expect("a directory");
    let log = directory.path().join("app.log");
    let config = format!(
        "[listen]\nadmin = \"127.0.0.1:0\"\n[syslog]\nsources = \"listed\"\nudp = []\ntcp = []\nunix = []\nfiles = [\"{}\"]\n",
        log.display()
    );
    std::fs::write(directory.path().join("n.toml"), config).expect("writes");
    let mut file = OpenOptions::new().create(true).append(true).open(&log).expect("opens");
    let (clock, mut seed, mut written) = (SystemClock, 0x5eed_u64, 0);
    for _ in 0..KILLS {
        let mut child = start(directory.path());
        for _ in 0..LINES_PER_ROUND {
            writeln!(file, "{} h app: line {written} took {} ms", wall_clock(), written % 97).expect("writes");
            written += 1;
        }
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        clock.sleep(Duration::from_millis(20 + (seed >> 33) % 400));
        child.kill().expect("is killed");
        child.wait().expect("is gone");
    }
    // What a killed process left can be read before the next one starts.
    drop(EmbeddedBus::open_read_only(&directory.path().join("data")).expect("opens after a kill"));
    // One undisturbed run lets the pipeline catch up; it ends by SIGTERM, which finishes what was read.
    let mut child = start(directory.path());
    let begun = clock.monotonic();
    let parsed = loop {
        clock.sleep(Duration::from_millis(1_500));
        rustix::process::kill_process(rustix::process::Pid::from_child(&child), rustix::process::Signal::TERM).expect("is told");
        child.wait().expect("ends");
        let bus = EmbeddedBus::open_read_only(&directory.path().join("data")).expect("opens");
        let parsed = read_all(&bus, topics::LOGS_PARSED);
        if parsed.len() >= written {
            let raw = read_all(&bus, topics::LOGS_RAW);
            check(&raw, &parsed, written);
            break parsed;
        }
        assert!(clock.monotonic() - begun < Duration::from_secs(60), "{} of {written} lines came through", parsed.len());
        drop(bus);
        child = start(directory.path());
    };
    println!("{KILLS} kills, {written} lines, {} parsed records: none lost, none doubled", parsed.len());
}

fn check(raw: &[(u64, Vec<u8>)], parsed: &[(u64, Vec<u8>)], written: usize) {
    let texts: Vec<String> = raw.iter().map(|(_, value)| LogRecord::from_bytes(value).expect("is raw").message().to_string()).collect();
    let expected: Vec<String> = (0..written).map(|n| format!("line {n} took {} ms", n % 97)).collect();
    assert_eq!(texts, expected, "every line of the file once, in order");
    let mut by_input = BTreeMap::<i64, u32>::new();
    for (_, value) in parsed {
        *by_input.entry(ParsedLog::from_bytes(value).expect("is parsed").raw_offset).or_default() += 1;
    }
    let inputs: Vec<(i64, u32)> = raw.iter().map(|(offset, _)| (*offset as i64, 1)).collect();
    assert_eq!(by_input.into_iter().collect::<Vec<_>>(), inputs, "one output for each input");
}

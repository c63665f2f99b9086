//! `kill -9` of a busy `nephoscope up`, and how long after the next start its first new output can be read.
//!
//! The store holds about 100 MB of log and the largest state that drain's own limits allow, 1,500 hosts of 512 templates.
//! Each round begins with a copy of it, sends lines as fast as they are taken, so that a replay has something to do, and
//! kills at another moment. Time runs from `exec` to the answer of the API that holds a record of `logs.parsed` which was
//! not there before.
//!
//! `cargo bench -p nephoscope --bench recovery -- [ROUNDS]`

#![allow(clippy::disallowed_methods, reason = "a bench measures time")]

mod support;

use std::{
    io::{BufWriter, Write},
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use drain::{Config, DrainProcessor};
use schemas::{LogRecord, LogSource, ParseStatus, SourceKind, Subject, TimeSource, topics};
use stream_runtime::{
    bus::Bus,
    embedded::{EmbeddedBus, EmbeddedConfig},
    engine::Engine,
    inspect::Inspect,
    loss::Loss,
    metrics::StageMetrics,
    publish::PublishBatch,
    settings::EngineSettings,
    time::{SystemClock, wall_clock},
    worker::Worker,
};
use support::{Instance, Lines, data, quantile_ms, send};

const HOSTS: u64 = 3_000;
const TEMPLATES: u64 = 512;
/// What that many hosts may need at worst is more than the engine allows unless told.
const STATE_BYTES_MAX: u64 = 192 << 20;
const BATCH: usize = 1_000;
/// A kill comes this long after the instance listens, at least,
const BUSY_MS_MIN: u64 = 500;
/// and this much later, at most: at full load a snapshot is due every few seconds.
const BUSY_MS_SPAN: u64 = 6_000;

fn main() {
    let rounds: u64 = std::env::args().skip(1).find_map(|argument| argument.parse().ok()).unwrap_or(10);
    let directory = tempfile::tempdir_in(".").expect("a directory on this disk");
    let seed = directory.path().join("seed");
    let (log_bytes, state_bytes) = fill(&data(&seed));
    println!(
        "kill -9 of `nephoscope up` under full load, fsync; {} MB of log on disk, {} MB of state",
        log_bytes / 1_000_000,
        state_bytes / 1_000_000
    );
    println!("  {:>8} {:>10} {:>10} {:>10}", "busy ms", "replayed", "listens ms", "output ms");
    let (mut lines, mut firsts) = (Lines::new(), Vec::new());
    for _ in 0..rounds {
        let busy = Duration::from_millis(BUSY_MS_MIN + lines.next(BUSY_MS_SPAN));
        let round = directory.path().join("round");
        copy(&data(&seed), &data(&round));
        let back = kill_and_return(&round, &mut lines, busy);
        println!("  {:>8} {:>10} {:>10.0} {:>10.0}", busy.as_millis(), back.replayed, ms(back.listens), ms(back.output));
        firsts.push(back.output);
        std::fs::remove_dir_all(&round).expect("is ours");
    }
    firsts.sort_unstable();
    println!("  first new output: median {:.0} ms, worst {:.0} ms", quantile_ms(&firsts, 0.5), quantile_ms(&firsts, 1.0));
}

fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

/// How a killed instance came back.
struct Return {
    listens: Duration,
    output: Duration,
    replayed: u64,
}

fn kill_and_return(directory: &Path, lines: &mut Lines, busy: Duration) -> Return {
    let mut instance = Instance::start(directory, &format!("[drain]\nhosts_max = {HOSTS}\n[state]\nstate_bytes_max = {STATE_BYTES_MAX}\n"));
    let mut to = BufWriter::with_capacity(1 << 16, instance.connect());
    let begun = Instant::now();
    while begun.elapsed() < busy {
        feed(&mut to, lines);
    }
    instance.kill();
    drop(to.into_parts());
    let known = parsed_end(&data(directory));

    let begun = Instant::now();
    let mut instance = Instance::start(directory, &format!("[drain]\nhosts_max = {HOSTS}\n[state]\nstate_bytes_max = {STATE_BYTES_MAX}\n"));
    let api = instance.api();
    let waiting = std::thread::spawn(move || {
        api.answer("/livez", "");
        let listens = begun.elapsed();
        let path = format!("/api/topics/{}/records?offset={known}&limit=1&wait_ms=30000", topics::LOGS_PARSED);
        api.answer(&path, "\"offset\":");
        (listens, begun.elapsed(), api.answer("/api/status", "\"replayed\":"))
    });
    let mut to = BufWriter::with_capacity(1 << 16, instance.connect());
    while !waiting.is_finished() {
        feed(&mut to, lines);
        to.flush().expect("is taken");
        std::thread::sleep(Duration::from_millis(1));
    }
    let (listens, output, status) = waiting.join().expect("an answer");
    let replayed = status.split_once("\"replayed\":").map_or("", |(_, rest)| rest);
    let replayed = replayed.split(|c: char| !c.is_ascii_digit()).next().and_then(|number| number.parse().ok());
    Return { listens, output, replayed: replayed.expect("a number") }
}

/// A few lines of hosts and templates that are known already.
fn feed(to: &mut impl Write, lines: &mut Lines) {
    let now = wall_clock();
    for _ in 0..10 {
        let (template, host) = (lines.next(TEMPLATES), lines.next(HOSTS));
        send(to, now, host, "app", &message(lines, template)).expect("is taken");
    }
}

/// A message of a template: eight words that no other has, then values.
fn message(lines: &mut Lines, template: u64) -> String {
    let letter = |digit: u64| char::from(b'a' + (digit % 26) as u8);
    let code: String = [template / 676, template / 26, template].map(letter).iter().collect();
    let words = ["open", "read", "seek", "lock", "sync", "send", "wait", "done"].map(|word| format!("{word}{code}"));
    format!("{} {:08x} after {} ms", words.join(" "), lines.next(1 << 32), lines.next(10_000))
}

/// Lets drain see every template on every host, leaves a snapshot, and returns the bytes of log and state on disk.
fn fill(directory: &Path) -> (u64, u64) {
    std::fs::create_dir_all(directory).expect("a directory");
    let bus = EmbeddedBus::open(directory, EmbeddedConfig::default()).expect("opens");
    Engine::ensure_topics(&bus).expect("creates topics");
    publish(&bus);
    let (metrics, clock) = (StageMetrics::default(), Box::new(SystemClock));
    let config = Config { hosts_max: HOSTS as usize, ..Config::default() };
    let mut settings = EngineSettings::default();
    settings.state.state_bytes_max = STATE_BYTES_MAX;
    let worker = Worker::<DrainProcessor>::new(Arc::new(bus.clone()), config, settings, clock, Loss::default(), metrics.clone());
    let mut worker = worker.expect("starts");
    while metrics.totals().records.values().sum::<u64>() < HOSTS * TEMPLATES {
        worker.step().expect("goes on");
    }
    let begun = Instant::now();
    worker.shutdown().expect("leaves");
    println!("a snapshot of everything takes {:.0} ms", ms(begun.elapsed()));
    let log = bus.topics().expect("reads").iter().flat_map(|topic| &topic.partitions).filter_map(|partition| partition.bytes).sum();
    let state = bus.states().expect("reads").iter().map(|state| state.bytes).sum();
    bus.close();
    (log, state)
}

fn publish(bus: &EmbeddedBus) {
    let mut publisher = bus.publisher("bench").expect("opens a publisher");
    let (mut batch, mut lines) = (PublishBatch::default(), Lines::new());
    for template in 0..TEMPLATES {
        for host in 0..HOSTS {
            let (line, now) = (message(&mut lines, template), wall_clock().micros());
            let record = LogRecord {
                host: format!("host-{host}"),
                event_time: now,
                observed_time: now,
                time_source: TimeSource::Message,
                facility: Some(3),
                severity: Some(6),
                app_name: Some("app".into()),
                message_length: line.len() as i32,
                raw: line.into_bytes(),
                source: LogSource { kind: SourceKind::Tcp, name: "127.0.0.1:5514".into(), peer: Some("127.0.0.1".into()) },
                parse_status: ParseStatus::Rfc5424,
                ..LogRecord::default()
            };
            let value = record.to_bytes().expect("is a record");
            batch.push(&topics::LOGS_RAW.into(), Some(record.host.as_bytes()), Some(&value), Default::default()).expect("fits");
            if batch.len() == BATCH {
                publisher.publish(&batch, b"").expect("is taken");
                batch.clear();
            }
        }
    }
    publisher.publish(&batch, b"").expect("is taken");
}

/// Where the parsed lines of a killed instance end.
fn parsed_end(directory: &Path) -> u64 {
    let bus = EmbeddedBus::open_read_only(directory).expect("opens after a kill");
    let topics = bus.topics().expect("reads");
    let parsed = topics.iter().find(|topic| topic.name.as_str() == topics::LOGS_PARSED).expect("is there");
    parsed.partitions.iter().map(|partition| partition.next.0).sum()
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("a directory");
    for entry in std::fs::read_dir(from).expect("reads") {
        let entry = entry.expect("reads");
        let target = to.join(entry.file_name());
        if entry.file_type().expect("reads").is_dir() {
            copy(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).expect("copies");
        }
    }
}

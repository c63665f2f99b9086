//! The log path as it is deployed: the real `nephoscope-drain` on six partitions, seen from outside.

use std::{
    collections::BTreeMap,
    fs,
    path::PathBuf,
    process::{Child, Command},
    thread,
    time::{Duration, Instant},
};

use schemas::{LogRecord, LogSource, ParseStatus, SourceKind, Subject, TimeSource, topics};
use stream_core::partition_of_key;
use stream_runtime::time::wall_clock;

use crate::{
    broker::Broker,
    streams::target,
    support::{Lines, RECORD_BYTES},
};

const HOSTS: u64 = 16;
/// How long it may have nothing to do before its idle memory is read.
const IDLE: Duration = Duration::from_secs(5);
/// How long it may take for all records.
const PATIENCE: Duration = Duration::from_secs(300);

/// Starts the program, lets it be idle, then offers `records` log lines as fast as the broker takes them.
pub fn run(broker: &Broker, records: u64) {
    let program = target().join("release/nephoscope-drain");
    if !program.exists() {
        println!("logs.raw → drain → logs.parsed: skipped: no {}; `cargo build --release -p nephoscope-drain` makes it", program.display());
        return;
    }
    println!("logs.raw → drain → logs.parsed, exactly once: {records} lines of {RECORD_BYTES} bytes, {HOSTS} hosts, six partitions");
    let drain = Program::start(broker, &program);
    let partitions = topics::layout(topics::LOGS_RAW).expect("is in the table").partitions_kafka;
    let committed = || broker.committed("nephoscope.drain", topics::LOGS_RAW, partitions as i32);
    thread::sleep(IDLE);
    println!("  resident memory, idle       {:>8} MiB", drain.memory("VmRSS:") >> 20);
    let (begun, before) = (Instant::now(), drain.cpu());
    broker.fill(topics::LOGS_RAW, |send| {
        let mut lines = Lines::new(1);
        for n in 0..records {
            let record = record(&mut lines, n);
            let key = record.host.as_bytes();
            let partition = partition_of_key(Some(key), partitions);
            send(partition.0 as i32, key, &record.to_bytes().expect("is a record"));
        }
    });
    while committed() < records {
        assert!(begun.elapsed() < PATIENCE, "{} of {records} records after {} s", committed(), PATIENCE.as_secs());
        thread::sleep(Duration::from_millis(50));
    }
    let wall = begun.elapsed().as_secs_f64();
    let used: BTreeMap<String, f64> =
        drain.cpu().into_iter().map(|(name, cpu)| (name.clone(), cpu - before.get(&name).unwrap_or(&0.0))).collect();
    println!("  resident memory, at most    {:>8} MiB", drain.memory("VmHWM:") >> 20);
    println!("  records per second          {:>8.0}   while they were being written", records as f64 / wall);
    let per_million = |cpu: f64| cpu / records as f64 * 1e6;
    println!("  CPU seconds per million     {:>8.2} in the worker's thread", per_million(used.get("drain").copied().unwrap_or(0.0)));
    println!("                              {:>8.2} in the whole process, by thread:", per_million(used.values().sum()));
    for (name, cpu) in used.iter().filter(|(_, cpu)| per_million(**cpu) >= 0.01) {
        println!("                              {:>8.2}   {name}", per_million(*cpu));
    }
}

/// A program of ours, ended with the value.
struct Program(Child);

impl Program {
    fn start(broker: &Broker, program: &PathBuf) -> Self {
        let dir = broker.dir().join("drain");
        fs::create_dir_all(&dir).expect("a directory");
        let config = dir.join("nephoscope.toml");
        fs::write(&config, "[telemetry]\nlog = \"warn\"\n").expect("writes");
        let mut command = Command::new(program);
        command.arg("--config").arg(config).arg("--data-dir").arg(&dir).arg("--bus").arg(format!("kafka://{}", broker.bootstrap()));
        Self(command.spawn().expect("starts"))
    }

    /// CPU seconds by name of thread: the 14th and 15th field of each `stat`, proc(5).
    fn cpu(&self) -> BTreeMap<String, f64> {
        let mut used = BTreeMap::new();
        for task in fs::read_dir(format!("/proc/{}/task", self.0.id())).into_iter().flatten().flatten() {
            let Ok(stat) = fs::read_to_string(task.path().join("stat")) else { continue };
            let Some((head, fields)) = stat.rsplit_once(')') else { continue };
            let name = head.split_once('(').map_or("", |(_, name)| name);
            let ticks: u64 = fields.split_ascii_whitespace().skip(11).take(2).filter_map(|ticks| ticks.parse::<u64>().ok()).sum();
            *used.entry(name.to_owned()).or_default() += ticks as f64 / rustix::param::clock_ticks_per_second() as f64;
        }
        used
    }

    /// A line of `/proc/<pid>/status`, in bytes.
    fn memory(&self, name: &str) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.0.id())).expect("it runs");
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<u64>().ok()).expect("is a number") * 1024
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn record(lines: &mut Lines, n: u64) -> LogRecord {
    let (mut line, now) = (String::new(), wall_clock().micros());
    lines.fill(&mut line);
    LogRecord {
        host: format!("host-{}", n % HOSTS),
        event_time: now,
        observed_time: now,
        time_source: TimeSource::Message,
        facility: Some(3),
        severity: Some(6),
        app_name: Some("app".into()),
        message_length: line.len() as i32,
        raw: line.into_bytes(),
        source: LogSource { kind: SourceKind::Udp, name: "127.0.0.1:5514".into(), peer: Some("127.0.0.1".into()) },
        parse_status: ParseStatus::Rfc5424,
        ..LogRecord::default()
    }
}

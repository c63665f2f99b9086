//! What it costs to hear ten thousand hosts: the real receiver on the embedded bus, signed heartbeats, one every 3 s from each.
//!
//! `cargo bench -p nephoscope-heartbeat --bench receive`
#![allow(clippy::disallowed_methods, reason = "a bench of real processes, in real time")]

use std::{
    fs,
    net::UdpSocket,
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use heartbeat::{Key, Pulse};
use rustix::process::{Pid, Signal, kill_process};
use schemas::{Heartbeat, HeartbeatKind, Subject, topics};
use stream_core::{NextOffset, Partition, TopicPartition};
use stream_runtime::{
    embedded::EmbeddedBus,
    gathered::Gathered,
    inspect::{Inspect, ReadLimits},
};

const NAMES: usize = 10_000;
const EVERY: Duration = Duration::from_secs(3);
const ROUNDS: u32 = 10;

fn main() {
    let folder = tempfile::tempdir().expect("a folder");
    let port = UdpSocket::bind("127.0.0.1:0").and_then(|socket| socket.local_addr()).expect("a port").port();
    let mut receiver = start(folder.path(), port);
    while !folder.path().join("data/run.json").exists() {
        std::thread::sleep(Duration::from_millis(20));
    }
    let key = Key::new(b"a secret of both ends");
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a socket");
    let (begun, before) = (Instant::now(), cpu(receiver.id()));
    for round in 0..ROUNDS {
        for number in 0..NAMES {
            // Spread over the three seconds, as independent senders are.
            let at = EVERY * round + EVERY * number as u32 / NAMES as u32;
            std::thread::sleep(at.saturating_sub(begun.elapsed()));
            let pulse = Pulse { name: format!("host-{number}"), is_vm: false, is_farewell: false, run: 1, sequence: u64::from(round) + 1 };
            socket.send_to(&pulse.encode(Some(&key)).expect("fits"), ("127.0.0.1", port)).expect("sends");
        }
    }
    std::thread::sleep((EVERY * ROUNDS).saturating_sub(begun.elapsed()));
    let (wall, used, rss) = (begun.elapsed(), cpu(receiver.id()) - before, peak_rss_kib(receiver.id()));
    kill_process(Pid::from_child(&receiver), Signal::TERM).expect("runs");
    receiver.wait().expect("ends");
    let (pulses, records) = heard(&folder.path().join("data"));
    println!(
        "{NAMES} names, {} signed heartbeats in {:.1} s; {pulses} heard, {records} records published",
        NAMES * ROUNDS as usize,
        wall.as_secs_f64()
    );
    println!("receiver: {:.2} % of a core, {} MiB resident at most", 100.0 * used.as_secs_f64() / wall.as_secs_f64(), rss / 1_024);
}

fn start(folder: &Path, port: u16) -> Child {
    let (file, key) = (folder.join("n.toml"), folder.join("key"));
    fs::write(&key, "a secret of both ends").expect("writes");
    fs::write(&file, format!("[listen]\nadmin = \"127.0.0.1:0\"\n[heartbeat]\nudp = [\"127.0.0.1:{port}\"]\nkey_file = {key:?}\n"))
        .expect("writes");
    let mut command = Command::new(env!("CARGO_BIN_EXE_nephoscope-heartbeat"));
    command.args(["receive", "--config"]).arg(&file).arg("--data-dir").arg(folder.join("data"));
    command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("starts")
}

/// User and system time of a process so far.
fn cpu(pid: u32) -> Duration {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).expect("runs");
    let fields: Vec<&str> = stat.rsplit_once(')').expect("a name in parentheses").1.split_whitespace().collect();
    let ticks: u64 = fields[11..13].iter().map(|field| field.parse::<u64>().expect("a number")).sum();
    Duration::from_millis(ticks * 1_000 / rustix::param::clock_ticks_per_second())
}

fn peak_rss_kib(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("runs");
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("a peak");
    line.trim().trim_end_matches(" kB").parse().expect("a number")
}

/// Pulses that were counted, and records.
fn heard(data: &Path) -> (i64, usize) {
    let bus = EmbeddedBus::open_read_only(data).expect("opens");
    let at = TopicPartition::new(&topics::HOST_HEARTBEATS.into(), Partition(0));
    let (mut pulses, mut records, mut next) = (0, 0, NextOffset(0));
    loop {
        let mut gathered = Gathered::default();
        bus.read(&at, next, &ReadLimits { records_max: 10_000, bytes_max: 16 << 20, wait: Duration::ZERO }, &mut gathered).expect("reads");
        let Some((_, last)) = gathered.records().last() else { return (pulses, records) };
        next = last.offset.next();
        for (_, record) in gathered.records() {
            let heartbeat = Heartbeat::from_bytes(record.value.expect("a value")).expect("a heartbeat");
            records += 1;
            pulses += if heartbeat.kind == HeartbeatKind::Listening { 0 } else { heartbeat.pulses };
        }
    }
}

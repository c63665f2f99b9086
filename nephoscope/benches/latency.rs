//! From a syslog socket to `tail`: how long after a line was due to be sent does `nephoscope tail logs.parsed.v1` print what
//! drain made of it, while lines come at a steady rate?
//!
//! Three processes, as in life: `nephoscope up` with fsync, `nephoscope tail --json` on its Unix socket, and this one, which
//! sends and reads. A line carries the time at which it is *due*, whether or not the sender got that far: a stall anywhere
//! counts for every line that it holds up (no coordinated omission; Gil Tene, "How NOT to Measure Latency").
//!
//! `cargo bench -p nephoscope --bench latency -- [LINES_PER_SECOND] [SECONDS]`

#![allow(clippy::disallowed_methods, reason = "a bench measures time")]

mod support;

use std::{
    io::{BufRead, BufReader, BufWriter, Write},
    net::TcpStream,
    process::{ChildStdout, Stdio},
    time::{Duration, Instant},
};

use schemas::{EventTime, topics};
use stream_runtime::time::wall_clock;
use support::{Instance, Lines, quantile_ms, send};

const LINE_BYTES: usize = 233;
/// Header of the lines below, so that a whole line has [`LINE_BYTES`].
const HEADER_BYTES: usize = 50;
const HOSTS: u64 = 16;
/// Lines that are not measured: the first ones make templates.
const WARM_UP: Duration = Duration::from_secs(2);

fn main() {
    let numbers: Vec<u64> = std::env::args().skip(1).filter_map(|argument| argument.parse().ok()).collect();
    let (rate, seconds) = (numbers.first().copied().unwrap_or(10_000).max(1_000), numbers.get(1).copied().unwrap_or(20));
    let directory = tempfile::tempdir_in(".").expect("a directory on this disk");
    let mut instance = Instance::start(directory.path(), "");
    let mut to = instance.connect();
    instance.api().answer("/readyz", "");
    let mut tail = instance.command();
    tail.args(["tail", topics::LOGS_PARSED, "--json", "--last", "0"]);
    let mut tail = tail.stdout(Stdio::piped()).spawn().expect("starts");
    let mut tailed = BufReader::new(tail.stdout.take().expect("a pipe"));
    greet(&mut to, &mut tailed);

    let clock = Clock::start();
    let measured = rate * seconds;
    let reader = std::thread::spawn(move || read(tailed, clock, measured));
    let late = write(to, clock, rate, WARM_UP + Duration::from_secs(seconds));
    let mut latencies = reader.join().expect("reads");
    // It follows for ever.
    let _ = tail.kill();
    let _ = tail.wait();
    latencies.sort_unstable();

    println!("syslog over TCP → logs.raw → drain → logs.parsed → tail --json, {rate} lines/s of {LINE_BYTES} bytes for {seconds} s, fsync");
    for (name, q) in [("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("p99.9", 0.999), ("max", 1.0)] {
        println!("  {name:<6}{:>9.1} ms", quantile_ms(&latencies, q));
    }
    println!("  lines {}, the sender was at most {:.1} ms late, which counts", latencies.len(), late.as_secs_f64() * 1e3);
}

/// A wall clock that does not jump: it starts on a whole millisecond, since that is what a line's time carries.
#[derive(Clone, Copy)]
struct Clock {
    begun: Instant,
    wall: EventTime,
}

impl Clock {
    fn start() -> Self {
        Self { begun: Instant::now(), wall: EventTime::from_millis(wall_clock().millis()) }
    }
}

/// Sends lines until one comes out, so that everything is known to run.
fn greet(to: &mut TcpStream, tailed: &mut impl BufRead) {
    let (mut own, (heard, until)) = (to.try_clone().expect("one more handle"), std::sync::mpsc::channel());
    let greeter = std::thread::spawn(move || {
        while until.recv_timeout(Duration::from_millis(20)).is_err() {
            send(&mut own, wall_clock(), 0, "greeting", "hello there").expect("is taken");
        }
    });
    assert!(tailed.read_line(&mut String::new()).expect("hears") > 0, "tail has ended");
    heard.send(()).expect("is awaited");
    greeter.join().expect("ends");
}

/// Sends what is due each millisecond; returns how late it was at most.
fn write(to: TcpStream, clock: Clock, rate: u64, time: Duration) -> Duration {
    let (mut to, mut lines, mut late) = (BufWriter::with_capacity(1 << 20, to), Lines::new(), Duration::ZERO);
    let (mut sent, millis) = (0, time.as_millis() as u64);
    for tick in 1..=millis {
        let due = Duration::from_millis(tick);
        std::thread::sleep(due.saturating_sub(clock.begun.elapsed()));
        late = late.max(clock.begun.elapsed().saturating_sub(due));
        let app = if due <= WARM_UP { "warm" } else { "load" };
        let stamp = clock.wall.plus_millis(tick as i64);
        while sent < tick * rate / 1_000 {
            send(&mut to, stamp, sent % HOSTS, app, &lines.message(LINE_BYTES - HEADER_BYTES)).expect("is taken");
            sent += 1;
        }
        to.flush().expect("is taken");
    }
    late
}

/// The latency of each measured line.
fn read(mut tailed: BufReader<ChildStdout>, clock: Clock, count: u64) -> Vec<Duration> {
    let (mut latencies, mut line) = (Vec::with_capacity(count as usize), String::new());
    while (latencies.len() as u64) < count {
        line.clear();
        assert!(tailed.read_line(&mut line).expect("reads") > 0, "tail ended after {} lines", latencies.len());
        let now = clock.wall.0 + clock.begun.elapsed().as_nanos() as i64;
        if line.contains("\"app_name\":\"load\"") {
            let sent = EventTime::from_micros(number_after(&line, "\"event_time\":"));
            latencies.push(Duration::from_nanos((now - sent.0).max(0) as u64));
        }
    }
    latencies
}

/// The number behind a key. A parser of all JSON would take a share of the machine that the program needs.
fn number_after(line: &str, key: &str) -> i64 {
    let (_, rest) = line.split_once(key).expect("the key is there");
    let digits = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
    rest[..digits].parse().expect("a number")
}

//! Parsing speed beside the two syslog parsers of crates.io, in one run: `cargo bench -p nephoscope-syslog --bench parse`.
//!
//! Thread CPU time, best of the rounds, which interleave the parsers so that all see the same machine. Each result is
//! consumed; the lines are made here from a fixed seed. `syslog_rfc5424` reads RFC 5424 only, so there is a row for it alone.

use std::hint::black_box;

use jiff::tz::TimeZone;
use rustix::time::{ClockId, clock_gettime};
use syslog::frame::{Deframer, FrameLimits};
use syslog::{Message, Reception};
use syslog_loose::Variant;

const LINES: usize = 20_000;
const ROUNDS: usize = 15;
const RECEIVED_US: i64 = 1_732_449_600_000_000; // 2024-11-24T12:00:00Z

/// Work that handles all lines once and says how many bytes of text it found.
type Work<'a> = Box<dyn Fn() -> usize + 'a>;

fn main() {
    let modern = lines(rfc5424_line);
    let classic = lines(rfc3164_line);
    let mixed: Vec<String> = modern.iter().zip(&classic).flat_map(|(a, b)| [a.clone(), b.clone()]).take(LINES).collect();
    println!("{LINES} lines per round, best of {ROUNDS} rounds, thread CPU time");
    println!("{:<28} {:>14} {:>14} {:>12} {:>8}", "lines", "parser", "lines/s", "ns/line", "ours ×");
    compare("RFC 5424", &modern, vec![("syslog_loose", loose(&modern)), ("syslog_rfc5424", strict(&modern))]);
    compare("RFC 3164", &classic, vec![("syslog_loose", loose(&classic))]);
    compare("mixed", &mixed, vec![("syslog_loose", loose(&mixed))]);
    let stream: Vec<u8> = mixed.iter().enumerate().flat_map(|(n, line)| framed(n, line)).collect();
    let ours: Work<'_> = Box::new(|| from_stream(&stream));
    let cost = best(&[("", ours)]);
    print_row("mixed, counted and by lines", "ours", mixed.len(), cost[0], None);
}

fn compare(name: &str, lines: &[String], peers: Vec<(&str, Work<'_>)>) {
    let mut works: Vec<(&str, Work<'_>)> = vec![("ours", ours(lines))];
    works.extend(peers);
    let costs = best(&works);
    for ((parser, _), cost) in works.iter().zip(&costs) {
        print_row(name, parser, lines.len(), *cost, Some(*cost as f64 / costs[0] as f64));
    }
}

fn print_row(lines: &str, parser: &str, count: usize, cost_ns: i128, ratio: Option<f64>) {
    let ns = cost_ns as f64 / count as f64;
    let ratio = ratio.map(|r| format!("{r:.1}")).unwrap_or_default();
    println!("{lines:<28} {parser:>14} {:>14.0} {ns:>12.0} {ratio:>8}", 1e9 / ns);
}

/// The least CPU time of each work, in nanoseconds.
fn best(works: &[(&str, Work<'_>)]) -> Vec<i128> {
    let mut best = vec![i128::MAX; works.len()];
    for _ in 0..ROUNDS {
        for ((_, work), best) in works.iter().zip(&mut best) {
            let start = cpu_ns();
            black_box(work());
            *best = (*best).min(cpu_ns() - start);
        }
    }
    best
}

fn cpu_ns() -> i128 {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    i128::from(time.tv_sec) * 1_000_000_000 + i128::from(time.tv_nsec)
}

fn ours(lines: &[String]) -> Work<'_> {
    Box::new(|| {
        let zone = TimeZone::UTC;
        let reception = Reception::new(RECEIVED_US, &zone);
        lines.iter().map(|line| black_box(Message::parse(line.as_bytes(), &reception)).text.len()).sum()
    })
}

/// Frames and parses, as a TCP listener does: reads of 64 KiB.
fn from_stream(stream: &[u8]) -> usize {
    let zone = TimeZone::UTC;
    let reception = Reception::new(RECEIVED_US, &zone);
    let mut deframer = Deframer::new(FrameLimits { frame_bytes_max: 200_000, head_bytes_max: 65_536 });
    let mut text_bytes = 0;
    for read in stream.chunks(65_536) {
        deframer.push(read);
        while let Some(frame) = deframer.next_frame() {
            text_bytes += black_box(Message::parse(frame.bytes, &reception)).text.len();
        }
    }
    text_bytes
}

fn loose(lines: &[String]) -> Work<'_> {
    Box::new(|| lines.iter().map(|line| black_box(syslog_loose::parse_message_with_year(line, |_| 2024, Variant::Either)).msg.len()).sum())
}

fn strict(lines: &[String]) -> Work<'_> {
    Box::new(|| lines.iter().map(|line| black_box(syslog_rfc5424::parse_message(line)).expect("RFC 5424").msg.len()).sum())
}

fn lines(line: fn(&mut Seed) -> String) -> Vec<String> {
    let mut seed = Seed(0x6e65_7068_6f73_636f);
    (0..LINES).map(|_| line(&mut seed)).collect()
}

fn framed(n: usize, line: &str) -> Vec<u8> {
    if n.is_multiple_of(2) { format!("{} {line}", line.len()).into_bytes() } else { format!("{line}\n").into_bytes() }
}

fn rfc5424_line(seed: &mut Seed) -> String {
    let data = match seed.below(3) {
        0 => "-".to_owned(),
        1 => format!("[timeQuality tzKnown=\"1\" isSynced=\"1\" syncAccuracy=\"{}\"]", seed.below(500_000)),
        _ => format!("[origin ip=\"192.0.2.{}\"][meta sequenceId=\"{}\"]", seed.below(255), seed.below(100_000)),
    };
    format!(
        "<{}>1 2024-11-{:02}T{:02}:{:02}:{:02}.{:06}+00:00 node{} {} {} - {data} {}",
        seed.below(192),
        1 + seed.below(24),
        seed.below(12),
        seed.below(60),
        seed.below(60),
        seed.below(1_000_000),
        seed.below(200),
        seed.program(),
        seed.below(65_536),
        seed.text()
    )
}

fn rfc3164_line(seed: &mut Seed) -> String {
    format!(
        "<{}>Nov {:2} {:02}:{:02}:{:02} node{} {}[{}]: {}",
        seed.below(192),
        1 + seed.below(24),
        seed.below(12),
        seed.below(60),
        seed.below(60),
        seed.below(200),
        seed.program(),
        seed.below(65_536),
        seed.text()
    )
}

/// SplitMix64: small, and the same lines on every machine.
struct Seed(u64);

impl Seed {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % bound
    }

    fn program(&mut self) -> &'static str {
        ["sshd", "kernel", "systemd", "postfix/smtpd", "nova-compute", "CRON"][self.below(6) as usize]
    }

    fn text(&mut self) -> String {
        match self.below(4) {
            0 => format!("Accepted publickey for root from 192.0.2.{} port {} ssh2: ED25519 SHA256:x", self.below(255), self.below(65_536)),
            1 => format!("blk_update_request: I/O error, dev sda, sector {} op 0x0:(READ) flags 0x80700", self.below(1 << 32)),
            2 => format!("Started Session {} of user admin.", self.below(100_000)),
            _ => format!("[instance: {:016x}] VM Resumed (Lifecycle Event), took {} ms", self.below(u64::MAX), self.below(9_000)),
        }
    }
}

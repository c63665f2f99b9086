//! The whole of the processor for one record: decode the raw line, find its template, count it, encode the parsed line.
//! Thread CPU time; run with `cargo bench -p nephoscope-drain --bench processor`.

use drain::{Config, DrainProcessor};
use rustix::time::{ClockId, clock_gettime};
use schemas::{EventTime, LogRecord, LogSource, SourceKind, Subject};
use stream_core::{Applied, EventClock, Headers, Instance, Lateness, Offset, Outbox, Partition, Processor, Record, TopicPartition};

const LINES: usize = 4_096;
const ROUNDS: usize = 100;
/// What one core must take (see the targets of the engine): 6.7 CPU-s per million records, bus included.
const TARGET_NS: f64 = 6_667.0;

fn thread_cpu_ns() -> i64 {
    let now = clock_gettime(ClockId::ThreadCPUTime);
    now.tv_sec * 1_000_000_000 + now.tv_nsec
}

/// Lines of eight kinds from forty hosts, 233 bytes encoded on the average.
fn lines() -> Vec<Vec<u8>> {
    let message = |n: usize| match n % 8 {
        0 => format!(
            "Accepted publickey for deploy from 10.0.{}.{} port {} ssh2: ED25519 SHA256:x{n:040x}",
            n % 7,
            n % 250,
            30_000 + n % 30_000
        ),
        1 => format!(
            "GET /api/v1/orders/{n}/items HTTP/1.1 200 {} bytes in {} ms from 192.0.2.{} by worker {}",
            n * 13,
            n % 900,
            n % 255,
            n % 16
        ),
        2 => format!("pam_unix(cron:session): session opened for user root(uid=0) by root(uid=0) in slice user-{}.slice", n % 9),
        3 => format!(
            "checkpoint complete: wrote {} buffers ({}.{}%); write={}.{} s, sync=0.0{} s, longest=0.002 s",
            n,
            n % 90,
            n % 10,
            n % 30,
            n % 10,
            n % 9
        ),
        4 => format!(
            "[UFW BLOCK] IN=eth0 OUT= SRC=203.0.113.{} DST=198.51.100.7 LEN=40 TTL={} ID={} PROTO=TCP SPT={} DPT=23",
            n % 255,
            n % 64,
            n,
            n % 65_000
        ),
        5 => format!("container 4f{n:010x} health_status: healthy (image shop/web:{}.{}, name shop_{})", n % 4, n % 10, n % 12),
        6 => format!("usb 1-{}: new high-speed USB device number {} using xhci_hcd, waiting for the hub to settle", n % 4, n % 100),
        _ => format!("systemd: Started Session {n} of user ada; the unit consumed {} ms CPU time and {} KB of memory", n % 900, n % 9_000),
    };
    let record = |n: usize| {
        let message = message(n);
        let raw = format!("<30>Nov 14 22:13:20 host-{:02} app[{}]: {message}", n % 40, n % 4_000);
        LogRecord {
            host: format!("host-{:02}", n % 40),
            event_time: 1_700_000_000_000_000 + n as i64 * 1_000,
            observed_time: 1_700_000_000_000_000 + n as i64 * 1_000,
            facility: Some(3),
            severity: Some(6),
            app_name: Some("app".into()),
            proc_id: Some((n % 4_000).to_string()),
            message_start: (raw.len() - message.len()) as i32,
            message_length: message.len() as i32,
            raw: raw.into_bytes(),
            source: LogSource { kind: SourceKind::Tcp, name: "127.0.0.1:5514".into(), peer: Some("10.0.0.7:40122".into()) },
            ..LogRecord::default()
        }
    };
    (0..LINES).map(|n| record(n).to_bytes().expect("fits the schema")).collect()
}

fn main() {
    let (config, at) = (Config::default(), TopicPartition::new(&"logs.raw.v1".into(), Partition(0)));
    let processor = DrainProcessor::new(&config, &at).expect("the defaults work");
    let mut instance = Instance::new(processor, EventClock::default(), at.clone(), Lateness::DEFAULT);
    let lines = lines();
    let bytes = lines.iter().map(Vec::len).sum::<usize>() / lines.len();
    let mut out = Outbox::new(DrainProcessor::NAME);
    let mut offset = 0;
    let mut round = || {
        let begun = thread_cpu_ns();
        for value in &lines {
            let (topic, partition, headers) = (&at.topic, at.partition, Headers::default());
            let appended_at = EventTime::from_micros(1_700_000_000_000_000 + offset as i64 * 10);
            let record = Record { topic, partition, offset: Offset(offset), appended_at, key: None, value: Some(value), headers };
            assert_eq!(instance.apply(record, &mut out), Applied::Accepted);
            offset += 1;
            if out.bytes() > 16 << 20 {
                out.clear();
            }
        }
        out.clear();
        (thread_cpu_ns() - begun) as f64 / lines.len() as f64
    };
    let first = round();
    let mut rounds: Vec<f64> = (0..ROUNDS).map(|_| round()).collect();
    rounds.sort_by(f64::total_cmp);
    let median = rounds[ROUNDS / 2];
    println!("{bytes} B raw records: first round {first:.0} ns, then {median:.0} ns each = {:.0} records/s of one core", 1e9 / median);
    println!("target with the bus: {TARGET_NS:.0} ns; the processor takes {:.0} % of it", 100.0 * median / TARGET_NS);
}

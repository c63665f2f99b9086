//! What it costs to write and read a raw log line: our Avro beside serde_json, owned beside borrowed.
//! Thread CPU time, so that other processes change little; run with `cargo bench -p nephoscope-schemas`.

use std::hint::black_box;

use rustix::time::{ClockId, clock_gettime};
use schemas::{LogRecord, LogRecordView, LogSource, ParseStatus, SourceKind, Subject, TimeSource};

const CALLS: usize = 20_000;
const ROUNDS: usize = 51;

fn thread_cpu_ns() -> i64 {
    let now = clock_gettime(ClockId::ThreadCPUTime);
    now.tv_sec * 1_000_000_000 + now.tv_nsec
}

/// A line as most lines are.
fn record() -> LogRecord {
    let header = "<30>Nov 14 22:13:20 web-1 shop[4021]: ";
    let message = "request 7f3a91 of user 4412 answered with 200 in 184 ms: 18231 bytes from 10.0.0.9:8080 by worker 3, cart 91, attempt 1";
    LogRecord {
        host: "web-1".into(),
        event_time: 1_700_000_000_123_456,
        observed_time: 1_700_000_000_127_777,
        time_source: TimeSource::Message,
        facility: Some(3),
        severity: Some(6),
        app_name: Some("shop".into()),
        proc_id: Some("4021".into()),
        raw: [header, message].concat().into_bytes(),
        message_start: header.len() as i32,
        message_length: message.len() as i32,
        source: LogSource { kind: SourceKind::Tcp, name: "127.0.0.1:5514".into(), peer: Some("10.0.0.17:40122".into()) },
        parse_status: ParseStatus::Rfc3164,
        ..LogRecord::default()
    }
}

/// Median nanoseconds of one call.
fn measure(mut call: impl FnMut()) -> f64 {
    let mut rounds: Vec<f64> = (0..ROUNDS)
        .map(|_| {
            let begun = thread_cpu_ns();
            (0..CALLS).for_each(|_| call());
            (thread_cpu_ns() - begun) as f64 / CALLS as f64
        })
        .collect();
    rounds.sort_by(f64::total_cmp);
    rounds[ROUNDS / 2]
}

fn main() {
    let record = record();
    let avro = record.to_bytes().expect("fits the schema");
    let json = serde_json::to_vec(&record).expect("JSON");
    println!("one raw line of {} bytes: {} B of Avro, {} B of JSON\n", record.raw.len(), avro.len(), json.len());
    let mut buffer = Vec::with_capacity(1_024);
    let row = |name: &str, target: Option<f64>, ns: f64| {
        let verdict =
            target.map_or("peer".into(), |target| format!("target {target:.0}, {}", if ns <= target { "reached" } else { "missed" }));
        println!("{name:<28} {ns:>7.0} ns   {verdict}");
    };
    row(
        "Avro, encode",
        Some(800.0),
        measure(|| {
            buffer.clear();
            black_box(&record).encode(&mut buffer).expect("fits the schema");
        }),
    );
    row(
        "Avro, decode owned",
        Some(900.0),
        measure(|| {
            black_box(LogRecord::from_bytes(black_box(&avro)).expect("our own encoding"));
        }),
    );
    row(
        "Avro, decode borrowed",
        Some(500.0),
        measure(|| {
            black_box(LogRecordView::from_bytes(black_box(&avro)).expect("our own encoding"));
        }),
    );
    let mut buffer = Vec::with_capacity(1_024);
    row(
        "serde_json, encode",
        None,
        measure(|| {
            buffer.clear();
            serde_json::to_writer(&mut buffer, black_box(&record)).expect("JSON");
        }),
    );
    row(
        "serde_json, decode owned",
        None,
        measure(|| {
            black_box(serde_json::from_slice::<LogRecord>(black_box(&json)).expect("our own encoding"));
        }),
    );
}

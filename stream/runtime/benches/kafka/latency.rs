//! From a record's time to the moment at which a reader of committed records has what was made of it.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use rdkafka::{Message, consumer::BaseConsumer, producer::Producer};

use crate::{
    bare,
    broker::{self, ASK, Broker},
    model::{self, Load},
    support::{Lines, RECORD_BYTES, quantile_ms},
};

/// Records per second.
const RATE: u64 = 10_000;
/// Seconds that are not counted: a group forms, a first snapshot is written.
const WARM_S: u64 = 3;

/// Open loop: a record carries the time at which it was *due*, so a stall counts for every record behind it.
pub fn run(broker: &Broker, seconds: u64) {
    println!("latency at {RATE} records/s of {RECORD_BYTES} bytes, open loop, exactly once, to a reader of committed records; {seconds} s");
    let bare = measure(broker, "latency-bare", seconds, |stop| bare::copy(broker, "latency-bare", "0", stop, |_| {}));
    print("bare rdkafka", &bare);
    let bus = broker.bus("latency", "0", 1);
    let ours = measure(broker, "latency", seconds, |stop| model::run(&bus, &Load::default(), stop, |_| {}));
    print("ours", &ours);
}

fn print(name: &str, sorted: &[Duration]) {
    let [p50, p99, p999, max] = [0.5, 0.99, 0.999, 1.0].map(|q| quantile_ms(sorted, q));
    println!("  {name:<16}  p50 {p50:>6.1} ms  p99 {p99:>6.1} ms  p99.9 {p999:>6.1} ms  max {max:>6.1} ms   ({} records)", sorted.len());
}

/// The sorted times of all records but the first seconds'.
fn measure(broker: &Broker, suite: &str, seconds: u64, copy: impl FnOnce(&AtomicBool) + Send) -> Vec<Duration> {
    broker.bus(suite, "topics", 1);
    let reader = broker.reader(&format!("{suite}.out.v1"));
    let stop = AtomicBool::new(false);
    let epoch = Instant::now();
    let records = (WARM_S + seconds) * RATE;
    thread::scope(|scope| {
        scope.spawn(|| copy(&stop));
        scope.spawn(|| offer(broker, &format!("{suite}.in.v1"), epoch, records));
        let mut times = read(&reader, epoch, records);
        stop.store(true, Ordering::Relaxed);
        times.sort();
        times
    })
}

/// Offers records when they are due, whatever has become of the ones before.
fn offer(broker: &Broker, topic: &str, epoch: Instant, records: u64) {
    let producer = broker.producer(5);
    let (mut lines, mut line) = (Lines::new(1), String::new());
    for n in 0..records {
        let due = Duration::from_nanos(n * 1_000_000_000 / RATE);
        while let Some(early) = due.checked_sub(epoch.elapsed()).filter(|early| !early.is_zero()) {
            thread::sleep(early.max(Duration::from_millis(1)));
        }
        lines.fill(&mut line);
        let due = format!("{:020}", due.as_nanos());
        line.replace_range(..due.len(), &due);
        broker::send(&producer, topic, 0, b"host-1", line.as_bytes());
    }
    producer.flush(ASK).expect("all is written");
}

fn read(reader: &BaseConsumer, epoch: Instant, records: u64) -> Vec<Duration> {
    let (mut read, mut times) = (0, Vec::with_capacity(records as usize));
    while read < records {
        let Some(message) = reader.poll(ASK) else { panic!("nothing came for {} s after {read} records", ASK.as_secs()) };
        let now = epoch.elapsed();
        let message = message.expect("reads");
        let due = message.payload().and_then(|line| std::str::from_utf8(line.get(..20)?).ok()?.parse().ok()).expect("carries its time");
        let due = Duration::from_nanos(due);
        read += 1;
        if due >= Duration::from_secs(WARM_S) {
            times.push(now - due);
        }
    }
    times
}

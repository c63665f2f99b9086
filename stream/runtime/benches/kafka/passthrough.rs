//! How much of what a bare client reaches is left when the engine stands around it.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    thread,
};

use crate::{
    bare,
    broker::Broker,
    model::{self, Load, Mark, Span},
    streams::Streams,
    support::{Lines, RECORD_BYTES},
};

const SUITE: &str = "passthrough";

/// One partition of `records` records, copied `rounds` times by each of the three, in turn. Each is measured from its first
/// quarter to its end: what a start costs is not the question here.
pub fn run(broker: &Broker, records: u64, rounds: usize) {
    println!("pass-through, exactly once, {records} records of {RECORD_BYTES} bytes, one worker, batches of 100 ms; median of {rounds}");
    broker.bus(SUITE, "fill", 1);
    broker.fill(&format!("{SUITE}.in.v1"), |send| {
        let (mut lines, mut line) = (Lines::new(1), String::new());
        for _ in 0..records {
            lines.fill(&mut line);
            send(0, b"host-1", line.as_bytes());
        }
    });
    let streams = Streams::build();
    let (mut bare, mut ours, mut theirs) = (Vec::new(), Vec::new(), Vec::new());
    for round in 0..rounds {
        let round = round.to_string();
        bare.push(copy_bare(broker, &round, records));
        ours.push(copy_ours(broker, &round, records));
        if let Ok(streams) = &streams {
            theirs.push(streams.copy(broker, SUITE, &round, records));
        }
    }
    let (bare, ours) = (Rates::median(&bare), Rates::median(&ours));
    println!("                              per wall second  per CPU second of the process  CPU-s per million: process / thread");
    bare.print("bare rdkafka");
    ours.print("ours");
    match streams {
        Ok(_) => {
            let theirs = Rates::median(&theirs);
            theirs.print("Kafka Streams");
            println!("  ours / Kafka Streams        {:>15.2}  {:>29.2}", ours.wall / theirs.wall, ours.process / theirs.process);
        }
        Err(why) => println!("  Kafka Streams               skipped: {why}"),
    }
    println!("  ours / bare rdkafka         {:>15.2}  {:>29.2}", ours.wall / bare.wall, ours.process / bare.process);
}

/// Records per second.
struct Rates {
    wall: f64,
    process: f64,
    thread: Option<f64>,
}

impl Rates {
    fn median(spans: &[Span]) -> Self {
        let median = |rate: &dyn Fn(&Span) -> f64| {
            let mut rates: Vec<f64> = spans.iter().map(rate).collect();
            rates.sort_by(f64::total_cmp);
            rates[rates.len() / 2]
        };
        let is_threaded = spans.iter().all(|span| span.thread.is_some());
        Self {
            wall: median(&|span| span.records / span.wall),
            process: median(&|span| span.records / span.process),
            thread: is_threaded.then(|| median(&|span| span.thread.map_or(0.0, |thread| span.records / thread))),
        }
    }

    fn print(&self, name: &str) {
        let thread = self.thread.map_or("–".into(), |thread| format!("{:.2}", 1e6 / thread));
        println!("  {name:<26}{:>17.0}  {:>29.0}  {:>28.2} / {thread}", self.wall, self.process, 1e6 / self.process);
    }
}

fn copy_bare(broker: &Broker, round: &str, records: u64) -> Span {
    measured(records, |stop, told| bare::copy(broker, SUITE, round, stop, told))
}

fn copy_ours(broker: &Broker, round: &str, records: u64) -> Span {
    let bus = broker.bus(SUITE, round, 1);
    measured(records, |stop, told| model::run(&bus, &Load::default(), stop, |totals| told(model::records(totals))))
}

/// The span from a quarter of the records to the last, of a copy on a thread of its own that is then stopped.
fn measured(records: u64, copy: impl FnOnce(&AtomicBool, &mut dyn FnMut(u64)) + Send) -> Span {
    let stop = AtomicBool::new(false);
    let (mut begun, mut span) = (None::<Mark>, None);
    let mut told = |done: u64| match &begun {
        None if done >= records / 4 => begun = Some(Mark::now(done)),
        Some(begun) if done >= records && span.is_none() => {
            span = Some(begun.until(done));
            stop.store(true, Ordering::Relaxed);
        }
        _ => {}
    };
    thread::scope(|scope| {
        scope.spawn(|| copy(&stop, &mut told)).join().expect("ends");
    });
    span.expect("all records were copied")
}

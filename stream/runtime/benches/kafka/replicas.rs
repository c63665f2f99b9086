//! Whether a second worker brings a second worker's work.

use std::{
    sync::{
        Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use crate::{
    broker::Broker,
    model::{self, Load},
    support::{Lines, RECORD_BYTES},
};

const SUITE: &str = "replicas";
/// What a record costs in the model, so that two workers can be seen beside the broker on two cores.
const WORK_US: f64 = 20.0;

/// The end of a batch: when, how many records are done, and from how many partitions they come.
type Step = (Instant, u64, usize);

/// Two partitions, worked on by one worker and then by two, for `seconds` each once they share them.
pub fn run(broker: &Broker, seconds: u64) {
    println!("replicas, exactly once, records of {RECORD_BYTES} bytes and {WORK_US} µs of work each, two partitions, {seconds} s each");
    let rounds = (model::rounds_per_us() * WORK_US) as u64;
    let load = Load { rounds, ..Load::default() };
    broker.bus(SUITE, "fill", 2);
    broker.fill(&format!("{SUITE}.in.v1"), |send| {
        let (mut lines, mut line) = (Lines::new(1), String::new());
        // More than two workers can do until they have been measured and a rebalance before that is over.
        for n in 0..(seconds + 15) * 2 * (1e6 / WORK_US) as u64 {
            lines.fill(&mut line);
            send((n % 2) as i32, b"host-1", line.as_bytes());
        }
    });
    let one = rate(broker, &load, 1, seconds);
    println!("  one worker                  {one:>15.0} records/s");
    let two = rate(broker, &load, 2, seconds);
    println!("  two workers                 {two:>15.0} records/s");
    println!("  two / one                   {:>15.2}", two / one);
}

/// Records per second of all workers together, each measured from the end of one of its batches to the end of another.
fn rate(broker: &Broker, load: &Load, workers: usize, seconds: u64) -> f64 {
    let bus = broker.bus(SUITE, &workers.to_string(), 2);
    let stop = AtomicBool::new(false);
    let steps: Vec<Mutex<Vec<Step>>> = (0..workers).map(|_| Mutex::default()).collect();
    thread::scope(|scope| {
        for steps in &steps {
            let told = |totals: &stream_runtime::metrics::Totals| {
                let step = (Instant::now(), model::records(totals), totals.instances.len());
                steps.lock().expect("nobody panicked").push(step);
            };
            let (bus, stop) = (&bus, &stop);
            scope.spawn(move || model::run(bus, load, stop, told));
        }
        let has_share = |steps: &Mutex<Vec<Step>>| {
            let steps = steps.lock().expect("nobody panicked");
            steps.last().is_some_and(|(_, records, partitions)| *records > 0 && *partitions == 2 / workers)
        };
        while !steps.iter().all(has_share) {
            thread::sleep(Duration::from_millis(10));
        }
        let begun = Instant::now();
        thread::sleep(Duration::from_secs(seconds));
        stop.store(true, Ordering::Relaxed);
        steps.iter().map(|steps| rate_since(begun, &steps.lock().expect("nobody panicked"))).sum()
    })
}

fn rate_since(begun: Instant, steps: &[Step]) -> f64 {
    let mut since = steps.iter().filter(|(at, ..)| *at >= begun);
    let (first, last) = (since.next().expect("a batch ended"), since.next_back().expect("another batch ended"));
    (last.1 - first.1) as f64 / (last.0 - first.0).as_secs_f64()
}

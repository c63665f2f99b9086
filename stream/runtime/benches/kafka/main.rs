//! Exactly-once on Kafka, measured on a broker of its own beside its peers: a bare copy loop of crate rdkafka, and Kafka
//! Streams.
//!
//! `cargo bench -p nephoscope-stream-runtime --bench kafka -- [passthrough|drain|replicas|latency|restore]… [--records N] [--seconds N] [--rounds N]`

#![allow(clippy::disallowed_methods, reason = "a bench measures time")]
#![allow(missing_docs)]

mod bare;
mod broker;
mod drain;
mod latency;
mod model;
mod passthrough;
mod replicas;
mod restore;
mod streams;
#[path = "../support/mod.rs"]
mod support;

use broker::Broker;

const SUITES: [&str; 5] = ["passthrough", "drain", "replicas", "latency", "restore"];

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let number = |name: &str, default: u64| {
        let value = arguments.iter().skip_while(|argument| *argument != name).nth(1);
        value.map_or(default, |value| value.parse().unwrap_or_else(|_| panic!("{name} {value}: expected a number")))
    };
    let (records, seconds, rounds) = (number("--records", 2_000_000), number("--seconds", 20), number("--rounds", 3));
    let named: Vec<&str> = arguments.iter().map(String::as_str).filter(|argument| SUITES.contains(argument)).collect();
    let Some(broker) = Broker::start() else { return };
    for suite in if named.is_empty() { SUITES.to_vec() } else { named } {
        match suite {
            "passthrough" => passthrough::run(&broker, records, rounds as usize),
            "drain" => drain::run(&broker, records),
            "replicas" => replicas::run(&broker, seconds),
            "latency" => latency::run(&broker, seconds),
            _ => restore::run(&broker, rounds),
        }
    }
}

//! What receiving costs: the collector on the embedded bus, every line parsed, encoded, durable; beside it the real rsyslogd,
//! which receives the same bytes from the same senders and writes the lines to a file. `cargo bench -p nephoscope-syslog
//! --bench receive [-- LINES]`.
//!
//! CPU time of the receiver only: of the collector that of this process without its sending threads, of rsyslogd that of its
//! process, both with the kernel's share. The best of the rounds, which interleave the receivers. What is sent is made before.

#![allow(missing_docs)]

#[path = "receive/load.rs"]
mod load;
#[path = "receive/receivers.rs"]
mod receivers;

use std::time::Duration;

use load::{Load, Transport};
use receivers::{Ours, Receiver, Rsyslogd};

const LINES: usize = 400_000;
const ROUNDS: usize = 3;

/// What a round cost.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Cost {
    pub(crate) cpu: Duration,
    pub(crate) wall: Duration,
}

fn main() {
    let lines = std::env::args().skip(1).find_map(|argument| argument.parse().ok()).unwrap_or(LINES);
    let load = Load::new(lines);
    println!("{lines} lines of {} bytes over {} connections, best of {ROUNDS} rounds", load.line_bytes(), load::CONNECTIONS);
    println!("{:<16} {:>10} {:>18} {:>14} {:>14}", "transport", "receiver", "lines/CPU second", "lines/second", "ours ×");
    for transport in Transport::ALL {
        let mut best = Vec::new();
        let receivers: [&dyn Receiver; 2] = [&Ours, &Rsyslogd];
        for _ in 0..ROUNDS {
            for (index, receiver) in receivers.iter().enumerate() {
                let Some(cost) = receiver.receive(transport, &load) else { continue };
                best.resize(best.len().max(index + 1), None);
                let known: &mut Option<Cost> = &mut best[index];
                *known = Some(known.map_or(cost, |known| if cost.cpu < known.cpu { cost } else { known }));
            }
        }
        let ours = best.first().copied().flatten();
        for (receiver, cost) in receivers.iter().zip(&best) {
            let (Some(cost), Some(ours)) = (cost, ours) else { continue };
            let per = |time: Duration| lines as f64 / time.as_secs_f64();
            let ratio = cost.cpu.as_secs_f64() / ours.cpu.as_secs_f64();
            let name = transport.name();
            println!("{name:<16} {:>10} {:>18.0} {:>14.0} {ratio:>14.1}", receiver.name(), per(cost.cpu), per(cost.wall));
        }
    }
}

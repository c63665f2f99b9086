//! A model of a bus with Kafka's semantics, and a simulator that runs the real engine on it through every kind of bad day.
//!
//! ```text
//!  seed ──▶ scheduler ──▶ sources, workers (the real engine), markers, timeouts, clocks        (world)
//!                              │ every call to the bus is a point where its process may
//!                              │ die, or freeze while the rest of the world goes on            (client)
//!                              ▼
//!            logs with transactions and late markers, epochs, group generations, offsets       (cluster)
//!                              │
//!            faults cease, everything must be processed ──▶ oracle: the crash law              (oracle)
//! ```
//!
//! The crash law: whatever happened, outputs, dead letters and states equal those of one undisturbed run over the same input,
//! with the same committed injections and poison. One seed is the whole story of a run, in the way of FoundationDB's
//! simulation (Zhou et al., SIGMOD 2021) and TigerBeetle's VOPR, here in one process and one thread.
//!
//! `tests/simulator.rs` runs 1,500 seeds and proves with seventeen [deliberate faults](Mutation) that they find what they are
//! for. Seeds 0 to 29,999 hold: 148,000 crashes, 450,000 frozen calls, 1.4 million restores, 33,000 times that retention
//! removed records; before retention was among the faults, so did 0 to 99,999. A minute of CPU time is 27,000 seeds.
//! A failure prints its seed; `SIM_SEED=<n>` tells that one's whole story, `SIM_SEEDS=<n>` asks for more.
//!
//! A real bus is held to the same law by the same oracle: what stands on it is taken over into a [`Recording`], and its
//! processes are threads that die and freeze at [`Moment`]s (`tests/kafka/crash_law`).
//!
//! ```
//! use stream_runtime::sim::{Options, simulate};
//!
//! let report = simulate(42, &Options::default()).expect("the crash law holds");
//! assert!(report.verified.outputs > 0);
//! ```

pub(crate) mod client;
mod clock;
pub(crate) mod cluster;
mod faults;
mod feeder;
mod group;
mod history;
mod law;
pub(crate) mod log;
mod oracle;
mod publisher;
mod recording;
mod rng;
#[cfg(test)]
mod semantics;
mod session;
pub mod toy;
mod transactions;
mod violation;
mod workload;
mod world;

pub use cluster::Tally;
pub use faults::Faults;
pub use law::{Options, Report, check_crash_law, describe, run, seeds_to_run, simulate};
pub use oracle::Verified;
pub use recording::{Recording, sign};
pub use rng::Rng;
pub use violation::Violation;
pub use workload::{SourceRecord, Workload};
pub use world::{release, run_release};

pub use crate::{
    mutation::{Mutation, set as mutate},
    peril::{Moment, strike_with},
};

//! A model of a bus with Kafka's semantics, and a simulator that runs the real engine on it through every kind of bad day.

mod client;
mod cluster;
mod faults;
mod group;
mod log;
mod publisher;
mod rng;
#[cfg(test)]
mod semantics;
mod session;
mod transactions;

pub use client::{Client, SimBus, Stillness, World};
pub use cluster::{Cluster, Tally};
pub use faults::Faults;
pub use rng::Rng;

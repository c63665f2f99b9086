//! The Kafka bus on a real broker: what it promises to sessions, publishers and people, and the crash law.
//!
//! One broker serves all tests; each has an installation of its own on it, told apart by prefixes.
#![allow(clippy::disallowed_methods, reason = "tests of a real broker, in real time")]

mod broker;
#[path = "../copier/mod.rs"]
mod copier;
mod crash_law;
mod gaps;
mod inspection;
mod publishers;
mod sessions;
mod support;
mod topics;
mod workers;

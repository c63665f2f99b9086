//! The crash law on a real broker: real workers and sources, in threads that die, freeze, come and go by a seed; then all
//! faults cease, everything is processed, and the simulator's oracle holds what stands on the broker against one undisturbed
//! run.
//!
//! `KAFKA_SEEDS=<n>` runs more worlds than the few of an ordinary test run, `KAFKA_SEED=<n>` one of them, `KAFKA_SECONDS=<n>`
//! makes each longer. Threads are not the simulator: a seed fixes the input and the schedule of the faults, not who is first.

mod fate;
mod law;
mod record;
mod replica;
mod source;
mod stranger;
mod world;

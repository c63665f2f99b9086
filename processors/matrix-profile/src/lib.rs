//! Failures foreseen: what a host's log has begun to say, against everything that it said while it was well.
#![cfg_attr(not(test), deny(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing))]

pub mod discord;
mod vmft;

pub use vmft::{Vmft, VmftParams};

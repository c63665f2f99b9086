//! Heartbeats: who is alive, who has gone silent, and whether a migrated VM missed a beat.
//!
//! ```text
//!  send ──UDP, a pulse every 3 s──▶ receiver: one thread hears, one publishes ──▶ host.heartbeats.v1 ──▶ incident
//!                                   a table of names                              first, restarted, returned, goodbye,
//!                                                                                 a summary per name and 10 s
//! ```
//!
//! Pulses are not published one by one: ten thousand names would be three thousand records a second that say nothing. Nor does
//! the receiver judge who is dead; it says what it heard, and that it still hears at all, and the judgement is a processor's,
//! which can be replayed.

mod pulse;
mod receiver;
mod register;
mod sender;
mod window;

pub use pulse::{Key, NAME_BYTES_MAX, PULSE_BYTES, Pulse, PulseError, SIGNED_BYTES};
pub use receiver::{Config, Receiver, StartError, read_key};
pub use register::{Limits, Refused, Register};
pub use sender::{SendError, Sender};
pub use window::{Seen, SequenceWindow};

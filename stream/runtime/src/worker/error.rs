//! Why a worker stopped for good. Each text says what an operator can do.

use schemas::EventTime;
use stream_core::{ConfigError, NextOffset, Offset, Reject, StateError, TopicPartition};

use crate::{bus::BusError, state::DamagedState};

/// Why a worker stopped for good. Each says what an operator can do.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the texts say it")]
pub enum WorkerError {
    #[error(transparent)]
    Bus(#[from] BusError),
    #[error(transparent)]
    DamagedState(#[from] DamagedState),
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error("state of {at} cannot be read or written")]
    State { at: TopicPartition, source: StateError },
    #[error("state of {at} has {bytes} bytes, at most {bytes_max} are allowed (state.state_bytes_max)")]
    StateTooLarge { at: TopicPartition, bytes: u64, bytes_max: u64 },
    #[error("state of {at} has version {found}, this program knows up to {known}: it was written by a newer program; start that one")]
    NewerState { at: TopicPartition, found: u16, known: u16 },
    #[error(
        "topic of {at} had {then} partitions when its state was written and has {now} now, so keys would meet foreign state; `nephoscope state reset` starts anew"
    )]
    PartitionsChanged { at: TopicPartition, then: u32, now: u32 },
    #[error(
        "the group's position in {at} is {group}, but {position} has been processed: somebody moved the group; move it back, or `nephoscope state skip` leaves out what lies between, or `nephoscope state reset` starts anew from there"
    )]
    GroupMoved { at: TopicPartition, group: NextOffset, position: NextOffset },
    #[error(
        "{at} begins at {first}, but a replay needs records from {needed} on: retention removed them; `nephoscope state reset` starts anew"
    )]
    InputGone { at: TopicPartition, needed: NextOffset, first: NextOffset },
    #[error("{at}: two runs over the same input differ: {what}")]
    Nondeterministic { at: TopicPartition, what: String },
    #[error("{at}: idle tick to {tick} failed: {reject}")]
    Tick { at: TopicPartition, tick: EventTime, reject: Reject },
    #[error("broadcast record {at} offset {offset} cannot be applied: {reject}")]
    Broadcast { at: TopicPartition, offset: Offset, reject: Reject },
    #[error("{at}: too many rejects; the first was offset {offset}: {reject}. Mend the writer or this program, then start again")]
    TooManyRejects { at: TopicPartition, offset: Offset, reject: Reject },
    #[error("{at}: what follows from a commit failed: {reject}")]
    AfterCommit { at: TopicPartition, reject: Reject },
    #[error("commit failed: {0}")]
    Commit(String),
}

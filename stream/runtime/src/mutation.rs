//! Deliberate faults, to prove that the simulator would find them. Without feature `sim` none can be switched on, and each
//! place that asks compiles to nothing.

use stream_core::TopicPartition;

use crate::state::ChunkCache;

/// One deliberate fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Mutation {
    /// After an abort, memory that is ahead of the log goes on instead of being restored.
    StateKeptAfterAbort,
    /// Idle ticks are not lived through again.
    JournalIgnored,
    /// Idle ticks are lived through again only before a record of exactly their offset, as if offsets had no gaps.
    JournalAtEqualOffsetsOnly,
    /// A restored instance starts with a new clock.
    ClockNotRestored,
    /// A restored instance starts with the clock of its position instead of its snapshot's.
    ClockFromPosition,
    /// Poison is not passed over in a replay.
    PoisonForgotten,
    /// The position names the offset after the one to read next.
    PositionOffByOne,
    /// The snapshot names the offset after the one to read next.
    HeadOffByOne,
    /// The cache of committed chunks outlives an abort, with what was never committed.
    ChunkCacheKeptAfterAbort,
    /// Records gathered from a partition are processed though it has been revoked since.
    RevokedRecordsProcessed,
    /// A partition that was taken and given back within one gather is restored before the records that were gathered earlier.
    RestoredAmongGathered,
    /// Broadcasts go on where the session stands, though an instance came back to where it had seen less.
    BroadcastsNotReadAgain,
    /// One look at the group's position and the state decides, though somebody may have committed in between.
    MismatchBelievedAtOnce,
    /// The state log is read to the last stable offset, without waiting for what is still undecided.
    StateReadToLastStable,
    /// Offsets go out under the membership of the moment, whoever it was that processed.
    MembershipReadAtCommit,
    /// A publisher's cursor does not travel in the transaction of its records.
    CursorApart,
    /// What retention took before it was processed is passed over in silence.
    LossUntold,
    /// A sink acts on its intents before they are committed.
    ActedBeforeCommit,
    /// Records that a sink could not deliver for now count as delivered.
    UndoneRecordsPassed,
}

impl Mutation {
    /// Those of a processor's engine and of the bus.
    pub const ALL: [Self; 17] = [
        Self::StateKeptAfterAbort,
        Self::JournalIgnored,
        Self::JournalAtEqualOffsetsOnly,
        Self::ClockNotRestored,
        Self::ClockFromPosition,
        Self::PoisonForgotten,
        Self::PositionOffByOne,
        Self::HeadOffByOne,
        Self::ChunkCacheKeptAfterAbort,
        Self::RevokedRecordsProcessed,
        Self::RestoredAmongGathered,
        Self::BroadcastsNotReadAgain,
        Self::MismatchBelievedAtOnce,
        Self::StateReadToLastStable,
        Self::MembershipReadAtCommit,
        Self::CursorApart,
        Self::LossUntold,
    ];

    /// Those of a sink's engine, and of the bus where it matters to sinks.
    pub const SINK: [Self; 6] = [
        Self::ActedBeforeCommit,
        Self::UndoneRecordsPassed,
        Self::StateKeptAfterAbort,
        Self::MismatchBelievedAtOnce,
        Self::StateReadToLastStable,
        Self::MembershipReadAtCommit,
    ];
}

/// What a place that could be wrong says: the truth, unless its fault is on.
pub(crate) fn or<T>(truth: T, mutation: Mutation, lie: impl FnOnce() -> T) -> T {
    if is_on(mutation) { lie() } else { truth }
}

#[cfg(feature = "sim")]
pub use switched::set;
#[cfg(feature = "sim")]
pub(crate) use switched::{is_on, last_written, written};
#[cfg(not(feature = "sim"))]
pub(crate) use unswitched::{is_on, last_written, written};

#[cfg(feature = "sim")]
mod switched {
    use std::{
        cell::{Cell, RefCell},
        collections::BTreeMap,
    };

    use super::{ChunkCache, Mutation, TopicPartition};

    thread_local! {
        static ON: Cell<Option<Mutation>> = const { Cell::new(None) };
        static WRITTEN: RefCell<BTreeMap<TopicPartition, ChunkCache>> = const { RefCell::new(BTreeMap::new()) };
    }

    /// Switches one fault on for what this thread runs from now on, or all off.
    pub fn set(mutation: Option<Mutation>) {
        ON.set(mutation);
        WRITTEN.take();
    }

    /// Whether a fault is on.
    pub(crate) fn is_on(mutation: Mutation) -> bool {
        ON.get() == Some(mutation)
    }

    /// Takes note of chunks that were written, whether or not they will be committed.
    pub(crate) fn written(at: &TopicPartition, cache: &ChunkCache) {
        if is_on(Mutation::ChunkCacheKeptAfterAbort) {
            WRITTEN.with_borrow_mut(|caches| caches.insert(at.clone(), cache.clone()));
        }
    }

    /// The chunks that were written last, whether or not they were committed.
    pub(crate) fn last_written(at: &TopicPartition) -> ChunkCache {
        WRITTEN.with_borrow(|caches| caches.get(at).cloned().unwrap_or_default())
    }
}

#[cfg(not(feature = "sim"))]
mod unswitched {
    use super::{ChunkCache, Mutation, TopicPartition};

    pub(crate) const fn is_on(_: Mutation) -> bool {
        false
    }

    pub(crate) const fn written(_: &TopicPartition, _: &ChunkCache) {}

    pub(crate) fn last_written(_: &TopicPartition) -> ChunkCache {
        ChunkCache::default()
    }
}

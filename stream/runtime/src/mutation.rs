//! Deliberate faults, to prove that the simulator would find them. Without feature `sim` none can be switched on and each
//! place that asks compiles to nothing.

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
    /// The state log is read to the last stable offset, without waiting for what is still undecided.
    StateReadToLastStable,
    /// Offsets go out under the membership of the moment, whoever it was that processed.
    MembershipReadAtCommit,
    /// A publisher's cursor does not travel in the transaction of its records.
    CursorApart,
}

impl Mutation {
    /// All of them.
    pub const ALL: [Self; 13] = [
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
        Self::StateReadToLastStable,
        Self::MembershipReadAtCommit,
        Self::CursorApart,
    ];
}

#[cfg(feature = "sim")]
thread_local! {
    static ON: std::cell::Cell<Option<Mutation>> = const { std::cell::Cell::new(None) };
}

/// Switches one fault on for what this thread runs from now on, or all off.
#[cfg(feature = "sim")]
pub(crate) fn set(mutation: Option<Mutation>) {
    ON.set(mutation);
}

/// Whether a fault is on.
#[cfg(feature = "sim")]
pub(crate) fn is_on(mutation: Mutation) -> bool {
    ON.get() == Some(mutation)
}

/// Never, in a program that is not a simulation.
#[cfg(not(feature = "sim"))]
pub(crate) const fn is_on(_: Mutation) -> bool {
    false
}

//! What may go wrong, and how often.

use super::rng::Rng;

/// Rates per mille of the occasions on which each fault can strike.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Faults {
    /// A process dies, at any call to the bus.
    pub crash: u32,
    /// A client breaks and has to be replaced, at any call to the bus.
    pub lost: u32,
    /// A process is frozen inside a call while the rest of the world goes on; meanwhile it may be evicted, its transaction
    /// may time out and an heir may take its name.
    pub freeze: u32,
    /// A transaction is aborted instead of committed.
    pub abort: u32,
    /// The answer to a commit is lost; it may have been decided or not.
    pub unknown: u32,
    /// The disk is full.
    pub disk_full: u32,
    /// A partition is taken away and dealt anew.
    pub rebalance: u32,
    /// A transaction or a membership times out though nobody is frozen.
    pub timeout: u32,
    /// Markers stay under way.
    pub late_marker: u32,
    /// A client acts on what it last heard of its group.
    pub stale_membership: u32,
    /// A state cannot be read in one slice.
    pub slow_restore: u32,
    /// The monotonic clock jumps, so that partitions count as silent.
    pub silence: u32,
    /// The CPU clock jumps, so that a snapshot is due.
    pub costly: u32,
    /// Retention removes the oldest records of an input.
    pub retention: u32,
}

impl Faults {
    /// A good day.
    pub const NONE: Self = Self {
        crash: 0,
        lost: 0,
        freeze: 0,
        abort: 0,
        unknown: 0,
        disk_full: 0,
        rebalance: 0,
        timeout: 0,
        late_marker: 0,
        stale_membership: 0,
        slow_restore: 0,
        silence: 0,
        costly: 0,
        retention: 0,
    };

    /// A bad day, different for each seed: every fault is left out of some runs and rare or frequent in others, since faults
    /// that are always on hide one another (swarm testing; Groce et al., ISSTA 2012).
    pub fn draw(rng: &mut Rng) -> Self {
        let mut rate = |most: u32| if rng.chance(350) { 0 } else { 1 + rng.below(u64::from(most)) as u32 };
        Self {
            crash: rate(25),
            lost: rate(25),
            freeze: rate(60),
            abort: rate(250),
            unknown: rate(150),
            disk_full: rate(100),
            rebalance: rate(150),
            timeout: rate(60),
            late_marker: rate(950),
            stale_membership: rate(500),
            slow_restore: rate(500),
            silence: rate(250),
            costly: rate(300),
            retention: rate(1_000),
        }
    }
}

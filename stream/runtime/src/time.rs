//! The clocks of the engine, injected so that a simulator can turn them.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use schemas::EventTime;

/// Time as the engine sees it. It decides when to commit, tick and snapshot; it never reaches an output.
pub trait Clock: Send {
    /// Time that never goes back, from any start.
    fn monotonic(&self) -> Duration;

    /// CPU time that the calling thread has used.
    fn cpu(&self) -> Duration;

    /// Waits.
    fn sleep(&self, time: Duration);
}

/// The machine's clocks.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn monotonic(&self) -> Duration {
        read(rustix::time::ClockId::Monotonic)
    }

    fn cpu(&self) -> Duration {
        read(rustix::time::ClockId::ThreadCPUTime)
    }

    fn sleep(&self, time: Duration) {
        std::thread::sleep(time);
    }
}

/// The wall clock. For the edges only: append times, alerts about this program itself, what a person sees.
#[allow(clippy::disallowed_methods, reason = "this is the one place")]
pub fn wall_clock() -> EventTime {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    EventTime(i64::try_from(since.as_nanos()).unwrap_or(i64::MAX))
}

fn read(clock: rustix::time::ClockId) -> Duration {
    let time = rustix::time::clock_gettime(clock);
    Duration::new(u64::try_from(time.tv_sec).unwrap_or(0), u32::try_from(time.tv_nsec).unwrap_or(0))
}

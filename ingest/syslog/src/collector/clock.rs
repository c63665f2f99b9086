//! The machine's clocks. Only the collector reads them; the parsers are told the time.

use rustix::time::{ClockId, Timespec, clock_gettime};

/// Microseconds since the epoch.
pub(crate) fn now_us() -> i64 {
    micros(clock_gettime(ClockId::Realtime))
}

/// Microseconds since boot, without time in suspend: the clock of `printk`. Never goes back.
pub(crate) fn monotonic_us() -> i64 {
    micros(clock_gettime(ClockId::Monotonic))
}

fn micros(time: Timespec) -> i64 {
    time.tv_sec.saturating_mul(1_000_000).saturating_add(time.tv_nsec / 1_000)
}

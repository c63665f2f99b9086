//! The clocks of a simulated process.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use super::rng::Rng;
use crate::time::Clock;

/// Time of a step that is dear enough to make a snapshot due, or to end a batch.
const COSTLY: Duration = Duration::from_secs(3);

/// A clock that only the simulation turns; clones show the same time.
#[derive(Debug, Clone)]
pub(super) struct SimClock(Arc<Mutex<Hands>>);

#[derive(Debug)]
struct Hands {
    monotonic: Duration,
    cpu: Duration,
    costly: u32,
    rng: Rng,
}

impl SimClock {
    /// A clock on which a reading of CPU time jumps in `costly` of 1,000 cases, and one of monotonic time in a quarter of that.
    pub(super) fn new(costly: u32, rng: Rng) -> Self {
        Self(Arc::new(Mutex::new(Hands { monotonic: Duration::ZERO, cpu: Duration::ZERO, costly, rng })))
    }

    /// Time passes.
    pub(super) fn pass(&self, time: Duration) {
        self.hands().monotonic += time;
    }

    fn hands(&self) -> MutexGuard<'_, Hands> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Clock for SimClock {
    fn monotonic(&self) -> Duration {
        let mut hands = self.hands();
        let rate = hands.costly / 4;
        if hands.rng.chance(rate) {
            hands.monotonic += COSTLY;
        }
        hands.monotonic
    }

    fn cpu(&self) -> Duration {
        let mut hands = self.hands();
        let rate = hands.costly;
        let step = if hands.rng.chance(rate) { COSTLY } else { Duration::from_micros(10) };
        hands.cpu += step;
        hands.cpu
    }

    fn sleep(&self, time: Duration) {
        self.pass(time);
    }
}

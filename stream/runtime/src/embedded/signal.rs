//! How readers learn that something happened: a counter that only rises, and a way to wait for the next rise.

use std::{
    sync::{Condvar, Mutex, PoisonError},
    time::Instant,
};

use super::time;

/// The counter.
#[derive(Debug, Default)]
pub(super) struct Signal {
    count: Mutex<u64>,
    rose: Condvar,
}

impl Signal {
    /// Says that something happened.
    pub(super) fn raise(&self) {
        *self.count.lock().unwrap_or_else(PoisonError::into_inner) += 1;
        self.rose.notify_all();
    }

    /// What to give to [`Signal::wait`]; taken before looking, so that nothing is missed in between.
    pub(super) fn count(&self) -> u64 {
        *self.count.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until something happened after `seen`; false if the deadline came first.
    pub(super) fn wait(&self, seen: u64, deadline: Instant) -> bool {
        let mut count = self.count.lock().unwrap_or_else(PoisonError::into_inner);
        while *count == seen {
            let Some(left) = deadline.checked_duration_since(time::instant()).filter(|left| !left.is_zero()) else {
                return false;
            };
            count = self.rose.wait_timeout(count, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        true
    }
}

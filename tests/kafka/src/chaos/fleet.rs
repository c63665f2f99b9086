//! The processes under attack, each in its place.

use std::sync::{Mutex, MutexGuard, PoisonError, TryLockError};

use crate::process::{Launch, Process};

/// A place for one process, empty or not. Whoever does something to it holds it from the blow to the recovery, so no two
/// faults meet one process.
#[derive(Debug)]
pub struct Slot {
    /// How its process is started.
    pub launch: Launch,
    process: Mutex<Option<Process>>,
}

impl Slot {
    /// An empty place.
    pub fn new(launch: Launch) -> Self {
        Self { launch, process: Mutex::new(None) }
    }

    /// The place, as soon as nobody holds it.
    pub fn hold(&self) -> MutexGuard<'_, Option<Process>> {
        self.process.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The place, if nobody holds it.
    pub fn try_hold(&self) -> Option<MutexGuard<'_, Option<Process>>> {
        match self.process.try_lock() {
            Ok(held) => Some(held),
            Err(TryLockError::Poisoned(poisoned)) => Some(poisoned.into_inner()),
            Err(TryLockError::WouldBlock) => None,
        }
    }
}

/// The first place from `victim` on, in turn, that nobody holds and whose state is as wanted.
pub fn pick(slots: &[Slot], victim: usize, running: bool) -> Option<(&Slot, MutexGuard<'_, Option<Process>>)> {
    (0..slots.len()).find_map(|step| {
        let slot = &slots[(victim + step) % slots.len()];
        let held = slot.try_hold().filter(|process| process.is_some() == running)?;
        Some((slot, held))
    })
}

/// How many run, as far as nobody holds them.
pub fn running(slots: &[Slot]) -> usize {
    slots.iter().filter(|slot| slot.try_hold().is_some_and(|process| process.is_some())).count()
}

//! What is to happen to a process that is a thread.

use std::{
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use stream_runtime::sim::{self, Moment, Mutation};

/// What a process is to meet.
#[derive(Debug, Clone, Copy)]
pub enum Order {
    /// It dies at that moment, with whatever it has open.
    Die(Moment),
    /// It stands still at that moment, for so long.
    Freeze(Moment, Duration),
    /// It leaves as it should.
    Leave,
}

/// The orders for one process, and what became of them. Clones are the same process.
#[derive(Clone, Default)]
pub struct Fate {
    order: Arc<Mutex<Option<Order>>>,
    is_calm: Arc<AtomicBool>,
    is_frozen: Arc<AtomicBool>,
    deaths: Arc<AtomicU64>,
    freezes: Arc<AtomicU64>,
}

/// Why a thread unwinds: it is killed.
struct Killed;

impl Fate {
    /// Gives an order. One that has not been met yet is forgotten.
    pub fn order(&self, order: Order) {
        *self.order.lock().unwrap() = Some(order);
    }

    /// From now on nothing happens any more, and who is frozen wakes up.
    pub fn calm_down(&self) {
        self.is_calm.store(true, Ordering::Relaxed);
        self.order.lock().unwrap().take();
    }

    /// The same, and the process leaves.
    pub fn leave(&self) {
        self.calm_down();
        self.order(Order::Leave);
    }

    pub fn is_calm(&self) -> bool {
        self.is_calm.load(Ordering::Relaxed)
    }

    pub fn is_frozen(&self) -> bool {
        self.is_frozen.load(Ordering::Relaxed)
    }

    /// Deaths and freezes met.
    pub fn met(&self) -> (u64, u64) {
        (self.deaths.load(Ordering::Relaxed), self.freezes.load(Ordering::Relaxed))
    }

    /// Whether the process was told to leave.
    pub fn is_leaving(&self) -> bool {
        matches!(*self.order.lock().unwrap(), Some(Order::Leave))
    }

    /// Runs a process in this thread. None if it was killed.
    pub fn rule<T>(&self, release: u8, mutation: Option<Mutation>, process: impl FnOnce() -> T) -> Option<T> {
        sim::run_release(release);
        sim::mutate(mutation);
        let this = self.clone();
        sim::strike_with(Box::new(move |moment| this.strike(moment)));
        match catch_unwind(AssertUnwindSafe(process)) {
            Ok(outcome) => Some(outcome),
            Err(payload) if payload.is::<Killed>() => None,
            Err(payload) => resume_unwind(payload),
        }
    }

    fn strike(&self, moment: Moment) {
        let is_now = |order: &mut Order| matches!(order, Order::Die(at) | Order::Freeze(at, _) if *at == moment);
        let Some(order) = self.order.lock().unwrap().take_if(is_now) else { return };
        match order {
            Order::Die(_) => {
                self.deaths.fetch_add(1, Ordering::Relaxed);
                resume_unwind(Box::new(Killed));
            }
            Order::Freeze(_, time) => {
                self.freezes.fetch_add(1, Ordering::Relaxed);
                self.is_frozen.store(true, Ordering::Relaxed);
                let begun = Instant::now();
                while begun.elapsed() < time && !self.is_calm() {
                    std::thread::sleep(Duration::from_millis(20));
                }
                self.is_frozen.store(false, Ordering::Relaxed);
            }
            Order::Leave => {}
        }
    }
}

//! The way back: a source that owes its sender an answer learns here how many of its lines are safe.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use rustix::event::{EventfdFlags, eventfd};

/// What a source is told. It waits for news on a file descriptor, so that it can wait for its socket at the same time.
#[derive(Debug)]
pub(crate) struct Receipt {
    safe: AtomicU64,
    has_failed: AtomicBool,
    news: OwnedFd,
}

/// What travels with the lines: an obligation to tell. Dropped before it was honoured, it tells that nothing more will be safe.
#[derive(Debug)]
pub(crate) struct Claim {
    receipt: Arc<Receipt>,
    records: u64,
    is_honoured: bool,
}

impl Receipt {
    pub(crate) fn new() -> io::Result<Arc<Self>> {
        let news = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        Ok(Arc::new(Self { safe: AtomicU64::new(0), has_failed: AtomicBool::new(false), news }))
    }

    /// An obligation for the first `records` records of the source.
    pub(crate) fn claim(self: &Arc<Self>, records: u64) -> Claim {
        Claim { receipt: self.clone(), records, is_honoured: false }
    }

    /// So many records of the source are on the bus, or in the spool on the disk. Takes the news.
    pub(crate) fn safe(&self) -> u64 {
        // Emptied before the number is read: what is told in between wakes once more.
        let _ = rustix::io::read(&self.news, &mut [0; 8]);
        self.safe.load(Ordering::Acquire)
    }

    /// Can be read when there is news.
    pub(crate) fn news(&self) -> BorrowedFd<'_> {
        self.news.as_fd()
    }

    /// No further record will be safe.
    pub(crate) fn has_failed(&self) -> bool {
        self.has_failed.load(Ordering::Acquire)
    }

    fn tell(&self) {
        // The only refusal is of a counter that is full, which wakes as well.
        let _ = rustix::io::write(&self.news, &1_u64.to_ne_bytes());
    }
}

impl Claim {
    /// The records are safe.
    pub(crate) fn honour(mut self) {
        self.is_honoured = true;
        self.receipt.safe.fetch_max(self.records, Ordering::AcqRel);
        self.receipt.tell();
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        if !self.is_honoured {
            self.receipt.has_failed.store(true, Ordering::Release);
            self.receipt.tell();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::transport::readable;
    use super::*;

    #[test]
    fn news_wakes_until_it_is_taken_and_what_is_dropped_is_told_too() {
        let receipt = Receipt::new().expect("an event");
        let is_awake = || readable([receipt.news()], Duration::ZERO) == [true];
        assert!(!is_awake());
        let (first, second, third) = (receipt.claim(3), receipt.claim(7), receipt.claim(9));
        second.honour();
        first.honour();
        assert!(is_awake());
        assert_eq!((receipt.safe(), receipt.has_failed()), (7, false), "the highest number counts");
        assert!(!is_awake());
        drop(third);
        assert!(is_awake());
        assert_eq!((receipt.safe(), receipt.has_failed()), (7, true));
    }
}

//! A limit per sender: one that runs wild must not crowd out the rest.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};

use super::clock;

/// Senders remembered; a further one takes the place of the one seen longest ago.
const PEERS_MAX: usize = 4_096;
const SECOND_US: i64 = 1_000_000;

/// Counts the lines of each peer in the present second.
#[derive(Debug)]
pub(crate) struct RateLimit {
    lines_max: u32,
    peers: Mutex<BTreeMap<IpAddr, Window>>,
}

#[derive(Debug, Clone, Copy)]
struct Window {
    second: i64,
    lines: u32,
}

impl RateLimit {
    /// `lines_max`: per second and peer; 0 lets everything pass.
    pub(crate) fn new(lines_max: u32) -> Self {
        Self { lines_max, peers: Mutex::default() }
    }

    /// May one more line of this peer pass?
    pub(crate) fn passes(&self, peer: IpAddr) -> bool {
        self.lines_max == 0 || self.passes_at(peer, clock::monotonic_us().div_euclid(SECOND_US))
    }

    fn passes_at(&self, peer: IpAddr, second: i64) -> bool {
        let mut peers = self.peers.lock().unwrap_or_else(PoisonError::into_inner);
        if peers.len() >= PEERS_MAX && !peers.contains_key(&peer) {
            let oldest = peers.iter().min_by_key(|(_, window)| window.second).map(|(peer, _)| *peer);
            oldest.and_then(|oldest| peers.remove(&oldest));
        }
        let window = peers.entry(peer).or_insert(Window { second, lines: 0 });
        if window.second != second {
            *window = Window { second, lines: 0 };
        }
        window.lines = window.lines.saturating_add(1);
        window.lines <= self.lines_max
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(n: u32) -> IpAddr {
        IpAddr::from(n.to_be_bytes())
    }

    #[test]
    fn the_excess_of_one_peer_costs_the_others_nothing() {
        let limit = RateLimit::new(2);
        let passed = |peer, second| (0..4).filter(|_| limit.passes_at(peer, second)).count();
        assert_eq!((passed(peer(1), 7), passed(peer(2), 7), passed(peer(1), 8)), (2, 2, 2));
    }

    #[test]
    fn memory_is_bounded_however_many_peers_there_are() {
        let limit = RateLimit::new(1);
        for n in 0..10_000 {
            assert!(limit.passes_at(peer(n), i64::from(n)));
        }
        assert!(limit.peers.lock().expect("not poisoned").len() <= PEERS_MAX);
    }

    #[test]
    fn zero_is_no_limit() {
        assert!((0..100).all(|_| RateLimit::new(0).passes(peer(1))));
    }
}

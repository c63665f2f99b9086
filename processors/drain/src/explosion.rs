//! The explosion guard: when templates are evicted faster than they can be of use, the lines are not from a program that
//! prints templates (or are an attack), and learning pauses. Loki's pattern ingester does the same.

use std::collections::VecDeque;

/// Window of the evictions and length of the pause: ten minutes of event time.
pub(crate) const WINDOW_NS: i64 = 600 * 1_000_000_000;

/// Counts evictions in event time.
#[derive(Clone, Debug, Default)]
pub(crate) struct ExplosionGuard {
    /// Times of the newest evictions, oldest first, at most `limit + 1`.
    evictions: VecDeque<i64>,
    /// A quarter of the cluster cap.
    limit: usize,
    paused_until: Option<i64>,
}

impl ExplosionGuard {
    pub(crate) fn new(clusters_max: usize) -> Self {
        Self { limit: clusters_max / 4, ..Self::default() }
    }

    pub(crate) fn restore(clusters_max: usize, evictions: Vec<i64>, paused_until: Option<i64>) -> Self {
        let mut guard = Self { evictions: evictions.into(), paused_until, ..Self::new(clusters_max) };
        while guard.evictions.len() > guard.limit + 1 {
            guard.evictions.pop_front();
        }
        guard
    }

    pub(crate) fn evictions(&self) -> Vec<i64> {
        self.evictions.iter().copied().collect()
    }

    pub(crate) fn paused_until(&self) -> Option<i64> {
        self.paused_until
    }

    /// Whether no cluster may be made at `now`. A clock that was far ahead must not pause the others for longer than the pause lasts.
    pub(crate) fn is_paused(&self, now: i64) -> bool {
        self.paused_until.is_some_and(|until| now < until && until.saturating_sub(now) <= WINDOW_NS)
    }

    /// Records an eviction at `now`.
    pub(crate) fn evicted(&mut self, now: i64) {
        self.evictions.push_back(now);
        if self.evictions.len() > self.limit + 1 {
            self.evictions.pop_front();
        }
        let oldest = self.evictions.front().copied().unwrap_or(now);
        if self.evictions.len() > self.limit && now.abs_diff(oldest) <= WINDOW_NS.unsigned_abs() {
            self.paused_until = Some(now.saturating_add(WINDOW_NS));
            self.evictions.clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_above_a_quarter_of_the_cap_within_the_window_and_not_longer_than_it() {
        let mut guard = ExplosionGuard::new(8);
        guard.evicted(0);
        guard.evicted(1);
        assert!(!guard.is_paused(2));
        guard.evicted(2);
        assert!(guard.is_paused(3) && guard.is_paused(1 + WINDOW_NS) && !guard.is_paused(2 + WINDOW_NS));
        assert!(!guard.is_paused(-WINDOW_NS), "a host whose clock is behind is not held back by one that is ahead");
    }

    #[test]
    fn slow_evictions_never_pause() {
        let mut guard = ExplosionGuard::new(8);
        for k in 0..100 {
            guard.evicted(k * WINDOW_NS);
            assert!(!guard.is_paused(k * WINDOW_NS));
        }
    }
}

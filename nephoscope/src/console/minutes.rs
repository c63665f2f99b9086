//! Counts per minute of the newest hour that was seen.

/// Minutes of an hour.
pub const MINUTES: usize = 60;
const MINUTE_MS: i64 = 60_000;

/// A ring of one hour: a later minute takes the place of the one an hour before it.
#[derive(Debug, Clone)]
pub struct Minutes {
    newest: i64,
    counts: [u32; MINUTES],
}

impl Default for Minutes {
    fn default() -> Self {
        Self { newest: i64::MIN, counts: [0; MINUTES] }
    }
}

impl Minutes {
    /// Counts one at this time, in milliseconds since the epoch. What is older than the hour is not counted.
    pub fn count(&mut self, at_ms: i64) {
        self.add(at_ms.div_euclid(MINUTE_MS), 1);
    }

    /// Adds what another counted.
    pub fn merge(&mut self, other: &Self) {
        for back in (0..MINUTES as i64).rev() {
            let minute = other.newest.saturating_sub(back);
            match other.at(minute) {
                0 => {} // nothing to add, and no minute to move on to
                count => self.add(minute, count),
            }
        }
    }

    /// The hour that ends with the minute of this time, oldest first.
    pub fn until(&self, now_ms: i64) -> Vec<u32> {
        let now = now_ms.div_euclid(MINUTE_MS);
        (0..MINUTES as i64).rev().map(|back| self.at(now - back)).collect()
    }

    fn add(&mut self, minute: i64, count: u32) {
        if minute > self.newest {
            let passed = minute.saturating_sub(self.newest).min(MINUTES as i64);
            for back in 0..passed {
                *self.slot(minute - back) = 0;
            }
            self.newest = minute;
        }
        if self.holds(minute) {
            let slot = self.slot(minute);
            *slot = slot.saturating_add(count);
        }
    }

    fn at(&self, minute: i64) -> u32 {
        if self.holds(minute) { self.counts[place(minute)] } else { 0 }
    }

    fn holds(&self, minute: i64) -> bool {
        minute <= self.newest && minute > self.newest.saturating_sub(MINUTES as i64)
    }

    fn slot(&mut self, minute: i64) -> &mut u32 {
        &mut self.counts[place(minute)]
    }
}

fn place(minute: i64) -> usize {
    minute.rem_euclid(MINUTES as i64) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Minutes that wander forward, with some that come late, some far ahead and some hours old.
    fn wandering() -> Vec<i64> {
        (0..3_000i64).map(|n| 1_000 + n / 20 - (n * 7 % 90) + if n % 500 == 0 { 30 } else { 0 }).collect()
    }

    fn naive(seen: &[i64], now: i64) -> Vec<u32> {
        // The hour before the newest minute at the time of counting is what a count needs to lie in.
        let mut kept = Vec::new();
        let mut newest = i64::MIN;
        for minute in seen {
            newest = newest.max(*minute);
            kept.retain(|kept: &i64| *kept > newest - 60);
            if *minute > newest - 60 {
                kept.push(*minute);
            }
        }
        (0..60).rev().map(|back| kept.iter().filter(|minute| **minute == now - back).count() as u32).collect()
    }

    #[test]
    fn the_hour_is_that_of_a_plain_list() {
        let seen = wandering();
        let mut minutes = Minutes::default();
        seen.iter().for_each(|minute| minutes.count(minute * MINUTE_MS + 59_999));
        let newest = *seen.iter().max().expect("some");
        for now in [newest - 10, newest, newest + 1, newest + 59, newest + 60, newest + 1_000_000] {
            assert_eq!(minutes.until(now * MINUTE_MS), naive(&seen, now), "{}", now - newest);
        }
    }

    #[test]
    fn two_halves_merge_into_the_whole() {
        let seen = wandering();
        let (mut whole, mut odd, mut even) = (Minutes::default(), Minutes::default(), Minutes::default());
        for (n, minute) in seen.iter().enumerate() {
            whole.count(minute * MINUTE_MS);
            if n % 2 == 0 { &mut even } else { &mut odd }.count(minute * MINUTE_MS);
        }
        let now = seen.iter().max().expect("some") * MINUTE_MS;
        odd.merge(&even);
        assert_eq!(odd.until(now), whole.until(now));
        let mut empty = Minutes::default();
        empty.merge(&whole);
        whole.merge(&Minutes::default());
        assert_eq!(empty.until(now), whole.until(now));
    }
}

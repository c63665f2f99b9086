//! Rates from counters: what a counter gained in the last ten seconds.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Mutex, PoisonError},
    time::Duration,
};

/// Long enough to be calm, short enough to follow.
const WINDOW: Duration = Duration::from_secs(10);
/// How often a sample should be taken.
pub const SAMPLE_PERIOD: Duration = Duration::from_secs(1);

/// Counts per second by name, from samples of counters that somebody else keeps.
#[derive(Debug, Default)]
pub struct Rates(Mutex<VecDeque<Sample>>);

#[derive(Debug)]
struct Sample {
    at: Duration,
    counts: BTreeMap<String, u64>,
}

impl Rates {
    /// Takes a sample at a time that never goes back.
    pub fn sample(&self, at: Duration, counts: impl IntoIterator<Item = (String, u64)>) {
        let mut samples = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        samples.push_back(Sample { at, counts: counts.into_iter().collect() });
        // One sample older than the window stays: it is the one that a rate is measured against.
        while samples.get(1).is_some_and(|next| at.saturating_sub(next.at) >= WINDOW) {
            samples.pop_front();
        }
    }

    /// How fast the counter of that name grew, which stands at `count` now.
    pub fn per_second(&self, at: Duration, name: &str, count: u64) -> f64 {
        let samples = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let before = samples.iter().find_map(|sample| Some((sample.at, *sample.counts.get(name)?)));
        let Some((then, before)) = before else { return 0.0 };
        let seconds = at.saturating_sub(then).as_secs_f64();
        // Less than half a period says more about chance than about the counter.
        if seconds < SAMPLE_PERIOD.as_secs_f64() / 2.0 { 0.0 } else { count.saturating_sub(before) as f64 / seconds }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_that_of_the_last_ten_seconds() {
        let rates = Rates::default();
        let second = Duration::from_secs;
        let one = |count: u64| [("toy".to_string(), count)];
        assert_eq!(rates.per_second(second(0), "toy", 7), 0.0);
        // A hundred a second for a minute, then none.
        for at in 0..=60 {
            rates.sample(second(at), one(at * 100));
        }
        assert_eq!(rates.per_second(second(60), "toy", 6_000), 100.0);
        for at in 61..=75 {
            rates.sample(second(at), one(6_000));
        }
        assert_eq!(rates.per_second(second(75), "toy", 6_000), 0.0);
        assert_eq!(rates.per_second(second(75), "other", 6_000), 0.0);
        assert!(rates.0.lock().expect("not poisoned").len() <= 12);
    }
}

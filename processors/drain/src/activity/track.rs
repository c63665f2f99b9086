//! One template on one host: how many lines a bucket of event time has, and when that is out of the ordinary.
//!
//! Counts of log lines are overdispersed, so they are judged as a quasi-Poisson variable: mean μ and dispersion
//! φ = max(1, variance/μ), both by exponentially weighted moving averages over the last hour.

use serde::{Deserialize, Serialize};

use super::FindingKind;

/// Buckets that the averages look back: α = 1/60.
const WINDOW_BUCKETS: u16 = 60;
/// Buckets that must be known before anything is out of the ordinary.
const HISTORY_MIN: u16 = 30;
/// A bucket this far above the mean is hot; two hot ones running are a burst.
pub(crate) const BURST_Z: f64 = 8.0;
const BURST_BUCKETS: u8 = 2;
const BURST_COUNT_MIN: u32 = 10;
/// A burst is over after three buckets running below this.
const CALM_Z: f64 = 4.0;
const CALM_BUCKETS: u32 = 3;
/// Lines that are missing, over the dispersion, when silence becomes an alert.
pub(crate) const SILENCE_SCORE: f64 = 20.0;
const SILENCE_BUCKETS: u32 = 3;
/// A template that was silent for a day is gone: that is the new normal.
const SILENCE_BUCKETS_MAX: u32 = 1_440;
/// Empty buckets that are taken into the averages at once; after ten windows nothing of the past is left in them.
const EMPTY_LEARNT_MAX: u32 = 600;
const PRESENCE_MASK: u64 = (1 << WINDOW_BUCKETS) - 1;

/// Counts of one template on one host. The averages are f32: a host of 512 templates is state that is written often.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Track {
    mean: f32,
    variance: f32,
    /// Buckets with lines among the last 60 before the present run of empty ones; the newest is bit 0.
    presence: u64,
    /// Closed buckets that the averages know.
    history: u16,
    /// Lines in the open bucket.
    count: u32,
    /// Closed buckets without lines since the last one with lines. They enter the averages when the next line comes, so
    /// that a silence is measured against what was normal before it.
    empty: u32,
    hot: u8,
    calm: u32,
    bursting: bool,
    silent: bool,
}

impl Track {
    /// Counts a line; true if that ends a silence.
    pub(crate) fn count(&mut self) -> bool {
        self.count = self.count.saturating_add(1);
        let silence_over = std::mem::take(&mut self.silent);
        if silence_over {
            self.empty = 0; // an outage is no part of what is normal
        }
        silence_over
    }

    /// Whether somebody waits to hear that a burst, a silence is over.
    pub(crate) fn open_ends(&self) -> impl Iterator<Item = FindingKind> + use<> {
        let burst = self.bursting.then_some(FindingKind::BurstOver);
        burst.into_iter().chain(self.silent.then_some(FindingKind::SilenceOver))
    }

    /// Closes the open bucket and `buckets - 1` empty ones after it.
    pub(crate) fn close(&mut self, buckets: u32, mut tell: impl FnMut(FindingKind)) {
        let count = std::mem::take(&mut self.count);
        let empty = if count == 0 { buckets } else { buckets.saturating_sub(1) };
        if count > 0 {
            self.close_full(count, &mut tell);
        }
        if empty > 0 {
            self.close_empty(empty, &mut tell);
        }
    }

    /// Takes another template's past as part of this one's: independent counts add up, and so do their variances.
    pub(crate) fn absorb(&mut self, other: &Self) {
        self.mean += other.mean;
        self.variance += other.variance;
        self.presence |= other.presence;
        self.history = self.history.max(other.history);
        self.count = self.count.saturating_add(other.count);
        self.empty = self.empty.min(other.empty);
    }

    fn close_full(&mut self, count: u32, tell: &mut impl FnMut(FindingKind)) {
        for _ in 0..self.empty.min(EMPTY_LEARNT_MAX) {
            self.learn(0.0);
        }
        self.presence = self.presence.checked_shl(self.empty).unwrap_or(0) & PRESENCE_MASK;
        self.empty = 0;
        let (count_seen, mean) = (f64::from(count), f64::from(self.mean));
        let spread = libm::sqrt(mean * self.dispersion() + 1.0);
        if self.history < HISTORY_MIN {
            self.learn(count_seen);
        } else {
            self.judge((count_seen - mean) / spread, count, tell);
            // Clipped, else the first minute of a burst would raise the mean so much that the second looks normal; a new
            // level is still learnt within the hour.
            self.learn(count_seen.min(mean + CALM_Z * spread));
        }
        self.presence = (self.presence << 1 | 1) & PRESENCE_MASK;
    }

    fn judge(&mut self, z: f64, count: u32, tell: &mut impl FnMut(FindingKind)) {
        let is_hot = z >= BURST_Z && count >= BURST_COUNT_MIN;
        self.hot = if is_hot { self.hot.saturating_add(1) } else { 0 };
        self.bursting |= self.hot >= BURST_BUCKETS;
        if !self.bursting {
            return;
        }
        if z < CALM_Z {
            self.calm_down(1, tell);
        } else {
            self.calm = 0;
            tell(FindingKind::Burst { z, count, mean: f64::from(self.mean) });
        }
    }

    fn close_empty(&mut self, buckets: u32, tell: &mut impl FnMut(FindingKind)) {
        if self.history == 0 {
            return; // it begins with its first line
        }
        self.empty = self.empty.saturating_add(buckets);
        self.hot = 0;
        if self.bursting {
            self.calm_down(buckets, tell);
        }
        let known = u32::from(self.history.min(WINDOW_BUCKETS));
        let was_regular = self.history >= HISTORY_MIN && self.presence.count_ones() * 10 >= known * 9;
        let mean = f64::from(self.mean);
        let score = f64::from(self.empty) * mean / self.dispersion();
        if !was_regular || self.empty < SILENCE_BUCKETS || score < SILENCE_SCORE {
            return;
        }
        if self.empty <= SILENCE_BUCKETS_MAX {
            self.silent = true;
            tell(FindingKind::Silence { score, buckets: self.empty, mean });
        } else if std::mem::take(self).silent {
            tell(FindingKind::SilenceOver);
        }
    }

    fn calm_down(&mut self, buckets: u32, tell: &mut impl FnMut(FindingKind)) {
        self.calm = self.calm.saturating_add(buckets);
        if self.calm >= CALM_BUCKETS {
            (self.bursting, self.calm) = (false, 0);
            tell(FindingKind::BurstOver);
        }
    }

    /// φ: how much wider than Poisson's the counts spread.
    fn dispersion(&self) -> f64 {
        if self.mean > 0.0 { (f64::from(self.variance) / f64::from(self.mean)).max(1.0) } else { 1.0 }
    }

    /// Takes one bucket into the averages: plain means of the first 60, then exponentially weighted.
    fn learn(&mut self, count: f64) {
        self.history = self.history.saturating_add(1);
        let alpha = 1.0 / f64::from(self.history.min(WINDOW_BUCKETS));
        let delta = count - f64::from(self.mean);
        self.mean = (f64::from(self.mean) + alpha * delta) as f32;
        self.variance = ((1.0 - alpha) * (f64::from(self.variance) + alpha * delta * delta)) as f32;
    }
}

#[cfg(test)]
impl Track {
    /// A track whose encoding is as long as any.
    pub(super) fn widest() -> Self {
        let (count, empty, calm) = (u32::MAX, u32::MAX, u32::MAX);
        Self { presence: PRESENCE_MASK, history: u16::MAX, count, empty, calm, hot: u8::MAX, ..Self::default() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Closes one bucket for each count and returns what was told, with the index of the bucket.
    fn run(track: &mut Track, counts: impl IntoIterator<Item = u32>) -> Vec<(usize, FindingKind)> {
        let mut findings = Vec::new();
        for (index, count) in counts.into_iter().enumerate() {
            for _ in 0..count {
                if track.count() {
                    findings.push((index, FindingKind::SilenceOver));
                }
            }
            track.close(1, |finding| findings.push((index, finding)));
        }
        findings
    }

    fn steady(per_bucket: u32) -> Track {
        let mut track = Track::default();
        assert_eq!(run(&mut track, std::iter::repeat_n(per_bucket, 40)), []);
        track
    }

    #[test]
    fn steady_counts_are_never_out_of_the_ordinary_and_noise_is_not_either() {
        assert_eq!(run(&mut steady(20), std::iter::repeat_n(20, 500)), []);
        // Around 20, as wide as Poisson's.
        let noise = (0u32..2_000).map(|k| 20 + k.wrapping_mul(2_654_435_761) % 19 - 9);
        assert_eq!(run(&mut Track::default(), noise), []);
    }

    #[test]
    fn the_score_is_that_of_the_definition() {
        let mut track = steady(9);
        let findings = run(&mut track, [9 + 32, 9 + 32]);
        // μ = 9, φ = 1: (41 − 9)/√(9 + 1) = 10.12 in the first bucket, which alone is not a burst.
        let [(1, FindingKind::Burst { z, count: 41, .. })] = findings[..] else { panic!("{findings:?}") };
        assert!(z > BURST_Z && z < 32.0 / libm::sqrt(10.0), "the second is judged by what the first left: {z}");
    }

    #[test]
    fn a_burst_begins_with_the_second_hot_bucket_and_ends_after_three_calm_ones() {
        let mut track = steady(5);
        let findings = run(&mut track, [500, 500, 500, 5, 5, 500, 5, 5, 5, 5]);
        let places: Vec<usize> = findings.iter().map(|(index, _)| *index).collect();
        assert_eq!(places, [1, 2, 5, 8], "{findings:?}");
        assert_eq!(findings.last(), Some(&(8, FindingKind::BurstOver)));
        assert!(findings.iter().take(3).all(|(_, finding)| matches!(finding, FindingKind::Burst { count: 500, .. })), "{findings:?}");
    }

    #[test]
    fn one_hot_bucket_or_few_lines_are_no_burst() {
        assert_eq!(run(&mut steady(5), [500, 5, 500, 5]), []);
        let mut rare = Track::default();
        run(&mut rare, [1].into_iter().chain(std::iter::repeat_n(0, 200)));
        assert_eq!(run(&mut rare, [9, 9, 9]), [], "z is above 8, but nine lines are nothing");
    }

    #[test]
    fn a_new_level_is_learnt_within_an_hour() {
        let mut track = steady(5);
        let findings = run(&mut track, std::iter::repeat_n(400, 60));
        assert_eq!(findings.last().map(|(_, finding)| *finding), Some(FindingKind::BurstOver), "{findings:?}");
    }

    #[test]
    fn silence_is_told_while_it_lasts_and_ends_with_the_next_line() {
        let mut track = steady(6);
        let findings = run(&mut track, [0, 0, 0, 0, 0, 6, 6]);
        // k·μ/φ: 18 after three buckets, 24 after four.
        let [
            (3, FindingKind::Silence { buckets: 4, score, .. }),
            (4, FindingKind::Silence { buckets: 5, .. }),
            (5, FindingKind::SilenceOver),
        ] = findings[..]
        else {
            panic!("{findings:?}")
        };
        assert!((score - 24.0).abs() < 1e-9, "{score}");
    }

    #[test]
    fn after_an_outage_the_old_normal_is_still_normal() {
        let mut track = steady(100);
        assert!(!run(&mut track, std::iter::repeat_n(0, 600)).is_empty());
        assert_eq!(run(&mut track, [100, 100, 100, 100]), [(0, FindingKind::SilenceOver)]);
    }

    #[test]
    fn a_template_gone_for_a_day_is_gone() {
        let mut track = steady(100);
        let findings = run(&mut track, std::iter::repeat_n(0, 3_000));
        assert_eq!(findings.last(), Some(&(SILENCE_BUCKETS_MAX as usize, FindingKind::SilenceOver)));
        assert_eq!(track.open_ends().count(), 0);
    }

    #[test]
    fn what_comes_now_and_then_may_be_silent() {
        let mut track = Track::default();
        assert_eq!(run(&mut track, (0..400).map(|k| if k % 3 == 0 { 50 } else { 0 })), []);
        assert_eq!(run(&mut track, std::iter::repeat_n(0, 100)), []);
    }

    #[test]
    fn many_empty_buckets_at_once_are_as_many_one_by_one() {
        for gap in [1, 2, 5, 59, 60, 61, 64, 200, 2_000] {
            let (mut at_once, mut one_by_one) = (steady(7), steady(7));
            run(&mut one_by_one, std::iter::repeat_n(0, gap as usize));
            at_once.close(gap, |_| {});
            assert_eq!(at_once.silent, one_by_one.silent, "{gap}");
            let after = [7, 7, 300, 300, 7];
            let findings = |track: &mut Track| {
                run(track, after).into_iter().filter(|(_, finding)| *finding != FindingKind::SilenceOver).collect::<Vec<_>>()
            };
            assert_eq!(findings(&mut at_once), findings(&mut one_by_one), "{gap}");
        }
    }
}

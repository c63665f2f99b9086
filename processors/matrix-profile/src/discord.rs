//! Left discords of a numeric series: how far is what just happened from everything that happened before?
//!
//! For each of three window lengths m the *left discord distance* d_t is the Euclidean distance of the window that ends at t from
//! its nearest neighbour among the windows that ended before it began (the left matrix profile; DAMP: Lu et al., KDD 2022). Windows
//! are not z-normalised: the level of a metric carries meaning. A distance becomes a magnitude by its place among all
//! earlier ones, so no scale is ever chosen, and a refractory rule keeps one disturbance from being told many times.
//!
//! Where DAMP searches the past backwards in doubling chunks, the windows here stand sorted by their mean: by the Cauchy–Schwarz
//! inequality two windows are at least √m·|difference of means| apart, so the search walks outwards from the nearest mean and ends, with
//! the *exact* neighbour, when that bound is above the best distance found.

mod neighbours;
mod sorted;

use std::collections::VecDeque;

use neighbours::Neighbours;
use sorted::Sorted;

/// Parameters of the detector.
#[derive(Clone, Debug, PartialEq)]
pub struct DiscordParams {
    /// Window lengths. Short ones see spikes, long ones see shapes; {2, 8, 32} is two octaves apart each.
    pub lengths: Vec<usize>,
    /// Windows of each length that are remembered.
    pub history: usize,
    /// Points before which no magnitude is given: less than that is no past to compare with.
    pub quiet: usize,
    /// Points for which a told disturbance rests.
    pub rest: usize,
}

/// Windows of each length that are remembered.
pub const HISTORY: usize = 10_000;
/// A magnitude above it begins a rest.
const TOLD: f64 = 0.3;
/// Within a rest only a magnitude this many times the last is told.
const LOUDER: f64 = 1.1;
/// Beyond it sums of squares are not finite.
const VALUE_MAX: f64 = 1e150;
/// Distances that must be known before one has a place among them.
const PAST_MIN: usize = 10;

impl DiscordParams {
    /// For production: windows of 2, 8 and 32 points, a rest of 60.
    pub fn production() -> Self {
        Self { lengths: vec![2, 8, 32], history: HISTORY, quiet: 128, rest: 60 }
    }

    /// For a series whose first `probation` points are not judged: magnitudes from half of it on, rests of a fifth.
    pub fn with_probation(probation: usize) -> Self {
        Self { quiet: probation.div_ceil(2), rest: probation / 5, ..Self::production() }
    }
}

/// The detector of one series.
///
/// ```
/// use matrix_profile::discord::{DiscordParams, Discords};
/// let mut discords = Discords::new(DiscordParams::production());
/// let score = |discords: &mut Discords, t: u32| discords.push(f64::from(t % 12));
/// assert!((0..600).all(|t| score(&mut discords, t) == 0.0), "what repeats is no discord");
/// assert!(discords.push(40.0) > 0.9);
/// ```
#[derive(Clone, Debug)]
pub struct Discords {
    params: DiscordParams,
    seen: usize,
    scales: Vec<Scale>,
    rest: Option<Rest>,
}

/// A disturbance has been told.
#[derive(Clone, Copy, Debug)]
struct Rest {
    /// Points for which it still rests.
    left: usize,
    /// Its magnitude.
    level: f64,
}

/// One window length.
#[derive(Clone, Debug)]
struct Scale {
    neighbours: Neighbours,
    /// Distances of the remembered windows by size, with their numbers.
    past: Sorted,
    /// The same in the order in which they came.
    latest: VecDeque<(f64, u64)>,
    history: usize,
    next: u64,
}

impl Discords {
    /// A detector that has seen nothing.
    pub fn new(params: DiscordParams) -> Self {
        let scale = |&m: &usize| Scale {
            neighbours: Neighbours::new(m, params.history),
            past: Sorted::default(),
            latest: VecDeque::new(),
            history: params.history,
            next: 0,
        };
        Self { scales: params.lengths.iter().map(scale).collect(), seen: 0, rest: None, params }
    }

    /// The next point: its score from 0 to 1. A value that is not a number, or whose square is none, scores 0 and leaves no trace.
    pub fn push(&mut self, value: f64) -> f64 {
        if value.is_nan() || value.abs() > VALUE_MAX {
            return 0.0;
        }
        let is_quiet = self.seen < self.params.quiet;
        self.seen += 1;
        let magnitude = self.scales.iter_mut().map(|scale| scale.push(value, is_quiet)).fold(0.0, f64::max);
        self.refract(magnitude)
    }

    /// Points seen.
    pub fn seen(&self) -> usize {
        self.seen
    }

    /// One disturbance is told once, and again only where it grows.
    fn refract(&mut self, magnitude: f64) -> f64 {
        match &mut self.rest {
            Some(rest) if rest.left > 0 => {
                rest.left -= 1;
                if magnitude <= LOUDER * rest.level {
                    return 0.0;
                }
                *rest = Rest { left: self.params.rest, level: magnitude };
            }
            rest if magnitude > TOLD => *rest = Some(Rest { left: self.params.rest, level: magnitude }),
            _ => {}
        }
        magnitude
    }
}

impl Scale {
    fn push(&mut self, value: f64, is_quiet: bool) -> f64 {
        let Some(distance) = self.neighbours.push(value) else { return 0.0 };
        let magnitude = if is_quiet { 0.0 } else { self.magnitude(distance) };
        if self.latest.len() >= self.history
            && let Some(oldest) = self.latest.pop_front()
        {
            self.past.remove(oldest);
        }
        self.past.insert((distance, self.next));
        self.latest.push_back((distance, self.next));
        self.next += 1;
        magnitude
    }

    /// Where a distance stands among the remembered ones: 0 up to their median, ½ at their 99th percentile, 1 far beyond.
    fn magnitude(&self, distance: f64) -> f64 {
        let known = self.past.len();
        if known <= PAST_MIN {
            return 0.0;
        }
        let (Some(median), Some(high)) = (self.past.at(known / 2), self.past.at((99 * (known - 1)) / 100)) else { return 0.0 };
        if distance <= median {
            return 0.0;
        }
        let beyond = distance - median;
        beyond / ((high - median) + beyond)
    }
}

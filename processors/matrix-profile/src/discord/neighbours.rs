//! The nearest earlier window that does not overlap.

use super::sorted::{Key, Place, Sorted};

/// Squares summed between two looks at the best distance: enough to keep the adders busy, few enough to stop early.
const LANE: usize = 4;

/// The windows of one length.
#[derive(Clone, Debug)]
pub(super) struct Neighbours {
    m: usize,
    history: usize,
    /// The latest points; the first has number `first`.
    points: Vec<f64>,
    first: u64,
    /// Remembered windows that ended before the present one began: mean and number of the first point.
    by_mean: Sorted,
    /// Number of the next point.
    next: u64,
}

impl Neighbours {
    pub(super) fn new(m: usize, history: usize) -> Self {
        Self { m: m.max(1), history: history.max(1), points: Vec::new(), first: 0, by_mean: Sorted::default(), next: 0 }
    }

    /// The next point: the distance of the window that ends with it from its nearest neighbour, none without one.
    pub(super) fn push(&mut self, value: f64) -> Option<f64> {
        let (m, history) = (self.m as u64, self.history as u64);
        self.points.push(value);
        self.next += 1;
        let start = self.next.checked_sub(m)?;
        let newest = start.checked_sub(m)?;
        if let Some(mean) = self.window(newest).map(mean) {
            self.by_mean.insert((mean, newest));
        }
        if let Some(oldest) = newest.checked_sub(history) {
            if let Some(mean) = self.window(oldest).map(mean) {
                self.by_mean.remove((mean, oldest));
            }
            self.forget(oldest + 1);
        }
        let squares = self.nearest(self.window(start)?);
        Some((squares / self.m as f64).sqrt())
    }

    fn window(&self, start: u64) -> Option<&[f64]> {
        let from = usize::try_from(start.checked_sub(self.first)?).ok()?;
        self.points.get(from..from + self.m)
    }

    /// Forgets the points before this one, once they are as many as the others.
    fn forget(&mut self, start: u64) {
        let gone = usize::try_from(start - self.first).unwrap_or(usize::MAX);
        if gone >= self.points.len() / 2 {
            self.points.drain(..gone.min(self.points.len()));
            self.first = start;
        }
    }

    /// The least sum of squared differences. Walks outwards from the nearest mean; m·(difference of means)² is a lower bound.
    fn nearest(&self, window: &[f64]) -> f64 {
        let mean = mean(window);
        let start = self.by_mean.first_from((mean, 0));
        let bound = |key: Option<Key>| key.map_or(f64::INFINITY, |(other, _)| self.m as f64 * (other - mean) * (other - mean));
        let (mut right, mut left) = (Some(start), self.by_mean.before(start));
        let at = |place: Option<Place>| place.and_then(|place| self.by_mean.get(place));
        let mut best = f64::INFINITY;
        loop {
            let (on_left, on_right) = (at(left), at(right));
            let (bound_left, bound_right) = (bound(on_left), bound(on_right));
            if bound_left.min(bound_right) >= best {
                return best;
            }
            let (place, key) = if bound_left <= bound_right { (&mut left, on_left) } else { (&mut right, on_right) };
            if let Some(other) = key.and_then(|(_, start)| self.window(start)) {
                best = best.min(squares_below(window, other, best));
            }
            *place = match bound_left <= bound_right {
                true => place.and_then(|place| self.by_mean.before(place)),
                false => place.map(|place| self.by_mean.after(place)),
            };
        }
    }
}

fn mean(window: &[f64]) -> f64 {
    window.iter().sum::<f64>() / window.len() as f64
}

/// Sum of squared differences; once it is no less than `best`, any number that is not.
fn squares_below(a: &[f64], b: &[f64], best: f64) -> f64 {
    let mut sum = 0.0;
    for (a, b) in a.chunks(LANE).zip(b.chunks(LANE)) {
        sum += a.iter().zip(b).map(|(a, b)| (a - b) * (a - b)).sum::<f64>();
        if sum >= best {
            break;
        }
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The definition, point by point.
    fn plain(points: &[f64], m: usize, history: usize) -> Vec<Option<f64>> {
        let squares = |i: usize, j: usize| (0..m).map(|k| (points[i + k] - points[j + k]).powi(2)).sum::<f64>();
        let distance = |t: usize| {
            let (start, end) = ((t + 1).checked_sub(m)?, (t + 1).checked_sub(2 * m)?);
            let least = (0..=end).rev().take(history).map(|j| squares(start, j)).fold(f64::INFINITY, f64::min);
            Some((least / m as f64).sqrt())
        };
        (0..points.len()).map(distance).collect()
    }

    proptest! {
        #[test]
        fn the_walk_finds_what_the_definition_says(
            points in proptest::collection::vec(prop_oneof![Just(0.0), -3.0..3.0, (0..4u8).prop_map(f64::from)], 0..120),
            m in 1..9usize,
            history in 1..40usize,
        ) {
            let mut neighbours = Neighbours::new(m, history);
            for (t, (point, expected)) in points.iter().zip(plain(&points, m, history)).enumerate() {
                let found = neighbours.push(*point);
                prop_assert_eq!(found.is_some(), expected.is_some(), "at {}", t);
                prop_assert!((found.unwrap_or(0.0) - expected.unwrap_or(0.0)).abs() < 1e-9, "at {}: {:?}, not {:?}", t, found, expected);
            }
        }
    }
}

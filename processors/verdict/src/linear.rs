//! The linear model: one head for faulty or normal, one for the class of the failure, both over the same hashed features.
//!
//! A template with n features scores b + s·Σw / √n, weights w as bytes with one scale s per row: sums of bytes are exact, so
//! the score is the same on every machine.

use schemas::FailureClass;

use crate::features::{DIMENSIONS, features};
use crate::logistic::sigma;

/// Features of the class head: the same ones, folded, because six full rows would not pay their size.
pub(crate) const CLASS_DIMENSIONS: usize = 1 << 12;
/// Classes that the class head knows, in the order of its rows.
pub(crate) const CLASSES: [FailureClass; 6] =
    [FailureClass::Disk, FailureClass::BufferIo, FailureClass::Cpu, FailureClass::Memory, FailureClass::Network, FailureClass::Software];
/// Below this share no class is named.
const CLASS_SHARE_MIN: f64 = 0.5;
/// Scale and intercept of a row, little-endian f64 each.
const HEAD_BYTES: usize = 16;
/// Size of the weights as they are kept in a file.
pub const WEIGHTS_BYTES: usize = (HEAD_BYTES + DIMENSIONS) + CLASSES.len() * (HEAD_BYTES + CLASS_DIMENSIONS);
const _: () = assert!(WEIGHTS_BYTES <= 64 * 1024, "the model must stay small enough to be compiled in");

/// One row of weights.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Row {
    intercept: f64,
    scale: f64,
    weights: Box<[i8]>,
}

impl Row {
    /// Rounds weights to bytes.
    pub(crate) fn quantise(weights: &[f64], intercept: f64) -> Self {
        let largest = weights.iter().fold(0.0_f64, |max, w| max.max(w.abs()));
        let scale = if largest > 0.0 { largest / 127.0 } else { 1.0 };
        Self { intercept, scale, weights: weights.iter().map(|w| (w / scale).round() as i8).collect() }
    }

    fn score(&self, features: impl ExactSizeIterator<Item = usize>) -> f64 {
        let count = features.len().max(1) as f64;
        let sum: i32 = features.filter_map(|feature| self.weights.get(feature)).map(|&w| i32::from(w)).sum();
        self.intercept + self.scale * f64::from(sum) / libm::sqrt(count)
    }

    fn write(&self, into: &mut Vec<u8>) {
        into.extend(self.scale.to_le_bytes());
        into.extend(self.intercept.to_le_bytes());
        into.extend(self.weights.iter().map(|w| w.to_le_bytes()[0]));
    }

    fn read(bytes: &mut &[u8], length: usize) -> Option<Self> {
        let (scale, rest) = bytes.split_first_chunk()?;
        let (intercept, rest) = rest.split_first_chunk()?;
        let (weights, rest) = rest.split_at_checked(length)?;
        *bytes = rest;
        Some(Self {
            scale: f64::from_le_bytes(*scale),
            intercept: f64::from_le_bytes(*intercept),
            weights: weights.iter().map(|&b| i8::from_le_bytes([b])).collect(),
        })
    }
}

/// The weights of both heads.
#[derive(Clone, Debug, PartialEq)]
pub struct Weights {
    pub(crate) faulty: Row,
    /// One for each of [`CLASSES`].
    pub(crate) classes: Vec<Row>,
}

impl Weights {
    /// Weights that prefer nothing.
    pub(crate) fn indifferent() -> Self {
        let row = |length: usize| Row { intercept: 0.0, scale: 1.0, weights: vec![0; length].into() };
        Self { faulty: row(DIMENSIONS), classes: CLASSES.iter().map(|_| row(CLASS_DIMENSIONS)).collect() }
    }

    /// Reads what [`Weights::to_bytes`] wrote. `None` unless there are [`WEIGHTS_BYTES`] bytes.
    pub fn from_bytes(mut bytes: &[u8]) -> Option<Self> {
        let faulty = Row::read(&mut bytes, DIMENSIONS)?;
        let classes = CLASSES.iter().map(|_| Row::read(&mut bytes, CLASS_DIMENSIONS)).collect::<Option<Vec<_>>>()?;
        bytes.is_empty().then_some(Self { faulty, classes })
    }

    /// The weights as they are kept in a file: for each row scale and intercept as little-endian f64, then its bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(WEIGHTS_BYTES);
        std::iter::once(&self.faulty).chain(&self.classes).for_each(|row| row.write(&mut bytes));
        bytes
    }

    /// Share of failure, 0 to 1, and the class of the failure, if there is one.
    pub(crate) fn score(&self, text: &str) -> (f64, FailureClass) {
        let found = features(text);
        let p = sigma(self.faulty.score(found.iter().map(|&f| usize::from(f))));
        (p, self.class(&found))
    }

    fn class(&self, features: &[u16]) -> FailureClass {
        let folded = fold(features);
        let scores: Vec<f64> = self.classes.iter().map(|row| row.score(folded.iter().map(|&f| usize::from(f)))).collect();
        let top = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let total: f64 = scores.iter().map(|score| libm::exp(score - top)).sum();
        let best = scores.iter().zip(CLASSES).find(|(score, _)| **score >= top);
        match best {
            Some((_, class)) if 1.0 / total >= CLASS_SHARE_MIN && !features.is_empty() => class,
            _ => FailureClass::Unknown,
        }
    }
}

/// The features of the class head.
pub(crate) fn fold(features: &[u16]) -> Vec<u16> {
    let mut folded: Vec<u16> = features.iter().map(|f| f % CLASS_DIMENSIONS as u16).collect();
    folded.sort_unstable();
    folded.dedup();
    folded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_round_trip_and_any_other_length_is_refused() {
        let row = |n: usize| Row::quantise(&(0..n).map(|i| (i % 7) as f64 - 3.0).collect::<Vec<_>>(), -0.5);
        let weights = Weights { faulty: row(DIMENSIONS), classes: CLASSES.iter().map(|_| row(CLASS_DIMENSIONS)).collect() };
        let bytes = weights.to_bytes();
        assert_eq!(bytes.len(), WEIGHTS_BYTES);
        assert_eq!(Weights::from_bytes(&bytes), Some(weights));
        assert_eq!(Weights::from_bytes(&bytes[1..]), None);
        assert_eq!(Weights::from_bytes(&[bytes, vec![0]].concat()), None);
    }

    #[test]
    fn an_empty_text_scores_the_intercept_and_has_no_class() {
        let weights = Weights::indifferent();
        assert_eq!(weights.score(""), (0.5, FailureClass::Unknown));
        assert_eq!(weights.score("anything"), (0.5, FailureClass::Unknown));
    }
}

//! How near two templates are in what they say, whatever their numbers.

use std::collections::BTreeMap;

use sha2::{Digest, Sha256};

/// Dimensions of the hashed feature space.
const DIMENSIONS: u64 = 1_024;
/// What a whole word counts against a character n-gram: words carry the meaning, n-grams forgive endings and typing.
const WORD_WEIGHT: i32 = 2;
/// Two texts whose cosine is this or less have nothing to do with each other: what is left is words such as "for" and hash collisions.
const UNRELATED: f64 = 0.2;
/// Bytes of a template that are looked at.
pub(crate) const TEXT_BYTES_MAX: usize = 1_024;

/// A distance δ between templates, from 0 (equal) to 1 (unrelated), in fixed point: sums of distances do not depend on the order
/// in which they are added, so scores do not depend on the order in which templates are numbered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Distance(u32);

impl Distance {
    /// Nothing between them.
    pub const ZERO: Self = Self(0);
    /// Unrelated.
    pub const ONE: Self = Self(1 << 24);

    /// From 0 to 1.
    pub fn value(self) -> f64 {
        f64::from(self.0) / f64::from(Self::ONE.0)
    }

    /// In units of [`Distance::ONE`].
    pub(crate) fn units(self) -> u32 {
        self.0
    }

    fn of_cosine(cosine: f64) -> Self {
        let distance = ((1.0 - cosine) / (1.0 - UNRELATED)).clamp(0.0, 1.0);
        Self((distance * f64::from(Self::ONE.0)).round() as u32)
    }
}

/// A template as a point: signed counts of its words and character n-grams, hashed (the hashing trick: Weinberger et al., ICML 2009).
///
/// ```
/// use matrix_profile::TemplateVector;
/// let of = TemplateVector::of;
/// let (opened, closed) = (of("session opened for user <*>"), of("session closed for user <*>"));
/// assert_eq!(opened.distance(&opened).value(), 0.0);
/// assert!(opened.distance(&closed) < opened.distance(&of("I/O error on dev <*>")));
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct TemplateVector {
    /// Dimension and count, ascending, no zeros.
    counts: Vec<(u16, i32)>,
    norm: f64,
}

impl TemplateVector {
    /// The point of a canonical template text.
    pub fn of(template: &str) -> Self {
        let text = words(template);
        let mut counts: BTreeMap<u16, i32> = BTreeMap::new();
        let mut add = |kind: &str, feature: &str, weight: i32| {
            let (dimension, sign) = place(kind, feature);
            *counts.entry(dimension).or_default() += sign * weight;
        };
        for word in text.split(|c: char| !c.is_ascii_lowercase()).filter(|word| !word.is_empty()) {
            add("w:", word, WORD_WEIGHT);
        }
        let padded = format!(" {text} ");
        let starts: Vec<usize> = padded.char_indices().map(|(at, _)| at).chain([padded.len()]).collect();
        for length in 3..=5 {
            for pair in starts.windows(length + 1) {
                if let [start, .., end] = pair {
                    add("c:", padded.get(*start..*end).unwrap_or_default(), 1);
                }
            }
        }
        counts.retain(|_, count| *count != 0);
        let squares: i64 = counts.values().map(|count| i64::from(*count) * i64::from(*count)).sum();
        Self { counts: counts.into_iter().collect(), norm: (squares as f64).sqrt() }
    }

    /// δ = (1 − cosine) / 0.8, at most 1.
    pub fn distance(&self, other: &Self) -> Distance {
        let (mut ours, mut theirs) = (self.counts.iter().peekable(), other.counts.iter().peekable());
        let mut dot = 0_i64;
        while let (Some((a, count_a)), Some((b, count_b))) = (ours.peek(), theirs.peek()) {
            match a.cmp(b) {
                std::cmp::Ordering::Less => drop(ours.next()),
                std::cmp::Ordering::Greater => drop(theirs.next()),
                std::cmp::Ordering::Equal => {
                    dot += i64::from(*count_a) * i64::from(*count_b);
                    ours.next();
                    theirs.next();
                }
            }
        }
        let norms = self.norm * other.norm;
        if norms > 0.0 { Distance::of_cosine(dot as f64 / norms) } else { Distance::ONE }
    }
}

/// Lower case, without placeholders, single blanks.
fn words(template: &str) -> String {
    let end = template.floor_char_boundary(TEXT_BYTES_MAX);
    let text = template.get(..end).unwrap_or_default().replace(schemas::template::PLACEHOLDER, " ").to_lowercase();
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Dimension and sign of a feature.
fn place(kind: &str, feature: &str) -> (u16, i32) {
    let digest = Sha256::new().chain_update(kind).chain_update(feature).finalize();
    let hash = digest.iter().take(8).fold(0_u64, |hash, byte| hash << 8 | u64::from(*byte));
    let sign = if hash >> 40 & 1 == 0 { 1 } else { -1 };
    ((hash % DIMENSIONS) as u16, sign)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn distance(a: &str, b: &str) -> f64 {
        TemplateVector::of(a).distance(&TemplateVector::of(b)).value()
    }

    #[test]
    fn placeholders_case_and_blanks_do_not_matter() {
        assert_eq!(distance("Link  UP on <*>", "link up <*> on <*> <*>"), 0.0);
    }

    #[test]
    fn it_is_symmetric_and_within_its_bounds() {
        let texts = ["", "<*>", "a", "link up", "link down", "Out of memory: killed process <*>", "übermäßig viele ßß"];
        for a in texts {
            for b in texts {
                assert_eq!(distance(a, b), distance(b, a));
                assert!((0.0..=1.0).contains(&distance(a, b)));
            }
        }
        assert_eq!(distance("", ""), 1.0, "of nothing nothing is known");
    }

    #[test]
    fn what_shares_words_is_nearer_than_what_does_not() {
        assert!(distance("Buffer I/O error on dev <*>", "buffer i/o errors on device <*>") < 0.6);
        assert!(distance("Buffer I/O error on dev <*>", "Accepted password for <*>") > 0.9);
    }
}

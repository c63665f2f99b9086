//! Training of the linear model: class-balanced logistic regression, full batch, always the same steps in the same order, so that
//! the same grammar gives the same bytes on every machine.

use std::collections::BTreeSet;

use schemas::FailureClass;

use crate::features::{DIMENSIONS, features, words};
use crate::grammar::{self, Example, GrammarError, Label};
use crate::linear::{CLASS_DIMENSIONS, CLASSES, Row, Weights, fold};
use crate::logistic::sigma;

/// Decay of the weights: the words of one line should not decide alone.
const DECAY: f64 = 1e-5;
/// Length of a step along the gradient. Inputs have length 1, so the loss curves by at most ¼ and steps up to 8 descend.
const RATE: f64 = 8.0;
/// Steps of the head for faulty or normal.
const STEPS: usize = 500;
/// Steps of each head for a class; they only have to tell the classes apart.
const CLASS_STEPS: usize = 120;

/// Words of a line as a set: how near-duplicates are told (Jaccard).
pub fn word_set(text: &str) -> BTreeSet<String> {
    words(text).into_iter().collect()
}

/// Words in common over words in either; 1 for two empty sets.
///
/// ```
/// use verdict::training::{jaccard, word_set};
/// assert_eq!(jaccard(&word_set("link up"), &word_set("link <*> down")), 1.0 / 3.0);
/// ```
pub fn jaccard(a: &BTreeSet<String>, b: &BTreeSet<String>) -> f64 {
    let both = a.intersection(b).count();
    let either = a.len() + b.len() - both;
    if either == 0 { 1.0 } else { both as f64 / either as f64 }
}

/// Trains on the lines of the grammar that `keep` wants: all of them give the weights that are compiled in, and an evaluation leaves
/// out what its test knows. Takes some seconds.
///
/// # Errors
/// [`GrammarError`] if the grammar cannot be understood.
pub fn shipped(keep: impl Fn(&str) -> bool) -> Result<Weights, GrammarError> {
    let mut examples = grammar::examples()?;
    examples.retain(|example| keep(&example.text));
    Ok(fit(&examples))
}

/// Fits both heads to the examples.
pub fn fit(examples: &[Example]) -> Weights {
    let found: Vec<Vec<u16>> = examples.iter().map(|example| features(&example.text)).collect();
    let faulty = {
        let mut data = Data::new(DIMENSIONS);
        for (example, features) in examples.iter().zip(&found) {
            data.push(features, example.label != Label::Normal, example.weight);
        }
        data.fit(STEPS)
    };
    let of_class = |example: &Example| match example.label {
        Label::Faulty(class) if class != FailureClass::Unknown => Some(class),
        _ => None,
    };
    let classes = CLASSES.map(|class| {
        let mut data = Data::new(CLASS_DIMENSIONS);
        for (example, features) in examples.iter().zip(&found) {
            if let Some(of) = of_class(example) {
                data.push(&fold(features), of == class, example.weight);
            }
        }
        data.fit(CLASS_STEPS)
    });
    Weights { faulty, classes: classes.into() }
}

/// Examples as rows of feature indices, one after the other.
struct Data {
    dimensions: usize,
    indices: Vec<u16>,
    rows: Vec<RowOf>,
}

struct RowOf {
    end: usize,
    /// 1/√(number of features): the row's length is 1.
    value: f64,
    is_positive: bool,
    weight: f64,
}

impl Data {
    fn new(dimensions: usize) -> Self {
        Self { dimensions, indices: Vec::new(), rows: Vec::new() }
    }

    fn push(&mut self, features: &[u16], is_positive: bool, weight: f64) {
        self.indices.extend(features);
        let value = 1.0 / libm::sqrt(features.len().max(1) as f64);
        self.rows.push(RowOf { end: self.indices.len(), value, is_positive, weight });
    }

    /// Gradient descent with Nesterov's momentum (the schedule of Beck & Teboulle, 2009), on the mean log loss in which both
    /// labels weigh half.
    fn fit(&self, steps: usize) -> Row {
        let total = |positive: bool| self.rows.iter().filter(|row| row.is_positive == positive).map(|row| row.weight).sum::<f64>();
        let share = |positive| 0.5 / total(positive).max(f64::MIN_POSITIVE);
        let shares = (share(false), share(true));
        let mut weights = vec![0.0; self.dimensions + 1];
        let mut ahead = weights.clone();
        let mut gradient = vec![0.0; self.dimensions + 1];
        let mut momentum = 1.0_f64;
        for _ in 0..steps {
            self.gradient(&ahead, shares, &mut gradient);
            let next = (1.0 + libm::sqrt(1.0 + 4.0 * momentum * momentum)) / 2.0;
            let push = (momentum - 1.0) / next;
            momentum = next;
            for ((weight, ahead), slope) in weights.iter_mut().zip(&mut ahead).zip(&gradient) {
                let moved = *ahead - RATE / 2.0 * slope;
                *ahead = moved + push * (moved - *weight);
                *weight = moved;
            }
        }
        let intercept = weights.pop().unwrap_or_default();
        Row::quantise(&weights, intercept)
    }

    /// The last place of `weights` and `gradient` is the intercept's, which does not decay.
    fn gradient(&self, weights: &[f64], shares: (f64, f64), gradient: &mut [f64]) {
        gradient.iter_mut().zip(weights).for_each(|(slope, weight)| *slope = DECAY * weight);
        let intercept = weights.last().copied().unwrap_or_default();
        let mut slope_of_intercept = 0.0;
        let mut start = 0;
        for row in &self.rows {
            let indices = self.indices.get(start..row.end).unwrap_or_default();
            start = row.end;
            let sum: f64 = indices.iter().filter_map(|&i| weights.get(usize::from(i))).sum();
            let share = if row.is_positive { shares.1 } else { shares.0 };
            let error = share * row.weight * (sigma(intercept + sum * row.value) - f64::from(u8::from(row.is_positive)));
            slope_of_intercept += error;
            for &index in indices {
                if let Some(slope) = gradient.get_mut(usize::from(index)) {
                    *slope += error * row.value;
                }
            }
        }
        if let Some(slope) = gradient.last_mut() {
            *slope = slope_of_intercept;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Local, Model};

    fn example(text: &str, label: Label) -> Example {
        Example { text: text.into(), label, weight: 1.0 }
    }

    #[test]
    fn it_learns_what_it_is_shown_and_carries_it_over_to_other_sentences() {
        let faulty = Label::Faulty(FailureClass::Network);
        let disk = Label::Faulty(FailureClass::Disk);
        let examples = [
            example("link failed", faulty),
            example("peer unreachable", faulty),
            example("medium error", disk),
            example("link up", Label::Normal),
            example("peer joined", Label::Normal),
        ];
        let model = Model::new(fit(&examples), Local::Linear);
        let p = |text: &str| model.judge(text).probability;
        assert!(p("link failed") > 0.7 && p("link up") < 0.3, "{} {}", p("link failed"), p("link up"));
        assert!(p("the link has failed") > p("the link came up"));
        assert_eq!(model.judge("medium lost").class, FailureClass::Disk);
        assert_eq!(model.judge("peers unreachable").class, FailureClass::Network);
    }

    #[test]
    fn one_label_alone_and_nothing_at_all_are_fitted_without_harm() {
        for examples in [vec![], vec![example("x", Label::Normal)]] {
            let p = Model::new(fit(&examples), Local::Linear).judge("x").probability;
            assert!((0.0..=0.5).contains(&p), "{p}");
        }
    }

    #[test]
    fn a_rarer_label_weighs_as_much_as_the_common_one() {
        let mut examples: Vec<Example> = (0..50).map(|n| example(&format!("job {} done", "x".repeat(n)), Label::Normal)).collect();
        examples.push(example("job lost", Label::Faulty(FailureClass::Software)));
        let model = Model::new(fit(&examples), Local::Linear);
        assert!(model.judge("job lost").probability > 0.8);
    }
}

//! Area under the ROC curve, exactly.

/// P(positive > negative) + ½ P(equal) over all pairs; NaN without both kinds.
pub(super) fn area(scored: &[(f64, bool)]) -> f64 {
    let of = |wanted: bool| scored.iter().filter(move |(_, positive)| *positive == wanted).map(|(score, _)| *score);
    let pairs = (of(true).count() * of(false).count()) as f64;
    let won = |p: f64, n: f64| if p > n { 1.0 } else { f64::from(u8::from(p == n)) / 2.0 };
    of(true).map(|positive| of(false).map(|negative| won(positive, negative)).sum::<f64>()).sum::<f64>() / pairs
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn order_counts_and_ties_count_half() {
        assert_eq!(area(&[(0.9, true), (0.1, false)]), 1.0);
        assert_eq!(area(&[(0.1, true), (0.9, false)]), 0.0);
        assert_eq!(area(&[(0.5, true), (0.5, false), (0.4, false)]), 0.75);
        assert!(area(&[(0.5, true)]).is_nan());
    }
}

//! The logistic function and its inverse, the same bits on every CPU.

/// 1 / (1 + e^−x).
pub(crate) fn sigma(x: f64) -> f64 {
    1.0 / (1.0 + libm::exp(-x))
}

/// Inverse of [`sigma`]; probabilities are kept off 0 and 1, nonsense counts as ½.
pub(crate) fn logit(p: f64) -> f64 {
    if p.is_nan() {
        return 0.0;
    }
    let p = p.clamp(1e-9, 1.0 - 1e-9);
    libm::log(p / (1.0 - p))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn logit_undoes_sigma() {
        for x in [-12.0, -1.0, 0.0, 0.3, 9.0] {
            assert!((logit(sigma(x)) - x).abs() < 1e-6, "{x}");
        }
        assert_eq!((sigma(-1e9), sigma(1e9)), (0.0, 1.0));
    }
}

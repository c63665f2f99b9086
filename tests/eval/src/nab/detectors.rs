//! Detectors of the suite.

use clap::ValueEnum;
use matrix_profile::discord::{DiscordParams, Discords};

use super::dataset::Series;

/// Who scores the rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Detector {
    /// Says nothing: 0 by definition.
    Null,
    /// Knows the labels: 100 by definition.
    Perfect,
    /// The benchmark's simplest: how far in the tail of a normal distribution fitted to the last 6,400 rows.
    WindowedGaussian,
    /// Ours: left discords of three lengths.
    Discord,
}

impl Detector {
    /// Name of its mode in the report.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Perfect => "perfect",
            Self::WindowedGaussian => "windowed-gaussian",
            Self::Discord => "discord",
        }
    }

    /// Its name among the published thresholds.
    pub(super) fn published_name(self) -> &'static str {
        match self {
            Self::WindowedGaussian => "windowedGaussian",
            other => other.name(),
        }
    }

    /// A score for each row; the first `probation` do not count.
    pub(super) fn scores(self, series: &Series, probation: usize) -> Vec<f64> {
        match self {
            Self::Null => vec![0.0; series.values.len()],
            Self::Perfect => perfect(series, probation),
            Self::WindowedGaussian => windowed_gaussian(&series.values),
            Self::Discord => {
                let mut discords = Discords::new(DiscordParams::with_probation(probation));
                series.values.iter().map(|value| discords.push(*value)).collect()
            }
        }
    }
}

fn perfect(series: &Series, probation: usize) -> Vec<f64> {
    let mut scores = vec![0.0; series.values.len()];
    for (first, _) in &series.windows {
        if let Some(score) = scores.get_mut(*first.max(&probation)) {
            *score = 1.0;
        }
    }
    scores
}

/// 1 − Q(|x − μ|/σ) over a window of 6,400 rows that moves in steps of 100.
fn windowed_gaussian(values: &[f64]) -> Vec<f64> {
    const WINDOW: usize = 6_400;
    const STEP: usize = 100;
    let mut scores = Vec::with_capacity(values.len());
    let (mut mean, mut deviation) = (0.0, 1e-6);
    for (row, value) in values.iter().enumerate() {
        let tail = 0.5 * libm::erfc((value - mean).abs() / deviation / std::f64::consts::SQRT_2);
        scores.push(if row == 0 { 0.0 } else { 1.0 - tail });
        let seen = row + 1;
        if seen <= WINDOW || (seen - WINDOW).is_multiple_of(STEP) {
            let window = values.get(seen.saturating_sub(WINDOW)..seen).unwrap_or_default();
            let count = window.len() as f64;
            mean = window.iter().sum::<f64>() / count;
            let variance = window.iter().map(|value| (value - mean) * (value - mean)).sum::<f64>() / count;
            deviation = if variance > 0.0 { variance.sqrt() } else { 1e-6 };
        }
    }
    scores
}

//! What an operator would have seen at one threshold fixed in advance: false rows, failures told in time, and how long before.

use super::counts::{FIRST_ROW, first_telling_row};
use super::dataset::Recording;

/// Row by row over recordings.
#[derive(Clone, Debug, Default)]
pub struct Alarms {
    /// Benign rows in all.
    pub benign_rows: usize,
    /// Benign rows that were told.
    pub false_rows: usize,
    /// Failures in all.
    pub failures: usize,
    /// Minutes before each failure that was told in time.
    pub leads: Vec<f64>,
}

impl Alarms {
    /// Adds a recording. Without a known beginning of the failure all its rows count as benign.
    pub fn add(&mut self, recording: &Recording, scores: &[f64], threshold: f64) {
        let is_told = |row: &usize| scores.get(*row).is_some_and(|score| *score >= threshold);
        let failure = recording.labelled();
        let benign = FIRST_ROW..failure.map_or(scores.len(), |failure| failure.injected - 1).max(FIRST_ROW);
        self.benign_rows += benign.len();
        self.false_rows += benign.filter(is_told).count();
        let Some(failure) = failure else { return };
        self.failures += 1;
        let told = (first_telling_row(failure.injected)..failure.failed).find(is_told);
        if let Some(at) = told.and_then(|row| recording.times.get(row)) {
            const MINUTE_NANOS: f64 = 60e9;
            self.leads.push((failure.failed_at.0 - at.0) as f64 / MINUTE_NANOS);
        }
    }

    /// Share of the benign rows that were told.
    pub fn false_rate(&self) -> f64 {
        self.false_rows as f64 / self.benign_rows as f64
    }

    /// Share of the failures that were told in time.
    pub fn early_rate(&self) -> f64 {
        self.leads.len() as f64 / self.failures as f64
    }

    /// Arithmetic mean of the leads; the authors' fold (average so far + lead) / 2 is none.
    pub fn lead_mean(&self) -> f64 {
        self.leads.iter().sum::<f64>() / self.leads.len() as f64
    }

    /// The lead that this share of the failures does not reach.
    pub fn lead_quantile(&self, share: f64) -> f64 {
        let mut sorted = self.leads.clone();
        sorted.sort_by(f64::total_cmp);
        let rank = (share * sorted.len().saturating_sub(1) as f64).round() as usize;
        sorted.get(rank).copied().unwrap_or(f64::NAN)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vmft_lad::dataset::Failure;
    use schemas::EventTime;

    fn minutes(count: i64) -> EventTime {
        EventTime::from_millis(count * 60_000)
    }

    #[test]
    fn rows_before_the_injection_are_benign_and_the_lead_is_counted_from_the_first_row_told_after_it() {
        let failure = Failure { injected: 161, failed: 190, failed_at: minutes(200) };
        let times = (0..200).map(minutes).collect();
        let recording = Recording { name: "r".into(), times, templates: vec![1; 200], failure: Some(failure) };
        let mut scores = vec![0.0; 200];
        for row in [150, 155, 170, 195] {
            scores[row] = 0.5;
        }
        let mut alarms = Alarms::default();
        alarms.add(&recording, &scores, 0.5);
        assert_eq!((alarms.benign_rows, alarms.false_rows, alarms.failures), (9, 1, 1));
        assert_eq!(alarms.leads, [30.0]);
        let unlabelled = Recording { failure: Some(Failure { injected: 0, ..failure }), ..recording };
        alarms.add(&unlabelled, &scores, 0.5);
        assert_eq!((alarms.benign_rows, alarms.false_rows, alarms.failures), (9 + 49, 1 + 3, 1));
    }
}

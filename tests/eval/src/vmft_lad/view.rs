//! The recordings as the Numenta Anomaly Benchmark would see them: one window from the injection on.

use super::counts::Criterion;
use super::dataset::Recording;
use crate::nab::scorer::{Corpus, PROFILES, Profile, Scored, normalised, probation};

/// Share of a recording that is probation here.
const PROBATION: f64 = 0.3;

/// The recordings with their scores. By the second criterion a recording ends with its failure.
pub fn corpus<'a>(recordings: impl IntoIterator<Item = (&'a Recording, &'a [f64])>, criterion: Criterion) -> Corpus {
    let files: Vec<Scored> = recordings.into_iter().map(|(recording, scores)| scored(recording, scores, criterion)).collect();
    Corpus::new(&files)
}

fn scored(recording: &Recording, scores: &[f64], criterion: Criterion) -> Scored {
    let rows = match (recording.failure, criterion) {
        (Some(failure), Criterion::Two) => failure.failed.min(scores.len()),
        _ => scores.len(),
    };
    let start = recording.injected().saturating_sub(1);
    let windows = if recording.failure.is_some() && start < rows { vec![(start, rows - 1)] } else { Vec::new() };
    Scored { scores: scores.get(..rows).unwrap_or_default().to_vec(), windows, probation: probation(rows, PROBATION) }
}

/// Best scores under the three profiles, with the null of these recordings.
pub fn own(corpus: &Corpus) -> [f64; 3] {
    PROFILES.map(|profile| corpus.normalised(&profile, corpus.best(&profile).raw))
}

/// The same with the null of another corpus, as published: only for comparison.
pub fn published(corpus: &Corpus) -> [f64; 3] {
    const WINDOWS_THERE: f64 = 116.0;
    let null = |profile: &Profile| -profile.false_negative * WINDOWS_THERE;
    PROFILES.map(|profile| normalised(corpus.best(&profile).raw, null(&profile), corpus.perfect(&profile)))
}

/// Scores at a threshold fixed in advance, own null.
pub fn fixed(corpus: &Corpus, threshold: f64) -> [f64; 3] {
    PROFILES.map(|profile| corpus.normalised(&profile, corpus.raw_at(&profile, threshold)))
}

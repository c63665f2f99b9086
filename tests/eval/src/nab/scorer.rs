//! The scorer of the Numenta Anomaly Benchmark (Lavin and Ahmad, ICMLA 2015; scoring of NAB 1.1), exactly.
//!
//! A detection inside a labelled window earns the more the earlier it comes; outside it costs the more the longer the last
//! window is over. One threshold is chosen for the whole corpus.

/// Share of a file that is probation in the benchmark.
pub const PROBATION: f64 = 0.15;
/// Rows of a file of which that share is taken at most.
const PROBATION_OF_ROWS_MAX: f64 = 5_000.0;

/// What is paid and charged.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Profile {
    /// Name, as in the suite's metrics.
    pub name: &'static str,
    /// For a window found at its very start.
    pub true_positive: f64,
    /// For a detection outside.
    pub false_positive: f64,
    /// For a window that is missed.
    pub false_negative: f64,
}

/// Standard, few false positives, few false negatives.
pub const PROFILES: [Profile; 3] = [
    Profile { name: "standard", true_positive: 1.0, false_positive: 0.11, false_negative: 1.0 },
    Profile { name: "low_fp", true_positive: 1.0, false_positive: 0.22, false_negative: 1.0 },
    Profile { name: "low_fn", true_positive: 1.0, false_positive: 0.11, false_negative: 2.0 },
];

/// One file, scored by a detector.
#[derive(Clone, Debug, Default)]
pub struct Scored {
    /// Score of each row.
    pub scores: Vec<f64>,
    /// First and last row of each window, ascending.
    pub windows: Vec<(usize, usize)>,
    /// Rows at the start that do not count.
    pub probation: usize,
}

/// A threshold and what it earns; without a threshold nothing is detected.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Best {
    /// The highest threshold that earns this.
    pub threshold: Option<f64>,
    /// Raw score.
    pub raw: f64,
}

/// Rows of probation of a file of `rows` rows: this share of it, and at most of 5,000.
pub fn probation(rows: usize, share: f64) -> usize {
    (share * (rows as f64).min(PROBATION_OF_ROWS_MAX)) as usize
}

/// σ(y) = 2/(1 + e^{5y}) − 1, −1 far outside.
fn sigmoid(y: f64) -> f64 {
    if y > 3.0 { -1.0 } else { 2.0 / (1.0 + libm::exp(5.0 * y)) - 1.0 }
}

/// What detecting one row means.
#[derive(Clone, Copy, Debug)]
enum Worth {
    /// It finds this window of the corpus, at this place within it (0 to 1 of the full credit).
    Finds { window: usize, credit: f64 },
    /// It is outside, at this share of the full charge (−1 to 1).
    Outside { charge: f64 },
}

/// A corpus, each scored row with its worth, ascending by score.
#[derive(Clone, Debug, Default)]
pub struct Corpus {
    rows: Vec<(f64, Worth)>,
    /// Windows in all.
    windows: usize,
    /// Windows with a scored row: the others cannot be found, nor missed.
    reachable: usize,
}

impl Corpus {
    /// Looks at all files of a detector.
    pub fn new<'a>(files: impl IntoIterator<Item = &'a Scored>) -> Self {
        let mut corpus = Self::default();
        for file in files {
            let first = corpus.windows;
            corpus.windows += file.windows.len();
            corpus.reachable += file.windows.iter().filter(|(_, last)| *last >= file.probation).count();
            let rows = file.scores.iter().enumerate().skip(file.probation);
            corpus.rows.extend(rows.map(|(row, &score)| (score, worth(file, first, row))));
        }
        corpus.rows.sort_by(|a, b| b.0.total_cmp(&a.0));
        corpus
    }

    /// Windows in all.
    pub fn windows(&self) -> usize {
        self.windows
    }

    /// Score of a detector that says nothing.
    pub fn null(&self, profile: &Profile) -> f64 {
        -profile.false_negative * self.reachable as f64
    }

    /// Score of a detector that finds each window at its start and nothing else.
    pub fn perfect(&self, profile: &Profile) -> f64 {
        profile.true_positive * self.windows as f64
    }

    /// Raw score at one threshold: a row is detected if its score is not less.
    pub fn raw_at(&self, profile: &Profile, threshold: f64) -> f64 {
        let mut tally = Tally::new(self, profile);
        self.rows.iter().take_while(|(score, _)| *score >= threshold).for_each(|(_, worth)| tally.detect(worth));
        tally.raw
    }

    /// The best threshold; of equally good ones the highest.
    pub fn best(&self, profile: &Profile) -> Best {
        let mut tally = Tally::new(self, profile);
        let mut best = Best { threshold: None, raw: tally.raw };
        let mut rows = self.rows.iter().peekable();
        while let Some((score, worth)) = rows.next() {
            tally.detect(worth);
            let is_last_of_equals = rows.peek().is_none_or(|(next, _)| next < score);
            if is_last_of_equals && tally.raw > best.raw {
                best = Best { threshold: Some(*score), raw: tally.raw };
            }
        }
        best
    }

    /// 0 for the null detector, 100 for a perfect one.
    pub fn normalised(&self, profile: &Profile, raw: f64) -> f64 {
        normalised(raw, self.null(profile), self.perfect(profile))
    }
}

/// 0 at `null`, 100 at `perfect`.
pub fn normalised(raw: f64, null: f64, perfect: f64) -> f64 {
    100.0 * (raw - null) / (perfect - null)
}

fn worth(file: &Scored, first: usize, row: usize) -> Worth {
    let begun = file.windows.iter().rposition(|(start, _)| *start <= row);
    match begun.and_then(|index| Some((index, file.windows.get(index)?))) {
        Some((index, (start, last))) if row <= *last => {
            let width = (last - start + 1) as f64;
            let credit = sigmoid(-((last - row + 1) as f64) / width) / sigmoid(-1.0);
            Worth::Finds { window: first + index, credit }
        }
        Some((_, (start, last))) if last > start => Worth::Outside { charge: sigmoid((row - last) as f64 / (last - start) as f64) },
        _ => Worth::Outside { charge: -1.0 },
    }
}

/// A running raw score while ever more rows are detected.
struct Tally<'a> {
    profile: &'a Profile,
    /// Credit of each window so far.
    found: Vec<Option<f64>>,
    raw: f64,
}

impl<'a> Tally<'a> {
    fn new(corpus: &Corpus, profile: &'a Profile) -> Self {
        Self { profile, found: vec![None; corpus.windows], raw: corpus.null(profile) }
    }

    fn detect(&mut self, worth: &Worth) {
        match *worth {
            Worth::Outside { charge } => self.raw += self.profile.false_positive * charge,
            Worth::Finds { window, credit } => {
                let Some(found) = self.found.get_mut(window) else { return };
                let credit = self.profile.true_positive * credit;
                match *found {
                    None => self.raw += credit + self.profile.false_negative,
                    Some(before) if credit > before => self.raw += credit - before,
                    Some(_) => return,
                }
                *found = Some(credit);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn detections(rows: usize, windows: &[(usize, usize)], detected: &[usize]) -> Scored {
        let mut scores = vec![0.0; rows];
        detected.iter().for_each(|row| scores[*row] = 1.0);
        Scored { scores, windows: windows.into(), probation: probation(rows, PROBATION) }
    }

    #[test]
    fn the_worked_check_of_the_definition() {
        let corpus = Corpus::new([&detections(100, &[(40, 59)], &[39, 40, 65])]);
        let raw = corpus.raw_at(&PROFILES[0], 1.0);
        assert!((raw - 0.81761).abs() < 5e-6, "{raw}");
        assert!((corpus.normalised(&PROFILES[0], raw) - 90.880).abs() < 5e-4);
    }

    #[test]
    fn silence_scores_nothing_and_the_start_of_each_window_everything() {
        let silent = Corpus::new([&detections(100, &[(40, 59), (80, 80)], &[])]);
        let perfect = Corpus::new([&detections(100, &[(40, 59), (80, 80)], &[40, 80])]);
        for profile in &PROFILES {
            assert_eq!(silent.normalised(profile, silent.raw_at(profile, 1.0)), 0.0);
            assert_eq!(perfect.best(profile), Best { threshold: Some(1.0), raw: 2.0 });
            assert_eq!(perfect.normalised(profile, 2.0), 100.0);
        }
    }

    #[test]
    fn an_earlier_detection_within_a_window_never_scores_less() {
        let raw = |row| Corpus::new([&detections(200, &[(40, 99)], &[row])]).raw_at(&PROFILES[1], 1.0);
        for row in 41..=99 {
            assert!(raw(row - 1) >= raw(row), "row {row}");
        }
    }

    #[test]
    fn of_equally_good_thresholds_the_highest_is_taken_and_none_if_all_cost() {
        let mut file = detections(100, &[(40, 59)], &[40]);
        file.scores[41] = 0.5;
        assert_eq!(Corpus::new([&file]).best(&PROFILES[0]).threshold, Some(1.0));
        assert_eq!(Corpus::new([&detections(100, &[], &[50])]).best(&PROFILES[0]).threshold, None);
    }

    #[test]
    fn a_window_within_probation_can_be_neither_found_nor_missed() {
        let corpus = Corpus::new([&detections(100, &[(2, 9), (40, 59)], &[])]);
        assert_eq!((corpus.null(&PROFILES[0]), corpus.perfect(&PROFILES[0])), (-1.0, 2.0));
    }
}

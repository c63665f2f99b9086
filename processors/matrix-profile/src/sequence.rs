//! One host's lines: how likely the last few of them tell of a failure.

use std::collections::VecDeque;

use schemas::{EventTime, TemplateId};
use serde::{Deserialize, Serialize};
use verdict::Provider;

use crate::config::Scoring;
use crate::store::{M, Profile, Store, Window};
use crate::vocabulary::Vocabulary;

/// A line that is as surely faulty as this is never learned as normal in training.
const SURELY_FAULTY: f64 = 0.8;

/// A line as the detector sees it.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Line {
    /// Its template.
    pub template: TemplateId,
    /// Probability that it tells of a failure.
    pub probability: f64,
    /// Whose word that is.
    pub provider: Provider,
}

/// What a line has to do with a score.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Share {
    /// The line.
    pub line: Line,
    /// ν: how far its template is from every template of the past, 0 to 1.
    pub novelty: f64,
    /// γ^age · p · g: what it alone would score.
    pub weight: f64,
}

/// What is thought of the window that ends with the newest line.
#[derive(Clone, Debug, PartialEq)]
pub struct Assessment {
    /// S, 0 to 1.
    pub score: f64,
    /// θ: what the score is compared with; it depends on whose verdict decides.
    pub threshold: f64,
    /// Distance of the window from the past.
    pub profile: Profile,
    /// The lines, newest first.
    pub shares: Vec<Share>,
    /// The window, once there are enough lines.
    pub window: Option<Window>,
}

impl Assessment {
    /// Nothing to tell.
    fn silent(threshold: f64, window: Option<Window>) -> Self {
        Self { score: 0.0, threshold, profile: Profile { distance: 0.0, nearest: None }, shares: Vec::new(), window }
    }

    /// Whether a failure is foreseen.
    pub fn is_alarm(&self) -> bool {
        self.score >= self.threshold
    }

    /// The line with the largest share.
    pub fn deciding(&self) -> Option<&Share> {
        self.shares.iter().max_by(|a, b| a.weight.total_cmp(&b.weight))
    }
}

/// One host.
#[derive(Clone, Debug)]
pub struct Sequence {
    pub(crate) seen: u32,
    /// The last lines, newest first.
    pub(crate) recent: VecDeque<Line>,
    pub(crate) store: Store,
}

impl Sequence {
    /// A host that has said nothing.
    pub fn new(scoring: &Scoring) -> Self {
        Self { seen: 0, recent: VecDeque::with_capacity(M + 1), store: Store::new(scoring.store_max) }
    }

    /// A template has become another.
    pub fn rename(&mut self, from: TemplateId, to: TemplateId) {
        self.store.rename(from, to);
        self.recent.iter_mut().filter(|line| line.template == from).for_each(|line| line.template = to);
    }

    /// Its benign past.
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// Whether its first lines are still being learned.
    pub fn is_training(&self, scoring: &Scoring) -> bool {
        self.seen < scoring.training
    }

    /// The next line, in order of event time. What does not look like a failure is learned.
    pub fn push(&mut self, line: Line, at: EventTime, scoring: &Scoring, vocabulary: &Vocabulary) -> Assessment {
        let in_training = self.is_training(scoring);
        self.seen = self.seen.saturating_add(1);
        self.recent.push_front(line);
        self.recent.truncate(M);
        let assessment = self.assess(in_training, scoring, vocabulary);
        let is_learned = match in_training {
            true => self.recent.iter().all(|line| line.probability < SURELY_FAULTY),
            false => assessment.score < scoring.push_below,
        };
        if let Some(window) = assessment.window.filter(|_| is_learned) {
            self.store.push(window, at);
        }
        assessment
    }

    /// A line that came too late for its place: its own verdict alone, nothing is learned.
    pub fn late(line: Line, scoring: &Scoring) -> Assessment {
        let share = Share { line, novelty: 1.0, weight: line.probability };
        let threshold = scoring.threshold_of(line.provider);
        Assessment { score: line.probability, shares: vec![share], ..Assessment::silent(threshold, None) }
    }

    fn assess(&self, in_training: bool, scoring: &Scoring, vocabulary: &Vocabulary) -> Assessment {
        let window = self.window();
        let confirmed = |line: &Line| line.provider.is_confirmed() && line.probability >= SURELY_FAULTY;
        if in_training && !self.recent.iter().any(confirmed) {
            return Assessment::silent(scoring.threshold, window);
        }
        // With every weight at its most: if even that is learned as normal, nobody asks how near the past is.
        let most = combine(self.ages(scoring).map(|(line, decay)| decay * line.probability));
        if most < scoring.profile_from {
            return Assessment { score: 0.0, ..Assessment::silent(scoring.threshold, window) };
        }
        let operators_word = self.recent.iter().any(|line| line.provider == Provider::Operator && line.probability >= SURELY_FAULTY);
        let pinned = window.and_then(|window| self.store.get(&window)).is_some_and(|stored| stored.is_pinned);
        if pinned && !operators_word {
            return Assessment::silent(scoring.threshold, window);
        }
        let far = Profile { distance: 1.0, nearest: None };
        let profile = window.map_or(far, |window| self.store.profile(&window, vocabulary));
        let shares: Vec<Share> = self
            .ages(scoring)
            .map(|(line, decay)| {
                let novelty = self.store.novelty(line.template, vocabulary);
                let weight = 1.0 - scoring.novelty_weight * (1.0 - profile.distance.max(novelty));
                Share { line: *line, novelty, weight: decay * line.probability * weight }
            })
            .collect();
        let score = combine(shares.iter().map(|share| share.weight));
        let mut assessment = Assessment { score, threshold: scoring.threshold, profile, shares, window };
        if let Some(deciding) = assessment.deciding() {
            assessment.threshold = scoring.threshold_of(deciding.line.provider);
        }
        assessment
    }

    fn window(&self) -> Option<Window> {
        let templates: Vec<TemplateId> = self.recent.iter().map(|line| line.template).collect();
        <[TemplateId; M]>::try_from(templates).ok().map(Window::new)
    }

    /// Lines with γ^age, newest first.
    fn ages<'a>(&'a self, scoring: &Scoring) -> impl Iterator<Item = (&'a Line, f64)> {
        let decay = scoring.age_decay;
        self.recent.iter().zip(std::iter::successors(Some(1.0), move |before| Some(before * decay)))
    }
}

/// 1 − Π (1 − x): at least one of them.
fn combine(chances: impl Iterator<Item = f64>) -> f64 {
    1.0 - chances.map(|chance| 1.0 - chance).product::<f64>()
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Bench {
        scoring: Scoring,
        vocabulary: Vocabulary,
        sequence: Sequence,
        now: i64,
    }

    impl Bench {
        fn new() -> Self {
            let scoring = Scoring { training: 20, ..Scoring::default() };
            Self { sequence: Sequence::new(&scoring), scoring, vocabulary: Vocabulary::default(), now: 0 }
        }

        fn say(&mut self, text: &str, probability: f64, provider: Provider) -> Assessment {
            let template = TemplateId::of(text);
            self.vocabulary.meet(template, text);
            self.now += 1;
            let line = Line { template, probability, provider };
            self.sequence.push(line, EventTime::from_millis(self.now), &self.scoring, &self.vocabulary)
        }

        fn work(&mut self, lines: usize) {
            for n in 0..lines {
                let text = ["job started", "job finished in <*> ms", "cache warm"][n % 3];
                let assessment = self.say(text, 0.03, Provider::Table);
                assert!(!assessment.is_alarm(), "{assessment:?}");
            }
        }
    }

    #[test]
    fn a_new_faulty_line_is_told_at_once() {
        let mut bench = Bench::new();
        bench.work(40);
        let assessment = bench.say("I/O error on dev <*> sector <*>", 0.97, Provider::Table);
        assert!(assessment.score > 0.9 && assessment.is_alarm(), "{assessment:?}");
        assert_eq!(assessment.deciding().map(|share| share.line.template), Some(TemplateId::of("I/O error on dev <*> sector <*>")));
    }

    #[test]
    fn a_familiar_faulty_line_is_told_when_it_repeats() {
        let mut bench = Bench::new();
        bench.say("fan <*> slow", 0.5, Provider::Table);
        bench.work(40);
        // Once again among the same lines as ever, judged by the table now.
        for text in ["job started", "job finished in <*> ms", "cache warm"] {
            bench.say(text, 0.0, Provider::Table);
        }
        let window = Window::new(["job started", "job finished in <*> ms", "cache warm", "fan <*> slow"].map(TemplateId::of));
        bench.sequence.store.push(window, EventTime::MIN);
        let once = bench.say("fan <*> slow", 0.97, Provider::Table);
        assert!((once.score - 0.485).abs() < 1e-9 && !once.is_alarm(), "{once:?}");
        let fan = TemplateId::of("fan <*> slow");
        bench
            .sequence
            .store
            .push(Window::new([fan, fan, TemplateId::of("job finished in <*> ms"), TemplateId::of("cache warm")]), EventTime::MIN);
        let twice = bench.say("fan <*> slow", 0.97, Provider::Table);
        assert!((twice.score - 0.547).abs() < 1e-3 && twice.is_alarm(), "{twice:?}");
    }

    #[test]
    fn a_guess_needs_more_than_a_confirmed_verdict() {
        let mut bench = Bench::new();
        bench.work(40);
        let guess = bench.say("strange noise from <*>", 0.65, Provider::Local);
        assert!(guess.score > 0.5 && guess.threshold == 0.7 && !guess.is_alarm(), "{guess:?}");
    }

    #[test]
    fn nothing_is_told_in_training_but_what_is_confirmed() {
        let mut bench = Bench::new();
        bench.work(5);
        assert!(!bench.say("core dumped", 0.99, Provider::Local).is_alarm());
        assert!(bench.say("controller failed", 0.97, Provider::Operator).is_alarm());
        assert!(bench.sequence.store.iter().all(|(window, _)| !window.templates().contains(&TemplateId::of("core dumped"))));
    }

    #[test]
    fn what_looks_like_a_failure_is_not_learned_and_what_does_not_is() {
        let mut bench = Bench::new();
        bench.work(40);
        let before = bench.sequence.store.len();
        bench.say("write failed on <*>", 0.97, Provider::Table);
        assert_eq!(bench.sequence.store.len(), before);
        bench.work(9);
        bench.say("backup done", 0.03, Provider::Table);
        assert!(bench.sequence.store.knows(TemplateId::of("backup done")));
    }

    #[test]
    fn a_window_that_a_person_pinned_scores_nothing_unless_a_person_said_that_a_line_is_faulty() {
        let mut bench = Bench::new();
        bench.work(39);
        let alarm = bench.say("raid check found <*> mismatches", 0.97, Provider::Table);
        let window = alarm.window.expect("enough lines");
        bench.sequence.store.push(window, EventTime::MIN);
        assert!(bench.sequence.store.pin(&window, true));
        bench.work(39);
        assert_eq!(bench.say("raid check found <*> mismatches", 0.97, Provider::Table).score, 0.0);
        bench.work(39);
        let operators = bench.say("raid check found <*> mismatches", 0.97, Provider::Operator);
        assert!(operators.score > 0.4, "{operators:?}");
    }
}

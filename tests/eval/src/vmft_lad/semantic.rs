//! Our detector on the recordings: each host learns anew, templates are what their texts say.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;

use matrix_profile::{Line, Scoring, Sequence, Vocabulary};
use regex::Regex;
use schemas::{TemplateId, canonical};
use verdict::training::{jaccard, word_set};
use verdict::{Local, Model, Provider};

use super::dataset::{Data, Recording, Set, Template};
use super::evaluation::Judged;

/// What a cached verdict is worth.
pub const FAULTY: f64 = 0.97;
/// The same for a template that was called normal, or that nobody knows.
pub const NORMAL: f64 = 0.03;
/// Share of common words from which a line of the grammar is nearly a template.
const NEAR_DUPLICATE: f64 = 0.8;

/// The probability that a template of a set tells of a failure, by its number.
type Probability<'a> = Box<dyn Fn(&Set, i64) -> f64 + 'a>;

/// Whose probabilities, and the threshold that goes with them.
pub struct Verdicts<'a> {
    /// Name of the detector's mode.
    pub mode: String,
    /// Whose word it is.
    pub provider: Provider,
    /// By set and template number.
    pub probability: Probability<'a>,
}

/// The text of a template without what the kernel's clock prints before it.
pub fn text(template: &Template) -> String {
    static STAMP: LazyLock<Option<Regex>> = LazyLock::new(|| Regex::new(r"^\[\s*<:[A-Z]+:>\.<:[A-Z]+:>\]\s*").ok());
    let text = match &*STAMP {
        Some(stamp) => stamp.replace(&template.text, ""),
        None => template.text.as_str().into(),
    };
    canonical(&text.replace("<:*:>", schemas::template::PLACEHOLDER))
}

/// The templates of the data as the detector knows them.
pub struct Names {
    vocabulary: Vocabulary,
    ids: BTreeMap<i64, TemplateId>,
}

impl Names {
    /// Reads the texts; a number without a text is a template about which nothing is known.
    pub fn of(data: &Data) -> Self {
        let mut names = Self { vocabulary: Vocabulary::default(), ids: BTreeMap::new() };
        for (number, template) in &data.templates {
            let text = text(template);
            let id = TemplateId::of(&text);
            names.vocabulary.meet(id, &text);
            names.ids.insert(*number, id);
        }
        names
    }

    fn id(&self, number: i64) -> TemplateId {
        self.ids.get(&number).copied().unwrap_or_else(|| TemplateId::of(&format!("template {number} without text")))
    }

    /// Every score, exactly.
    pub fn judge(&self, data: &Data, verdicts: &Verdicts<'_>) -> Judged {
        let scoring = Scoring::exact();
        let threshold = scoring.threshold_of(verdicts.provider);
        Judged::new(verdicts.mode.as_str(), threshold, data, |set, recording| self.scores(set, recording, verdicts, &scoring))
    }

    fn scores(&self, set: &Set, recording: &Recording, verdicts: &Verdicts<'_>, scoring: &Scoring) -> Vec<f64> {
        let mut sequence = Sequence::new(scoring);
        let rows = recording.templates.iter().zip(&recording.times);
        rows.map(|(number, time)| {
            let probability = (verdicts.probability)(set, *number);
            let line = Line { template: self.id(*number), probability, provider: verdicts.provider };
            sequence.push(line, *time, scoring, &self.vocabulary).score
        })
        .collect()
    }
}

/// The local model, as shipped or trained anew for each set.
pub enum LocalModel {
    /// As compiled in.
    Shipped,
    /// For each set, by name, a model that was trained without anything like what that set's failures say.
    LeftOut(BTreeMap<String, Model>),
}

impl LocalModel {
    /// Trains a model for each set: the lines of the grammar that nearly are a template that is seen only once the set's faults have
    /// been injected are left out. A set without failures gets a model that knows none of any set's.
    pub fn left_out(data: &Data) -> anyhow::Result<Self> {
        let normal: BTreeSet<i64> = data.sets.iter().flat_map(|set| &set.recordings).flat_map(before_failure).collect();
        let of_failures = |set: &Set| -> BTreeSet<i64> {
            let after = set.recordings.iter().flat_map(|recording| recording.templates.iter().skip(recording.benign_rows()).copied());
            after.filter(|number| !normal.contains(number)).collect()
        };
        let all: BTreeSet<i64> = data.sets.iter().flat_map(of_failures).collect();
        let mut models = BTreeMap::new();
        for set in &data.sets {
            let numbers = if set.has_failures() { of_failures(set) } else { all.clone() };
            let texts = numbers.iter().filter_map(|number| data.templates.get(number));
            let held_out: Vec<BTreeSet<String>> = texts.map(|template| word_set(&text(template))).collect();
            let is_far = |line: &str| held_out.iter().all(|held_out| jaccard(&word_set(line), held_out) < NEAR_DUPLICATE);
            models.insert(set.name.clone(), Model::new(verdict::training::shipped(is_far)?, Local::default()));
        }
        Ok(Self::LeftOut(models))
    }

    /// Probabilities of every template with a text, by set.
    pub fn verdicts(&self, mode: &str, data: &Data) -> Verdicts<'static> {
        let judge = |set: &Set| -> BTreeMap<i64, f64> {
            let model = match self {
                Self::Shipped => Model::shipped(),
                Self::LeftOut(models) => models.get(&set.name).unwrap_or(Model::shipped()),
            };
            data.templates.iter().map(|(number, template)| (*number, model.judge(&text(template)).probability)).collect()
        };
        let known: BTreeMap<String, BTreeMap<i64, f64>> = data.sets.iter().map(|set| (set.name.clone(), judge(set))).collect();
        let probability =
            move |set: &Set, number: i64| known.get(&set.name).and_then(|known| known.get(&number)).copied().unwrap_or(NORMAL);
        Verdicts { mode: mode.into(), provider: Provider::Local, probability: Box::new(probability) }
    }
}

fn before_failure(recording: &Recording) -> impl Iterator<Item = i64> + '_ {
    recording.templates.iter().take(recording.benign_rows()).copied()
}

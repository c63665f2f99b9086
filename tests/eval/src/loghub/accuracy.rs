//! Measures of log parsing, as defined for the tables of LogHub-2.0 (Jiang et al., ISSTA 2024).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;

use regex::Regex;

/// A line's group and the text of its template.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Labelled {
    /// Identity of the group.
    pub group: String,
    /// Template text.
    pub text: String,
}

/// All measures of one system.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Scores {
    /// Grouping accuracy: share of lines in predicted groups that equal a true group as a set.
    pub ga: f64,
    /// F1 of grouping: 2c / (|P| + |G|), c = predicted groups equal to a true group.
    pub fga: f64,
    /// Parsing accuracy: share of lines whose text is right.
    pub pa: f64,
    /// F1 of template accuracy: a predicted text is right if the lines that carry it carry it in truth and no other.
    pub fta: f64,
    /// PA by token: what surrounds a placeholder inside its token does not count.
    pub pa_token: f64,
    /// FTA by token.
    pub fta_token: f64,
    /// |P|
    pub groups_predicted: usize,
    /// |G|
    pub groups_true: usize,
}

impl Scores {
    /// Scores `predicted` against `truth`, line by line.
    pub fn of(predicted: &[Labelled], truth: &[Labelled]) -> Self {
        let (groups_p, groups_t) = (groups(predicted), groups(truth));
        let true_sets: BTreeSet<&Vec<usize>> = groups_t.values().collect();
        let equal: Vec<&Vec<usize>> = groups_p.values().filter(|lines| true_sets.contains(lines)).collect();
        let right: usize = equal.iter().map(|lines| lines.len()).sum();
        let texts = |normalise: fn(&str) -> String| -> Vec<(String, String)> {
            predicted.iter().zip(truth).map(|(p, t)| (normalise(&p.text), normalise(&t.text))).collect()
        };
        let (whole, by_token) = (texts(normalise), texts(normalise_by_token));
        Self {
            ga: ratio(right, predicted.len()),
            fga: ratio(2 * equal.len(), groups_p.len() + groups_t.len()),
            pa: parsing_accuracy(&whole),
            fta: template_f1(&whole),
            pa_token: parsing_accuracy(&by_token),
            fta_token: template_f1(&by_token),
            groups_predicted: groups_p.len(),
            groups_true: groups_t.len(),
        }
    }
}

fn groups(lines: &[Labelled]) -> BTreeMap<&str, Vec<usize>> {
    let mut groups: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
    for (index, line) in lines.iter().enumerate() {
        groups.entry(&line.group).or_default().push(index);
    }
    groups
}

fn parsing_accuracy(texts: &[(String, String)]) -> f64 {
    ratio(texts.iter().filter(|(predicted, truth)| predicted == truth).count(), texts.len())
}

fn template_f1(texts: &[(String, String)]) -> f64 {
    let mut truths: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for (predicted, truth) in texts {
        truths.entry(predicted).or_default().insert(truth);
    }
    let all_true: BTreeSet<&str> = texts.iter().map(|(_, truth)| truth.as_str()).collect();
    let right = truths.iter().filter(|(text, of)| of.len() == 1 && of.contains(*text)).count();
    let (precision, recall) = (ratio(right, truths.len()), ratio(right, all_true.len()));
    if precision + recall == 0.0 { 0.0 } else { 2.0 * precision * recall / (precision + recall) }
}

fn ratio(part: usize, whole: usize) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 / whole as f64 }
}

/// Any placeholder is `<*>`, runs of white space are one blank, trimmed.
fn normalise(text: &str) -> String {
    static PLACEHOLDER: LazyLock<Option<Regex>> = LazyLock::new(|| Regex::new(r"<:?(?:\*|[A-Z][A-Z0-9_]*):?>").ok());
    let text = match &*PLACEHOLDER {
        Some(placeholder) => placeholder.replace_all(text, "<*>"),
        None => text.into(),
    };
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// After [`normalise`]: a token that holds `<*>` becomes `<*>`, runs of them one.
fn normalise_by_token(text: &str) -> String {
    let mut tokens: Vec<&str> = Vec::new();
    let normal = normalise(text);
    for token in normal.split(' ') {
        let token = if token.contains("<*>") { "<*>" } else { token };
        if token != "<*>" || tokens.last() != Some(&"<*>") {
            tokens.push(token);
        }
    }
    tokens.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labelled(rows: &[(&str, &str)]) -> Vec<Labelled> {
        rows.iter().map(|(group, text)| Labelled { group: (*group).into(), text: (*text).into() }).collect()
    }

    #[test]
    fn placeholders_and_white_space_are_normalised() {
        assert_eq!(normalise("  a <NUM>  <:IP:>:<*> <b> "), "a <*> <*>:<*> <b>");
        assert_eq!(normalise_by_token("blk_<*> <*> (x=<*>) end"), "<*> end");
    }

    #[test]
    fn a_perfect_prediction_scores_one() {
        let truth = labelled(&[("E1", "a <*>"), ("E2", "b"), ("E1", "a <*>")]);
        let scores = Scores::of(&truth, &truth);
        assert_eq!((scores.ga, scores.fga, scores.pa, scores.fta), (1.0, 1.0, 1.0, 1.0));
    }

    #[test]
    fn a_group_counts_only_as_a_whole() {
        // Truth {0,1,2} {3}; predicted {0,1} {2} {3}: one group of three is right, with one line of four.
        let truth = labelled(&[("E1", "a"), ("E1", "a"), ("E1", "a"), ("E2", "b")]);
        let predicted = labelled(&[("x", "a"), ("x", "a"), ("y", "c"), ("z", "b")]);
        let scores = Scores::of(&predicted, &truth);
        assert_eq!((scores.ga, scores.fga, scores.pa), (0.25, 2.0 / 5.0, 0.75));
        // Texts a and b are right, c is not: PTA 2/3, RTA 2/2.
        assert!((scores.fta - 0.8).abs() < 1e-12);
    }

    #[test]
    fn a_text_shared_by_two_truths_is_wrong_for_both() {
        let truth = labelled(&[("E1", "a <*>"), ("E2", "a b")]);
        let predicted = labelled(&[("x", "a <*>"), ("x", "a <*>")]);
        let scores = Scores::of(&predicted, &truth);
        assert_eq!((scores.pa, scores.fta, scores.ga), (0.5, 0.0, 0.0));
    }
}

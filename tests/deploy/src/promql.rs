//! Which metrics and labels a PromQL expression names. It reads expressions that Prometheus accepts (`promtool` says whether
//! it does) and only as far as names go.

use std::collections::BTreeSet;

use stream_runtime::metrics::{Kind, METRICS, Metric};

/// Labels that Prometheus puts on every series of a target.
const TARGET_LABELS: [&str; 3] = ["instance", "job", "part"];
/// Series that Prometheus makes itself.
const OF_PROMETHEUS: [&str; 2] = ["ALERTS", "up"];
/// Words that are no names of metrics.
const KEYWORDS: [&str; 10] = ["and", "atan2", "bool", "end", "inf", "nan", "offset", "or", "start", "unless"];
/// Words before a list of labels.
const GROUPINGS: [&str; 6] = ["by", "group_left", "group_right", "ignoring", "on", "without"];

/// What an expression names.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Names {
    /// Each selector: the metric, and the labels that it matches.
    pub selectors: Vec<(String, Vec<String>)>,
    /// Labels in `by (…)` and the like.
    pub groupings: BTreeSet<String>,
}

impl Names {
    /// Reads an expression.
    pub fn of(expression: &str) -> Self {
        let mut names = Self::default();
        let mut tokens = Tokens(expression).peekable();
        while let Some(token) = tokens.next() {
            match token {
                Token::Word(word) if GROUPINGS.contains(&word) => {
                    if tokens.next_if_eq(&Token::Sign('(')).is_some() {
                        let labels = tokens.by_ref().take_while(|token| *token != Token::Sign(')'));
                        names.groupings.extend(labels.filter_map(Token::word).map(str::to_string));
                    }
                }
                Token::Word(word) if KEYWORDS.contains(&word.to_ascii_lowercase().as_str()) => {}
                // A function, or an aggregation such as `sum(…) by (…)` or `sum by (…) (…)`.
                Token::Word(word) if is_call(word, tokens.peek()) => {}
                Token::Word(word) => {
                    let mut labels = Vec::new();
                    if tokens.next_if_eq(&Token::Sign('{')).is_some() {
                        let matchers = tokens.by_ref().take_while(|token| *token != Token::Sign('}'));
                        labels.extend(matchers.filter_map(Token::word).map(str::to_string));
                    }
                    names.selectors.push((word.to_string(), labels));
                }
                Token::Sign('[') => tokens.by_ref().take_while(|token| *token != Token::Sign(']')).for_each(drop),
                Token::Sign(_) => {}
            }
        }
        names
    }

    /// What of it no binary of ours exposes.
    pub fn unknown(&self) -> Vec<String> {
        let mut problems = Vec::new();
        let mut known: BTreeSet<&str> = TARGET_LABELS.into();
        for (name, labels) in &self.selectors {
            if OF_PROMETHEUS.contains(&name.as_str()) {
                continue;
            }
            let Some(metric) = find(name) else {
                problems.push(format!("there is no metric {name}"));
                continue;
            };
            let own: BTreeSet<&str> = metric.labels.iter().copied().chain(TARGET_LABELS).chain(is_bucket(metric, name)).collect();
            let foreign = labels.iter().filter(|label| !own.contains(label.as_str()));
            problems.extend(foreign.map(|label| format!("{name} has no label {label}")));
            known.extend(own);
        }
        if self.selectors.is_empty() {
            problems.push("it asks for no metric".into());
        }
        let foreign = self.groupings.iter().filter(|label| !known.contains(label.as_str()));
        problems.extend(foreign.map(|label| format!("nothing in it has a label {label}")));
        problems
    }
}

fn find(name: &str) -> Option<&'static Metric> {
    METRICS.iter().find(|metric| metric.series().iter().any(|series| series == name))
}

fn is_bucket(metric: &Metric, name: &str) -> Option<&'static str> {
    (metric.kind == Kind::Histogram && name.ends_with("_bucket")).then_some("le")
}

fn is_call(word: &str, next: Option<&Token<'_>>) -> bool {
    next == Some(&Token::Sign('(')) || matches!(next, Some(Token::Word(next)) if GROUPINGS.contains(next) && find(word).is_none())
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Token<'a> {
    Word(&'a str),
    Sign(char),
}

impl<'a> Token<'a> {
    fn word(self) -> Option<&'a str> {
        match self {
            Self::Word(word) => Some(word),
            Self::Sign(_) => None,
        }
    }
}

/// Words and signs; strings, numbers and spaces are passed over.
struct Tokens<'a>(&'a str);

impl<'a> Iterator for Tokens<'a> {
    type Item = Token<'a>;

    fn next(&mut self) -> Option<Token<'a>> {
        loop {
            let first = self.0.chars().next()?;
            let (token, rest) = match first {
                '"' | '\'' => (None, after_string(self.0, first)),
                'a'..='z' | 'A'..='Z' | '_' | ':' | '$' => {
                    let end = self.0.find(|c: char| !c.is_ascii_alphanumeric() && !"_:$".contains(c)).unwrap_or(self.0.len());
                    let (word, rest) = self.0.split_at(end);
                    (Some(Token::Word(word)), rest)
                }
                '0'..='9' => (None, self.0.trim_start_matches(|c: char| c.is_ascii_alphanumeric() || c == '.')),
                c if c.is_whitespace() => (None, self.0.trim_start()),
                c => (Some(Token::Sign(c)), &self.0[c.len_utf8()..]),
            };
            self.0 = rest;
            if token.is_some() {
                return token;
            }
        }
    }
}

/// What follows a string that begins here; a backslash escapes what comes after it.
fn after_string(text: &str, quote: char) -> &str {
    let mut is_escaped = false;
    for (at, c) in text.char_indices().skip(1) {
        if c == quote && !is_escaped {
            return &text[at + 1..];
        }
        is_escaped = c == '\\' && !is_escaped;
    }
    ""
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_found_where_they_stand() {
        let names = Names::of(
            r#"60 * sum by (stage, topic) (rate(nephoscope_records_total{topic="}up\"{", stage=~'$stage'}[$__rate_interval] offset 5m))
               and on (stage) max(time() - nephoscope_watermark_seconds) without (partition) > 1e3"#,
        );
        let selector = |name: &str, labels: &[&str]| (name.to_string(), labels.iter().map(ToString::to_string).collect::<Vec<_>>());
        assert_eq!(
            names.selectors,
            [selector("nephoscope_records_total", &["topic", "stage"]), selector("nephoscope_watermark_seconds", &[])]
        );
        assert_eq!(names.groupings, ["partition", "stage", "topic"].map(String::from).into());
        assert_eq!(names.unknown(), Vec::<String>::new());
    }

    #[test]
    fn what_nobody_exposes_is_named() {
        for (expression, expected) in [
            ("sum(nephoscope_recrods_total)", "there is no metric nephoscope_recrods_total"),
            ("nephoscope_records", "there is no metric nephoscope_records"),
            ("nephoscope_commit_duration_seconds", "there is no metric nephoscope_commit_duration_seconds"),
            ("nephoscope_late_total{topic=\"a\"}", "nephoscope_late_total has no label topic"),
            ("sum by (le) (nephoscope_batch_records_sum)", "nothing in it has a label le"),
            ("sum by (host) (up)", "nothing in it has a label host"),
            ("time() > 5", "it asks for no metric"),
        ] {
            assert_eq!(Names::of(expression).unknown(), [expected], "{expression}");
        }
    }

    #[test]
    fn a_bucket_has_its_bound() {
        let expression = "histogram_quantile(0.99, sum by (le, stage) (rate(nephoscope_commit_duration_seconds_bucket[5m])))";
        assert_eq!(Names::of(expression).unknown(), Vec::<String>::new());
    }
}

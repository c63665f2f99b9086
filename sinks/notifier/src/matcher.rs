//! Matchers, as users of Alertmanager know them: `severity=critical`, `host!="web-1"`, `name=~"Template.*"`, `service!~"a|b"`.
//!
//! A pattern must match the whole value. An alert that lacks a label has it with an empty value.

use std::{borrow::Cow, fmt, str::FromStr};

use regex::{Regex, RegexBuilder};
use schemas::Alert;

/// Bytes of a compiled pattern: enough for long lists of names, too little to fill the memory.
const PATTERN_BYTES_MAX: usize = 1 << 20;

/// One condition on an alert.
#[derive(Debug, Clone)]
pub struct Matcher {
    name: String,
    value: String,
    test: Test,
}

#[derive(Debug, Clone)]
enum Test {
    Equal,
    NotEqual,
    Matches(Regex),
    MatchesNot(Regex),
}

/// A text that is no matcher.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("found {found:?}, expected {expected}")]
pub struct MatcherError {
    /// The text.
    pub found: String,
    /// What would have been understood.
    pub expected: String,
}

impl Matcher {
    /// Whether an alert meets the condition.
    pub fn matches(&self, alert: &Alert) -> bool {
        let value = value_of(alert, &self.name);
        match &self.test {
            Test::Equal => value == self.value,
            Test::NotEqual => value != self.value,
            Test::Matches(pattern) => pattern.is_match(&value),
            Test::MatchesNot(pattern) => !pattern.is_match(&value),
        }
    }

    /// The value that it looks at, for explanations.
    pub fn found_in(&self, alert: &Alert) -> String {
        value_of(alert, &self.name).into_owned()
    }
}

/// What an alert says under a name: one of its own fields, else a label.
pub fn value_of<'a>(alert: &'a Alert, name: &str) -> Cow<'a, str> {
    match name {
        "name" | "alertname" => Cow::Borrowed(&alert.name),
        "severity" => Cow::Owned(alert.severity.to_string()),
        "service" => Cow::Borrowed(&alert.service),
        "environment" => Cow::Borrowed(&alert.environment),
        "source" => Cow::Borrowed(alert.source.first().map_or("", String::as_str)),
        label => Cow::Borrowed(alert.labels.get(label).map_or("", String::as_str)),
    }
}

impl FromStr for Matcher {
    type Err = MatcherError;

    fn from_str(text: &str) -> Result<Self, MatcherError> {
        let wrong = |expected: String| MatcherError { found: text.into(), expected };
        let form = || wrong(r#"a matcher such as severity=critical, host!="web-1", name=~"Template.*" or service!~"a|b""#.into());
        let at = text.find(['=', '!']).ok_or_else(form)?;
        let (name, rest) = text.split_at(at);
        let (operator, value) = ["=~", "!~", "!=", "="].iter().find_map(|op| Some((*op, rest.strip_prefix(op)?))).ok_or_else(form)?;
        let (name, value) = (name.trim(), unquoted(value.trim()).ok_or_else(form)?);
        let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
        if name.is_empty() || !name.chars().all(is_name) {
            return Err(form());
        }
        let pattern = || {
            let whole = format!("^(?:{value})$");
            let built = RegexBuilder::new(&whole).size_limit(PATTERN_BYTES_MAX).build();
            built.map_err(|error| wrong(format!("a pattern that the regex crate accepts: {error}")))
        };
        let test = match operator {
            "=" => Test::Equal,
            "!=" => Test::NotEqual,
            "=~" => Test::Matches(pattern()?),
            _ => Test::MatchesNot(pattern()?),
        };
        Ok(Self { name: name.into(), value, test })
    }
}

/// A value with or without its quotes; within them `\"` and `\\` stand for one sign.
fn unquoted(text: &str) -> Option<String> {
    let Some(inner) = text.strip_prefix('"') else { return (!text.contains('"')).then(|| text.into()) };
    let mut value = String::with_capacity(inner.len());
    let mut signs = inner.chars();
    while let Some(sign) = signs.next() {
        match sign {
            '"' => return signs.next().is_none().then_some(value),
            '\\' => match signs.next()? {
                escaped @ ('"' | '\\') => value.push(escaped),
                other => value.extend(['\\', other]),
            },
            other => value.push(other),
        }
    }
    None
}

impl fmt::Display for Matcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let operator = match self.test {
            Test::Equal => "=",
            Test::NotEqual => "!=",
            Test::Matches(_) => "=~",
            Test::MatchesNot(_) => "!~",
        };
        write!(f, "{}{operator}\"{}\"", self.name, self.value.replace('\\', r"\\").replace('"', "\\\""))
    }
}

/// Reads all of them.
///
/// # Errors
/// The first that is none.
pub fn parse_all(texts: &[String]) -> Result<Vec<Matcher>, MatcherError> {
    texts.iter().map(|text| text.parse()).collect()
}

#[cfg(test)]
mod tests {
    use schemas::Severity;

    use super::*;

    fn alert() -> Alert {
        Alert {
            name: "TemplateBurst".into(),
            severity: Severity::High,
            service: "shop".into(),
            environment: "default".into(),
            source: vec!["drain".into()],
            labels: [("host", "web-1"), ("quote", "a\"b\\c")].map(|(key, value)| (key.into(), value.into())).into(),
            ..Alert::default()
        }
    }

    #[test]
    fn each_operator_means_what_alertmanager_means_by_it() {
        for (text, expected) in [
            ("host=web-1", true),
            ("host=\"web-1\"", true),
            ("host = web-1", true),
            ("host=web-2", false),
            ("host!=web-1", false),
            ("host!=\"web-2\"", true),
            ("host=~web-.", true),
            ("host=~web", false),
            ("host=~\"db.*|web.*\"", true),
            ("host!~web", true),
            ("host!~web-.*", false),
            ("name=TemplateBurst", true),
            ("alertname=~Template.*", true),
            ("severity=~\"high|critical\"", true),
            ("service=shop", true),
            ("environment=default", true),
            ("source=drain", true),
            ("absent=", true),
            ("absent=\"\"", true),
            ("absent!=x", true),
            ("absent=~\".+\"", false),
            (r#"quote="a\"b\\c""#, true),
        ] {
            assert_eq!(text.parse::<Matcher>().expect(text).matches(&alert()), expected, "{text}");
        }
    }

    #[test]
    fn it_prints_what_it_reads() {
        for text in ["host=\"web-1\"", r#"quote!="a\"b\\c""#, "name=~\"Template.*\"", r#"name!~"a\\d+""#] {
            let matcher: Matcher = text.parse().expect(text);
            assert_eq!(matcher.to_string(), text);
            assert_eq!(matcher.to_string().parse::<Matcher>().expect(text).matches(&alert()), matcher.matches(&alert()));
        }
    }

    #[test]
    fn anything_else_says_what_would_do() {
        for text in ["", "host", "=a", "host~a", "ho st=a", "host=\"a", "host=a\"", "host=\"a\"b", "a-b=c"] {
            let error = text.parse::<Matcher>().expect_err(text).to_string();
            assert!(error.contains("expected a matcher such as"), "{error}");
        }
        let error = "host=~(".parse::<Matcher>().expect_err("no pattern").to_string();
        assert!(error.starts_with("found \"host=~(\", expected a pattern that the regex crate accepts"), "{error}");
        assert!("host=~(a{1000}){1000}".parse::<Matcher>().is_err(), "a pattern that would fill the memory");
    }
}

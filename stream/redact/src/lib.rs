//! Secrets that stray into logs, masked before anybody sees them: values of well-known keys, bearer tokens, passwords in
//! URLs, private keys, tokens that name their issuer by their first letters, and what the operator names.
//!
//! It errs on the side of masking: a masked number costs a look into the log itself, a shown password costs more. What
//! stands on the bus is what was sent; masked is what is shown of it, or leaves the machine.
//!
//! ```
//! let redactor = redact::Redactor::default();
//! assert_eq!(redactor.text("login user=ann password=hunter2"), "login user=ann password=[redacted]");
//! ```

use std::{borrow::Cow, sync::Arc};

use regex::{Captures, Regex};
use schemas::Alert;
use serde::{Deserialize, Serialize};

/// What stands in the place of a secret.
pub const MASK: &str = "[redacted]";
/// Name of the configuration's section.
pub const SECTION: &str = "redact";
/// What stands in a template in the place of a value.
const PLACEHOLDER: &str = "<*>";

/// `[redact]`: what of a log nobody is shown, on the page, in an alert or by a command.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RedactSettings {
    /// Mask secrets of well-known forms. On: what is shown is soon in a screenshot, a ticket, a chat.
    pub enabled: bool,
    /// Patterns of one's own, in the syntax of the `regex` crate. What they match is masked, but for their groups `before`
    /// and `after`.
    pub patterns: Vec<String>,
}

impl Default for RedactSettings {
    fn default() -> Self {
        Self { enabled: true, patterns: Vec::new() }
    }
}

/// A pattern that cannot be meant.
#[derive(Debug, thiserror::Error)]
#[error("found {pattern:?}, expected a pattern that the regex crate accepts")]
pub struct PatternError {
    /// Which of [`RedactSettings::patterns`].
    pub index: usize,
    /// The pattern.
    pub pattern: String,
    /// What is wrong with it.
    #[source]
    pub source: regex::Error,
}

/// Each pattern has the groups `before` and `after`, which stay.
const WELL_KNOWN: [&str; 6] = [
    // The body of a key, even if its end is cut off.
    r"(?s)(?P<before>-----BEGIN [A-Z ]{0,40}PRIVATE KEY-----).*?(?P<after>-----END [A-Z ]{0,40}PRIVATE KEY-----|\z)",
    // scheme://user:password@host (RFC 3986, 3.2.1)
    r"(?P<before>\b[A-Za-z][A-Za-z0-9+.-]*://[^\s/:@?#]*:)[^\s/@]+(?P<after>@)",
    // Authorization: Bearer …, Basic … (RFC 6750, RFC 7617)
    r"(?i)(?P<before>\b(?:bearer|basic)\s+)[A-Za-z0-9._~+/-]{8,}=*(?P<after>)",
    // key=value, key: value, "key": "value", --key value; the key may be part of a longer name
    r#"(?i)(?P<before>(?:pass(?:word|wd|phrase)|\bpwd|\bpass|secret|api[_-]?key|access[_-]?key|private[_-]?key|auth[_-]?token|token|credentials?|cookie|session[_-]?id)[A-Za-z0-9_-]{0,20}\\?["']?\s*[=:]\s*\\?["']?)(?:\[redacted\]|[^\s"'\\,;&)\]}]+)(?P<after>)"#,
    r"(?i)(?P<before>--?(?:password|passwd|pass|secret|token|api-key)\s+)[^\s-]\S*(?P<after>)",
    // JSON web tokens (RFC 7519), access keys of clouds, tokens of forges and chats
    r"(?P<before>)\b(?:eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]*|A(?:KIA|SIA)[A-Z0-9]{16}|gh[pousr]_[A-Za-z0-9]{20,}|glpat-[A-Za-z0-9_-]{20,}|xox[abposr]-[A-Za-z0-9-]{10,})(?P<after>)",
];

/// Masks secrets; cheap to clone.
#[derive(Debug, Clone)]
pub struct Redactor(Arc<[Regex]>);

impl Redactor {
    /// A redactor as it is set.
    ///
    /// # Errors
    /// If a pattern is none.
    pub fn new(settings: &RedactSettings) -> Result<Self, PatternError> {
        let well_known: &[&str] = if settings.enabled { &WELL_KNOWN } else { &[] };
        let patterns = settings.patterns.iter().map(String::as_str).chain(well_known.iter().copied());
        let compile =
            |(index, pattern): (usize, &str)| Regex::new(pattern).map_err(|source| PatternError { index, pattern: pattern.into(), source });
        Ok(Self(patterns.enumerate().map(compile).collect::<Result<_, _>>()?))
    }

    /// The text with its secrets masked; the same text where there are none.
    pub fn text<'a>(&self, text: &'a str) -> Cow<'a, str> {
        self.0.iter().fold(Cow::Borrowed(text), |text, secret| match secret.replace_all(&text, mask) {
            Cow::Borrowed(_) => text,
            Cow::Owned(masked) => Cow::Owned(masked),
        })
    }

    /// Masks the texts of an alert. Its labels stay: they are its identity.
    pub fn alert(&self, alert: &mut Alert) {
        for text in [&mut alert.message, &mut alert.description].into_iter().chain(alert.annotations.values_mut()) {
            self.string(text);
        }
    }

    /// Masks a text in place.
    pub fn string(&self, text: &mut String) {
        if let Cow::Owned(masked) = self.text(text) {
            *text = masked;
        }
    }
}

/// As it is set where nothing is set.
impl Default for Redactor {
    fn default() -> Self {
        Self::new(&RedactSettings::default()).expect("the well-known patterns are constants that a test compiles")
    }
}

fn mask(found: &Captures<'_>) -> String {
    // Where a template has a placeholder, there is nothing to hide.
    if found[0].ends_with(PLACEHOLDER) {
        return found[0].to_string();
    }
    let group = |name| found.name(name).map_or("", |group| group.as_str());
    format!("{}{MASK}{}", group("before"), group("after"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn redact(text: &str) -> String {
        Redactor::default().text(text).into_owned()
    }

    #[test]
    fn every_well_known_pattern_can_be_compiled() {
        assert_eq!(Redactor::new(&RedactSettings::default()).expect("constants").0.len(), WELL_KNOWN.len());
    }

    #[test]
    fn secrets_are_masked_and_the_rest_stays() {
        for (text, expected) in [
            ("login user=ann password=hunter2 from 10.0.0.1", "login user=ann password=[redacted] from 10.0.0.1"),
            ("DB_PASSWORD: 's3cr et'", "DB_PASSWORD: '[redacted] et'"),
            (r#"{"api_key": "abc", "n": 1}"#, r#"{"api_key": "[redacted]", "n": 1}"#),
            (r#"{\"token\":\"abc\"}"#, r#"{\"token\":\"[redacted]\"}"#),
            ("X-Auth-Token: 8f7e, next", "X-Auth-Token: [redacted], next"),
            ("mysql --password hunter2 -h db", "mysql --password [redacted] -h db"),
            ("secret_access_key=AbC/123+x", "secret_access_key=[redacted]"),
            ("GET /x?token=abc&b=c", "GET /x?token=[redacted]&b=c"),
            ("Authorization: Bearer abcdef0123456789.x-y", "Authorization: Bearer [redacted]"),
            ("authorization: basic dXNlcjpwYXNz==", "authorization: basic [redacted]"),
            ("fetch https://ann:hunter2@host/a failed", "fetch https://ann:[redacted]@host/a failed"),
            ("amqp://:hunter2@host", "amqp://:[redacted]@host"),
            (
                "key -----BEGIN RSA PRIVATE KEY-----\nMIIE\nabc\n-----END RSA PRIVATE KEY----- end",
                "key -----BEGIN RSA PRIVATE KEY-----[redacted]-----END RSA PRIVATE KEY----- end",
            ),
            ("-----BEGIN PRIVATE KEY-----MIIEabc", "-----BEGIN PRIVATE KEY-----[redacted]"),
            ("got eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl ok", "got [redacted] ok"),
            ("id AKIAIOSFODNN7EXAMPLE used", "id [redacted] used"),
            ("push with ghp_0123456789abcdefghijABCDEFGHIJ012345", "push with [redacted]"),
        ] {
            assert_eq!(redact(text), expected);
        }
    }

    #[test]
    fn ordinary_lines_stay_as_they_are() {
        for text in [
            "",
            "Accepted password for root from 10.0.0.1 port 22 ssh2",
            "Failed password for invalid user admin",
            "pam_unix(sshd:auth): authentication failure; logname= uid=0 euid=0 tty=ssh",
            "session opened for user root by (uid=0)",
            "http://host:8080/path?x=y@z",
            "2024-01-01T00:00:00Z tokenizer took 12 ms",
            "bearer of bad news",
            "login password=<*> token: <*> from <*>",
            "mail from ann@example.com to bob@example.com",
        ] {
            assert_eq!(redact(text), text);
        }
    }

    #[test]
    fn masking_twice_is_masking_once() {
        let once = redact("password=a token: b https://u:p@h bearer abcdefgh12");
        assert_eq!(redact(&once), once);
    }

    #[test]
    fn own_patterns_are_masked_beside_the_well_known_ones_or_alone() {
        let patterns = vec![r"\bACME-\d+".to_string(), r"(?<before>patient )\w+".into()];
        let text = "patient Miller has ACME-4711 password=hunter2";
        let both = Redactor::new(&RedactSettings { enabled: true, patterns: patterns.clone() }).expect("patterns");
        assert_eq!(both.text(text), "patient [redacted] has [redacted] password=[redacted]");
        let own = Redactor::new(&RedactSettings { enabled: false, patterns }).expect("patterns");
        assert_eq!(own.text(text), "patient [redacted] has [redacted] password=hunter2");
        let wrong = RedactSettings { enabled: true, patterns: vec!["a".into(), "(".into()] };
        let error = Redactor::new(&wrong).expect_err("is no pattern");
        assert_eq!((error.index, error.pattern.as_str()), (1, "("));
    }
}

//! Secrets that stray into logs, masked before anybody sees them: values of well-known keys, bearer tokens, passwords in
//! URLs, private keys, and tokens that name their issuer by their first letters.
//!
//! It errs on the side of masking: a masked number costs a look into the log itself, a shown password costs more.

use std::{borrow::Cow, sync::LazyLock};

use regex::{Captures, Regex};

/// What stands in the place of a secret.
pub const MASK: &str = "[redacted]";

const PLACEHOLDER: &str = "<*>";

/// Each pattern has the groups `before` and `after`, which stay.
static SECRETS: LazyLock<Vec<Regex>> = LazyLock::new(|| {
    [
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
    ]
    .iter()
    .map(|pattern| Regex::new(pattern).expect("a fixed pattern; held by a test"))
    .collect()
});

/// The text with its secrets masked; the same text where there are none.
pub fn redact(text: &str) -> Cow<'_, str> {
    SECRETS.iter().fold(Cow::Borrowed(text), |text, secret| match secret.replace_all(&text, mask) {
        Cow::Borrowed(_) => text,
        Cow::Owned(masked) => Cow::Owned(masked),
    })
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
        let once = redact("password=a token: b https://u:p@h bearer abcdefgh12").into_owned();
        assert_eq!(redact(&once), once);
    }
}

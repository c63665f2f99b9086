//! Template ids and the text that they are hashes of: part of the contract, because records of several topics are joined by them.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// What stands for a parameter in a template text.
pub const PLACEHOLDER: &str = "<*>";
/// Longest canonical text.
pub const TEMPLATE_BYTES_MAX: usize = 4096;
const CUT: &str = " <...>";

/// Id of a template: a hash of its canonical text, so that equal templates have equal ids on every instance and restart.
///
/// ```
/// use schemas::TemplateId;
/// let id = TemplateId::of("session opened for user <*>");
/// assert_eq!(id.to_string(), "0c042ead4b207399");
/// assert_eq!("0c042ead4b207399".parse(), Ok(id));
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct TemplateId([u8; 8]);

/// A text that is no template id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("expected a template id of sixteen hex digits, found {0:?}")]
pub struct InvalidTemplateId(String);

impl TemplateId {
    /// The id of lines that match no template (inference mode, explosion guard).
    pub const UNKNOWN: Self = Self([0; 8]);

    /// First half of the SHA-256 of the canonical text behind a domain separator.
    pub fn of(canonical: &str) -> Self {
        let hash = Sha256::new().chain_update(b"nephoscope-template-1\0").chain_update(canonical).finalize();
        let mut id = [0; 8];
        id.iter_mut().zip(hash.iter()).for_each(|(to, from)| *to = *from);
        Self(id)
    }

    /// The eight bytes behind the sixteen hex digits.
    pub fn bytes(self) -> [u8; 8] {
        self.0
    }
}

impl FromStr for TemplateId {
    type Err = InvalidTemplateId;

    fn from_str(text: &str) -> Result<Self, InvalidTemplateId> {
        let digits = text.len() == 16 && text.bytes().all(|b| b.is_ascii_hexdigit());
        let number = u64::from_str_radix(text, 16).ok().filter(|_| digits);
        number.map(|number| Self(number.to_be_bytes())).ok_or_else(|| InvalidTemplateId(text.chars().take(64).collect()))
    }
}

impl fmt::Display for TemplateId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", u64::from_be_bytes(self.0))
    }
}

impl fmt::Debug for TemplateId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The canonical form of a template text from elsewhere (an operator, a table): each placeholder (`<*>`, `<:NUM:>`, `<:*:>`) written `<*>`,
/// runs of white space as one blank, trimmed, at most [`TEMPLATE_BYTES_MAX`] bytes.
///
/// ```
/// assert_eq!(schemas::canonical(" took  <:NUM:> ms "), "took <*> ms");
/// ```
pub fn canonical(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for word in text.split_ascii_whitespace() {
        if !out.is_empty() {
            out.push(' ');
        }
        let mut rest = word;
        while let Some(open) = rest.find("<:") {
            let (before, tail) = rest.split_at(open);
            let name = tail
                .get(2..)
                .and_then(|tail| tail.split_once(":>"))
                .filter(|(name, _)| *name == "*" || !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_'));
            out.push_str(before);
            match name {
                Some((_, after)) => {
                    out.push_str(PLACEHOLDER);
                    rest = after;
                }
                None => {
                    out.push_str("<:");
                    rest = tail.get(2..).unwrap_or_default();
                }
            }
        }
        out.push_str(rest);
    }
    if out.len() > TEMPLATE_BYTES_MAX {
        let room = out.floor_char_boundary(TEMPLATE_BYTES_MAX - CUT.len());
        let end = out.get(..room).and_then(|head| head.rfind(' ')).unwrap_or(room);
        out.truncate(end);
        out.push_str(CUT);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_those_of_the_specification() {
        let id = |text: &str| TemplateId::of(text).to_string();
        assert_eq!(id("session opened for user <*>"), "0c042ead4b207399");
        assert_eq!(id("Accepted password for <*> from <*> port <*> ssh2"), "9a4c1044015b1b1b");
        assert_eq!(id(""), "d2afd641273ec5a3");
        assert_eq!(TemplateId::UNKNOWN.to_string(), "0000000000000000");
    }

    #[test]
    fn an_id_is_sixteen_hex_digits_and_nothing_else() {
        for text in ["", "0c042ead4b20739", "0c042ead4b2073990", "+c042ead4b207399", "0c042ead4b20739g", "ü0c042ead4b2073"] {
            assert!(text.parse::<TemplateId>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn canonical_text_is_trimmed_and_cut_at_a_token() {
        assert_eq!(canonical("\t a  <:IP:>:<:NUM:>\u{a0}b "), "a <*>:<*>\u{a0}b");
        assert_eq!(canonical("sd <:*:>: gone"), "sd <*>: gone");
        assert_eq!(canonical("<: not one :> <:>"), "<: not one :> <:>");
        let long = "word ".repeat(2000);
        let cut = canonical(&long);
        assert!(cut.len() <= TEMPLATE_BYTES_MAX && cut.ends_with("word <...>"), "{}", cut.len());
        assert_eq!(canonical(&cut), cut);
        assert!(canonical(&"ü".repeat(5000)).len() <= TEMPLATE_BYTES_MAX);
    }
}

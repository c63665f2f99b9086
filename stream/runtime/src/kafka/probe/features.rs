//! ApiVersions, version 3, as bytes: the one request of Kafka's protocol that we make ourselves, since no client passes on
//! the *finalized features* of a cluster, among them the version of its transaction protocol (KIP-584, KIP-890).

use std::collections::BTreeMap;

/// The key of the request, and the version in which features appear first.
const API_VERSIONS: (i16, i16) = (18, 3);
/// The code of a broker that does not know this version.
const UNSUPPORTED_VERSION: i16 = 35;
/// The tagged field that holds the finalized features.
const FINALIZED_FEATURES: u64 = 2;
const CLIENT: &str = "nephoscope";

/// Level of each finalized feature, by name.
pub(super) type Features = BTreeMap<String, i16>;

/// Why an answer could not be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum Malformed {
    /// It ends early, or says that it is longer than it is.
    #[error("an answer to ApiVersions that ends at byte {len}, within {what} at byte {at}")]
    Short { what: &'static str, at: usize, len: usize },
    /// A number that cannot be.
    #[error("an answer to ApiVersions with {what} = {found} before byte {at}")]
    Number { what: &'static str, found: u64, at: usize },
    /// A name that is no text.
    #[error("an answer to ApiVersions with a name that is no UTF-8 before byte {at}")]
    Name { at: usize },
    /// The broker refused.
    #[error("the broker refuses ApiVersions v3: error code {0}{hint}", hint = if *.0 == UNSUPPORTED_VERSION { " (unsupported version)" } else { "" })]
    Refused(i16),
}

/// The request, with its length before it.
pub(super) fn request(correlation: i32, version: &str) -> Vec<u8> {
    let mut body = Vec::with_capacity(64);
    body.extend(API_VERSIONS.0.to_be_bytes());
    body.extend(API_VERSIONS.1.to_be_bytes());
    body.extend(correlation.to_be_bytes());
    // The header's client id is an old string with a length of two bytes; those of the body are compact ones.
    body.extend((CLIENT.len() as i16).to_be_bytes());
    body.extend(CLIENT.as_bytes());
    body.push(0);
    for text in [CLIENT, version] {
        let text: String = text.chars().filter(char::is_ascii).take(64).collect();
        body.push(text.len() as u8 + 1);
        body.extend(text.as_bytes());
    }
    body.push(0);
    [&(body.len() as i32).to_be_bytes()[..], &body].concat()
}

/// Reads an answer, without the length before it.
pub(super) fn parse(answer: &[u8], correlation: i32) -> Result<Features, Malformed> {
    let mut bytes = Bytes { all: answer, at: 0 };
    let found = bytes.i32("correlation id")?;
    if found != correlation {
        return Err(Malformed::Number { what: "correlation id", found: u64::from(found.cast_unsigned()), at: bytes.at });
    }
    let code = bytes.i16("error code")?;
    if code != 0 {
        return Err(Malformed::Refused(code));
    }
    for _ in 0..bytes.count("number of APIs")? {
        bytes.take("API", 6)?;
        bytes.skip_tags()?;
    }
    bytes.i32("throttle time")?;
    let mut features = Features::new();
    for _ in 0..bytes.varint("number of tagged fields")? {
        let tag = bytes.varint("tag")?;
        let len = bytes.len("length of a tagged field")?;
        let at = bytes.at;
        let field = bytes.take("tagged field", len)?;
        if tag == FINALIZED_FEATURES {
            features = finalized(&mut Bytes { all: answer.get(..at + field.len()).unwrap_or(answer), at })?;
        }
    }
    Ok(features)
}

fn finalized(bytes: &mut Bytes<'_>) -> Result<Features, Malformed> {
    let mut features = Features::new();
    for _ in 0..bytes.count("number of finalized features")? {
        let name = bytes.name()?;
        let level = bytes.i16("highest level")?;
        bytes.i16("lowest level")?;
        bytes.skip_tags()?;
        features.insert(name, level);
    }
    Ok(features)
}

/// What is left of an answer.
struct Bytes<'a> {
    all: &'a [u8],
    at: usize,
}

impl<'a> Bytes<'a> {
    fn take(&mut self, what: &'static str, len: usize) -> Result<&'a [u8], Malformed> {
        let taken = self.at.checked_add(len).and_then(|end| self.all.get(self.at..end));
        let taken = taken.ok_or(Malformed::Short { what, at: self.at, len: self.all.len() })?;
        self.at += len;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self, what: &'static str) -> Result<[u8; N], Malformed> {
        let at = self.at;
        let taken = self.take(what, N)?;
        taken.try_into().map_err(|_| Malformed::Short { what, at, len: self.all.len() })
    }

    fn i16(&mut self, what: &'static str) -> Result<i16, Malformed> {
        Ok(i16::from_be_bytes(self.array(what)?))
    }

    fn i32(&mut self, what: &'static str) -> Result<i32, Malformed> {
        Ok(i32::from_be_bytes(self.array(what)?))
    }

    /// Seven bits a byte, the lowest first; at most five bytes.
    fn varint(&mut self, what: &'static str) -> Result<u64, Malformed> {
        let mut value = 0;
        for shift in [0, 7, 14, 21, 28] {
            let [byte] = self.array(what)?;
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(Malformed::Number { what, found: value, at: self.at })
    }

    fn len(&mut self, what: &'static str) -> Result<usize, Malformed> {
        let found = self.varint(what)?;
        usize::try_from(found).map_err(|_| Malformed::Number { what, found, at: self.at })
    }

    /// Compact lengths stand one higher; zero means none.
    fn count(&mut self, what: &'static str) -> Result<usize, Malformed> {
        Ok(self.len(what)?.saturating_sub(1))
    }

    fn name(&mut self) -> Result<String, Malformed> {
        let len = self.count("length of a name")?;
        let name = self.take("name", len)?;
        std::str::from_utf8(name).map(str::to_owned).map_err(|_| Malformed::Name { at: self.at })
    }

    fn skip_tags(&mut self) -> Result<(), Malformed> {
        for _ in 0..self.varint("number of tags")? {
            self.varint("tag")?;
            let len = self.len("length of a tag")?;
            self.take("tag", len)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An answer with two APIs, supported features (tag 0), the epoch (1), finalized features (2) and an unknown tag (9).
    fn answer() -> Vec<u8> {
        let mut bytes = vec![0, 0, 0, 7, 0, 0];
        bytes.extend([3, /* Produce */ 0, 0, 0, 3, 0, 12, 0, /* with a tag */ 0, 18, 0, 0, 0, 4, 1, 5, 2, 0xaa, 0xbb]);
        bytes.extend([0, 0, 0, 0]);
        bytes.push(4);
        let supported = [&[2, 14][..], b"kraft.version", &[0, 0, 0, 1, 0]].concat();
        bytes.extend([0, supported.len() as u8]);
        bytes.extend(supported);
        bytes.extend([1, 8, 0, 0, 0, 0, 0, 0, 0, 42]);
        let finalized =
            [&[3, 20][..], b"transaction.version", &[0, 2, 0, 1, 0, 17], b"metadata.version", &[0, 29, 0, 7, 1, 3, 1, 0xcc]].concat();
        bytes.extend([2, finalized.len() as u8]);
        bytes.extend(finalized);
        bytes.extend([9, 2, 1, 2]);
        bytes
    }

    #[test]
    fn the_request_is_that_of_the_protocol_guide() {
        let expected = [&[0, 0, 0, 39, 0, 18, 0, 3, 0, 0, 0, 7, 0, 10][..], b"nephoscope", &[0, 11], b"nephoscope", &[6], b"0.1.0", &[0]];
        assert_eq!(request(7, "0.1.0"), expected.concat());
    }

    #[test]
    fn finalized_features_are_found_among_the_other_fields() {
        let features = parse(&answer(), 7).expect("is well formed");
        assert_eq!(features, Features::from([("metadata.version".into(), 29), ("transaction.version".into(), 2)]));
    }

    #[test]
    fn an_old_cluster_has_none() {
        assert_eq!(parse(&[0, 0, 0, 7, 0, 0, 1, 0, 0, 0, 0, 0], 7), Ok(Features::new()));
    }

    #[test]
    fn an_answer_that_ends_anywhere_is_refused() {
        let whole = answer();
        for len in 0..whole.len() {
            assert!(parse(&whole[..len], 7).is_err(), "the first {len} bytes");
        }
    }

    #[test]
    fn a_field_may_not_read_beyond_its_own_length() {
        let mut bytes = vec![0, 0, 0, 7, 0, 0, 1, 0, 0, 0, 0, 1, 2, 3];
        bytes.extend([2, 20, b't']);
        bytes.extend(b"ransaction.version\0\x02\0\x01\0");
        assert_eq!(parse(&bytes, 7), Err(Malformed::Short { what: "name", at: 16, len: 17 }));
    }

    #[test]
    fn what_the_broker_refuses_is_named() {
        assert_eq!(parse(&[0, 0, 0, 7, 0, 35, 0, 0], 7), Err(Malformed::Refused(35)));
        assert!(Malformed::Refused(35).to_string().contains("unsupported version"));
        assert!(matches!(parse(&answer(), 8), Err(Malformed::Number { what: "correlation id", found: 7, .. })));
    }

    proptest::proptest! {
        #[test]
        fn no_bytes_make_it_panic(mut tail in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..200)) {
            tail.splice(0..0, [0, 0, 0, 7, 0, 0]);
            let _ = parse(&tail, 7);
        }
    }
}

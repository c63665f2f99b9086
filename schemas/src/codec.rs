//! Avro single-object encoding (Avro specification 1.12, "Single object encoding"): `C3 01`, the little-endian
//! CRC-64-AVRO of the schema's Parsing Canonical Form, the body. A value so encoded names its own schema.
//!
//! Encoding and decoding go straight between Rust types and bytes, never through a dynamic value (ten times slower).

use std::sync::atomic::{AtomicU64, Ordering};

use apache_avro::{AvroSchema, GenericSingleObjectReader, Schema, SpecificSingleObjectWriter, headers::HeaderBuilder, rabin::Rabin};
use serde::{Serialize, de::DeserializeOwned};

/// First two bytes of every single-object encoded value.
pub const MAGIC: [u8; 2] = [0xC3, 0x01];
/// Magic and fingerprint.
pub const HEADER_BYTES: usize = 10;
/// The largest body that a reader accepts.
pub const BODY_BYTES_MAX: usize = 1 << 20;

/// Values that took the decoder of an older version.
static SLOW_DECODES: AtomicU64 = AtomicU64::new(0);

/// How many values this process decoded that were written in an older version than the newest: each is read as what it was and
/// then turned into today's type. Many of them tell that a writer has not been upgraded.
pub fn slow_decodes() -> u64 {
    SLOW_DECODES.load(Ordering::Relaxed)
}

/// Why a value could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum CodecError {
    /// It does not begin as a single-object encoded value does.
    #[error("expected Avro single-object encoding (c3 01 …), found {found}")]
    NotSingleObject {
        /// The first bytes in hex, or what they look like.
        found: String,
    },
    /// The schema is none that this program knows: the writer is newer.
    #[error("schema fingerprint {fingerprint:016x} is not a known version of {subject}; upgrade readers before writers")]
    UnknownSchema {
        /// The subject that the reader expected.
        subject: &'static str,
        /// CRC-64-AVRO of the unknown schema.
        fingerprint: u64,
    },
    /// The body is not what the schema says.
    #[error("body of {subject} is damaged: {detail}")]
    Damaged {
        /// The subject that the reader expected.
        subject: &'static str,
        /// What was expected, what came, where.
        detail: String,
    },
    /// The value does not fit the schema or the limits.
    #[error("{subject} cannot be encoded: {detail}")]
    Unencodable {
        /// The subject that the writer tried to write.
        subject: &'static str,
        /// What was expected and what came.
        detail: String,
    },
}

/// A record type with a place in the schema folder, `avsc/<subject>/v<N>.avsc`.
pub trait Subject: AvroSchema + Serialize + DeserializeOwned + 'static {
    /// The topic without its version, e.g. `logs.raw`.
    const SUBJECT: &'static str;

    /// The parsed schemas of all versions, and the codec.
    fn schemas() -> &'static Schemas<Self>;

    /// Appends the single-object encoding of this value to `into`. On error `into` is as it was.
    ///
    /// # Errors
    /// [`CodecError::Unencodable`] if the value does not fit its schema.
    fn encode(&self, into: &mut Vec<u8>) -> Result<(), CodecError> {
        Self::schemas().encode(self, into)
    }

    /// The single-object encoding of this value.
    ///
    /// # Errors
    /// As [`Subject::encode`].
    fn to_bytes(&self) -> Result<Vec<u8>, CodecError> {
        let mut bytes = Vec::with_capacity(256);
        self.encode(&mut bytes)?;
        Ok(bytes)
    }

    /// Reads a value of any known version.
    ///
    /// # Errors
    /// Whatever is wrong with the bytes; never a panic.
    fn from_bytes(bytes: &[u8]) -> Result<Self, CodecError> {
        Self::schemas().decode(bytes)
    }
}

/// A decoder of the bodies of one version, ending in the present type.
type Decode<T> = Box<dyn Fn(&mut &[u8]) -> Result<T, apache_avro::Error> + Send + Sync>;

/// Codec of one subject: the writer of its newest version, a reader for each version.
pub struct Schemas<T: Subject> {
    writer: SpecificSingleObjectWriter<T>,
    readers: Vec<(u64, Decode<T>)>,
    /// The newest version under the name that apache-avro 0.22 gives it. It is not the standard's where a field has a logical
    /// type (see [`fingerprint`]), but what our first builds wrote is still in stores.
    alias: u64,
}

/// `C3 01` and a fingerprint.
struct Header(u64);

impl HeaderBuilder for Header {
    fn build_header(&self) -> Vec<u8> {
        [MAGIC.as_slice(), &self.0.to_le_bytes()].concat()
    }
}

impl<T: Subject> Schemas<T> {
    /// For a subject whose versions can all be read as `T` itself.
    ///
    /// # Errors
    /// If the newest schema does not parse.
    pub fn of_current() -> Result<Self, apache_avro::Error> {
        apache_avro::util::max_allocation_bytes(BODY_BYTES_MAX);
        let schema = T::get_schema();
        let (fingerprint, alias) = (fingerprint(&schema), rabin(&schema));
        let reader = GenericSingleObjectReader::builder().schema(schema).header(Vec::new()).build()?;
        let decode: Decode<T> = Box::new(move |body| reader.read_deser(body));
        let writer = SpecificSingleObjectWriter::new_with_header_builder(&Header(fingerprint))?;
        Ok(Self { writer, readers: vec![(fingerprint, decode)], alias })
    }

    fn encode(&self, value: &T, into: &mut Vec<u8>) -> Result<(), CodecError> {
        let start = into.len();
        let problem = match self.writer.write_ref(value, into) {
            Ok(_) if into.len() - start <= HEADER_BYTES + BODY_BYTES_MAX => return Ok(()),
            Ok(_) => format!("{} bytes, at most {BODY_BYTES_MAX} are allowed", into.len() - start),
            Err(error) => error.to_string(),
        };
        into.truncate(start);
        Err(CodecError::Unencodable { subject: T::SUBJECT, detail: problem })
    }

    fn decode(&self, bytes: &[u8]) -> Result<T, CodecError> {
        let fingerprint = read_header(bytes)?;
        let named = if fingerprint == self.alias { self.fingerprint() } else { fingerprint };
        let Some((version, (_, decode))) = self.readers.iter().enumerate().find(|(_, (known, _))| *known == named) else {
            return Err(CodecError::UnknownSchema { subject: T::SUBJECT, fingerprint });
        };
        if version + 1 < self.readers.len() {
            SLOW_DECODES.fetch_add(1, Ordering::Relaxed);
        }
        let damaged = |detail: String| CodecError::Damaged { subject: T::SUBJECT, detail };
        if bytes.len() > HEADER_BYTES + BODY_BYTES_MAX {
            return Err(damaged(format!("{} bytes, at most {BODY_BYTES_MAX} are allowed", bytes.len())));
        }
        let mut rest = bytes.get(HEADER_BYTES..).unwrap_or_default();
        let value = decode(&mut rest).map_err(|error| damaged(error.to_string()))?;
        if rest.is_empty() { Ok(value) } else { Err(damaged(format!("{} bytes follow its end", rest.len()))) }
    }

    /// The newest version's fingerprint.
    pub fn fingerprint(&self) -> u64 {
        self.readers.last().map_or(0, |(fingerprint, _)| *fingerprint)
    }

    /// Whether a value with this fingerprint is of the newest version.
    pub fn is_newest(&self, fingerprint: u64) -> bool {
        fingerprint == self.fingerprint() || fingerprint == self.alias
    }
}

/// CRC-64-AVRO of the Parsing Canonical Form, as a number whose little-endian bytes stand in the header.
///
/// apache-avro 0.22 leaves a primitive type with a logical type as an object, `{"type":"long"}`, where the form's rule PRIMITIVES
/// wants its name alone; other people's readers would not know the fingerprint.
pub fn fingerprint(schema: &Schema) -> u64 {
    let mut form = schema.canonical_form();
    for primitive in ["null", "boolean", "int", "long", "float", "double", "bytes", "string"] {
        form = form.replace(&format!("{{\"type\":\"{primitive}\"}}"), &format!("\"{primitive}\""));
    }
    Schema::parse_str(&form).map_or_else(|_| rabin(schema), |standard| rabin(&standard))
}

/// CRC-64-AVRO of what apache-avro takes for the Parsing Canonical Form.
fn rabin(schema: &Schema) -> u64 {
    let digest = schema.fingerprint::<Rabin>();
    digest.bytes.iter().rev().fold(0, |value, byte| value << 8 | u64::from(*byte))
}

/// Checks the magic and returns the schema's fingerprint.
///
/// # Errors
/// [`CodecError::NotSingleObject`], which says so where a value looks Confluent-framed.
pub fn read_header(bytes: &[u8]) -> Result<u64, CodecError> {
    match bytes {
        [0xC3, 0x01, a, b, c, d, e, f, g, h, ..] => Ok(u64::from_le_bytes([*a, *b, *c, *d, *e, *f, *g, *h])),
        [0x00, ..] => {
            Err(CodecError::NotSingleObject { found: "00 …: Confluent's schema-registry framing, which is not supported".into() })
        }
        _ => {
            let shown: Vec<String> = bytes.iter().take(4).map(|byte| format!("{byte:02x}")).collect();
            let found = if bytes.is_empty() { "nothing".into() } else { format!("{} … ({} bytes)", shown.join(" "), bytes.len()) };
            Err(CodecError::NotSingleObject { found })
        }
    }
}

/// Gives a record type its schema and codec.
macro_rules! subject {
    ($type:ty, $subject:literal, [$($version:expr),+]) => {
        impl ::apache_avro::AvroSchema for $type {
            fn get_schema() -> ::apache_avro::Schema {
                let versions: &[&str] = &[$($version),+];
                ::apache_avro::Schema::parse_str(versions[versions.len() - 1]).expect("a committed schema parses; held by a test")
            }
        }
        impl Subject for $type {
            const SUBJECT: &'static str = $subject;
            fn schemas() -> &'static Schemas<Self> {
                static SCHEMAS: std::sync::LazyLock<Schemas<$type>> =
                    std::sync::LazyLock::new(|| Schemas::of_current().expect("a committed schema parses; held by a test"));
                &SCHEMAS
            }
        }
    };
}
pub(crate) use subject;

#[cfg(test)]
mod tests {
    use super::*;

    fn vector(schema: &str, expected: u64, header: &str) {
        let schema = Schema::parse_str(schema).expect("parses");
        assert_eq!(fingerprint(&schema), expected);
        let mut bytes = MAGIC.to_vec();
        bytes.extend(expected.to_le_bytes());
        let hex: String = bytes.iter().map(|b| format!("{b:02x}")).collect();
        assert_eq!(hex, header);
    }

    #[test]
    fn fingerprints_are_those_of_the_specification() {
        vector(r#""int""#, 0x7275_d51a_3f39_5c8f, "c3018f5c393f1ad57572");
        vector(r#""null""#, 0x63dd_24e7_cc25_8f8a, "c3018a8f25cce724dd63");
        vector(
            r#"{"name":"nephoscope.Probe","type":"record","fields":[{"name":"host","type":"string"},{"name":"n","type":"long"}]}"#,
            0xe03f_95e5_6acc_0c21,
            "c301210ccc6ae5953fe0",
        );
    }

    /// From fastavro 1.13.1, `fingerprint(to_parsing_canonical_form(schema), "CRC-64-AVRO")`, whose bytes are little-endian.
    #[test]
    fn a_logical_type_does_not_show_in_the_fingerprint() {
        assert_eq!(crate::LogRecord::schemas().fingerprint().to_le_bytes(), 0x16b9_4bae_2943_52ce_u64.to_be_bytes());
        vector(r#"{"type":"long","logicalType":"timestamp-micros"}"#, 0xd054_e144_93f4_1db7, "c301b71df49344e154d0");
    }

    #[test]
    fn what_the_first_builds_wrote_is_read() {
        let record = crate::LogRecord { host: "h".into(), ..Default::default() };
        let mut bytes = record.to_bytes().expect("fits");
        let first = rabin(&crate::LogRecord::get_schema());
        assert_ne!(first, crate::LogRecord::schemas().fingerprint());
        bytes[2..HEADER_BYTES].copy_from_slice(&first.to_le_bytes());
        assert_eq!(crate::LogRecord::from_bytes(&bytes).expect("is known"), record);
        assert_eq!(crate::LogRecordView::from_bytes(&bytes).expect("is known").host, "h");
    }

    #[test]
    fn only_values_of_an_older_version_count_as_slow() {
        let (older, newer) = (0x01d, crate::TemplateRecord::schemas().fingerprint());
        let reader = |fingerprint| {
            let schema = crate::TemplateRecord::get_schema();
            let reader = GenericSingleObjectReader::builder().schema(schema).header(Vec::new()).build().expect("parses");
            let decode: Decode<crate::TemplateRecord> = Box::new(move |body| reader.read_deser(body));
            (fingerprint, decode)
        };
        let writer = SpecificSingleObjectWriter::new().expect("parses");
        let schemas = Schemas::<crate::TemplateRecord> { writer, readers: vec![reader(older), reader(newer)], alias: newer };
        let record = crate::TemplateRecord { count: 3, ..Default::default() };
        let mut bytes = record.to_bytes().expect("fits");
        let before = slow_decodes();
        assert_eq!(schemas.decode(&bytes).expect("is today's"), record);
        assert_eq!(slow_decodes(), before);
        bytes[2..HEADER_BYTES].copy_from_slice(&older.to_le_bytes());
        assert_eq!(schemas.decode(&bytes).expect("is known"), record);
        assert_eq!(slow_decodes(), before + 1);
    }

    #[test]
    fn a_foreign_framing_is_named() {
        let error = read_header(&[0, 0, 0, 0, 7, 1, 2, 3, 4, 5, 6]).expect_err("is not ours");
        assert!(error.to_string().contains("Confluent"), "{error}");
        assert!(read_header(b"").expect_err("empty").to_string().contains("nothing"));
    }
}

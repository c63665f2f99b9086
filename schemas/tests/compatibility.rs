//! The rules under which a schema may change, held over every pair of versions; and that Rust's types are the schemas.

use std::{collections::BTreeMap, fmt, fs, path::PathBuf};

use apache_avro::{
    AvroSchema, Schema,
    schema::RecordSchema,
    schema_compatibility::{Compatibility, SchemaCompatibility},
};
use schemas::{Heartbeat, LogRecord, LogSource, Parameter, ParsedLog, Subject, TemplateChange, TemplateRecord, Verdict};
use serde::{Deserialize, Serialize, de};
use sha2::{Digest, Sha256};

fn avsc() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("avsc")
}

/// All published files: subject → version → text.
fn published() -> BTreeMap<String, BTreeMap<u32, String>> {
    let mut subjects: BTreeMap<String, BTreeMap<u32, String>> = BTreeMap::new();
    for folder in fs::read_dir(avsc()).expect("schemas").map(|entry| entry.expect("an entry").path()).filter(|path| path.is_dir()) {
        let subject = folder.file_name().expect("a name").to_string_lossy().into_owned();
        for file in fs::read_dir(&folder).expect("versions").map(|entry| entry.expect("an entry").path()) {
            let name = file.file_name().expect("a name").to_string_lossy().into_owned();
            let version = name.strip_prefix('v').and_then(|name| name.strip_suffix(".avsc")).and_then(|version| version.parse().ok());
            let version = version.unwrap_or_else(|| panic!("{}: expected v<N>.avsc", file.display()));
            subjects.entry(subject.clone()).or_default().insert(version, fs::read_to_string(&file).expect("text"));
        }
    }
    subjects
}

fn parse(text: &str) -> Schema {
    Schema::parse_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

/// Whether data of `writer` can all be read as `reader`.
fn is_readable(writer: &str, reader: &str) -> bool {
    matches!(SchemaCompatibility::can_read(&parse(writer), &parse(reader)), Ok(Compatibility::Full))
}

#[test]
fn published_files_are_frozen() {
    let lock = fs::read_to_string(avsc().join("LOCK")).expect("avsc/LOCK");
    let mut locked: Vec<&str> = lock.lines().collect();
    locked.sort_unstable_by_key(|line| line.split("  ").last());
    let files = published().into_iter().flat_map(|(subject, versions)| {
        let line = move |(version, text): (u32, String)| {
            let hash: String = Sha256::digest(text).iter().map(|byte| format!("{byte:02x}")).collect();
            format!("{hash}  {subject}/v{version}.avsc")
        };
        versions.into_iter().map(line)
    });
    let files: Vec<String> = files.collect();
    assert_eq!(locked, files, "a published schema never changes: add v<N+1>.avsc and its line (sha256sum */v*.avsc in avsc/)");
}

#[test]
fn every_version_is_readable_by_every_later_one() {
    let mut pairs = 0;
    for (subject, versions) in published() {
        assert!(versions.keys().copied().eq(1..=versions.len() as u32), "{subject}: versions count from 1 without gaps");
        for (writer, older) in &versions {
            for (reader, newer) in versions.range(writer..) {
                assert!(is_readable(older, newer), "{subject}: v{reader} cannot read v{writer}; a breaking change is a new topic");
                pairs += 1;
            }
        }
    }
    assert!(pairs >= 3);
}

#[test]
fn the_check_tells_a_compatible_change_from_a_breaking_one() {
    let record = |fields: &str| format!(r#"{{"type": "record", "name": "R", "namespace": "nephoscope", "fields": [{fields}]}}"#);
    let (a, b) = (r#"{"name": "a", "type": "int"}"#, r#"{"name": "b", "type": "string", "default": ""}"#);
    let v1 = record(a);
    assert!(is_readable(&v1, &record(&format!("{a}, {b}"))), "a field with a default may be added");
    assert!(!is_readable(&v1, &record(&format!(r#"{a}, {{"name": "b", "type": "string"}}"#))), "one without may not");
    assert!(!is_readable(&v1, &record(r#"{"name": "a", "type": "string"}"#)), "a type may not change");
    let symbols = |symbols: &str, default: &str| {
        record(&format!(r#"{{"name": "e", "type": {{"type": "enum", "name": "E", "symbols": [{symbols}]{default}}}}}"#))
    };
    assert!(!is_readable(&symbols(r#""A", "B""#, ""), &symbols(r#""A""#, "")), "a symbol without a default may not go");
}

#[test]
fn schemas_keep_the_rules_of_the_house() {
    for (subject, versions) in published() {
        for (version, text) in versions {
            let json: serde_json::Value = serde_json::from_str(&text).expect("JSON");
            assert_eq!(json["namespace"], "nephoscope", "{subject}/v{version}");
            check_types(&format!("{subject}/v{version}"), &json);
        }
    }
}

/// Fields are snake_case, enumerations have a default symbol, what may be null is null by default.
fn check_types(place: &str, schema: &serde_json::Value) {
    if !schema.is_object() {
        return; // a name, or no such part
    }
    let place = schema["name"].as_str().map_or(place.to_string(), |name| format!("{place}.{name}"));
    if schema["type"] == "enum" {
        assert_eq!(schema["default"], schema["symbols"][0], "{place}: the first symbol is the default");
    }
    for field in schema["fields"].as_array().into_iter().flatten() {
        let name = field["name"].as_str().expect("a name");
        assert!(name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_'), "{place}: {name}");
        if let Some(branches) = field["type"].as_array() {
            assert_eq!((branches.len(), &branches[0]), (2, &"null".into()), "{place}: {name}");
            assert!(field.get("default").is_some_and(serde_json::Value::is_null), "{place}: {name} is null by default");
            branches.iter().for_each(|branch| check_types(&place, branch));
        }
        check_types(&place, &field["type"]);
    }
    for inner in ["items", "values"] {
        check_types(&place, &schema[inner]);
    }
}

/// The keys of a JSON object in the order in which they stand there.
struct Keys(Vec<String>);

impl<'de> Deserialize<'de> for Keys {
    fn deserialize<D: de::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct InOrder;
        impl<'de> de::Visitor<'de> for InOrder {
            type Value = Keys;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: de::MapAccess<'de>>(self, mut map: A) -> Result<Keys, A::Error> {
                let mut keys = Vec::new();
                while let Some((key, de::IgnoredAny)) = map.next_entry()? {
                    keys.push(key);
                }
                Ok(Keys(keys))
            }
        }
        deserializer.deserialize_map(InOrder)
    }
}

fn fields_of_type<T: Serialize + Default>() -> Vec<String> {
    let json = serde_json::to_string(&T::default()).expect("JSON");
    serde_json::from_str::<Keys>(&json).expect("an object").0
}

/// The record of this name within a schema.
fn find<'a>(schema: &'a Schema, name: &str) -> Option<&'a RecordSchema> {
    match schema {
        Schema::Record(record) if record.name.name() == name => Some(record),
        Schema::Record(record) => record.fields.iter().find_map(|field| find(&field.schema, name)),
        Schema::Union(union) => union.variants().iter().find_map(|branch| find(branch, name)),
        Schema::Array(array) => find(&array.items, name),
        Schema::Map(map) => find(&map.types, name),
        _ => None,
    }
}

fn same_fields<T: Serialize + Default>(schema: &Schema, name: &str) {
    let record = find(schema, name).unwrap_or_else(|| panic!("no record {name}"));
    let fields: Vec<String> = record.fields.iter().map(|field| field.name.clone()).collect();
    assert_eq!(fields, fields_of_type::<T>(), "{name}: the type has the fields of the schema, in its order");
}

#[test]
fn types_have_the_fields_of_their_schemas_in_order() {
    let (raw, parsed, template) = (LogRecord::get_schema(), ParsedLog::get_schema(), TemplateRecord::get_schema());
    same_fields::<LogRecord>(&raw, "LogRecord");
    same_fields::<LogSource>(&raw, "LogSource");
    same_fields::<ParsedLog>(&parsed, "ParsedLog");
    same_fields::<TemplateChange>(&parsed, "TemplateChange");
    same_fields::<Parameter>(&parsed, "Parameter");
    same_fields::<TemplateRecord>(&template, "TemplateRecord");
    same_fields::<TemplateChange>(&template, "TemplateChange");
    same_fields::<Heartbeat>(&Heartbeat::get_schema(), "Heartbeat");
    same_fields::<Verdict>(&Verdict::get_schema(), "Verdict");
}

#[test]
fn types_write_the_newest_version() {
    let newest = |subject: &str| published().get(subject).and_then(|versions| versions.values().last().cloned()).expect("a version");
    let fingerprint = |subject: &str| schemas::codec::fingerprint(&parse(&newest(subject)));
    assert_eq!(LogRecord::schemas().fingerprint(), fingerprint(LogRecord::SUBJECT));
    assert_eq!(ParsedLog::schemas().fingerprint(), fingerprint(ParsedLog::SUBJECT));
    assert_eq!(TemplateRecord::schemas().fingerprint(), fingerprint(TemplateRecord::SUBJECT));
    assert_eq!(Heartbeat::schemas().fingerprint(), fingerprint(Heartbeat::SUBJECT));
    assert_eq!(Verdict::schemas().fingerprint(), fingerprint(Verdict::SUBJECT));
    assert_eq!(published().len(), 5, "every subject is held here");
}

//! What a person publishes from the command line: records on a topic, through the API, each call once.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use schemas::Subject;
use serde::Serialize;
use serde_json::{Value, json};
use stream_runtime::secret::random_hex;

use crate::origin::Origin;

/// Bytes of the random part of a source's name. A source of its own for each call, so that none is taken for a repeat.
const SOURCE_BYTES: usize = 8;
/// Records of one request: far below what the API takes, in number and in bytes.
const RECORDS_MAX: usize = 500;

/// Records on their way to a topic.
pub struct Publication {
    topic: &'static str,
    records: Vec<Value>,
}

impl Publication {
    /// Nothing yet.
    pub fn to(topic: &'static str) -> Self {
        Self { topic, records: Vec::new() }
    }

    /// Adds a JSON record.
    pub fn json(mut self, key: &str, value: &impl Serialize) -> Self {
        let header = json!({"name": "content-type", "value": "application/json"});
        self.records.push(json!({"key": key, "value": value, "headers": [header]}));
        self
    }

    /// Adds an Avro record.
    ///
    /// # Errors
    /// If the value does not fit its schema.
    pub fn avro(mut self, key: &str, value: &impl Subject) -> anyhow::Result<Self> {
        self.records.push(json!({"key": key, "valueBase64": STANDARD.encode(value.to_bytes()?)}));
        Ok(self)
    }

    /// Adds a tombstone: what stood under this key is taken back.
    pub fn tombstone(mut self, key: &str) -> Self {
        self.records.push(json!({"key": key}));
        self
    }

    /// Publishes all of it; `what` needs a running instance, and the error says so.
    ///
    /// # Errors
    /// If no instance runs, or it refuses.
    pub fn send(self, origin: &Origin, what: &str) -> anyhow::Result<()> {
        let client = origin.instance(what)?;
        let (path, source) = (format!("/api/topics/{}/records", self.topic), random_hex(SOURCE_BYTES)?);
        for (sequence, records) in (1u64..).zip(self.records.chunks(RECORDS_MAX)) {
            let body = json!({"source": format!("person-{source}"), "sequence": sequence, "records": records});
            let _: Value = client.post(&path, &body)?;
        }
        Ok(())
    }
}

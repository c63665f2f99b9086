//! Names of the attributes of our spans. The conventions for messaging are still "Development", so every name that may change
//! stands in this file. <https://opentelemetry.io/docs/specs/semconv/messaging/messaging-spans/>

use opentelemetry::KeyValue;

use crate::telemetry::Stage;

/// What a message is an alert about; ours.
const FINGERPRINT: &str = "nephoscope.alert.fingerprint";

/// Name of the span of an operation.
pub(super) fn name(operation: &str, destination: &str) -> String {
    format!("{operation} {destination}")
}

/// Of a batch that was processed. The partition is told if all records came from one.
pub(super) fn process(stage: &Stage, topic: &str, partition: Option<String>, records: u32) -> Vec<KeyValue> {
    let mut attributes = operation(stage, "process", topic);
    attributes.push(KeyValue::new("messaging.consumer.group.name", stage.group.clone()));
    attributes.push(KeyValue::new("messaging.batch.message_count", i64::from(records)));
    attributes.extend(partition.map(|partition| KeyValue::new("messaging.destination.partition.id", partition)));
    attributes
}

/// Of an alert that was sent.
pub(super) fn send(stage: &Stage, topic: &str, id: String, fingerprint: String) -> Vec<KeyValue> {
    let mut attributes = operation(stage, "send", topic);
    attributes.push(KeyValue::new("messaging.message.id", id));
    attributes.push(KeyValue::new(FINGERPRINT, fingerprint));
    attributes
}

/// Why an operation failed.
pub(super) fn error(why: &'static str) -> KeyValue {
    KeyValue::new("error.type", why)
}

/// Names this program in the resource of its spans.
pub(super) fn version() -> KeyValue {
    KeyValue::new("service.version", crate::worker::VERSION)
}

fn operation(stage: &Stage, operation: &'static str, topic: &str) -> Vec<KeyValue> {
    vec![
        KeyValue::new("messaging.system", stage.system),
        KeyValue::new("messaging.operation.name", operation),
        KeyValue::new("messaging.operation.type", operation),
        KeyValue::new("messaging.destination.name", topic.to_string()),
    ]
}

//! The AsyncAPI 3.0 document of all topics, with the Kafka bindings 0.5.0, out of the table of topics and the published
//! schemas. <https://www.asyncapi.com/docs/reference/specification/v3.0.0>

use schemas::{
    Alert, Heartbeat, Incident, LogRecord, ParsedLog, Subject, TemplateRecord, Verdict,
    cloudevents::{self, HEADERS, TRACE_HEADERS},
    topics::{self, Cleanup, DLQ_SUFFIX, Layout, TOPICS, Topic},
};

use crate::yaml::{Node, map};

/// Of the bindings, not of Kafka.
const BINDING: &str = "0.5.0";
/// Replicas where nothing else is configured and there are as many brokers.
const REPLICAS: i64 = 3;
/// Kafka's word for no limit.
const UNLIMITED: i64 = -1;
const AVRO: &str = "application/vnd.apache.avro;version=1.9.0";
const JSON_SCHEMA: &str = "application/schema+json;version=draft-07";
const DEAD_LETTER: &str = "DeadLetter";

const ABOUT: &str = "What Nephoscope writes to its topics and reads from them; subscribe with any client. Data topics carry Avro in \
single-object encoding (c3 01, the little-endian CRC-64-AVRO fingerprint of the schema, the body), so no registry is needed. Alert topics carry \
one JSON object per record with CloudEvents 1.0 headers in binary mode. Everything is written in transactions: read with \
isolation.level=read_committed. State logs and cursors (nephoscope.*) are internal and not described here.";

/// What stands on a topic.
struct Message {
    name: &'static str,
    title: &'static str,
    content_type: &'static str,
    schema_format: &'static str,
    /// The published schema, relative to the document.
    schema: String,
    /// The headers of CloudEvents that a record has whose texts are the given one; none on data topics.
    headers: Option<fn(&str) -> Written>,
}

/// Headers as they are written.
type Written = Vec<(&'static str, String)>;

fn message(topic: &str) -> Option<Message> {
    let avro = |name, title, subject: &str| Message {
        name,
        title,
        content_type: "application/avro",
        schema_format: AVRO,
        schema: format!("avsc/{subject}/v1.avsc"),
        headers: None,
    };
    let json = |name, title, subject: &str, headers: Option<fn(&str) -> Written>| Message {
        name,
        title,
        content_type: "application/json",
        schema_format: JSON_SCHEMA,
        schema: format!("json/{subject}/v1.schema.json"),
        headers,
    };
    Some(match topic {
        topics::LOGS_RAW => avro("LogRecord", "A log line as it was received", LogRecord::SUBJECT),
        topics::LOGS_PARSED => avro("ParsedLog", "A log line as template and parameters", ParsedLog::SUBJECT),
        topics::LOGS_TEMPLATES => avro("TemplateRecord", "The last word on a template", TemplateRecord::SUBJECT),

        topics::HOST_HEARTBEATS => avro("Heartbeat", "Who is heard to be alive", Heartbeat::SUBJECT),
        topics::LOGS_VERDICTS => avro("Verdict", "A word on a template: faulty or normal", Verdict::SUBJECT),
        topics::FEEDBACK => json("Feedback", "A correction by a person", "feedback", None),
        topics::ALERTS => json("Alert", "One word about one trouble", "alerts", Some(alert_headers)),
        topics::INCIDENTS => json("Incident", "All that is known about one story", "incidents", Some(incident_headers)),
        topics::CONTROL_SILENCES => json("Silence", "What people are not to be told for a while", "control.silences", None),
        _ => return None,
    })
}

/// Headers of an alert, all of whose texts are `text`.
fn alert_headers(text: &str) -> Written {
    cloudevents::alert_headers(&Alert { id: text.into(), fingerprint: text.into(), source: vec![text.into()], ..Alert::default() })
}

/// Headers of an incident, all of whose texts are `text`; only one part writes incidents.
fn incident_headers(text: &str) -> Written {
    cloudevents::incident_headers(&Incident { id: text.into(), ..Incident::default() }, text, "incident")
}

/// A part of ours, as the table of topics calls it, and the program that it is in.
struct Program {
    part: &'static str,
    binary: &'static str,
    /// Whether it rejects records to the dead letters of what it reads.
    rejects: bool,
    /// Whether it has a consumer group for each destination.
    delivers: bool,
}

const PROGRAMS: &[Program] = &[
    Program { part: "syslog", binary: "nephoscope-syslog", rejects: false, delivers: false },
    Program { part: "heartbeat", binary: "nephoscope-heartbeat", rejects: false, delivers: false },
    Program { part: "drain", binary: "nephoscope-drain", rejects: true, delivers: false },
    Program { part: "incident", binary: "nephoscope-incident", rejects: true, delivers: false },
    Program { part: "matrix-profile", binary: "nephoscope-matrix-profile", rejects: true, delivers: false },
    Program { part: "notifier", binary: "nephoscope-notifier", rejects: true, delivers: true },
    Program { part: "console", binary: "nephoscope", rejects: false, delivers: false },
    Program { part: "runtime", binary: "every program", rejects: false, delivers: false },
];

/// Writers and readers that are no part of ours.
const OTHERS: &str = "anyone";

/// A topic or part that the generator does not know, to be added above.
#[derive(Debug, thiserror::Error)]
#[error("{kind} {name:?} stands in the table of topics, but asyncapi.rs does not know it")]
pub struct Unknown {
    kind: &'static str,
    name: String,
}

/// The document.
///
/// # Errors
/// [`Unknown`].
pub fn document() -> Result<String, Unknown> {
    let (mut channels, mut operations, mut messages) = (Vec::new(), Vec::new(), Vec::new());
    for topic in TOPICS {
        let message = message(topic.name).ok_or_else(|| Unknown { kind: "topic", name: topic.name.into() })?;
        channels.push((id(topic.name), channel(topic.name, topic.about.into(), message.name, topic.class.layout())));
        let about = format!("dead letters of {}", topic.name);
        channels.push((id(&dead_letters(topic)), channel(&dead_letters(topic), about, DEAD_LETTER, topic.dead_letters())));
        operations.extend(operations_of(topic, message.name)?);
        messages.push((message.name.to_string(), described(topic, &message)));
    }
    messages.push((DEAD_LETTER.into(), dead_letter()));
    let document = map! {
        "asyncapi" => "3.0.0",
        "info" => map! {
            "title" => "Nephoscope",
            "version" => env!("CARGO_PKG_VERSION"),
            "description" => ABOUT,
            "license" => map! { "name" => "Apache-2.0", "url" => "https://www.apache.org/licenses/LICENSE-2.0" },
        },
        "defaultContentType" => "application/avro",
        "servers" => map! {
            "local" => map! {
                "host" => "127.0.0.1:9092",
                "protocol" => "kafka",
                "description" => "The broker of make kafka and docker compose; a topic prefix, if one is configured, stands before every address",
            },
        },
        "channels" => Node::Map(channels),
        "operations" => Node::Map(operations),
        "components" => map! { "messages" => Node::Map(messages) },
    };
    Ok(document.document(&["Generated from the table of topics: cargo run -p nephoscope-schemas -- generate"]))
}

fn dead_letters(topic: &Topic) -> String {
    format!("{}{DLQ_SUFFIX}", topic.name)
}

/// A name as a key of the document.
fn id(name: &str) -> String {
    name.replace('.', "-")
}

fn reference(path: &str) -> Node {
    map! { "$ref" => format!("#/{path}") }
}

fn channel(address: &str, about: String, message: &str, layout: Layout) -> Node {
    let configuration = match layout.cleanup {
        Cleanup::Delete => vec![
            ("cleanup.policy".into(), Node::List(vec!["delete".into()])),
            ("retention.ms".into(), layout.retention_ms_kafka.into()),
            ("retention.bytes".into(), layout.retention_bytes_kafka.map_or(UNLIMITED, |bytes| bytes.cast_signed()).into()),
        ],
        Cleanup::Compact => vec![
            ("cleanup.policy".into(), Node::List(vec!["compact".into()])),
            ("delete.retention.ms".into(), layout.retention_ms_kafka.into()),
        ],
    };
    map! {
        "address" => address,
        "description" => about,
        "messages" => map! { message => reference(&format!("components/messages/{message}")) },
        "bindings" => map! {
            "kafka" => map! {
                "topic" => address,
                "partitions" => i64::from(layout.partitions_kafka),
                "replicas" => REPLICAS,
                "topicConfiguration" => Node::Map(configuration),
                "bindingVersion" => BINDING,
            },
        },
    }
}

/// Who sends to a topic and receives from it, and the same for its dead letters.
fn operations_of(topic: &Topic, message: &str) -> Result<Vec<(String, Node)>, Unknown> {
    let mut operations = Vec::new();
    for part in topic.written_by.iter().filter(|part| **part != OTHERS) {
        operations.push(operation("send", program(part)?, topic.name, message));
    }
    for part in topic.read_by.iter().filter(|part| **part != OTHERS) {
        let program = program(part)?;
        operations.push(operation("receive", program, topic.name, message));
        if program.rejects {
            operations.push(operation("send", program, &dead_letters(topic), DEAD_LETTER));
        }
    }
    operations.push(operation("receive", program("console")?, &dead_letters(topic), DEAD_LETTER));
    Ok(operations)
}

fn program(part: &str) -> Result<&'static Program, Unknown> {
    PROGRAMS.iter().find(|program| program.part == part).ok_or_else(|| Unknown { kind: "part", name: part.into() })
}

fn operation(action: &str, program: &Program, address: &str, message: &str) -> (String, Node) {
    let (channel, binary) = (id(address), program.binary);
    let mut operation = vec![
        ("action".to_string(), Node::from(action)),
        ("channel".to_string(), reference(&format!("channels/{channel}"))),
        ("summary".to_string(), format!("{binary} {action}s {address}").into()),
        ("messages".to_string(), Node::List(vec![reference(&format!("channels/{channel}/messages/{message}"))])),
    ];
    if action == "receive" && program.rejects {
        let group = match program.delivers {
            true => map! { "type" => "string", "pattern" => format!("^nephoscope\\.{}\\.[a-z0-9_-]+$", program.part) },
            false => map! { "type" => "string", "const" => format!("nephoscope.{}", program.part) },
        };
        operation.push(("bindings".into(), map! { "kafka" => map! { "groupId" => group, "bindingVersion" => BINDING } }));
    }
    (format!("{}-{action}s-{channel}", program.part), Node::Map(operation))
}

fn described(topic: &Topic, message: &Message) -> Node {
    let mut node = vec![
        ("name".to_string(), Node::from(message.name)),
        ("title".to_string(), message.title.into()),
        ("contentType".to_string(), message.content_type.into()),
    ];
    if let Some(headers) = message.headers {
        node.push(("headers".into(), cloudevents_headers(headers)));
    }
    node.push(("payload".into(), map! { "schemaFormat" => message.schema_format, "schema" => map! { "$ref" => message.schema.clone() } }));
    node.push(("bindings".into(), key(topic.key)));
    Node::Map(node)
}

fn key(about: &str) -> Node {
    map! { "kafka" => map! { "key" => map! { "type" => "string", "description" => about }, "bindingVersion" => BINDING } }
}

/// The headers of an event: those of CloudEvents, and W3C trace context where spans are exported.
fn cloudevents_headers(written: fn(&str) -> Written) -> Node {
    let always_the_same = |name: &str| {
        let [one, other] = ["0", "1"].map(|text| written(text).into_iter().find(|(found, _)| *found == name).map(|(_, value)| value));
        one.filter(|one| name != "ce_time" && other.as_ref() == Some(one))
    };
    let property = |(name, about): &(&str, &str)| {
        let mut schema = vec![("type".to_string(), Node::from("string")), ("description".to_string(), (*about).into())];
        schema.extend(always_the_same(name).map(|value| ("const".to_string(), value.into())));
        ((*name).to_string(), Node::Map(schema))
    };
    map! {
        "type" => "object",
        "required" => HEADERS.iter().map(|(name, _)| Node::from(*name)).collect::<Node>(),
        "properties" => HEADERS.iter().chain(TRACE_HEADERS).map(property).collect::<Node>(),
    }
}

fn dead_letter() -> Node {
    let property = |(name, about): &(&str, &str)| ((*name).to_string(), map! { "type" => "string", "description" => *about });
    let headers = topics::DEAD_LETTER_HEADERS;
    map! {
        "name" => DEAD_LETTER,
        "title" => "A record that was rejected",
        "description" => "Key and value are the bytes of the record that died; its own headers follow with the prefix orig., order and duplicates kept",
        "contentType" => "application/octet-stream",
        "headers" => map! {
            "type" => "object",
            "required" => headers.iter().map(|(name, _)| Node::from(*name)).collect::<Node>(),
            "properties" => headers.iter().map(property).collect::<Node>(),
        },
        "payload" => map! { "description" => "The value of the record that died, byte for byte" },
        "bindings" => key("the key of the record that died, byte for byte"),
    }
}

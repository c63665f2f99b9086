//! Other people's clients read our topics, and we read what they write.
//!
//! Everything runs on one real broker and on the stored examples of every subject, which the schemas crate holds to be what
//! its types say. Each topic begins with an aborted transaction that no client may see.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::LazyLock;
use std::time::Duration;

use kafka_tests::{Cluster, ClusterError, Plan, Topics};
use rdkafka::ClientConfig;
use rdkafka::message::{Header, Message, OwnedHeaders};
use rdkafka::producer::{BaseRecord, DefaultProducerContext, Producer, ThreadedProducer};
use schemas::{Alert, LogRecord, ParsedLog, Subject, cloudevents};
use serde_json::Value;

const PATIENCE: Duration = Duration::from_secs(10);

/// A broker, or None and the reason told where there cannot be one.
fn broker() -> Option<Cluster> {
    match Cluster::start(&Plan::default()) {
        Ok(cluster) => Some(cluster),
        Err(ClusterError::Absent(why)) => {
            println!("SKIPPED: {why}");
            None
        }
        Err(error) => panic!("{error}"),
    }
}

fn repository() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."))
}

/// Python with the clients of `requirements.txt`, made once for all tests of this process, which run at the same time.
fn python() -> Option<&'static Path> {
    static PYTHON: LazyLock<Option<PathBuf>> = LazyLock::new(make_python);
    PYTHON.as_deref()
}

/// None and the reason told where it cannot be made.
fn make_python() -> Option<PathBuf> {
    let requirements = Path::new(env!("CARGO_MANIFEST_DIR")).join("clients/requirements.txt");
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| repository().join("target"), PathBuf::from);
    let dir = target.join("kafka/python");
    let (python, stamp) = (dir.join("bin/python"), dir.join("requirements.txt"));
    let wanted = fs::read(&requirements).expect("requirements.txt");
    if fs::read(&stamp).is_ok_and(|made_of| made_of == wanted) {
        return Some(python);
    }
    let said = |command: &mut Command| match command.output() {
        Ok(output) if output.status.success() => Ok(()),
        Ok(output) => Err(String::from_utf8_lossy(&output.stderr).lines().last().unwrap_or("no word").to_owned()),
        Err(error) => Err(error.to_string()),
    };
    let made = said(Command::new("python3").args(["-m", "venv", "--clear"]).arg(&dir))
        .and_then(|()| said(Command::new(&python).args(["-m", "pip", "install", "-q", "-r"]).arg(&requirements)));
    match made {
        Ok(()) => {
            fs::write(&stamp, wanted).expect("the stamp can be written");
            Some(python)
        }
        Err(why) => {
            println!("SKIPPED: no Python clients: {why}");
            None
        }
    }
}

/// What a command of `clients.py` printed, one value a line.
fn ask(python: &Path, arguments: &[&str]) -> Vec<Value> {
    let output = Command::new(python)
        .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("clients/clients.py"))
        .args(arguments)
        .output()
        .expect("python runs");
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    lines(&output.stdout)
}

fn lines(printed: &[u8]) -> Vec<Value> {
    let printed = std::str::from_utf8(printed).expect("UTF-8");
    printed.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{line}: {error}"))).collect()
}

fn examples(subject: &str) -> Vec<Value> {
    let folder = repository().join("schemas/examples").join(subject).join("v1");
    let mut files: Vec<PathBuf> = fs::read_dir(folder).expect("examples").map(|file| file.expect("a file").path()).collect();
    files.sort();
    files.iter().map(|file| serde_json::from_slice(&fs::read(file).expect("can be read")).expect("JSON")).collect()
}

struct ToWrite {
    key: String,
    headers: Vec<(&'static str, String)>,
    value: Vec<u8>,
}

/// Writes the records in one transaction, after one that is aborted.
fn write(bootstrap: &str, topic: &str, records: &[ToWrite]) {
    let producer: ThreadedProducer<DefaultProducerContext> = ClientConfig::new()
        .set("bootstrap.servers", bootstrap)
        .set("transactional.id", format!("clients.{topic}"))
        .create()
        .expect("a producer");
    producer.init_transactions(PATIENCE).expect("transactions");
    producer.begin_transaction().expect("begins");
    producer.send(BaseRecord::<str, [u8]>::to(topic).key("aborted").payload(b"aborted")).map_err(|(error, _)| error).expect("is sent");
    producer.flush(PATIENCE).expect("is stored");
    producer.abort_transaction(PATIENCE).expect("is aborted");
    producer.begin_transaction().expect("begins");
    for record in records {
        let headers = record
            .headers
            .iter()
            .fold(OwnedHeaders::new(), |headers, (key, value)| headers.insert(Header { key, value: Some(value.as_bytes()) }));
        let record = BaseRecord::to(topic).key(&record.key).payload(&record.value).headers(headers);
        producer.send(record).map_err(|(error, _)| error).expect("is sent");
    }
    producer.commit_transaction(PATIENCE).expect("is committed");
}

/// The example alerts as records, and as every reader should see them.
fn alerts() -> (Vec<ToWrite>, Vec<Value>) {
    let alerts: Vec<Alert> = examples("alerts").into_iter().map(|value| serde_json::from_value(value).expect("an alert")).collect();
    let records = alerts.iter().map(|alert| ToWrite {
        key: alert.fingerprint.clone(),
        headers: cloudevents::alert_headers(alert),
        value: serde_json::to_vec(alert).expect("JSON"),
    });
    let seen = alerts
        .iter()
        .map(|alert| serde_json::json!({ "key": alert.fingerprint, "headers": cloudevents::alert_headers(alert), "value": alert }));
    (records.collect(), seen.collect())
}

#[test]
fn alerts_are_read_by_kcat_confluent_aiokafka_and_cloudevents() {
    let Some(broker) = broker() else { return };
    let bootstrap = broker.bootstrap();
    let (records, expected) = alerts();
    Topics::on(bootstrap).create("alerts.v1", 1, 1).expect("the topic");
    write(bootstrap, "alerts.v1", &records);

    match Command::new("kcat").args(["-b", bootstrap, "-C", "-t", "alerts.v1", "-e", "-q", "-J"]).output() {
        Ok(output) => assert_eq!(lines(&output.stdout).iter().map(from_kcat).collect::<Vec<_>>(), expected, "kcat"),
        Err(error) => println!("SKIPPED: kcat: {error}"),
    }

    let Some(python) = python() else { return };
    assert_eq!(ask(python, &["confluent", bootstrap, "alerts.v1"]), expected, "confluent-kafka");
    assert_eq!(ask(python, &["aiokafka", bootstrap, "alerts.v1"]), expected, "aiokafka");

    let events = ask(python, &["cloudevents", bootstrap, "alerts.v1"]);
    assert_eq!(events.len(), expected.len(), "cloudevents");
    for (event, expected) in events.iter().zip(&expected) {
        let alert = &expected["value"];
        assert_eq!(event["data"], *alert);
        assert_eq!(event["id"], alert["id"]);
        assert_eq!(event["subject"], alert["fingerprint"]);
        assert_eq!(event["specversion"], "1.0");
        assert_eq!(event["type"], "nephoscope.alert.v1");
        assert_eq!(event["dataschema"], "urn:nephoscope:alert:v1");
        assert_eq!(event["datacontenttype"], "application/json");
        assert_eq!(event["source"], format!("/nephoscope/{}", alert["source"][0].as_str().unwrap_or_default()));
        assert_eq!(event["time"].as_str().map(|time| time.replace("+00:00", "Z")).as_deref(), alert["lastReceived"].as_str());
    }
}

/// A line of `kcat -J` (headers as one flat list, the value as a string) in the shape of `clients.py`.
fn from_kcat(line: &Value) -> Value {
    let headers: Vec<&[Value]> = line["headers"].as_array().map_or(vec![], |flat| flat.chunks(2).collect());
    let value: Value = serde_json::from_str(line["payload"].as_str().unwrap_or_default()).expect("JSON in the value");
    serde_json::json!({ "key": line["key"], "headers": headers, "value": value })
}

/// fastavro decodes each example of `T`, finds our header and our bytes when it encodes it again, and what it writes is read
/// here as the same record with another host.
fn fastavro_reads_and_writes<T: Subject + PartialEq + std::fmt::Debug>(host: fn(&T) -> String, with_host: fn(T, String) -> T) {
    let (Some(broker), Some(python)) = (broker(), python()) else { return };
    let bootstrap = broker.bootstrap();
    let topics = Topics::on(bootstrap);
    let (topic, echo) = (format!("{}.v1", T::SUBJECT), format!("{}.echo", T::SUBJECT));
    topics.create(&topic, 3, 1).expect("the topic");
    topics.create(&echo, 3, 1).expect("the topic");

    let records: Vec<T> = examples(T::SUBJECT).into_iter().map(|value| serde_json::from_value(value).expect("a record")).collect();
    let keyed: BTreeMap<String, &T> = records.iter().enumerate().map(|(number, record)| (format!("{number}"), record)).collect();
    let to_write: Vec<ToWrite> =
        keyed.iter().map(|(key, record)| ToWrite { key: key.clone(), headers: vec![], value: record.to_bytes().expect("bytes") }).collect();
    write(bootstrap, &topic, &to_write);

    let schema = repository().join("schemas/avsc").join(T::SUBJECT).join("v1.avsc");
    let said = ask(python, &["fastavro", bootstrap, &topic, &schema.display().to_string(), &echo]);
    assert_eq!(said.len(), records.len());
    for said in &said {
        let record = keyed[said["key"].as_str().expect("a key")];
        assert_eq!(said["host"], host(record), "{said}");
        assert_eq!((&said["header_is_ours"], &said["rest"]), (&true.into(), &0.into()), "{said}");
        assert_eq!(said["same_bytes"], true, "{said}");
    }

    let mut seen = BTreeSet::new();
    topics
        .read(&echo, |message| {
            let key = String::from_utf8_lossy(message.key().expect("a key")).into_owned();
            let record = T::from_bytes(message.payload().expect("a value")).unwrap_or_else(|error| panic!("{key}: {error}"));
            assert_eq!(with_host(record, host(keyed[&key])), *keyed[&key], "{key}");
            seen.insert(key);
        })
        .expect("the echo");
    assert_eq!(seen.len(), records.len());
}

#[test]
fn fastavro_reads_and_writes_raw_lines() {
    fastavro_reads_and_writes::<LogRecord>(|record| record.host.clone(), |record, host| LogRecord { host, ..record });
}

#[test]
fn fastavro_reads_and_writes_parsed_lines() {
    fastavro_reads_and_writes::<ParsedLog>(|record| record.host.clone(), |record, host| ParsedLog { host, ..record });
}

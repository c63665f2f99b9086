//! TLS and SASL/SCRAM by pass-through, against a listener that demands both.

use std::{
    collections::BTreeMap,
    path::Path,
    process::Command,
    time::{Duration, Instant},
};

use kafka_tests::{Plan, Secure};
use stream_core::{NextOffset, TopicPartition};
use stream_runtime::{
    bus::{BatchLimits, Bus, BusError, WorkerSpec},
    config::Backend,
    gathered::{Gathered, PartitionEvent},
    inspect::{Inspect, ReadLimits},
    kafka::{
        KafkaBus, KafkaSettings,
        probe::{self, Verdict},
    },
    layout::{self, LayoutSettings},
    publish::PublishBatch,
};

use super::{cluster, settings};

const USER: (&str, &str) = ("collector", "a-secret-of-its-own");
/// A wrong password must be said in this time, not waited on for ever.
const SAID: Duration = Duration::from_secs(10);
const PATIENCE: Duration = Duration::from_secs(60);

/// The properties that are right.
fn right(secure: &Secure) -> BTreeMap<&'static str, String> {
    BTreeMap::from([
        ("bootstrap.servers", secure.bootstrap.clone()),
        ("security.protocol", "SASL_SSL".into()),
        ("ssl.ca.location", secure.ca.display().to_string()),
        ("sasl.mechanism", secure.mechanism.clone()),
        ("sasl.username", USER.0.into()),
        ("sasl.password", USER.1.into()),
    ])
}

fn kafka(properties: &BTreeMap<&'static str, String>) -> KafkaSettings {
    KafkaSettings::of(properties.iter().map(|(name, value)| (*name, value.as_str())))
}

#[test]
fn a_listener_that_demands_tls_and_scram_serves_whoever_has_the_password_and_tells_the_others_why_not() {
    let plan = Plan { secure: Some(vec![(USER.0.into(), USER.1.into())]), ..Plan::default() };
    let Some(cluster) = cluster(&plan) else { return };
    let secure = cluster.secure().expect("the plan asked for it");
    everything_works_with_the_right_credentials(secure);
    a_wrong_credential_is_named(secure);
}

fn everything_works_with_the_right_credentials(secure: &Secure) {
    let data_dir = tempfile::tempdir().expect("a directory");
    let kafka = kafka(&right(secure));
    let bus = KafkaBus::open(settings(&data_dir), kafka.clone()).expect("opens");
    bus.ensure_topics(&layout::specs(Backend::Kafka, &LayoutSettings::default())).expect("makes them");

    let mut publisher = bus.publisher("test").expect("a publisher");
    let mut batch = PublishBatch::default();
    batch.push(&"logs.raw.v1".into(), Some(b"vm-7"), Some(b"hello"), Default::default()).expect("fits");
    publisher.publish(&batch, b"position").expect("is published");

    let at = TopicPartition::new(&"logs.raw.v1".into(), stream_core::partition_of_key(Some(b"vm-7"), 6));
    let mut seen = Gathered::default();
    let limits = ReadLimits { records_max: 10, bytes_max: 1 << 20, wait: Duration::from_secs(5) };
    bus.read(&at, NextOffset(0), &limits, &mut seen).expect("can be read");
    assert_eq!(seen.records().map(|(_, record)| record.value.map(<[u8]>::to_vec)).collect::<Vec<_>>(), [Some(b"hello".to_vec())]);

    let spec = WorkerSpec { processor: "test".into(), inputs: vec!["logs.raw.v1".into()], broadcasts: vec![] };
    let mut session = bus.open(&spec).expect("a session");
    let limits =
        BatchLimits { records_max: 100, bytes_max: 1 << 20, batch_time_max: Duration::from_millis(100), quiet: Duration::from_millis(50) };
    let begun = Instant::now();
    let mut assigned = 0;
    while assigned < 6 {
        assert!(begun.elapsed() < PATIENCE, "{assigned} of 6 partitions were assigned");
        let mut gathered = Gathered::default();
        session.gather(&limits, &mut gathered).expect("is a member");
        assigned += gathered.events.iter().filter(|event| matches!(event, PartitionEvent::Assigned(_))).count();
    }
    session.close();

    let report = probe::run(&settings(&data_dir), &kafka, &LayoutSettings::default());
    assert!(report.verdict() <= Verdict::Ok, "{report:#?}");
    let protocol = report.checks.iter().find(|check| check.step == "5 protocol").expect("is told");
    assert_eq!(protocol.verdict, Verdict::Note, "only a plaintext listener can be asked");
}

fn a_wrong_credential_is_named(secure: &Secure) {
    let data_dir = tempfile::tempdir().expect("a directory");
    let other_ca = data_dir.path().join("other.pem");
    make_authority(&other_ca);
    type Case<'a> = (&'a str, &'a [(&'static str, &'a str)], &'a [&'a str]);
    let cases: [Case<'_>; 6] = [
        ("wrong password", &[("sasl.password", "guessed")], &["invalid credentials", "sasl.password"]),
        ("unknown user", &[("sasl.username", "nobody")], &["invalid credentials", "sasl.username"]),
        ("no TLS", &[("security.protocol", "PLAINTEXT")], &["security.protocol"]),
        ("no TLS, but SASL", &[("security.protocol", "SASL_PLAINTEXT")], &["security.protocol"]),
        ("another authority", &[("ssl.ca.location", other_ca.to_str().expect("UTF-8"))], &["certificate", "ssl.ca.location"]),
        ("another mechanism", &[("sasl.mechanism", "PLAIN")], &["PLAIN", "sasl.mechanism", "SCRAM-SHA-512"]),
    ];
    for (name, wrong, said) in cases {
        let mut properties = right(secure);
        properties.extend(wrong.iter().map(|(name, value)| (*name, (*value).to_owned())));
        let bus = KafkaBus::open(settings(&data_dir), kafka(&properties)).expect("opens");
        let begun = Instant::now();
        let error = bus.topics().expect_err(name);
        assert!(begun.elapsed() < SAID, "{name}: {:?}", begun.elapsed());
        assert!(matches!(error, BusError::Lost(_)), "{name}: an operator may mend it while we try again");
        let text = error.to_string();
        println!("{name}: {text}");
        for word in said {
            assert!(text.contains(word), "{name}: {word:?} is not in {text}");
        }
        assert!(!text.contains("guessed") && !text.contains(USER.1), "{name}: a secret in {text}");
    }
}

/// A certificate of somebody whom the broker's is not signed by.
fn make_authority(path: &Path) {
    let key = path.with_extension("key");
    let made = Command::new("openssl")
        .args(["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", "-subj", "/CN=somebody else", "-keyout"])
        .arg(&key)
        .arg("-out")
        .arg(path)
        .output()
        .expect("openssl made the broker's certificate too");
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
}

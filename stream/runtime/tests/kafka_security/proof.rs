//! The proof of a cluster, on brokers that keep their promises and on brokers that do not.

use std::time::{Duration, Instant};

use kafka_tests::{Cluster, Plan};
use rdkafka::mocking::MockCluster;
use stream_runtime::{
    kafka::{
        KafkaBus, KafkaSettings,
        probe::{self, Check, Report, Verdict},
    },
    layout::LayoutSettings,
};

use super::{cluster, settings};

/// The promise of `doctor kafka`, whatever the cluster does.
const HALF_A_MINUTE: Duration = Duration::from_secs(30);

fn examine(bootstrap: &str) -> Report {
    let data_dir = tempfile::tempdir().expect("a directory");
    let begun = Instant::now();
    let report = probe::run(&settings(&data_dir), &KafkaSettings::of([("bootstrap.servers", bootstrap)]), &LayoutSettings::default());
    assert!(begun.elapsed() < HALF_A_MINUTE, "{:?}: {report:#?}", begun.elapsed());
    report
}

fn step<'a>(report: &'a Report, name: &str) -> &'a Check {
    report.checks.iter().find(|check| check.step == name).unwrap_or_else(|| panic!("no step {name} in {report:#?}"))
}

const PROOF: [&str; 5] = ["1 abort", "2 commit", "3 isolation", "4 fencing", "5 protocol"];

#[test]
fn a_good_broker_passes_and_each_thing_that_is_broken_on_it_is_named() {
    let Some(cluster) = cluster(&Plan::default()) else { return };
    for round in ["the topic of the proof is made", "it is there"] {
        let report = examine(cluster.bootstrap());
        assert!(report.verdict() <= Verdict::Ok, "{round}: {report:#?}");
        for name in PROOF {
            assert_eq!(step(&report, name).verdict, Verdict::Ok, "{round}: {report:#?}");
        }
        assert_eq!(step(&report, "clock").verdict, Verdict::Ok, "{round}: {report:#?}");
        assert_eq!(step(&report, "rights of drain").verdict, Verdict::Ok, "{round}: {report:#?}");
    }
    topics_that_differ_are_named(&cluster);
    brokers_that_do_not_verify_transactions_are_warned_of(&cluster);
    a_log_of_transactions_that_cannot_be_written_fails_the_proof(&cluster);
}

fn topics_that_differ_are_named(cluster: &Cluster) {
    let data_dir = tempfile::tempdir().expect("a directory");
    let bus = KafkaBus::open(settings(&data_dir), KafkaSettings::of([("bootstrap.servers", cluster.bootstrap())])).expect("opens");
    bus.ensure_installation(&LayoutSettings::default()).expect("makes them");
    assert_eq!(step(&examine(cluster.bootstrap()), "topics").verdict, Verdict::Ok);
    let alter = |topic: &str, property: &str| {
        let arguments = ["--alter", "--entity-type", "topics", "--entity-name", topic, "--add-config", property];
        cluster.tool("kafka.admin.ConfigCommand", &arguments).expect("alters");
    };
    alter("logs.raw.v1", "message.timestamp.type=CreateTime");
    alter("logs.parsed.v1", "retention.ms=1000");
    let report = examine(cluster.bootstrap());
    let topics: Vec<_> =
        report.checks.iter().filter(|check| check.step == "topics").map(|check| (check.verdict, check.found.as_str())).collect();
    assert_eq!(topics.len(), 2, "{topics:?}");
    assert!(
        topics.contains(&(Verdict::Fail, "topic logs.raw.v1: message.timestamp.type is \"CreateTime\", expected LogAppendTime")),
        "{topics:?}"
    );
    assert!(topics.contains(&(Verdict::Warn, "topic logs.parsed.v1: retention.ms is \"1000\", expected 21600000")), "{topics:?}");
}

fn brokers_that_do_not_verify_transactions_are_warned_of(cluster: &Cluster) {
    cluster.tool("FeatureCommand", &["downgrade", "--feature", "transaction.version=1"]).expect("is an older protocol");
    let report = examine(cluster.bootstrap());
    let protocol = step(&report, "5 protocol");
    assert_eq!((protocol.verdict, protocol.found.as_str()), (Verdict::Warn, "transaction.version is 1"));
    assert!(protocol.advice.as_ref().is_some_and(|advice| advice.contains("KIP-890")) && protocol.broker.is_some(), "{protocol:#?}");
}

/// A stand-in for a log of transactions without enough replicas: nothing fits into it.
fn a_log_of_transactions_that_cannot_be_written_fails_the_proof(cluster: &Cluster) {
    let arguments = ["--alter", "--entity-type", "topics", "--entity-name", "__transaction_state", "--add-config", "max.message.bytes=1"];
    cluster.tool("kafka.admin.ConfigCommand", &arguments).expect("alters");
    let report = examine(cluster.bootstrap());
    let first = step(&report, "1 abort");
    assert_eq!(report.verdict(), Verdict::Fail);
    assert_eq!(first.verdict, Verdict::Fail, "{report:#?}");
    assert!(first.expected.is_some() && first.broker.is_some() && !first.found.is_empty(), "{first:#?}");
    assert!(first.advice.as_ref().is_some_and(|advice| advice.contains("__transaction_state")), "{first:#?}");
    assert!(!report.checks.iter().any(|check| check.step == "2 commit"), "nothing is claimed after a step that failed: {report:#?}");
}

/// librdkafka's own mock of a cluster takes part in transactions, and shows what was aborted to everybody.
#[test]
fn a_broker_that_shows_aborted_records_is_caught() {
    let mock = MockCluster::new(1).expect("a mock");
    mock.create_topic("nephoscope.probe", 1, 1).expect("a topic");
    let report = examine(&mock.bootstrap_servers());
    let isolation = step(&report, "3 isolation");
    assert_eq!((report.verdict(), isolation.verdict), (Verdict::Fail, Verdict::Fail), "{report:#?}");
    assert!(isolation.found.starts_with("r1"), "{isolation:#?}");
    assert!(isolation.expected.as_ref().is_some_and(|expected| expected.starts_with("r2")), "{isolation:#?}");
    assert_eq!(isolation.broker.as_deref(), Some(mock.bootstrap_servers().as_str()));
}

#[test]
fn nobody_at_the_address_is_said_at_once() {
    // The port of a listener that is gone again.
    let port = std::net::TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a free port").port();
    let begun = Instant::now();
    let report = examine(&format!("127.0.0.1:{port}"));
    assert!(begun.elapsed() < Duration::from_secs(15), "{:?}", begun.elapsed());
    let [connection] = report.checks.as_slice() else { panic!("{report:#?}") };
    assert_eq!((connection.verdict, connection.step.as_str()), (Verdict::Fail, "connection"));
    assert!(connection.found.contains("Connection refused") && connection.found.contains("is the broker up"), "{connection:#?}");
}

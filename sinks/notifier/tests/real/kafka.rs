//! Two notifiers on a real Kafka: the one that tells is killed, the other goes on, and nothing is lost.

use std::path::Path;

use kafka_tests::{Cluster, ClusterError, Launch, Plan};
use schemas::{Alert, Severity};
use stream_runtime::{
    bus::Bus,
    config::BusSettings,
    engine::Engine,
    kafka::{KafkaBus, KafkaSettings},
};

use super::{
    alert, batch, ended,
    recorder::{Recorder, Request},
    until,
};

const ROUNDS: usize = 3;
const ALERTS: usize = 10;

fn launch(name: &str, folder: &Path, config: &Path) -> Launch {
    Launch {
        name: name.into(),
        program: env!("CARGO_BIN_EXE_nephoscope-notifier").into(),
        arguments: Vec::new(),
        config: config.into(),
        data_dir: folder.join(name),
        environment: vec![("NEPHOSCOPE_BUS__INSTANCE".into(), name.into())],
        log: folder.join(format!("{name}.out")),
    }
}

/// Every alert of a round that the webhook was told of as begun and as ended.
fn told(requests: &[Request], alerts: &[Alert]) -> usize {
    let words: Vec<_> = requests.iter().flat_map(|request| request.body["alerts"].as_array().into_iter().flatten()).collect();
    let has = |alert: &Alert, status: &str| {
        words.iter().any(|word| word["fingerprint"] == alert.fingerprint.as_str() && word["status"] == status)
    };
    alerts.iter().filter(|alert| has(alert, "firing") && has(alert, "resolved")).count()
}

#[test]
fn a_replica_that_dies_is_replaced_and_nothing_is_lost() {
    let cluster = match Cluster::start(&Plan::default()) {
        Ok(cluster) => cluster,
        Err(ClusterError::Absent(why)) => return println!("SKIPPED: {why}"),
        Err(error) => panic!("{error}"),
    };
    let folder = tempfile::tempdir().expect("a folder");
    let recorder = Recorder::willing();
    let settings = BusSettings { data_dir: folder.path().join("source"), ..BusSettings::default() };
    let bus = KafkaBus::open(settings, KafkaSettings::of([("bootstrap.servers", cluster.bootstrap())])).expect("opens");
    until("the topics are made", || Engine::ensure_topics(&bus).ok());
    let config = folder.path().join("n.toml");
    let text = format!(
        "[listen]\nadmin = \"127.0.0.1:0\"\n[bus]\nbackend = \"kafka\"\n[kafka]\n\"bootstrap.servers\" = \"{}\"\n[notifier.webhook.hook]\nurl = \"{}\"\n\
         [[notifier.routes]]\nto = [\"hook\"]\ntell = \"alerts\"\ngroup_wait_ms = 0\ngroup_interval_ms = 0\n",
        cluster.bootstrap(),
        recorder.url("/")
    );
    std::fs::write(&config, text).expect("writes");
    let launches = ["one", "two"].map(|name| launch(name, folder.path(), &config));
    let mut replicas: Vec<_> = launches.iter().map(|launch| (launch, launch.start().expect("starts"))).collect();
    let mut publisher = bus.publisher("source").expect("a publisher");
    let mut all = Vec::new();
    for round in 0..ROUNDS {
        let alerts: Vec<_> =
            (0..ALERTS).map(|n| alert("Stall", &[("host", "h"), ("device", &format!("{round}-{n}"))], Severity::Warning)).collect();
        until("they are on the topic", || publisher.publish(&batch(&alerts), b"").ok());
        // Dropped is `kill -9`; the one that is left has to notice and to take over.
        let fallen = (round > 0).then(|| replicas.remove(0).0);
        let ends: Vec<_> = alerts.iter().map(ended).collect();
        until("their ends are on the topic", || publisher.publish(&batch(&ends), b"").ok());
        all.extend(alerts);
        until("all are told", || (told(&recorder.requests(), &all) == all.len()).then_some(()));
        replicas.extend(fallen.map(|launch| (launch, launch.start().expect("starts"))));
    }
    for (_, replica) in replicas {
        assert!(replica.leave().expect("leaves").success());
    }
}

//! A collector that starts while no broker answers hears its senders all the same.
#![allow(clippy::disallowed_methods, reason = "a test of real processes, in real time")]

use std::os::unix::net::UnixDatagram;

use kafka_tests::{Cluster, ClusterError, Launch, Plan, Topics, binaries, until};
use rdkafka::message::Message;
use schemas::{LogRecord, Subject, topics};
use stream_runtime::time::wall_clock;

const COLLECTOR: &str = "nephoscope-syslog";

#[test]
fn what_is_said_before_the_brokers_are_there_is_not_lost() {
    let Some(binaries) = binaries(&[COLLECTOR]) else { return };
    let cluster = match Cluster::start(&Plan::default()) {
        Ok(cluster) => cluster,
        Err(ClusterError::Absent(why)) => return println!("SKIPPED: {why}"),
        Err(error) => panic!("{error}"),
    };
    let directory = tempfile::tempdir().expect("a directory");
    let dir = directory.path();
    let file = dir.join("read-again.log");
    std::fs::write(&file, format!("{} host-0 app: of a file\n", wall_clock())).expect("writes");
    let config = format!(
        "[listen]\nadmin = \"127.0.0.1:0\"\n[bus]\nbackend = \"kafka\"\n[kafka]\n\"bootstrap.servers\" = \"{}\"\n[syslog]\nsources = \
         \"listed\"\nudp = []\ntcp = []\nfiles = [{file:?}]\n",
        cluster.bootstrap()
    );
    std::fs::write(dir.join("nephoscope.toml"), config).expect("writes");
    let launch = Launch {
        name: COLLECTOR.into(),
        program: binaries.join(COLLECTOR),
        arguments: Vec::new(),
        config: dir.join("nephoscope.toml"),
        data_dir: dir.join("data"),
        environment: Vec::new(),
        log: dir.join("log"),
    };

    cluster.kill(1).expect("dies");
    let mut collector = launch.start().expect("starts");
    let socket = UnixDatagram::unbound().expect("a socket");
    until("the collector listens", || socket.connect(launch.data_dir.join("syslog.sock")).ok());
    let said: Vec<String> = (0..100).map(|n| format!("said before anybody was there, {n}")).collect();
    for text in &said {
        socket.send(format!("<13>1 {} host-0 app - - - {text}", wall_clock()).as_bytes()).expect("sends");
    }
    assert_eq!(collector.ended(), None, "{}", launch.last_words());
    cluster.restart(1).expect("starts");

    let topics = Topics::on(cluster.bootstrap());
    let arrived = until("all that was said, and the file", || {
        let mut arrived = Vec::new();
        let read = topics.read(topics::LOGS_RAW, |record| {
            let record = LogRecord::from_bytes(record.payload().unwrap_or_default()).expect("a log record");
            arrived.push(record.message().to_owned());
        });
        read.ok().filter(|()| arrived.len() > said.len()).map(|()| arrived)
    });
    let (of_file, mut of_socket): (Vec<_>, Vec<_>) = arrived.into_iter().partition(|message| message == "of a file");
    of_socket.sort_by_key(|message| said.iter().position(|text| text == message));
    assert_eq!((of_file.len(), of_socket), (1, said));
    assert!(collector.leave().expect("leaves").success());
}

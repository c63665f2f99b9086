//! The real pipeline on a real broker: `nephoscope up` and a second drain beside it, a line sent to a real socket, its alert read
//! by a client that knows nothing of ours, every metric there; and a broker that hangs does not hold up a stop.
#![allow(clippy::disallowed_methods, reason = "a test of real processes, in real time")]

use std::{
    io::{Read, Write},
    net::TcpStream,
    os::unix::net::UnixDatagram,
    path::Path,
    process::Command,
    time::Duration,
};

use kafka_tests::{Cluster, ClusterError, Launch, Plan, Topics, binaries, until};
use rdkafka::message::{Headers, Message};
use rustix::process::Signal;
use schemas::{Alert, Severity, topics};
use serde_json::Value;
use stream_runtime::{
    metrics::{Part, audit},
    time::wall_clock,
};

/// A process gives up a stop after 15 s; what manages it kills after 20.
const STOP_MAX: Duration = Duration::from_secs(20);

/// The page of metrics of a process whose run file this is.
fn metrics(run_file: &Path) -> Option<String> {
    let run: Value = serde_json::from_slice(&std::fs::read(run_file).ok()?).ok()?;
    let address = run["address"].as_str()?;
    let mut stream = TcpStream::connect(address).ok()?;
    write!(stream, "GET /metrics HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n").ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    answer.split_once("\r\n\r\n").map(|(_, body)| body.to_owned())
}

/// The alerts on the topic, each with its CloudEvents type.
fn alerts(topics: &Topics) -> Vec<(Alert, String)> {
    let mut alerts = Vec::new();
    let read = topics.read(topics::ALERTS, |record| {
        let alert: Alert = serde_json::from_slice(record.payload().unwrap_or_default()).expect("an alert");
        assert_eq!(record.key(), Some(alert.fingerprint.as_bytes()));
        let headers = record.headers().expect("headers");
        let kind = headers.iter().find(|header| header.key == "ce_type").and_then(|header| header.value).expect("a type");
        alerts.push((alert, String::from_utf8_lossy(kind).into_owned()));
    });
    read.expect("the alerts can be read");
    alerts
}

#[test]
fn a_line_becomes_an_alert_for_anybody_and_a_hanging_broker_holds_up_no_stop() {
    let Some(binaries) = binaries(&["nephoscope", "nephoscope-drain"]) else { return };
    let cluster = match Cluster::start(&Plan::default()) {
        Ok(cluster) => cluster,
        Err(ClusterError::Absent(why)) => return println!("SKIPPED: {why}"),
        Err(error) => panic!("{error}"),
    };
    let directory = tempfile::tempdir().expect("a directory");
    let dir = directory.path();
    let config = format!(
        "[listen]\nadmin = \"127.0.0.1:0\"\n[bus]\nbackend = \"kafka\"\n[kafka]\n\"bootstrap.servers\" = \"{}\"\n",
        cluster.bootstrap()
    );
    let sources = "[syslog]\nsources = \"listed\"\nudp = []\ntcp = []\n";
    let launch = |name: &str, program: &str, arguments: &[&str], config: String| {
        let file = dir.join(format!("{name}.toml"));
        std::fs::write(&file, config).expect("writes");
        Launch {
            name: name.into(),
            program: binaries.join(program),
            arguments: arguments.iter().map(|&argument| argument.into()).collect(),
            config: file,
            data_dir: dir.join(name),
            environment: vec![("NEPHOSCOPE_BUS__INSTANCE".into(), name.into())],
            log: dir.join(format!("{name}.out")),
        }
    };
    let umbrella = launch("whole", "nephoscope", &["up"], format!("{config}{sources}"));
    let drain = launch("second", "nephoscope-drain", &[], config.clone());
    let up = umbrella.start().expect("starts");
    let mut second = drain.start().expect("starts");

    let socket = UnixDatagram::unbound().expect("a socket");
    until("the collector listens", || socket.connect(umbrella.data_dir.join("syslog.sock")).ok());
    let second_run = drain.data_dir.join("drain/second/run.json");
    let pages = || (metrics(&umbrella.data_dir.join("run.json")), metrics(&second_run));
    let ready =
        |page: &str| page.contains("nephoscope_ready{stage=\"drain\"} 1") && page.contains("nephoscope_lag_records{stage=\"drain\"");
    let (page, second_page) = until("both replicas have partitions", || {
        // Hosts fall to different partitions, and so to both.
        for host in 0..12 {
            let line = format!("<2>1 {} host-{host} kernel - - - Out of memory: Killed process 4711 (java)", wall_clock());
            socket.send(line.as_bytes()).expect("sends");
        }
        let (Some(page), Some(second)) = pages() else { return None };
        (ready(&page) && ready(&second)).then_some((page, second))
    });
    assert_eq!(audit(&page, &[Part::Processor, Part::Source]), Vec::<String>::new());
    assert_eq!(audit(&second_page, &[Part::Processor]), Vec::<String>::new());

    let topics = Topics::on(cluster.bootstrap());
    let seen = until("an alert of each host", || Some(alerts(&topics)).filter(|alerts| alerts.len() >= 12));
    for (alert, kind) in &seen {
        assert_eq!((alert.name.as_str(), alert.severity, kind.as_str()), ("SevereLog", Severity::Critical, "nephoscope.alert.v1"));
    }
    let output = Command::new(binaries.join("nephoscope"))
        .args(["alerts", "list", "--json", "--bus", &format!("kafka://{}", cluster.bootstrap())])
        .output()
        .expect("runs");
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && said.contains("SevereLog"), "{said}{}", String::from_utf8_lossy(&output.stderr));

    // The commit in hand waits for an answer that does not come.
    cluster.pause(1).expect("hangs");
    socket.send(b"<2>1 - host-0 kernel - - - Out of memory: Killed process 4712 (java)").expect("sends");
    second.signal(Signal::TERM).expect("runs");
    let ended = second.wait(STOP_MAX).unwrap_or_else(|| panic!("did not stop: {}", drain.last_words()));
    assert!(ended.success(), "{ended}: {}", drain.last_words());
    cluster.resume(1).expect("goes on");

    // What was sent meanwhile waited in the spool, and the one that is left takes over.
    let line = format!("<2>1 {} a-new-host kernel - - - Out of memory: Killed process 4713 (java)", wall_clock());
    socket.send(line.as_bytes()).expect("sends");
    until("the line that was sent afterwards", || {
        alerts(&topics).iter().any(|(alert, _)| alert.labels["host"] == "a-new-host").then_some(())
    });
    assert!(up.leave().expect("leaves").success());
}

//! A real Alertmanager, fed through the embedded bus by the whole engine: what fires, once, and what ends.
#![allow(clippy::disallowed_methods, reason = "a real program, in real time")]

use std::{
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    path::Path,
    process::{Child, Command, Stdio},
    sync::Arc,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use notifier::{Config, Courier, Notifier, config::AlertmanagerConfig};
use schemas::{Alert, AlertStatus, EventTime, Severity, alert::fingerprint, cloudevents, topics};
use serde_json::Value;
use stream_core::HeaderBuffer;
use stream_runtime::{
    bus::Bus,
    embedded::{EmbeddedBus, EmbeddedConfig},
    engine::Engine,
    publish::PublishBatch,
    settings::EngineSettings,
};

const PATIENCE: Duration = Duration::from_secs(60);

fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let end = Instant::now() + PATIENCE;
    while Instant::now() < end {
        if let Some(found) = look() {
            return found;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    panic!("never: {what}");
}

/// Ended with the test.
struct Alertmanager {
    child: Child,
    port: u16,
}

impl Alertmanager {
    fn start(folder: &Path) -> Option<Self> {
        let program = ["/usr/bin/prometheus-alertmanager", "/usr/bin/alertmanager", "/usr/local/bin/alertmanager"];
        let Some(program) = program.iter().find(|path| Path::new(path).is_file()) else {
            println!("SKIPPED: a real Alertmanager: it is not installed (Debian: prometheus-alertmanager)");
            return None;
        };
        let port = TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("an address").port();
        let config = folder.join("alertmanager.yml");
        std::fs::write(&config, "route: {receiver: none}\nreceivers: [{name: none}]\n").expect("writes");
        let mut command = Command::new(program);
        command.arg(format!("--config.file={}", config.display())).arg(format!("--storage.path={}", folder.join("am").display()));
        command.args(["--cluster.listen-address=".to_string(), format!("--web.listen-address=127.0.0.1:{port}")]);
        let child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("starts");
        let this = Self { child, port };
        until("Alertmanager is ready", || this.try_get("/-/ready").filter(|answer| answer.contains("200 OK")));
        Some(this)
    }

    fn try_get(&self, path: &str) -> Option<String> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).ok()?;
        write!(stream, "GET {path} HTTP/1.0\r\nHost: localhost\r\n\r\n").ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        Some(answer)
    }

    /// What it shows as active.
    fn active(&self) -> Vec<Value> {
        let answer = self.try_get("/api/v2/alerts?active=true").unwrap_or_default();
        let body = answer.split_once("\r\n\r\n").map_or("[]", |(_, body)| body);
        serde_json::from_str(body).unwrap_or_default()
    }
}

impl Drop for Alertmanager {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn now() -> EventTime {
    EventTime::from_millis(SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_millis() as i64)
}

fn publish(bus: &EmbeddedBus, alert: &Alert) {
    let mut headers = HeaderBuffer::default();
    cloudevents::alert_headers(alert).iter().for_each(|(name, value)| headers.push(name, Some(value.as_bytes())));
    let mut batch = PublishBatch::default();
    let value = serde_json::to_vec(alert).expect("JSON");
    batch.push(&topics::ALERTS.into(), Some(alert.fingerprint.as_bytes()), Some(&value), headers.as_headers()).expect("is small");
    bus.publisher("source").expect("a publisher").publish(&batch, b"").expect("is taken");
}

#[test]
fn it_fires_is_told_once_gets_worse_and_resolves() {
    let folder = tempfile::tempdir().expect("a folder");
    let Some(alertmanager) = Alertmanager::start(folder.path()) else { return };
    let bus = EmbeddedBus::open(&folder.path().join("data"), EmbeddedConfig::default()).expect("opens");
    Engine::ensure_topics(&bus).expect("are made");
    let main = AlertmanagerConfig { url: format!("http://127.0.0.1:{}", alertmanager.port), ..AlertmanagerConfig::default() };
    let config = Config { alertmanager: [("main".to_string(), main)].into(), ..Config::default() };
    config.check().expect("can be meant");
    let mut engine = Engine::new(Arc::new(bus.clone()), EngineSettings::default());
    engine.spawn_sink::<Notifier<Courier>>(&config).expect("starts");

    let labels = [("host".to_string(), "vm-7".to_string())].into();
    let mut alert = Alert {
        fingerprint: fingerprint("DiskWriteStall", &labels),
        name: "DiskWriteStall".into(),
        severity: Severity::Warning,
        started_at: now(),
        last_received: now(),
        source: vec!["drain".into()],
        message: "vm-7: write stalled".into(),
        labels,
        ..Alert::default()
    };
    let severities = || alertmanager.active().iter().map(|found| found["labels"]["severity"].to_string()).collect::<Vec<_>>();
    publish(&bus, &alert);
    until("it fires there", || (severities() == ["\"warning\""]).then_some(()));
    publish(&bus, &alert);
    let found = alertmanager.active().remove(0);
    assert_eq!(found["labels"]["alertname"], "DiskWriteStall");
    assert_eq!(found["annotations"]["summary"], "vm-7: write stalled");

    alert.severity = Severity::High;
    publish(&bus, &alert);
    until("only the new severity fires", || (severities() == ["\"high\""]).then_some(()));

    (alert.status, alert.ends_at) = (AlertStatus::Resolved, Some(now()));
    publish(&bus, &alert);
    until("nothing fires any more", || severities().is_empty().then_some(()));
    let standing = config.board.read().remove("main").expect("has said how it stands");
    assert_eq!((standing.refused, standing.trouble), (0, None));
    engine.stop();
}

//! A real Alertmanager, fed through the embedded bus by the whole engine: what fires, once, and what ends.

use std::{
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    path::Path,
    process::{Child, Command, Stdio},
};

use notifier::{Config, Tell, config::AlertmanagerConfig, config::RouteConfig};
use schemas::Severity;
use serde_json::Value;

use super::{alert, bus, ended, notifying, publish, until};

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

#[test]
fn it_fires_is_told_once_gets_worse_and_resolves() {
    let folder = tempfile::tempdir().expect("a folder");
    let Some(alertmanager) = Alertmanager::start(folder.path()) else { return };
    let bus = bus(folder.path());
    let main = AlertmanagerConfig { url: format!("http://127.0.0.1:{}", alertmanager.port), ..AlertmanagerConfig::default() };
    let route = RouteConfig { to: vec!["main".into()], tell: Some(Tell::Alerts), ..RouteConfig::default() };
    let config = Config { alertmanager: [("main".to_string(), main)].into(), routes: vec![route], ..Config::default() };
    let engine = notifying(&bus, &config);

    let mut alert = alert("DiskWriteStall", &[("host", "vm-7")], Severity::Warning);
    let severities = || alertmanager.active().iter().map(|found| found["labels"]["severity"].to_string()).collect::<Vec<_>>();
    publish(&bus, std::slice::from_ref(&alert));
    until("it fires there", || (severities() == ["\"warning\""]).then_some(()));
    publish(&bus, std::slice::from_ref(&alert));
    let found = until("it is shown", || alertmanager.active().pop());
    assert_eq!(found["labels"]["alertname"], "DiskWriteStall");
    assert_eq!(found["annotations"]["summary"], "DiskWriteStall happens");

    alert.severity = Severity::High;
    publish(&bus, std::slice::from_ref(&alert));
    until("only the new severity fires", || (severities() == ["\"high\""]).then_some(()));

    publish(&bus, &[ended(&alert)]);
    until("nothing fires any more", || severities().is_empty().then_some(()));
    let standing = config.board.read().remove("main").expect("has said how it stands");
    assert_eq!((standing.refused, standing.trouble), (0, None));
    engine.stop();
}

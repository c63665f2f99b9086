//! Heartbeats through the whole of `up`: who stops beating is an alert, and an incident.
#![allow(clippy::disallowed_methods, reason = "a test of real processes, in real time")]

use std::{
    net::UdpSocket,
    path::Path,
    process::{Child, Command, Stdio},
    sync::atomic::{AtomicBool, Ordering},
    time::{Duration, Instant},
};

use heartbeat::Sender;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

const PATIENCE: Duration = Duration::from_secs(90);
const BINARY: &str = env!("CARGO_BIN_EXE_nephoscope");

/// The instance, killed when the test ends early.
struct Up(Child);

impl Drop for Up {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let begun = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(begun.elapsed() < PATIENCE, "never: {what}");
        std::thread::sleep(Duration::from_millis(100));
    }
}

/// What a command answers in JSON; none while it cannot.
fn json(folder: &Path, arguments: &[&str]) -> Option<Value> {
    let mut command = Command::new(BINARY);
    command.args(arguments).arg("--json").arg("--config").arg(folder.join("n.toml")).arg("--data-dir").arg(folder.join("data"));
    let output = command.output().expect("runs");
    output.status.success().then(|| serde_json::from_slice(&output.stdout).expect("JSON"))
}

/// The status of the alert about a silent VM of this name, if there is one.
fn alert(folder: &Path, vm: &str) -> Option<String> {
    let alerts = json(folder, &["alerts", "list"])?;
    let found = alerts.as_array()?.iter().find(|alert| alert["name"] == "VmSilent" && alert["labels"]["vm"] == vm)?;
    found["status"].as_str().map(str::to_owned)
}

#[test]
fn a_vm_that_stops_beating_is_told_and_told_to_be_back() {
    let folder = tempfile::tempdir().expect("a folder");
    let port = UdpSocket::bind("127.0.0.1:0").and_then(|socket| socket.local_addr()).expect("a port").port();
    let config = format!(
        "[listen]\nadmin = \"127.0.0.1:0\"\n[syslog]\nsources = \"listed\"\nudp = []\ntcp = []\nunix = []\n[heartbeat]\nudp = \
         [\"127.0.0.1:{port}\"]\nsummary_s = 1\n[incident]\nsilent_ms = 8000\npulses_min = 5\n"
    );
    std::fs::write(folder.path().join("n.toml"), config).expect("writes");
    let mut command = Command::new(BINARY);
    command.arg("up").arg("--config").arg(folder.path().join("n.toml")).arg("--data-dir").arg(folder.path().join("data"));
    let mut up = Up(command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("starts"));
    until("the instance answers", || json(folder.path(), &["status"]));

    let to = format!("127.0.0.1:{port}");
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let lives = Sender::new(&to, "vm-lives", true, None).expect("can be sent");
        scope.spawn(|| lives.run(Duration::from_secs(1), &stop));
        let mut dies = Sender::new(&to, "vm-dies", true, None).expect("can be sent");
        for _ in 0..6 {
            dies.beat();
            std::thread::sleep(Duration::from_secs(1));
        }
        let fired = until("the alert about the one that stopped", || alert(folder.path(), "vm-dies"));
        assert_eq!((fired.as_str(), alert(folder.path(), "vm-lives")), ("firing", None));
        let incidents =
            until("an incident of it", || json(folder.path(), &["incidents", "list"]).filter(|list| list.to_string().contains("vm-dies")));
        assert!(!incidents.to_string().contains("vm-lives"), "{incidents}");
        until("it is well again", || {
            dies.beat();
            (alert(folder.path(), "vm-dies").as_deref() == Some("resolved")).then_some(())
        });
        stop.store(true, Ordering::Relaxed);
    });
    kill_process(Pid::from_child(&up.0), Signal::TERM).expect("runs");
    assert!(up.0.wait().expect("ends").success());
}

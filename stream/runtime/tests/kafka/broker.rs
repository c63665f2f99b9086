//! A broker of our own, started by `tests/kafka/broker.sh`. (The package of the chaos run has a larger one of these, which
//! this package does not depend on: it is built long before.)

use std::process::{Command, Output};

use tempfile::TempDir;

/// A broker. It ends when this value is dropped, or its process ends.
pub struct Cluster {
    dir: TempDir,
    bootstrap: String,
}

impl Cluster {
    /// Starts it. None, and the reason told, where there cannot be one.
    pub fn start() -> Option<Self> {
        let dir = tempfile::Builder::new().prefix("nephoscope-kafka-").tempdir().unwrap();
        let owner = std::process::id().to_string();
        let Output { status, stdout, stderr } = script(&dir, &["start", "--port", "0", "--owner", &owner]);
        let said = String::from_utf8_lossy(&stderr);
        if status.code() == Some(77) {
            println!("SKIPPED: no Kafka here: {}", said.trim());
            return None;
        }
        assert!(status.success(), "broker.sh start: {said}");
        let printed = String::from_utf8_lossy(&stdout);
        let bootstrap = printed.lines().find_map(|line| line.strip_prefix("KAFKA_BOOTSTRAP=")).expect("it says where it listens");
        Some(Self { bootstrap: bootstrap.to_owned(), dir })
    }

    /// Where clients find it.
    pub fn bootstrap(&self) -> &str {
        &self.bootstrap
    }

    /// `kill -9`.
    pub fn kill(&self) {
        self.command("kill");
    }

    /// Brings it back; returns once it answers.
    pub fn restart(&self) {
        self.command("restart");
    }

    fn command(&self, command: &str) {
        let Output { status, stderr, .. } = script(&self.dir, &[command, "1"]);
        assert!(status.success(), "broker.sh {command}: {}", String::from_utf8_lossy(&stderr));
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        script(&self.dir, &["stop"]);
    }
}

fn script(dir: &TempDir, arguments: &[&str]) -> Output {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/kafka/broker.sh");
    let (command, rest) = arguments.split_first().expect("a command");
    Command::new(script).arg(command).arg("--dir").arg(dir.path()).args(rest).output().expect("broker.sh runs")
}

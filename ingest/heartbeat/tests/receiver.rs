//! The real binary on loopback, as an operator starts it: who lives, who leaves, who forges.
#![allow(clippy::disallowed_methods, reason = "a test of real processes, in real time")]

use std::{
    fs,
    net::UdpSocket,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use heartbeat::{Key, Pulse};
use rustix::process::{Pid, Signal, kill_process};
use schemas::{Heartbeat, HeartbeatKind, Subject, topics};
use stream_core::{NextOffset, Partition, TopicPartition};
use stream_runtime::{
    embedded::EmbeddedBus,
    gathered::Gathered,
    inspect::{Inspect, ReadLimits},
};

const BINARY: &str = env!("CARGO_BIN_EXE_nephoscope-heartbeat");
const PATIENCE: Duration = Duration::from_secs(60);

/// A process that is told to leave when it is dropped.
struct Running(Child);

impl Running {
    fn start(arguments: &[&str]) -> Self {
        Self(Command::new(BINARY).args(arguments).stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("starts"))
    }

    fn leave(mut self) {
        kill_process(Pid::from_child(&self.0), Signal::TERM).expect("runs");
        assert!(self.0.wait().expect("ends").success());
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !is_so() {
        assert!(begun.elapsed() < PATIENCE, "never: {what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

fn free_port() -> u16 {
    UdpSocket::bind("127.0.0.1:0").and_then(|socket| socket.local_addr()).expect("a port").port()
}

fn configured(folder: &Path, port: u16) -> PathBuf {
    let (file, key) = (folder.join("n.toml"), folder.join("key"));
    fs::write(&key, "a secret of both ends\n").expect("writes");
    let config =
        format!("[listen]\nadmin = \"127.0.0.1:0\"\n[heartbeat]\nudp = [\"127.0.0.1:{port}\"]\nname = \"watch-1\"\nkey_file = {key:?}\n");
    fs::write(&file, config).expect("writes");
    file
}

fn on_the_bus(data: &Path) -> Vec<Heartbeat> {
    let bus = EmbeddedBus::open_read_only(data).expect("opens");
    let at = TopicPartition::new(&topics::HOST_HEARTBEATS.into(), Partition(0));
    let mut gathered = Gathered::default();
    bus.read(&at, NextOffset(0), &ReadLimits { records_max: 10_000, bytes_max: 16 << 20, wait: Duration::ZERO }, &mut gathered)
        .expect("reads");
    gathered.records().filter_map(|(_, record)| record.value).map(|value| Heartbeat::from_bytes(value).expect("a heartbeat")).collect()
}

#[test]
fn a_host_is_heard_from_its_first_word_to_its_last() {
    let folder = tempfile::tempdir().expect("a folder");
    let (data, port) = (folder.path().join("data"), free_port());
    let config = configured(folder.path(), port);
    let (config, data_text, key) =
        (config.display().to_string(), data.display().to_string(), folder.path().join("key").display().to_string());
    let receiver = Running::start(&["receive", "--config", &config, "--data-dir", &data_text]);
    until("the receiver listens", || data.join("run.json").exists());

    let to = format!("127.0.0.1:{port}");
    let host = Running::start(&["send", "--to", &to, "--name", "host-a", "--every", "1", "--key-file", &key]);
    let vm = Running::start(&["send", "--to", &to, "--name", "vm-b", "--every", "1", "--key-file", &key, "--vm"]);
    // Others speak too: without the key, with another one, of nothing.
    let stranger = UdpSocket::bind("127.0.0.1:0").expect("a socket");
    let forged = Pulse { name: "host-a".into(), is_vm: false, is_farewell: true, run: 1, sequence: 1 };
    for bytes in [forged.encode(None), forged.encode(Some(&Key::new(b"guessed"))), Ok(vec![0; 64])] {
        stranger.send_to(&bytes.expect("fits"), &to).expect("sends");
    }
    std::thread::sleep(Duration::from_secs(4));
    host.leave();
    drop(vm); // kill -9
    receiver.leave();

    let all = on_the_bus(&data);
    let of = |name: &str| all.iter().filter(|heartbeat| heartbeat.name == name).collect::<Vec<_>>();
    let (host, vm, own) = (of("host-a"), of("vm-b"), of("watch-1"));
    assert_eq!(host.first().map(|heartbeat| heartbeat.kind), Some(HeartbeatKind::First));
    let last = host.last().expect("heard");
    assert_eq!((last.kind, last.missing, last.is_vm), (HeartbeatKind::Farewell, 0, false));
    assert_eq!(last.total, last.sequence, "each was heard once");
    assert!(vm.iter().all(|heartbeat| heartbeat.is_vm && heartbeat.kind != HeartbeatKind::Farewell), "{vm:?}");
    assert!(own.len() >= 2 && own.iter().all(|heartbeat| heartbeat.kind == HeartbeatKind::Listening), "{own:?}");
    assert!(host.iter().chain(&vm).all(|heartbeat| heartbeat.receiver == "watch-1"));
}

#[test]
fn what_cannot_be_meant_is_refused_with_the_reason() {
    for (arguments, expected) in [
        (vec!["send", "--to", "127.0.0.1:1", "--name", "two words"], "expected a name of 1 to 40 printable ASCII letters"),
        (vec!["send", "--to", "127.0.0.1", "--name", "host"], "expected HOST:PORT"),
        (vec!["send", "--to", "127.0.0.1:1", "--name", "host", "--key-file", "/nowhere"], "heartbeat.key_file /nowhere"),
        (vec!["send", "--to", "127.0.0.1:1", "--name", "host", "--every", "60"], "1..=6"),
    ] {
        let output = Command::new(BINARY).args(&arguments).output().expect("runs");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && said.contains(expected), "{arguments:?}: {said}");
    }
}

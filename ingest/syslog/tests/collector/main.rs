//! The collector as a whole: real sockets, files and programs in, records and cursor out.

mod bus;
mod clients;
mod crash;
mod faults;
mod files;
mod machine;
mod network;
mod relp;
mod rsyslog;
#[path = "../rsyslogd/mod.rs"]
mod rsyslogd;
mod spooled;
mod syslog_ng;
mod tls;

use std::io::Write;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use schemas::{LogRecord, SourceKind};
use stream_runtime::loss::Loss;
use stream_runtime::source::{Source, SourceContext};
use syslog::collector::config::Choice;
use syslog::collector::{SourceState, SourceStatus};
use syslog::{Collector, Config};
use tempfile::TempDir;

use bus::MemoryBus;

/// Long enough for a loaded machine; nothing waits for it that comes earlier.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// A configuration that watches nothing of this machine and listens on free ports.
pub(crate) fn listening() -> Config {
    let free: SocketAddr = "127.0.0.1:0".parse().expect("an address");
    Config { sources: Choice::Listed, udp: vec![free], tcp: vec![free], timezone: "UTC".into(), ..Config::default() }
}

/// A configuration that follows these files only.
pub(crate) fn following(files: &[&Path]) -> Config {
    let files = files.iter().map(|path| path.display().to_string()).collect();
    Config {
        sources: Choice::Listed,
        udp: Vec::new(),
        tcp: Vec::new(),
        unix: Vec::new(),
        files,
        timezone: "UTC".into(),
        ..Config::default()
    }
}

/// A running collector on a bus in memory.
pub(crate) struct Rig {
    pub(crate) bus: MemoryBus,
    pub(crate) collector: Collector,
    pub(crate) loss: Loss,
    pub(crate) folder: TempDir,
}

impl Rig {
    pub(crate) fn start(config: Config) -> Self {
        Self::start_on(MemoryBus::default(), config)
    }

    pub(crate) fn start_on(bus: MemoryBus, config: Config) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let loss = Loss::default();
        let collector = start(&bus, config, folder.path(), &loss).expect("starts");
        Self { bus, collector, loss, folder }
    }

    pub(crate) fn status(&self, kind: SourceKind) -> SourceStatus {
        self.collector.status().into_iter().find(|source| source.kind == kind).expect("a source of the kind")
    }

    pub(crate) fn address(&self, kind: SourceKind) -> SocketAddr {
        self.status(kind).name.parse().expect("an address")
    }

    pub(crate) fn socket(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Stops, and gives all that was published.
    pub(crate) fn stop(self) -> Vec<LogRecord> {
        assert_eq!(self.collector.failed(), None);
        self.collector.stop();
        self.bus.records()
    }

    pub(crate) fn lost(&self) -> Vec<(String, u64)> {
        self.loss.totals().into_iter().map(|(_, _, cause, count)| (cause, count)).collect()
    }
}

pub(crate) fn start(bus: &MemoryBus, config: Config, data_dir: &Path, loss: &Loss) -> Result<Collector, String> {
    let (data_dir, loss) = (data_dir.to_owned(), loss.clone());
    let context = SourceContext { publisher: bus.opening(), spooled: None, publish_ms: 10, data_dir, loss };
    <Collector as Source>::start(config, context).map_err(|error| error.to_string())
}

pub(crate) fn messages(records: &[LogRecord]) -> Vec<String> {
    records.iter().map(|record| record.message().to_owned()).collect()
}

/// Waits for a condition that nobody announces.
pub(crate) fn eventually(what: &str, mut is_so: impl FnMut() -> bool) {
    let started = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic).tv_sec;
    while !is_so() {
        let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic).tv_sec;
        assert!(now - started < PATIENCE.as_secs().cast_signed(), "never: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Says on standard error, past the capture of the test harness, that a test could not run here.
pub(crate) fn skipped(reason: &str) {
    let _ = writeln!(std::io::stderr(), "SKIPPED: {reason}");
}

/// Is a program here? If not, says so.
pub(crate) fn has(program: &str, version_argument: &str) -> bool {
    let found = Command::new(program).arg(version_argument).stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok_and(|s| s.success());
    if !found {
        skipped(&format!("{program} not installed"));
    }
    found
}

#[test]
fn what_cannot_be_watched_is_data() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = taken.local_addr().expect("an address");
    let bus = MemoryBus::default();
    let folder = tempfile::tempdir().expect("a folder");
    let config = Config { tcp: vec![address], ..listening() };
    let error = start(&bus, config, folder.path(), &Loss::default()).expect_err("asked for by name");
    assert!(error.contains(&address.to_string()) && error.contains("in use"), "{error}");

    // The default port is only looked for, so whoever has it makes it a blind spot.
    let default = Config::default().tcp.first().copied().expect("a default");
    let _taken = std::net::TcpListener::bind(default);
    let rig = Rig::start(Config { udp: Vec::new(), journal: syslog::collector::config::Switch::Off, ..Config::default() });
    let status = rig.status(SourceKind::Tcp);
    assert_eq!(status.state, SourceState::Blind, "{status:?}");
    assert!(status.reason.contains("in use"), "{status:?}");
    rig.stop();
}

#[test]
fn a_configuration_that_cannot_be_meant_is_refused_by_name() {
    let refused = |config: Config| start(&MemoryBus::default(), config, Path::new("/nonexistent"), &Loss::default()).expect_err("refused");
    assert!(refused(Config { message_bytes_max: 1, ..listening() }).contains("message_bytes_max = 1"));
    assert!(refused(Config { frame_bytes_max: 100, ..listening() }).contains("frame_bytes_max"));
    assert!(refused(Config { timezone: "Mars/Olympus".into(), ..listening() }).contains("Mars/Olympus"));
    assert!(refused(Config { files: vec!["a[".into()], ..listening() }).contains("a["));
    let multiline = syslog::collector::config::Multiline { start: "(".into() };
    assert!(refused(Config { multiline, ..listening() }).contains("multiline"));
    assert!(serde_json::from_str::<Config>(r#"{"kafka": []}"#).is_err(), "a key of a part that does not exist is refused");
    let read: Config =
        serde_json::from_str(r#"{"multiline": {"start": "^[0-9]"}, "peers": {"192.0.2.1": "sw1"}}"#).expect("a configuration");
    assert_eq!(Config { multiline: Default::default(), peers: Default::default(), ..read }, Config::default());
}

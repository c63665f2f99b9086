//! The collector's own process, killed with `kill -9` at random moments and started again, with real senders and files.

#[path = "../collector/bus.rs"]
#[allow(dead_code, reason = "only its publishers are needed here")]
mod bus;
mod files;
mod handed_over;
mod relp;
#[path = "../rsyslogd/mod.rs"]
mod rsyslogd;
mod sender;

use std::fs::{self, OpenOptions};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use schemas::{LogRecord, Subject, topics};
use stream_core::{NextOffset, Partition, TopicPartition};
use stream_runtime::embedded::EmbeddedBus;
use stream_runtime::gathered::Gathered;
use stream_runtime::inspect::{Inspect, ReadLimits};
use stream_runtime::time::{Clock, SystemClock};

const PROGRAM: &str = env!("CARGO_BIN_EXE_nephoscope-syslog");
const PATIENCE: Duration = Duration::from_secs(240);
/// Long enough to start and to take what waits, on a machine that has nothing else to do.
const LIFE: Duration = Duration::from_millis(300);

/// A collector's folder: configuration, data, and the process while it runs.
struct Collector {
    folder: tempfile::TempDir,
    child: Option<Child>,
    seed: u64,
}

impl Collector {
    /// `section`: of `[syslog]`, beside what switches everything else off.
    fn new(section: &str) -> Self {
        Self::on("", section)
    }

    /// The same on another bus, which `bus` says.
    fn on(bus: &str, section: &str) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let is_set = |key: &&str| section.lines().any(|line| line.starts_with(&format!("{key} = ")));
        let off: String = ["udp", "tcp", "unix"].iter().filter(|key| !is_set(key)).map(|key| format!("{key} = []\n")).collect();
        let config =
            format!("[listen]\nadmin = \"127.0.0.1:0\"\n{bus}[syslog]\nsources = \"listed\"\ntimezone = \"UTC\"\n{off}{section}\n");
        fs::write(folder.path().join("n.toml"), config).expect("writes");
        Self { folder, child: None, seed: 0x5eed }
    }

    fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    fn arguments(&self) -> [String; 4] {
        let (config, data) = (self.folder.path().join("n.toml"), self.data());
        ["--config".into(), config.display().to_string(), "--data-dir".into(), data.display().to_string()]
    }

    fn start(&mut self) {
        let mut command = Command::new(PROGRAM);
        command.args(self.arguments()).stdout(Stdio::null()).stderr(Stdio::null());
        self.child = Some(command.spawn().expect("starts"));
    }

    /// Lives for a random while, then dies without a word.
    fn live_and_be_killed(&mut self) {
        self.start();
        self.seed = self.seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        SystemClock.sleep(Duration::from_millis(50 + (self.seed >> 33) % 700));
        let mut child = self.child.take().expect("runs");
        child.kill().expect("is killed");
        child.wait().expect("is gone");
    }

    fn stop(&mut self) {
        let mut child = self.child.take().expect("runs");
        rustix::process::kill_process(rustix::process::Pid::from_child(&child), rustix::process::Signal::TERM).expect("is told");
        child.wait().expect("ends");
    }

    /// Ends it in order, and reads what is on the bus.
    fn stop_and_read(&mut self) -> Vec<LogRecord> {
        self.stop();
        let bus = EmbeddedBus::open_read_only(&self.data()).expect("opens");
        let at = TopicPartition::new(&topics::LOGS_RAW.into(), Partition(0));
        let limits = ReadLimits { records_max: 10_000, bytes_max: 16 << 20, wait: Duration::ZERO };
        let (mut all, mut next) = (Vec::new(), NextOffset(0));
        loop {
            let mut gathered = Gathered::default();
            bus.read(&at, next, &limits, &mut gathered).expect("reads");
            let Some((_, last)) = gathered.records().last() else { return all };
            next = last.offset.next();
            all.extend(
                gathered.records().filter_map(|(_, record)| record.value).map(|value| LogRecord::from_bytes(value).expect("a record")),
            );
        }
    }

    /// Is started again and again, and left alone, until nothing is `missing`: each life is longer than the last, since on a busy
    /// machine a short one is over before a sender has come back.
    fn settle(&mut self, mut start: impl FnMut(&mut Self), missing: impl Fn(&[LogRecord]) -> Vec<String>) -> Vec<LogRecord> {
        let begun = SystemClock.monotonic();
        let mut life = LIFE;
        loop {
            start(self);
            SystemClock.sleep(life);
            life = life * 3 / 2;
            let records = self.stop_and_read();
            let missing = missing(&records);
            if missing.is_empty() {
                return records;
            }
            let is_late = SystemClock.monotonic() - begun > PATIENCE;
            assert!(!is_late, "{} records, {} missing, the first: {:?}", records.len(), missing.len(), missing.first());
        }
    }
}

impl Drop for Collector {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// A file to be added to.
fn append(path: &Path) -> fs::File {
    OpenOptions::new().create(true).append(true).open(path).expect("opens")
}

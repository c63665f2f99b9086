//! The collector's own process, killed with `kill -9` at random moments and started again, with real senders and files.

mod files;
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

const PATIENCE: Duration = Duration::from_secs(240);

/// A collector's folder: configuration, data, and the process while it runs.
struct Collector {
    folder: tempfile::TempDir,
    child: Option<Child>,
    seed: u64,
}

impl Collector {
    /// `section`: of `[syslog]`, beside what switches everything else off.
    fn new(section: &str) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let config = format!(
            "[listen]\nadmin = \"127.0.0.1:0\"\n[syslog]\nsources = \"listed\"\nudp = []\ntcp = []\nunix = []\ntimezone = \"UTC\"\n{section}\n"
        );
        fs::write(folder.path().join("n.toml"), config).expect("writes");
        Self { folder, child: None, seed: 0x5eed }
    }

    fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    fn start(&mut self) {
        let child = Command::new(env!("CARGO_BIN_EXE_nephoscope-syslog"))
            .args(["--config", &self.folder.path().join("n.toml").display().to_string()])
            .args(["--data-dir", &self.data().display().to_string()])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        self.child = Some(child.expect("starts"));
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

    /// Ends it in order, and reads what is on the bus.
    fn stop_and_read(&mut self) -> Vec<LogRecord> {
        let mut child = self.child.take().expect("runs");
        rustix::process::kill_process(rustix::process::Pid::from_child(&child), rustix::process::Signal::TERM).expect("is told");
        child.wait().expect("ends");
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

    /// Runs undisturbed until nothing is `missing`, looking now and then: each life is longer than the last, since on a busy
    /// machine a short one is over before a sender has come back. At the start of each, `remind` may give a sender a reason.
    fn settle(&mut self, mut remind: impl FnMut(), missing: impl Fn(&[LogRecord]) -> Vec<String>) -> Vec<LogRecord> {
        let begun = SystemClock.monotonic();
        let mut life = Duration::from_millis(1_500);
        loop {
            self.start();
            remind();
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

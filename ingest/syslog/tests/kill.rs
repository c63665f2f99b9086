//! The collector's own process, killed with `kill -9` at random moments and started again, with real senders and files.

#[path = "rsyslogd/mod.rs"]
mod rsyslogd;

use std::collections::BTreeMap;
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use schemas::{LogRecord, Subject, topics};
use stream_core::{NextOffset, Partition, TopicPartition};
use stream_runtime::embedded::EmbeddedBus;
use stream_runtime::gathered::Gathered;
use stream_runtime::inspect::{Inspect, ReadLimits};
use stream_runtime::time::{Clock, SystemClock, wall_clock};

use rsyslogd::{Rsyslogd, has_module, ready};

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
    /// machine a short one is over before a sender has come back.
    fn settle(&mut self, missing: impl Fn(&[LogRecord]) -> Vec<String>) -> Vec<LogRecord> {
        let begun = SystemClock.monotonic();
        let mut life = Duration::from_millis(1_500);
        loop {
            self.start();
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

fn append(path: &Path) -> fs::File {
    OpenOptions::new().create(true).append(true).open(path).expect("opens")
}

/// rsyslogd keeps a message until it is answered, and an answer means that it is on the bus. So whatever dies, each line
/// arrives. What was on its way when the connection broke comes again: that is counted and shown.
#[test]
fn relp_from_a_real_rsyslogd_loses_nothing_when_the_receiver_is_killed() {
    const KILLS: usize = 20;
    const LINES_PER_ROUND: usize = 500;
    if Command::new("rsyslogd").arg("-v").stdout(Stdio::null()).status().is_err() || !has_module("omrelp") {
        let _ = writeln!(std::io::stderr(), "SKIPPED: rsyslogd with its module omrelp not installed");
        return;
    }
    let port = TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("an address").port();
    let mut collector = Collector::new(&format!("relp = [\"127.0.0.1:{port}\"]"));
    let folder = tempfile::tempdir().expect("a folder");
    let input = folder.path().join("input.log");
    let mut file = append(&input);
    let relay =
        Rsyslogd::start(folder.path(), &input, &ready("62-nephoscope-relp.conf", &[("port=\"2514\"", &format!("port=\"{port}\""))]));
    for round in 0..KILLS {
        for n in 0..LINES_PER_ROUND {
            writeln!(file, "line {} of round {round}", round * LINES_PER_ROUND + n).expect("writes");
        }
        collector.live_and_be_killed();
    }
    let count = |records: &[LogRecord]| {
        let mut seen = BTreeMap::<String, usize>::new();
        for record in records.iter().filter(|record| record.app_name.as_deref() == Some("relay")) {
            *seen.entry(record.message().to_owned()).or_default() += 1;
        }
        seen
    };
    let expected: Vec<String> = (0..KILLS * LINES_PER_ROUND).map(|n| format!("line {n} of round {}", n / LINES_PER_ROUND)).collect();
    let records = collector.settle(|records| {
        let seen = count(records);
        expected.iter().filter(|line| !seen.contains_key(*line)).cloned().collect()
    });
    let seen = count(&records);
    assert_eq!(seen.len(), expected.len(), "each line arrived, and nothing else");
    let doubled: usize = seen.values().map(|times| times - 1).sum();
    println!("{KILLS} kills, {} lines from rsyslogd: none lost, {doubled} doubled", seen.len());
    drop(relay);
}

/// A message of several lines is one record, whole, once: the cursor never stands within one.
#[test]
fn messages_of_several_lines_arrive_once_and_whole_through_kills() {
    const KILLS: usize = 25;
    const MESSAGES_PER_ROUND: usize = 40;
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("app.log");
    let mut collector = Collector::new(&format!("files = [\"{}\"]\nmultiline.start = '^\\d{{4}}-'", path.display()));
    let mut file = append(&path);
    let mut expected = Vec::new();
    for _ in 0..KILLS {
        for _ in 0..MESSAGES_PER_ROUND {
            let n = expected.len();
            let text: Vec<String> =
                std::iter::once(format!("request {n} failed")).chain((0..n % 5).map(|k| format!("\tat frame {k} of {n}"))).collect();
            let text = text.join("\n");
            writeln!(file, "{} h app: {text}", wall_clock()).expect("writes");
            expected.push(text);
        }
        collector.live_and_be_killed();
    }
    writeln!(file, "{} h app: the end", wall_clock()).expect("writes");
    expected.push("the end".into());
    let records = collector.settle(|records| expected.iter().skip(records.len()).cloned().collect());
    let texts: Vec<&str> = records.iter().map(LogRecord::message).collect();
    assert_eq!(texts, expected);
    println!("{KILLS} kills, {} messages of several lines: none lost, none doubled, none torn", expected.len());
}

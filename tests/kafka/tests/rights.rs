//! The ACLs of docs/kafka.md, taken from that page: they are enough for each binary, over TLS and SCRAM, with an authorizer
//! that allows nothing else. And each that is taken away is named by the process that misses it.
#![allow(clippy::disallowed_methods, reason = "tests of a real broker, in real time")]

use std::fs::{self, File};
use std::io::Write as _;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{SystemTime, UNIX_EPOCH};

use kafka_tests::{Cluster, ClusterError, Plan, Topics, binaries, until};
use rustix::process::{Pid, Signal, kill_process};
use schemas::EventTime;

const PAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/kafka.md");
/// The binaries, each with a user of its own name; the notifier has nothing to do before somebody names a destination.
const PARTS: [&str; 5] = ["syslog", "heartbeat", "drain", "matrix-profile", "incident"];

/// One line of the page: `acls USER ARGUMENTS…`.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Acls {
    user: String,
    arguments: Vec<String>,
}

impl Acls {
    /// All that the page lists.
    fn of_page() -> Vec<Self> {
        let page = fs::read_to_string(PAGE).expect("the page is there");
        let lines = page.lines().filter_map(|line| line.strip_prefix("acls "));
        lines
            .filter_map(|line| {
                let mut words = line.split_whitespace().map(str::to_owned);
                Some(Self { user: words.next()?, arguments: words.collect() })
            })
            .collect()
    }

    fn is_creation(&self) -> bool {
        self.arguments.iter().any(|argument| argument == "Create")
    }

    fn change(&self, cluster: &Cluster, verb: &[&str]) {
        let user = format!("User:{}", self.user);
        let mut arguments = verb.to_vec();
        arguments.extend(["--allow-principal", &user]);
        arguments.extend(self.arguments.iter().map(String::as_str));
        cluster.tool("AclCommand", &arguments).expect("the tool takes what the page says");
    }

    fn add(&self, cluster: &Cluster) {
        self.change(cluster, &["--add"]);
    }
}

/// A process of ours, and what it said.
struct Process {
    child: Child,
    log: PathBuf,
}

impl Process {
    fn said(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// How it ended by itself, and what it said.
    fn ended(mut self) -> (ExitStatus, String) {
        let status = until("the process ends by itself", || self.child.try_wait().expect("can be waited for"));
        (status, self.said())
    }

    fn leave(mut self) {
        kill_process(Pid::from_child(&self.child), Signal::TERM).expect("runs");
        let status = until("the process leaves", || self.child.try_wait().expect("can be waited for"));
        assert!(status.success(), "{}", self.said());
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The installation under test.
struct Installation {
    cluster: Cluster,
    /// Where the binaries stand: beside this test.
    binaries: PathBuf,
    directory: tempfile::TempDir,
}

impl Installation {
    /// None, and the reason told, where it cannot run.
    fn new() -> Option<Self> {
        let binaries = binaries(&["nephoscope", "nephoscope-syslog", "nephoscope-drain", "nephoscope-incident"])?;
        let users = PARTS.map(|part| (part.to_owned(), password(part)));
        match Cluster::start(&Plan { secure: Some(users.into()), authorizer: true, ..Plan::default() }) {
            Ok(cluster) => Some(Self { cluster, binaries, directory: tempfile::tempdir().expect("a directory") }),
            Err(ClusterError::Absent(why)) => {
                println!("SKIPPED: {why}");
                None
            }
            Err(error) => panic!("{error}"),
        }
    }

    fn lines(&self) -> PathBuf {
        self.directory.path().join("app.log")
    }

    /// With the time, since a collector that starts leaves alone what may be older than a day.
    fn write_lines(&self, count: usize) {
        let mut file = File::options().create(true).append(true).open(self.lines()).expect("opens");
        let since = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970");
        let now = EventTime::from_millis(i64::try_from(since.as_millis()).expect("before 2262"));
        for number in 0..count {
            writeln!(file, "{now} vm-7 app: request {number} took {} ms", number * 7).expect("is written");
        }
    }

    /// Makes every topic, as an administrator does.
    fn make_topics(&self) {
        let bus = format!("kafka://{}", self.cluster.bootstrap());
        let made = Command::new(self.binaries.join("nephoscope"))
            .args(["topics", "create", "--bus", &bus, "--data-dir"])
            .arg(self.directory.path().join("admin"))
            .output()
            .expect("runs");
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    }

    fn start(&self, part: &str, may_create: bool) -> Process {
        let secure = self.cluster.secure().expect("the plan asked for it");
        let path = |name: &str| self.directory.path().join(format!("{part}.{name}"));
        let config = format!(
            "[bus]\nbackend = \"kafka\"\ninstance = \"one\"\ncreate_topics = {may_create}\n\
             [kafka]\nbootstrap.servers = \"{}\"\nsecurity.protocol = \"SASL_SSL\"\nssl.ca.location = \"{}\"\n\
             sasl.mechanism = \"{}\"\nsasl.username = \"{part}\"\nsasl.password = \"env:PASSWORD\"\n\
             [syslog]\nsources = \"listed\"\nudp = []\ntcp = []\nunix = []\nfiles = [\"{}\"]\n",
            secure.bootstrap,
            secure.ca.display(),
            secure.mechanism,
            self.lines().display(),
        );
        fs::write(path("toml"), config).expect("is written");
        let log = File::create(path("log")).expect("opens");
        let child = Command::new(self.binaries.join(format!("nephoscope-{part}")))
            .arg("--config")
            .arg(path("toml"))
            .arg("--data-dir")
            .arg(path("data"))
            .env("PASSWORD", password(part))
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("two handles"))
            .stderr(log)
            .spawn()
            .expect("starts");
        Process { child, log: path("log") }
    }

    /// Both parts work: what stands in the file comes out parsed.
    fn check_that_all_works(&self, may_create: bool, expected: usize) {
        let mut processes = PARTS.map(|part| self.start(part, may_create));
        let topics = Topics::on(self.cluster.bootstrap());
        until("every line is parsed", || {
            for process in &mut processes {
                assert_eq!(process.child.try_wait().expect("can be waited for"), None, "{}", process.said());
            }
            let mut parsed = 0;
            // The topic may not exist yet.
            topics.read("logs.parsed.v1", |_| parsed += 1).ok()?;
            (parsed >= expected).then(|| assert_eq!(parsed, expected))
        });
        processes.into_iter().for_each(Process::leave);
    }
}

fn password(user: &str) -> String {
    format!("{user}-secret")
}

#[test]
fn the_documented_acls_are_enough_and_each_that_is_taken_away_is_named() {
    let Some(installation) = Installation::new() else { return };
    let cluster = &installation.cluster;
    let (creations, needed): (Vec<_>, Vec<_>) = Acls::of_page().into_iter().partition(Acls::is_creation);
    for part in PARTS {
        assert!(
            creations.iter().any(|acls| acls.user == part) && needed.iter().any(|acls| acls.user == part),
            "{part}: {needed:?} {creations:?}"
        );
    }

    installation.make_topics();
    needed.iter().for_each(|acls| acls.add(cluster));
    installation.write_lines(100);
    installation.check_that_all_works(false, 100);

    for (part, right, said) in [
        ("drain", "--group nephoscope.drain", "nephoscope.drain"),
        ("drain", "--topic logs.raw.v1", "logs.raw.v1"),
        ("drain", "--topic logs.parsed.v1", "logs.parsed.v1"),
        ("drain", "--topic nephoscope.drain.state", "nephoscope.drain.state"),
        ("drain", "--transactional-id nephoscope.drain.", "nephoscope.runtime-drain."),
        ("syslog", "--topic logs.raw.v1", "logs.raw.v1"),
        ("syslog", "--topic alerts.", "logs.raw.v1.dlq"),
        ("syslog", "--topic nephoscope.cursors", "nephoscope.cursors"),
    ] {
        let line = needed.iter().find(|acls| acls.user == part && acls.arguments.join(" ").contains(right));
        let line = line.unwrap_or_else(|| panic!("the page has no line for {part} with {right}"));
        line.change(cluster, &["--remove", "--force"]);
        installation.write_lines(10);
        let writer = (part == "drain").then(|| installation.start("syslog", false));
        let (status, log) = installation.start(part, false).ended();
        drop(writer);
        let last = log.lines().last().unwrap_or_default();
        println!("{part} without {right}: {last}");
        assert_eq!(status.code(), Some(1), "{part} without {right}: {log}");
        assert!(last.contains(said) && last.contains("docs/kafka.md"), "{part} without {right}: {last}");
        line.add(cluster);
    }
}

#[test]
fn with_the_right_to_create_the_binaries_make_their_topics() {
    let Some(installation) = Installation::new() else { return };
    Acls::of_page().iter().for_each(|acls| acls.add(&installation.cluster));
    installation.write_lines(20);
    installation.check_that_all_works(true, 20);
}

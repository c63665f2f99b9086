//! `demo`: a scripted story on the real pipeline. It starts an instance of its own, speaks to it through its socket as any
//! program would, and shows the alerts that come back. Nothing is faked: if an alert does not come, the story says so.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::File,
    os::unix::net::UnixDatagram,
    path::{Path, PathBuf},
    process::{Child, Command, ExitCode, Stdio},
    time::Duration,
};

use anyhow::Context;
use schemas::{Alert, topics};
use serde::Deserialize;
use serde_json::json;
use stream_runtime::time::{Clock, SystemClock, wall_clock};

use crate::{
    cli::Demo,
    client::Client,
    output::{BAD, FAINT, GOOD, HEAD, Output, count, plain, severity_style, styled},
    record::Record,
};

/// Length of a bucket at speed 1: thirty of them are the history that bursts and silences are measured against.
const BUCKET_S: f64 = 6.0;
const STEP: Duration = Duration::from_millis(100);
/// Steps between two words that the story still goes on: half a minute.
const SIGN_OF_LIFE: u64 = 300;
/// How long the story waits for an alert that should have come.
const PATIENCE: Duration = Duration::from_secs(30);
/// What should come, in this order: the alert's name, and what its message must speak of.
const EXPECTED: [(&str, &str); 4] =
    [("NewTemplate", "certificate"), ("TemplateBurst", "retry"), ("TemplateSilence", "health check"), ("SevereLog", "out of memory")];

/// Tells the story; fails if an expected alert does not come.
///
/// # Errors
/// If the instance does not come up or goes away.
pub fn run(args: &Demo, out: &mut Output) -> anyhow::Result<ExitCode> {
    let directory = tempfile::tempdir().context("cannot make a directory for the demonstration")?;
    let bucket_s = (BUCKET_S / f64::from(args.speed)).round().max(1.0);
    let config = directory.path().join("demo.toml");
    std::fs::write(&config, configuration(bucket_s))?;
    let data_dir = directory.path().join("data");
    let mut instance = Instance::start(&config, &data_dir, &directory.path().join("log"))?;
    let mut story = Story::begin(&data_dir, &mut instance, out)?;
    let bucket = Duration::from_secs_f64(bucket_s);

    story.say(&format!(
        "A service called \"shop\" begins to log: a health check five times a second, a retry once a second.\n\
         Counting happens in buckets of {bucket_s} s here (a minute in production), and thirty of them are needed to know\n\
         what is normal: {:.0} s of ordinary life follow.",
        33.0 * bucket_s
    ))?;
    story.live(bucket * 33, &[Chatter::Health, Chatter::Retry])?;

    story.say("Now it prints something that it never printed before, as a warning. Expected: NewTemplate.")?;
    story.send(4, "certificate of upstream payments expires tomorrow")?;
    story.live(bucket, &[Chatter::Health, Chatter::Retry])?;

    story.say("Its retries become a flood, a hundred times as many. Expected: TemplateBurst, after two buckets.")?;
    story.live(bucket * 4, &[Chatter::Health, Chatter::Flood])?;

    story.say(
        "The flood ends, but the health check has fallen silent. Expected: TemplateSilence, after three\n\
         empty buckets or more, once twenty lines are missing.",
    )?;
    story.live(bucket * 6, &[Chatter::Retry])?;

    story.say("At last it prints a line of severity critical. Expected: SevereLog, at once.")?;
    story.send(2, "out of memory: the order database was killed")?;
    story.wait_for_all()?;
    story.end()
}

/// Its own ports and sockets, nothing of this machine, short buckets, little waiting for stragglers.
fn configuration(bucket_s: f64) -> String {
    format!(
        "[listen]\nadmin = \"127.0.0.1:0\"\n\n[syslog]\nsources = \"listed\"\nudp = []\ntcp = []\n\n[heartbeat]\nudp = []\n\n[time]\nlateness_ms = 500\n\n\
         [drain]\nwarmup_lines = 100\nwarmup_min = 0\n\n[drain.activity]\nbucket_s = {bucket_s}\n"
    )
}

/// The child; ended with the story.
struct Instance {
    child: Child,
    log: PathBuf,
}

impl Instance {
    fn start(config: &Path, data_dir: &Path, log: &Path) -> anyhow::Result<Self> {
        let mut command = Command::new(std::env::current_exe()?);
        command.arg("up").arg("--config").arg(config).arg("--data-dir").arg(data_dir);
        // The story has a configuration of its own, whatever the environment says.
        for (name, _) in std::env::vars_os().filter(|(name, _)| name.as_encoded_bytes().starts_with(b"NEPHOSCOPE_")) {
            command.env_remove(name);
        }
        command.env("NO_COLOR", "1").stdin(Stdio::null()).stdout(Stdio::null()).stderr(File::create(log)?);
        Ok(Self { child: command.spawn().context("cannot start an instance")?, log: log.into() })
    }

    /// Why it does not run any more, if so: the last line of its log.
    fn ended(&mut self) -> Option<String> {
        let status = self.child.try_wait().ok()??;
        let log = std::fs::read_to_string(&self.log).unwrap_or_default();
        Some(format!("the instance ended with {status}: {}", plain(log.lines().last().unwrap_or("it said nothing"))))
    }
}

impl Drop for Instance {
    fn drop(&mut self) {
        // If it ended before, there is nothing to end.
        let _ = rustix::process::kill_process(rustix::process::Pid::from_child(&self.child), rustix::process::Signal::TERM);
        let _ = self.child.wait();
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Chatter {
    Health,
    Retry,
    Flood,
}

struct Story<'a> {
    out: &'a mut Output,
    socket: UnixDatagram,
    client: Client,
    clock: SystemClock,
    begun: Duration,
    steps: u64,
    lines: u64,
    /// Position in the topic of alerts.
    next: u64,
    told: BTreeSet<String>,
    seen: BTreeMap<&'static str, Duration>,
}

impl<'a> Story<'a> {
    fn begin(data_dir: &Path, instance: &mut Instance, out: &'a mut Output) -> anyhow::Result<Self> {
        let (socket, clock) = (UnixDatagram::unbound()?, SystemClock);
        let begun = clock.monotonic();
        while socket.connect(data_dir.join("syslog.sock")).is_err() || !data_dir.join("api.sock").exists() {
            if let Some(why) = instance.ended() {
                anyhow::bail!(why);
            }
            anyhow::ensure!(clock.monotonic() - begun < PATIENCE, "the instance did not come up within {} s", PATIENCE.as_secs());
            clock.sleep(STEP);
        }
        let client = Client::of_data_dir(data_dir)?;
        let (begun, told, seen) = (clock.monotonic(), BTreeSet::new(), BTreeMap::new());
        Ok(Self { out, socket, client, clock, begun, steps: 0, lines: 0, next: 0, told, seen })
    }

    fn send(&mut self, severity: u8, text: &str) -> anyhow::Result<()> {
        const DAEMON: u8 = 3;
        let line = format!("<{}>1 {} demo shop 1 - - {text}", DAEMON * 8 + severity, wall_clock());
        self.socket.send(line.as_bytes()).context("the instance takes no more lines")?;
        self.lines += 1;
        Ok(())
    }

    /// Lets the service live for a while, and shows the alerts that come meanwhile.
    fn live(&mut self, time: Duration, chatter: &[Chatter]) -> anyhow::Result<()> {
        let end = self.clock.monotonic() + time;
        while self.clock.monotonic() < end {
            self.steps += 1;
            let n = self.steps;
            if chatter.contains(&Chatter::Health) && n.is_multiple_of(2) {
                self.send(6, &format!("health check passed in {} ms", n * 7 % 40 + 1))?;
            }
            let retries =
                if chatter.contains(&Chatter::Flood) { 10 } else { u64::from(chatter.contains(&Chatter::Retry) && n.is_multiple_of(10)) };
            for retry in 0..retries {
                self.send(4, &format!("retry {} of request {} to upstream payments", retry + 1, n * 31 % 9_973))?;
            }
            if n.is_multiple_of(5) {
                self.look()?;
            }
            if n.is_multiple_of(SIGN_OF_LIFE) && !self.out.is_json() {
                let after = (self.clock.monotonic() - self.begun).as_secs_f64();
                self.out.line(styled(FAINT, format!("   [{after:>5.1} s] {} lines so far", count(self.lines))))?;
            }
            self.clock.sleep(STEP);
        }
        Ok(())
    }

    /// Prints the alerts that were not there before.
    fn look(&mut self) -> anyhow::Result<()> {
        let path = format!("/api/topics/{}/records?offset={}&limit=1000", topics::ALERTS, self.next);
        let found: Records = self.client.get(&path, Duration::ZERO)?;
        for record in found.records {
            self.next = record.offset + 1;
            let Some(alert) = record.value_as::<Alert>() else { continue };
            if !self.told.insert(alert.fingerprint.clone()) {
                continue;
            }
            let after = self.clock.monotonic() - self.begun;
            if let Some((name, _)) = EXPECTED.iter().find(|(name, about)| *name == alert.name && alert.message.contains(about)) {
                self.seen.insert(name, after);
            }
            if self.out.is_json() {
                self.out.json_line(&json!({ "afterSeconds": after.as_secs_f64(), "alert": alert }))?;
                continue;
            }
            let (severity, name) = (styled(severity_style(alert.severity), alert.severity.to_string()), styled(HEAD, plain(&alert.name)));
            let after = styled(FAINT, format!("[{:>5.1} s]", after.as_secs_f64()));
            self.out.line(format!("   {after} ALERT {severity} {name}: {}", plain(&alert.message)))?;
        }
        Ok(())
    }

    fn wait_for_all(&mut self) -> anyhow::Result<()> {
        let end = self.clock.monotonic() + PATIENCE;
        while self.clock.monotonic() < end && EXPECTED.iter().any(|(name, _)| !self.seen.contains_key(name)) {
            self.live(STEP * 5, &[Chatter::Retry])?;
        }
        self.look()
    }

    /// Compares what came with what should have come.
    fn end(self) -> anyhow::Result<ExitCode> {
        let after = |name: &str| self.seen.get(name).map(Duration::as_secs_f64);
        if self.out.is_json() {
            let expected: Vec<_> = EXPECTED.iter().map(|(name, _)| json!({ "name": name, "afterSeconds": after(name) })).collect();
            self.out.json_line(&json!({ "lines": self.lines, "expected": expected }))?;
        } else {
            self.out.line(format!("\n{} lines were sent. Expected and seen:", count(self.lines)))?;
            for (name, about) in EXPECTED {
                let seen = match after(name) {
                    Some(after) => styled(GOOD, format!("came after {after:.1} s")),
                    None => styled(BAD, "DID NOT COME"),
                };
                self.out.line(format!("  {name:<16} about \"{about}\"  {seen}"))?;
            }
        }
        let is_whole = EXPECTED.iter().all(|(name, _)| self.seen.contains_key(name));
        Ok(if is_whole { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }

    /// Tells what happens next, to people.
    fn say(&mut self, text: &str) -> std::io::Result<()> {
        if self.out.is_json() { Ok(()) } else { self.out.line(format!("\n{text}")) }
    }
}

#[derive(Deserialize)]
struct Records {
    records: Vec<Record>,
}

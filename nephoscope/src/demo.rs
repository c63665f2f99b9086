//! `demo`: a scripted story on the real pipeline. It starts an instance of its own, speaks to it through its socket as any
//! program would, and shows the alerts that come back. Nothing is faked: if an alert does not come, the story says so.

use std::{
    collections::{BTreeMap, BTreeSet},
    os::unix::net::UnixDatagram,
    path::Path,
    process::{Child, Command, ExitCode, Stdio},
    time::Duration,
};

use anyhow::Context;
use serde_json::Value;
use stream_runtime::time::{Clock, SystemClock, wall_clock};

use crate::{cli::Demo, client::Client, output::plain};

/// Length of a bucket at speed 1: thirty of them are the history that bursts and silences are measured against.
const BUCKET_S: f64 = 6.0;
const STEP: Duration = Duration::from_millis(100);
/// How long the story waits for an alert that should have come.
const PATIENCE: Duration = Duration::from_secs(30);
/// What should come, in this order: the alert's name, and what its message must speak of.
const EXPECTED: [(&str, &str); 4] =
    [("NewTemplate", "certificate"), ("TemplateBurst", "retry"), ("TemplateSilence", "health check"), ("SevereLog", "out of memory")];

/// Tells the story; fails if an expected alert does not come.
pub fn run(args: &Demo) -> anyhow::Result<ExitCode> {
    let directory = tempfile::tempdir().context("cannot make a directory for the demonstration")?;
    let bucket_s = (BUCKET_S / f64::from(args.speed)).round().max(1.0);
    let config = directory.path().join("demo.toml");
    std::fs::write(&config, configuration(bucket_s))?;
    let data_dir = directory.path().join("data");
    let _instance = Instance(
        Command::new(std::env::current_exe()?)
            .args(["up", "--config", &config.display().to_string(), "--data-dir", &data_dir.display().to_string()])
            .env_remove("NEPHOSCOPE_LISTEN__ADMIN")
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .context("cannot start an instance")?,
    );
    let mut story = Story::begin(&data_dir)?;
    let bucket = Duration::from_secs_f64(bucket_s);

    say(&format!(
        "A service called \"shop\" begins to log: a health check five times a second, a retry once a second.\n\
         Counting happens in buckets of {bucket_s} s here (a minute in production), and thirty of them are needed to know\n\
         what is normal: {:.0} s of ordinary life follow.",
        33.0 * bucket_s
    ));
    story.live(bucket * 33, &[Chatter::Health, Chatter::Retry])?;

    say("Now it prints something that it never printed before, as a warning. Expected: NewTemplate.");
    story.send(4, "certificate of upstream payments expires tomorrow")?;
    story.live(bucket, &[Chatter::Health, Chatter::Retry])?;

    say("Its retries become a flood, a hundred times as many. Expected: TemplateBurst, after two buckets.");
    story.live(bucket * 4, &[Chatter::Health, Chatter::Flood])?;

    say("The flood ends, but the health check has fallen silent. Expected: TemplateSilence, after three empty buckets.");
    story.live(bucket * 6, &[Chatter::Retry])?;

    say("At last it prints a line of severity critical. Expected: SevereLog, at once.");
    story.send(2, "out of memory: the order database was killed")?;
    story.wait_for_all()?;
    Ok(story.end())
}

/// Its own ports and sockets, nothing of this machine, short buckets, little waiting for stragglers.
fn configuration(bucket_s: f64) -> String {
    format!(
        "[listen]\nadmin = \"127.0.0.1:0\"\n\n[syslog]\nsources = \"listed\"\nudp = []\ntcp = []\n\n[time]\nlateness_ms = 500\n\n\
         [drain]\nwarmup_lines = 100\nwarmup_min = 0\n\n[drain.activity]\nbucket_s = {bucket_s}\n"
    )
}

/// The child; ended with the story.
struct Instance(Child);

impl Drop for Instance {
    fn drop(&mut self) {
        let _ = rustix::process::kill_process(rustix::process::Pid::from_child(&self.0), rustix::process::Signal::TERM);
        let _ = self.0.wait();
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Chatter {
    Health,
    Retry,
    Flood,
}

struct Story {
    socket: UnixDatagram,
    client: Client,
    clock: SystemClock,
    begun: Duration,
    steps: u64,
    lines: u64,
    told: BTreeSet<String>,
    seen: BTreeMap<&'static str, Duration>,
}

impl Story {
    fn begin(data_dir: &Path) -> anyhow::Result<Self> {
        let (socket, clock) = (UnixDatagram::unbound()?, SystemClock);
        let begun = clock.monotonic();
        while socket.connect(data_dir.join("syslog.sock")).is_err() || !data_dir.join("api.sock").exists() {
            anyhow::ensure!(clock.monotonic() - begun < PATIENCE, "the instance did not come up within {} s", PATIENCE.as_secs());
            clock.sleep(STEP);
        }
        let client = Client::of_data_dir(data_dir)?;
        Ok(Self { socket, client, clock, begun: clock.monotonic(), steps: 0, lines: 0, told: BTreeSet::new(), seen: BTreeMap::new() })
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
            if chatter.contains(&Chatter::Health) && n % 2 == 0 {
                self.send(6, &format!("health check passed in {} ms", n * 7 % 40 + 1))?;
            }
            let retries = if chatter.contains(&Chatter::Flood) { 10 } else { u64::from(chatter.contains(&Chatter::Retry) && n % 10 == 0) };
            for retry in 0..retries {
                self.send(4, &format!("retry {} of request {} to upstream payments", retry + 1, n * 31 % 9_973))?;
            }
            if n % 5 == 0 {
                self.look()?;
            }
            self.clock.sleep(STEP);
        }
        Ok(())
    }

    /// Prints the alerts that were not there before.
    fn look(&mut self) -> anyhow::Result<()> {
        let overview: Value = self.client.get("/api/overview", Duration::ZERO)?;
        for alert in ["openAlerts", "resolvedAlerts"].into_iter().filter_map(|list| overview[list].as_array()).flatten() {
            let (Some(name), Some(message)) = (alert["name"].as_str(), alert["message"].as_str()) else { continue };
            if self.told.insert(format!("{name} {}", alert["fingerprint"])) {
                let after = self.clock.monotonic() - self.begun;
                println!(
                    "   [{:>5.1} s] ALERT {} {name}: {}",
                    after.as_secs_f64(),
                    alert["severity"].as_str().unwrap_or(""),
                    plain(message)
                );
                let expected = EXPECTED.iter().find(|(expected, about)| *expected == name && message.contains(about));
                expected.map(|(name, _)| self.seen.insert(name, after));
            }
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

    fn end(&self) -> ExitCode {
        println!("\n{} lines were sent. Expected and seen:", self.lines);
        for (name, _) in EXPECTED {
            match self.seen.get(name) {
                Some(after) => println!("  {name:<16} came after {:.1} s", after.as_secs_f64()),
                None => println!("  {name:<16} DID NOT COME"),
            }
        }
        let missing = EXPECTED.iter().any(|(name, _)| !self.seen.contains_key(name));
        if missing { ExitCode::FAILURE } else { ExitCode::SUCCESS }
    }
}

fn say(text: &str) {
    println!("\n{text}");
}

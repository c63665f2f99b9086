//! The command line as people and scripts meet it: help, exit codes, errors that say what to do, and the same answers from
//! a running instance and from its store.

use std::{
    fs::File,
    io::{BufRead, BufReader, Read, Write},
    net::TcpListener,
    os::unix::net::{UnixDatagram, UnixStream},
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use stream_runtime::time::{Clock, SystemClock};

/// How long anything may take before a test gives up.
const PATIENCE: Duration = Duration::from_secs(60);
const STEP: Duration = Duration::from_millis(20);

fn nephoscope(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_nephoscope"));
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.as_encoded_bytes().starts_with(b"NEPHOSCOPE_")) {
        command.env_remove(name);
    }
    command.args(args).env("NO_COLOR", "1").stdin(Stdio::null());
    command
}

struct Answer {
    code: i32,
    out: String,
    err: String,
}

fn run(args: &[&str]) -> Answer {
    let Output { status, stdout, stderr } = nephoscope(args).output().expect("runs");
    let text = |bytes| String::from_utf8(bytes).expect("is text");
    Answer { code: status.code().expect("ends by itself"), out: text(stdout), err: text(stderr) }
}

/// What is true in the end must become true in time.
fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let end = SystemClock.monotonic() + PATIENCE;
    while SystemClock.monotonic() < end {
        if let Some(found) = look() {
            return found;
        }
        SystemClock.sleep(STEP);
    }
    panic!("{what} within {} s", PATIENCE.as_secs());
}

/// An instance of its own, that listens on nothing but sockets in its directory.
struct Instance {
    directory: tempfile::TempDir,
    child: Option<Child>,
}

impl Instance {
    fn start() -> Self {
        Self::start_with("")
    }

    /// One with more configuration.
    fn start_with(more: &str) -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let config = "[listen]\nadmin = \"127.0.0.1:0\"\n[syslog]\nsources = \"listed\"\nudp = []\ntcp = []\n";
        std::fs::write(directory.path().join("n.toml"), format!("{config}{more}")).expect("writes");
        let log = File::create(directory.path().join("log")).expect("a log");
        let mut this = Self { directory, child: None };
        let (config, data) = (this.path("n.toml"), this.path("data"));
        let mut command = nephoscope(&["up", "--config", &config, "--data-dir", &data]);
        this.child = Some(command.stdout(Stdio::null()).stderr(log).spawn().expect("starts"));
        until("the instance answers", || Path::new(&this.path("data/api.sock")).exists().then_some(()));
        until("the instance is ready", || (this.run(&["status"]).code == 0).then_some(()));
        this
    }

    fn path(&self, name: &str) -> String {
        self.directory.path().join(name).display().to_string()
    }

    /// Runs a command on it, or on what it left.
    fn run(&self, args: &[&str]) -> Answer {
        let (config, data) = (self.path("n.toml"), self.path("data"));
        run(&[&["--config", &config, "--data-dir", &data], args].concat())
    }

    fn json(&self, args: &[&str]) -> Value {
        let answer = self.run(&[args, &["--json"]].concat());
        assert_eq!(answer.code, 0, "{args:?}: {}", answer.err);
        serde_json::from_str(&answer.out).unwrap_or_else(|error| panic!("{args:?} gives one document: {error}: {}", answer.out))
    }

    fn log(&self, severity: u8, host: &str, text: &str) {
        let socket = UnixDatagram::unbound().expect("a socket");
        let line = format!("<{}>1 - {host} shop 7 - - {text}", 3 * 8 + severity);
        socket.send_to(line.as_bytes(), self.path("data/syslog.sock")).expect("is taken");
    }

    /// Puts bytes on a topic that its readers cannot decode, through the API as any program would.
    fn publish_garbage(&self, records: usize) {
        let records = vec![r#"{"key": "web-1", "valueBase64": "/wAB"}"#; records].join(",");
        let body = format!(r#"{{"source": "test", "sequence": 1, "records": [{records}]}}"#);
        let mut stream = UnixStream::connect(self.path("data/api.sock")).expect("connects");
        let head =
            "POST /api/topics/logs.raw.v1/records HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Type: application/json\r\n";
        write!(stream, "{head}Content-Length: {}\r\n\r\n{body}", body.len()).expect("sends");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("answers");
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    }

    fn stop(&mut self) {
        if let Some(mut child) = self.child.take() {
            kill_process(Pid::from_child(&child), Signal::TERM).expect("is there");
            assert!(child.wait().expect("ends").success());
        }
    }
}

impl Drop for Instance {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

#[test]
fn every_command_explains_itself() {
    let commands = [
        "",
        "up",
        "demo",
        "tail",
        "topics",
        "templates list",
        "alerts list",
        "alerts show",
        "incidents list",
        "incidents show",
        "notify list",
        "notify test",
        "notify explain",
        "silence add",
        "silence list",
        "silence expire",
        "verdicts list",
        "verdicts set",
        "verdicts undo",
        "verdicts import",
        "verdicts export",
        "feedback false_alarm",
        "feedback missed",
        "feedback undo",
        "feedback list",
        "status",
        "dlq list",
        "dlq show",
        "dlq replay",
        "state show",
        "state reset",
        "state skip",
        "store check",
        "store repair",
        "doctor",
        "health",
    ];
    let mut all = String::new();
    for command in commands {
        let args: Vec<&str> = command.split_whitespace().chain(["--help"]).collect();
        let Answer { code, out, err } = run(&args);
        assert_eq!((code, err.as_str()), (0, ""), "{command}");
        assert!(out.contains("Examples:\n"), "{command} has examples");
        // The same for all of them, so once is enough.
        let (own, rest) = out.split_once("\nGlobal options:\n").expect("has global options");
        let rest = if command.is_empty() { out.as_str() } else { rest.split_once("\n\n").map_or("", |(_, rest)| rest) };
        let own = if command.is_empty() { "" } else { own };
        all += &format!("=== nephoscope {command}\n{own}\n{rest}\n");
    }
    insta::assert_snapshot!(all);
}

#[test]
fn what_is_not_understood_ends_with_two() {
    for args in [
        &[][..],
        &["nonsense"],
        &["tail"],
        &["tail", "logs", "--last", "many"],
        &["alerts"],
        &["alerts", "list", "--severity", "terrible"],
        &["alerts", "list", "--since", "soon"],
        &["dlq", "show", "logs.raw.v1"],
        &["topics", "--address", "127.0.0.1:7700"],
        &["topics", "--address", "https://127.0.0.1:7700"],
        &["topics", "--token-file", "t"],
        &["demo", "--speed", "1000"],
        &["topics", "--config", "/nowhere/n.toml"],
        &["up", "--config", "/nowhere/n.toml"],
    ] {
        let Answer { code, out, err } = run(args);
        assert_eq!((code, out.as_str()), (2, ""), "{args:?}: {err}");
        assert!(!err.is_empty(), "{args:?} says why");
    }
}

#[test]
fn a_wrong_configuration_is_named_by_whoever_reads_it() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("n.toml").display().to_string();
    std::fs::write(&path, "[bus]\ndata_dri = \"/tmp\"\n").expect("writes");
    for command in ["up", "topics", "status"] {
        let Answer { code, err, .. } = run(&[command, "--config", &path]);
        assert_eq!(code, 2, "{command}: {err}");
        assert!(err.contains("bus.data_dri: unknown key; did you mean \"data_dir\"?"), "{command}: {err}");
    }
    std::fs::write(&path, "[listen]\nadmin = \"somewhere\"\n").expect("writes");
    let data = directory.path().join("data").display().to_string();
    let Answer { code, err, .. } = run(&["up", "--config", &path, "--data-dir", &data]);
    assert_eq!(code, 2, "{err}");
    assert!(err.contains("listen.admin: found \"somewhere\""), "{err}");
    std::fs::write(&path, "[redact]\npatterns = [\"(\"]\n").expect("writes");
    let Answer { code, err, .. } = run(&["up", "--config", &path, "--data-dir", &data]);
    assert_eq!(code, 2, "{err}");
    assert!(err.contains("redact.patterns[0]: found \"(\""), "{err}");
    std::fs::write(&path, "[bus]\ndata_dri = \"/tmp\"\n").expect("writes");
    let Answer { code, out, .. } = run(&["doctor", "--config", &path]);
    assert_eq!(code, 1);
    assert!(out.contains("FAIL  configuration") && out.contains("did you mean"), "{out}");
}

#[test]
fn where_nothing_runs_the_error_says_what_was_tried_and_what_to_do() {
    let directory = tempfile::tempdir().expect("a directory");
    let dir = directory.path().display().to_string();
    for args in [&["topics"][..], &["tail", "logs"], &["alerts", "list"], &["status"], &["state", "show"], &["dlq", "list"]] {
        let Answer { code, out, err } = run(&[args, &["--data-dir", &dir]].concat());
        assert_eq!((code, out.as_str()), (1, ""), "{args:?}");
        assert!(err.contains(&dir) && err.contains("start one with `nephoscope up`"), "{args:?}: {err}");
    }
    // Somebody who holds the lock but does not answer is no reason to start another.
    std::fs::write(directory.path().join("LOCK"), std::process::id().to_string()).expect("writes");
    let lock = File::open(directory.path().join("LOCK")).expect("opens");
    lock.try_lock().expect("is free");
    let Answer { code, err, .. } = run(&["topics", "--data-dir", &dir]);
    assert_eq!(code, 1);
    assert!(err.contains(&format!("process {}", std::process::id())) && err.contains("does not answer"), "{err}");
    // An address says where, so no store is read instead.
    let free = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a port");
    let Answer { code, err, .. } = run(&["topics", "--address", &format!("http://{free}")]);
    assert_eq!(code, 1);
    assert!(err.contains(&format!("no instance answers on http://{free}")), "{err}");
}

/// Positions grow while a command looks; these parts of the answers do not depend on when it looks.
fn answers(instance: &Instance) -> Vec<Value> {
    let tail = |topic: &str| {
        let Answer { code, out, err } = instance.run(&["tail", topic, "--last", "100", "--no-follow", "--json"]);
        assert_eq!(code, 0, "{err}");
        let records: Vec<Value> = out.lines().map(|line| serde_json::from_str(line).expect("an object per line")).collect();
        Value::from(records)
    };
    vec![
        tail("logs"),
        tail("alerts"),
        tail("logs.parsed.v1"),
        instance.json(&["templates", "list"]),
        instance.json(&["templates", "list", "--host", "web-1"]),
        instance.json(&["templates", "list", "--events"]),
        instance.json(&["alerts", "list"]),
        instance.json(&["alerts", "show", instance.json(&["alerts", "list"])[0]["fingerprint"].as_str().expect("text")]),
        instance.json(&["dlq", "list"]),
        instance.json(&["topics"]),
    ]
}

#[test]
fn a_running_instance_and_its_store_give_the_same_answers() {
    let mut instance = Instance::start();
    for n in 0..20 {
        instance.log(6, "web-1", &format!("health check passed in {n} ms"));
    }
    instance.log(2, "web-2", "out of \x1b[2Jmemory");
    instance.publish_garbage(1);
    until("the alert comes", || instance.json(&["alerts", "list"]).get(0).cloned());
    until("the dead letter comes", || instance.json(&["dlq", "list"]).get(0).cloned());

    let lines = instance.run(&["tail", "logs", "--host", "WEB-1", "--last", "3", "--no-follow"]).out;
    let messages: Vec<_> = lines.lines().map(|line| line.split_once(" web-1 shop[7] info ").expect("host, app, severity").1).collect();
    assert_eq!(messages, ["health check passed in 17 ms", "health check passed in 18 ms", "health check passed in 19 ms"]);
    let found = instance.run(&["tail", "logs", "--grep", "MEMORY", "--no-follow"]).out;
    assert!(found.ends_with(" web-2 shop[7] crit out of \\u{1b}[2Jmemory\n"), "hostile text is shown, not obeyed: {found:?}");

    let templates = instance.json(&["templates", "list", "--host", "web-1"]);
    assert_eq!((templates[0]["template"].as_str(), templates[0]["count"].as_i64()), (Some("health check passed in <*>"), Some(20)));
    let alert = &instance.json(&["alerts", "list", "--status", "firing", "--severity", "high"])[0];
    let fingerprint = alert["fingerprint"].as_str().expect("text");
    let shown = instance.run(&["alerts", "show", &fingerprint[..6]]);
    assert!(shown.out.starts_with("SevereLog  critical  firing\n"), "{}", shown.out);
    assert!(shown.out.contains(" web-2 shop[7] crit out of \\u{1b}[2Jmemory"), "the line behind the alert is shown: {}", shown.out);
    assert!(instance.run(&["alerts", "show", "zzzz"]).err.contains("no alert begins with \"zzzz\""));

    let status = instance.json(&["status"]);
    assert_eq!(status["stages"][0]["name"], "drain");
    assert!(status["sources"].as_array().is_some_and(|sources| !sources.is_empty()), "{status}");
    assert!(instance.run(&["status"]).out.contains("drain rejected 1 undecodable; `nephoscope dlq list` shows them"));

    let online = answers(&instance);
    instance.stop();
    let offline = answers(&instance);
    for (online, offline) in online.iter().zip(&offline) {
        assert_eq!(online, offline);
    }
    let Answer { code, err, .. } = instance.run(&["topics"]);
    assert_eq!(code, 0);
    assert!(err.contains("no instance runs on") && err.contains("this is its store as it was left"), "{err}");
    assert_eq!(instance.run(&["status"]).code, 1, "that nothing runs is no good status");
    assert!(instance.run(&["tail", "logs"]).err.contains("nothing more can come while no instance runs"));
    assert!(instance.run(&["dlq", "replay", "logs.raw.v1"]).err.contains("needs a running instance"));
    let check = instance.json(&["store", "check"]);
    assert_eq!(check["findings"], Value::Array(vec![]));
}

#[test]
fn a_damaged_store_is_repaired_and_the_loss_is_told() {
    let mut instance = Instance::start();
    for n in 0..20 {
        instance.log(6, "web-1", &format!("health check passed in {n} ms"));
    }
    let lines = || instance.run(&["tail", "logs", "--last", "100", "--no-follow"]).out.lines().count();
    until("the lines come", || (lines() == 20).then_some(()));
    instance.stop();
    let mut segments: Vec<_> = std::fs::read_dir(instance.path("data/log/logs.raw.v1/0")).expect("a log").flatten().collect();
    segments.sort_by_key(std::fs::DirEntry::path);
    let path = segments.last().expect("a segment").path();
    let mut bytes = std::fs::read(&path).expect("reads");
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&path, bytes).expect("writes");

    let shown = instance.run(&["store", "repair"]);
    assert_eq!(shown.code, 1, "{}", shown.out);
    assert!(shown.out.contains("is damaged at byte") && shown.err.contains("nothing has been changed"), "{}{}", shown.out, shown.err);
    let repaired = instance.json(&["store", "repair", "--yes"]);
    let lost = &repaired["findings"][0]["lost"];
    assert!(lost["to"].as_u64() > lost["from"].as_u64(), "{repaired}");
    assert_eq!(instance.run(&["store", "check"]).code, 0);
    let alerts = instance.json(&["alerts", "list"]);
    assert_eq!((&alerts[0]["name"], &alerts[0]["labels"]["topic"]), (&"NephoscopeDataLoss".into(), &"logs.raw.v1".into()), "{alerts}");
}

#[test]
fn a_dead_letter_is_listed_shown_and_replayed() {
    let instance = Instance::start();
    instance.publish_garbage(1);
    let letter = until("the dead letter comes", || instance.json(&["dlq", "list"]).get(0).cloned());
    assert_eq!((letter["topic"].as_str(), letter["offset"].as_u64()), (Some("logs.raw.v1.dlq"), Some(0)));
    assert_eq!(instance.json(&["dlq", "list", "--reason", "too_old"]), Value::Array(vec![]));
    let shown = instance.run(&["dlq", "show", "logs.raw.v1/0/0"]).out;
    assert!(shown.contains("dlq.reason") && shown.contains("undecodable") && shown.contains("/wAB"), "{shown}");
    assert!(instance.run(&["dlq", "show", "logs.raw.v1/0/99"]).err.contains("has no record at 99"));

    let replay = instance.json(&["dlq", "replay", "logs.raw.v1", "--reason", "undecodable"]);
    assert_eq!((replay[0]["replayed"].as_u64(), &replay[0]["refused"]), (Some(1), &Value::Array(vec![])));
    // It is as undecodable as before, and comes back with its count.
    let again = until("it comes back", || instance.json(&["dlq", "list"]).get(1).cloned());
    let headers = again["headers"].as_array().expect("a list");
    assert!(headers.iter().any(|header| header["name"] == "orig.dlq.replayed" && header["value"] == "1"), "{again}");
}

#[test]
fn more_dead_letters_than_one_request_carries_are_replayed_and_each_once() {
    const LETTERS: usize = 2_300;
    let instance = Instance::start_with("[dlq]\nburst_max = 100000\n");
    instance.publish_garbage(LETTERS);
    let letters = || instance.json(&["dlq", "list", "--limit", "10000"]).as_array().map_or(0, Vec::len);
    until("the dead letters come", || (letters() == LETTERS).then_some(()));
    let replay = instance.run(&["dlq", "replay", "logs.raw.v1"]);
    assert_eq!((replay.code, replay.out.as_str()), (0, "2,300 dead letters of logs.raw.v1 replayed\n"), "{}", replay.err);
    until("they are rejected again", || (letters() == 2 * LETTERS).then_some(()));
    let some = instance.json(&["dlq", "replay", "logs.raw.v1", "--limit", "1200"]);
    assert_eq!(some[0]["replayed"], 1_200);
    until("those are rejected again", || (letters() == 2 * LETTERS + 1_200).then_some(()));
}

#[test]
fn secrets_are_masked_wherever_a_line_is_shown_unless_told_otherwise() {
    let instance = Instance::start();
    instance.log(2, "web-1", "login token=hunter2 of ACME-4711 failed");
    let alert = until("the alert comes", || instance.json(&["alerts", "list"]).get(0).cloned());
    let fingerprint = alert["fingerprint"].as_str().expect("text");
    let shown = || -> Vec<String> {
        let commands = [
            &["tail", "logs", "--no-follow"][..],
            &["tail", "logs.parsed.v1", "--no-follow"],
            &["tail", "alerts", "--no-follow"],
            &["templates", "list", "--since", "1h"],
            &["alerts", "list"],
            &["alerts", "show", fingerprint],
        ];
        let forms = commands.iter().flat_map(|args| [args.to_vec(), [*args, &["--json"][..]].concat()]);
        let answers = forms.map(|args| instance.run(&args));
        answers.map(|answer| if answer.code == 0 && !answer.out.is_empty() { answer.out } else { panic!("{}", answer.err) }).collect()
    };
    for out in shown() {
        assert!(!out.contains("hunter2"), "{out}");
    }
    assert!(shown()[0].ends_with(" login token=[redacted] of ACME-4711 failed\n"), "{}", shown()[0]);
    let config = std::fs::read_to_string(instance.path("n.toml")).expect("reads");
    let own = format!("{config}[redact]\nenabled = false\npatterns = ['ACME-\\d+']\n");
    std::fs::write(instance.path("n.toml"), own).expect("writes");
    assert!(shown()[0].ends_with(" login token=hunter2 of [redacted] failed\n"), "{}", shown()[0]);
}

#[test]
fn a_tail_follows_through_a_restart_of_the_instance() {
    let mut instance = Instance::start();
    instance.log(6, "web-1", "first");
    let lines = || instance.run(&["tail", "logs", "--no-follow"]).out.lines().count();
    until("the line is there", || (lines() == 1).then_some(()));
    let data = instance.path("data");
    let mut tail =
        nephoscope(&["tail", "logs", "--data-dir", &data]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("starts");
    let mut out = BufReader::new(tail.stdout.take().expect("is piped")).lines();
    let mut err = BufReader::new(tail.stderr.take().expect("is piped")).lines();
    let mut next = || out.next().expect("goes on").expect("is text");
    assert!(next().ends_with(" info first"));
    instance.log(6, "web-1", "second");
    assert!(next().ends_with(" info second"));

    instance.stop();
    assert!(err.next().expect("says so").expect("is text").contains("went away"));
    let config = instance.path("n.toml");
    let mut command = nephoscope(&["up", "--config", &config, "--data-dir", &data]);
    instance.child = Some(command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("starts"));
    assert!(err.next().expect("says so").expect("is text").contains("is back"));
    until("the socket is there", || Path::new(&instance.path("data/syslog.sock")).exists().then_some(()));
    instance.log(6, "web-1", "third");
    assert!(next().ends_with(" info third"));
    tail.kill().expect("is there");
    tail.wait().expect("ends");
}

#[test]
fn a_reader_that_has_enough_is_no_failure() {
    let instance = Instance::start();
    for n in 0..200 {
        instance.log(6, "web-1", &format!("{n} {}", "x".repeat(2_000)));
    }
    until("the lines are there", || {
        (instance.run(&["tail", "logs", "--last", "200", "--no-follow"]).out.lines().count() == 200).then_some(())
    });
    let data = instance.path("data");
    let mut tail = nephoscope(&["tail", "logs", "--last", "200", "--no-follow", "--data-dir", &data])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("starts");
    let mut first = String::new();
    BufReader::new(tail.stdout.take().expect("is piped")).read_line(&mut first).expect("reads");
    // The pipe is closed now, long before all lines went through it.
    let ended = tail.wait_with_output().expect("ends");
    assert_eq!((ended.status.code(), String::from_utf8_lossy(&ended.stderr).as_ref()), (Some(0), ""));
}

#[test]
fn a_state_is_forgotten_only_offline_and_only_with_yes() {
    let mut instance = Instance::start();
    instance.log(6, "web-1", "hello");
    until("drain has a state", || instance.json(&["state", "show"]).get(0).cloned());
    let refused = instance.run(&["state", "reset", "drain", "--yes"]);
    assert_eq!(refused.code, 1);
    assert!(refused.err.contains("an instance runs") && refused.err.contains("stop it"), "{}", refused.err);
    instance.stop();

    let refused = instance.run(&["state", "reset", "drain"]);
    assert_eq!(refused.code, 1);
    assert!(refused.err.contains("with --yes it will"), "{}", refused.err);
    assert!(instance.run(&["state", "reset", "nonesuch", "--yes"]).err.contains("nonesuch has no state; there are drain"));
    assert_eq!(instance.json(&["state", "show", "drain"])[0]["processor"], "drain");
    assert_eq!(instance.run(&["state", "reset", "drain", "--yes"]).code, 0);
    assert_eq!(instance.json(&["state", "show"]), Value::Array(vec![]));
}

#[test]
fn over_tcp_the_token_opens() {
    let instance = Instance::start();
    let run_file = std::fs::read_to_string(instance.path("data/run.json")).expect("is there");
    let address = serde_json::from_str::<Value>(&run_file).expect("is JSON")["address"].as_str().expect("text").to_string();
    let address = format!("http://{address}");
    let refused = run(&["topics", "--address", &address]);
    assert_eq!(refused.code, 1);
    assert!(refused.err.contains("give --token-file"), "{}", refused.err);
    let token: PathBuf = instance.path("data/token").into();
    let answer = run(&["topics", "--address", &address, "--token-file", &token.display().to_string()]);
    assert_eq!(answer.code, 0, "{}", answer.err);
    assert!(answer.out.contains("logs.raw.v1"), "{}", answer.out);
}

#[test]
fn health_is_an_exit_code_and_needs_no_token_on_loopback() {
    let mut instance = Instance::start();
    let run_file = std::fs::read_to_string(instance.path("data/run.json")).expect("is there");
    let address = serde_json::from_str::<Value>(&run_file).expect("is JSON")["address"].as_str().expect("text").to_string();
    let address = format!("http://{address}");
    for (args, word) in [(&["health"][..], "alive"), (&["health", "--ready"], "ready")] {
        let answer = run(&[args, &["--address", &address]].concat());
        assert_eq!((answer.code, answer.out.trim()), (0, word), "{}", answer.err);
    }
    assert_eq!(instance.json(&["health"])["alive"], true);
    instance.stop();
    let answer = run(&["health", "--address", &address]);
    assert_eq!(answer.code, 1);
    assert!(answer.err.contains("no instance answers on"), "{}", answer.err);
}

#[test]
fn the_doctor_knows_the_instance_and_names_who_holds_a_port() {
    let instance = Instance::start();
    let findings = instance.run(&["doctor", "--json"]);
    let findings: Vec<Value> = serde_json::from_str(&findings.out).expect("is JSON");
    let find = |what: &str| findings.iter().find(|finding| finding["what"] == what).unwrap_or_else(|| panic!("{what} in {findings:?}"));
    let pid = instance.child.as_ref().expect("runs").id();
    assert_eq!(find("instance")["verdict"], "OK");
    assert!(find("instance")["found"].as_str().is_some_and(|found| found.contains(&format!("process {pid}"))));
    for what in ["configuration", "data directory", "free space", "disk", "journal", "kernel ring", "UDP buffer", "open files", "clock"] {
        let finding = find(what);
        assert!(finding["verdict"] == "OK" || finding["todo"].is_string(), "what is not fine says what to do: {finding}");
    }

    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = taken.local_addr().expect("is bound");
    let directory = tempfile::tempdir().expect("a directory");
    let config = directory.path().join("n.toml").display().to_string();
    std::fs::write(&config, format!("[listen]\nadmin = \"{address}\"\n[syslog]\nudp = []\ntcp = []\n")).expect("writes");
    let data = directory.path().join("data").display().to_string();
    let Answer { code, out, .. } = run(&["doctor", "--config", &config, "--data-dir", &data]);
    assert_eq!(code, 1, "{out}");
    assert!(out.contains(&format!("{address} is taken by process {}", std::process::id())), "{out}");
    assert!(out.contains("choose another in [listen] admin"), "{out}");
    assert!(!directory.path().join("data").exists(), "looking changes nothing");
}

#[test]
#[ignore = "takes a minute: cargo test -p nephoscope --test cli -- --ignored"]
fn the_demonstration_sees_every_alert_that_it_expects() {
    let answer = run(&["demo", "--speed", "6", "--json"]);
    assert_eq!(answer.code, 0, "{}{}", answer.out, answer.err);
    let last: Value = serde_json::from_str(answer.out.lines().last().expect("a summary")).expect("is JSON");
    let expected = last["expected"].as_array().expect("a list");
    assert_eq!(expected.len(), 4);
    assert!(expected.iter().all(|alert| alert["afterSeconds"].is_f64()), "{last}");
}

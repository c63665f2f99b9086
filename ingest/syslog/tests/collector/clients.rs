//! The real programs of other people, every line compared.

use std::{
    fs,
    path::Path,
    process::{Child, Command, Stdio},
};

use schemas::{LogRecord, ParseStatus, SourceKind};

use super::{Rig, eventually, has, listening, messages, skipped};

const LINES: usize = 200;

/// What is sent: plain text, and what has broken receivers before.
fn lines() -> Vec<String> {
    let odd = ["[bracket first] text", "7 starts with a digit", "percent %s and \"quotes\"", "grüße ✓", "trailing space  x"];
    (0..LINES).map(|n| format!("line {n} {}", odd[n % odd.len()])).collect()
}

fn sorted(mut lines: Vec<String>) -> Vec<String> {
    lines.sort();
    lines
}

fn logger(rig: &Rig, options: &[&str], text: &str) {
    let status = Command::new("logger").args(options).args(["-t", "client", "-p", "daemon.notice", "--", text]).status();
    assert!(status.expect("logger runs").success(), "logger {options:?} failed; {:?}", rig.collector.status());
}

#[test]
fn logger_is_understood_over_every_transport_and_format() {
    if !has("logger", "--version") {
        return;
    }
    let rig = Rig::start(listening());
    let (udp, tcp) = (rig.address(SourceKind::Udp).port().to_string(), rig.address(SourceKind::Tcp).port().to_string());
    let socket = rig.socket("syslog.sock").display().to_string();
    let ways: [&[&str]; 6] = [
        &["-n", "127.0.0.1", "-P", &udp, "-d", "--rfc3164"],
        &["-n", "127.0.0.1", "-P", &udp, "-d", "--rfc5424"],
        &["-n", "127.0.0.1", "-P", &tcp, "-T", "--rfc3164"],
        &["-n", "127.0.0.1", "-P", &tcp, "-T", "--rfc5424"],
        &["-n", "127.0.0.1", "-P", &tcp, "-T", "--octet-count", "--rfc5424"],
        &["-u", &socket],
    ];
    let sent: Vec<String> = lines().into_iter().take(ways.len() * 5).collect();
    for (n, line) in sent.iter().enumerate() {
        logger(&rig, ways[n % ways.len()], line);
    }
    rig.bus.wait_for(sent.len());
    let records = rig.stop();
    assert_eq!(sorted(messages(&records)), sorted(sent));
    assert!(records.iter().all(|r| (r.facility, r.severity, r.app_name.as_deref()) == (Some(3), Some(5), Some("client"))));
    assert!(records.iter().all(|r| r.parse_status != ParseStatus::Plain), "each has a grammar");
}

#[test]
fn pythons_handler_is_understood() {
    // A minimal Python comes without its logging.
    let has_logging =
        Command::new("python3").args(["-c", "import logging.handlers"]).stderr(Stdio::null()).status().is_ok_and(|s| s.success());
    if !has_logging {
        skipped("python3 with its logging module not installed");
        return;
    }
    let rig = Rig::start(listening());
    let script = "import logging, logging.handlers, sys, socket
for port, kind in ((int(sys.argv[1]), socket.SOCK_DGRAM), (int(sys.argv[2]), socket.SOCK_STREAM)):
    handler = logging.handlers.SysLogHandler(('127.0.0.1', port), socktype=kind)
    logger = logging.Logger('app'); logger.addHandler(handler)
    for n in range(50): logger.warning('%s %d', 'datagram' if kind == socket.SOCK_DGRAM else 'stream', n)
    handler.close()
";
    let ports = [rig.address(SourceKind::Udp).port().to_string(), rig.address(SourceKind::Tcp).port().to_string()];
    assert!(Command::new("python3").args(["-c", script]).args(ports).status().expect("python3 runs").success());
    let records = rig.bus.wait_for(100);
    let expected = (0..50).flat_map(|n| [format!("datagram {n}"), format!("stream {n}")]).collect();
    assert_eq!(sorted(messages(&records)), sorted(expected));
    assert!(records.iter().all(|record| record.severity == Some(4)));
    rig.stop();
}

/// A real rsyslogd with a configuration of its own. Ended by its own handle.
struct Rsyslogd(Child);

impl Rsyslogd {
    /// Reads `input` and forwards it as `action` says.
    fn forward(folder: &Path, input: &Path, action: &str) -> Self {
        let (config, work) = (folder.join("rsyslog.conf"), folder.join("work"));
        fs::create_dir_all(&work).expect("a folder");
        let text = format!(
            r#"global(workDirectory="{work}" maxMessageSize="64k")
module(load="imfile" mode="polling" pollingInterval="1")
template(name="line" type="string" string="<%PRI%>1 %TIMESTAMP:::date-rfc3339% %HOSTNAME% %APP-NAME% - - - %msg%")
input(type="imfile" file="{input}" tag="relay:" ruleset="out")
ruleset(name="out") {{ {action} }}
"#,
            work = work.display(),
            input = input.display(),
        );
        fs::write(&config, text).expect("writes");
        let child = Command::new("rsyslogd")
            .args(["-n", "-f", &config.display().to_string(), "-i", &folder.join("pid").display().to_string()])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        Self(child.expect("rsyslogd starts"))
    }
}

impl Drop for Rsyslogd {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn relayed(action: impl FnOnce(&Rig) -> String) -> Vec<LogRecord> {
    let rig = Rig::start(listening());
    let folder = tempfile::tempdir().expect("a folder");
    let input = folder.path().join("input.log");
    fs::write(&input, lines().iter().map(|line| format!("{line}\n")).collect::<String>()).expect("writes");
    let relay = Rsyslogd::forward(folder.path(), &input, &action(&rig));
    eventually("rsyslogd has sent every line", || rig.bus.len() >= LINES);
    drop(relay);
    rig.stop()
}

#[test]
fn rsyslogd_is_understood_over_udp_and_tcp_in_both_framings() {
    if !has("rsyslogd", "-v") {
        return;
    }
    let target = |rig: &Rig, kind, more: &str| {
        let protocol = if kind == SourceKind::Udp { "udp" } else { "tcp" };
        let port = rig.address(kind).port();
        format!(r#"action(type="omfwd" target="127.0.0.1" port="{port}" protocol="{protocol}" template="line" {more})"#)
    };
    for (kind, more) in
        [(SourceKind::Tcp, r#"tcp_framing="octet-counted""#), (SourceKind::Tcp, r#"tcp_framing="traditional""#), (SourceKind::Udp, "")]
    {
        let records = relayed(|rig| target(rig, kind, more));
        assert_eq!(sorted(messages(&records)), sorted(lines()), "{kind:?} {more}");
        assert!(records.iter().all(|record| record.parse_status == ParseStatus::Rfc5424 && record.app_name.as_deref() == Some("relay")));
    }
}

#[test]
fn the_ready_configuration_is_one_that_rsyslogd_accepts() {
    if !has("rsyslogd", "-v") {
        return;
    }
    let snippet = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../deploy/rsyslog/60-nephoscope.conf");
    let folder = tempfile::tempdir().expect("a folder");
    let config = folder.path().join("rsyslog.conf");
    fs::write(
        &config,
        format!("global(workDirectory=\"{}\")\n{}", folder.path().display(), fs::read_to_string(snippet).expect("is there")),
    )
    .expect("writes");
    let checked = Command::new("rsyslogd").args(["-N1", "-f", &config.display().to_string()]).output().expect("rsyslogd runs");
    let said = String::from_utf8_lossy(&checked.stderr);
    assert!(checked.status.success() && !said.contains("error"), "{said}");
}

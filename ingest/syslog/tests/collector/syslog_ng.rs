//! The real syslog-ng over everything that it speaks, every line compared. Where rsyslog is installed it cannot be; then
//! `scripts/setup test` has unpacked it under `target/tools`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use schemas::{LogRecord, ParseStatus, SourceKind};
use syslog::Config;
use syslog::collector::config::TlsListener;

use super::clients::{LINES, lines, sorted};
use super::tls::{Authority, secured};
use super::{Rig, eventually, listening, messages, skipped};

/// Ended by its own handle.
struct SyslogNg(Child);

impl SyslogNg {
    /// The program, installed or unpacked, and the version of configurations that it reads.
    fn command() -> Option<(Command, String)> {
        let unpacked = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/tools/syslog-ng");
        let libraries = unpacked.join("usr/lib/syslog-ng");
        let modules = fs::read_dir(&libraries).into_iter().flatten().flatten().map(|entry| entry.path()).find(|path| path.is_dir());
        let command = || match &modules {
            None => Command::new("syslog-ng"),
            Some(modules) => {
                let mut command = Command::new(unpacked.join("usr/sbin/syslog-ng"));
                command.env("LD_LIBRARY_PATH", std::env::join_paths([&libraries, modules]).expect("paths"));
                command.arg("--module-path").arg(modules);
                command
            }
        };
        let said = command().arg("-V").output().ok().filter(|output| output.status.success())?;
        let said = String::from_utf8_lossy(&said.stdout).into_owned();
        let version = said.lines().find_map(|line| line.strip_prefix("Config version: "))?;
        Some((command(), version.to_owned()))
    }

    /// Follows `input` and sends its lines to `destination`.
    fn start(mut command: Command, version: &str, folder: &Path, input: &Path, destination: &str) -> Self {
        let file = |name: &str| folder.join(name);
        let config = format!(
            "@version: {version}\n\
             source s {{ file(\"{}\" flags(no-parse) program-override(\"relay\") follow-freq(0.2)); }};\n\
             destination d {{ {destination} }};\nlog {{ source(s); destination(d); }};\n",
            input.display()
        );
        fs::write(file("syslog-ng.conf"), config).expect("writes");
        let named: [(&str, PathBuf); 4] =
            [("-f", file("syslog-ng.conf")), ("-R", file("persist")), ("-p", file("pid")), ("-c", file("control"))];
        for (option, path) in named {
            command.arg(option).arg(path);
        }
        let child = command.args(["-F", "--no-caps"]).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        Self(child.expect("syslog-ng starts"))
    }
}

impl Drop for SyslogNg {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// What arrives of the lines; none if there is no syslog-ng.
fn relayed(config: Config, destination: impl FnOnce(&Rig) -> String) -> Option<Vec<LogRecord>> {
    let Some((command, version)) = SyslogNg::command() else {
        skipped("syslog-ng not installed");
        return None;
    };
    let rig = Rig::start(config);
    let folder = tempfile::tempdir().expect("a folder");
    let input = folder.path().join("input.log");
    fs::write(&input, lines().iter().map(|line| format!("{line}\n")).collect::<String>()).expect("writes");
    let relay = SyslogNg::start(command, &version, folder.path(), &input, &destination(&rig));
    eventually("syslog-ng has sent every line", || rig.bus.len() >= LINES);
    drop(relay);
    Some(rig.stop())
}

fn check(records: &[LogRecord], kind: SourceKind, status: ParseStatus) {
    assert_eq!(sorted(messages(records)), sorted(lines()), "{kind:?} {status:?}");
    let is_as_sent = |r: &LogRecord| (r.source.kind, r.parse_status, r.app_name.as_deref()) == (kind, status, Some("relay"));
    assert!(records.iter().all(is_as_sent), "{kind:?} {status:?}: {:?}", records.first());
}

#[test]
fn syslog_ng_is_understood_over_udp_and_tcp_in_both_formats() {
    for (driver, kind, transport, status) in [
        ("syslog", SourceKind::Tcp, "tcp", ParseStatus::Rfc5424),
        ("network", SourceKind::Tcp, "tcp", ParseStatus::Rfc3164),
        ("syslog", SourceKind::Udp, "udp", ParseStatus::Rfc5424),
    ] {
        let destination = |rig: &Rig| format!("{driver}(\"127.0.0.1\" port({}) transport(\"{transport}\"));", rig.address(kind).port());
        let Some(records) = relayed(listening(), destination) else { return };
        check(&records, kind, status);
    }
}

#[test]
fn syslog_ng_is_understood_over_tls_with_its_certificate() {
    let authority = Authority::new();
    authority.issue("client", &["relay.example.org"]);
    let client_ca = authority.file("ca.pem");
    let config = secured(TlsListener { client_ca, allow: vec!["relay.example.org".into()], ..authority.listener() });
    let records = relayed(config, |rig| {
        let file = |name: &str| authority.file(name).display().to_string();
        format!(
            "syslog(\"localhost\" ip-protocol(4) port({}) transport(\"tls\") tls(ca-file(\"{}\") cert-file(\"{}\") key-file(\"{}\") peer-verify(required-trusted)));",
            rig.address(SourceKind::Tls).port(),
            file("ca.pem"),
            file("client.pem"),
            file("client.key"),
        )
    });
    if let Some(records) = records {
        check(&records, SourceKind::Tls, ParseStatus::Rfc5424);
    }
}

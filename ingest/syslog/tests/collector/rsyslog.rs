//! The real rsyslogd over everything that it speaks, with the ready configurations of `deploy/rsyslog`, every line compared.

use std::fs;
use std::path::Path;
use std::process::Command;

use schemas::{LogRecord, ParseStatus, SourceKind};
use syslog::Config;
use syslog::collector::Protocol;
use syslog::collector::config::TlsListener;

use super::clients::{LINES, lines, sorted};
use super::rsyslogd::{Rsyslogd, has_module, ready, write};
use super::tls::{Authority, secured};
use super::{Rig, eventually, has, listening, messages, skipped};

/// What rsyslogd itself says of a configuration; nothing if it is good.
fn complaints(folder: &Path, rest: &str) -> String {
    let checked = Command::new("rsyslogd").args(["-N1", "-f", &write(folder, &folder.join("input.log"), rest)]).output();
    let checked = checked.expect("rsyslogd runs");
    let said = String::from_utf8_lossy(&checked.stderr).into_owned();
    if checked.status.success() && !said.contains("error") && !said.contains("warning") { String::new() } else { said }
}

/// What arrives of the lines that a rsyslogd forwards as `rest` says.
fn relayed(config: Config, rest: impl FnOnce(&Rig) -> String) -> Vec<LogRecord> {
    let rig = Rig::start(config);
    let folder = tempfile::tempdir().expect("a folder");
    let input = folder.path().join("input.log");
    fs::write(&input, lines().iter().map(|line| format!("{line}\n")).collect::<String>()).expect("writes");
    let rest = rest(&rig);
    assert_eq!(complaints(folder.path(), &rest), "");
    let relay = Rsyslogd::start(folder.path(), &input, &rest);
    // rsyslogd tells of its own start too.
    let of_relay = |records: &[LogRecord]| records.iter().filter(|record| record.app_name.as_deref() == Some("relay")).count();
    eventually("rsyslogd has sent every line", || of_relay(&rig.bus.records()) >= LINES);
    drop(relay);
    let mut records = rig.stop();
    records.retain(|record| record.app_name.as_deref() == Some("relay"));
    records
}

fn check(records: Vec<LogRecord>, kind: SourceKind, what: &str) {
    assert_eq!(sorted(messages(&records)), sorted(lines()), "{what}");
    assert!(records.iter().all(|record| record.parse_status == ParseStatus::Rfc5424 && record.source.kind == kind), "{what}");
}

fn relp() -> Config {
    Config { relp: vec!["127.0.0.1:0".parse().expect("an address")], ..listening() }
}

fn has_rsyslogd(module: &str) -> bool {
    let found = has("rsyslogd", "-v");
    if found && !has_module(module) {
        skipped(&format!("rsyslogd's module {module} not installed"));
        return false;
    }
    found
}

#[test]
fn each_ready_configuration_is_one_that_rsyslogd_accepts() {
    for (name, module) in
        [("60-nephoscope.conf", "imfile"), ("61-nephoscope-tls.conf", "lmnsd_gtls"), ("62-nephoscope-relp.conf", "omrelp")]
    {
        if has_rsyslogd(module) {
            let folder = tempfile::tempdir().expect("a folder");
            assert_eq!(complaints(folder.path(), &ready(name, &[])), "", "{name}");
        }
    }
}

#[test]
fn the_ready_configuration_for_tcp_delivers_every_line() {
    if !has_rsyslogd("imfile") {
        return;
    }
    let port = |rig: &Rig| format!("port=\"{}\"", rig.address(SourceKind::Tcp).port());
    let records = relayed(listening(), |rig| ready("60-nephoscope.conf", &[("port=\"5514\"", &port(rig))]));
    check(records, SourceKind::Tcp, "60-nephoscope.conf");
}

#[test]
fn udp_and_lines_without_a_count_deliver_every_line() {
    if !has_rsyslogd("imfile") {
        return;
    }
    for (kind, protocol) in [(SourceKind::Tcp, r#"protocol="tcp" tcp_framing="traditional""#), (SourceKind::Udp, r#"protocol="udp""#)] {
        let records = relayed(listening(), |rig| {
            let port = rig.address(kind).port();
            format!(r#"action(type="omfwd" target="127.0.0.1" port="{port}" {protocol} template="RSYSLOG_SyslogProtocol23Format")"#)
        });
        check(records, kind, protocol);
    }
}

/// The very file, with both of rsyslog's TLS libraries.
#[test]
fn the_ready_configuration_for_tls_delivers_every_line() {
    for driver in ["gtls", "ossl"] {
        if !has_rsyslogd(&format!("lmnsd_{driver}")) {
            continue;
        }
        let authority = Authority::new();
        authority.issue("client", &["relay.example.org"]);
        let client_ca = authority.file("ca.pem");
        let config = secured(TlsListener { client_ca, allow: vec!["*.example.org".into()], ..authority.listener() });
        let records = relayed(config, |rig| {
            let file = |name: &str| authority.file(name).display().to_string();
            ready(
                "61-nephoscope-tls.conf",
                &[
                    ("target=\"nephoscope.example.org\"", "target=\"127.0.0.1\""),
                    ("PermittedPeers=\"nephoscope.example.org\"", "PermittedPeers=\"localhost\""),
                    ("port=\"6514\"", &format!("port=\"{}\"", rig.address(SourceKind::Tls).port())),
                    ("StreamDriver=\"gtls\"", &format!("StreamDriver=\"{driver}\"")),
                    ("/etc/rsyslog.d/tls/ca.pem", &file("ca.pem")),
                    ("/etc/rsyslog.d/tls/client.pem", &file("client.pem")),
                    ("/etc/rsyslog.d/tls/client.key", &file("client.key")),
                ],
            )
        });
        check(records, SourceKind::Tls, driver);
    }
}

#[test]
fn the_ready_configuration_for_relp_delivers_every_line_once() {
    if !has_rsyslogd("omrelp") {
        return;
    }
    let port = |rig: &Rig| format!("port=\"{}\"", rig.address(SourceKind::Relp).port());
    let records = relayed(relp(), |rig| ready("62-nephoscope-relp.conf", &[("port=\"2514\"", &port(rig))]));
    check(records, SourceKind::Relp, "62-nephoscope-relp.conf");
}

#[test]
fn relp_over_tls_delivers_every_line_once() {
    if !has_rsyslogd("omrelp") {
        return;
    }
    let authority = Authority::new();
    authority.issue("client", &["relay.example.org"]);
    let listener = TlsListener {
        protocol: Protocol::Relp,
        client_ca: authority.file("ca.pem"),
        allow: vec!["relay.example.org".into()],
        ..authority.listener()
    };
    let records = relayed(secured(listener), |rig| {
        let file = |name: &str| authority.file(name).display().to_string();
        let tls = format!(
            r#"port="{}" tls="on" tls.authMode="name" tls.permittedPeer="localhost" tls.caCert="{}" tls.myCert="{}" tls.myPrivKey="{}""#,
            rig.address(SourceKind::Relp).port(),
            file("ca.pem"),
            file("client.pem"),
            file("client.key"),
        );
        ready("62-nephoscope-relp.conf", &[("port=\"2514\"", &tls)])
    });
    check(records, SourceKind::Relp, "RELP over TLS");
}

/// A rsyslogd that shows no certificate is refused, and says why nowhere but in its own log; ours tells it too.
#[test]
fn a_relay_without_a_certificate_is_refused_and_counted() {
    if !has_rsyslogd("lmnsd_gtls") {
        return;
    }
    let authority = Authority::new();
    let rig = Rig::start(secured(TlsListener { client_ca: authority.file("ca.pem"), ..authority.listener() }));
    let folder = tempfile::tempdir().expect("a folder");
    let input = folder.path().join("input.log");
    fs::write(&input, "a line\n").expect("writes");
    let rest = format!(
        r#"action(type="omfwd" target="127.0.0.1" port="{}" protocol="tcp" StreamDriver="gtls" StreamDriverMode="1" StreamDriverAuthMode="anon" StreamDriver.CAFile="{}" action.resumeInterval="1" action.resumeRetryCount="-1")"#,
        rig.address(SourceKind::Tls).port(),
        Path::new(&authority.file("ca.pem")).display()
    );
    let relay = Rsyslogd::start(folder.path(), &input, &rest);
    eventually("it is refused", || super::relp::refused(&rig, "tls_handshake") > 0);
    drop(relay);
    assert_eq!(rig.stop().len(), 0);
}

//! Small real programs of other people, every line compared.

use std::process::{Command, Stdio};

use schemas::{ParseStatus, SourceKind};

use super::tls::{Authority, secured};
use super::{Rig, has, listening, messages, skipped};

pub(crate) const LINES: usize = 200;

/// What is sent: plain text, and what has broken receivers before.
pub(crate) fn lines() -> Vec<String> {
    let odd = ["[bracket first] text", "7 starts with a digit", "percent %s and \"quotes\"", "grüße ✓", "trailing space  x"];
    (0..LINES).map(|n| format!("line {n} {}", odd[n % odd.len()])).collect()
}

pub(crate) fn sorted(mut lines: Vec<String>) -> Vec<String> {
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

/// Runs a script, unless its modules are missing: a minimal Python comes without its logging.
fn python(modules: &str, script: &str, arguments: &[String]) -> bool {
    let has_modules = Command::new("python3").args(["-c", modules]).stderr(Stdio::null()).status().is_ok_and(|status| status.success());
    if !has_modules {
        skipped(&format!("python3 with {modules:?} not installed"));
        return false;
    }
    let status = Command::new("python3").args(["-c", &format!("{modules}\n{script}")]).args(arguments).status();
    assert!(status.expect("python3 runs").success());
    true
}

#[test]
fn pythons_handler_is_understood() {
    let rig = Rig::start(listening());
    let script = "
for port, kind in ((int(sys.argv[1]), socket.SOCK_DGRAM), (int(sys.argv[2]), socket.SOCK_STREAM)):
    handler = logging.handlers.SysLogHandler(('127.0.0.1', port), socktype=kind)
    logger = logging.Logger('app'); logger.addHandler(handler)
    for n in range(50): logger.warning('%s %d', 'datagram' if kind == socket.SOCK_DGRAM else 'stream', n)
    handler.close()
";
    let ports = [SourceKind::Udp, SourceKind::Tcp].map(|kind| rig.address(kind).port().to_string());
    if python("import logging.handlers, socket, sys", script, &ports) {
        let records = rig.bus.wait_for(100);
        let expected = (0..50).flat_map(|n| [format!("datagram {n}"), format!("stream {n}")]).collect();
        assert_eq!(sorted(messages(&records)), sorted(expected));
        assert!(records.iter().all(|record| record.severity == Some(4)));
    }
    rig.stop();
}

/// The handler knows no TLS, but its socket can be wrapped; that is what people do. OpenSSL is then the other side.
#[test]
fn pythons_handler_is_understood_over_tls() {
    let authority = Authority::new();
    let rig = Rig::start(secured(authority.listener()));
    let script = "
handler = logging.handlers.SysLogHandler(('127.0.0.1', int(sys.argv[1])), socktype=socket.SOCK_STREAM)
handler.socket = ssl.create_default_context(cafile=sys.argv[2]).wrap_socket(handler.socket, server_hostname='localhost')
logger = logging.Logger('app'); logger.addHandler(handler)
for n in range(500): logger.error('secured %d', n)
handler.close()
";
    let arguments = [rig.address(SourceKind::Tls).port().to_string(), authority.file("ca.pem").display().to_string()];
    if python("import logging.handlers, socket, ssl, sys", script, &arguments) {
        let records = rig.bus.wait_for(500);
        assert_eq!(messages(&records), (0..500).map(|n| format!("secured {n}")).collect::<Vec<_>>());
        assert!(records.iter().all(|record| (record.severity, record.source.kind) == (Some(3), SourceKind::Tls)));
    }
    rig.stop();
}

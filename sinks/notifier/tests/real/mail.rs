//! Mail through a real server, read by somebody else's parser.

use std::{
    io::{BufRead, BufReader, Write},
    path::Path,
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex},
};

use notifier::{
    Config, Tell,
    config::{EmailConfig, MailTls, RouteConfig},
};
use schemas::{Alert, Severity};
use serde_json::Value;

use super::{alert, bus, ended, notifying, publish, until};

/// A mail server; it ends with the test.
struct Server {
    child: Child,
    port: u16,
    mails: Arc<Mutex<Vec<Value>>>,
}

impl Server {
    /// A server of this manner; none, and the reason told, where there is none.
    fn start(manner: &str) -> Option<Self> {
        let has_aiosmtpd = |python: &&&str| {
            let mut probe = Command::new(python);
            probe.args(["-c", "import aiosmtpd"]).stderr(Stdio::null()).status().is_ok_and(|status| status.success())
        };
        // Debian's package is there for Debian's Python.
        let Some(python) = ["python3", "/usr/bin/python3"].iter().find(has_aiosmtpd) else {
            println!("SKIPPED: a real mail server: no aiosmtpd (Debian: python3-aiosmtpd)");
            return None;
        };
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/real/server.py");
        let mut command = Command::new(python);
        command.arg(script).arg(manner).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn().expect("starts");
        let mut lines = BufReader::new(child.stdout.take().expect("a pipe")).lines().map_while(Result::ok);
        let port = lines.next().expect("says its port").parse().expect("a port");
        let mails = Arc::<Mutex<Vec<Value>>>::default();
        let taken = Arc::clone(&mails);
        std::thread::spawn(move || {
            for line in lines {
                taken.lock().expect("nobody panicked").push(serde_json::from_str(&line).expect("JSON"));
            }
        });
        Some(Self { child, port, mails })
    }

    fn config(&self) -> Config {
        let to = vec!["On Call <ops@example.org>".into(), "boss@example.org".into()];
        let email = EmailConfig {
            server: "127.0.0.1".into(),
            port: self.port,
            tls: MailTls::None,
            from: "Nephoscope <nephoscope@example.org>".into(),
            to,
            ..EmailConfig::default()
        };
        let (to, tell, group_wait_ms, group_interval_ms) = (vec!["ops".into()], Some(Tell::Alerts), Some(0), Some(0));
        let route = RouteConfig { to, tell, group_wait_ms, group_interval_ms, ..RouteConfig::default() };
        Config { email: [("ops".into(), email)].into(), routes: vec![route], ..Config::default() }
    }

    fn mails(&self) -> Vec<Value> {
        self.mails.lock().expect("nobody panicked").clone()
    }

    fn until(&self, count: usize) -> Vec<Value> {
        until("the mails arrive", || Some(self.mails()).filter(|mails| mails.len() >= count))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It ends with its input.
        self.child.stdin.take().into_iter().for_each(|mut input| drop(input.write_all(b"\n")));
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn stall(device: &str) -> Alert {
    alert("DiskWriteStall", &[("host", "vm-7"), ("device", device)], Severity::High)
}

#[test]
fn a_mail_is_what_anybody_reads_and_its_group_is_a_thread() {
    let Some(server) = Server::start("takes") else { return };
    let folder = tempfile::tempdir().expect("a folder");
    let bus = bus(folder.path());
    let engine = notifying(&bus, &server.config());
    let hostile = "kärnel <script>alert(1)</script>\r\nBcc: eve@example.org\r\n\r\n.\r\nQUIT \u{1b}[2J\u{202e}";
    let first = Alert { message: hostile.into(), description: format!("{hostile}\n.\n..\n"), ..stall("vda") };
    publish(&bus, std::slice::from_ref(&first));
    server.until(1);
    publish(&bus, &[ended(&first)]);
    let mails = server.until(2);
    engine.stop();

    let [fires, ends] = [&mails[0], &mails[1]];
    assert_eq!(fires["from"], "nephoscope@example.org");
    assert_eq!(fires["to"], serde_json::json!(["ops@example.org", "boss@example.org"]));
    for mail in [fires, ends] {
        assert_eq!(mail["defects"], serde_json::json!([]), "{mail}");
        assert_eq!(mail["type"], "text/plain");
        let names: Vec<&str> = mail["names"].as_array().expect("names").iter().filter_map(Value::as_str).collect();
        assert!(!names.contains(&"bcc"), "{names:?}");
        for needed in ["from", "to", "date", "subject", "message-id", "references", "in-reply-to", "mime-version", "content-type"] {
            assert_eq!(names.iter().filter(|name| **name == needed).count(), 1, "{needed}: {names:?}");
        }
        assert_eq!(mail["headers"]["references"], fires["headers"]["references"], "one thread");
        assert_eq!(mail["headers"]["in-reply-to"], mail["headers"]["references"]);
    }
    assert_ne!(fires["headers"]["message-id"], ends["headers"]["message-id"]);
    assert_eq!(fires["headers"]["subject"], "high [FIRING 1] DiskWriteStall on vm-7");
    assert_eq!(ends["headers"]["subject"], "high [RESOLVED 1] DiskWriteStall on vm-7");
    let text = fires["text"].as_str().expect("a text");
    assert!(text.contains("kärnel <script>alert(1)</script>") && text.contains("device"), "plain text, nothing lost: {text}");
    assert!(!text.contains('\u{1b}') && !text.contains('\u{202e}') && !text.lines().any(|line| line.starts_with("Bcc:")), "{text}");
}

#[test]
fn greylisted_it_comes_again_refused_it_does_not_and_the_next_is_sent() {
    for (manner, first_arrives) in [("greylists", true), ("refuses", false), ("slow", true)] {
        let Some(server) = Server::start(manner) else { return };
        let folder = tempfile::tempdir().expect("a folder");
        let bus = bus(folder.path());
        let config = server.config();
        let engine = notifying(&bus, &config);
        publish(&bus, &[stall("vda")]);
        let standing = || config.board.read().get("ops").cloned().unwrap_or_default();
        until("the first is done with", || {
            let standing = standing();
            (if first_arrives { standing.alerts == 1 } else { standing.refused == 1 }).then_some(())
        });
        publish(&bus, &[stall("vdb")]);
        let expected = if first_arrives { 2 } else { 1 };
        let mails = server.until(expected);
        engine.stop();
        let texts: Vec<_> = mails.iter().map(|mail| mail["text"].as_str().expect("a text").to_string()).collect();
        assert_eq!(mails.len(), expected, "{manner}: {texts:?}");
        let last = texts.last().expect("one");
        assert!(last.contains("vdb"), "{manner}: {last}");
    }
}

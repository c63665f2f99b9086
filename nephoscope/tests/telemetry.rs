//! What each binary tells about itself: the whole list of metrics for what it runs, and spans where a collector is named.

use std::{
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    os::unix::net::UnixDatagram,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::mpsc,
    time::Duration,
};

use stream_runtime::{
    metrics::{Part, audit},
    time::wall_clock,
};

/// Free ports, and nothing of this machine.
const LISTEN: &str = "[listen]\nadmin = \"127.0.0.1:0\"\n";
const SYSLOG: &str = "[syslog]\nsources = \"listed\"\nudp = []\ntcp = []\n";

/// A running binary in a directory of its own.
struct Running {
    child: Child,
    data: PathBuf,
    address: String,
    _dir: tempfile::TempDir,
}

impl Running {
    fn start(program: &Path, arguments: &[&str], config: &str, environment: &[(&str, &str)]) -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let (file, data) = (dir.path().join("n.toml"), dir.path().join("data"));
        std::fs::write(&file, format!("{LISTEN}{config}")).expect("writes");
        let child = Command::new(program)
            .args(arguments)
            .args([Path::new("--config"), &file, Path::new("--data-dir"), &data])
            .envs(environment.iter().copied())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("starts");
        let run = until(|| serde_json::from_slice::<serde_json::Value>(&std::fs::read(data.join("run.json")).ok()?).ok());
        let address = run["address"].as_str().expect("an address").to_string();
        Self { child, data, address, _dir: dir }
    }

    /// The page of metrics, without a token: scrapers on this machine need none.
    fn metrics(&self) -> String {
        let mut stream = TcpStream::connect(&self.address).expect("connects");
        write!(stream, "GET /metrics HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n", self.address).expect("asks");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("answers");
        let (head, body) = answer.split_once("\r\n\r\n").expect("a body");
        assert!(head.starts_with("HTTP/1.1 200"), "{head}");
        body.to_string()
    }

    /// The lines of the page that begin so, once there is one.
    fn wait_for_metric(&self, begin: &str) -> Vec<String> {
        until(|| {
            let lines: Vec<_> = self.metrics().lines().filter(|line| line.starts_with(begin)).map(str::to_string).collect();
            (!lines.is_empty()).then_some(lines)
        })
    }

    fn send(&self, line: &str) {
        let socket = UnixDatagram::unbound().expect("a socket");
        until(|| socket.connect(self.data.join("syslog.sock")).ok());
        socket.send(format!("<2>1 {} h app 1 - - {line}", wall_clock()).as_bytes()).expect("sends");
    }

    /// Ends it as a service manager does.
    fn stop(mut self) {
        rustix::process::kill_process(rustix::process::Pid::from_child(&self.child), rustix::process::Signal::TERM).expect("is told");
        assert!(self.child.wait().expect("ends").success());
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Waits for something that takes a moment.
fn until<T>(mut ready: impl FnMut() -> Option<T>) -> T {
    for _ in 0..3_000 {
        if let Some(value) = ready() {
            return value;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    panic!("did not happen within 30 s");
}

fn umbrella() -> PathBuf {
    env!("CARGO_BIN_EXE_nephoscope").into()
}

/// Another binary of the workspace, beside ours.
fn beside(name: &str) -> Option<PathBuf> {
    let path = umbrella().with_file_name(name);
    if path.is_file() {
        return Some(path);
    }
    // Not captured by the test harness, so that it is counted.
    let _ = writeln!(std::io::stderr(), "SKIPPED: {name} has not been built beside nephoscope");
    None
}

#[test]
fn the_processor_tells_all_that_a_processor_must() {
    let Some(program) = beside("nephoscope-drain") else { return };
    let running = Running::start(&program, &[], "", &[]);
    running.wait_for_metric("nephoscope_ready{stage=\"drain\"} 1");
    assert_eq!(audit(&running.metrics(), &[Part::Processor]), Vec::<String>::new());
    running.stop();
}

#[test]
fn the_collector_tells_all_that_a_source_must() {
    let Some(program) = beside("nephoscope-syslog") else { return };
    let running = Running::start(&program, &[], SYSLOG, &[]);
    running.send("hello");
    let sent = running.wait_for_metric("messaging_client_sent_messages_total{stage=\"syslog\"");
    assert!(sent.iter().all(|line| line.contains("messaging_destination_name=\"logs.raw.v1\",error_type=\"\"")), "{sent:?}");
    assert_eq!(audit(&running.metrics(), &[Part::Source]), Vec::<String>::new());
    running.stop();
}

#[test]
fn the_umbrella_tells_all_that_its_parts_must() {
    let running = Running::start(&umbrella(), &["up"], SYSLOG, &[]);
    running.send("hello");
    running.wait_for_metric("nephoscope_records_total{stage=\"drain\",topic=\"logs.raw.v1\"} 1");
    assert_eq!(audit(&running.metrics(), &[Part::Processor, Part::Source]), Vec::<String>::new());
    let threads = running.wait_for_metric("nephoscope_cpu_seconds_total");
    assert!(threads.iter().any(|line| line.contains("{thread=\"drain\"}")), "{threads:?}");
    running.stop();
}

#[test]
fn spans_go_where_the_environment_says() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("listens");
    let endpoint = format!("http://{}", listener.local_addr().expect("has an address"));
    let (tell, requests) = mpsc::channel();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.expect("a connection");
            let mut bytes = vec![0; 1 << 16];
            while let Ok(length @ 1..) = stream.read(&mut bytes) {
                let request = bytes.get(..length).unwrap_or_default().to_vec();
                stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").expect("answers");
                if tell.send(request).is_err() {
                    return;
                }
            }
        }
    });
    let environment =
        [("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint.as_str()), ("OTEL_BSP_SCHEDULE_DELAY", "10"), ("OTEL_SERVICE_NAME", "a-name")];
    let running = Running::start(&umbrella(), &["up"], SYSLOG, &environment);
    running.send("kernel panic - not syncing");
    let request = requests.recv_timeout(Duration::from_secs(30)).expect("a request");
    let text = String::from_utf8_lossy(&request).to_lowercase();
    assert!(text.starts_with("post /v1/traces http/1.1\r\n") && text.contains("content-type: application/x-protobuf"), "{text}");
    for word in ["a-name", "process logs.raw.v1", "nephoscope.drain"] {
        assert!(text.contains(word), "{word}: {text}");
    }
    running.stop();
}

#[test]
fn a_protocol_that_cannot_be_spoken_is_refused_before_the_start() {
    let dir = tempfile::tempdir().expect("a directory");
    let output = Command::new(umbrella())
        .args(["up", "--data-dir", &dir.path().display().to_string()])
        .envs([("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:4317"), ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")])
        .env("NEPHOSCOPE_LISTEN__ADMIN", "127.0.0.1:0")
        .output()
        .expect("runs");
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(said.contains("OTEL_EXPORTER_OTLP_PROTOCOL: found \"grpc\", expected http/protobuf"), "{said}");
}

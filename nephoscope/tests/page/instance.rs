//! `nephoscope up` in a directory of its own, fed through its Unix socket.

use std::{
    io::{Read, Write},
    net::TcpStream,
    os::unix::net::UnixDatagram,
    path::PathBuf,
    process::{Child, Command, Stdio},
    time::Duration,
};

use serde_json::Value;

/// A running instance.
pub struct Instance {
    child: Child,
    socket: UnixDatagram,
    address: String,
    token: String,
    _dir: tempfile::TempDir,
}

impl Instance {
    /// Starts one that listens on a free port and reads nothing of this machine.
    pub fn start() -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let (config, data) = (dir.path().join("nephoscope.toml"), dir.path().join("data"));
        let text = "[listen]\nadmin = \"127.0.0.1:0\"\n[syslog]\nsources = \"listed\"\nudp = []\ntcp = []\n";
        std::fs::write(&config, text).expect("writes");
        let child = Command::new(env!("CARGO_BIN_EXE_nephoscope"))
            .args(["up", "--config", &config.display().to_string(), "--data-dir", &data.display().to_string()])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("starts");
        let run = until(|| std::fs::read(data.join("run.json")).ok().and_then(|run| serde_json::from_slice::<Value>(&run).ok()));
        let address = run["address"].as_str().expect("an address").to_string();
        let token = std::fs::read_to_string(data.join("token")).expect("a token").trim().to_string();
        let path: PathBuf = data.join("syslog.sock");
        let socket = UnixDatagram::unbound().expect("a socket");
        until(|| socket.connect(&path).ok());
        Self { child, socket, address, token, _dir: dir }
    }

    /// The address that `up` prints.
    pub fn url(&self) -> String {
        format!("http://{}/?token={}", self.address, self.token)
    }

    /// Sends a line of this syslog severity from a host.
    pub fn send(&self, severity: u8, host: &str, message: &str) {
        let now = stream_runtime::time::wall_clock();
        self.socket.send(format!("<{severity}>1 {now} {host} app 1 - - {message}").as_bytes()).expect("sends");
    }

    /// The body of an answer.
    pub fn get(&self, path: &str) -> String {
        self.ask(path).1
    }

    /// The JSON of a good answer.
    pub fn json(&self, path: &str) -> Value {
        let (status, body) = self.ask(path);
        assert_eq!(status, 200, "{path}: {body}");
        serde_json::from_str(&body).expect("JSON")
    }

    /// Status and body of an answer.
    pub fn ask(&self, path: &str) -> (u16, String) {
        let mut stream = TcpStream::connect(&self.address).expect("connects");
        let head = format!("GET {path} HTTP/1.0\r\nHost: {}\r\nAuthorization: Bearer {}\r\n\r\n", self.address, self.token);
        stream.write_all(head.as_bytes()).expect("sends");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("text");
        let (head, body) = answer.split_once("\r\n\r\n").expect("a body");
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status");
        (status, body.to_string())
    }

    /// Waits until the overview is as wanted.
    pub fn until(&self, is_wanted: impl Fn(&Value) -> bool) {
        until(|| serde_json::from_str(&self.get("/api/overview")).ok().filter(&is_wanted));
    }
}

impl Drop for Instance {
    fn drop(&mut self) {
        // It may be gone already, which is what is wanted.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn until<T>(mut look: impl FnMut() -> Option<T>) -> T {
    for _ in 0..2_000 {
        if let Some(found) = look() {
            return found;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    panic!("not within 20 s");
}

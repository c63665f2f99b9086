//! What the benches of the whole program share: a running instance, log lines, and quantiles.

#![allow(dead_code, reason = "each bench is a program of its own and uses its part")]
#![allow(missing_docs)]

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

/// The program that is measured.
pub const PROGRAM: &str = env!("CARGO_BIN_EXE_nephoscope");

/// `nephoscope up` on a directory, reading nothing but one TCP socket.
pub struct Instance {
    child: Child,
    directory: PathBuf,
    syslog: SocketAddr,
}

impl Instance {
    /// Starts one with more configuration; it may take a while until it listens.
    pub fn start(directory: &Path, more: &str) -> Self {
        let free = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
        let syslog = free.expect("a free port");
        let config = directory.join("nephoscope.toml");
        let text = format!(
            "[listen]\nadmin = \"127.0.0.1:0\"\n[telemetry]\nlog = \"warn\"\n\
             [syslog]\nsources = \"listed\"\nudp = []\ntcp = [\"{syslog}\"]\nunix = []\n{more}"
        );
        std::fs::write(&config, text).expect("writes");
        let child = command(directory).arg("up").arg("--config").arg(&config).stdout(Stdio::null()).spawn().expect("starts");
        Self { child, directory: directory.to_path_buf(), syslog }
    }

    /// A connection to its syslog socket, as soon as it listens.
    pub fn connect(&mut self) -> TcpStream {
        until(|| {
            assert!(self.child.try_wait().expect("is ours").is_none(), "the instance has ended");
            TcpStream::connect(self.syslog).ok()
        })
    }

    /// Another command on the same data.
    pub fn command(&self) -> Command {
        command(&self.directory)
    }

    /// Its API, on the owner's socket.
    pub fn api(&self) -> Api {
        Api(data(&self.directory).join("api.sock"))
    }

    /// `kill -9`.
    pub fn kill(&mut self) {
        // It may be gone already, which is what is wanted.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Instance {
    fn drop(&mut self) {
        self.kill();
    }
}

/// The API of an instance.
pub struct Api(PathBuf);

impl Api {
    /// An answer, as soon as there is a good one that holds a text.
    pub fn answer(&self, path: &str, with: &str) -> String {
        until(|| self.get(path).filter(|answer| answer.contains(with)))
    }

    fn get(&self, path: &str) -> Option<String> {
        let mut stream = UnixStream::connect(&self.0).ok()?;
        write!(stream, "GET {path} HTTP/1.0\r\nHost: localhost\r\n\r\n").ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        answer.starts_with("HTTP/1.0 200").then_some(answer)
    }
}

/// The data directory of an instance in a directory.
pub fn data(directory: &Path) -> PathBuf {
    directory.join("data")
}

fn command(directory: &Path) -> Command {
    let mut command = Command::new(PROGRAM);
    command.arg("--data-dir").arg(data(directory));
    command
}

/// Looks every millisecond until something is there.
fn until<T>(mut look: impl FnMut() -> Option<T>) -> T {
    for _ in 0..60_000 {
        if let Some(found) = look() {
            return found;
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    panic!("not within a minute");
}

/// Messages of a small service landscape: 40 templates with addresses, ids, durations and names, padded with a path.
pub struct Lines(u64);

impl Lines {
    pub fn new() -> Self {
        Self(0x9e37_79b9_7f4a_7c15)
    }

    /// A number below `below`, by xorshift64 (Marsaglia 2003).
    pub fn next(&mut self, below: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % below
    }

    /// A message of so many bytes, if they are a hundred or more.
    pub fn message(&mut self, bytes: usize) -> String {
        const VERBS: [&str; 8] = ["accepted", "closed", "retried", "rejected", "queued", "flushed", "opened", "forwarded"];
        const THINGS: [&str; 5] = ["connection", "request", "block", "session", "lease"];
        let (verb, thing) = (VERBS[self.next(8) as usize], THINGS[self.next(5) as usize]);
        let mut line = format!(
            "{verb} {thing} {:08x} from 10.0.{}.{}:{} after {} ms, {} bytes in /var/lib/app/",
            self.next(u64::from(u32::MAX)),
            self.next(256),
            self.next(256),
            self.next(65_536),
            self.next(10_000),
            self.next(1 << 20)
        );
        while line.len() < bytes {
            line.push_str(&format!("{:x}/", self.next(1 << 16)));
        }
        line.truncate(bytes);
        line
    }
}

/// A quantile of sorted times, in milliseconds.
pub fn quantile_ms(sorted: &[Duration], q: f64) -> f64 {
    let index = (sorted.len().saturating_sub(1) as f64 * q) as usize;
    sorted.get(index).map_or(0.0, |time| time.as_secs_f64() * 1e3)
}

/// Writes an RFC 5424 line, framed by its end (RFC 6587, 3.4.2).
pub fn send(to: &mut impl Write, time: schemas::EventTime, host: u64, app: &str, message: &str) -> std::io::Result<()> {
    writeln!(to, "<30>1 {time} host-{host} {app} 1 - - {message}")
}

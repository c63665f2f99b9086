//! HTTP by hand, so that the tests see every byte.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpStream},
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    time::Duration,
};

/// Where a client connects.
#[derive(Clone)]
enum Place {
    Tcp(SocketAddr),
    Unix(PathBuf),
}

trait Connection: Read + Write + Send {}
impl<T: Read + Write + Send> Connection for T {}

/// Sends one request per connection.
#[derive(Clone)]
pub struct Client {
    place: Place,
    host: String,
    headers: Vec<(String, String)>,
}

/// An answer.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Client {
    pub fn tcp(address: SocketAddr) -> Self {
        Self { place: Place::Tcp(address), host: address.to_string(), headers: Vec::new() }
    }

    pub fn unix(path: &Path) -> Self {
        Self { place: Place::Unix(path.into()), host: "anything".into(), headers: Vec::new() }
    }

    pub fn with(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }

    pub fn host(mut self, host: &str) -> Self {
        self.host = host.into();
        self
    }

    pub fn get(&self, target: &str) -> Answer {
        self.send("GET", target, b"")
    }

    pub fn post(&self, target: &str, body: &serde_json::Value) -> Answer {
        self.clone().with("Content-Type", "application/json").send("POST", target, body.to_string().as_bytes())
    }

    pub fn send(&self, method: &str, target: &str, body: &[u8]) -> Answer {
        let mut reader = self.open(method, target, body);
        let (status, headers) = head(&mut reader);
        let mut body = Vec::new();
        reader.read_to_end(&mut body).expect("body");
        Answer { status, headers, body }
    }

    /// The lines of a response that does not end, after its head.
    pub fn stream(&self, target: &str) -> (u16, impl Iterator<Item = String> + use<>) {
        let mut reader = self.open("GET", target, b"");
        let (status, _) = head(&mut reader);
        (status, BufReader::new(Chunks { reader, left: 0 }).lines().map_while(Result::ok))
    }

    fn open(&self, method: &str, target: &str, body: &[u8]) -> BufReader<Box<dyn Connection>> {
        let mut connection: Box<dyn Connection> = match &self.place {
            Place::Tcp(address) => {
                let stream = TcpStream::connect(address).expect("connects");
                stream.set_read_timeout(Some(Duration::from_secs(20))).expect("timeout");
                Box::new(stream)
            }
            Place::Unix(path) => Box::new(UnixStream::connect(path).expect("connects")),
        };
        let mut request =
            format!("{method} {target} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\nContent-Length: {}\r\n", self.host, body.len());
        for (name, value) in &self.headers {
            request.push_str(&format!("{name}: {value}\r\n"));
        }
        request.push_str("\r\n");
        connection.write_all(request.as_bytes()).expect("sends");
        // A server that refuses early may close before it has read everything.
        let _ = connection.write_all(body);
        BufReader::new(connection)
    }
}

impl Answer {
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.text()))
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }
}

/// The content of a chunked body (RFC 9112, 7.1).
struct Chunks<R> {
    reader: R,
    left: u64,
}

impl<R: BufRead> Read for Chunks<R> {
    fn read(&mut self, into: &mut [u8]) -> std::io::Result<usize> {
        while self.left == 0 {
            let mut line = String::new();
            if self.reader.read_line(&mut line)? == 0 {
                return Ok(0);
            }
            match line.trim_end() {
                "" => {} // the end of the chunk before
                "0" => return Ok(0),
                length => self.left = u64::from_str_radix(length, 16).expect("the length of a chunk"),
            }
        }
        let read = (&mut self.reader).take(self.left).read(into)?;
        self.left -= read as u64;
        Ok(read)
    }
}

/// Status and headers.
fn head(reader: &mut impl BufRead) -> (u16, Vec<(String, String)>) {
    let mut line = || {
        let mut line = String::new();
        reader.read_line(&mut line).expect("head");
        line.trim_end().to_string()
    };
    let status = line().split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status line");
    let headers = std::iter::from_fn(|| Some(line()).filter(|line| !line.is_empty()));
    (status, headers.filter_map(|line| line.split_once(": ").map(|(name, value)| (name.into(), value.into()))).collect())
}

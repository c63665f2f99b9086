//! A server that writes down what it is sent, and answers as a test says: well, late, half, or not at all.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use serde_json::Value;

/// What it does with a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// This status.
    Status(u16),
    /// 429, to be asked again after so many seconds.
    Busy(u64),
    /// Nothing: the connection stays open until whoever asks gives up.
    Hang,
    /// The connection ends without a word.
    Reset,
    /// It ends within the status line.
    Half,
    /// The status at once, the body a byte at a time, for longer than anybody waits.
    Trickle,
}

/// A request that was read.
#[derive(Debug, Clone)]
pub struct Request {
    /// Where to.
    pub path: String,
    /// What.
    pub body: Value,
    /// When it had been read.
    pub at: Instant,
    /// What it was answered.
    pub answer: Answer,
}

/// The server; it ends with the test.
pub struct Recorder {
    address: String,
    seen: Arc<Mutex<Vec<Request>>>,
    is_over: Arc<AtomicBool>,
}

/// How a server answers its n-th request, counted from 0.
type Manner = dyn Fn(usize, &str) -> Answer + Send + Sync;

impl Recorder {
    /// One that takes everything.
    pub fn willing() -> Self {
        Self::start(|_, _| Answer::Status(200))
    }

    /// One that answers so.
    pub fn start(answer: impl Fn(usize, &str) -> Answer + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address").to_string();
        let this = Self { address, seen: Arc::default(), is_over: Arc::default() };
        let (seen, is_over, answer) = (Arc::clone(&this.seen), Arc::clone(&this.is_over), Arc::new(answer) as Arc<Manner>);
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                if is_over.load(Ordering::Relaxed) {
                    return;
                }
                let (seen, is_over, answer) = (Arc::clone(&seen), Arc::clone(&is_over), Arc::clone(&answer));
                // Whoever asks may leave at any point.
                std::thread::spawn(move || drop(serve(stream, &seen, &is_over, &*answer)));
            }
        });
        this
    }

    /// An address on it.
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// All requests so far.
    pub fn requests(&self) -> Vec<Request> {
        lock(&self.seen).clone()
    }

    /// Those that it took.
    pub fn taken(&self) -> Vec<Request> {
        self.requests().into_iter().filter(|request| matches!(request.answer, Answer::Status(200..300) | Answer::Trickle)).collect()
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Relaxed);
        drop(TcpStream::connect(&self.address));
    }
}

fn lock(seen: &Mutex<Vec<Request>>) -> MutexGuard<'_, Vec<Request>> {
    seen.lock().unwrap_or_else(PoisonError::into_inner)
}

fn serve(stream: TcpStream, seen: &Mutex<Vec<Request>>, is_over: &AtomicBool, answer: &Manner) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream);
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line)? == 0 {
            return Ok(());
        }
        let path = line.split(' ').nth(1).unwrap_or_default().to_string();
        let mut length = 0;
        loop {
            let mut header = String::new();
            if reader.read_line(&mut header)? <= 2 {
                break;
            }
            if let Some(value) = header.to_ascii_lowercase().strip_prefix("content-length:") {
                length = value.trim().parse().unwrap_or(0);
            }
        }
        let mut body = vec![0; length];
        reader.read_exact(&mut body)?;
        let answer = {
            let mut seen = lock(seen);
            let answer = answer(seen.len(), &path);
            let body = serde_json::from_slice(&body).unwrap_or(Value::Null);
            seen.push(Request { path, body, at: Instant::now(), answer });
            answer
        };
        let stream = reader.get_mut();
        match answer {
            // In one piece: in several, the second would wait for the acknowledgement of the first (RFC 1122, 4.2.3.4).
            Answer::Status(status) => stream.write_all(format!("HTTP/1.1 {status} So\r\nContent-Length: 2\r\n\r\n{{}}").as_bytes())?,
            Answer::Busy(seconds) => {
                stream.write_all(format!("HTTP/1.1 429 Busy\r\nRetry-After: {seconds}\r\nContent-Length: 0\r\n\r\n").as_bytes())?
            }
            Answer::Reset => return Ok(()),
            Answer::Half => return write!(stream, "HTTP/1.1 20"),
            Answer::Hang => while_it_lasts(is_over, || Ok(()))?,
            Answer::Trickle => {
                write!(stream, "HTTP/1.1 200 So\r\nContent-Length: 100000\r\n\r\n")?;
                while_it_lasts(is_over, || stream.write_all(b" "))?;
            }
        }
    }
}

fn while_it_lasts(is_over: &AtomicBool, mut act: impl FnMut() -> std::io::Result<()>) -> std::io::Result<()> {
    while !is_over.load(Ordering::Relaxed) {
        act()?;
        std::thread::sleep(Duration::from_millis(100));
    }
    Ok(())
}

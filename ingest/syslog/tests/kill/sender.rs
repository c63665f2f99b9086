//! A RELP sender that does what the protocol asks of one: it keeps each message until it is answered, and after a break sends
//! what it has no answer for again, at once.

use std::collections::VecDeque;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use syslog::frame::FrameLimits;
use syslog::relp::Decoder;

/// librelp's window.
const WINDOW: usize = 128;
/// A receiver that says nothing for so long is tried anew, as librelp does after 90 s.
const PATIENCE: Duration = Duration::from_secs(30);
const RETRY: Duration = Duration::from_millis(5);

/// Numbered lines on their way, on a thread of their own.
pub(crate) struct Sender {
    thread: JoinHandle<Sent>,
    is_last: Arc<AtomicBool>,
}

/// What a sender did.
#[derive(Debug, Default)]
pub(crate) struct Sent {
    /// Lines `0..lines`, each of them answered.
    pub(crate) lines: usize,
    /// Sessions that were opened.
    pub(crate) sessions: usize,
    /// Lines that were sent again after a break.
    pub(crate) repeated: usize,
    unanswered: VecDeque<usize>,
}

impl Sender {
    pub(crate) fn start(to: SocketAddr) -> Self {
        let is_last = Arc::new(AtomicBool::new(false));
        let thread = thread::spawn({
            let is_last = is_last.clone();
            move || {
                let mut sent = Sent::default();
                while !(is_last.load(Ordering::Relaxed) && sent.lines > 0 && sent.unanswered.is_empty()) {
                    // Whatever ends a session, the next one begins with what this one left unanswered.
                    if session(to, &mut sent, &is_last).is_err() {
                        thread::sleep(RETRY);
                    }
                }
                sent
            }
        });
        Self { thread, is_last }
    }

    /// No new lines; returns when all are answered.
    pub(crate) fn finish(self) -> Sent {
        self.is_last.store(true, Ordering::Relaxed);
        self.thread.join().expect("the sender ends")
    }
}

/// One session, until it breaks or everything is answered that had to be.
fn session(to: SocketAddr, sent: &mut Sent, is_last: &AtomicBool) -> io::Result<()> {
    let mut session = Session::open(to)?;
    sent.sessions += 1;
    sent.repeated += sent.unanswered.len();
    let mut in_flight = VecDeque::new();
    for line in &sent.unanswered {
        in_flight.push_back(session.send(&text(*line))?);
    }
    loop {
        while in_flight.len() < WINDOW && !is_last.load(Ordering::Relaxed) {
            // Kept before it is sent: what broke half way is unanswered too.
            sent.unanswered.push_back(sent.lines);
            sent.lines += 1;
            in_flight.push_back(session.send(&text(sent.lines - 1))?);
        }
        let Some(due) = in_flight.pop_front() else { return Ok(()) };
        let (txnr, answer) = session.answer()?;
        assert_eq!((txnr, answer.as_str()), (due, "200 OK"), "answers come in order, and all are good");
        sent.unanswered.pop_front();
    }
}

/// What line `n` says.
pub(crate) fn text(n: usize) -> String {
    format!("line {n}")
}

struct Session {
    stream: TcpStream,
    decoder: Decoder,
    txnr: u32,
}

impl Session {
    fn open(to: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect(to)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        let decoder = Decoder::new(FrameLimits { frame_bytes_max: 10_000, head_bytes_max: 10_000 });
        let mut session = Self { stream, decoder, txnr: 0 };
        session.frame("open", b"relp_version=0\ncommands=syslog")?;
        let (txnr, answer) = session.answer()?;
        assert!(txnr == 1 && answer.starts_with("200 OK\n"), "{txnr}: {answer}");
        Ok(session)
    }

    /// Sends a line; gives the number under which it will be answered.
    fn send(&mut self, text: &str) -> io::Result<u32> {
        self.frame("syslog", format!("<13>1 - h relay - - - {text}").as_bytes())?;
        Ok(self.txnr)
    }

    fn frame(&mut self, command: &str, data: &[u8]) -> io::Result<()> {
        self.txnr += 1;
        self.stream.write_all(&[format!("{} {command} {} ", self.txnr, data.len()).as_bytes(), data, b"\n"].concat())
    }

    fn answer(&mut self) -> io::Result<(u32, String)> {
        loop {
            if let Some(frame) = self.decoder.next_frame().expect("frames") {
                if frame.txnr > 0 {
                    return Ok((frame.txnr, String::from_utf8(frame.data.to_vec()).expect("text")));
                }
                continue; // the hint `serverclose`: the end of the stream follows
            }
            let mut chunk = [0; 16_384];
            match self.stream.read(&mut chunk)? {
                0 => return Err(ErrorKind::UnexpectedEof.into()),
                bytes => self.decoder.push(&chunk[..bytes]),
            }
        }
    }
}

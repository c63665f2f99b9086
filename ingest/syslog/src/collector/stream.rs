//! Stream sockets, TCP (RFC 6587) and Unix: a thread per connection. The protocol knows no acknowledgement, so the only way
//! to lose nothing is to stop reading when the bus cannot take more; the sender's own queue then does its work.

use std::collections::BTreeMap;
use std::io::{self, ErrorKind, Read};
use std::net::{IpAddr, Shutdown, TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use rustix::net::sockopt;

use super::Stop;
use super::blocks::{Closed, Outlet, Queue};
use super::clock;
use super::datagram::wait;
use super::rate::RateLimit;
use super::status::{SourceGauge, SourceState};
use crate::frame::{Cut, Deframer, Frame, FrameLimits};
use crate::record::{Line, Recorder};

/// What one connection reads at once.
const CHUNK_BYTES: usize = 64 * 1024;
/// A reader needs little stack; a thousand of them should not reserve gigabytes.
const STACK_BYTES: usize = 256 * 1024;
/// When there is no room, a connection idle for so long gives way to a new one. While there is room none is closed: a sender
/// loses the first lines that it writes into a connection closed behind its back.
const IDLE_US: i64 = 600_000_000;
/// A read between frames may take for ever; it has a limit only because a socket wants one.
const IDLE_PATIENCE: Duration = Duration::from_secs(3_600);
/// A peer that has vanished without a word is noticed after some ten minutes.
const KEEPALIVE: Duration = Duration::from_secs(300);

/// A connection.
pub(crate) trait Connection: Read + AsFd + Send + Sized + 'static {
    fn twin(&self) -> io::Result<Self>;
    fn set_patience(&self, patience: Duration) -> io::Result<()>;
    /// Ends reading; what has arrived can still be read.
    fn end(&self);
}

/// A listening socket.
pub(crate) trait Listener: AsFd + Send + 'static {
    type Connection: Connection;
    fn accept(&self) -> io::Result<(Self::Connection, Option<IpAddr>)>;
}

impl Connection for TcpStream {
    fn twin(&self) -> io::Result<Self> {
        self.try_clone()
    }

    fn set_patience(&self, patience: Duration) -> io::Result<()> {
        self.set_read_timeout(Some(patience))
    }

    fn end(&self) {
        let _ = self.shutdown(Shutdown::Read); // it may have ended by itself
    }
}

impl Connection for UnixStream {
    fn twin(&self) -> io::Result<Self> {
        self.try_clone()
    }

    fn set_patience(&self, patience: Duration) -> io::Result<()> {
        self.set_read_timeout(Some(patience))
    }

    fn end(&self) {
        let _ = self.shutdown(Shutdown::Read);
    }
}

impl Listener for TcpListener {
    type Connection = TcpStream;

    fn accept(&self) -> io::Result<(TcpStream, Option<IpAddr>)> {
        let (connection, peer) = TcpListener::accept(self)?;
        connection.set_nonblocking(false)?;
        sockopt::set_socket_keepalive(&connection, true)?;
        sockopt::set_tcp_keepidle(&connection, KEEPALIVE)?;
        Ok((connection, Some(peer.ip())))
    }
}

impl Listener for UnixListener {
    type Connection = UnixStream;

    fn accept(&self) -> io::Result<(UnixStream, Option<IpAddr>)> {
        let (connection, _) = UnixListener::accept(self)?;
        connection.set_nonblocking(false)?;
        Ok((connection, None))
    }
}

/// A stream listener.
pub(crate) struct Stream<L> {
    pub(crate) listener: L,
    pub(crate) reader: Arc<Reader>,
    pub(crate) connections_max: usize,
}

/// What all connections of a listener share.
pub(crate) struct Reader {
    pub(crate) recorder: Recorder,
    pub(crate) gauge: SourceGauge,
    pub(crate) limits: FrameLimits,
    pub(crate) frame_timeout: Duration,
    pub(crate) rate: Arc<RateLimit>,
}

/// The open connections, by number.
type Open<C> = Arc<Mutex<BTreeMap<u64, (C, Arc<AtomicI64>)>>>;

impl<L: Listener> Stream<L> {
    /// Accepts until it is time to stop; then ends all connections and waits until they have handed over what had arrived.
    pub(crate) fn run(self, queue: &Queue, stop: &Stop) {
        let open: Open<L::Connection> = Arc::default();
        let mut threads = Vec::new();
        let mut number = 0;
        while !stop.is_set() {
            wait(self.listener.as_fd());
            threads.retain(|thread: &thread::JoinHandle<()>| !thread.is_finished());
            match self.listener.accept() {
                Ok((connection, peer)) => {
                    number += 1;
                    threads.extend(self.connect(connection, peer, number, &open, queue));
                }
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted | ErrorKind::ConnectionAborted) => {}
                Err(error) => {
                    // Out of file descriptors, most likely: the waiting connections stay in the kernel's queue.
                    self.reader.gauge.set(SourceState::Watching, format!("cannot accept: {error}"));
                    thread::sleep(Duration::from_millis(100));
                }
            }
        }
        for (connection, _) in open.lock().unwrap_or_else(PoisonError::into_inner).values() {
            connection.end();
        }
        for thread in threads {
            let _ = thread.join(); // a reader that panicked has said so on standard error
        }
    }

    fn connect(
        &self,
        connection: L::Connection,
        peer: Option<IpAddr>,
        number: u64,
        open: &Open<L::Connection>,
        queue: &Queue,
    ) -> Option<thread::JoinHandle<()>> {
        let last_us = Arc::new(AtomicI64::new(clock::monotonic_us()));
        let twin = connection.twin().ok()?;
        {
            let mut open = open.lock().unwrap_or_else(PoisonError::into_inner);
            if open.len() < self.connections_max / 2 {
                self.reader.gauge.set(SourceState::Watching, "");
            } else if open.len() >= self.connections_max && !end_idlest(&open) {
                let max = self.connections_max;
                self.reader.gauge.set(SourceState::Watching, format!("more than connections_max = {max} connections; others are refused"));
                return None;
            }
            open.insert(number, (twin, last_us.clone()));
        }
        let (reader, open, outlet) = (self.reader.clone(), open.clone(), queue.outlet());
        let started = thread::Builder::new().name("syslog-stream".into()).stack_size(STACK_BYTES).spawn({
            let open = open.clone();
            move || {
                if reader.read(connection, peer, outlet, &last_us).is_err() {
                    tracing::debug!("connection ended with the publisher");
                }
                open.lock().unwrap_or_else(PoisonError::into_inner).remove(&number);
            }
        });
        if let Err(error) = &started {
            open.lock().unwrap_or_else(PoisonError::into_inner).remove(&number);
            self.reader.gauge.set(SourceState::Watching, format!("no thread for a connection: {error}"));
        }
        started.ok()
    }
}

/// Ends the connection that has been idle for longest, if that was long.
fn end_idlest<C: Connection>(open: &BTreeMap<u64, (C, Arc<AtomicI64>)>) -> bool {
    let idlest = open.values().min_by_key(|(_, last_us)| last_us.load(Ordering::Relaxed));
    let idle = idlest.filter(|(_, last_us)| clock::monotonic_us() - last_us.load(Ordering::Relaxed) >= IDLE_US);
    if let Some((connection, _)) = idle {
        connection.end();
    }
    idle.is_some()
}

impl Reader {
    /// Reads one connection to its end.
    fn read(&self, mut connection: impl Connection, peer: Option<IpAddr>, mut outlet: Outlet, last_us: &AtomicI64) -> Result<(), Closed> {
        let mut deframer = Deframer::new(self.limits);
        let mut chunk = vec![0; CHUNK_BYTES];
        // Since when the present frame is unfinished: one byte a minute keeps no frame alive.
        let mut unfinished_us = None;
        let mut patience_set = Duration::ZERO;
        let cut = loop {
            let patience = unfinished_us.map_or(IDLE_PATIENCE, |since| self.patience(since));
            if patience.is_zero() {
                break Cut::Stalled;
            }
            if patience != patience_set {
                if connection.set_patience(patience).is_err() {
                    break Cut::Closed;
                }
                patience_set = patience;
            }
            match connection.read(&mut chunk) {
                Ok(0) => break Cut::Closed,
                Ok(bytes) => {
                    last_us.store(clock::monotonic_us(), Ordering::Relaxed);
                    deframer.push(chunk.get(..bytes).unwrap_or_default());
                    if self.take(&mut deframer, peer, &mut outlet)? > 0 {
                        unfinished_us = None;
                    }
                    let now_us = clock::monotonic_us();
                    unfinished_us = deframer.is_pending().then(|| unfinished_us.unwrap_or(now_us));
                }
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted) => {}
                Err(_) => break Cut::Stalled, // reset: what has arrived is all there will be
            }
        };
        if let Some(frame) = deframer.cut(cut) {
            self.push(&frame, peer, &mut outlet)?;
        }
        outlet.flush()
    }

    fn patience(&self, since_us: i64) -> Duration {
        let passed = Duration::from_micros(u64::try_from(clock::monotonic_us() - since_us).unwrap_or(0));
        self.frame_timeout.saturating_sub(passed)
    }

    /// Takes all whole frames; says how many.
    fn take(&self, deframer: &mut Deframer, peer: Option<IpAddr>, outlet: &mut Outlet) -> Result<usize, Closed> {
        let mut taken = 0;
        while let Some(frame) = deframer.next_frame() {
            self.push(&frame, peer, outlet)?;
            taken += 1;
        }
        outlet.flush()?;
        Ok(taken)
    }

    fn push(&self, frame: &Frame<'_>, peer: Option<IpAddr>, outlet: &mut Outlet) -> Result<(), Closed> {
        if peer.is_some_and(|peer| !self.rate.passes(peer)) {
            self.gauge.lose("rate_per_peer", 1);
            return Ok(());
        }
        let received_us = clock::now_us();
        let line = Line { bytes: frame.bytes, truncated: frame.truncated, damaged: frame.damaged, peer, received_us };
        outlet.push(self.recorder.line(&line), &self.gauge)
    }
}

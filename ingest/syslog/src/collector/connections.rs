//! Who may connect, and for how long: accepts, keeps the limits, ends everything in the end. A thread per connection.

use std::collections::BTreeMap;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{IpAddr, Shutdown, TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use rustix::net::sockopt;

use super::blocks::Queue;
use super::reread::LOOK;
use super::status::SourceState;
use super::stream::Reader;
use super::transport::readable;
use super::{Stop, clock};

/// A reader needs little stack; a thousand of them should not reserve gigabytes.
const STACK_BYTES: usize = 256 * 1024;
/// A peer that has vanished without a word is noticed after some ten minutes.
const KEEPALIVE: Duration = Duration::from_secs(300);

/// A connected socket.
pub(crate) trait Socket: Read + Write + AsFd + Send + Sized + 'static {
    fn twin(&self) -> io::Result<Self>;
    /// How long a write may wait for a peer that does not read.
    fn set_send_patience(&self, patience: Duration) -> io::Result<()>;
    /// Ends reading; what has arrived can still be read.
    fn end(&self);
}

/// A listening socket.
pub(crate) trait Listener: AsFd + Send + 'static {
    type Socket: Socket;
    fn accept(&self) -> io::Result<(Self::Socket, Option<IpAddr>)>;
}

impl Socket for TcpStream {
    fn twin(&self) -> io::Result<Self> {
        self.try_clone()
    }

    fn set_send_patience(&self, patience: Duration) -> io::Result<()> {
        self.set_write_timeout(Some(patience))
    }

    fn end(&self) {
        let _ = self.shutdown(Shutdown::Read); // it may have ended by itself
    }
}

impl Socket for UnixStream {
    fn twin(&self) -> io::Result<Self> {
        self.try_clone()
    }

    fn set_send_patience(&self, patience: Duration) -> io::Result<()> {
        self.set_write_timeout(Some(patience))
    }

    fn end(&self) {
        let _ = self.shutdown(Shutdown::Read);
    }
}

impl Listener for TcpListener {
    type Socket = TcpStream;

    fn accept(&self) -> io::Result<(TcpStream, Option<IpAddr>)> {
        let (socket, peer) = TcpListener::accept(self)?;
        socket.set_nonblocking(false)?;
        sockopt::set_socket_keepalive(&socket, true)?;
        sockopt::set_tcp_keepidle(&socket, KEEPALIVE)?;
        Ok((socket, Some(peer.ip().to_canonical())))
    }
}

impl Listener for UnixListener {
    type Socket = UnixStream;

    fn accept(&self) -> io::Result<(UnixStream, Option<IpAddr>)> {
        let (socket, _) = UnixListener::accept(self)?;
        socket.set_nonblocking(false)?;
        Ok((socket, None))
    }
}

/// How many connections a listener carries.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ConnectionLimits {
    pub(crate) connections_max: usize,
    /// Of one address; Unix sockets have none.
    pub(crate) per_peer_max: usize,
    /// When there is no room, a connection idle for so long gives way to a new one. While there is room none is closed: a
    /// sender loses the first lines that it writes into a connection closed behind its back.
    pub(crate) idle: Duration,
}

/// A stream listener.
pub(crate) struct Connections<L> {
    pub(crate) listener: L,
    pub(crate) reader: Arc<Reader>,
    pub(crate) limits: ConnectionLimits,
}

/// When a connection brought something last.
#[derive(Debug, Clone)]
pub(crate) struct Pulse(Arc<AtomicI64>);

impl Pulse {
    fn now() -> Self {
        Self(Arc::new(AtomicI64::new(clock::monotonic_us())))
    }

    pub(crate) fn beat(&self) {
        self.0.store(clock::monotonic_us(), Ordering::Relaxed);
    }

    fn last_us(&self) -> i64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// An open connection as its listener sees it.
struct Open<S> {
    twin: S,
    peer: Option<IpAddr>,
    pulse: Pulse,
}

/// All of a listener, by number.
type Table<S> = Arc<Mutex<BTreeMap<u64, Open<S>>>>;

impl<L: Listener> Connections<L> {
    /// Accepts until it is time to stop; then ends all connections and waits until they have handed over what had arrived.
    pub(crate) fn run(self, queue: &Queue, stop: &Stop) {
        let table: Table<L::Socket> = Arc::default();
        let mut threads = Vec::new();
        let mut number = 0;
        while !stop.is_set() {
            self.reader.refresh();
            if readable([self.listener.as_fd()], LOOK) == [false] {
                continue;
            }
            threads.retain(|thread: &JoinHandle<()>| !thread.is_finished());
            match self.listener.accept() {
                Ok((socket, peer)) => {
                    number += 1;
                    threads.extend(self.connect(socket, peer, number, &table, queue));
                }
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted | ErrorKind::ConnectionAborted) => {}
                Err(error) => {
                    // Out of file descriptors, most likely: the waiting connections stay in the kernel's queue.
                    self.reader.gauge.set(SourceState::Watching, format!("cannot accept: {error}"));
                    thread::sleep(Duration::from_millis(100));
                }
            }
        }
        for open in lock(&table).values() {
            open.twin.end();
        }
        for thread in threads {
            let _ = thread.join(); // a reader that panicked has said so on standard error
        }
    }

    /// Starts the thread of a connection, if there is room for it.
    fn connect(
        &self,
        socket: L::Socket,
        peer: Option<IpAddr>,
        number: u64,
        table: &Table<L::Socket>,
        queue: &Queue,
    ) -> Option<JoinHandle<()>> {
        let pulse = Pulse::now();
        socket.set_send_patience(self.reader.frame_timeout).ok()?;
        let twin = socket.twin().ok()?;
        {
            let mut table = lock(table);
            self.has_room(&table, peer).then_some(())?;
            table.insert(number, Open { twin, peer, pulse: pulse.clone() });
        }
        let (reader, queue) = (self.reader.clone(), queue.clone());
        let started = thread::Builder::new().name("syslog-stream".into()).stack_size(STACK_BYTES).spawn({
            let table = table.clone();
            move || {
                if reader.serve(socket, peer, &queue, &pulse).is_err() {
                    tracing::debug!("connection ended with the publisher");
                }
                lock(&table).remove(&number);
            }
        });
        if let Err(error) = &started {
            lock(table).remove(&number);
            self.reader.gauge.set(SourceState::Watching, format!("no thread for a connection: {error}"));
        }
        started.ok()
    }

    /// May one more connect? If there are too many, the idlest may have to go.
    fn has_room(&self, table: &BTreeMap<u64, Open<L::Socket>>, peer: Option<IpAddr>) -> bool {
        let ConnectionLimits { connections_max, per_peer_max, idle } = self.limits;
        let gauge = &self.reader.gauge;
        if table.len() < connections_max / 2 {
            gauge.set(SourceState::Watching, "");
        }
        let of_peer = table.values().filter(|open| open.peer == peer);
        if peer.is_some() && of_peer.clone().count() >= per_peer_max && !end_idlest(of_peer, idle) {
            gauge.refuse("connections_per_peer_max", || peer.map(|peer| peer.to_string()).unwrap_or_default());
            return false;
        }
        if table.len() >= connections_max && !end_idlest(table.values(), idle) {
            gauge.set(SourceState::Watching, format!("more than connections_max = {connections_max} connections; others are refused"));
            gauge.refuse("connections_max", || peer.map(|peer| peer.to_string()).unwrap_or_default());
            return false;
        }
        true
    }
}

/// Ends the connection that has been idle for longest, if that was long.
fn end_idlest<'a, S: Socket>(among: impl Iterator<Item = &'a Open<S>>, idle: Duration) -> bool {
    let idlest = among.min_by_key(|open| open.pulse.last_us());
    let idle_us = i64::try_from(idle.as_micros()).unwrap_or(i64::MAX);
    let ended = idlest.filter(|open| clock::monotonic_us() - open.pulse.last_us() >= idle_us);
    if let Some(open) = ended {
        open.twin.end();
    }
    ended.is_some()
}

fn lock<S>(table: &Table<S>) -> MutexGuard<'_, BTreeMap<u64, Open<S>>> {
    table.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Without it a peer that lost its power would hold its place for ever.
    #[test]
    fn the_kernel_asks_a_silent_peer_whether_it_is_still_there() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let _client = TcpStream::connect(listener.local_addr().expect("an address")).expect("connects");
        let (socket, peer) = Listener::accept(&listener).expect("accepts");
        assert_eq!(peer, Some(IpAddr::from([127, 0, 0, 1])));
        assert_eq!(sockopt::socket_keepalive(&socket), Ok(true));
        assert_eq!(sockopt::tcp_keepidle(&socket), Ok(KEEPALIVE));
    }
}

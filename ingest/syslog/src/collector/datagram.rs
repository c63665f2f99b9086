//! Datagram sockets, UDP (RFC 5426) and Unix: one message each. Nobody can ask a sender to wait, so the kernel's buffer is
//! large, it is emptied in one go, and what overflows all the same is looked up and reported.

use std::io::{self, ErrorKind};
use std::net::{IpAddr, UdpSocket};
use std::os::fd::AsFd;
use std::os::unix::net::UnixDatagram;
use std::sync::Arc;

use rustix::net::sockopt;

use super::Stop;
use super::blocks::{Closed, Outlet};
use super::clock;
use super::rate::RateLimit;
use super::reread::LOOK;
use super::status::{SourceGauge, SourceState};
use super::transport::readable;
use crate::frame::FrameLimits;
use crate::record::{Line, Recorder};

/// How often the kernel's count of drops is read.
const DROPS_US: i64 = 10_000_000;
/// Datagrams taken before what was taken is handed over.
const BURST: usize = 256;

/// A socket that gives whole messages.
pub(crate) trait Datagrams: AsFd + Send {
    /// The next message, without waiting.
    fn receive(&self, buffer: &mut [u8]) -> io::Result<(usize, Option<IpAddr>)>;

    /// Messages that the kernel has dropped since the socket was opened, where it says so.
    fn drops(&self) -> Option<u64>;
}

impl Datagrams for UdpSocket {
    fn receive(&self, buffer: &mut [u8]) -> io::Result<(usize, Option<IpAddr>)> {
        self.recv_from(buffer).map(|(bytes, peer)| (bytes, Some(peer.ip())))
    }

    fn drops(&self) -> Option<u64> {
        let inode = rustix::fs::fstat(self).ok()?.st_ino;
        let tables = ["/proc/net/udp", "/proc/net/udp6"].map(|table| std::fs::read_to_string(table).unwrap_or_default());
        tables.iter().find_map(|table| drops_of(table, inode))
    }
}

impl Datagrams for UnixDatagram {
    fn receive(&self, buffer: &mut [u8]) -> io::Result<(usize, Option<IpAddr>)> {
        self.recv_from(buffer).map(|(bytes, _)| (bytes, None))
    }

    /// A full Unix socket makes its senders wait or fail; it drops nothing.
    fn drops(&self) -> Option<u64> {
        None
    }
}

/// The last column, `drops`, of the socket's line in `/proc/net/udp` (Linux ≥ 2.6.27).
fn drops_of(table: &str, inode: u64) -> Option<u64> {
    let mut fields = table.lines().skip(1).map(|line| line.split_ascii_whitespace().collect::<Vec<_>>());
    let inode = inode.to_string();
    let line = fields.find(|fields| fields.get(9).is_some_and(|field| *field == inode))?;
    line.last()?.parse().ok()
}

/// Asks for a receive buffer, with privileges above the system's limit; what else came is what the error says.
pub(crate) fn enlarge_buffer(socket: &impl AsFd, bytes: usize) -> Result<(), String> {
    if sockopt::set_socket_recv_buffer_size_force(socket, bytes).is_err() {
        sockopt::set_socket_recv_buffer_size(socket, bytes).map_err(|error| format!("receive buffer: {error}"))?;
    }
    // The kernel doubles the number for its own bookkeeping (socket(7)).
    let granted = sockopt::socket_recv_buffer_size(socket).map_err(|error| format!("receive buffer: {error}"))? / 2;
    if granted < bytes {
        return Err(format!("receive buffer of {granted} bytes instead of {bytes}: raise net.core.rmem_max"));
    }
    Ok(())
}

/// A datagram listener.
pub(crate) struct Datagram<S> {
    pub(crate) socket: S,
    pub(crate) recorder: Recorder,
    pub(crate) gauge: SourceGauge,
    pub(crate) limits: FrameLimits,
    pub(crate) rate: Arc<RateLimit>,
}

impl<S: Datagrams> Datagram<S> {
    /// Receives until it is time to stop, and then what is still there.
    pub(crate) fn run(self, mut outlet: Outlet, stop: &Stop) -> Result<(), Closed> {
        let mut buffer = vec![0; self.limits.frame_bytes_max + 1];
        // From zero, not from what the kernel says now: this thread may start long after the socket was opened.
        let (mut drops, mut drops_us) = (0, clock::monotonic_us());
        loop {
            let is_last = stop.is_set();
            while self.burst(&mut buffer, &mut outlet)? == BURST {}
            if is_last || clock::monotonic_us() - drops_us >= DROPS_US {
                drops_us = clock::monotonic_us();
                let now = self.socket.drops().unwrap_or(drops);
                self.gauge.lose("receive_buffer_full", now.saturating_sub(drops));
                drops = now;
            }
            if is_last {
                return Ok(());
            }
            readable([self.socket.as_fd()], LOOK);
        }
    }

    fn burst(&self, buffer: &mut [u8], outlet: &mut Outlet) -> Result<usize, Closed> {
        let received_us = clock::now_us();
        let mut taken = 0;
        let mut excess = 0;
        while taken < BURST {
            match self.socket.receive(buffer) {
                Ok((0, _)) => {}
                Ok((_, Some(peer))) if !self.rate.passes(peer) => excess += 1,
                Ok((bytes, peer)) => {
                    let truncated = bytes > self.limits.frame_bytes_max;
                    let kept = if truncated { self.limits.head_bytes_max } else { bytes };
                    let bytes = buffer.get(..kept).unwrap_or_default();
                    let line = Line { bytes, truncated, damaged: false, peer, received_us };
                    outlet.push(self.recorder.line(&line), &self.gauge)?;
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => {
                    self.gauge.set(SourceState::Blind, error.to_string());
                    std::thread::sleep(LOOK);
                    break;
                }
            }
            taken += 1;
        }
        self.gauge.lose("rate_per_peer", excess);
        outlet.flush()?;
        Ok(taken)
    }
}

#[cfg(test)]
mod tests {
    use schemas::SourceKind;

    use super::*;
    use crate::collector::blocks::queue;
    use crate::collector::status::Watch;

    #[test]
    fn drops_are_read_from_the_line_of_the_socket() {
        let table = "   sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode ref pointer drops            \n\
                     16: 0100007F:158A 00000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 4711 2 0000000000000000 12\n\
                     17: 0100007F:158B 00000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 4712 2 0000000000000000 34\n";
        assert_eq!((drops_of(table, 4712), drops_of(table, 471), drops_of("", 1)), (Some(34), None, None));
    }

    /// The reader's thread may be late on a busy machine; what overflowed before it began is lost all the same.
    #[test]
    fn what_was_dropped_before_the_first_read_is_counted() {
        let socket = UdpSocket::bind("127.0.0.1:0").expect("a socket");
        socket.set_nonblocking(true).expect("does not wait");
        sockopt::set_socket_recv_buffer_size(&socket, 4_096).expect("a small buffer");
        let address = socket.local_addr().expect("an address");
        let sender = UdpSocket::bind("127.0.0.1:0").expect("a socket");
        let sent: u64 = (0..200).map(|_| u64::from(sender.send_to(&[b'x'; 500], address).is_ok())).sum();
        let watch = Watch::default();
        let gauge = watch.add(SourceKind::Udp, "test", SourceState::Watching, "");
        let limits = FrameLimits { frame_bytes_max: 2_000, head_bytes_max: 1_000 };
        let datagram = Datagram { socket, recorder: Recorder::for_test(), gauge, limits, rate: Arc::new(RateLimit::new(0)) };
        let (queue, _blocks) = queue();
        let stop = Stop::default();
        stop.set();
        datagram.run(queue.outlet(), &stop).expect("the queue has room");
        let status = watch.status().remove(0);
        assert!(status.drops > 0 && status.records > 0, "{status:?}");
        assert_eq!(status.records + status.drops, sent);
    }

    #[test]
    fn this_kernel_says_what_it_drops() {
        let socket = UdpSocket::bind("127.0.0.1:0").expect("a socket");
        assert_eq!(Datagrams::drops(&socket), Some(0));
        let socket = UdpSocket::bind("[::1]:0").map(|socket| Datagrams::drops(&socket));
        assert!(socket.is_err() || socket.is_ok_and(|drops| drops == Some(0)));
    }
}

//! Sockets that a service manager opened for us and keeps open while we are away (socket activation, `sd_listen_fds(3)`): what
//! senders say during an upgrade waits in the kernel, and no connection is refused.
//!
//! What a socket is for is told by its address: a listener of the configuration whose address is handed over is not opened
//! anew. So the two cannot be wired wrongly, and the same configuration serves with and without a manager.

use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::os::unix::net::{UnixDatagram, UnixListener};
use std::path::Path;
use std::sync::{LazyLock, Mutex, PoisonError};

use listenfd::ListenFd;
use schemas::SourceKind;

static HANDED_OVER: LazyLock<Mutex<Inherited>> = LazyLock::new(|| Mutex::new(Inherited::of_environment()));

/// Takes what the service manager handed over. To be called first in `main`: the variables that tell of it are removed from the
/// environment, so that no child believes them, and that is sound only while there is one thread.
pub fn take_over_sockets() {
    LazyLock::force(&HANDED_OVER);
}

/// Sockets that nobody has claimed yet.
#[derive(Debug, Default)]
pub(crate) struct Inherited {
    udp: Vec<UdpSocket>,
    tcp: Vec<TcpListener>,
    datagram: Vec<UnixDatagram>,
    stream: Vec<UnixListener>,
}

impl Inherited {
    /// What this process was given, once.
    pub(crate) fn take() -> Self {
        std::mem::take(&mut *HANDED_OVER.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn of_environment() -> Self {
        let (mut handed, mut found) = (ListenFd::from_env(), Self::default());
        // A socket of another kind is refused and stays for the next question.
        for index in 0..handed.len() {
            if let Ok(Some(socket)) = handed.take_tcp_listener(index) {
                found.tcp.push(socket);
            } else if let Ok(Some(socket)) = handed.take_udp_socket(index) {
                found.udp.push(socket);
            } else if let Ok(Some(socket)) = handed.take_unix_listener(index) {
                found.stream.push(socket);
            } else if let Ok(Some(socket)) = handed.take_unix_datagram(index) {
                found.datagram.push(socket);
            } else {
                tracing::warn!(index, "expected a socket of UDP, TCP or Unix from the service manager, found something else");
            }
        }
        found
    }

    pub(crate) fn udp(&mut self, address: SocketAddr) -> Option<UdpSocket> {
        claim(&mut self.udp, |socket| socket.local_addr().is_ok_and(|its| its == address))
    }

    pub(crate) fn tcp(&mut self, address: SocketAddr) -> Option<TcpListener> {
        claim(&mut self.tcp, |socket| socket.local_addr().is_ok_and(|its| its == address))
    }

    pub(crate) fn datagram(&mut self, path: &Path) -> Option<UnixDatagram> {
        claim(&mut self.datagram, |socket| socket.local_addr().is_ok_and(|its| its.as_pathname() == Some(path)))
    }

    pub(crate) fn stream(&mut self, path: &Path) -> Option<UnixListener> {
        claim(&mut self.stream, |socket| socket.local_addr().is_ok_and(|its| its.as_pathname() == Some(path)))
    }

    /// Kind and address of what no listener claimed: senders find it open, and nobody reads.
    pub(crate) fn unclaimed(&self) -> Vec<(SourceKind, String)> {
        let address = |address: std::io::Result<SocketAddr>| address.map_or_else(|error| error.to_string(), |address| address.to_string());
        let path = |address: std::io::Result<std::os::unix::net::SocketAddr>| match address {
            Ok(address) => address.as_pathname().map_or_else(|| "without a path".to_owned(), |path| path.display().to_string()),
            Err(error) => error.to_string(),
        };
        let udp = self.udp.iter().map(|socket| (SourceKind::Udp, address(socket.local_addr())));
        let tcp = self.tcp.iter().map(|socket| (SourceKind::Tcp, address(socket.local_addr())));
        let datagram = self.datagram.iter().map(|socket| (SourceKind::Unix, path(socket.local_addr())));
        let stream = self.stream.iter().map(|socket| (SourceKind::Unix, path(socket.local_addr())));
        udp.chain(tcp).chain(datagram).chain(stream).collect()
    }
}

fn claim<S>(among: &mut Vec<S>, is_meant: impl Fn(&S) -> bool) -> Option<S> {
    among.iter().position(is_meant).map(|index| among.swap_remove(index))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_socket_is_claimed_by_its_address_once_and_the_rest_is_told() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("log.sock");
        let udp = UdpSocket::bind("127.0.0.1:0").expect("binds");
        let (first, second) = (TcpListener::bind("127.0.0.1:0").expect("binds"), TcpListener::bind("127.0.0.1:0").expect("binds"));
        let address = |listener: &TcpListener| listener.local_addr().expect("an address");
        let (one, other) = (address(&first), address(&second));
        let stream = UnixListener::bind(&path).expect("binds");
        let mut inherited = Inherited { udp: vec![udp], tcp: vec![first, second], datagram: Vec::new(), stream: vec![stream] };
        assert!(inherited.udp(one).is_none(), "a port of UDP is not one of TCP");
        assert_eq!(inherited.tcp(other).map(|socket| address(&socket)), Some(other));
        assert!(inherited.tcp(other).is_none());
        assert!(inherited.datagram(&path).is_none());
        assert!(inherited.stream(&path).is_some());
        let left: Vec<_> = inherited.unclaimed().into_iter().map(|(kind, _)| kind).collect();
        assert_eq!(left, [SourceKind::Udp, SourceKind::Tcp]);
        assert_eq!(inherited.unclaimed()[1].1, one.to_string());
    }
}

//! What carries the bytes of a connection: a bare socket, or one with TLS around it.

use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::time::Timespec;

use super::reread::LOOK;

/// What one connection reads at once.
pub(super) const CHUNK_BYTES: usize = 64 * 1024;

/// A connection's bytes, both ways.
pub(crate) trait Transport: Send {
    /// What to wait for.
    fn socket(&self) -> BorrowedFd<'_>;

    /// Is there something to receive for which no waiting is needed?
    fn has_buffered(&self) -> bool {
        false
    }

    /// One read, to be called when there is something: what came, none at an orderly end. It may be nothing for now.
    fn receive(&mut self) -> io::Result<Option<&[u8]>>;

    /// Sends all of it.
    fn send(&mut self, bytes: &[u8]) -> io::Result<()>;
}

/// A bare socket.
pub(crate) struct Plain<S> {
    socket: S,
    chunk: Vec<u8>,
}

impl<S> Plain<S> {
    pub(crate) fn new(socket: S) -> Self {
        Self { socket, chunk: vec![0; CHUNK_BYTES] }
    }
}

impl<S: Read + Write + AsFd + Send> Transport for Plain<S> {
    fn socket(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }

    fn receive(&mut self) -> io::Result<Option<&[u8]>> {
        Ok(match read(&mut self.socket, &mut self.chunk)? {
            None => Some(&[]),
            Some(0) => None,
            Some(bytes) => self.chunk.get(..bytes),
        })
    }

    fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.socket.write_all(bytes)
    }
}

/// One read of a socket, none if a signal came first or there was nothing after all.
pub(super) fn read(socket: &mut impl Read, into: &mut [u8]) -> io::Result<Option<usize>> {
    match socket.read(into) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if matches!(error.kind(), ErrorKind::Interrupted | ErrorKind::WouldBlock) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Which of these can be read (or have ended), after at most `patience`.
pub(crate) fn readable<const N: usize>(of: [BorrowedFd<'_>; N], patience: Duration) -> [bool; N] {
    let mut waiting = of.each_ref().map(|fd| PollFd::new(fd, PollFlags::IN));
    let patience = Timespec { tv_sec: i64::try_from(patience.as_secs()).unwrap_or(i64::MAX), tv_nsec: patience.subsec_nanos().into() };
    match poll(&mut waiting, Some(&patience)) {
        Ok(_) => waiting.map(|fd| !fd.revents().is_empty()),
        Err(_) => {
            std::thread::sleep(LOOK); // a signal, most likely; whoever waits looks again
            [false; N]
        }
    }
}

//! A connection with TLS around it.
//!
//! The socket is read in large pieces, and each piece is deciphered to its end at once: afterwards nothing is left inside that
//! one could wait for in vain.

use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::BorrowedFd;
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::CertificateDer;
use rustls::{ServerConfig, ServerConnection};

use super::Refusal;
use crate::collector::clock;
use crate::collector::connections::Socket;
use crate::collector::transport::{CHUNK_BYTES, Transport, read, readable};

/// One that has shaken hands.
pub(crate) struct Secured<S: Socket> {
    socket: S,
    tls: ServerConnection,
    /// As it came.
    chunk: Vec<u8>,
    /// Deciphered.
    plain: Vec<u8>,
    /// `plain` holds what came along with the handshake and has not been given out.
    has_buffered: bool,
    /// The sender said that this is all. Without that, an end may be somebody's cut.
    has_closed: bool,
}

impl<S: Socket> Secured<S> {
    /// Shakes hands as the server. However slowly the bytes come, it takes no longer than `patience`.
    pub(super) fn shake_hands(config: Arc<ServerConfig>, socket: S, patience: Duration) -> Result<Self, Refusal> {
        let refuse = |error: &dyn std::error::Error| Refusal::Handshake(error.to_string());
        let tls = ServerConnection::new(config).map_err(|error| refuse(&error))?;
        let (chunk, plain) = (vec![0; CHUNK_BYTES], Vec::new());
        let mut secured = Self { socket, tls, chunk, plain, has_buffered: false, has_closed: false };
        let until_us = clock::monotonic_us().saturating_add(i64::try_from(patience.as_micros()).unwrap_or(i64::MAX));
        while secured.tls.is_handshaking() {
            let left = u64::try_from(until_us - clock::monotonic_us()).ok().filter(|left| *left > 0).ok_or(Refusal::Slow)?;
            if readable([secured.socket.as_fd()], Duration::from_micros(left)) == [false] {
                continue;
            }
            match read(&mut secured.socket, &mut secured.chunk).map_err(|error| refuse(&error))? {
                Some(0) => return Err(Refusal::Handshake("closed by the sender".into())),
                Some(bytes) => secured.decipher(bytes).map_err(|error| refuse(&error))?,
                None => {}
            }
        }
        secured.has_buffered = !secured.plain.is_empty();
        Ok(secured)
    }

    /// The sender's own certificate, verified, if it showed one.
    pub(super) fn certificate(&self) -> Option<&CertificateDer<'static>> {
        self.tls.peer_certificates()?.first()
    }

    /// Takes the first `bytes` of the chunk apart, appends what they hold to `plain`, and sends what TLS itself has to say.
    fn decipher(&mut self, bytes: usize) -> io::Result<()> {
        let mut wire = self.chunk.get(..bytes).unwrap_or_default();
        while !wire.is_empty() && !self.has_closed {
            self.tls.read_tls(&mut wire)?;
            let state = self.tls.process_new_packets().map_err(|error| {
                let _ = self.tls.write_tls(&mut self.socket); // the alert that tells the sender why
                io::Error::new(ErrorKind::InvalidData, error)
            })?;
            self.has_closed = state.peer_has_closed();
            let known = self.plain.len();
            self.plain.resize(known + state.plaintext_bytes_to_read(), 0);
            self.tls.reader().read_exact(self.plain.get_mut(known..).unwrap_or_default())?;
        }
        self.flush()
    }

    fn flush(&mut self) -> io::Result<()> {
        while self.tls.wants_write() {
            if self.tls.write_tls(&mut self.socket)? == 0 {
                return Err(ErrorKind::WriteZero.into());
            }
        }
        Ok(())
    }
}

impl<S: Socket> Transport for Secured<S> {
    fn socket(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }

    fn has_buffered(&self) -> bool {
        self.has_buffered || self.has_closed
    }

    fn receive(&mut self) -> io::Result<Option<&[u8]>> {
        if !std::mem::take(&mut self.has_buffered) {
            if self.has_closed {
                return Ok(None);
            }
            self.plain.clear();
            match read(&mut self.socket, &mut self.chunk)? {
                Some(0) => return Err(ErrorKind::UnexpectedEof.into()),
                Some(bytes) => self.decipher(bytes)?,
                None => {}
            }
        }
        Ok(Some(&self.plain))
    }

    fn send(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            let taken = self.tls.writer().write(bytes)?;
            bytes = bytes.get(taken..).unwrap_or_default();
            self.flush()?;
        }
        Ok(())
    }
}

impl<S: Socket> Drop for Secured<S> {
    /// Says that this was all; whoever does not hear it has gone.
    fn drop(&mut self) {
        self.tls.send_close_notify();
        let _ = self.flush();
    }
}

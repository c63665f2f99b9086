//! The sender: a pulse every few seconds, from a process that does nothing else.

use std::{
    io,
    net::{SocketAddr, ToSocketAddrs, UdpSocket},
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use stream_runtime::{
    secret,
    time::{Clock, SystemClock},
};

use crate::pulse::{Key, Pulse, PulseError};

/// How often it looks whether to stop.
const LOOK: Duration = Duration::from_millis(100);
/// The last word is said so often, since nobody answers.
const FAREWELLS: usize = 3;
/// After how many pulses the receiver's name is looked up again.
const PULSES_PER_LOOKUP: u64 = 20;
const RUN_BYTES: usize = 8;

/// Why nothing can be sent at all.
#[derive(Debug, thiserror::Error)]
pub enum SendError {
    /// The name does not fit into a pulse.
    #[error(transparent)]
    Name(#[from] PulseError),
    /// No socket, or no random number.
    #[error("heartbeats cannot be sent")]
    Io(#[from] io::Error),
    /// The receiver's name means nothing.
    #[error("{to}: expected HOST:PORT, and an address of that host")]
    Receiver {
        /// What was given.
        to: String,
    },
}

/// One life of a sender.
#[derive(Debug)]
pub struct Sender {
    socket: UdpSocket,
    to: String,
    address: Option<SocketAddr>,
    key: Option<Key>,
    pulse: Pulse,
}

impl Sender {
    /// A sender that lives from now on.
    ///
    /// # Errors
    /// If the name does not fit, or the receiver's address means nothing now.
    pub fn new(to: &str, name: &str, is_vm: bool, key: Option<Key>) -> Result<Self, SendError> {
        let run = u64::from_str_radix(&secret::random_hex(RUN_BYTES)?, 16).map_err(io::Error::other)?;
        let pulse = Pulse { name: name.into(), is_vm, is_farewell: false, run, sequence: 0 };
        pulse.encode(None)?;
        let address = resolve(to).ok_or_else(|| SendError::Receiver { to: to.into() })?;
        let socket = UdpSocket::bind(if address.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" })?;
        Ok(Self { socket, to: to.into(), address: Some(address), key, pulse })
    }

    /// Sends the next pulse. What the network refuses is no reason to stop: the next one may come through.
    pub fn beat(&mut self) {
        self.pulse.sequence += 1;
        if self.address.is_none() || self.pulse.sequence.is_multiple_of(PULSES_PER_LOOKUP) {
            self.address = resolve(&self.to).or(self.address);
        }
        let Some(address) = self.address else { return };
        let sent = self.pulse.encode(self.key.as_ref()).map_err(io::Error::other).and_then(|bytes| self.socket.send_to(&bytes, address));
        if let Err(error) = sent {
            tracing::warn!(%error, to = self.to, "a heartbeat could not be sent");
        }
    }

    /// Beats until it is told to stop, then says goodbye: what follows is no failure.
    pub fn run(mut self, every: Duration, stop: &AtomicBool) {
        let clock = SystemClock;
        let begun = clock.monotonic();
        let mut beats = 0_u32;
        while !stop.load(Ordering::Relaxed) {
            // Against the plan and not against the last beat, so that delays do not add up.
            let now = clock.monotonic().saturating_sub(begun);
            if now >= every.saturating_mul(beats) {
                // A machine that was suspended does not make up for what it missed.
                beats = u32::try_from(now.as_millis() / every.as_millis().max(1)).unwrap_or(u32::MAX).saturating_add(1);
                self.beat();
            }
            std::thread::sleep(LOOK.min(every));
        }
        self.farewell();
    }

    fn farewell(&mut self) {
        self.pulse.is_farewell = true;
        (0..FAREWELLS).for_each(|_| self.beat());
    }
}

fn resolve(to: &str) -> Option<SocketAddr> {
    to.to_socket_addrs().ok()?.next()
}

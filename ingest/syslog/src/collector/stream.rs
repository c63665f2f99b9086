//! What is read from a connection: syslog in a stream, over TCP (RFC 6587), TLS (RFC 5425) or a Unix socket. The protocol
//! knows no acknowledgement, so the only way to lose nothing is to stop reading when the bus cannot take more; the sender's
//! own queue then does its work. A connection that speaks RELP is [handed on](super::relp).

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::blocks::{Closed, Outlet, Queue};
use super::clock;
use super::connections::{Pulse, Socket};
use super::rate::RateLimit;
use super::relp::Conversation;
use super::status::SourceGauge;
use super::tls::Gate;
use super::transport::{Plain, Transport, readable};
use crate::frame::{Cut, Deframer, FrameLimits};
use crate::record::{Line, Recorder};

/// A read between frames may take for ever; it has a limit only because `poll` wants one.
const IDLE_PATIENCE: Duration = Duration::from_secs(3_600);

/// What is spoken on a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// Messages one after the other, octet-counted or by lines.
    #[default]
    Syslog,
    /// RELP: each message is acknowledged once it is safe.
    Relp,
}

/// What all connections of a listener share.
pub(crate) struct Reader {
    pub(crate) protocol: Protocol,
    /// None: in the clear.
    pub(crate) gate: Option<Gate>,
    pub(crate) recorder: Recorder,
    pub(crate) gauge: SourceGauge,
    pub(crate) limits: FrameLimits,
    pub(crate) frame_timeout: Duration,
    pub(crate) rate: Arc<RateLimit>,
}

/// Since when a frame is unfinished. One byte a minute keeps no frame alive.
#[derive(Debug, Clone, Copy)]
pub(super) struct Patience {
    frame_timeout: Duration,
    unfinished_us: Option<i64>,
}

impl Patience {
    pub(super) fn new(frame_timeout: Duration) -> Self {
        Self { frame_timeout, unfinished_us: None }
    }

    /// How long to wait for more; none if it has been too long.
    pub(super) fn left(&self) -> Option<Duration> {
        let Some(since_us) = self.unfinished_us else { return Some(IDLE_PATIENCE) };
        let passed = Duration::from_micros(u64::try_from(clock::monotonic_us() - since_us).unwrap_or(0));
        Some(self.frame_timeout.saturating_sub(passed)).filter(|left| !left.is_zero())
    }

    /// After a read: is a frame unfinished, and is it another one than before?
    pub(super) fn after(&mut self, is_pending: bool, is_new: bool) {
        if is_new || !is_pending {
            self.unfinished_us = None;
        }
        if is_pending {
            self.unfinished_us.get_or_insert_with(clock::monotonic_us);
        }
    }
}

impl Reader {
    /// Looks whether certificates are to be read anew; called several times a second.
    pub(super) fn refresh(&self) {
        if let Some(gate) = &self.gate {
            gate.refresh(&self.gauge);
        }
    }

    /// Reads one connection to its end.
    pub(super) fn serve(&self, socket: impl Socket, peer: Option<IpAddr>, queue: &Queue, pulse: &Pulse) -> Result<(), Closed> {
        let mut transport: Box<dyn Transport> = match &self.gate {
            None => Box::new(Plain::new(socket)),
            Some(gate) => match gate.admit(socket, peer, self.frame_timeout) {
                Ok(secured) => Box::new(secured),
                Err(refusal) => {
                    self.gauge.refuse(refusal.cause(), || format!("{}: {refusal}", name_of(peer)));
                    return Ok(());
                }
            },
        };
        match self.protocol {
            Protocol::Syslog => self.read(transport.as_mut(), peer, queue.outlet(), pulse),
            Protocol::Relp => Conversation::new(self, transport.as_mut(), peer, queue).run(pulse),
        }
    }

    fn read(&self, transport: &mut dyn Transport, peer: Option<IpAddr>, mut outlet: Outlet, pulse: &Pulse) -> Result<(), Closed> {
        let mut deframer = Deframer::new(self.limits);
        let mut patience = Patience::new(self.frame_timeout);
        let cut = loop {
            let Some(left) = patience.left() else {
                self.gauge.refuse("frame_timeout", || name_of(peer));
                break Cut::Stalled;
            };
            if !transport.has_buffered() && readable([transport.socket()], left) == [false] {
                continue;
            }
            match transport.receive() {
                Ok(None) => break Cut::Closed,
                Ok(Some([])) => continue,
                Ok(Some(bytes)) => {
                    pulse.beat();
                    deframer.push(bytes);
                }
                Err(_) => break Cut::Stalled, // reset: what has arrived is all there will be
            }
            let taken = self.take(&mut deframer, peer, &mut outlet)?;
            patience.after(deframer.is_pending(), taken > 0);
        };
        if let Some(frame) = deframer.cut(cut) {
            self.push(frame.bytes, frame.truncated, frame.damaged, peer, &mut outlet)?;
        }
        outlet.flush()
    }

    /// Takes all whole frames; says how many.
    fn take(&self, deframer: &mut Deframer, peer: Option<IpAddr>, outlet: &mut Outlet) -> Result<usize, Closed> {
        let mut taken = 0;
        while let Some(frame) = deframer.next_frame() {
            self.push(frame.bytes, frame.truncated, frame.damaged, peer, outlet)?;
            taken += 1;
        }
        outlet.flush()?;
        Ok(taken)
    }

    /// Hands over one message, unless its sender has sent too many.
    pub(super) fn push(
        &self,
        bytes: &[u8],
        truncated: bool,
        damaged: bool,
        peer: Option<IpAddr>,
        outlet: &mut Outlet,
    ) -> Result<(), Closed> {
        if peer.is_some_and(|peer| !self.rate.passes(peer)) {
            self.gauge.lose("rate_per_peer", 1);
            return Ok(());
        }
        let line = Line { bytes, truncated, damaged, peer, received_us: clock::now_us() };
        outlet.push(self.recorder.line(&line), &self.gauge)
    }
}

/// A peer in a message to an operator.
pub(super) fn name_of(peer: Option<IpAddr>) -> String {
    peer.map_or_else(|| "a program of this machine".to_owned(), |peer| peer.to_string())
}

//! A connection that speaks RELP: each message is answered once the bus has it, in order, while the next ones come in.
//!
//! One thread waits for both, the sender and the publisher. While the queue onto the bus is full it reads nothing and answers
//! nothing, which is what a sender's window is for.

use std::net::IpAddr;
use std::time::Duration;

use super::blocks::{Closed, Outlet, Queue};
use super::clock;
use super::connections::Pulse;
use super::receipt::Receipt;
use super::stream::{Patience, Reader, name_of};
use super::transport::{Transport, readable};
use crate::relp::{Answers, Decoder, Request, Session};

/// Messages without an answer beyond which no more is read. Senders keep a window of their own, librelp of 128.
const UNANSWERED_MAX: usize = 8_192;
/// At the end of a connection, how long its last messages may take to become safe.
const FAREWELL: Duration = Duration::from_secs(10);
/// The last thing that a receiver says.
const SERVER_CLOSE: &[u8] = b"0 serverclose 0\n";

/// One connection, from its first byte to its last.
pub(super) struct Conversation<'a> {
    reader: &'a Reader,
    transport: &'a mut dyn Transport,
    peer: Option<IpAddr>,
    queue: &'a Queue,
    decoder: Decoder,
    session: Session,
    answers: Answers,
    /// Answers on their way out.
    out: Vec<u8>,
}

/// Why no more is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    /// The sender closed or went; or it said what cannot be understood. It may still read.
    Reading,
    /// The connection is of no use.
    Connection,
}

impl<'a> Conversation<'a> {
    pub(super) fn new(reader: &'a Reader, transport: &'a mut dyn Transport, peer: Option<IpAddr>, queue: &'a Queue) -> Self {
        let decoder = Decoder::new(reader.limits);
        Self { reader, transport, peer, queue, decoder, session: Session::default(), answers: Answers::default(), out: Vec::new() }
    }

    /// Reads until there is no more to be read, then answers what is left.
    pub(super) fn run(mut self, pulse: &Pulse) -> Result<(), Closed> {
        let receipt = match Receipt::new() {
            Ok(receipt) => receipt,
            Err(error) => {
                self.reader.gauge.refuse("no_file_descriptor", || format!("{}: {error}", name_of(self.peer)));
                return Ok(());
            }
        };
        let mut outlet = self.queue.outlet_with(receipt.clone());
        match self.read(&receipt, &mut outlet, pulse)? {
            End::Connection => outlet.flush(),
            End::Reading => self.farewell(&receipt, &mut outlet),
        }
    }

    fn read(&mut self, receipt: &Receipt, outlet: &mut Outlet, pulse: &Pulse) -> Result<End, Closed> {
        let mut patience = Patience::new(self.reader.frame_timeout);
        loop {
            let Some(left) = patience.left() else {
                // The half frame has no answer, so its sender has it still.
                self.reader.gauge.refuse("frame_timeout", || name_of(self.peer));
                return Ok(End::Connection);
            };
            let has_buffered = self.transport.has_buffered();
            let left = if has_buffered { Duration::ZERO } else { left };
            let (has_bytes, has_news) = if self.answers.len() < UNANSWERED_MAX {
                let [has_bytes, has_news] = readable([self.transport.socket(), receipt.news()], left);
                (has_bytes || has_buffered, has_news)
            } else {
                let [has_news] = readable([receipt.news()], left);
                patience = Patience::new(self.reader.frame_timeout); // it is we who do not read
                (false, has_news)
            };
            if has_news && self.answer(receipt).is_err() {
                return Ok(End::Connection);
            }
            if receipt.has_failed() {
                return Err(Closed);
            }
            if !has_bytes {
                continue;
            }
            match self.transport.receive() {
                Ok(None) => return Ok(End::Reading),
                Ok(Some([])) => continue,
                Ok(Some(bytes)) => {
                    pulse.beat();
                    self.decoder.push(bytes);
                }
                Err(_) => return Ok(End::Connection),
            }
            let (taken, end) = self.take(outlet)?;
            patience.after(self.decoder.is_pending(), taken > 0);
            if let Some(end) = end {
                return Ok(end);
            }
            if self.answer(receipt).is_err() {
                return Ok(End::Connection);
            }
        }
    }

    /// Takes all whole frames: how many, and whether they are the last.
    fn take(&mut self, outlet: &mut Outlet) -> Result<(usize, Option<End>), Closed> {
        let mut taken = 0;
        let end = loop {
            let frame = match self.decoder.next_frame() {
                Ok(None) => break None,
                Ok(Some(frame)) => frame,
                Err(bad) => {
                    self.reader.gauge.refuse("relp_frame", || format!("{}: {bad}", name_of(self.peer)));
                    break Some(End::Reading);
                }
            };
            taken += 1;
            let (txnr, truncated) = (frame.txnr, frame.truncated);
            match self.session.receive(&frame) {
                Request::Take(line) => {
                    self.reader.push(line, truncated, false, self.peer, outlet)?;
                    self.answers.ok(txnr, outlet.records());
                }
                Request::Answer(text) => self.answers.text(txnr, outlet.records(), text),
                Request::Last(text) => {
                    self.answers.text(txnr, outlet.records(), text);
                    break Some(End::Reading);
                }
                Request::Nonsense(why) => {
                    self.reader.gauge.refuse("relp_command", || format!("{}: {why}", name_of(self.peer)));
                    break Some(End::Reading);
                }
            }
        };
        outlet.flush()?;
        Ok((taken, end))
    }

    /// Sends the answers for all that is safe by now.
    fn answer(&mut self, receipt: &Receipt) -> std::io::Result<()> {
        self.answers.take(receipt.safe(), &mut self.out);
        if self.out.is_empty() {
            return Ok(());
        }
        let sent = self.transport.send(&self.out);
        self.out.clear();
        sent
    }

    /// Answers what was taken as far as it becomes safe soon, and says good-bye. A sender that has gone already does not hear it.
    fn farewell(&mut self, receipt: &Receipt, outlet: &mut Outlet) -> Result<(), Closed> {
        outlet.flush()?;
        let until_us = clock::monotonic_us().saturating_add(i64::try_from(FAREWELL.as_micros()).unwrap_or(i64::MAX));
        while self.answer(receipt).is_ok() {
            let left = Duration::from_micros(u64::try_from(until_us - clock::monotonic_us()).unwrap_or(0));
            if self.answers.is_empty() || receipt.has_failed() || left.is_zero() {
                let _ = self.transport.send(SERVER_CLOSE);
                break;
            }
            readable([receipt.news()], left);
        }
        Ok(())
    }
}

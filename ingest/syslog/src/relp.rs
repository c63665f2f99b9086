//! RELP, the protocol in which rsyslog gets an acknowledgement for each message: its frames, and what a receiver answers.
//!
//! ```text
//! frame     TXNR SP COMMAND SP DATALEN [SP DATA] LF        without SP DATA where DATALEN is 0
//! sender    1 open …    2 syslog <13>…    3 syslog <13>…    4 close
//! receiver  1 rsp 200 OK …      2 rsp 200 OK   3 rsp 200 OK      4 rsp …   0 serverclose
//! ```
//!
//! A sender may be a window of messages ahead of the answers and keeps each until it is answered. After a break it sends what
//! it has no answer for again, so a receiver that answers only for what it has safe loses nothing and doubles little.
//! Source: `doc/relp.html` of librelp. Here is no clock and no socket: [`Decoder`] finds the frames, [`Session`] says what they
//! ask for, [`Answers`] keeps the order.

mod answers;
mod session;

use std::ops::Range;

pub use answers::Answers;
pub use session::{Request, Session};

use crate::frame::FrameLimits;

/// Transaction numbers go from 1 to this and then from 1 again; nine digits.
pub const TXNR_MAX: u32 = 999_999_999;
const NUMBER_DIGITS_MAX: usize = 9;
const COMMAND_BYTES_MAX: usize = 32;
/// Memory that an idle connection may keep.
const IDLE_BYTES_MAX: usize = 64 * 1024;

/// One frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Frame<'a> {
    /// Number of the transaction; 0 is a hint that needs no answer.
    pub txnr: u32,
    /// What is asked for.
    pub command: &'a str,
    /// With what.
    pub data: &'a [u8],
    /// There was more data than [`FrameLimits::frame_bytes_max`]; this is its head.
    pub truncated: bool,
}

/// Bytes that are no frame. Where the next one begins cannot be known, so a connection ends with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadFrame {
    /// No transaction number.
    #[error("expected a transaction number of at most nine digits and a space")]
    Txnr,
    /// No command.
    #[error("expected a command of at most 32 letters and a space")]
    Command,
    /// No length.
    #[error("expected a data length of at most nine digits, then a space, or a line feed where it is 0")]
    Length,
    /// The data was longer than it said.
    #[error("expected a line feed after the data, found byte {found:#04x}")]
    Trailer {
        /// What stands there.
        found: u8,
    },
}

/// Splits a byte stream into frames, however it is cut into reads.
///
/// ```
/// use syslog::frame::FrameLimits;
/// use syslog::relp::Decoder;
///
/// let mut decoder = Decoder::new(FrameLimits { frame_bytes_max: 200_000, head_bytes_max: 65_536 });
/// decoder.push(b"1 open 14 relp_version=0\n2 syslog 8 <13>a\nb");
/// assert_eq!(decoder.next_frame().unwrap().unwrap().command, "open");
/// assert_eq!(decoder.next_frame(), Ok(None));
/// decoder.push(b"c\n");
/// assert_eq!(decoder.next_frame().unwrap().unwrap().data, b"<13>a\nbc");
/// ```
#[derive(Debug)]
pub struct Decoder {
    limits: FrameLimits,
    buffer: Vec<u8>,
    /// Bytes of `buffer` that are done with.
    consumed: usize,
    /// Command and head of the data of a frame that is too long.
    head: Vec<u8>,
    state: State,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Before or within a frame that will be kept whole.
    Whole,
    /// Within the data of one that is too long, of which `left` bytes are still to come.
    TooLong { txnr: u32, command_bytes: usize, left: usize },
    /// Behind bytes that are no frame.
    Bad(BadFrame),
}

/// What stands before the data.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Header {
    txnr: u32,
    command: Range<usize>,
    data: Range<usize>,
}

impl Decoder {
    /// An empty stream.
    pub fn new(limits: FrameLimits) -> Self {
        Self { limits, buffer: Vec::new(), consumed: 0, head: Vec::new(), state: State::Whole }
    }

    /// Adds what was read. Take all frames out before the next read: the buffer holds at most one unfinished frame then.
    pub fn push(&mut self, bytes: &[u8]) {
        self.buffer.drain(..self.consumed);
        self.consumed = 0;
        if self.buffer.is_empty() {
            self.buffer.shrink_to(IDLE_BYTES_MAX);
        }
        self.buffer.extend_from_slice(bytes);
    }

    /// The next whole frame, if there is one.
    ///
    /// # Errors
    /// [`BadFrame`], from then on always the same.
    pub fn next_frame(&mut self) -> Result<Option<Frame<'_>>, BadFrame> {
        let start = self.consumed;
        let found = match self.state {
            State::Bad(bad) => Err(bad),
            State::Whole => self.whole(),
            State::TooLong { .. } => self.too_long(),
        };
        let (is_cut, header) = match found.inspect_err(|bad| self.state = State::Bad(*bad))? {
            None => return Ok(None),
            Some(Step::Whole(header)) => (false, header),
            Some(Step::Cut(header)) => (true, header),
        };
        let bytes = if is_cut { &self.head } else { self.buffer.get(start..).unwrap_or_default() };
        let part = |range: Range<usize>| bytes.get(range).unwrap_or_default();
        let command = std::str::from_utf8(part(header.command)).unwrap_or_default(); // letters only
        Ok(Some(Frame { txnr: header.txnr, command, data: part(header.data), truncated: is_cut }))
    }

    /// Is there an unfinished frame?
    pub fn is_pending(&self) -> bool {
        self.consumed < self.buffer.len() || self.state != State::Whole
    }

    fn whole(&mut self) -> Result<Option<Step>, BadFrame> {
        let rest = self.buffer.get(self.consumed..).unwrap_or_default();
        let Some(header) = header(rest)? else { return Ok(None) };
        if header.data.len() <= self.limits.frame_bytes_max {
            let Some(trailer) = rest.get(header.data.end) else { return Ok(None) };
            line_feed(*trailer)?;
            self.consumed += header.data.end + 1;
            return Ok(Some(Step::Whole(header)));
        }
        self.head = rest.get(header.command.clone()).unwrap_or_default().to_vec();
        self.consumed += header.data.start;
        self.state = State::TooLong { txnr: header.txnr, command_bytes: self.head.len(), left: header.data.len() };
        self.too_long()
    }

    fn too_long(&mut self) -> Result<Option<Step>, BadFrame> {
        let State::TooLong { txnr, command_bytes, left } = &mut self.state else { return Ok(None) };
        let rest = self.buffer.get(self.consumed..).unwrap_or_default();
        let skipped = rest.len().min(*left);
        let kept = skipped.min((*command_bytes + self.limits.head_bytes_max).saturating_sub(self.head.len()));
        self.head.extend_from_slice(rest.get(..kept).unwrap_or_default());
        self.consumed += skipped;
        *left -= skipped;
        let Some(trailer) = rest.get(skipped) else { return Ok(None) };
        line_feed(*trailer)?;
        let header = Header { txnr: *txnr, command: 0..*command_bytes, data: *command_bytes..self.head.len() };
        self.consumed += 1;
        self.state = State::Whole;
        Ok(Some(Step::Cut(header)))
    }
}

enum Step {
    /// A frame, its parts by their place after what was done with before.
    Whole(Header),
    /// One that was too long, its parts by their place in `head`.
    Cut(Header),
}

fn line_feed(found: u8) -> Result<(), BadFrame> {
    if found == b'\n' { Ok(()) } else { Err(BadFrame::Trailer { found }) }
}

/// Reads `TXNR SP COMMAND SP DATALEN`, and the space after it where data follows; none if there is too little to tell.
fn header(bytes: &[u8]) -> Result<Option<Header>, BadFrame> {
    let at = |from: usize| bytes.get(from..).unwrap_or_default();
    let Some(txnr) = field(bytes, NUMBER_DIGITS_MAX, u8::is_ascii_digit, b" ").ok_or(BadFrame::Txnr)? else { return Ok(None) };
    let command_at = txnr + 1;
    let command = field(at(command_at), COMMAND_BYTES_MAX, u8::is_ascii_alphabetic, b" ").ok_or(BadFrame::Command)?;
    let Some(command) = command else { return Ok(None) };
    let length_at = command_at + command + 1;
    let digits = field(at(length_at), NUMBER_DIGITS_MAX, u8::is_ascii_digit, b" \n").ok_or(BadFrame::Length)?;
    let Some(digits) = digits else { return Ok(None) };
    let length = number(at(length_at), digits);
    let has_space = at(length_at + digits).starts_with(b" ");
    if length > 0 && !has_space {
        return Err(BadFrame::Length);
    }
    let data_at = length_at + digits + usize::from(has_space);
    let txnr = u32::try_from(number(bytes, txnr)).map_err(|_| BadFrame::Txnr)?;
    Ok(Some(Header { txnr, command: command_at..command_at + command, data: data_at..data_at + length }))
}

/// Length of a field that one of `ends` follows; `Some(None)` if it may not have ended yet, `None` if it is no such field.
fn field(bytes: &[u8], bytes_max: usize, is_of: impl Fn(&u8) -> bool, ends: &[u8]) -> Option<Option<usize>> {
    let length = bytes.iter().take(bytes_max + 1).take_while(|byte| is_of(byte)).count();
    match bytes.get(length) {
        _ if length > bytes_max => None,
        None => Some(None),
        Some(end) => (length > 0 && ends.contains(end)).then_some(Some(length)),
    }
}

fn number(bytes: &[u8], digits: usize) -> usize {
    bytes.iter().take(digits).fold(0, |value, digit| value * 10 + usize::from(digit - b'0'))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const LIMITS: FrameLimits = FrameLimits { frame_bytes_max: 20, head_bytes_max: 7 };

    /// Frames as values: number, command, data, whether it was cut.
    type Seen = (u32, String, Vec<u8>, bool);

    /// All frames, the last outcome if it is an error, and whether something is left.
    fn decode(stream: &[u8], cuts: &[usize]) -> (Vec<Seen>, Option<BadFrame>, bool) {
        let mut decoder = Decoder::new(LIMITS);
        let mut seen = Vec::new();
        let mut from = 0;
        for to in cuts.iter().copied().chain([stream.len()]) {
            decoder.push(&stream[from..to]);
            from = to;
            loop {
                match decoder.next_frame() {
                    Ok(Some(f)) => seen.push((f.txnr, f.command.to_owned(), f.data.to_vec(), f.truncated)),
                    Ok(None) => break,
                    Err(bad) => return (seen, Some(bad), true),
                }
            }
        }
        (seen, None, decoder.is_pending())
    }

    fn encode(txnr: u32, command: &str, data: &[u8]) -> Vec<u8> {
        let space: &[u8] = if data.is_empty() { b"" } else { b" " };
        [format!("{txnr} {command} {}", data.len()).as_bytes(), space, data, b"\n"].concat()
    }

    fn cuts(at: &[prop::sample::Index], bytes: usize) -> Vec<usize> {
        let mut cuts: Vec<usize> = at.iter().map(|at| at.index(bytes + 1)).collect();
        cuts.sort_unstable();
        cuts
    }

    fn frames() -> impl Strategy<Value = Vec<(u32, String, Vec<u8>)>> {
        let data = prop::collection::vec(any::<u8>(), 0..50);
        prop::collection::vec((0..=TXNR_MAX, "[a-zA-Z]{1,32}", data), 0..12)
    }

    proptest! {
        #[test]
        fn any_split_into_reads_gives_the_frames_that_were_sent(sent in frames(), at in prop::collection::vec(any::<prop::sample::Index>(), 0..9)) {
            let stream: Vec<u8> = sent.iter().flat_map(|(txnr, command, data)| encode(*txnr, command, data)).collect();
            let expected: Vec<Seen> = sent.into_iter().map(|(txnr, command, mut data)| {
                let truncated = data.len() > LIMITS.frame_bytes_max;
                data.truncate(if truncated { LIMITS.head_bytes_max } else { data.len() });
                (txnr, command, data, truncated)
            }).collect();
            prop_assert_eq!(decode(&stream, &cuts(&at, stream.len())), (expected, None, false));
        }

        #[test]
        fn any_bytes_give_the_same_frames_and_the_same_fault_however_they_are_split(
            sent in frames(),
            noise in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
            tail in prop::collection::vec(any::<u8>(), 0..40),
            at in prop::collection::vec(any::<prop::sample::Index>(), 0..9),
        ) {
            let mut stream: Vec<u8> = sent.iter().flat_map(|(txnr, command, data)| encode(*txnr, command, data)).collect();
            stream.extend(tail);
            for (place, byte) in noise {
                if let Some(at) = (!stream.is_empty()).then(|| place.index(stream.len())) {
                    stream[at] = byte;
                }
            }
            prop_assert_eq!(decode(&stream, &cuts(&at, stream.len())), decode(&stream, &(0..stream.len()).collect::<Vec<_>>()));
        }
    }

    #[test]
    fn what_is_no_frame_is_refused_with_what_was_expected() {
        for (stream, expected) in [
            (&b"x"[..], BadFrame::Txnr),
            (b"1234567890", BadFrame::Txnr),
            (b"1\n", BadFrame::Txnr),
            (b" 1 syslog 0\n", BadFrame::Txnr),
            (b"<13>a plain line\n", BadFrame::Txnr),
            (b"1 sys1 0\n", BadFrame::Command),
            (b"1  0\n", BadFrame::Command),
            (b"1 abcdefghijklmnopqrstuvwxyzabcdefg", BadFrame::Command),
            (b"1 syslog -1\n", BadFrame::Length),
            (b"1 syslog 1234567890\n", BadFrame::Length),
            (b"1 syslog 3\n", BadFrame::Length),
            (b"1 syslog 1 ab\n", BadFrame::Trailer { found: b'b' }),
            (b"1 syslog 25 abcdefghijklmnopqrstuvwxyz\n", BadFrame::Trailer { found: b'z' }),
        ] {
            assert_eq!(decode(stream, &[]).1, Some(expected), "{}", String::from_utf8_lossy(stream));
        }
        // Both ways of writing "no data" are in use.
        assert_eq!(decode(b"1 close 0\n2 close 0 \n", &[]).0.len(), 2);
    }

    #[test]
    fn a_decoder_that_met_a_bad_frame_gives_nothing_more() {
        let mut decoder = Decoder::new(LIMITS);
        decoder.push(b"1 syslog 1 ab\n");
        assert!(decoder.next_frame().is_err());
        decoder.push(b"2 syslog 1 a\n");
        assert_eq!(decoder.next_frame(), Err(BadFrame::Trailer { found: b'b' }));
    }
}

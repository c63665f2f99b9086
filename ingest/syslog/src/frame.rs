//! Where one message ends and the next begins in a byte stream (RFC 6587).
//!
//! Two framings are in use, and nothing announces which: a count before each message (*octet counting*) or a line feed after
//! it (*non-transparent framing*). Senders even change over in mid-stream. So each frame is judged by itself, and a number is
//! taken for a count only where a priority follows it: log lines begin with digits often enough.

/// Longest count: seven digits.
const COUNT_DIGITS_MAX: usize = 7;

/// Memory that an idle connection may keep.
const IDLE_BYTES_MAX: usize = 64 * 1024;

/// How long frames may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FrameLimits {
    /// A longer frame is read to its end, but only its head is kept.
    pub frame_bytes_max: usize,
    /// How much is kept of a frame that is too long.
    pub head_bytes_max: usize,
}

/// One message as it came, without its framing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Frame<'a> {
    /// The message, or the head of one that is longer than [`FrameLimits::frame_bytes_max`].
    pub bytes: &'a [u8],
    /// Only the head was kept.
    pub truncated: bool,
    /// The rest never came.
    pub damaged: bool,
}

/// Why a stream ends in the middle of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cut {
    /// The sender closed the connection: that ends a line as well as a line feed does, but not a counted frame.
    Closed,
    /// The sender stopped in the middle.
    Stalled,
}

/// Splits a byte stream into frames, however it is cut into reads.
///
/// ```
/// use syslog::frame::{Deframer, FrameLimits};
///
/// let mut deframer = Deframer::new(FrameLimits { frame_bytes_max: 200_000, head_bytes_max: 65_536 });
/// deframer.push(b"10 <13>a\nb\0cd<13>by lines\n7 is not a count\n");
/// let mut frames = Vec::new();
/// while let Some(frame) = deframer.next_frame() {
///     frames.push(frame.bytes.to_vec());
/// }
/// assert_eq!(frames, [&b"<13>a\nb\0cd"[..], b"<13>by lines", b"7 is not a count"]);
/// ```
#[derive(Debug)]
pub struct Deframer {
    limits: FrameLimits,
    buffer: Vec<u8>,
    /// Bytes of `buffer` that are done with.
    consumed: usize,
    /// Bytes after `consumed` that hold no line end.
    searched: usize,
    /// Head of a frame that is too long.
    head: Vec<u8>,
    state: State,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Before the first byte of a frame, or too early to tell its framing.
    Between,
    Line,
    Counted {
        length: usize,
    },
    /// The rest of a frame that is too long; `left` is known for counted frames.
    TooLong {
        left: Option<usize>,
    },
}

/// What the first bytes of a frame say.
#[derive(Debug, PartialEq, Eq)]
enum Opening {
    Undecided,
    Line,
    /// A count of `length` octets, written in `digits` digits and a space.
    Counted {
        length: usize,
        digits: usize,
    },
}

impl Deframer {
    /// An empty stream.
    pub fn new(limits: FrameLimits) -> Self {
        Self { limits, buffer: Vec::new(), consumed: 0, searched: 0, head: Vec::new(), state: State::Between }
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

    /// The next whole frame. Empty lines are passed over: there is nothing in them.
    pub fn next_frame(&mut self) -> Option<Frame<'_>> {
        loop {
            let step = match self.state {
                State::Between => self.open()?,
                State::Line => self.line()?,
                State::Counted { length } => self.counted(length)?,
                State::TooLong { left } => self.too_long(left)?,
            };
            match step {
                Step::On => {}
                Step::Whole { start, end } if start == end => {}
                Step::Whole { start, end } => {
                    let bytes = self.buffer.get(start..end).unwrap_or_default();
                    return Some(Frame { bytes, truncated: false, damaged: false });
                }
                Step::Head => return Some(Frame { bytes: &self.head, truncated: true, damaged: false }),
            }
        }
    }

    /// Is there an unfinished frame?
    pub fn is_pending(&self) -> bool {
        self.consumed < self.buffer.len() || self.state != State::Between
    }

    /// Gives out the unfinished frame as it stands and empties the stream. Call it after [`Deframer::next_frame`] has given all.
    pub fn cut(&mut self, cut: Cut) -> Option<Frame<'_>> {
        let state = std::mem::replace(&mut self.state, State::Between);
        let rest = self.consumed..self.buffer.len();
        (self.consumed, self.searched) = (self.buffer.len(), 0);
        let by_line = matches!(state, State::Between | State::Line | State::TooLong { left: None });
        let truncated = matches!(state, State::TooLong { .. });
        let bytes = if truncated { self.head.as_slice() } else { self.buffer.get(rest).unwrap_or_default() };
        let bytes = if by_line { bytes.strip_suffix(b"\r").unwrap_or(bytes) } else { bytes };
        let damaged = !(by_line && cut == Cut::Closed);
        (!bytes.is_empty()).then_some(Frame { bytes, truncated, damaged })
    }

    fn rest(&self) -> &[u8] {
        self.buffer.get(self.consumed..).unwrap_or_default()
    }

    fn open(&mut self) -> Option<Step> {
        match opening(self.rest()) {
            Opening::Undecided => return None,
            Opening::Line => self.state = State::Line,
            Opening::Counted { length, digits } => {
                self.consumed += digits + 1;
                self.state = if length > self.limits.frame_bytes_max {
                    self.head.clear();
                    State::TooLong { left: Some(length) }
                } else {
                    State::Counted { length }
                };
            }
        }
        Some(Step::On)
    }

    fn line(&mut self) -> Option<Step> {
        let rest = self.rest();
        let found = memchr::memchr2(b'\n', 0, rest.get(self.searched..).unwrap_or_default()).map(|at| self.searched + at);
        let length = found.unwrap_or(rest.len());
        if length > self.limits.frame_bytes_max {
            (self.state, self.searched) = (State::TooLong { left: None }, 0);
            self.head.clear();
            return Some(Step::On);
        }
        let returned = rest.get(..length).is_some_and(|line| line.ends_with(b"\r"));
        self.searched = length;
        found?;
        let start = self.consumed;
        self.consumed += length + 1;
        (self.state, self.searched) = (State::Between, 0);
        Some(Step::Whole { start, end: start + length - usize::from(returned) })
    }

    fn counted(&mut self, length: usize) -> Option<Step> {
        if self.rest().len() < length {
            return None;
        }
        let start = self.consumed;
        self.consumed += length;
        self.state = State::Between;
        Some(Step::Whole { start, end: self.consumed })
    }

    fn too_long(&mut self, left: Option<usize>) -> Option<Step> {
        let rest = self.buffer.get(self.consumed..).unwrap_or_default();
        let line_end = if left.is_none() { memchr::memchr2(b'\n', 0, rest) } else { None };
        let skipped = left.or(line_end).unwrap_or(rest.len()).min(rest.len());
        let kept = skipped.min(self.limits.head_bytes_max.saturating_sub(self.head.len()));
        self.head.extend_from_slice(rest.get(..kept).unwrap_or_default());
        self.consumed += skipped + usize::from(line_end.is_some());
        let left = left.map(|octets| octets - skipped);
        if left == Some(0) || line_end.is_some() {
            self.state = State::Between;
            return Some(Step::Head);
        }
        self.state = State::TooLong { left };
        None
    }
}

enum Step {
    /// The state changed; look again.
    On,
    /// A frame, by its place in the buffer.
    Whole { start: usize, end: usize },
    /// The end of a frame that was too long; its head stands in `head`.
    Head,
}

/// Matches `[1-9][0-9]{0,6} SP "<" [0-9]{1,3} ">"`. The count must cover the priority, else it counts something else.
fn opening(bytes: &[u8]) -> Opening {
    let digits = bytes.iter().take(COUNT_DIGITS_MAX).take_while(|b| b.is_ascii_digit()).count();
    let (count, after) = bytes.split_at_checked(digits).unwrap_or((bytes, &[]));
    if digits == 0 || count.first() == Some(&b'0') {
        return if bytes.is_empty() { Opening::Undecided } else { Opening::Line };
    }
    let priority = match after {
        [] | [b' '] => return Opening::Undecided,
        [b' ', b'<', priority @ ..] => priority,
        _ => return Opening::Line,
    };
    let priority_digits = priority.iter().take(3).take_while(|b| b.is_ascii_digit()).count();
    match priority.get(priority_digits) {
        None if priority_digits <= 3 => Opening::Undecided,
        Some(b'>') if priority_digits > 0 => {
            let length = count.iter().fold(0, |value, digit| value * 10 + usize::from(digit - b'0'));
            if length >= priority_digits + 2 { Opening::Counted { length, digits } } else { Opening::Line }
        }
        _ => Opening::Line,
    }
}

//! Reads the logs of hosts and hypervisors and publishes each line once to `logs.raw.v1`.
//!
//! The parsers are a library of their own: pure, total on arbitrary bytes, linear, without copies.
//!
//! * [`frame`] finds the messages in a byte stream, octet-counted or by lines, told apart per frame (RFC 6587).
//! * [`Message`] takes one apart: RFC 5424, else RFC 3164 with its dialects, else plain text. No line is dropped for its form.
//! * [`time`] finds the year and the zone that most senders leave out.
//! * [`relp`] finds the frames of senders that want an answer, and keeps the answers in order.
//! * [`kmsg`] reads records of the kernel ring, [`journal`] entries of the systemd journal.
//! * [`host`] decides which host a line belongs to, [`record`] makes the record for the topic.
//!
//! The `collector` (feature `binary`) is the rest: sockets, files, ring, journal, and the way onto the bus.
//!
//! ```
//! use jiff::tz::TimeZone;
//! use syslog::frame::{Deframer, FrameLimits};
//! use syslog::{Message, Reception};
//!
//! let zone = TimeZone::UTC;
//! let reception = Reception::new(1_700_000_000_000_000, &zone);
//! let mut deframer = Deframer::new(FrameLimits { frame_bytes_max: 200_000, head_bytes_max: 65_536 });
//! deframer.push(b"<165>1 2023-11-14T22:13:20.003Z db1 postgres 811 - - disk full\n");
//! let frame = deframer.next_frame().expect("one line");
//! let message = Message::parse(frame.bytes, &reception);
//! assert_eq!((message.host, message.severity), (Some("db1"), Some(5)));
//! assert_eq!(&frame.bytes[message.text], b"disk full");
//! ```

#![cfg_attr(not(test), deny(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing))]

#[cfg(feature = "binary")]
pub mod collector;
pub mod frame;
pub mod host;
pub mod journal;
pub mod kmsg;
pub mod message;
pub mod record;
pub mod relp;
mod rfc3164;
mod rfc5424;
mod scan;
pub mod time;
mod timestamp;

#[cfg(feature = "binary")]
pub use collector::{Collector, Config};
pub use message::Message;
pub use rfc5424::StructuredData;
pub use time::Reception;

//! Alerts in, incidents out: what belongs to one story becomes one record with a timeline and its probable causes.
//!
//! An alert says which machine or program is in trouble, and its line often says who is to blame: *cannot reach db-7*. From both the
//! processor learns which things have to do with each other ([`Graph`]), puts each new alert into the nearest open story or begins one
//! ([`grouping`]), and ranks what is in a story by what speaks for it as the cause ([`cause`]). Grouping by topology and time is what
//! Alertmanager's `group_by` and Keep's rules ask people to write down; that causes precede symptoms and are named by them is the
//! common ground of the literature on root causes (Monitorrank, SIGMETRICS 2013; CloudRanger, CCGRID 2018), here without a model:
//! every score can be told in a line, and two runs give the same.
//!
//! The library is deterministic and pure: no clock, no randomness, no I/O. [`IncidentBook`] is the whole method;
//! [`IncidentProcessor`] makes a stream processor of it.
//!
//! ```
//! use incident::{Config, IncidentBook, Sighting};
//! use schemas::{Alert, EventTime, Severity};
//!
//! let now = EventTime::from_millis(1_700_000_000_000);
//! let alert = |n: u8, host: &str, service: &str, message: &str| Alert {
//!     id: format!("{n:032x}"),
//!     fingerprint: format!("{n:032x}"),
//!     name: "SevereLog".into(),
//!     severity: Severity::Critical,
//!     started_at: now.plus_millis(n.into()),
//!     last_received: now.plus_millis(n.into()),
//!     labels: [("host".to_string(), host.to_string())].into(),
//!     service: service.into(),
//!     message: message.into(),
//!     ..Alert::default()
//! };
//! let config = Config::default();
//! let mut book = IncidentBook::new(&config);
//! for alert in [alert(1, "web-1", "shop", "cannot reach db-7:5432"), alert(2, "db-7", "kernel", "I/O error on vda")] {
//!     let sighting = Sighting::read(&alert, now.plus_millis(10), &config)?;
//!     book.on_alert(sighting, &alert.message);
//! }
//! let told = book.on_watermark(now.plus_millis(10_000));
//! assert_eq!(told.len(), 1);
//! assert_eq!(told[0].alerts.len(), 2);
//! assert_eq!(told[0].causes[0].node.to_string(), "host/db-7");
//! # Ok::<(), stream_core::Reject>(())
//! ```
#![cfg_attr(not(test), deny(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing))]

mod book;
pub mod cause;
mod config;
mod graph;
pub mod grouping;
mod identity;
mod mention;
mod processor;
mod record;
mod sighting;
mod story;
#[cfg(test)]
mod testing;
mod vigil;

pub use book::IncidentBook;
pub use config::{Config, Weights};
pub use graph::Graph;
pub use identity::{Identity, NoIdentity};
pub use mention::{Mention, mentions};
pub use processor::IncidentProcessor;
pub use sighting::{Layer, Sighting};
pub use story::{Ending, Line, Member, Story};

//! Alerts to people: few of them, in the right place, in time.
//!
//! A [`Notifier`] is a sink of `alerts.v1` and `incidents.v1` with one consumer group for each destination. [`Routes`] say which alerts go where,
//! [`Silences`] and [`Incidents`] hold back what need not be told, and a [`Desk`] remembers what is to be told and what was:
//! groups wait for company and are told at most once in an interval unless it gets worse; of each alert the order is kept.
//! [`payload`] turns a [`Notification`] into what each kind of destination understands, with nothing in it that would be
//! interpreted there; a [`Delivery`] sends it. The vocabulary is Alertmanager's: routes, matchers, groups, inhibition, silences.
//!
//! All of it but the deliveries is pure: no clock, no network.
//!
//! ```
//! use notifier::Matcher;
//! use schemas::{Alert, Severity};
//!
//! let matcher: Matcher = "severity=~\"high|critical\"".parse()?;
//! assert!(matcher.matches(&Alert { severity: Severity::High, ..Alert::default() }));
//! assert!(!matcher.matches(&Alert { severity: Severity::Info, ..Alert::default() }));
//! # Ok::<(), notifier::MatcherError>(())
//! ```
#![cfg_attr(not(test), deny(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing))]

#[cfg(feature = "binary")]
mod api;
mod board;
mod case;
pub mod config;
#[cfg(feature = "binary")]
mod courier;
mod delivery;
mod desk;
mod discretion;
mod group;
mod inhibition;
mod matcher;
mod notification;
mod notifier;
mod patience;
pub mod payload;
#[cfg(feature = "binary")]
mod process;
mod route;
mod secret;
mod silence;
mod story;
mod vitals;
mod watchdog;
mod window;
mod word;

#[cfg(feature = "binary")]
pub use api::{Trial, routes};
pub use board::{Board, Standing};
pub use config::{Config, Destination, SECTION, Tell};
#[cfg(feature = "binary")]
pub use courier::Courier;
pub use delivery::{Delivery, Failure};
pub use desk::{Counts, Desk, Manner};
pub use group::Group;
pub use inhibition::{Incidents, News, OpenIncident};
pub use matcher::{Matcher, MatcherError};
pub use notification::{About, Entry, Notification, group_key};
pub use notifier::Notifier;
pub use patience::Patience;
#[cfg(feature = "binary")]
pub use process::{prepare, read};
pub use route::{Condition, Grouping, Routes, Step};
pub use secret::{Secret, SecretError};
pub use silence::Silences;
pub use story::{LABEL as INCIDENT_LABEL, NAME as INCIDENT_NAME};
pub use vitals::Vitals;
pub use watchdog::{NAME as WATCHDOG_NAME, alive, trial};
pub use window::{Window, WindowError};
pub use word::Word;

//! Log lines in, templates and parameters out.
//!
//! Drain (He et al., ICWS 2017) groups lines by token count and leading tokens and takes what differs within a group as a
//! parameter. This is Drain with guards: values are masked in one linear pass ([`mask`](Masker)), lines are compared only where their
//! delimiters agree, a different word means a different event until many words or a value meet at one place, and everything is
//! bounded. One configuration serves every system; template ids are hashes of the template's text. JSON and logfmt are read for their
//! sentence. [`Drain3`] is the original, assignment for assignment, which [`Mode`] puts in its place.
//!
//! The library is deterministic and pure: no clock, no randomness, no I/O. [`Drain`] makes the templates, [`Activity`] knows how
//! often each host says each of them, and [`DrainProcessor`] makes a stream processor of both: raw lines in, parsed lines, templates
//! and alerts out.
//!
//! ```
//! use drain::{Config, Drain};
//! let mut drain = Drain::new(&Config::default())?;
//! for user in ["ada", "bob", "eve", "joe", "lia", "max"] {
//!     drain.parse(&format!("job of {user} started"), 0);
//! }
//! drain.parse("disk cache started", 1);
//! let line = "job of zoe started";
//! let parsed = drain.parse(line, 2);
//! assert_eq!(&**parsed.template, "job of <*> started");
//! assert_eq!(parsed.params[0].value(line), "zoe");
//! # Ok::<(), drain::ConfigError>(())
//! ```
#![cfg_attr(not(test), deny(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing))]

mod activity;
mod alarms;
mod catalogue;
mod change;
mod config;
mod drain;
mod drain3;
mod explosion;
mod fanout;
mod forest;
mod guarded;
mod mask;
mod param;
mod processor;
mod records;
mod signature;
mod snapshot;
mod structure;
mod template;
mod token;
mod tree;

pub use activity::{Activity, Finding, FindingKind, Line};
pub use change::{Change, ChangeKind, FROM_MAX, Match, TemplateEvent, TemplateInfo};
pub use config::{ActivityConfig, Config, ConfigError, Files, MaskRule, Mode, TreeScope};
pub use drain::{Drain, Parsed};
pub use drain3::{Assignment, Drain3, Drain3Change, Drain3Error, Drain3Mask, Drain3Search, Drain3Settings};
pub use mask::{Masker, ParamType, Span};
pub use param::{PARAMS_MAX, Param, VALUE_BYTES_MAX};
pub use processor::DrainProcessor;
pub use snapshot::{STATE_VERSION, Snapshot, SnapshotError};
pub use template::{TEXT_BYTES_MAX, TemplateId, canonical};
pub use token::PLACEHOLDER;

//! Does a log template speak of a machine that is failing, or of one that works?
//!
//! Four voices may answer, and the first that speaks decides: an operator, the table `logs.verdicts.v1` (past answers of a language
//! model, imports), the [`Model`] that is compiled in, and, if it is asked to, the [`Lexicon`]. The model is a logistic regression
//! over hashed words, stems and word pairs, trained by ourselves on a grammar of what operating systems, hypervisors and
//! devices say in general (`grammar/`); it needs 56 KB, no network and some microseconds per template. A second head of the same
//! features tells the [`FailureClass`].
//!
//! The library is deterministic and pure: no clock, no randomness, no I/O.
//!
//! ```
//! use verdict::{FailureClass, Model};
//! let model = Model::shipped();
//! let judgement = model.judge("Out of memory: Killed process <*> (<*>)");
//! assert!(judgement.probability > 0.8);
//! assert_eq!(judgement.class, FailureClass::Memory);
//! assert!(model.judge("session opened for user <*>").probability < 0.2);
//! ```
#![cfg_attr(not(test), deny(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing))]

mod features;
pub mod grammar;
mod judgement;
mod lexicon;
mod linear;
mod logistic;
mod model;
mod table;
pub mod training;

pub use judgement::{Judgement, Provider, with_severity};
pub use lexicon::Lexicon;
pub use linear::{WEIGHTS_BYTES, Weights};
pub use model::{Local, Model};
pub use schemas::{FailureClass, TemplateId, VerdictKind};
pub use table::{ENTRIES_MAX, Refused, Verdicts};

//! Failures foreseen: what a host's log has begun to say, against everything that it said while it was well.
//!
//! The idea is that of VMFT-LAD (Senevirathne et al., IEEE Access 12, 2024): compare the last few templates of a host with the windows
//! of its benign past (a matrix profile), and let a verdict on the templates decide what of the unfamiliar is a failure. The
//! published detector ([`Vmft`]) needs a language model and depends on how templates are numbered. Ours ([`Sequence`]) does not:
//! * templates are near if their *texts* are ([`TemplateVector`]), so no numbering matters;
//! * a faulty verdict is weakened by familiarity, never silenced by it;
//! * it goes on learning, bounded, and forgets what a person says it should ([`Store`]).
//!
//! [`discord`] is the same idea for numeric series. The library is deterministic and pure: no clock, no randomness, no I/O.
#![cfg_attr(not(test), deny(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing))]

mod alias;
mod config;
mod corrections;
pub mod discord;
mod host;
mod predictions;
mod processor;
mod reorder;
mod sequence;
mod snapshot;
mod store;
mod vector;
mod vmft;
mod vocabulary;
mod watch;

pub use config::{Config, Scoring};
pub use processor::MatrixProfile;
pub use sequence::{Assessment, Line, Sequence, Share};
pub use store::{M, Profile, Store, Stored, Window};
pub use vector::{Distance, TemplateVector};
pub use vmft::{Vmft, VmftParams};
pub use vocabulary::Vocabulary;

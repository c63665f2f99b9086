//! Evaluation suites over public data.
//!
//! Each suite discovers what is in its folder, skips and counts what lacks its partner file, and never names a data set in
//! code: it works on any subset and any superset of files in the layout. A suite prints a table, writes the same numbers as
//! JSON, and checks them against `gates.toml`.

mod clock;
mod gates;
pub mod incident;
pub mod loghub;
pub mod nab;
mod report;
mod timestamp;
pub mod verdicts;
pub mod vmft_lad;

pub use gates::Gates;
pub use report::{Bound, Gate, Mean, Metrics, Outcome, Report, Row, Table};

//! Compaction of tables.

/// Suffix of a segment that is being written anew.
pub(super) const UNFINISHED_SUFFIX: &str = "new";

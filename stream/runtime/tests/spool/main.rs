//! The spool with its thread, in front of a real bus that is away in every way there is.

mod away;
mod crash;
mod full_disk;
mod support;

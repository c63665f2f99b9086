//! The embedded bus from outside: what it promises to sessions, publishers and people, whatever happens to the process
//! and the disk.

mod publishers;
mod recovery;
mod sessions;
mod support;

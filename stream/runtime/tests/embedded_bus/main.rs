//! The embedded bus from outside: what it promises to sessions, publishers and people, whatever happens to the process
//! and the disk.

mod checks;
#[path = "../copier/mod.rs"]
mod copier;
mod crash;
mod full_disk;
mod model;
mod publishers;
mod recovery;
mod retention;
mod sessions;
mod support;
mod tables;

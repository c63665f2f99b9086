//! The umbrella command.
fn main() {}

//! `health`: a yes or no for supervisors that can only run a program, such as a container's health check.

use std::{process::ExitCode, time::Duration};

use serde_json::Value;

use crate::{
    cli::{Global, Health},
    origin,
    output::Output,
};

/// Asks the instance whether it lives, or whether it processes. Fails if it says no, and if nobody answers.
pub fn run(args: &Health, global: &Global, out: &mut Output) -> anyhow::Result<ExitCode> {
    let (path, word) = if args.ready { ("/readyz", "ready") } else { ("/livez", "alive") };
    let found: Value = origin::client(global)?.get(path, Duration::ZERO)?;
    if out.is_json() {
        out.document(&found)?
    } else {
        out.line(word)?
    }
    Ok(ExitCode::SUCCESS)
}

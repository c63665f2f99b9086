//! The umbrella command: all parts of Nephoscope in one process, and everything a person asks it.

mod cli;
mod client;
mod commands;
mod console;
mod demo;
mod holder;
mod moment;
mod origin;
mod output;
mod person;
mod publication;
mod record;
mod redact;
mod report;
mod up;
mod window;

use std::process::ExitCode;

use clap::Parser;
use stream_runtime::config::ConfigFileError;

/// Exit code of a command line or configuration that cannot be meant; clap ends with the same.
const USAGE: u8 = 2;

fn main() -> ExitCode {
    syslog::collector::take_over_sockets();
    match commands::run(cli::Cli::parse()) {
        Ok(code) => code,
        // `nephoscope tail logs | head` has what it wanted.
        Err(error) if origin::is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            let is_configuration = error.is::<ConfigFileError>();
            let causes: Vec<String> = error.chain().map(ToString::to_string).collect();
            output::complain(&causes.join(": "));
            if is_configuration { ExitCode::from(USAGE) } else { ExitCode::FAILURE }
        }
    }
}

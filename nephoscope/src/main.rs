//! The umbrella command: all parts of Nephoscope in one process on the embedded bus, and everything a person asks it.

mod cli;
mod client;
mod commands;
mod console;
mod demo;
mod moment;
mod origin;
mod output;
mod record;
mod report;
mod up;

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    match commands::run(cli::Cli::parse()) {
        Ok(code) => code,
        // `nephoscope tail logs | head` has what it wanted.
        Err(error) if origin::is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            let causes: Vec<String> = error.chain().map(ToString::to_string).collect();
            output::complain(&causes.join(": "));
            ExitCode::FAILURE
        }
    }
}

//! `nephoscope-heartbeat`: `send` proves that this machine lives, `receive` hears who does.

use std::{ffi::OsString, path::PathBuf, process::ExitCode, time::Duration};

use clap::Parser;
use heartbeat::{Receiver, Sender, read_key};
use stream_runtime::process::{run_source_from, signal_flag};

/// Proves to a receiver that this host or VM lives: a datagram every few seconds, until SIGTERM, then a goodbye.
#[derive(Debug, Parser)]
#[command(name = "nephoscope-heartbeat send", version)]
#[command(
    after_help = "Example:\n  nephoscope-heartbeat send --to watch.example.org:7701 --name $(hostname) --key-file /etc/nephoscope/heartbeat.key"
)]
struct Send {
    /// The receiver
    #[arg(long, value_name = "HOST:PORT")]
    to: String,
    /// What this machine is called in alerts: at most 40 letters, as in the labels host and vm of other alerts
    #[arg(long)]
    name: String,
    /// Seconds between two heartbeats; 18 s of silence are taken for a failure
    #[arg(long, value_name = "SECONDS", default_value_t = 3, value_parser = clap::value_parser!(u64).range(1..=6))]
    every: u64,
    /// This machine is a VM, not a host
    #[arg(long)]
    vm: bool,
    /// Sign with the key in this file, which the receiver has too
    #[arg(long, value_name = "FILE")]
    key_file: Option<PathBuf>,
}

fn main() -> ExitCode {
    let mut arguments: Vec<OsString> = std::env::args_os().collect();
    match arguments.get(1).and_then(|word| word.to_str()) {
        Some("send") => {
            arguments.remove(1);
            send(&Send::parse_from(arguments))
        }
        Some("receive") => {
            arguments.remove(1);
            run_source_from::<Receiver>(arguments)
        }
        // As every other part is started.
        _ => run_source_from::<Receiver>(arguments),
    }
}

fn send(args: &Send) -> ExitCode {
    let begin = || -> Result<_, Box<dyn std::error::Error>> {
        let sender = Sender::new(&args.to, &args.name, args.vm, args.key_file.as_deref().map_or(Ok(None), read_key)?)?;
        Ok((sender, signal_flag()?))
    };
    match begin() {
        Ok((sender, stop)) => {
            sender.run(Duration::from_secs(args.every), &stop);
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("nephoscope-heartbeat: {}", stream_runtime::engine::error_chain(error.as_ref()));
            ExitCode::FAILURE
        }
    }
}

//! `nephoscope-syslog`: the log collector of one machine.

use std::process::ExitCode;

fn main() -> ExitCode {
    stream_runtime::process::run_source::<syslog::Collector>()
}

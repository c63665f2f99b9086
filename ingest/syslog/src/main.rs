//! `nephoscope-syslog`: the log collector of one machine.

use std::process::ExitCode;

fn main() -> ExitCode {
    syslog::collector::take_over_sockets();
    stream_runtime::process::run_source::<syslog::Collector>()
}

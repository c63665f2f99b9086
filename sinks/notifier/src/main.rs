//! `nephoscope-notifier`: alerts to people, from a bus to every destination that is configured.

use std::process::ExitCode;

use notifier::{Courier, Notifier};

fn main() -> ExitCode {
    stream_runtime::process::run_sink_with::<Notifier<Courier>>(notifier::read, notifier::prepare)
}

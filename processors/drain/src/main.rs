//! `nephoscope-drain`: one replica of the template processor.

use std::process::ExitCode;

fn main() -> ExitCode {
    stream_runtime::process::run::<drain::DrainProcessor>()
}

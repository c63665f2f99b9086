//! `nephoscope-incident`: the processor of incidents.

use std::process::ExitCode;

fn main() -> ExitCode {
    stream_runtime::process::run::<incident::IncidentProcessor>()
}

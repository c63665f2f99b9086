//! `nephoscope-matrix-profile`: one replica of the sequence detector.

use std::process::ExitCode;

fn main() -> ExitCode {
    stream_runtime::process::run::<matrix_profile::MatrixProfile>()
}

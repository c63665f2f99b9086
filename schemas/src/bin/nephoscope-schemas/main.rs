//! `nephoscope-schemas generate`: writes the documents that follow from the schemas and the table of topics.

mod asyncapi;
mod yaml;

use std::{path::Path, process::ExitCode};

/// Exit code of a wrong command line.
const USAGE: u8 = 2;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let document = match asyncapi::document() {
        Ok(document) => document,
        Err(error) => {
            eprintln!("nephoscope-schemas: {error}");
            return ExitCode::FAILURE;
        }
    };
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("asyncapi.yaml");
    match arguments.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["generate"] => match std::fs::write(&path, document) {
            Ok(()) => println!("wrote {}", path.display()),
            Err(error) => {
                eprintln!("nephoscope-schemas: cannot write {}: {error}", path.display());
                return ExitCode::FAILURE;
            }
        },
        ["show"] => print!("{document}"),
        _ => {
            eprintln!("usage: nephoscope-schemas generate | show\n  generate  write asyncapi.yaml\n  show      print it");
            return ExitCode::from(USAGE);
        }
    }
    ExitCode::SUCCESS
}

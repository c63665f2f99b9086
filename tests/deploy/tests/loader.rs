//! The compose file against the loader that `docker compose` itself uses, compose-go, which needs no engine.

use std::{fs, path::Path, process::Command};

use deploy_tests::{read, root, tools};

const FILE: &str = "docker-compose.yml";
const LOADER: &str = "github.com/compose-spec/compose-go/v2/cmd@v2.6.4";

/// The loader, built where it is not there yet.
fn build(folder: &Path) -> Result<(), String> {
    if folder.join("cmd").is_file() {
        return Ok(());
    }
    fs::create_dir_all(folder).map_err(|error| error.to_string())?;
    let output = Command::new("go").args(["install", LOADER]).env("GOBIN", folder).output().map_err(|error| format!("go: {error}"))?;
    let complaint = String::from_utf8_lossy(&output.stderr);
    if output.status.success() { Ok(()) } else { Err(format!("go install: {}", complaint.lines().last().unwrap_or("no reason given"))) }
}

#[test]
fn compose_s_own_loader_accepts_the_file_and_would_refuse_a_wrong_one() {
    let folder = root().join("target/compose-go");
    if let Err(why) = build(&folder) {
        return tools::skip(&format!("{FILE}: {why}"));
    }
    let place = tempfile::tempdir().expect("a directory");
    let load = |text: &str| {
        fs::write(place.path().join(FILE), text).expect("writes");
        tools::run(&folder.join("cmd"), &["-format", "json", FILE], place.path()).expect("runs")
    };
    let text = read(FILE).expect("is there");
    let verdict = load(&text);
    assert!(verdict.is_good, "{}", verdict.text);
    for (from, to) in [
        ("stop_grace_period: 20s", "stop_grace_periode: 20s"),
        ("condition: service_healthy", "condition: service_well"),
        ("mem_limit:", "memory_limit:"),
    ] {
        assert!(text.contains(from), "{from}");
        assert!(!load(&text.replacen(from, to, 1)).is_good, "{from} → {to} goes unnoticed");
    }
}

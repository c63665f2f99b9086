//! The dashboards against Grafana's own types, from the package that Grafana publishes of them.

use std::{fs, path::Path, process::Command};

use deploy_tests::{read, root, tools};

const DASHBOARD: &str = "deploy/grafana/dashboards/nephoscope.json";
/// Packages and versions; the first is that of the Grafana in the compose file.
const PACKAGES: [&str; 2] = ["@grafana/schema@12.1.1", "typescript@5.9.3"];
/// The types are enums, whose values stand as text in JSON.
const PROGRAM: &str = "\
import type { Dashboard } from './node_modules/@grafana/schema/dist/types/raw/dashboard/x/dashboard_types.gen';
type Plain<T> = T extends string ? `${T}` : T extends object ? { [K in keyof T]: Plain<T[K]> } : T;
export const dashboard: Plain<Dashboard> = ";
const OPTIONS: [&str; 9] =
    ["--noEmit", "--strict", "--skipLibCheck", "--moduleResolution", "bundler", "--module", "esnext", "--target", "es2022"];

/// The compiler, installed where it is not there yet.
fn compiler(folder: &Path) -> Result<(), String> {
    if folder.join("node_modules/.bin/tsc").is_file() {
        return Ok(());
    }
    fs::create_dir_all(folder).map_err(|error| error.to_string())?;
    let mut npm = Command::new("npm");
    npm.args(["install", "--silent", "--no-audit", "--no-fund", "--ignore-scripts", "--prefix", "."]).args(PACKAGES);
    let output = npm.current_dir(folder).output().map_err(|error| format!("npm: {error}"))?;
    let complaint = String::from_utf8_lossy(&output.stderr);
    if output.status.success() { Ok(()) } else { Err(format!("npm install: {}", complaint.lines().next().unwrap_or("no reason given"))) }
}

#[test]
fn grafana_s_own_types_accept_the_dashboard() {
    let folder = root().join("target/grafana-schema");
    if let Err(why) = compiler(&folder) {
        return tools::skip(&format!("{DASHBOARD}: {why}"));
    }
    let text = read(DASHBOARD).expect("is there");
    let check = |name: &str, json: &str| {
        fs::write(folder.join(name), format!("{PROGRAM}{json};\n")).expect("writes");
        tools::run(&folder.join("node_modules/.bin/tsc"), &[&OPTIONS[..], &[name]].concat(), &folder).expect("runs")
    };
    let verdict = check("dashboard.ts", &text);
    assert!(verdict.is_good, "{}", verdict.text);
    for (from, to) in [
        ("\"schemaVersion\": 41", "\"schemaVersion\": \"41\""),
        ("\"mode\": \"absolute\"", "\"mode\": \"relative\""),
        ("\"gridPos\"", "\"gridPosition\""),
    ] {
        assert!(text.contains(from), "{from}");
        assert!(!check("wrong.ts", &text.replacen(from, to, 1)).is_good, "{from} → {to} goes unnoticed");
    }
}

#[test]
fn the_types_are_those_of_the_grafana_that_runs() {
    let version = PACKAGES[0].rsplit('@').next().expect("a version");
    assert!(read("docker-compose.yml").expect("is there").contains(&format!("grafana/grafana:${{GRAFANA_VERSION:-{version}}}")));
}

//! `doctor`: examines this machine and the installation, and says of each thing whether it is fine and what to do if not.

mod installation;
mod kafka;
mod machine;
mod sockets;
mod sources;

use std::{path::Path, process::ExitCode};

use serde::Serialize;
use stream_runtime::engine::error_chain;

use crate::{
    cli::{DoctorSubject, Global},
    origin,
    output::{BAD, FAINT, GOOD, HEAD, Output, WARN, plain, styled},
    up::Configuration,
};

/// How something is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Verdict {
    /// It cannot be told from here.
    Note,
    /// As it should be.
    Ok,
    /// It works, but less well than it could, or less is seen.
    Warn,
    /// It will not work.
    Fail,
}

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    verdict: Verdict,
    what: String,
    found: String,
    #[serde(rename = "todo", skip_serializing_if = "Option::is_none")]
    advice: Option<String>,
}

impl Finding {
    fn ok(what: impl Into<String>, found: impl Into<String>) -> Self {
        Self { verdict: Verdict::Ok, what: what.into(), found: found.into(), advice: None }
    }

    fn warn(what: impl Into<String>, found: impl Into<String>, advice: impl Into<String>) -> Self {
        Self { verdict: Verdict::Warn, what: what.into(), found: found.into(), advice: Some(advice.into()) }
    }

    fn fail(what: impl Into<String>, found: impl Into<String>, advice: impl Into<String>) -> Self {
        Self { verdict: Verdict::Fail, what: what.into(), found: found.into(), advice: Some(advice.into()) }
    }
}

/// Examines everything. Fails if something will not work.
pub fn run(subject: Option<DoctorSubject>, global: &Global, out: &mut Output) -> anyhow::Result<ExitCode> {
    if let Some(DoctorSubject::Kafka) = subject {
        return kafka::run(global, out);
    }
    let findings = match Configuration::read(global) {
        Ok(configuration) => examine(&configuration, global)?,
        Err(error) => vec![Finding::fail("configuration", error.to_string(), "mend it; nothing else can be examined before")],
    };
    if out.is_json() {
        out.document(&findings)?;
    } else {
        print(&findings, out)?;
    }
    Ok(exit_code(findings.iter().map(|finding| finding.verdict).max()))
}

fn exit_code(worst: Option<Verdict>) -> ExitCode {
    if worst == Some(Verdict::Fail) { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

fn examine(configuration: &Configuration, global: &Global) -> anyhow::Result<Vec<Finding>> {
    let Configuration { process, drain, heartbeat, incident, notifier: _, syslog, redactor: _, file } = configuration;
    let data_dir = &process.bus.data_dir;
    let instance = installation::instance(&origin::client(global)?, data_dir);
    let mut findings = vec![parts(drain, incident, syslog, file.path())];
    findings.extend(installation::data_dir(data_dir));
    findings.extend(instance.findings);
    findings.extend(sockets::ports(&process.listen, syslog, heartbeat, instance.pid));
    findings.extend(sources::all());
    findings.extend(machine::all(syslog.udp_rcvbuf_bytes));
    Ok(findings)
}

/// What only the parts themselves can say about their sections.
fn parts(drain: &drain::Config, incident: &incident::Config, syslog: &syslog::Config, path: Option<&Path>) -> Finding {
    const WHAT: &str = "configuration";
    let place = path.map_or_else(|| "no file, the defaults hold".into(), |path| path.display().to_string());
    let certificates = || syslog.tls.iter().find_map(|listener| syslog::collector::tls::check(listener).err());
    let problem = drain.clone().with_files().and_then(|drain| drain::Drain::new(&drain)).err().map(|error| error_chain(&error));
    let problem = problem.or_else(|| incident.validate().err().map(|error| error_chain(&error)));
    let problem = problem.or_else(|| syslog.check().err().map(|error| error_chain(&error)));
    let problem = problem.or_else(|| certificates().map(|error| error_chain(&error)));
    match problem {
        None => Finding::ok(WHAT, place),
        Some(problem) => Finding::fail(WHAT, format!("{place}: {problem}"), "mend it; `nephoscope up` would not start"),
    }
}

fn print(findings: &[Finding], out: &mut Output) -> anyhow::Result<()> {
    let width = findings.iter().map(|finding| finding.what.chars().count()).max().unwrap_or(0);
    for finding in findings {
        let verdict = match finding.verdict {
            Verdict::Note => styled(FAINT, "NOTE"),
            Verdict::Ok => styled(GOOD, "OK  "),
            Verdict::Warn => styled(WARN, "WARN"),
            Verdict::Fail => styled(BAD, "FAIL"),
        };
        let what = format!("{:<width$}", plain(&finding.what));
        out.line(format!("{verdict}  {}  {}", styled(HEAD, what), plain(&finding.found)))?;
        for line in finding.advice.iter().flat_map(|advice| advice.lines()) {
            out.line(format!("{:width$}{}", "", styled(FAINT, format!("        → {}", plain(line)))))?;
        }
    }
    let count = |verdict| findings.iter().filter(|finding| finding.verdict == verdict).count();
    let (fails, warnings) = (count(Verdict::Fail), count(Verdict::Warn));
    out.line("")?;
    Ok(match (fails, warnings) {
        (0, 0) => out.line(styled(GOOD, "everything is fine")),
        (0, _) => out.line(styled(WARN, format!("it will work; {warnings} things could be better"))),
        _ => out.line(styled(BAD, format!("{fails} things must be mended, {warnings} could be better"))),
    }?)
}

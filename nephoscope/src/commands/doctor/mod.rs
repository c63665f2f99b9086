//! `doctor`: examines this machine and the installation, and says of each thing whether it is fine and what to do if not.

mod installation;
mod machine;
mod sockets;
mod sources;

use std::process::ExitCode;

use serde::Serialize;
use stream_runtime::config::{BusSettings, ConfigFile, ConfigFileError, ListenSettings};

use crate::{
    cli::Global,
    origin,
    output::{BAD, FAINT, GOOD, HEAD, Output, WARN, plain, styled},
};

/// How something is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Verdict {
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

/// What the checks have to know of the configuration.
struct Settings {
    bus: BusSettings,
    listen: ListenSettings,
    syslog: syslog::Config,
}

impl Settings {
    fn read(global: &Global) -> Result<(Self, String), ConfigFileError> {
        let mut file = ConfigFile::load(global.config.as_deref())?;
        let mut settings = Self { bus: file.section("bus")?, listen: file.section("listen")?, syslog: file.section("syslog")? };
        if let Some(dir) = &global.data_dir {
            settings.bus.data_dir.clone_from(dir);
        }
        Ok((settings, file.path().map_or_else(|| "no file, the defaults hold".into(), |path| path.display().to_string())))
    }
}

/// Examines everything. Fails if something will not work.
pub fn run(global: &Global, out: &mut Output) -> anyhow::Result<ExitCode> {
    let findings = match Settings::read(global) {
        Ok((settings, place)) => {
            let mut findings = vec![Finding::ok("configuration", place)];
            let instance = installation::instance(&origin::client(global)?, &settings.bus.data_dir);
            findings.extend(installation::data_dir(&settings.bus.data_dir));
            findings.extend(instance.findings);
            findings.extend(sockets::ports(&settings.listen, &settings.syslog, instance.pid));
            findings.extend(sources::all());
            findings.extend(machine::all(settings.syslog.udp_rcvbuf_bytes));
            findings
        }
        Err(error) => vec![Finding::fail("configuration", error.to_string(), "mend it; nothing else can be examined before")],
    };
    if out.is_json() {
        out.document(&findings)?;
    } else {
        print(&findings, out)?;
    }
    let worst = findings.iter().map(|finding| finding.verdict).max();
    Ok(if worst == Some(Verdict::Fail) { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

fn print(findings: &[Finding], out: &mut Output) -> anyhow::Result<()> {
    let width = findings.iter().map(|finding| finding.what.chars().count()).max().unwrap_or(0);
    for finding in findings {
        let verdict = match finding.verdict {
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

//! What `up` prints: where the page is, what is watched, what this machine says, and each alert as it comes. Plain lines,
//! so that it reads the same in a terminal, a pipe and a journal.

use std::{
    collections::BTreeSet,
    io::Write,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::JoinHandle,
    time::Duration,
};

use syslog::collector::SourceState;

use crate::{
    console::{Console, Overview},
    output::{count, plain},
};

/// How often the view is looked at.
const LOOK: Duration = Duration::from_millis(500);
/// Looks without a new line after which the past counts as read.
const QUIET_LOOKS: u32 = 4;
/// The summary is printed by then, quiet or not.
const SUMMARY_LOOKS_MAX: u32 = 60;
/// Looks between two status lines: five minutes.
const STATUS_LOOKS: u32 = 600;
/// Templates in the summary.
const TEMPLATES_SHOWN: usize = 15;

/// A running report.
pub struct Report {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<()>,
}

impl Report {
    /// Begins to print.
    ///
    /// # Errors
    /// If no thread can be started.
    pub fn start(console: Console, url: String, data_dir: PathBuf) -> std::io::Result<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        let flag = Arc::clone(&stop);
        let run = move || {
            // Nobody may be there to read it; the page and the commands say the same.
            let _ = print(&console, &url, &data_dir.display().to_string(), &flag);
        };
        Ok(Self { stop, thread: std::thread::Builder::new().name("report".into()).spawn(run)? })
    }

    /// Ends it.
    pub fn stop(self) {
        self.stop.store(true, Ordering::Relaxed);
        let _ = self.thread.join();
    }
}

fn print(console: &Console, url: &str, data_dir: &str, stop: &AtomicBool) -> std::io::Result<()> {
    let mut out = std::io::stdout();
    writeln!(out, "\nNephoscope watches this machine.\n  page   {url}\n  state  {data_dir}\n  end    Ctrl-C\n\nWhat is watched:")?;
    write_sources(&mut out, &console.overview())?;
    let (mut told, mut lines, mut quiet, mut looks) = (BTreeSet::new(), 0, 0, 0);
    let mut is_summed_up = false;
    while !stop.load(Ordering::Relaxed) {
        std::thread::sleep(LOOK);
        let overview = console.overview();
        quiet = if overview.lines == lines { quiet + 1 } else { 0 };
        (lines, looks) = (overview.lines, looks + 1);
        if !is_summed_up && (quiet >= QUIET_LOOKS || looks >= SUMMARY_LOOKS_MAX) {
            is_summed_up = true;
            write_summary(&mut out, &overview)?;
        }
        for alert in &overview.open_alerts {
            if told.insert((alert.fingerprint.clone(), alert.started_at_ms)) {
                writeln!(out, "ALERT {:<8} {} {}", alert.severity, alert.name, plain(&alert.message))?;
            }
        }
        if looks % STATUS_LOOKS == 0 {
            let templates = overview.templates_known;
            let open = overview.open_alerts.len();
            writeln!(out, "{} lines so far, {templates} templates, {open} alerts open", count(lines))?;
        }
    }
    Ok(())
}

fn write_sources(out: &mut impl Write, overview: &Overview) -> std::io::Result<()> {
    for source in overview.sources.iter().map(|source| &source.status) {
        let (mark, word) = match source.state {
            SourceState::Watching => ("+", "watching"),
            SourceState::CatchingUp => ("+", "reading the past"),
            SourceState::Waiting => ("-", "not there yet"),
            SourceState::Blind => ("-", "cannot be seen"),
            SourceState::Stopped => ("-", "stopped"),
        };
        let reason = if source.reason.is_empty() { String::new() } else { format!(": {}", plain(&source.reason)) };
        writeln!(out, "  {mark} {:<28} {word}{reason}", plain(&source.name))?;
    }
    Ok(())
}

fn write_summary(out: &mut impl Write, overview: &Overview) -> std::io::Result<()> {
    let hosts = overview.hosts.len();
    writeln!(out, "\nWhat it says: {} lines from {hosts} host(s), {} templates", count(overview.lines), overview.templates_known)?;
    if overview.lines == 0 {
        writeln!(out, "  nothing yet; try: logger -n 127.0.0.1 -P 5514 -d hello")?;
        return Ok(());
    }
    writeln!(out, "  {:>9} {:>9}      template", "last hour", "in all")?;
    for template in overview.templates.iter().take(TEMPLATES_SHOWN) {
        let new = if template.is_new { "new" } else { "" };
        let text: String = plain(&template.text).chars().take(100).collect();
        writeln!(out, "  {:>9} {:>9}  {new:<3} {text}", template.last_hour, template.count)?;
    }
    writeln!(out, "\nAlerts as they come (`nephoscope alerts show` has the lines behind each):")
}

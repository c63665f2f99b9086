//! The systemd journal through `journalctl`: its file format is systemd's own affair, its JSON is documented.

use std::io::{ErrorKind, Read};
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::process::{Child, ChildStderr, ChildStdout, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use rustix::time::Timespec;

use super::clock;
use super::cursor::Position;
use super::reread::{Entry, LOOK, Past, Reread, Step};
use super::status::{SourceGauge, SourceState};
use crate::journal::FIELDS;
use crate::record::{Recorder, backfill_attribute};

/// Name of the journal in the cursor.
pub(crate) const KEY: &str = "journal";
/// An entry that is longer as JSON is cut; bytes that are no text take four there.
const LINE_BYTES_MAX: usize = 4 << 20;
const CHUNK_BYTES: usize = 64 * 1024;
/// `journalctl` is given this long for its first line while the past is read, for it may have to search large files,
const FIRST_LINE: Duration = Duration::from_secs(3);
/// and this long for each further one.
const FURTHER_LINE: Duration = Duration::from_millis(300);
const BACKOFF_US_MIN: i64 = 1_000_000;
const BACKOFF_US_MAX: i64 = 60_000_000;
/// What is kept of the complaints of `journalctl`.
const COMPLAINT_BYTES: usize = 300;

/// How to call `journalctl`.
#[derive(Debug, Clone)]
pub(crate) struct Journalctl {
    /// The program.
    pub(crate) program: PathBuf,
    /// Reads the journal files in this folder instead of the machine's own.
    pub(crate) folder: Option<PathBuf>,
}

impl Default for Journalctl {
    fn default() -> Self {
        Self { program: "journalctl".into(), folder: None }
    }
}

impl Journalctl {
    fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        // `--all`: without it fields above 4 KiB come as null.
        command.args(["--output=json", "--all", "--no-pager", "--quiet"]).arg(format!("--output-fields={FIELDS}"));
        if let Some(folder) = &self.folder {
            command.arg("--directory").arg(folder);
        }
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    /// Is there a journal that we may read? The error says why not.
    pub(crate) fn probe(&self) -> Result<(), String> {
        let output = self.command().arg("--lines=1").output().map_err(|error| match error.kind() {
            ErrorKind::NotFound => format!("{} is not installed: no systemd here", self.program.display()),
            _ => format!("{}: {error}", self.program.display()),
        })?;
        if output.stdout.starts_with(b"{") {
            return Ok(());
        }
        let complaint = String::from_utf8_lossy(&output.stderr);
        let complaint = complaint.lines().next().unwrap_or("it is empty, or its readers' groups (adm, systemd-journal) are not ours");
        Err(format!("journal: {complaint}"))
    }
}

/// Follows the journal.
pub(crate) struct Journal {
    journalctl: Journalctl,
    recorder: Recorder,
    gauge: SourceGauge,
    key: Arc<str>,
    cursor: Option<String>,
    /// What is read if there is no cursor.
    past: Past,
    /// The past is being read,
    is_past: bool,
    /// for the first time.
    is_first: bool,
    running: Option<Running>,
    restart_us: i64,
    backoff_us: i64,
}

struct Running {
    child: Child,
    stdout: ChildStdout,
    stderr: ChildStderr,
    complaint: Vec<u8>,
    buffer: Vec<u8>,
    consumed: usize,
    searched: usize,
    /// The rest of a line that is too long is passed over.
    skipping: bool,
    has_spoken: bool,
}

impl Journal {
    /// Goes on after `position`, else begins with what `past` allows.
    pub(crate) fn new(journalctl: Journalctl, recorder: Recorder, gauge: SourceGauge, position: Option<&Position>, past: Past) -> Self {
        let cursor = match position {
            Some(Position::Journal(cursor)) => Some(cursor.clone()),
            _ => None,
        };
        Self {
            journalctl,
            recorder,
            gauge,
            key: KEY.into(),
            is_first: cursor.is_none(),
            cursor,
            past,
            is_past: true,
            running: None,
            restart_us: i64::MIN,
            backoff_us: BACKOFF_US_MIN,
        }
    }

    fn start(&mut self) -> Option<()> {
        if clock::monotonic_us() < self.restart_us {
            return None;
        }
        let mut command = self.journalctl.command();
        command.args(["--follow", "--no-tail"]);
        match &self.cursor {
            Some(cursor) => command.arg(format!("--after-cursor={cursor}")),
            None => command.arg(format!("--since=@{}", self.past.since_us.div_euclid(1_000_000))),
        };
        let started = command.spawn().map_err(|error| error.to_string()).and_then(Running::new);
        match started {
            Ok(running) => self.running = Some(running),
            Err(reason) => self.ended(&reason),
        }
        self.running.as_ref().map(|_| ())
    }

    fn ended(&mut self, reason: &str) {
        self.running = None;
        self.restart_us = clock::monotonic_us() + self.backoff_us;
        self.backoff_us = (self.backoff_us * 2).min(BACKOFF_US_MAX);
        self.gauge.set(SourceState::Waiting, format!("journalctl ended, it will be started again: {reason}"));
    }

    fn entry(&mut self, line: &[u8]) -> Entry {
        let received_us = clock::now_us();
        let (mut record, cursor) = self.recorder.journal_line(line, received_us);
        match cursor {
            Ok(cursor) => self.cursor = Some(cursor),
            Err(error) => tracing::warn!(%error, "line of journalctl is kept as it stands"),
        }
        if self.is_past && self.is_first && record.event_time < self.past.until_us {
            backfill_attribute(&mut record.attributes);
        }
        let position = self.cursor.clone().map(Position::Journal);
        Entry { order_us: record.event_time, record, source: self.key.clone(), position, gauge: self.gauge.clone() }
    }
}

impl Reread for Journal {
    fn next(&mut self) -> Option<Step> {
        loop {
            if self.running.is_none() {
                self.start()?;
            }
            let running = self.running.as_mut()?;
            if let Some(line) = running.line() {
                self.backoff_us = BACKOFF_US_MIN;
                if !self.is_past {
                    self.gauge.set(SourceState::Watching, "");
                }
                return Some(Step::Line(Box::new(self.entry(&line))));
            }
            let patience = match (self.is_past, running.has_spoken) {
                (true, false) => FIRST_LINE,
                (true, true) => FURTHER_LINE,
                (false, _) => Duration::ZERO,
            };
            match running.fill(patience) {
                Fill::More => {}
                Fill::Nothing => return None,
                Fill::End => {
                    let reason = running.last_words();
                    self.ended(&reason);
                    return None;
                }
            }
        }
    }

    fn caught_up(&mut self) {
        self.is_past = false;
        if self.running.is_some() {
            self.gauge.set(SourceState::Watching, "");
        }
    }

    fn wait(&mut self) {
        match &self.running {
            Some(running) => drop(running.is_readable(LOOK)),
            None => std::thread::sleep(LOOK),
        }
    }
}

enum Fill {
    More,
    Nothing,
    End,
}

impl Running {
    fn new(mut child: Child) -> Result<Self, String> {
        let (stdout, stderr) = child.stdout.take().zip(child.stderr.take()).ok_or("no pipe to journalctl")?;
        for pipe in [stdout.as_fd(), stderr.as_fd()] {
            let flags = fcntl_getfl(pipe).and_then(|flags| fcntl_setfl(pipe, flags | OFlags::NONBLOCK));
            flags.map_err(|error| error.to_string())?;
        }
        let (complaint, buffer) = (Vec::new(), Vec::new());
        Ok(Self { child, stdout, stderr, complaint, buffer, consumed: 0, searched: 0, skipping: false, has_spoken: false })
    }

    /// The next whole line.
    fn line(&mut self) -> Option<Vec<u8>> {
        loop {
            let rest = self.buffer.get(self.consumed..).unwrap_or_default();
            let found = memchr::memchr(b'\n', rest.get(self.searched..).unwrap_or_default()).map(|at| self.searched + at);
            let end = found.or((rest.len() > LINE_BYTES_MAX).then_some(LINE_BYTES_MAX));
            let Some(end) = end else {
                self.searched = rest.len();
                return None;
            };
            let line = rest.get(..end).unwrap_or_default().to_vec();
            self.consumed += end + usize::from(found.is_some());
            self.searched = 0;
            let is_rest = std::mem::replace(&mut self.skipping, found.is_none());
            if !is_rest && !line.is_empty() {
                self.has_spoken = true;
                return Some(line);
            }
        }
    }

    fn fill(&mut self, patience: Duration) -> Fill {
        if !patience.is_zero() && !self.is_readable(patience) {
            return Fill::Nothing;
        }
        self.hear_complaints();
        self.buffer.drain(..self.consumed);
        self.consumed = 0;
        let known = self.buffer.len();
        self.buffer.resize(known + CHUNK_BYTES, 0);
        let read = self.stdout.read(self.buffer.get_mut(known..).unwrap_or_default());
        self.buffer.truncate(known + read.as_ref().copied().unwrap_or(0));
        match read {
            Ok(0) => Fill::End,
            Ok(_) => Fill::More,
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => Fill::Nothing,
            Err(_) => Fill::End,
        }
    }

    fn is_readable(&self, patience: Duration) -> bool {
        let timeout = Timespec { tv_sec: patience.as_secs().cast_signed(), tv_nsec: i64::from(patience.subsec_nanos()) };
        poll(&mut [PollFd::new(&self.stdout, PollFlags::IN)], Some(&timeout)).is_ok_and(|ready| ready > 0)
    }

    /// Keeps the pipe empty, so that `journalctl` never waits for us to read its complaints.
    fn hear_complaints(&mut self) {
        let mut chunk = [0; 4_096];
        while let Ok(bytes @ 1..) = self.stderr.read(&mut chunk) {
            self.complaint.extend_from_slice(chunk.get(..bytes).unwrap_or_default());
            let excess = self.complaint.len().saturating_sub(COMPLAINT_BYTES);
            self.complaint.drain(..excess);
        }
    }

    fn last_words(&mut self) -> String {
        self.hear_complaints();
        let status = self.child.wait().map_or_else(|error| error.to_string(), |status| status.to_string());
        format!("{status} {}", String::from_utf8_lossy(&self.complaint).trim().replace('\n', "; "))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended already; in any case no child is left behind.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[cfg(test)]
mod tests;

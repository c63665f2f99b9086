//! Our own binaries, started as an operator starts them.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

/// How often the end of a process is looked for.
const LOOK: Duration = Duration::from_millis(20);
/// How long a process may take to end after SIGTERM; its own limit is 15 s.
const LEAVE_MAX: Duration = Duration::from_secs(30);

/// How long [`until`] waits.
const PATIENCE: Duration = Duration::from_secs(60);

/// The folder of the binaries that stand beside a test; None, and the reason told, where one of these is missing.
///
/// # Panics
/// If the test does not know where it is.
pub fn binaries(names: &[&str]) -> Option<PathBuf> {
    let here = std::env::current_exe().expect("a test has a path");
    let folder: PathBuf = here.ancestors().nth(2).expect("target/release/deps/test-…").into();
    let missing = names.iter().find(|name| !folder.join(name).is_file());
    if let Some(name) = missing {
        println!("SKIPPED: {name} was not built with this test");
    }
    missing.is_none().then_some(folder)
}

/// Looks again and again for what comes in its own time.
///
/// # Panics
/// If it does not come within a minute.
pub fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let begun = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(begun.elapsed() < PATIENCE, "{what} within {} s", PATIENCE.as_secs());
        std::thread::sleep(Duration::from_millis(100));
    }
}

/// How one process is started, each time anew.
#[derive(Debug, Clone)]
pub struct Launch {
    /// Its name in what we print, and of its log.
    pub name: String,
    /// The binary.
    pub program: PathBuf,
    /// What follows it on the command line, before the options.
    pub arguments: Vec<String>,
    /// Its configuration file.
    pub config: PathBuf,
    /// Its data directory.
    pub data_dir: PathBuf,
    /// Its environment, beside ours.
    pub environment: Vec<(String, String)>,
    /// Where its log goes, all lives of it in one file.
    pub log: PathBuf,
}

impl Launch {
    /// Starts it.
    ///
    /// # Errors
    /// If the binary or its log cannot be opened.
    pub fn start(&self) -> io::Result<Process> {
        self.start_in(&self.data_dir)
    }

    /// Starts it under the same name with another data directory, as on another machine.
    ///
    /// # Errors
    /// As [`Launch::start`].
    pub fn start_elsewhere(&self) -> io::Result<Process> {
        self.start_in(&self.data_dir.with_extension("elsewhere"))
    }

    fn start_in(&self, data_dir: &Path) -> io::Result<Process> {
        let log = File::options().create(true).append(true).open(&self.log)?;
        let mut command = Command::new(&self.program);
        command
            .args(&self.arguments)
            .arg("--config")
            .arg(&self.config)
            .arg("--data-dir")
            .arg(data_dir)
            .envs(self.environment.iter().cloned());
        let child = command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log).spawn()?;
        Ok(Process { child })
    }

    /// The last line of its log, which says why it ended, where it ended by itself; without what differs from life to life.
    pub fn last_words(&self) -> String {
        let log = std::fs::read_to_string(&self.log).unwrap_or_default();
        let last = log.lines().rfind(|line| !line.trim().is_empty()).unwrap_or("nothing");
        last.split(|letter: char| letter.is_ascii_digit()).filter(|part| !part.is_empty()).collect::<Vec<_>>().join("#")
    }
}

/// A running process; `kill -9` when it is dropped.
#[derive(Debug)]
pub struct Process {
    child: Child,
}

impl Process {
    /// Sends a signal.
    ///
    /// # Errors
    /// If the process is gone.
    pub fn signal(&self, signal: Signal) -> io::Result<()> {
        Ok(kill_process(Pid::from_child(&self.child), signal)?)
    }

    /// How it ended, if it ended by itself.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().ok().flatten()
    }

    /// Waits for its end; None if it still runs after this time.
    pub fn wait(&mut self, most: Duration) -> Option<ExitStatus> {
        let begun = Instant::now();
        loop {
            match self.ended() {
                None if begun.elapsed() < most => std::thread::sleep(LOOK),
                ended => return ended,
            }
        }
    }

    /// SIGTERM, then waits; `kill -9` if it does not end.
    ///
    /// # Errors
    /// If it had to be killed: a process that cannot leave is a finding.
    pub fn leave(mut self) -> io::Result<ExitStatus> {
        self.signal(Signal::TERM)?;
        self.wait(LEAVE_MAX).ok_or_else(|| io::Error::other(format!("it did not end within {} s of SIGTERM", LEAVE_MAX.as_secs())))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

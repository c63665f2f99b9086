//! CPU time of this process by thread, as the kernel counts it.

use std::{collections::BTreeMap, fs, path::Path, time::Duration};

use super::capped::Capped;

/// Where the kernel lists this process's threads, proc(5).
const TASKS: &str = "/proc/self/task";

/// Adds up what each thread used between two looks, so that the sum of a name never falls when one of its threads ends.
#[derive(Debug, Default)]
pub(super) struct Threads {
    seen: BTreeMap<String, Duration>,
    used: Capped<String, Duration>,
}

impl Threads {
    /// CPU time by thread name, up to now.
    pub(super) fn look(&mut self) -> &Capped<String, Duration> {
        let mut seen = BTreeMap::new();
        for entry in fs::read_dir(TASKS).into_iter().flatten().flatten() {
            let Some((name, used)) = read(&entry.path()) else { continue };
            let id = entry.file_name().to_string_lossy().into_owned();
            let before = self.seen.get(&id).copied().filter(|before| *before <= used).unwrap_or_default();
            *self.used.at(&name) += used - before;
            seen.insert(id, used);
        }
        self.seen = seen;
        &self.used
    }
}

/// Name and CPU time of a thread: of `stat`, the second field, in parentheses, and the 14th and 15th, in clock ticks.
fn read(task: &Path) -> Option<(String, Duration)> {
    let stat = fs::read_to_string(task.join("stat")).ok()?;
    let (name, fields) = (stat.get(stat.find('(')? + 1..stat.rfind(')')?)?, stat.get(stat.rfind(')')? + 1..)?);
    let mut ticks = fields.split_ascii_whitespace().skip(11).map(str::parse::<u64>);
    let ticks = ticks.next()?.ok()? + ticks.next()?.ok()?;
    Some((name.to_string(), Duration::from_secs(ticks) / u32::try_from(rustix::param::clock_ticks_per_second()).ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_that_ended_keeps_its_share() {
        let mut threads = Threads::default();
        let (told, tell) = std::sync::mpsc::channel::<()>();
        let (ready, wait) = std::sync::mpsc::channel();
        let work = move || {
            let begun = crate::time::SystemClock;
            while crate::time::Clock::cpu(&begun) < Duration::from_millis(60) {}
            ready.send(()).expect("is heard");
            tell.recv().expect_err("is told by the end");
        };
        let busy = std::thread::Builder::new().name("busy (one)".into()).spawn(work).expect("starts");
        wait.recv().expect("is busy");
        let name = "busy (one)".to_string();
        let first = *threads.look().get(&name).expect("is there");
        assert!(first >= Duration::from_millis(40), "{first:?}");
        drop(told);
        busy.join().expect("ends");
        assert!(*threads.look().get(&name).expect("is still there") >= first);
    }
}

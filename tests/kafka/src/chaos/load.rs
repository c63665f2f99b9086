//! The load: lines with a number each, dealt in turn to files that collectors follow.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use schemas::EventTime;

/// Hosts whose lines a file holds: enough that every partition gets some.
const HOSTS: u64 = 24;
/// How often lines are written.
const BEAT: Duration = Duration::from_millis(20);

/// Writes lines at this rate until told to stop; returns how many it wrote. Lines of one host are always in one file, and so
/// in one order.
///
/// # Errors
/// If a file cannot be written.
pub fn write(paths: &[impl AsRef<Path>], lines_per_s: u32, stop: &AtomicBool) -> io::Result<u64> {
    let open = |path: &_| OpenOptions::new().create(true).append(true).open(AsRef::<Path>::as_ref(path));
    let mut files: Vec<File> = paths.iter().map(open).collect::<io::Result<_>>()?;
    let (begun, mut written) = (Instant::now(), 0_u64);
    while !stop.load(Ordering::Relaxed) {
        let due = u64::try_from(begun.elapsed().as_millis()).unwrap_or(0) * u64::from(lines_per_s) / 1_000;
        let mut texts = vec![String::new(); files.len()];
        while written < due {
            let file = usize::try_from(written).unwrap_or(0) % files.len();
            texts[file].push_str(&line(written, file));
            written += 1;
        }
        for (file, text) in files.iter_mut().zip(&texts) {
            file.write_all(text.as_bytes())?;
        }
        std::thread::sleep(BEAT);
    }
    Ok(written)
}

fn line(number: u64, file: usize) -> String {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let now = EventTime::from_millis(i64::try_from(since.as_millis()).unwrap_or(i64::MAX));
    let host = number / 7 % HOSTS;
    format!("{now} host-{file}-{host} app: line {number} took {} ms\n", number % 97)
}

/// The number that a line's message carries.
pub fn number_of(message: &str) -> Option<u64> {
    message.strip_prefix("line ")?.split(' ').next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_carries_its_number() {
        let text = line(4_711, 1);
        let message = text.split(" app: ").nth(1).expect("a message");
        assert_eq!(number_of(message.trim_end()), Some(4_711), "{text}");
        assert_eq!(number_of("aborted"), None);
    }

    #[test]
    fn lines_are_dealt_to_the_files_in_turn_and_all_counted() {
        let dir = tempfile::tempdir().expect("a directory");
        let paths = [dir.path().join("0"), dir.path().join("1")];
        let stop = AtomicBool::new(false);
        let written = std::thread::scope(|scope| {
            let writer = scope.spawn(|| write(&paths, 10_000, &stop).expect("writes"));
            std::thread::sleep(Duration::from_millis(100));
            stop.store(true, Ordering::Relaxed);
            writer.join().expect("ends")
        });
        assert!(written > 0);
        for (file, path) in paths.iter().enumerate() {
            let text = std::fs::read_to_string(path).expect("reads");
            let numbers = text.lines().map(|line| number_of(line.split(" app: ").nth(1).expect("a message")).expect("a number"));
            assert!(numbers.eq((file as u64..written).step_by(2)));
        }
    }
}

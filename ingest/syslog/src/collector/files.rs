//! All followed files: patterns, and the paths that they match as time goes by.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use schemas::SourceKind;

use super::clock;
use super::cursor::Positions;
use super::reread::{Heads, LOOK, Reread, Step};
use super::status::{SourceState, Watch};
use super::tail::{KEY_PREFIX, Tail, TailSpec, key_of};

/// Files followed at most.
pub(crate) const FILES_MAX: usize = 1_000;
/// How often patterns are matched anew.
const SCAN_US: i64 = 1_000_000;

/// Follows files, and gives their lines in the order of event time as far as they are there.
pub(crate) struct FileSet {
    patterns: Vec<String>,
    spec: TailSpec,
    watch: Watch,
    positions: Positions,
    tails: Vec<Option<Tail>>,
    heads: Heads,
    scan_us: i64,
    look_us: i64,
    is_first_scan: bool,
    is_caught_up: bool,
    excess: usize,
    forgotten: Vec<Arc<str>>,
}

impl FileSet {
    /// `positions`: of files only.
    pub(crate) fn new(patterns: Vec<String>, spec: TailSpec, watch: Watch, positions: Positions) -> Self {
        let mut files = Self {
            patterns,
            spec,
            watch,
            positions,
            tails: Vec::new(),
            heads: Heads::default(),
            scan_us: i64::MIN,
            look_us: i64::MIN,
            is_first_scan: true,
            is_caught_up: false,
            excess: 0,
            forgotten: Vec::new(),
        };
        files.scan(); // so that the status is whole from the start
        files
    }

    /// Begins to follow paths that are new, ends with those that have gone.
    fn scan(&mut self) {
        let now_us = clock::monotonic_us();
        if now_us < self.scan_us {
            return;
        }
        self.scan_us = now_us + SCAN_US;
        let mut paths: BTreeSet<PathBuf> = self.patterns.iter().flat_map(|pattern| matches(pattern)).collect();
        if std::mem::take(&mut self.is_first_scan) {
            paths.extend(self.known_before());
        }
        let known: BTreeSet<PathBuf> = self.tails.iter().flatten().map(|tail| tail.path().to_owned()).collect();
        let room = FILES_MAX.saturating_sub(known.len());
        let new: Vec<&PathBuf> = paths.iter().filter(|path| !known.contains(*path)).collect();
        let excess = new.len().saturating_sub(room);
        if excess != std::mem::replace(&mut self.excess, excess) && excess > 0 {
            tracing::warn!(excess, "more than {FILES_MAX} files match; the excess is not followed");
        }
        for path in new.into_iter().take(room) {
            self.follow(path.clone());
        }
        for (index, slot) in self.tails.iter_mut().enumerate() {
            let is_gone = |tail: &mut Tail| tail.identity().is_none() && !paths.contains(tail.path()) && !self.heads.has(index);
            if let Some(tail) = slot.take_if(is_gone) {
                self.forgotten.push(tail.key());
                tail.leave();
            }
        }
    }

    /// Files of the cursor that the patterns still mean, though they may not be there: renamed, they are read to their end.
    /// The others are forgotten.
    fn known_before(&mut self) -> Vec<PathBuf> {
        let patterns: Vec<_> = self.patterns.iter().filter_map(|pattern| glob::Pattern::new(pattern).ok()).collect();
        let mut paths = Vec::new();
        self.positions.retain(|key, _| {
            let path = key.strip_prefix(KEY_PREFIX).map(PathBuf::from);
            let is_meant = |path: &PathBuf| patterns.iter().any(|pattern| pattern.matches_path(path));
            let path = path.filter(is_meant);
            if path.is_none() {
                self.forgotten.push(key.as_str().into());
            }
            let is_known = path.is_some();
            paths.extend(path);
            is_known
        });
        paths
    }

    fn follow(&mut self, path: PathBuf) {
        let identity = identity(&path);
        if identity.is_some() && self.tails.iter().flatten().any(|tail| tail.identity() == identity) {
            return; // the same file under another name: a link, or one that is just being rotated
        }
        let name = path.display().to_string();
        let gauge = self.watch.add(SourceKind::File, &name, SourceState::CatchingUp, "");
        let position = self.positions.remove(&key_of(&path));
        let mut tail = Tail::new(path, &self.spec, gauge, position.as_ref());
        if self.is_caught_up {
            tail.caught_up();
        }
        let free = self.tails.iter().position(Option::is_none);
        match free.and_then(|index| self.tails.get_mut(index)) {
            Some(slot) => *slot = Some(tail),
            None => self.tails.push(Some(tail)),
        }
    }

    /// Asks every tail that is not waiting for its turn.
    fn look(&mut self) {
        self.look_us = clock::monotonic_us() + i64::try_from(LOOK.as_micros()).unwrap_or(i64::MAX);
        for (index, slot) in self.tails.iter_mut().enumerate() {
            if let Some(tail) = slot
                && !self.heads.has(index)
            {
                self.heads.offer(index, tail.next().map(|entry| Step::Line(Box::new(entry))));
            }
        }
    }
}

impl Reread for FileSet {
    fn next(&mut self) -> Option<Step> {
        self.scan();
        if let Some(key) = self.forgotten.pop() {
            return Some(Step::Forget(key));
        }
        if clock::monotonic_us() >= self.look_us {
            self.look();
        }
        let (index, step) = self.heads.next()?;
        if let Some(Some(tail)) = self.tails.get_mut(index) {
            self.heads.offer(index, tail.next().map(|entry| Step::Line(Box::new(entry))));
        }
        Some(step)
    }

    fn caught_up(&mut self) {
        self.is_caught_up = true;
        for tail in self.tails.iter_mut().flatten() {
            tail.caught_up();
        }
    }

    fn wait(&mut self) {
        let left = self.look_us.saturating_sub(clock::monotonic_us());
        std::thread::sleep(std::time::Duration::from_micros(u64::try_from(left).unwrap_or(0)));
    }
}

fn identity(path: &Path) -> Option<(u64, u64)> {
    use std::os::unix::fs::MetadataExt;
    std::fs::metadata(path).ok().map(|metadata| (metadata.dev(), metadata.ino()))
}

/// The paths of a pattern; a plain path is itself, whether it is there or not.
///
/// A pattern passes over names that rotation makes (`syslog.1`, `app.log-20240101`, `x.gz`): what stands in them is read
/// through the file that they were.
fn matches(pattern: &str) -> Vec<PathBuf> {
    if !pattern.contains(['*', '?', '[']) {
        return vec![PathBuf::from(pattern)];
    }
    let paths = glob::glob(pattern).into_iter().flatten().flatten();
    paths.filter(|path| !is_rotated(path) && path.is_file()).collect()
}

fn is_rotated(path: &Path) -> bool {
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    let numbered = name.rsplit_once('.').is_some_and(|(_, end)| digits(end) || matches!(end, "gz" | "xz" | "bz2" | "zst" | "old"));
    let dated = name.rsplit_once('-').is_some_and(|(_, end)| end.len() == 8 && digits(end));
    numbered || dated
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_rotation_makes_are_passed_over() {
        for name in ["syslog.1", "syslog.12", "a.log-20240101", "a.gz", "b.log.2.xz", "c.old"] {
            assert!(is_rotated(Path::new(name)), "{name}");
        }
        for name in ["syslog", "a.log", "node-1", "web-12345678.log", "1", "v2.0-beta"] {
            assert!(!is_rotated(Path::new(name)), "{name}");
        }
    }
}

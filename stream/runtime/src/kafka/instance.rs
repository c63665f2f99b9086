//! The name of a replica. It stays the same over restarts, so that a replica which comes back aborts what it left open and
//! gets its partitions back at once.

use std::{
    fs::{File, OpenOptions},
    path::Path,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use rustix::fs::FlockOperation;

use super::client::now;
use crate::{bus::BusError, secret};

/// Replicas of one part that may share a data directory.
const SLOTS_MAX: u32 = 1_000;
/// Who is fenced twice within this time shares its name with somebody. Once may follow from an outage of a broker.
const FENCED_TWICE: Duration = Duration::from_secs(60);

/// A name in use by this process.
#[derive(Debug)]
pub(super) struct Instance {
    /// `<machine>-<data directory>-<slot>`, or what the operator set.
    pub(super) name: String,
    fenced: Mutex<Option<Instant>>,
    _lock: Option<File>,
}

impl Instance {
    /// Takes the lowest slot of a part in the data directory that no other process holds.
    fn claim(data_dir: &Path, part: &str, configured: &str) -> Result<Self, BusError> {
        if !configured.is_empty() {
            return Ok(Self { name: configured.into(), fenced: Mutex::default(), _lock: None });
        }
        let dir = data_dir.join(part);
        let context = |what: &str, path: &Path| format!("cannot {what} {}", path.display());
        std::fs::create_dir_all(&dir).map_err(|source| BusError::Io { what: context("create", &dir), source })?;
        let home = home(data_dir).map_err(|source| BusError::Io { what: context("read or make the id of", data_dir), source })?;
        for slot in 0..SLOTS_MAX {
            let path = dir.join(format!("slot.{slot}"));
            let file = OpenOptions::new().create(true).truncate(false).write(true).open(&path);
            let file = file.map_err(|source| BusError::Io { what: context("open", &path), source })?;
            if rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive).is_ok() {
                return Ok(Self { name: format!("{home}-{slot}"), fenced: Mutex::default(), _lock: Some(file) });
            }
        }
        Err(BusError::Fatal(format!("{SLOTS_MAX} replicas of {part} use {} already", data_dir.display())))
    }

    /// Notes that somebody took over under this name. The text, if that happened twice within a minute.
    pub(super) fn fenced(&self) -> Option<String> {
        let mut fenced = self.fenced.lock().unwrap_or_else(PoisonError::into_inner);
        let is_again = fenced.replace(now()).is_some_and(|before| before.elapsed() < FENCED_TWICE);
        is_again.then(|| {
            format!(
                "another process uses the instance name {:?}: fenced twice within {} s; give each replica a bus.instance of its own, \
                 or a data directory of its own if this machine was cloned",
                self.name,
                FENCED_TWICE.as_secs()
            )
        })
    }
}

/// All names that this process uses, by part. A name stays ours when its session is lost, for the next one.
#[derive(Debug, Default)]
pub(super) struct Instances(Mutex<Vec<(String, Arc<Instance>)>>);

impl Instances {
    /// A name for one more client of a part.
    pub(super) fn claim(&self, data_dir: &Path, part: &str, configured: &str) -> Result<Arc<Instance>, BusError> {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // Only we hold it: its last client is gone.
        let free = known.iter().find(|(name, instance)| name == part && Arc::strong_count(instance) == 1);
        if let Some((_, instance)) = free {
            return Ok(Arc::clone(instance));
        }
        let instance = Arc::new(Instance::claim(data_dir, part, configured)?);
        known.push((part.to_owned(), Arc::clone(&instance)));
        Ok(instance)
    }
}

/// Eight digits of the machine's id and four of the data directory's, which is made on first use.
fn home(data_dir: &Path) -> std::io::Result<String> {
    let directory = secret::read_or_make(&data_dir.join("id"), 6)?;
    let machine = std::fs::read_to_string("/etc/machine-id").unwrap_or_default();
    let machine: String = machine.chars().filter(char::is_ascii_hexdigit).take(8).collect();
    // Without a machine id the directory's own digits stand in.
    let machine = if machine.len() == 8 { machine } else { directory.chars().skip(4).take(8).collect() };
    let directory: String = directory.chars().take(4).collect();
    Ok(format!("{machine}-{directory}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replicas_in_one_directory_have_different_names_and_keep_them() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let claim = |instances: &Instances| instances.claim(dir.path(), "drain", "").expect("a slot is free");
        let (ours, theirs) = (Instances::default(), Instances::default());
        let (first, second) = (claim(&ours), claim(&theirs));
        assert!(first.name.ends_with("-0") && second.name.ends_with("-1"), "{} {}", first.name, second.name);
        let name = first.name.clone();
        drop(first);
        assert!(claim(&theirs).name.ends_with("-2"), "a name that is in use is not given twice");
        assert_eq!(claim(&ours).name, name);
        drop(ours);
        assert_eq!(claim(&Instances::default()).name, name, "a process that ended gives its name back");
    }

    #[test]
    fn a_name_that_is_set_is_used_as_it_is() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        assert_eq!(Instances::default().claim(dir.path(), "drain", "pod-3").expect("is free").name, "pod-3");
    }

    #[test]
    fn being_fenced_twice_in_a_minute_is_no_accident() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let instance = Instances::default().claim(dir.path(), "drain", "pod-3").expect("is free");
        assert_eq!(instance.fenced(), None);
        let why = instance.fenced().expect("is too often");
        assert!(why.contains("pod-3") && why.contains("bus.instance"), "{why}");
    }
}

//! A spool on a disk that is full: a small tmpfs. Needs root; without it the test says that it was skipped.

use std::{path::Path, process::Command};

use stream_runtime::{
    loss::Loss,
    metrics::SourceMetrics,
    publish::{Publish, PublishError},
};
use tempfile::{TempDir, tempdir};

use crate::support::*;

/// A mounted tmpfs.
struct SmallDisk(TempDir);

impl SmallDisk {
    fn mount(bytes: usize) -> Option<Self> {
        let directory = tempdir().unwrap();
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", &format!("size={bytes}"), "tmpfs"]).arg(directory.path());
        if !mount.output().is_ok_and(|output| output.status.success()) {
            eprintln!("SKIPPED: a tmpfs cannot be mounted without root");
            return None;
        }
        Some(Self(directory))
    }

    fn spool(&self) -> &Path {
        self.0.path()
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(self.0.path()).output();
    }
}

/// Publishes until the disk is full.
fn fill(spooled: &mut dyn Publish, next: &mut u64) {
    for _ in 0..10_000 {
        match spooled.publish(&batch(*next..*next + 10, 500), &[]) {
            Ok(()) => *next += 10,
            Err(PublishError::Retry(why)) => {
                assert!(why.contains("No space left"), "{why}");
                return;
            }
            Err(error) => panic!("{error}"),
        }
    }
    panic!("the disk is never full");
}

#[test]
fn on_a_full_disk_sources_wait_and_nothing_is_lost_or_doubled() {
    let Some(disk) = SmallDisk::mount(2 << 20) else { return };
    let bus_dir = tempdir().unwrap();
    let bus = open_bus(bus_dir.path());
    let (moody, loss) = (Moody::new(&bus, Mood::Away), Loss::default());
    let mut next = 0;
    {
        let mut spooled = moody.spool(disk.spool(), 64 << 20, &loss, &SourceMetrics::default());
        fill(&mut spooled, &mut next);
        assert_eq!(spooled.records(), next);
        // It is tried again and again, and refused each time.
        (0..5).for_each(|_| fill(&mut spooled, &mut next));
    }
    // The next start finds what was taken, and not what was refused.
    let mut spooled = moody.spool(disk.spool(), 64 << 20, &loss, &SourceMetrics::default());
    assert_eq!(spooled.records(), next);
    fill(&mut spooled, &mut next);
    moody.set(Mood::Good);
    eventually("everything goes out", || spooled.records() == 0);
    // There is room again.
    spooled.publish(&batch(next..next + 10, 500), &[]).unwrap();
    next += 10;
    eventually("everything goes out", || spooled.records() == 0);
    assert_eq!(published(&bus), (0..next).collect::<Vec<_>>());
    assert!(next > 1_000 && loss.totals().is_empty(), "{next} records, {:?}", loss.totals());
}

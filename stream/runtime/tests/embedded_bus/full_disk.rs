//! A disk that is full: a small tmpfs. Needs root; without it the tests say that they were skipped.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use stream_core::{NextOffset, Outbox};
use stream_runtime::{
    bus::{Bus, CommitBatch, CommitError, StateWrite},
    embedded::{EmbeddedBus, EmbeddedConfig, check},
    inspect::Inspect,
    publish::PublishError,
};
use tempfile::{TempDir, tempdir};

use crate::support::*;

/// A mounted tmpfs with a file that takes room until it is removed.
struct SmallDisk {
    directory: TempDir,
    ballast: PathBuf,
}

impl SmallDisk {
    fn mount(bytes: usize, ballast_bytes: usize) -> Option<Self> {
        let directory = tempdir().unwrap();
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", &format!("size={bytes}"), "tmpfs"]).arg(directory.path());
        if !mount.output().is_ok_and(|output| output.status.success()) {
            eprintln!("SKIPPED: a tmpfs cannot be mounted without root");
            return None;
        }
        let ballast = directory.path().join("ballast");
        fs::write(&ballast, vec![1; ballast_bytes]).unwrap();
        Some(Self { directory, ballast })
    }

    fn bus(&self) -> PathBuf {
        self.directory.path().join("bus")
    }

    fn make_room(&self) {
        fs::remove_file(&self.ballast).unwrap();
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(self.directory.path()).output();
    }
}

fn open_on(path: &Path) -> EmbeddedBus {
    let bus = EmbeddedBus::open(path, EmbeddedConfig { durability: stream_runtime::embedded::Durability::Fsync, ..config() }).unwrap();
    bus.ensure_topics(&[topic(IN, 1), topic(OUT, 1)]).unwrap();
    bus
}

/// A line that lz4 cannot shorten.
fn line(n: u64) -> String {
    let mut x = n.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        format!("{x:016x}")
    };
    format!("{n} {}", (0..60).map(|_| next()).collect::<String>())
}

#[test]
fn records_wait_until_there_is_room_and_nothing_is_lost_or_doubled() {
    let Some(disk) = SmallDisk::mount(6 << 20, 2 << 20) else { return };
    let bus = open_on(&disk.bus());
    let mut publisher = bus.publisher("s").unwrap();
    let (mut published, mut refusals) = (0u64, 0);
    while published < 20_000 {
        let block = batch(IN, (published..published + 50).map(line));
        match publisher.publish(&block, &published.to_be_bytes()) {
            Ok(()) => published += 50,
            Err(PublishError::Retry(what)) => {
                refusals += 1;
                assert!(what.contains("No space left"), "{what}");
                assert!(bus.stalled().is_some());
                if refusals == 5 {
                    // While it waits, everything so far can be read.
                    assert_eq!(read_values(&bus, IN), (0..published).map(line).collect::<Vec<_>>());
                    disk.make_room();
                }
                if refusals > 10 {
                    break;
                }
            }
            Err(error) => panic!("{error}"),
        }
    }
    assert!(refusals > 10, "the disk fills up twice");
    let expected: Vec<_> = (0..published).map(line).collect();
    assert!(published > 2_000 && read_values(&bus, IN) == expected);
    drop((publisher, bus));
    assert_eq!(check(&disk.bus()).unwrap().findings, []);
    let bus = open_on(&disk.bus());
    assert_eq!(read_values(&bus, IN), expected);
    assert_eq!(bus.publisher("s").unwrap().cursor().unwrap().sequence, published / 50);
}

#[test]
fn work_resumes_by_itself_when_there_is_room() {
    let Some(disk) = SmallDisk::mount(6 << 20, 3 << 20) else { return };
    let bus = open_on(&disk.bus());
    let mut publisher = bus.publisher("s").unwrap();
    let mut published = 0;
    while publisher.publish(&batch(IN, (published..published + 50).map(line)), b"").is_ok() {
        published += 50;
    }
    disk.make_room();
    publisher.publish(&batch(IN, (published..published + 50).map(line)), b"").unwrap();
    assert_eq!(bus.stalled(), None);
    assert_eq!(read_values(&bus, IN), (0..published + 50).map(line).collect::<Vec<_>>());
}

#[test]
fn a_state_that_does_not_fit_waits_and_the_old_one_stays() {
    let Some(disk) = SmallDisk::mount(8 << 20, 3 << 20) else { return };
    let bus = open_on(&disk.bus());
    publish(&mut *bus.publisher("s").unwrap(), IN, ["x".to_string()]);
    let mut session = started(&bus, &worker("p"));
    let (mut committed, mut refusals) = (None, 0);
    for round in 0..12u64 {
        // Each round's state is larger, and a counter tells which one is whole.
        let chunk = |n: u64| StateWrite {
            at: at(IN, 0),
            key: format!("chunk/{n:03}"),
            value: Some(line(round * 1_000 + n).repeat(300).into_bytes()),
        };
        let mut state: Vec<_> = (0..=round * 2).map(chunk).collect();
        state.push(StateWrite { at: at(IN, 0), key: "head".into(), value: Some(round.to_be_bytes().to_vec()) });
        session.begin().unwrap();
        let positions = [(at(IN, 0), NextOffset(round))];
        match session.commit(&CommitBatch { outputs: &Outbox::new("p"), state: &state, positions: &positions }) {
            Ok(()) => committed = Some((round, state)),
            Err(CommitError::Retry(_)) => {
                refusals += 1;
                if refusals == 2 {
                    disk.make_room();
                }
            }
            Err(error) => panic!("{error}"),
        }
        let (round, state) = committed.as_ref().unwrap();
        let image = bus.state("p", &at(IN, 0)).unwrap();
        assert_eq!(image.get("head").unwrap(), &round.to_be_bytes().to_vec());
        assert!(state.iter().all(|write| image.get(&write.key) == write.value.as_ref()), "a state is whole");
        assert_eq!(session.committed(&at(IN, 0)).unwrap(), Some(NextOffset(*round)));
    }
    assert!(refusals >= 2, "the disk was full");
    let last = committed.unwrap().0;
    drop((session, bus));
    assert_eq!(check(&disk.bus()).unwrap().findings, []);
    assert_eq!(open_on(&disk.bus()).state("p", &at(IN, 0)).unwrap().get("head").unwrap(), &last.to_be_bytes().to_vec());
}

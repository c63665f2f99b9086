//! Loss of power at any instant, with a disk that keeps nothing but what was synced and some of the rest: unsynced writes
//! are there, missing or torn, in any order. Whatever was acknowledged must be there afterwards, and nothing else may be half
//! there. The loss strikes inside the store's I/O, on the committer's thread, so that no other write is under way.

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
};

use redb::StorageBackend;
use stream_core::{NextOffset, Partition, TopicPartition};

use super::*;
use crate::{
    gathered::Gathered,
    inspect::{Inspect, ReadLimits},
    publish::PublishBatch,
};

const SECTOR_BYTES: usize = 512;
const TOPIC: &str = "in.v1";

/// Length that each segment file had when it was last synced.
static SYNCED: Mutex<BTreeMap<PathBuf, u64>> = Mutex::new(BTreeMap::new());

pub(super) fn note_sync(path: &Path, bytes: u64) {
    SYNCED.lock().unwrap().insert(path.to_path_buf(), bytes);
}

/// What is left after the loss.
#[derive(Debug, Clone)]
struct Remains {
    store: Vec<u8>,
    segments: Vec<(PathBuf, Vec<u8>)>,
    acknowledged: u64,
}

#[derive(Debug)]
enum Change {
    Write(usize, Vec<u8>),
    Length(usize),
}

#[derive(Debug)]
struct Disk {
    synced: Vec<u8>,
    present: Vec<u8>,
    pending: Vec<Change>,
    calls_left: u64,
    random: u64,
    log: PathBuf,
    acknowledged: Arc<AtomicU64>,
    remains: Option<Remains>,
}

#[derive(Debug, Clone)]
struct FailingDisk(Arc<Mutex<Disk>>);

fn write(image: &mut Vec<u8>, at: usize, bytes: &[u8]) {
    image.resize(image.len().max(at + bytes.len()), 0);
    image[at..at + bytes.len()].copy_from_slice(bytes);
}

impl Disk {
    fn chance(&mut self, of: u64) -> u64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        self.random % of
    }

    fn step(&mut self) {
        match self.calls_left.checked_sub(1) {
            Some(left) => self.calls_left = left,
            None if self.remains.is_none() => self.lose_power(),
            None => {}
        }
    }

    fn lose_power(&mut self) {
        let mut store = self.synced.clone();
        for change in std::mem::take(&mut self.pending) {
            match change {
                Change::Length(length) if self.chance(2) == 0 => store.resize(length, 0),
                Change::Length(_) => {}
                Change::Write(at, bytes) => {
                    for (number, sector) in bytes.chunks(SECTOR_BYTES).enumerate() {
                        if self.chance(2) == 0 {
                            write(&mut store, at + number * SECTOR_BYTES, sector);
                        }
                    }
                }
            }
        }
        let mut segments = Vec::new();
        for path in files(&self.log) {
            let mut bytes = fs::read(&path).unwrap();
            let synced = SYNCED.lock().unwrap().get(&path).copied().unwrap_or(0).min(bytes.len() as u64) as usize;
            match self.chance(3) {
                0 => bytes.truncate(synced),
                1 => bytes[synced..].iter_mut().for_each(|byte| *byte = !*byte),
                _ => {}
            }
            segments.push((path, bytes));
        }
        self.remains = Some(Remains { store, segments, acknowledged: self.acknowledged.load(Ordering::SeqCst) });
    }
}

fn files(directory: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(directory) else { return Vec::new() };
    let paths = entries.map(|entry| entry.unwrap().path());
    paths.flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] }).collect()
}

impl StorageBackend for FailingDisk {
    fn len(&self) -> io::Result<u64> {
        Ok(self.0.lock().unwrap().present.len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let disk = self.0.lock().unwrap();
        let bytes = disk.present.get(offset as usize..offset as usize + out.len()).ok_or(io::ErrorKind::UnexpectedEof)?;
        out.copy_from_slice(bytes);
        Ok(())
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        let mut disk = self.0.lock().unwrap();
        disk.present.resize(length as usize, 0);
        disk.pending.push(Change::Length(length as usize));
        disk.step();
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        let mut disk = self.0.lock().unwrap();
        disk.step();
        disk.synced = disk.present.clone();
        disk.pending.clear();
        Ok(())
    }

    fn write(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let mut disk = self.0.lock().unwrap();
        write(&mut disk.present, offset as usize, bytes);
        disk.pending.push(Change::Write(offset as usize, bytes.to_vec()));
        disk.step();
        Ok(())
    }
}

fn line(n: u64) -> String {
    format!("{n} {}", format!("{:x}", n.wrapping_mul(0x9e37_79b9_7f4a_7c15)).repeat(n as usize % 60))
}

/// Publishes until the power goes. Returns what is left.
fn run(seed: u64) -> Remains {
    let directory = tempfile::tempdir().unwrap();
    let acknowledged = Arc::new(AtomicU64::new(0));
    let disk = FailingDisk(Arc::new(Mutex::new(Disk {
        synced: Vec::new(),
        present: Vec::new(),
        pending: Vec::new(),
        calls_left: 60 + seed.wrapping_mul(0x9e37_79b9) % 400,
        random: seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1,
        log: directory.path().join("log"),
        acknowledged: Arc::clone(&acknowledged),
        remains: None,
    })));
    let config = EmbeddedConfig { segment_bytes_max: 64 << 10, ..Default::default() };
    let store = Store::on(disk.clone()).unwrap();
    let bus = EmbeddedBus::start(DirectoryLock::exclusive(directory.path()).unwrap(), directory.path(), config, store).unwrap();
    let cleanup = schemas::topics::Cleanup::Delete;
    let spec = TopicSpec { name: TOPIC.into(), partitions: 1, cleanup, retention_ms: 3_600_000, retention_bytes: 1 << 30 };
    bus.ensure_topics(&[spec]).unwrap();
    let mut publisher = bus.publisher("s").unwrap();
    let (mut next, mut batch) = (0u64, PublishBatch::default());
    loop {
        if let Some(remains) = disk.0.lock().unwrap().remains.clone() {
            let relative = |(path, bytes): (PathBuf, Vec<u8>)| (path.strip_prefix(directory.path()).unwrap().to_path_buf(), bytes);
            return Remains { segments: remains.segments.into_iter().map(relative).collect(), ..remains };
        }
        let to = next + 1 + next % 150;
        batch.clear();
        (next..to).for_each(|n| batch.push(&TOPIC.into(), None, Some(line(n).as_bytes()), Default::default()).unwrap());
        publisher.publish(&batch, &to.to_be_bytes()).unwrap();
        acknowledged.store(to, Ordering::SeqCst);
        next = to;
    }
}

#[test]
fn what_was_acknowledged_survives_a_loss_of_power_and_nothing_is_half_there() {
    for seed in 0..150 {
        let remains = run(seed);
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join(STORE_FILE), &remains.store).unwrap();
        for (path, bytes) in &remains.segments {
            let path = directory.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, bytes).unwrap();
        }
        let bus = EmbeddedBus::open(directory.path(), EmbeddedConfig::default()).unwrap_or_else(|error| panic!("seed {seed}: {error}"));
        let mut gathered = Gathered::default();
        let limits = ReadLimits { records_max: usize::MAX, bytes_max: usize::MAX, wait: Default::default() };
        bus.read(&TopicPartition::new(&TOPIC.into(), Partition(0)), NextOffset(0), &limits, &mut gathered).unwrap();
        let count = gathered.len() as u64;
        assert!(count >= remains.acknowledged, "seed {seed}: {} records were acknowledged, {count} are left", remains.acknowledged);
        assert!(gathered.records().zip(0..).all(|((_, record), n)| record.value == Some(line(n).as_bytes())), "seed {seed}");
        let cursor = bus.publisher("s").unwrap().cursor().map_or(0, |cursor| u64::from_be_bytes(cursor.position[..].try_into().unwrap()));
        assert_eq!(cursor, count, "seed {seed}: the cursor stands beside its records");
    }
}

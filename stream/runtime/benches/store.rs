//! Which store stands beside the log, and whether the log stands inside it: redb or fjall, segment files or rows.
//!
//! The workload is that of the bus. First batches of 1,000 records of 233 bytes as one compressed chunk, each with a
//! position, an end and a counter, a state of 64 KiB every 5 s, a reader at the tail, and retention; then commits of one
//! record; then `kill -9` in the middle of more of them, and the time until the store is open again with every acknowledged
//! commit in it. Each variant runs in a process of its own, so that the kernel's accounts are its own.
//!
//! `cargo bench -p nephoscope-stream-runtime --bench store -- [--seconds S] [--state-kib K] [--dir D]`

#![allow(clippy::disallowed_methods, missing_docs)]

mod support;

use std::{
    collections::VecDeque,
    fs::{File, OpenOptions},
    io::{BufRead, BufReader},
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use support::{Lines, RECORD_BYTES, cpu, disk_bytes, quantile_ms, rss_bytes, written_bytes};

const BATCH: usize = 1_000;
const SNAPSHOT_EVERY: Duration = Duration::from_secs(5);
const STATE_CHUNK_BYTES: usize = 512 << 10;
const SEGMENT_BYTES: u64 = 32 << 20;
const CACHE_BYTES: usize = 16 << 20;
/// 1 GiB for 60 s, and in proportion.
const RETENTION_BYTES_PER_SECOND: u64 = (1 << 30) / 60;

type Rows<'a> = [(&'a str, &'a [u8])];

/// The tables of the bus in one store; and the chunks, where they are rows.
trait Store: Send + Sync {
    /// One durable commit: small rows, a chunk if the log is inside, chunks that retention removes.
    fn commit(&self, rows: &Rows<'_>, chunk: Option<(u64, &[u8])>, removed: &[u64]);
    fn get(&self, key: &str) -> Option<Vec<u8>>;
    fn chunk(&self, number: u64) -> Option<Vec<u8>>;
}

struct Redb(redb::Database);

const SMALL: redb::TableDefinition<'_, &str, &[u8]> = redb::TableDefinition::new("small");
const CHUNKS: redb::TableDefinition<'_, u64, &[u8]> = redb::TableDefinition::new("chunks");

impl Redb {
    fn open(directory: &Path) -> Self {
        let database = redb::Builder::new().set_cache_size(CACHE_BYTES).create(directory.join("store.redb")).unwrap();
        let transaction = database.begin_write().unwrap();
        drop((transaction.open_table(SMALL).unwrap(), transaction.open_table(CHUNKS).unwrap()));
        transaction.commit().unwrap();
        Self(database)
    }
}

impl Store for Redb {
    fn commit(&self, rows: &Rows<'_>, chunk: Option<(u64, &[u8])>, removed: &[u64]) {
        let transaction = self.0.begin_write().unwrap();
        let mut small = transaction.open_table(SMALL).unwrap();
        for (key, value) in rows {
            small.insert(*key, *value).unwrap();
        }
        drop(small);
        if chunk.is_some() || !removed.is_empty() {
            let mut chunks = transaction.open_table(CHUNKS).unwrap();
            if let Some((number, bytes)) = chunk {
                chunks.insert(number, bytes).unwrap();
            }
            for number in removed {
                chunks.remove(number).unwrap();
            }
        }
        transaction.commit().unwrap();
    }

    fn get(&self, key: &str) -> Option<Vec<u8>> {
        let table = redb::ReadableDatabase::begin_read(&self.0).unwrap().open_table(SMALL).unwrap();
        table.get(key).unwrap().map(|value| value.value().to_vec())
    }

    fn chunk(&self, number: u64) -> Option<Vec<u8>> {
        let table = redb::ReadableDatabase::begin_read(&self.0).unwrap().open_table(CHUNKS).unwrap();
        table.get(number).unwrap().map(|value| value.value().to_vec())
    }
}

struct Fjall {
    database: fjall::Database,
    small: fjall::Keyspace,
    chunks: fjall::Keyspace,
}

impl Fjall {
    fn open(directory: &Path) -> Self {
        let database = fjall::Database::builder(directory.join("store.fjall"))
            .cache_size(CACHE_BYTES as u64)
            .manual_journal_persist(true)
            .open()
            .unwrap();
        let keyspace = |name| database.keyspace(name, fjall::KeyspaceCreateOptions::default).unwrap();
        let (small, chunks) = (keyspace("small"), keyspace("chunks"));
        Self { database, small, chunks }
    }
}

impl Store for Fjall {
    fn commit(&self, rows: &Rows<'_>, chunk: Option<(u64, &[u8])>, removed: &[u64]) {
        let mut batch = self.database.batch().durability(Some(fjall::PersistMode::SyncData));
        for (key, value) in rows {
            batch.insert(&self.small, *key, *value);
        }
        if let Some((number, bytes)) = chunk {
            batch.insert(&self.chunks, number.to_be_bytes(), bytes);
        }
        for number in removed {
            batch.remove(&self.chunks, number.to_be_bytes());
        }
        batch.commit().unwrap();
    }

    fn get(&self, key: &str) -> Option<Vec<u8>> {
        self.small.get(key).unwrap().map(|value| value.to_vec())
    }

    fn chunk(&self, number: u64) -> Option<Vec<u8>> {
        self.chunks.get(number.to_be_bytes()).unwrap().map(|value| value.to_vec())
    }
}

/// Chunks in append-only files.
struct Segments {
    directory: PathBuf,
    files: VecDeque<(File, PathBuf, u64)>,
    opened: u64,
    last_bytes: usize,
}

impl Segments {
    fn read_last(&self) -> Vec<u8> {
        let (file, _, length) = self.files.back().unwrap();
        let mut bytes = vec![0; self.last_bytes];
        file.read_exact_at(&mut bytes, length - self.last_bytes as u64).unwrap();
        bytes
    }

    fn append(&mut self, bytes: &[u8], retention_bytes: u64) -> (u64, u64) {
        if self.files.back().is_none_or(|(_, _, length)| *length > SEGMENT_BYTES) {
            let path = self.directory.join(format!("{:08}.log", self.opened));
            let file = OpenOptions::new().create(true).read(true).write(true).truncate(true).open(&path).unwrap();
            File::open(&self.directory).unwrap().sync_all().unwrap();
            self.files.push_back((file, path, 0));
            self.opened += 1;
        }
        let (file, _, length) = self.files.back_mut().unwrap();
        file.write_all_at(bytes, *length).unwrap();
        file.sync_data().unwrap();
        *length += bytes.len() as u64;
        self.last_bytes = bytes.len();
        let end = (self.opened - 1, *length);
        while self.files.iter().map(|(.., length)| length).sum::<u64>() > retention_bytes && self.files.len() > 1 {
            std::fs::remove_file(self.files.pop_front().unwrap().1).unwrap();
        }
        end
    }
}

/// One variant at work.
struct Log {
    store: Box<dyn Store>,
    segments: Option<Segments>,
    commits: u64,
    kept: VecDeque<(u64, u64)>,
    kept_bytes: u64,
    retention_bytes: u64,
}

impl Log {
    fn open(variant: &str, directory: &Path, retention_bytes: u64) -> Self {
        let store: Box<dyn Store> = match variant.starts_with("redb") {
            true => Box::new(Redb::open(directory)),
            false => Box::new(Fjall::open(directory)),
        };
        let segments = Segments { directory: directory.to_path_buf(), files: VecDeque::new(), opened: 0, last_bytes: 0 };
        let segments = variant.ends_with("segments").then_some(segments);
        let commits = store.get("commits").map_or(0, |value| u64::from_be_bytes(value.try_into().unwrap()));
        Self { store, segments, commits, kept: VecDeque::new(), kept_bytes: 0, retention_bytes }
    }

    /// Compresses and commits records; with them a state, if one is due.
    fn commit(&mut self, raw: &[u8], state: Option<&[u8]>) {
        let chunk = lz4_flex::block::compress_prepend_size(raw);
        self.commits += 1;
        let number = self.commits.to_be_bytes();
        let end;
        let mut removed = Vec::new();
        let mut rows: Vec<(&str, &[u8])> = vec![("commits", &number), ("position/drain/logs.raw.v1/0", &number)];
        let keys: Vec<_> = (0..)
            .map(|number| format!("state/drain/logs.raw.v1/0/chunk/tree/{number}"))
            .take(state.map_or(0, |state| state.len() / STATE_CHUNK_BYTES + 1))
            .collect();
        rows.extend(keys.iter().map(String::as_str).zip(state.unwrap_or_default().chunks(STATE_CHUNK_BYTES)));
        if let Some(segments) = &mut self.segments {
            let (file, length) = segments.append(&chunk, self.retention_bytes);
            end = [file.to_be_bytes(), length.to_be_bytes()].concat();
            rows.push(("ends/logs.raw.v1/0", &end));
            self.store.commit(&rows, None, &[]);
            return;
        }
        self.kept.push_back((self.commits, chunk.len() as u64));
        self.kept_bytes += chunk.len() as u64;
        while self.kept_bytes > self.retention_bytes {
            let (number, bytes) = self.kept.pop_front().unwrap();
            removed.push(number);
            self.kept_bytes -= bytes;
        }
        self.store.commit(&rows, Some((self.commits, &chunk)), &removed);
    }

    /// Reads the last chunk, as a reader at the tail does.
    fn read_last(&self) -> Vec<u8> {
        match &self.segments {
            Some(segments) => segments.read_last(),
            None => self.store.chunk(self.commits).unwrap(),
        }
    }
}

fn main() {
    let arguments: Vec<_> = std::env::args().collect();
    let value = |name: &str| arguments.iter().position(|argument| argument == name).and_then(|at| arguments.get(at + 1));
    let seconds: u64 = value("--seconds").map_or(15, |text| text.parse().unwrap());
    let state_bytes = value("--state-kib").map_or(64, |text| text.parse().unwrap()) << 10;
    if let Some(variant) = value("--variant") {
        let directory = PathBuf::from(value("--dir").unwrap());
        match arguments.iter().any(|argument| argument == "--reopen") {
            true => reopen(variant, &directory),
            false => work(variant, &directory, seconds, state_bytes),
        }
        return;
    }
    let directory = value("--dir").map_or_else(|| PathBuf::from(env!("CARGO_TARGET_TMPDIR")), PathBuf::from);
    println!(
        "| variant | records/s | CPU-s per million | commit p50 / p99 ms | written per byte | peak RSS MiB | disk MiB after (records) | one-record commits/s, p50 / p99 ms, written per byte | reopen after kill -9 ms | lost |"
    );
    println!("|---|---|---|---|---|---|---|---|---|---|");
    for variant in ["redb + segments", "fjall + segments", "redb, rows", "fjall, rows"] {
        let directory = tempfile::tempdir_in(&directory).unwrap();
        println!("| {variant} | {} |", run(&variant.replace(['+', ',', ' '], ""), directory.path(), seconds, state_bytes));
    }
}

/// Runs a variant in a process of its own, kills it, and looks at what is left.
fn run(variant: &str, directory: &Path, seconds: u64, state_bytes: usize) -> String {
    let mut command = Command::new(std::env::current_exe().unwrap());
    let (seconds, state_kib) = (seconds.to_string(), (state_bytes >> 10).to_string());
    command.args(["--variant", variant, "--seconds", &seconds, "--state-kib", &state_kib, "--dir"]).arg(directory);
    let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
    let report = lines.next().unwrap();
    let mut acknowledged = 0u64;
    for line in lines.by_ref().take(2_000) {
        acknowledged = line.parse().unwrap();
    }
    child.kill().unwrap();
    child.wait().unwrap();
    acknowledged = lines.filter_map(|line| line.parse().ok()).last().unwrap_or(acknowledged);
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--variant", variant, "--reopen", "--dir"]).arg(directory);
    let answer = String::from_utf8(command.output().unwrap().stdout).unwrap();
    let (milliseconds, commits) = answer.trim().split_once(' ').unwrap();
    format!("{report} | {milliseconds} | {}", acknowledged.saturating_sub(commits.parse().unwrap()))
}

fn work(variant: &str, directory: &Path, seconds: u64, state_bytes: usize) {
    let retention_bytes = (RETENTION_BYTES_PER_SECOND * seconds).max(2 * SEGMENT_BYTES);
    let mut log = Log::open(variant, directory, retention_bytes);
    let batches = measure(&mut log, Duration::from_secs(seconds), BATCH, state_bytes);
    let disk = disk_bytes(directory) >> 20;
    let rss = rss_bytes().1 >> 20;
    let singles = measure(&mut log, Duration::from_secs(seconds / 3 + 1), 1, state_bytes);
    println!(
        "{:.0} | {:.2} | {:.2} / {:.2} | {:.2} | {rss} | {disk} ({:.1} M) | {:.0}, {:.2} / {:.2}, {:.1}",
        batches.rate,
        batches.cpu,
        batches.p50,
        batches.p99,
        batches.written,
        batches.records as f64 / 1e6,
        singles.rate,
        singles.p50,
        singles.p99,
        singles.written
    );
    let (mut lines, mut line) = (Lines::new(3), String::new());
    loop {
        lines.fill(&mut line);
        log.commit(line.as_bytes(), None);
        println!("{}", log.commits);
    }
}

struct Measured {
    records: u64,
    rate: f64,
    cpu: f64,
    p50: f64,
    p99: f64,
    written: f64,
}

fn measure(log: &mut Log, time: Duration, batch: usize, state_bytes: usize) -> Measured {
    let (mut lines, mut line, mut raw, mut state) = (Lines::new(2), String::new(), Vec::new(), vec![0u8; state_bytes]);
    let (started, cpu_before, written_before) = (Instant::now(), cpu().0, written_bytes());
    let (mut commits, mut records, mut snapshot_at) = (Vec::new(), 0u64, started);
    while started.elapsed() < time {
        let begun = Instant::now();
        raw.clear();
        for _ in 0..batch {
            lines.fill(&mut line);
            raw.extend_from_slice(line.as_bytes());
        }
        let is_due = snapshot_at.elapsed() >= SNAPSHOT_EVERY;
        if is_due {
            snapshot_at = Instant::now();
            let number = lines.random() as usize % state.len();
            state[number] ^= 1;
        }
        log.commit(&raw, is_due.then_some(&state));
        commits.push(begun.elapsed());
        records += batch as u64;
        std::hint::black_box(log.read_last());
    }
    let wall = started.elapsed().as_secs_f64();
    commits.sort();
    let bytes = records as f64 * RECORD_BYTES as f64;
    Measured {
        records,
        rate: records as f64 / wall,
        cpu: (cpu().0 - cpu_before).as_secs_f64() * 1e6 / records as f64,
        p50: quantile_ms(&commits, 0.5),
        p99: quantile_ms(&commits, 0.99),
        written: (written_bytes() - written_before) as f64 / bytes,
    }
}

fn reopen(variant: &str, directory: &Path) {
    let started = Instant::now();
    let log = Log::open(variant, directory, u64::MAX);
    println!("{:.1} {}", started.elapsed().as_secs_f64() * 1e3, log.commits);
}

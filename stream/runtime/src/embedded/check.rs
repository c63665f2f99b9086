//! Looks at everything on the disk, says what is wrong and where, and, if asked, cuts the log to the last good chunk:
//! `nephoscope store check|repair`.

use std::{collections::BTreeMap, fmt, fs::OpenOptions, io, ops::Range, os::unix::fs::FileExt, path::Path};

use schemas::{EventTime, topics::Cleanup};
use stream_core::{NextOffset, Offset, Partition, TopicName, TopicPartition};

use super::{
    STORE_FILE,
    chunk::covering,
    config::{Durability, EmbeddedConfig},
    lock::DirectoryLock,
    rows::{self, EndsRow, TopicRow},
    segment::Segment,
    shared::Shared,
    store::{Store, Table},
};
use crate::bus::BusError;

/// What a check saw.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct CheckReport {
    /// Partitions looked at.
    pub partitions: usize,
    /// Good chunks.
    pub chunks: u64,
    /// Records in them.
    pub records: u64,
    /// Bytes of them.
    pub bytes: u64,
    /// What is wrong; nothing, if all is well.
    pub findings: Vec<Finding>,
}

/// Something wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// Which partition, or none for the store.
    pub at: Option<TopicPartition>,
    /// What was found where.
    pub what: String,
    /// Offsets that cannot be read, or could no more after a repair.
    pub lost: Option<Range<u64>>,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.at {
            Some(at) => write!(f, "{at}: {}", self.what)?,
            None => write!(f, "store: {}", self.what)?,
        }
        match &self.lost {
            Some(lost) if !lost.is_empty() => {
                write!(f, "; unreadable are the offsets from {} up to, not including, {}", lost.start, lost.end)
            }
            _ => Ok(()),
        }
    }
}

/// Reads every chunk of the log and every page of the store. No process may have the bus open.
///
/// # Errors
/// If there is no bus, another process has it open, or the store cannot be opened at all.
pub fn check(directory: &Path) -> Result<CheckReport, BusError> {
    examine(directory, |_, _, _| Ok(()))
}

/// As [`check`]; and cuts each damaged partition to its last good chunk. The offsets that go are never used again.
///
/// # Errors
/// As [`check`], and if the disk cannot be written.
pub fn repair(directory: &Path) -> Result<CheckReport, BusError> {
    examine(directory, cut)
}

/// The last good place of a damaged partition.
struct Damage {
    /// Segment, and its good bytes; none if no segment is good.
    last_good: Option<(Offset, u64)>,
    next: NextOffset,
    last_appended: EventTime,
}

/// The directory of one partition and what the store knows of it.
struct Subject<'a> {
    at: &'a TopicPartition,
    directory: &'a Path,
    ends: EndsRow,
    cleanup: Cleanup,
}

fn examine(directory: &Path, mut mend: impl FnMut(&Store, &Subject<'_>, &Damage) -> Result<(), BusError>) -> Result<CheckReport, BusError> {
    let path = directory.join(STORE_FILE);
    if !path.is_file() {
        return Err(BusError::Fatal(format!("{} holds no bus: {STORE_FILE} is missing", directory.display())));
    }
    let _lock = DirectoryLock::exclusive(directory)?;
    let shared = Shared::new(directory.to_path_buf(), EmbeddedConfig::default(), Store::open(&path, Durability::Fsync)?);
    let mut report = CheckReport::default();
    if !shared.store.is_sound()? {
        let what = "pages did not match their checksums; redb went back to the last sound state".into();
        report.findings.push(Finding { at: None, what, lost: None });
    }
    let mut ends = BTreeMap::new();
    for (key, value) in shared.rows(Table::Ends)? {
        if let Some(at) = rows::split_partition(&key) {
            ends.insert(at, rows::decode::<EndsRow>(Table::Ends, &key, &value)?);
        }
    }
    for (key, value) in shared.rows(Table::Topics)? {
        let name = TopicName::new(&String::from_utf8_lossy(&key));
        let spec = rows::decode::<TopicRow>(Table::Topics, &key, &value)?.into_spec(name);
        for partition in 0..spec.partitions {
            let at = TopicPartition::new(&spec.name, Partition(partition));
            let directory = shared.log_directory().join(at.topic.as_str()).join(at.partition.to_string());
            let ends = ends.get(&at).copied().unwrap_or(EndsRow::EMPTY);
            let subject = Subject { at: &at, directory: &directory, ends, cleanup: spec.cleanup };
            if let Some(damage) = examine_partition(&subject, &mut report)? {
                mend(&shared.store, &subject, &damage)?;
            }
        }
    }
    Ok(report)
}

/// Reads all chunks of a partition up to the first fault.
fn examine_partition(subject: &Subject<'_>, report: &mut CheckReport) -> Result<Option<Damage>, BusError> {
    let Subject { at, directory, ends, cleanup } = subject;
    report.partitions += 1;
    let context = |source: io::Error| BusError::Io { what: format!("cannot look into {}", directory.display()), source };
    let mut good = Damage { last_good: None, next: ends.next, last_appended: EventTime(ends.last_appended_ns) };
    let mut fault = None;
    let listed = if directory.is_dir() { Segment::list(directory).map_err(context)? } else { Vec::new() };
    for (base, path) in listed {
        let is_left_over = *cleanup == Cleanup::Compact && good.last_good.is_some() && base.0 < good.next.0;
        if base > ends.segment || base.0 >= ends.next.0 || is_left_over {
            continue;
        }
        if good.last_good.is_some() && base.0 != good.next.0 {
            break;
        }
        let segment = Segment::open(&path, base, false).map_err(context)?;
        let file_bytes = segment.file_bytes().map_err(context)?;
        let end = if base == ends.segment { ends.segment_bytes } else { file_bytes };
        good.last_good = Some((base, 0));
        good.next = NextOffset(base.0);
        let read = segment.for_each_chunk(end, |position, chunk| {
            let header = chunk.header();
            if NextOffset(header.base.0) != good.next {
                let what =
                    format!("{} has a chunk from {} at byte {position}; expected one from {}", path.display(), header.base, good.next);
                return Err(BusError::Fatal(what));
            }
            let mut place = chunk.start();
            while chunk.record(&mut place).map_err(|error| segment.damaged(position, &error))?.is_some() {}
            report.chunks += 1;
            report.records += u64::from(header.count);
            report.bytes += header.bytes() as u64;
            good.last_good = Some((base, position + header.bytes() as u64));
            (good.next, good.last_appended) = (header.next(), header.last_appended);
            Ok(())
        });
        if let Err(error) = read {
            fault = Some(describe(&error));
            break;
        }
    }
    if good.next == ends.next && fault.is_none() {
        return Ok(None);
    }
    let missing = || format!("{} ends before {}; {} was committed", directory.display(), good.next, ends.next);
    let what = fault.unwrap_or_else(missing);
    report.findings.push(Finding { at: Some((*at).clone()), what, lost: Some(good.next.0..ends.next.0) });
    Ok(Some(good))
}

/// Cuts a partition after its last good chunk and lets a chunk without records stand for the offsets that went.
fn cut(store: &Store, subject: &Subject<'_>, good: &Damage) -> Result<(), BusError> {
    let Subject { at, directory, ends, .. } = subject;
    let context = |source: io::Error| BusError::Io { what: format!("cannot repair {}", directory.display()), source };
    let mut ends = *ends;
    if let Some((base, bytes)) = good.last_good {
        let listed = Segment::list(directory).map_err(context)?;
        let path = listed.iter().find(|(found, _)| *found == base).map(|(_, path)| path);
        let path = path.ok_or_else(|| context(io::ErrorKind::NotFound.into()))?;
        let file = OpenOptions::new().write(true).open(path).map_err(context)?;
        let (mut next, mut bytes) = (good.next, bytes);
        file.set_len(bytes).map_err(context)?;
        while next < ends.next {
            let span = u32::try_from(ends.next.0 - next.0).unwrap_or(u32::MAX);
            let chunk = covering(Offset(next.0), span, good.last_appended);
            file.write_all_at(&chunk, bytes).map_err(context)?;
            (next, bytes) = (NextOffset(next.0 + u64::from(span)), bytes + chunk.len() as u64);
        }
        file.sync_all().map_err(context)?;
        (ends.segment, ends.segment_bytes) = (base, bytes);
    }
    // Only now may the files go that the row named before.
    store.write(&[rows::ends_write(at, &ends)])?;
    for (base, path) in Segment::list(directory).map_err(context)? {
        if good.last_good.is_none_or(|(last, _)| base > last) {
            std::fs::remove_file(path).map_err(context)?;
        }
    }
    Ok(())
}

fn describe(error: &BusError) -> String {
    match std::error::Error::source(error) {
        Some(source) => format!("{error}: {source}"),
        None => error.to_string(),
    }
}

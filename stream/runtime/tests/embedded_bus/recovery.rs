use std::{fs, path::PathBuf};

use stream_runtime::{bus::Bus, embedded::EmbeddedBus, inspect::Inspect};
use tempfile::{TempDir, tempdir};

use crate::support::*;

fn lines(from: usize, to: usize) -> impl Iterator<Item = String> {
    (from..to).map(|n| format!("{n} {}", "x".repeat(n % 300)))
}

/// A bus with records in several segments, closed again.
pub fn filled() -> (TempDir, Vec<String>) {
    let directory = tempdir().unwrap();
    let bus = open(directory.path());
    let mut publisher = bus.publisher("s").unwrap();
    for from in (0..20_000).step_by(100) {
        publish(&mut *publisher, IN, lines(from, from + 100));
    }
    assert!(segments(&directory).len() > 2, "the test wants several segments");
    (directory, lines(0, 20_000).collect())
}

pub fn segments(directory: &TempDir) -> Vec<PathBuf> {
    let mut all: Vec<_> =
        fs::read_dir(directory.path().join("log").join(IN).join("0")).unwrap().map(|entry| entry.unwrap().path()).collect();
    all.sort();
    all
}

#[test]
fn everything_is_there_after_reopening() {
    let (directory, expected) = filled();
    let bus = open(directory.path());
    assert_eq!(read_values(&bus, IN), expected);
    let middle = read_from(&bus, &at(IN, 0), 12_345);
    assert_eq!(middle[0], (12_345, expected[12_345].clone()));
    publish(&mut *bus.publisher("s").unwrap(), IN, ["more".to_string()]);
    assert_eq!(read_from(&bus, &at(IN, 0), 20_000), [(20_000, "more".to_string())]);
}

#[test]
fn what_was_written_but_never_committed_is_cut_off() {
    let (directory, expected) = filled();
    let last = segments(&directory).pop().unwrap();
    let mut torn = fs::read(&last).unwrap();
    torn.extend(torn.clone().iter().take(100));
    fs::write(&last, torn).unwrap();
    fs::write(last.with_file_name(format!("{:020}.log", 20_000)), b"NLB1 begun and never finished").unwrap();
    let bus = open(directory.path());
    assert_eq!(read_values(&bus, IN), expected);
    publish(&mut *bus.publisher("s").unwrap(), IN, ["more".to_string()]);
    drop(bus);
    assert_eq!(read_from(&open(directory.path()), &at(IN, 0), 20_000), [(20_000, "more".to_string())]);
}

#[test]
fn a_damaged_chunk_is_an_error_that_names_its_place() {
    let (directory, expected) = filled();
    let first = segments(&directory).remove(0);
    let mut bytes = fs::read(&first).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&first, bytes).unwrap();
    let bus = open(directory.path());
    let limits = stream_runtime::inspect::ReadLimits { records_max: usize::MAX, bytes_max: usize::MAX, wait: Default::default() };
    let mut gathered = Default::default();
    let error = bus.read(&at(IN, 0), Default::default(), &limits, &mut gathered).unwrap_err().to_string();
    assert!(error.contains("00000000000000000000.log is damaged at byte"), "{error}");
    assert!(!gathered.is_empty(), "what stands before it is read");
    assert_eq!(read_from(&bus, &at(IN, 0), 19_999), [(19_999, expected[19_999].clone())]);
}

#[test]
fn a_missing_or_shortened_segment_is_not_passed_over() {
    let (directory, _) = filled();
    let second = segments(&directory).remove(1);
    let bytes = fs::read(&second).unwrap();
    fs::remove_file(&second).unwrap();
    let error = EmbeddedBus::open(directory.path(), config()).err().unwrap().to_string();
    assert!(error.contains("lacks the records from"), "{error}");
    fs::write(&second, &bytes[..bytes.len() - 1]).unwrap();
    assert!(EmbeddedBus::open(directory.path(), config()).is_err());
    fs::write(&second, bytes).unwrap();
    let last = segments(&directory).pop().unwrap();
    let bytes = fs::read(&last).unwrap();
    fs::write(&last, &bytes[..bytes.len() - 1]).unwrap();
    let error = EmbeddedBus::open(directory.path(), config()).err().unwrap().to_string();
    assert!(error.contains("were committed"), "{error}");
}

#[test]
fn a_second_process_is_refused_by_name() {
    let directory = tempdir().unwrap();
    let bus = open(directory.path());
    for refused in [EmbeddedBus::open(directory.path(), config()), EmbeddedBus::open_read_only(directory.path())] {
        let error = refused.err().unwrap().to_string();
        assert!(error.contains(&format!("in use by process {}", std::process::id())), "{error}");
    }
    drop(bus);
    open(directory.path());
}

#[test]
fn a_bus_opened_for_reading_shows_everything_and_takes_nothing() {
    let (directory, expected) = filled();
    let before = fs::read(segments(&directory).pop().unwrap()).unwrap();
    let bus = EmbeddedBus::open_read_only(directory.path()).unwrap();
    assert_eq!(read_values(&bus, IN), expected);
    assert_eq!(bus.topics().unwrap()[0].partitions[0].next.0, 20_000);
    assert!(bus.publisher("s").is_err() && bus.open(&worker("p")).is_err() && bus.reset_state("p").is_err());
    assert!(EmbeddedBus::open_read_only(directory.path()).is_ok(), "several may read");
    assert_eq!(fs::read(segments(&directory).pop().unwrap()).unwrap(), before);
    assert!(EmbeddedBus::open_read_only(tempdir().unwrap().path()).err().unwrap().to_string().contains("holds no bus"));
}

#[test]
fn a_newer_format_is_refused() {
    let (directory, _) = filled();
    let database = redb::Database::open(directory.path().join("store.redb")).unwrap();
    let transaction = database.begin_write().unwrap();
    let table = redb::TableDefinition::<&[u8], &[u8]>::new("meta");
    transaction.open_table(table).unwrap().insert(&b"format"[..], &[99u8][..]).unwrap();
    transaction.commit().unwrap();
    drop(database);
    let error = EmbeddedBus::open(directory.path(), config()).err().unwrap().to_string();
    assert!(error.contains("has format 99"), "{error}");
}

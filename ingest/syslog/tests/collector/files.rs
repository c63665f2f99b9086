//! Files as they are written, renamed, cut and read again.

use std::{
    fs::{self, File, OpenOptions},
    io::Write,
    path::Path,
};

use schemas::SourceKind;
use stream_runtime::loss::Loss;
use stream_runtime::source::Source;
use stream_runtime::time::wall_clock;

use super::{Rig, bus::MemoryBus, following, messages, start};

fn append(path: &Path, lines: std::ops::Range<usize>) {
    let mut file = OpenOptions::new().create(true).append(true).open(path).expect("opens");
    for n in lines {
        // With a time: a file whose lines have none is of unknown age, and read from its end.
        writeln!(file, "{} h app: line {n}", wall_clock()).expect("writes");
    }
}

fn numbered(count: usize) -> Vec<String> {
    (0..count).map(|n| format!("line {n}")).collect()
}

#[test]
fn a_rotated_file_is_read_to_its_end_and_the_new_one_from_its_start() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("app.log");
    append(&path, 0..10);
    let rig = Rig::start(following(&[&path]));
    rig.bus.wait_for(10);
    append(&path, 10..15);
    fs::rename(&path, folder.path().join("app.log.1")).expect("renames");
    append(&folder.path().join("app.log.1"), 15..20);
    append(&path, 20..30);
    rig.bus.wait_for(30);
    assert_eq!(messages(&rig.stop()), numbered(30));
}

#[test]
fn a_file_that_is_cut_in_place_is_read_again_from_its_start() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("app.log");
    append(&path, 0..10);
    let rig = Rig::start(following(&[&path]));
    rig.bus.wait_for(10);
    File::options().write(true).open(&path).expect("opens").set_len(0).expect("cuts");
    append(&path, 10..15);
    rig.bus.wait_for(15);
    assert_eq!(messages(&rig.stop()), numbered(15));
}

#[test]
fn a_pattern_finds_files_that_appear_later() {
    let folder = tempfile::tempdir().expect("a folder");
    let rig = Rig::start(following(&[&folder.path().join("*.log")]));
    append(&folder.path().join("a.log"), 0..5);
    rig.bus.wait_for(5);
    append(&folder.path().join("b.log"), 5..10);
    rig.bus.wait_for(10);
    append(&folder.path().join("c.txt"), 10..15);
    assert_eq!(messages(&rig.stop()), numbered(10));
}

#[test]
fn a_stopped_collector_goes_on_where_it_was() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("app.log");
    let bus = MemoryBus::default();
    for round in 0..5 {
        append(&path, round * 10..round * 10 + 7);
        let rig = Rig::start_on(bus.clone(), following(&[&path]));
        append(&path, round * 10 + 7..round * 10 + 10);
        rig.bus.wait_for(round * 10 + 10);
        rig.stop();
    }
    assert_eq!(messages(&bus.records()), numbered(50));
}

#[test]
fn the_first_start_reads_what_stands_there_as_backfill() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("app.log");
    append(&path, 0..3);
    let rig = Rig::start(following(&[&path]));
    rig.bus.wait_for(3);
    append(&path, 3..4);
    rig.bus.wait_for(4);
    let records = rig.stop();
    assert!(records.iter().all(|record| record.source.kind == SourceKind::File && record.source.name == path.display().to_string()));
    let marked: Vec<bool> = records.iter().map(|record| record.attributes.contains_key("backfill")).collect();
    assert_eq!(marked, [true, true, true, false]);
}

#[test]
fn an_unreadable_file_is_a_blind_spot_and_stops_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    let (good, not_a_file) = (folder.path().join("good.log"), folder.path().join("missing/never.log"));
    append(&good, 0..2);
    let (bus, loss) = (MemoryBus::default(), Loss::default());
    let collector = start(&bus, following(&[&good, &not_a_file]), folder.path(), &loss).expect("starts");
    bus.wait_for(2);
    let status = collector.status();
    let missing = status.iter().find(|source| source.name == not_a_file.display().to_string()).expect("is listed");
    assert!(!missing.reason.is_empty(), "{missing:?}");
    collector.stop();
}

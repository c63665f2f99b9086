//! Files as they are written, renamed, cut and read again.

use std::{
    fs::{self, File, OpenOptions},
    io::Write,
    path::Path,
};

use jiff::{SignedDuration, Timestamp};
use schemas::{LogRecord, SourceKind, TimeSource};
use stream_runtime::loss::Loss;
use stream_runtime::source::Source;
use stream_runtime::time::wall_clock;
use syslog::Config;
use syslog::collector::SourceState;
use syslog::collector::config::Multiline;

use super::{Rig, bus::MemoryBus, eventually, following, messages, start};

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
fn what_cannot_be_read_is_a_blind_spot_and_stops_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    let (good, missing, no_file) = (folder.path().join("good.log"), folder.path().join("missing.log"), folder.path().join("folder.log"));
    fs::create_dir(&no_file).expect("a folder");
    append(&good, 0..2);
    let (bus, loss) = (MemoryBus::default(), Loss::default());
    let collector = start(&bus, following(&[&good, &missing, &no_file]), folder.path(), &loss).expect("starts");
    bus.wait_for(2);
    let state = |path: &Path| {
        let status = collector.status().into_iter().find(|source| source.name == path.display().to_string()).expect("is listed");
        (status.state, status.reason)
    };
    eventually("the past has been read", || state(&good).0 == SourceState::Watching);
    assert_eq!(state(&missing).0, SourceState::Waiting);
    assert!(state(&missing).1.contains("No such file"), "{:?}", state(&missing));
    assert_eq!(state(&no_file).0, SourceState::Blind);
    assert!(state(&no_file).1.contains("not a regular file"), "{:?}", state(&no_file));

    // What becomes readable is read from its start, even if its lines have no time.
    fs::write(&missing, "first\nsecond\n").expect("writes");
    let records = bus.wait_for(4);
    assert_eq!(messages(&records)[2..], ["first", "second"]);
    assert_eq!(records[3].time_source, TimeSource::Received);
    assert_eq!(state(&missing), (SourceState::Watching, String::new()));
    collector.stop();
}

#[test]
fn rotation_under_load_misses_and_doubles_nothing() {
    const LINES: usize = 20_000;
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("app.log");
    append(&path, 0..1);
    let rig = Rig::start(following(&[&path]));
    let writer = std::thread::spawn({
        let path = path.clone();
        move || {
            // Each file gets lines after it was renamed too, as from a writer that has not been told yet.
            for (file, first) in (1..LINES).step_by(5_000).enumerate() {
                let mut open = OpenOptions::new().append(true).open(&path).expect("opens");
                for n in first..(first + 5_000).min(LINES) {
                    if n == first + 4_000 {
                        fs::rename(&path, path.with_extension(format!("log.{}", 9 - file))).expect("renames");
                    }
                    writeln!(open, "{} h app: line {n}", wall_clock()).expect("writes");
                }
                File::create(&path).expect("the next file");
                // The next rotation comes after the collector has seen this one.
                std::thread::sleep(std::time::Duration::from_secs(8));
            }
        }
    });
    rig.bus.wait_for(LINES);
    writer.join().expect("the writer ends well");
    assert_eq!(messages(&rig.stop()), numbered(LINES));
}

/// Between our last look and the cut, lines are lost for every reader: the rest must be whole, in order, and not doubled.
#[test]
fn cutting_in_place_under_load_doubles_nothing_and_tears_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("app.log");
    append(&path, 0..1);
    let rig = Rig::start(following(&[&path]));
    let mut open = OpenOptions::new().append(true).open(&path).expect("opens");
    let mut next = 1;
    for _ in 0..5 {
        for _ in 0..2_000 {
            writeln!(open, "{} h app: line {next}", wall_clock()).expect("writes");
            next += 1;
        }
        std::thread::sleep(std::time::Duration::from_millis(300));
        open.set_len(0).expect("cuts");
    }
    writeln!(open, "{} h app: line {next}", wall_clock()).expect("writes");
    let last = format!("line {next}");
    eventually("the last line arrives", || messages(&rig.bus.records()).last() == Some(&last));
    let numbers: Vec<usize> =
        messages(&rig.stop()).iter().map(|m| m.strip_prefix("line ").expect("whole").parse().expect("whole")).collect();
    assert!(numbers.is_sorted_by(|a, b| a < b), "in order, none doubled");
    assert!(numbers.len() > next / 2, "{} lines of {next}", numbers.len());
}

#[test]
fn a_file_renamed_while_nobody_looked_is_read_to_its_end_first() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("app.log");
    let bus = MemoryBus::default();
    append(&path, 0..5);
    let rig = Rig::start_on(bus.clone(), following(&[&path]));
    bus.wait_for(5);
    rig.stop();
    append(&path, 5..8);
    fs::rename(&path, folder.path().join("app.log.1")).expect("renames");
    append(&path, 8..10);
    let rig = Rig::start_on(bus.clone(), following(&[&path]));
    bus.wait_for(10);
    assert_eq!(messages(&rig.stop()), numbered(10));
}

#[test]
fn a_message_of_several_lines_is_one_record() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("app.log");
    let multiline = Multiline { start: "^[0-9]{4}-".into() };
    let rig = Rig::start(Config { multiline, ..following(&[&path]) });
    eventually("the past has been read", || rig.status(SourceKind::File).state == SourceState::Waiting);
    let now = wall_clock();
    fs::write(&path, format!("{now} h app: Traceback\n  at a\n  at b\n{now} h app: next\n")).expect("writes");
    let records = rig.bus.wait_for(2);
    assert_eq!(messages(&records), ["Traceback\n  at a\n  at b", "next"], "the last one too, once it has been quiet for a second");
    let endless = format!("{now} h app: endless\n{}", "more\n".repeat(1_200));
    OpenOptions::new().append(true).open(&path).expect("opens").write_all(endless.as_bytes()).expect("writes");
    let records = rig.bus.wait_for(5);
    let lines: Vec<usize> = records[2..].iter().map(|record| record.message().lines().count()).collect();
    assert_eq!(lines, [500, 500, 201], "a message has a largest size");
    rig.stop();
}

#[test]
fn a_message_of_several_lines_is_no_longer_than_a_message_may_be() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("app.log");
    let multiline = Multiline { start: "^[0-9]{4}-".into() };
    let rig = Rig::start(Config { multiline, message_bytes_max: 480, ..following(&[&path]) });
    eventually("the past has been read", || rig.status(SourceKind::File).state == SourceState::Waiting);
    let lines: Vec<String> = (0..30).map(|n| format!("\tat frame {n} {}", "x".repeat(80))).collect();
    fs::write(&path, format!("{} h app: Traceback\n{}\n", wall_clock(), lines.join("\n"))).expect("writes");
    let whole = |records: &[LogRecord]| messages(records).join("\n") == format!("Traceback\n{}", lines.join("\n"));
    eventually("all of it arrives", || whole(&rig.bus.records()));
    let records = rig.stop();
    assert!(records.iter().all(|record| record.raw.len() <= 480 && !record.truncated) && records.len() < 10, "{}", records.len());
}

fn line_at(hours_ago: i64, n: usize) -> String {
    let time = Timestamp::now().checked_sub(SignedDuration::from_hours(hours_ago)).expect("in range");
    format!("{time} h app: line {n}\n")
}

#[test]
fn the_first_start_reads_a_day_of_all_files_in_order_of_time_even_across_a_rotation() {
    let folder = tempfile::tempdir().expect("a folder");
    let (a, b) = (folder.path().join("a.log"), folder.path().join("b.log"));
    let write = |path: &Path, lines: &[String]| fs::write(path, lines.concat()).expect("writes");
    let untimed = "  a line that does not say when\n".to_owned();
    write(&a.with_extension("log.1"), &[line_at(30, 100), line_at(20, 0), line_at(18, 2)]);
    write(&a, &[line_at(10, 4), line_at(2, 7)]);
    write(&b, &[line_at(25, 101), line_at(19, 1), line_at(15, 3), untimed, line_at(9, 5), line_at(8, 6)]);
    let rig = Rig::start(following(&[&a, &b]));
    let records = rig.bus.wait_for(9);
    let (untimed, timed): (Vec<LogRecord>, Vec<LogRecord>) = records.into_iter().partition(|record| record.message().starts_with(' '));
    assert_eq!(messages(&timed), numbered(8));
    assert!(timed.is_sorted_by_key(|record| record.event_time));
    assert!(timed.iter().all(|record| record.attributes.contains_key("backfill")));
    assert_eq!((untimed[0].event_time, untimed[0].time_source), (timed[3].event_time, TimeSource::Unknown), "as the line before");
    fs::OpenOptions::new().append(true).open(&a).expect("opens").write_all(line_at(0, 8).as_bytes()).expect("writes");
    assert_eq!(rig.bus.wait_for(10).last().map(|record| record.attributes.is_empty()), Some(true), "what comes now is no backfill");
    rig.stop();
}

#[test]
fn without_a_past_only_new_lines_are_read() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("app.log");
    fs::write(&path, line_at(1, 100)).expect("writes");
    let rig = Rig::start(Config { backfill_h: 0, ..following(&[&path]) });
    eventually("the file is watched", || rig.status(SourceKind::File).state == SourceState::Watching);
    append(&path, 0..1);
    rig.bus.wait_for(1);
    assert_eq!(messages(&rig.stop()), numbered(1));
}

#[test]
fn the_log_of_a_guest_names_the_guest() {
    let folder = tempfile::tempdir().expect("a folder");
    let guests = folder.path().join("libvirt/qemu");
    fs::create_dir_all(&guests).expect("a folder");
    append(&guests.join("instance-7.log"), 0..1);
    let rig = Rig::start(following(&[&guests.join("*.log")]));
    assert_eq!(rig.bus.wait_for(1)[0].attributes["vm"], "instance-7");
    rig.stop();
}

#[test]
fn a_thousand_files_are_followed_and_no_more() {
    let folder = tempfile::tempdir().expect("a folder");
    for n in 0..1_005 {
        append(&folder.path().join(format!("{n:04}.log")), n..n + 1);
    }
    let rig = Rig::start(following(&[&folder.path().join("*.log")]));
    rig.bus.wait_for(1_000);
    assert_eq!(rig.collector.status().len(), 1_000);
    append(&folder.path().join("0500.log"), 5_000..5_001);
    rig.bus.wait_for(1_001);
    fs::remove_file(folder.path().join("0000.log")).expect("removes");
    eventually("one that has gone makes room for another", || rig.bus.len() == 1_002);
    rig.stop();
}

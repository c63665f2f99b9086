use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use schemas::{LogRecord, ParseStatus, SourceKind};

use super::*;
use crate::collector::status::Watch;

/// Makes journal files; Debian's package systemd-journal-remote.
const JOURNAL_REMOTE: &str = "/lib/systemd/systemd-journal-remote";
const SECOND_US: i64 = 1_000_000;

/// A journal folder with entries of the last seconds, `first` the number of the first. None, and said so, if there is no
/// program that makes one.
fn add_entries(folder: &Path, first: usize, count: usize) -> Option<()> {
    use std::io::Write;
    if !Path::new(JOURNAL_REMOTE).exists() {
        let _ = writeln!(std::io::stderr(), "SKIPPED: {JOURNAL_REMOTE} not installed");
        return None;
    }
    let start_us = clock::now_us() - 3_600 * SECOND_US;
    let entries = (first..first + count).map(|n| {
        let time_us = start_us + n as i64 * SECOND_US;
        let boot = "0123456789abcdef0123456789abcdef";
        format!(
            "__REALTIME_TIMESTAMP={time_us}\n__MONOTONIC_TIMESTAMP={n}\n_BOOT_ID={boot}\nMESSAGE=entry {n}\nPRIORITY=4\nSYSLOG_FACILITY=3\n\
             SYSLOG_IDENTIFIER=app\n_PID=12\n_HOSTNAME=Node1\n_SYSTEMD_UNIT=app.service\n_TRANSPORT=stdout\n\n"
        )
    });
    let export = folder.join(format!("{first}.export"));
    fs::write(&export, entries.collect::<String>()).expect("writes");
    let journal = folder.join(format!("part{first}.journal"));
    let made = Command::new(JOURNAL_REMOTE).arg("-o").arg(&journal).arg(&export).stderr(Stdio::null()).status();
    assert!(made.expect("runs").success());
    Some(())
}

fn journal(journalctl: Journalctl, position: Option<&Position>, past: Past) -> (Journal, Watch) {
    let watch = Watch::default();
    let gauge = watch.add(SourceKind::Journal, KEY, SourceState::CatchingUp, "");
    (Journal::new(journalctl, Recorder::for_test(), gauge, position, past), watch)
}

fn entries(journal: &mut Journal) -> Vec<(LogRecord, Option<Position>)> {
    let steps = std::iter::from_fn(|| journal.next()).map(|step| match step {
        Step::Line(entry) => (entry.record, entry.position),
        Step::Forget(_) => panic!("the journal never goes"),
    });
    steps.collect()
}

fn numbers(entries: &[(LogRecord, Option<Position>)]) -> Vec<&str> {
    entries.iter().filter_map(|(record, _)| record.message().strip_prefix("entry ")).collect()
}

fn last_day() -> Past {
    let now_us = clock::now_us();
    Past { since_us: now_us - 86_400 * SECOND_US, until_us: now_us }
}

#[test]
fn a_real_journal_is_read_from_its_past_and_then_after_the_cursor() {
    let folder = tempfile::tempdir().expect("a folder");
    let Some(()) = add_entries(folder.path(), 0, 5) else { return };
    let journalctl = Journalctl { folder: Some(folder.path().to_owned()), ..Journalctl::default() };
    assert_eq!(journalctl.probe(), Ok(()));
    let (mut first, watch) = journal(journalctl.clone(), None, last_day());
    let read = entries(&mut first);
    assert_eq!(numbers(&read), ["0", "1", "2", "3", "4"]);
    let (record, position) = &read[4];
    assert_eq!((record.host.as_str(), record.app_name.as_deref(), record.proc_id.as_deref()), ("node1", Some("app"), Some("12")));
    assert_eq!((record.severity, record.facility, record.parse_status), (Some(4), Some(3), ParseStatus::Journal));
    assert_eq!((record.raw.as_slice(), record.message_text.as_deref()), (&b"entry 4"[..], None));
    let attributes: Vec<(&str, &str)> = record.attributes.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    assert_eq!(attributes, [("backfill", "1"), ("transport", "stdout"), ("unit", "app.service")]);
    first.caught_up();
    assert_eq!(watch.status()[0].state, SourceState::Watching);
    drop(first);

    add_entries(folder.path(), 5, 3);
    let (mut second, _) = journal(journalctl, position.as_ref(), last_day());
    let read = entries(&mut second);
    assert_eq!(numbers(&read), ["5", "6", "7"], "nothing missed, nothing doubled");
    assert!(read.iter().all(|(record, _)| !record.attributes.contains_key("backfill")), "only the first start reads the past");
}

#[test]
fn what_is_older_than_the_past_is_left_out() {
    let folder = tempfile::tempdir().expect("a folder");
    let Some(()) = add_entries(folder.path(), 0, 5) else { return };
    let journalctl = Journalctl { folder: Some(folder.path().to_owned()), ..Journalctl::default() };
    let now_us = clock::now_us();
    let (mut journal, _) = journal(journalctl, None, Past { since_us: now_us - SECOND_US, until_us: now_us });
    assert!(entries(&mut journal).is_empty());
}

/// A program that says these lines in place of `journalctl`.
fn script(folder: &Path, body: &str) -> Journalctl {
    let program = folder.join("journalctl");
    fs::write(&program, format!("#!/bin/sh\n{body}\n")).expect("writes");
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).expect("may run");
    Journalctl { program, folder: None }
}

fn line(n: usize) -> String {
    format!(r#"{{"__CURSOR":"c{n}","__REALTIME_TIMESTAMP":"1700000000000000","MESSAGE":"entry {n}"}}"#)
}

#[test]
fn a_journalctl_that_dies_is_started_again_after_its_cursor() {
    let folder = tempfile::tempdir().expect("a folder");
    // Says two entries after the cursor that it is given, complains and dies.
    let body = format!(
        "case \"$*\" in *after-cursor=c1*) echo '{}'; exec sleep 60;; *) echo '{}'; echo '{}'; echo 'No space left' >&2; exit 3;; esac",
        line(2),
        line(0),
        line(1)
    );
    let (mut journal, watch) = journal(script(folder.path(), &body), None, last_day());
    assert_eq!(numbers(&entries(&mut journal)), ["0", "1"]);
    let status = watch.status().remove(0);
    assert_eq!(status.state, SourceState::Waiting);
    assert!(status.reason.contains("exit status: 3") && status.reason.contains("No space left"), "{}", status.reason);
    assert!(journal.next().is_none(), "not at once");
    journal.restart_us = clock::monotonic_us();
    let read = entries(&mut journal);
    assert_eq!((numbers(&read), &read[0].1), (vec!["2"], &Some(Position::Journal("c2".into()))));
}

#[test]
fn pauses_between_starts_grow_to_a_minute() {
    let folder = tempfile::tempdir().expect("a folder");
    let (mut journal, _) = journal(script(folder.path(), "exit 1"), None, last_day());
    let mut pauses_s = Vec::new();
    for _ in 0..8 {
        journal.restart_us = i64::MIN;
        assert!(journal.next().is_none());
        pauses_s.push((journal.restart_us - clock::monotonic_us() + SECOND_US / 2).div_euclid(SECOND_US));
    }
    assert_eq!(pauses_s, [1, 2, 4, 8, 16, 32, 60, 60]);
}

#[test]
fn a_line_that_is_no_entry_is_kept_and_moves_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    let body = format!("echo '{}'; echo '-- garbage --'; echo '{}'; exec sleep 60", line(0), line(1));
    let (mut journal, _) = journal(script(folder.path(), &body), None, last_day());
    let read = entries(&mut journal);
    let messages: Vec<&str> = read.iter().map(|(record, _)| record.message()).collect();
    assert_eq!(messages, ["entry 0", "-- garbage --", "entry 1"]);
    assert_eq!((read[1].0.parse_status, &read[1].1), (ParseStatus::Damaged, &Some(Position::Journal("c0".into()))));
}

#[test]
fn a_line_without_end_costs_no_memory_without_end() {
    let folder = tempfile::tempdir().expect("a folder");
    let body = format!("head -c 20000000 /dev/zero | tr '\\0' x; echo; echo '{}'; exec sleep 60", line(1));
    let (mut journal, _) = journal(script(folder.path(), &body), None, last_day());
    let read = entries(&mut journal);
    assert_eq!(read.iter().map(|(record, _)| record.raw.len()).collect::<Vec<_>>(), [65_536, 7]);
    assert!(read[0].0.truncated);
    assert!(journal.running.as_ref().is_some_and(|running| running.buffer.len() < 2 * LINE_BYTES_MAX));
}

#[test]
fn why_there_is_no_journal_is_said() {
    let folder = tempfile::tempdir().expect("a folder");
    let missing = Journalctl { program: folder.path().join("none"), folder: None };
    assert!(missing.probe().expect_err("none").contains("not installed"));
    let refused = script(folder.path(), "echo 'Hint: You are not in group systemd-journal' >&2; exit 1");
    assert!(refused.probe().expect_err("none").contains("group systemd-journal"));
    let empty = script(folder.path(), "exit 0");
    assert!(empty.probe().expect_err("none").contains("empty"));
}

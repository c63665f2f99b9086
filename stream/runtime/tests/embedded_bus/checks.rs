use std::fs;

use stream_runtime::{
    bus::Bus,
    embedded::{check, repair},
};
use tempfile::tempdir;

use crate::{recovery::*, support::*};

#[test]
fn a_sound_bus_has_no_findings() {
    let (directory, expected) = filled();
    let report = check(directory.path()).unwrap();
    assert_eq!(report.findings, []);
    assert_eq!((report.partitions, report.records), (2, expected.len() as u64));
    assert!(report.chunks > 2 && report.bytes > 0);
}

#[test]
fn damage_is_found_and_repair_cuts_to_the_last_good_chunk() {
    let (directory, expected) = filled();
    let second = segments(&directory).remove(1);
    let mut bytes = fs::read(&second).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&second, bytes).unwrap();
    let report = check(directory.path()).unwrap();
    let [finding] = &report.findings[..] else { panic!("{report:?}") };
    assert!(finding.to_string().starts_with("in.v1/0: ") && finding.what.contains("is damaged at byte"), "{finding}");
    assert_eq!(check(directory.path()).unwrap(), report, "a check changes nothing");
    let kept = finding.lost.clone().unwrap().start as usize;
    assert!(0 < kept && kept < expected.len());

    assert_eq!(repair(directory.path()).unwrap(), report, "a repair says what went");
    assert_eq!(check(directory.path()).unwrap().findings, []);
    let bus = open(directory.path());
    assert_eq!(read_values(&bus, IN), expected[..kept]);
    publish(&mut *bus.publisher("s").unwrap(), IN, ["more".to_string()]);
    assert_eq!(read_from(&bus, &at(IN, 0), kept as u64), [(20_000, "more".to_string())], "offsets are never used again");
}

#[test]
fn missing_files_are_found_and_repaired() {
    for missing in [0, 1, usize::MAX] {
        let (directory, expected) = filled();
        let all = segments(&directory);
        let path = all.get(missing).unwrap_or(all.last().unwrap());
        fs::remove_file(path).unwrap();
        let report = check(directory.path()).unwrap();
        // Without the first file the log looks like one that retention has cut.
        assert_eq!(report.findings.len(), usize::from(missing != 0), "{report:?}");
        repair(directory.path()).unwrap();
        assert_eq!(check(directory.path()).unwrap().findings, []);
        let bus = open(directory.path());
        let end = report.findings.first().map_or(20_000, |finding| finding.lost.clone().unwrap().start);
        let values = read_values(&bus, IN);
        assert!(expected[..end as usize].ends_with(&values) && !values.is_empty());
    }
}

#[test]
fn a_check_wants_the_bus_for_itself() {
    let directory = tempdir().unwrap();
    assert!(check(directory.path()).unwrap_err().to_string().contains("holds no bus"));
    let _bus = open(directory.path());
    assert!(check(directory.path()).unwrap_err().to_string().contains("in use by process"));
}

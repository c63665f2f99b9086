//! A collector whose process dies at any moment: no line of a file is missed, none is doubled.

use std::{fs::OpenOptions, io::Write, sync::mpsc, thread, time::Duration};

use stream_runtime::loss::Loss;
use stream_runtime::source::Source;
use stream_runtime::time::wall_clock;

use super::{bus::MemoryBus, eventually, following, messages, start};

const LINES: usize = 3_000;

#[test]
fn a_file_arrives_exactly_once_through_thirty_crashes() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("app.log");
    let (bus, loss) = (MemoryBus::default(), Loss::default());
    let (written, all_written) = mpsc::channel();
    let writer = thread::spawn({
        let path = path.clone();
        move || {
            let mut file = OpenOptions::new().create(true).append(true).open(&path).expect("opens");
            for n in 0..LINES {
                writeln!(file, "{} h app: line {n}", wall_clock()).expect("writes");
                if n % 20 == 0 {
                    thread::sleep(Duration::from_millis(5)); // the writer's own pace, so that crashes fall between its lines
                }
            }
            written.send(()).expect("is awaited");
        }
    });
    for crash in 0..30 {
        let collector = start(&bus, following(&[&path]), folder.path(), &loss).expect("starts");
        let seen = bus.len();
        eventually("some lines arrive", || bus.len() > seen || bus.len() >= LINES || crash % 3 == 0);
        bus.crash(); // from here on the old collector's blocks are refused, as those of a dead process
        collector.stop();
    }
    all_written.recv().expect("the writer ends");
    writer.join().expect("the writer ends well");
    let collector = start(&bus, following(&[&path]), folder.path(), &loss).expect("starts");
    bus.wait_for(LINES);
    collector.stop();
    let expected: Vec<String> = (0..LINES).map(|n| format!("line {n}")).collect();
    assert_eq!(messages(&bus.records()), expected);
}

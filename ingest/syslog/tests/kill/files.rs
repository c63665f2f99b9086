//! Files, which can be read again: nothing is lost, doubled or torn.

use std::io::Write;

use schemas::LogRecord;
use stream_runtime::time::wall_clock;

use super::{Collector, append};

/// A message of several lines is one record, whole, once: the cursor never stands within one.
#[test]
fn messages_of_several_lines_arrive_once_and_whole_through_kills() {
    const KILLS: usize = 25;
    const MESSAGES_PER_ROUND: usize = 40;
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("app.log");
    let mut collector = Collector::new(&format!("files = [\"{}\"]\nmultiline.start = '^\\d{{4}}-'", path.display()));
    let mut file = append(&path);
    let mut expected = Vec::new();
    for _ in 0..KILLS {
        for _ in 0..MESSAGES_PER_ROUND {
            let n = expected.len();
            let text: Vec<String> =
                std::iter::once(format!("request {n} failed")).chain((0..n % 5).map(|k| format!("\tat frame {k} of {n}"))).collect();
            let text = text.join("\n");
            writeln!(file, "{} h app: {text}", wall_clock()).expect("writes");
            expected.push(text);
        }
        collector.live_and_be_killed();
    }
    writeln!(file, "{} h app: the end", wall_clock()).expect("writes");
    expected.push("the end".into());
    let records = collector.settle(Collector::start, |records| expected.iter().skip(records.len()).cloned().collect());
    let texts: Vec<&str> = records.iter().map(LogRecord::message).collect();
    assert_eq!(texts, expected);
    println!("{KILLS} kills, {} messages of several lines: none lost, none doubled, none torn", expected.len());
}

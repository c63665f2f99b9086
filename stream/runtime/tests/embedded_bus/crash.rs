//! `kill -9` at random instants. A child works on a bus; the parent kills it and looks at what is left, many times over the
//! same directory.

use std::{
    collections::BTreeMap,
    io::{BufRead, BufReader},
    path::Path,
    process::{Command, Stdio},
    time::Duration,
};

use schemas::topics::Cleanup;
use stream_runtime::{
    bus::{Bus, TopicSpec},
    embedded::{Durability, EmbeddedBus, EmbeddedConfig, check},
    gathered::Gathered,
    inspect::{Inspect, ReadLimits},
    publish::PublishBatch,
};
use tempfile::tempdir;

use crate::support::*;

const DIRECTORY: &str = "CRASH_DIRECTORY";
const KEYS: u64 = 37;
const TABLE: &str = "table.v1";

fn open_bus(directory: &Path, durability: Durability) -> EmbeddedBus {
    let bus = EmbeddedBus::open(directory, EmbeddedConfig { durability, ..config() }).unwrap();
    let table = TopicSpec { cleanup: Cleanup::Compact, retention_ms: 0, retention_bytes: 256 << 10, ..topic(TABLE, 1) };
    bus.ensure_topics(&[topic(IN, 1), topic(OUT, 1), table]).unwrap();
    bus
}

fn line(n: u64) -> String {
    format!("{n} {}", format!("{:x}", n.wrapping_mul(0x9e37_79b9_7f4a_7c15)).repeat(n as usize % 40))
}

/// Publishes lines and table entries, copies the lines to another topic, compacts; and says what was acknowledged.
#[test]
#[ignore = "the child of the test below"]
#[allow(clippy::disallowed_methods)]
fn child() {
    let directory = std::env::var(DIRECTORY).unwrap();
    let bus = open_bus(Path::new(&directory), if std::process::id().is_multiple_of(2) { Durability::Fsync } else { Durability::Os });
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut session = started(&bus, &worker("copier"));
            loop {
                let gathered = gather(&mut *session);
                if gathered.records().len() > 0 {
                    let next = gathered.records().last().unwrap().1.offset.next();
                    commit_copies(&mut *session, &gathered).unwrap();
                    println!("copied {next}");
                }
            }
        });
        scope.spawn(|| {
            loop {
                bus.compact();
                std::thread::sleep(Duration::from_millis(5));
            }
        });
        let mut publisher = bus.publisher("s").unwrap();
        loop {
            let from = publisher.cursor().map_or(0, |cursor| u64::from_be_bytes(cursor.position[..].try_into().unwrap()));
            let to = from + 1 + from % 90;
            let mut batch = PublishBatch::default();
            for n in from..to {
                batch.push(&IN.into(), None, Some(line(n).as_bytes()), Default::default()).unwrap();
                let (key, value) = (format!("k{}", n % KEYS), line(n));
                batch.push(&TABLE.into(), Some(key.as_bytes()), Some(value.as_bytes()), Default::default()).unwrap();
            }
            publisher.publish(&batch, &to.to_be_bytes()).unwrap();
            println!("published {to}");
        }
    });
}

/// Starts the child, kills it after a while, and returns the last numbers that it had acknowledged.
fn run_and_kill(directory: &Path, after: Duration) -> (u64, u64) {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--ignored", "--exact", "crash::child", "--nocapture"]).env(DIRECTORY, directory);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    std::thread::sleep(after);
    child.kill().unwrap();
    child.wait().unwrap();
    let (mut published, mut copied) = (0, 0);
    for line in BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok) {
        // The last line may be torn, and then is a smaller number.
        match line.split_once(' ').and_then(|(what, number)| Some((what, number.parse::<u64>().ok()?))) {
            Some(("published", number)) => published = published.max(number),
            Some(("copied", number)) => copied = copied.max(number),
            _ => {}
        }
    }
    (published, copied)
}

#[test]
fn kills_at_random_instants_neither_lose_nor_double_nor_tear() {
    const KILLS: u64 = 30;
    let directory = tempdir().unwrap();
    let mut lines = 0;
    for kill in 0..KILLS {
        let after = Duration::from_millis(20 + kill.wrapping_mul(0x9e37_79b9) % 170);
        let (published, copied) = run_and_kill(directory.path(), after);
        if kill % 5 == 0 && directory.path().join("store.redb").exists() {
            assert_eq!(check(directory.path()).unwrap().findings, [], "after kill {kill}");
        }
        let bus = open_bus(directory.path(), Durability::Os);
        let inputs = read_values(&bus, IN);
        let outputs = read_values(&bus, OUT);
        lines = inputs.len() as u64;
        assert!(lines >= published, "kill {kill}: {published} lines were acknowledged, {lines} are left");
        assert!(outputs.len() as u64 >= copied, "kill {kill}: {copied} copies were acknowledged, {} are left", outputs.len());
        assert!(inputs.iter().zip(0..).all(|(value, n)| *value == line(n)), "kill {kill}: a line is lost, doubled or torn");
        assert_eq!(outputs, inputs[..outputs.len()], "kill {kill}: a copy is lost or doubled");
        let cursor = bus.publisher("s").unwrap().cursor().map_or(0, |cursor| u64::from_be_bytes(cursor.position[..].try_into().unwrap()));
        assert_eq!(cursor, lines, "kill {kill}: the cursor stands beside its records");
        let state = bus.state("copier", &at(IN, 0)).unwrap();
        let position = state.get("pos").map_or(0, |value| String::from_utf8_lossy(value).parse().unwrap());
        assert_eq!(position, outputs.len(), "kill {kill}: the state stands beside the outputs");
        check_table(&bus, lines);
    }
    assert!(lines > 1_000, "the child had time to work: {lines} lines");
}

/// The last entry of each key is the last one published.
fn check_table(bus: &EmbeddedBus, lines: u64) {
    let limits = ReadLimits { records_max: usize::MAX, bytes_max: usize::MAX, wait: Duration::ZERO };
    let mut gathered = Gathered::default();
    bus.read(&at(TABLE, 0), Default::default(), &limits, &mut gathered).unwrap();
    let mut last = BTreeMap::new();
    for (_, record) in gathered.records() {
        assert_eq!(record.value, Some(line(record.offset.0).as_bytes()));
        last.insert(record.key.unwrap().to_vec(), record.offset.0);
    }
    let expected = (0..lines).map(|n| (format!("k{}", n % KEYS).into_bytes(), n)).collect();
    assert_eq!(last, expected);
}

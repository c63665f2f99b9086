//! Streams without end: memory and clusters stay bounded. The long version, with its figures, is the bench `long_streams`.

mod desk;
#[path = "../benches/streams/mod.rs"]
mod streams;

use desk::{Desk, line};
use drain::{Config, Drain, DrainProcessor, Mode, TreeScope};
use stream_core::Processor;
use streams::{Stream, rss_kib};

const LINES: usize = 200_000;
/// Memory may grow by this much after the first tenth of a stream: less than one byte for each line.
const GROWTH_KIB_MAX: i64 = 4_096;

#[test]
fn memory_is_flat_and_clusters_stay_within_the_cap_whatever_comes() {
    one_tree();
    // Not at the same time: resident memory is that of the process.
    trees_of_many_hosts();
}

fn one_tree() {
    for mode in [Mode::Guarded, Mode::Drain3] {
        for stream in [Stream::Usual, Stream::Unique, Stream::Explosion] {
            let config = Config { mode, ini: String::new(), clusters_max: 512, ..Config::default() };
            let mut drain = Drain::new(&config).expect("valid");
            let mut lines = stream.lines();
            let mut grown_from = 0;
            for k in 0..LINES {
                if k == LINES / 10 {
                    grown_from = rss_kib();
                }
                let (line, now) = lines.next_line();
                drain.parse(line, now);
            }
            let (growth, clusters) = (rss_kib() - grown_from, drain.templates().count());
            assert!(clusters <= 512, "{mode:?} {stream:?}: {clusters} clusters");
            assert!(growth <= GROWTH_KIB_MAX, "{mode:?} {stream:?}: {growth} KiB more");
            let snapshot = drain.snapshot();
            let bytes = (snapshot.templates.len() + snapshot.usage.len()) as u64;
            assert!(bytes <= Drain::state_bytes_bound(&config), "{mode:?} {stream:?}: {bytes} bytes");
        }
    }
}

fn trees_of_many_hosts() {
    let config = Config { tree_scope: TreeScope::Host, clusters_max: 64, hosts_max: 30, ..Config::default() };
    let bound = DrainProcessor::state_bytes_bound(&config);
    let mut desk = Desk::new(config);
    let mut lines = Stream::Unique.lines();
    for k in 0..20_000 {
        let (text, _) = lines.next_line();
        desk.line(&line(&format!("host-{}", (k / 500) % 40), k * 1_000, 6, text));
    }
    let bytes = desk.state_bytes();
    assert!(bytes > 100_000 && bytes <= bound, "{bytes}");
}

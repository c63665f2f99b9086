//! Memory and clusters over long streams: ten million lines as usual, ten million that never repeat, and an explosion.
//!
//! `cargo bench -p nephoscope-drain --bench long_streams -- [LINES]`

mod streams;

use std::time::Duration;

use drain::{Config, Drain, Match, Mode};
use rustix::time::{ClockId, clock_gettime};
use streams::{Stream, rss_kib};

fn thread_cpu() -> Duration {
    let now = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(now.tv_sec as u64, now.tv_nsec as u32)
}

fn main() {
    let lines = std::env::args().skip(1).find_map(|arg| arg.parse().ok()).unwrap_or(10_000_000_usize);
    println!("{lines} lines each; lines/s of thread CPU, generation included; resident memory in MiB after a tenth and at the end\n");
    println!(
        "{:<8} {:<10} {:>10} {:>10} {:>10} {:>9} {:>12}",
        "mode", "stream", "lines/s", "RSS 1/10", "RSS end", "clusters", "without one"
    );
    for mode in [Mode::Guarded, Mode::Drain3] {
        for stream in [Stream::Usual, Stream::Unique, Stream::Explosion] {
            // Drain3 looks at all clusters of a leaf for each line that is in none of them.
            let count = if mode == Mode::Drain3 { lines / 10 } else { lines };
            let mut drain = Drain::new(&Config { mode, ini: String::new(), ..Config::default() }).expect("valid");
            let mut source = stream.lines();
            let (mut early, mut unknown) = (0, 0_usize);
            let start = thread_cpu();
            for k in 0..count {
                if k == count / 10 {
                    early = rss_kib();
                }
                let (line, now) = source.next_line();
                unknown += usize::from(drain.parse(line, now).matched == Match::Unknown);
            }
            let speed = count as f64 / (thread_cpu() - start).as_secs_f64();
            let (early, late) = (early as f64 / 1024.0, rss_kib() as f64 / 1024.0);
            let (mode, stream) = (format!("{mode:?}").to_lowercase(), format!("{stream:?}").to_lowercase());
            println!("{mode:<8} {stream:<10} {speed:>10.0} {early:>10.1} {late:>10.1} {:>9} {unknown:>12}", drain.templates().count());
        }
    }
}

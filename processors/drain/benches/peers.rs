//! Ours beside the crates `logdrain` and `drain3` and, where Python has it, Drain3 0.9.11, on the same lines in one run.
//!
//! `cargo bench -p nephoscope-drain --bench peers -- [--data DIR] [--repeat N] [--unique N] [--python PATH] [--ini FILE]`
//!
//! Without `--data` the lines are generated; DIR holds folders `<System>/<System>_2k.log`. Speeds are lines per second of this thread's
//! CPU time, so that another process on the machine changes little; what counts are the ratios. "raw" are the lines as they are,
//! "masked" the same lines with our masks applied, so that all parsers see equal text. FILE is a `drain3.ini`, for Drain3 and for ours in
//! its mode alike.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use drain::{Config, Drain, Masker, Mode};
use rustix::time::{ClockId, clock_gettime};

struct Options {
    data: Option<PathBuf>,
    repeat: usize,
    unique: usize,
    python: String,
    ini: Option<PathBuf>,
}

impl Options {
    fn read() -> Self {
        let mut options = Self { data: None, repeat: 500, unique: 1_000_000, python: "python3".into(), ini: None };
        let mut args = std::env::args().skip(1);
        while let Some(arg) = args.next() {
            let mut value = || args.next().unwrap_or_else(|| panic!("{arg}: expected a value"));
            match arg.as_str() {
                "--data" => options.data = Some(value().into()),
                "--repeat" => options.repeat = value().parse().expect("--repeat: expected a number"),
                "--unique" => options.unique = value().parse().expect("--unique: expected a number"),
                "--python" => options.python = value(),
                "--ini" => options.ini = Some(value().into()),
                // Cargo passes this one to every bench.
                "--bench" => {}
                _ => panic!("{arg}: expected --data, --repeat, --unique, --python or --ini"),
            }
        }
        options
    }
}

fn main() {
    let options = Options::read();
    let raw = match &options.data {
        Some(data) => read_lines(data),
        None => generated(16_000),
    };
    let masked = mask(&raw);
    println!("{} lines, steady over {} passes; lines/s of thread CPU\n", raw.len(), options.repeat);
    println!("{:<36} {:>12} {:>12} {:>9} {:>7}", "parser", "cold", "steady", "templates", "ours ×");
    let ours = measure_ours(&raw, options.repeat);
    print_row("ours, raw (masks included)", &ours, None);
    let ours_masked = measure_ours(&masked, options.repeat);
    print_row("ours, masked", &ours_masked, None);
    let passes = options.repeat.div_ceil(10);
    print_row("logdrain, raw", &measure_logdrain(&raw, passes), Some(&ours));
    print_row("logdrain, masked", &measure_logdrain(&masked, passes), Some(&ours_masked));
    print_row("drain3 (crate), raw", &measure_drain3(&raw, passes), Some(&ours));
    print_row("drain3 (crate), masked", &measure_drain3(&masked, passes), Some(&ours_masked));
    for (kind, lines, ours) in [("raw", &raw, &ours), ("masked", &masked, &ours_masked)] {
        match measure_python(&options.python, None, lines) {
            Some(speed) => print_row(&format!("Drain3 (Python), {kind}"), &speed, Some(ours)),
            None => println!("Drain3 (Python), {kind}: skipped, {} cannot import drain3", options.python),
        }
    }
    for ini in [None, options.ini.as_deref()].into_iter().take(1 + usize::from(options.ini.is_some())) {
        let with = if ini.is_some() { "its masks" } else { "raw" };
        let ours = measure_mode_drain3(&raw, ini, passes);
        print_row(&format!("ours in mode drain3, {with}"), &ours, None);
        if let Some(speed) = measure_python(&options.python, ini, &raw) {
            print_row(&format!("Drain3 (Python), {with}"), &speed, Some(&ours));
        }
    }
    let masker = Masker::new(&[]).expect("no rules");
    let mut spans = Vec::new();
    let spent = timed(|| (0..20).for_each(|_| raw.iter().for_each(|line| masker.spans(line, &mut spans))));
    println!("{:<36} {:>12} {:>12.0}", "our masks alone", "", rate(20 * raw.len(), spent));
    unique_lines(options.unique);
}

/// Lines per second of the first pass and of the later ones.
struct Speed {
    cold: f64,
    steady: f64,
    /// Templates at the end, where the parser tells.
    templates: Option<usize>,
}

fn print_row(name: &str, speed: &Speed, ours: Option<&Speed>) {
    let factor = ours.map_or(String::new(), |ours| format!("{:.1}", ours.steady / speed.steady));
    let templates = speed.templates.map_or("–".into(), |count| count.to_string());
    println!("{name:<36} {:>12.0} {:>12.0} {templates:>9} {factor:>7}", speed.cold, speed.steady);
}

fn measure(lines: &[String], passes: usize, mut parse: impl FnMut(&str)) -> (f64, f64) {
    let mut pass = || lines.iter().for_each(|line| parse(line));
    let cold = timed(&mut pass);
    let steady = timed(|| (0..passes).for_each(|_| pass()));
    (rate(lines.len(), cold), rate(lines.len() * passes, steady))
}

fn measure_ours(lines: &[String], passes: usize) -> Speed {
    let mut drain = Drain::new(&Config::default()).expect("valid");
    let (cold, steady) = measure(lines, passes, |line| {
        std::hint::black_box(drain.parse(line, 0));
    });
    Speed { cold, steady, templates: Some(drain.templates().count()) }
}

fn measure_mode_drain3(lines: &[String], ini: Option<&Path>, passes: usize) -> Speed {
    let mut config = Config { mode: Mode::Drain3, ini: String::new(), ..Config::default() };
    if let Some(ini) = ini {
        config.files.ini = std::fs::read_to_string(ini).expect("--ini: expected a file");
    }
    let mut drain = Drain::new(&config).expect("--ini: expected settings of Drain3");
    let (cold, steady) = measure(lines, passes, |line| {
        std::hint::black_box(drain.parse(line, 0));
    });
    Speed { cold, steady, templates: Some(drain.templates().count()) }
}

fn measure_logdrain(lines: &[String], passes: usize) -> Speed {
    let miner = logdrain::Miner::builder().build().expect("valid");
    let (cold, steady) = measure(lines, passes, |line| {
        std::hint::black_box(miner.add(line));
    });
    Speed { cold, steady, templates: Some(miner.len()) }
}

fn measure_drain3(lines: &[String], passes: usize) -> Speed {
    let mut matcher = drain3::Matcher::new(drain3::Config::builder().build());
    let (cold, steady) = measure(lines, passes, |line| {
        // At its cap it answers with an error; that counts as parsed.
        let _ = std::hint::black_box(matcher.add_log_message(line));
    });
    Speed { cold, steady, templates: None }
}

/// Python's CPU time per pass; `None` without Drain3.
fn measure_python(python: &str, ini: Option<&Path>, lines: &[String]) -> Option<Speed> {
    const PASSES: usize = 3;
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/drain3_peer.py");
    let mut child = Command::new(python)
        .arg(script)
        .arg(PASSES.to_string())
        .args(ini)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .ok()?;
    let mut stdin = child.stdin.take()?;
    let sent = lines.iter().try_for_each(|line| writeln!(stdin, "{line}"));
    drop(stdin);
    let output = child.wait_with_output().ok()?;
    sent.ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    let numbers: Vec<f64> = text.lines().map_while(|line| line.parse().ok()).collect();
    let [cold, steady @ .., templates] = numbers.as_slice() else { return None };
    let steady: f64 = steady.iter().sum();
    let later = (lines.len() * (PASSES - 1)) as f64 / steady;
    Some(Speed { cold: lines.len() as f64 / cold, steady: later, templates: Some(*templates as usize) })
}

/// Lines that no template fits, one a second, so that the explosion guard does not help: every line makes a cluster and evicts one.
fn unique_lines(count: usize) {
    println!("\n{count} unique lines, each a new template");
    println!("{:<36} {:>12} {:>12} {:>14} {:>14}", "parser", "lines", "lines/s", "RSS MiB before", "RSS MiB after");
    let mut drain = Drain::new(&Config::default()).expect("valid");
    let mut random = Random(7);
    let mut from = 0;
    for to in [count / 10, count] {
        let before = rss_mib();
        let spent = timed(|| {
            for k in from..to {
                drain.parse(&unique(&mut random), k as i64 * 1_000_000_000);
            }
        });
        println!("{:<36} {:>12} {:>12.0} {before:>14.1} {:>14.1}", "ours (generation included)", to, rate(to - from, spent), rss_mib());
        from = to;
    }
    drop(drain);
    // The peers keep what they see and search all of it: a part is enough to show where that leads.
    let miner = logdrain::Miner::builder().build().expect("valid");
    let mut matcher = drain3::Matcher::new(drain3::Config::builder().build());
    let peer = |name: &str, count: usize, parse: &mut dyn FnMut(&str)| {
        let mut random = Random(7);
        let before = rss_mib();
        let spent = timed(|| (0..count).for_each(|_| parse(&unique(&mut random))));
        println!("{name:<36} {count:>12} {:>12.0} {before:>14.1} {:>14.1}", rate(count, spent), rss_mib());
    };
    peer("logdrain", (count / 10).min(100_000), &mut |line| {
        std::hint::black_box(miner.add(line));
    });
    peer("drain3 (crate)", (count / 50).min(20_000), &mut |line| {
        let _ = std::hint::black_box(matcher.add_log_message(line));
    });
}

fn unique(random: &mut Random) -> String {
    let mut line = String::new();
    for _ in 0..8 {
        let mut word = random.next();
        for _ in 0..3 + word % 5 {
            word /= 26;
            line.push(char::from(b'a' + (word % 26) as u8));
        }
        line.push(' ');
    }
    line
}

fn mask(lines: &[String]) -> Vec<String> {
    let masker = Masker::new(&[]).expect("no rules");
    let mut spans = Vec::new();
    let mask = |line: &String| {
        masker.spans(line, &mut spans);
        let (mut text, mut at) = (String::new(), 0);
        for span in &spans {
            text += &line[at..span.start];
            text += drain::PLACEHOLDER;
            at = span.end;
        }
        text + &line[at..]
    };
    lines.iter().map(mask).collect()
}

fn read_lines(data: &Path) -> Vec<String> {
    let mut folders: Vec<PathBuf> =
        std::fs::read_dir(data).expect("--data: expected a folder").flatten().map(|entry| entry.path()).collect();
    folders.sort();
    let mut lines = Vec::new();
    for folder in folders {
        let name = folder.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if let Ok(bytes) = std::fs::read(folder.join(format!("{name}_2k.log"))) {
            lines.extend(String::from_utf8_lossy(&bytes).lines().map(str::to_owned));
        }
    }
    assert!(!lines.is_empty(), "--data: expected <System>/<System>_2k.log below {}", data.display());
    lines
}

/// A log of our own: a dozen programs, values that vary, some names.
fn generated(count: usize) -> Vec<String> {
    let mut random = Random(1);
    let users = ["ada", "bob", "eve", "joe", "lia", "max", "root", "www"];
    let line = |_| {
        let (n, ip) = (random.below(100_000), format!("10.{}.{}.{}", random.below(256), random.below(256), random.below(256)));
        let user = users[random.below(users.len() as u64) as usize];
        match random.below(12) {
            0 => format!("Accepted publickey for {user} from {ip} port {n} ssh2: RSA SHA256:{:016x}", random.next()),
            1 => format!("Failed password for invalid user {user} from {ip} port {n} ssh2"),
            2 => format!("pam_unix(sshd:session): session opened for user {user} by (uid=0)"),
            3 => {
                format!("[{n}.{:06}] EXT4-fs error (device sda{}): ext4_find_entry: inode #{n}: comm app: reading directory", n * 7, n % 4)
            }
            4 => format!(
                "{ip} - {user} [03/May/2024:10:{:02}:{:02} +0000] \"GET /api/v1/items/{n} HTTP/1.1\" 200 {} \"-\" \"curl/8.5\"",
                n % 60,
                n % 59,
                n % 9999
            ),
            5 => format!("Block blk_{n} of size {} from /{ip}:50010 received in {} ms", n * 64, n % 500),
            6 => {
                format!("[instance: {:08x}-fe1a-409b-b8cc-1e88b294cd1d] Took {}.{:02} seconds to build instance.", n * 31, n % 60, n % 100)
            }
            7 => format!("CPU{}: Core temperature above threshold, cpu clock throttled (total events = {n})", n % 8),
            8 => format!("eth{}: link up, {} Mbps, full-duplex, lpa 0x{:04X}", n % 2, n % 1000, n % 65536),
            9 => format!("Out of memory: Killed process {n} (java) total-vm:{}kB, anon-rss:{}kB, file-rss:0kB", n * 12, n * 3),
            10 => format!("Starting Session {n} of user {user}."),
            _ => format!(
                "java.io.IOException: Connection reset by peer: {ip}:{n} after {} retries, next at 2024-05-03T10:{:02}:00Z",
                n % 9,
                n % 60
            ),
        }
    };
    (0..count).map(line).collect()
}

/// xorshift64: the same lines on every machine.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }
}

fn timed(work: impl FnOnce()) -> Duration {
    let start = thread_cpu();
    work();
    thread_cpu().saturating_sub(start)
}

fn thread_cpu() -> Duration {
    let now = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(now.tv_sec as u64, now.tv_nsec as u32)
}

fn rate(lines: usize, spent: Duration) -> f64 {
    lines as f64 / spent.as_secs_f64()
}

/// Resident memory from `/proc/self/statm` (pages of 4 KiB).
fn rss_mib() -> f64 {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    statm.split(' ').nth(1).and_then(|pages| pages.parse::<f64>().ok()).unwrap_or(f64::NAN) / 256.0
}

//! Mode `drain3` beside the real Drain3 0.9.11, line by line and cluster by cluster.
//!
//! On 100,000 lines of our own under several settings, and on every log file below the folder that `NEPHOSCOPE_DATA` names, with Drain3's
//! defaults and with every `drain3.ini` found there.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::LazyLock;

use drain::{Drain3, Drain3Search, Drain3Settings};
use serde::Deserialize;

/// What `oracle.py` prints.
#[derive(Deserialize)]
struct Said {
    clusters: Vec<u64>,
    templates: Vec<(u64, String, u64)>,
    matches: Matches,
}

#[derive(Deserialize)]
struct Matches {
    never: Vec<u64>,
    fallback: Vec<u64>,
    always: Vec<u64>,
}

fn here(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/drain3").join(path)
}

/// Python with Drain3, made once; `None` and the reason told where it cannot be made.
fn python() -> Option<&'static Path> {
    static PYTHON: LazyLock<Option<PathBuf>> = LazyLock::new(|| match make_python() {
        Ok(python) => Some(python),
        Err(why) => {
            println!("SKIPPED: no Drain3 to compare with: {why}");
            None
        }
    });
    PYTHON.as_deref()
}

fn make_python() -> Result<PathBuf, String> {
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().ok_or("no target folder")?.join("drain3-oracle");
    let text = |error: std::io::Error| error.to_string();
    std::fs::create_dir_all(&target).map_err(text)?;
    // Other processes may want it at the same time.
    let lock = std::fs::File::create(target.join("lock")).map_err(text)?;
    lock.lock().map_err(text)?;
    let (python, stamp) = (target.join("venv/bin/python"), target.join("requirements.txt"));
    let wanted = std::fs::read(here("requirements.txt")).map_err(text)?;
    if std::fs::read(&stamp).is_ok_and(|made_of| made_of == wanted) {
        return Ok(python);
    }
    let run = |command: &mut Command| match command.output() {
        Ok(output) if output.status.success() => Ok(()),
        Ok(output) => Err(String::from_utf8_lossy(&output.stderr).lines().last().unwrap_or("no word").to_owned()),
        Err(error) => Err(error.to_string()),
    };
    run(Command::new("python3").args(["-m", "venv", "--clear"]).arg(target.join("venv")))?;
    run(Command::new(&python).args(["-m", "pip", "install", "-q", "-r"]).arg(here("requirements.txt")))?;
    std::fs::write(stamp, wanted).map_err(text)?;
    Ok(python)
}

fn ask(python: &Path, ini: Option<&Path>, lines: &[String]) -> Said {
    let mut child =
        Command::new(python).arg(here("oracle.py")).args(ini).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("python runs");
    let mut stdin = child.stdin.take().expect("piped");
    for line in lines {
        writeln!(stdin, "{}", serde_json::to_string(line).expect("JSON")).expect("is read");
    }
    drop(stdin);
    let output = child.wait_with_output().expect("ends");
    assert!(output.status.success(), "the oracle failed");
    serde_json::from_slice(&output.stdout).expect("JSON")
}

fn compare(python: &Path, name: &str, ini: Option<&Path>, lines: &[String]) {
    let settings = match ini {
        Some(path) => Drain3Settings::from_ini(&std::fs::read_to_string(path).expect("readable")).expect("valid"),
        None => Drain3Settings::default(),
    };
    let said = ask(python, ini, lines);
    let mut drain3 = Drain3::new(&settings).expect("valid");
    for (index, (line, theirs)) in lines.iter().zip(&said.clusters).enumerate() {
        let ours = drain3.add(line).cluster;
        assert_eq!(ours, *theirs, "{name} line {index} {line:?}: our template {:?}", drain3.template(ours));
    }
    let templates: Vec<_> = drain3.clusters().into_iter().map(|(n, size)| (n, drain3.template(n).expect("live"), size)).collect();
    assert!(templates == said.templates, "{name}: {:?}", templates.iter().zip(&said.templates).find(|(ours, theirs)| ours != theirs));
    let searches = [
        (Drain3Search::Leaf, &said.matches.never),
        (Drain3Search::LeafThenAll, &said.matches.fallback),
        (Drain3Search::All, &said.matches.always),
    ];
    for (search, theirs) in searches {
        for (index, (line, theirs)) in lines.iter().zip(theirs).enumerate() {
            assert_eq!(drain3.matches(line, search).unwrap_or(0), *theirs, "{name} {search:?} line {index} {line:?}");
        }
    }
    println!("{name}: {} lines, {} clusters, all as Drain3 has them", lines.len(), templates.len());
}

/// Lines that collide in every way that the tree knows: few words, digits of several scripts, all kinds of blanks, placeholders, masks.
fn generated(count: usize) -> Vec<String> {
    const WORDS: [&str; 44] = [
        "disk",
        "link",
        "user",
        "state",
        "up",
        "down",
        "lost",
        "a",
        "of",
        "from",
        "cmd",
        "again",
        "17",
        "-3",
        "+4",
        "0x1f",
        "10.0.0.1",
        "10.0.0.1:22",
        "eth0",
        "x²",
        "٣",
        "Ⅷ",
        "½",
        "blk_12_x",
        "a=>b",
        "<*>",
        "<:*:>",
        "<:NUM:>",
        "<NUM>",
        "\"ls -l\"",
        "\"x",
        "aaa",
        "bbbb1",
        "~",
        "é",
        "日本",
        "<",
        ":>",
        "12-34",
        "5;6",
        "_",
        "%",
        "\\d",
        "...",
    ];
    const JOINTS: [&str; 12] = [" ", " ", " ", " ", " ", "  ", "\t", "\u{a0}", "\u{1c}", "\u{2003}", "", "_"];
    let mut random = Random(42);
    let mut line = |_| {
        let (length, theme) = (random.below(9), random.below(40));
        let mut line = String::new();
        for position in 0..length {
            // Most lines follow a theme, so that clusters form; a third of their words is their own.
            let word = if random.below(3) == 0 { random.below(44) } else { (theme * 7 + position * 13) % 44 };
            line.push_str(WORDS[word as usize]);
            line.push_str(JOINTS[random.below(12) as usize]);
        }
        line
    };
    (0..count).map(&mut line).collect()
}

/// xorshift64: the same lines on every machine.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % bound
    }
}

#[test]
fn generated_lines_go_where_drain3_puts_them() {
    let Some(python) = python() else { return };
    let lines = generated(100_000);
    // Without a cap Drain3 looks at thousands of clusters for each line of this kind.
    compare(python, "defaults", None, &lines[..20_000]);
    compare(python, "masks.ini", Some(&here("masks.ini")), &lines);
    compare(python, "tight.ini", Some(&here("tight.ini")), &lines);
}

#[test]
fn given_logs_go_where_drain3_puts_them() {
    let Some(data) = std::env::var_os("NEPHOSCOPE_DATA").map(PathBuf::from) else {
        println!("SKIPPED: NEPHOSCOPE_DATA names no folder with logs");
        return;
    };
    let Some(python) = python() else { return };
    let (mut logs, mut inis) = (Vec::new(), vec![None]);
    collect(&data, 0, &mut |path| match path.file_name().and_then(|name| name.to_str()) {
        Some("drain3.ini") => inis.push(Some(path.to_path_buf())),
        Some(name) if name.ends_with("_2k.log") => logs.push(path.to_path_buf()),
        _ => {}
    });
    if logs.is_empty() {
        println!("SKIPPED: no <System>_2k.log below {}", data.display());
    }
    for log in &logs {
        let text = String::from_utf8_lossy(&std::fs::read(log).expect("readable")).into_owned();
        let lines: Vec<String> = text.lines().map(str::to_owned).collect();
        for ini in &inis {
            let name = format!("{} {}", log.display(), ini.as_ref().map_or("defaults".into(), |ini| ini.display().to_string()));
            compare(python, &name, ini.as_deref(), &lines);
        }
    }
}

/// Files below a folder, in order, not deeper than data sets lie.
fn collect(folder: &Path, depth: usize, each: &mut impl FnMut(&Path)) {
    let mut entries: Vec<PathBuf> = std::fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path()).collect();
    entries.sort();
    for entry in entries {
        match entry.is_dir() {
            true if depth < 3 => collect(&entry, depth + 1, each),
            true => {}
            false => each(&entry),
        }
    }
}

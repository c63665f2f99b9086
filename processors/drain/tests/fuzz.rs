//! Mutations of a corpus against every parser that meets foreign bytes: deterministic, so a failure names the input that caused it.
//!
//! A short run is part of the tests; `NEPHOSCOPE_FUZZ_INPUTS=10000000 cargo test --release -p nephoscope-drain --test fuzz` goes further.

use std::panic::{AssertUnwindSafe, catch_unwind};

use drain::{Config, Drain, Drain3, Drain3Settings, Masker, Mode, Snapshot};

const INPUTS: usize = 20_000;
/// Inputs do not grow beyond this: what is slow in longer ones is slow here.
const INPUT_BYTES_MAX: usize = 8_192;
/// Bytes and words that parsers look for.
const TOKENS: [&str; 40] = [
    "\"",
    "\\",
    "{",
    "}",
    "[",
    "]",
    ":",
    ",",
    "=",
    " ",
    "\n",
    "\t",
    "\0",
    "<*>",
    "<:NUM:>",
    "\\u",
    "\\ud83d",
    "msg",
    "\"msg\":",
    "level",
    "%",
    "%(",
    "%%",
    ")s",
    "[DRAIN]",
    "'",
    "true",
    "-",
    ".",
    "...",
    "/",
    "@",
    "::",
    "0x",
    "17",
    "10.0.0.1",
    "\n\tat ",
    "Caused by:",
    "é",
    "****",
];

/// xorshift64.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % bound.max(1) as u64) as usize
    }
}

/// One to eight changes of a seed.
fn mutate(random: &mut Random, seeds: &[Vec<u8>], input: &mut Vec<u8>) {
    input.clear();
    input.extend_from_slice(&seeds[random.below(seeds.len())]);
    for _ in 0..=random.below(8) {
        let at = random.below(input.len() + 1);
        let end = (at + random.below(24)).min(input.len());
        match random.below(8) {
            0 if at < input.len() => input[at] ^= 1 << random.below(8),
            1 if at < input.len() => input[at] = random.below(256) as u8,
            2 => drop(input.drain(at..end)),
            3 => input.truncate(at),
            4 => {
                let piece = input[at..end].to_vec();
                let to = random.below(input.len() + 1);
                input.splice(to..to, piece);
            }
            5 => {
                let other = &seeds[random.below(seeds.len())];
                let from = random.below(other.len() + 1);
                input.splice(at..end, other[from..].iter().copied());
            }
            6 => {
                let token = TOKENS[random.below(TOKENS.len())];
                let times = [1, 1, 1, 1, 2, 3, 70, 300][random.below(8)];
                input.splice(at..at, token.repeat(times).into_bytes());
            }
            _ => drop(input.splice(at..at, TOKENS[random.below(TOKENS.len())].bytes())),
        }
        input.truncate(INPUT_BYTES_MAX);
    }
}

/// Runs `target` over mutations; a panic is told with its input.
fn fuzz(name: &str, seeds: &[Vec<u8>], mut target: impl FnMut(&[u8])) {
    let inputs = std::env::var_os("NEPHOSCOPE_FUZZ_INPUTS").and_then(|text| text.to_str()?.parse().ok()).unwrap_or(INPUTS);
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    let (mut input, mut bytes) = (Vec::new(), 0_usize);
    for number in 0..inputs {
        mutate(&mut random, seeds, &mut input);
        bytes += input.len();
        if catch_unwind(AssertUnwindSafe(|| target(&input))).is_err() {
            panic!("{name}, input {number}: {:?}", String::from_utf8_lossy(&input));
        }
    }
    println!("{name}: {inputs} inputs, {} MB, no failure", bytes / 1_000_000);
}

fn lines_of(corpus: &str) -> Vec<Vec<u8>> {
    corpus.lines().map(|line| line.as_bytes().to_vec()).collect()
}

fn masked(masker: &Masker, line: &str) -> String {
    let (mut spans, mut text, mut at) = (Vec::new(), String::new(), 0);
    masker.spans(line, &mut spans);
    for span in &spans {
        assert!(at <= span.start && span.start < span.end, "spans are sorted, disjoint and not empty");
        text += line.get(at..span.start).expect("spans end at characters");
        text += drain::PLACEHOLDER;
        at = span.end;
    }
    text + line.get(at..).expect("spans end at characters")
}

/// What holds for every line; returns whether it was structured.
fn check_line(drain: &mut Drain, line: &str, now: i64) -> bool {
    let parsed = drain.parse(line, now);
    let source = parsed.source;
    for param in parsed.params {
        assert!(source.get(param.start..param.end).is_some_and(|value| value.len() <= drain::VALUE_BYTES_MAX));
        assert!(param.name.is_none_or(|(start, end)| source.get(start..end).is_some()));
    }
    assert!(parsed.params.len() <= drain::PARAMS_MAX && parsed.template.len() <= drain::TEXT_BYTES_MAX);
    assert!(parsed.severity.is_none_or(|severity| severity <= 7));
    parsed.params.iter().any(|param| param.name.is_some())
}

/// What holds for ours and not for Drain3, which gives a line of parameters alone a new cluster each time.
fn check_line_again(drain: &mut Drain, line: &str, now: i64) {
    let parsed = drain.parse(line, now);
    if parsed.matched != drain::Match::Unknown {
        let id = parsed.template_id;
        assert_eq!(drain.parse(line, now).template_id, id, "said again, it is found again");
    }
}

fn small(mode: Mode) -> Config {
    Config { mode, ini: String::new(), clusters_max: 24, signature_cache: 64, ..Config::default() }
}

#[test]
fn masks() {
    let masker = Masker::new(&[]).expect("no rules");
    fuzz("masks", &lines_of(include_str!("corpus/lines.txt")), |input| {
        masked(&masker, &String::from_utf8_lossy(input));
    });
}

#[test]
fn tokens_and_trees() {
    for mode in [Mode::Guarded, Mode::Drain3] {
        let mut drain = Drain::new(&small(mode)).expect("valid");
        let mut now = 0;
        fuzz(&format!("tokens and trees, {mode:?}"), &lines_of(include_str!("corpus/lines.txt")), |input| {
            now += 60_000_000_000;
            let line = String::from_utf8_lossy(input);
            check_line(&mut drain, &line, now);
            if mode == Mode::Guarded {
                check_line_again(&mut drain, &line, now);
            }
        });
        assert!(drain.templates().count() <= 24);
    }
}

#[test]
fn json() {
    structured("JSON", include_str!("corpus/json.txt"));
}

#[test]
fn logfmt() {
    structured("logfmt", include_str!("corpus/logfmt.txt"));
}

fn structured(name: &str, corpus: &str) {
    let mut drain = Drain::new(&small(Mode::Guarded)).expect("valid");
    let (mut now, mut structured) = (0, 0_usize);
    fuzz(name, &lines_of(corpus), |input| {
        now += 60_000_000_000;
        structured += usize::from(check_line(&mut drain, &String::from_utf8_lossy(input), now));
    });
    assert!(structured > INPUTS / 20, "{name}: only {structured} inputs were read as such");
}

#[test]
fn drain3_ini() {
    let seeds = [include_str!("corpus/default.ini"), include_str!("drain3/masks.ini"), include_str!("drain3/tight.ini")];
    let (mut number, mut valid) = (0_usize, 0_usize);
    fuzz("drain3.ini", &seeds.map(|seed| seed.as_bytes().to_vec()), |input| {
        number += 1;
        let Ok(settings) = Drain3Settings::from_ini(&String::from_utf8_lossy(input)) else { return };
        valid += 1;
        // Compiling the masks costs a thousand times the reading.
        if number.is_multiple_of(64)
            && let Ok(mut drain3) = Drain3::new(&settings)
        {
            drain3.add("executed cmd \"ls\" at 10.0.0.1 0x1f_7");
        }
    });
    assert!(valid > INPUTS / 20, "only {valid} inputs were valid");
}

#[test]
fn snapshots() {
    for mode in [Mode::Guarded, Mode::Drain3] {
        let config = small(mode);
        let mut drain = Drain::new(&config).expect("valid");
        for k in 0..9 {
            drain.parse(&format!("event {} of kind {k} is over", ["up", "down", "lost"][k % 3]), 0);
        }
        let good = drain.snapshot();
        let mut restored = 0_usize;
        for is_usage in [false, true] {
            let seeds = [if is_usage { good.usage.clone() } else { good.templates.clone() }];
            fuzz(&format!("snapshots, {mode:?} {}", if is_usage { "usage" } else { "templates" }), &seeds, |input| {
                let snapshot = match is_usage {
                    true => Snapshot { usage: input.to_vec(), ..good.clone() },
                    false => Snapshot { templates: input.to_vec(), ..good.clone() },
                };
                if let Ok(mut drain) = Drain::restore(&config, &snapshot) {
                    restored += 1;
                    drain.parse("event up of kind 7 is over", 0);
                    assert!(Drain::restore(&config, &drain.snapshot()).is_ok(), "what it writes, it reads");
                }
            });
        }
        assert!(restored > 0);
    }
}

//! Every parser on inputs that were good once: seeds from `tests/corpus`, mutated. Each must hold its promise on whatever
//! comes of it, not only survive.
//!
//! `cargo test` runs some thousand inputs for each parser. For a long run:
//! `NEPHOSCOPE_FUZZ_INPUTS=10000000 NEPHOSCOPE_FUZZ_SEED=7 cargo test --release -p nephoscope-syslog --test fuzz -- --nocapture`.
//! An input that breaks a promise is printed as a line for the corpus, where it stays.

mod mutation;

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::Path;

use jiff::tz::TimeZone;
use mutation::{Mutator, escape, unescape};
use schemas::{LogRecord, SourceKind, Subject};
use syslog::frame::{Cut, Deframer, FrameLimits};
use syslog::host::HostRule;
use syslog::journal::JournalEntry;
use syslog::kmsg::KernelRecord;
use syslog::record::{Line, Recorder};
use syslog::relp::{Answers, Decoder, Request, Session};
use syslog::time::AHEAD_MAX_US;

const INPUTS: u64 = 20_000;
const RECEIVED_US: i64 = 1_700_000_000_000_000;
/// Small, so that inputs of a few bytes reach them.
const LIMITS: FrameLimits = FrameLimits { frame_bytes_max: 32, head_bytes_max: 8 };

/// Gives a parser mutated seeds; the mutator also decides what else is up to chance.
fn fuzz(parser: &str, mut check: impl FnMut(&[u8], &mut Mutator)) {
    #[expect(clippy::disallowed_methods, reason = "a long run is asked for by the one who runs the test")]
    let number = |name: &str, default: u64| std::env::var(name).map_or(default, |text| text.parse().expect(name));
    let (inputs, seed) = (number("NEPHOSCOPE_FUZZ_INPUTS", INPUTS), number("NEPHOSCOPE_FUZZ_SEED", 1));
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus").join(format!("{parser}.txt"));
    let text = std::fs::read_to_string(path).expect("a corpus");
    let corpus: Vec<Vec<u8>> = text.lines().filter(|line| !line.starts_with('#')).map(unescape).collect();
    let mut mutator = Mutator::new(seed, corpus.clone());
    let mut run = |input: &[u8], mutator: &mut Mutator| {
        if let Err(panic) = catch_unwind(AssertUnwindSafe(|| check(input, mutator))) {
            eprintln!("a line for tests/corpus/{parser}.txt:\n{}", escape(input));
            resume_unwind(panic);
        }
    };
    corpus.iter().for_each(|seed| run(seed, &mut mutator));
    for _ in 0..inputs {
        let input = mutator.mutated();
        run(&input, &mut mutator);
    }
    println!("{parser}: {inputs} inputs from {} seeds", corpus.len());
}

/// The reads into which an input is cut.
fn reads<'a>(input: &'a [u8], mutator: &mut Mutator) -> Vec<&'a [u8]> {
    let mut rest = input;
    let mut reads = Vec::new();
    while !rest.is_empty() {
        let (read, more) = rest.split_at(1 + mutator.below(rest.len().min(40)));
        reads.push(read);
        rest = more;
    }
    reads
}

#[test]
fn frame() {
    let frames = |reads: &[&[u8]]| {
        let mut deframer = Deframer::new(LIMITS);
        let mut frames = Vec::new();
        for read in reads {
            deframer.push(read);
            while let Some(frame) = deframer.next_frame() {
                assert!(!frame.bytes.is_empty() && frame.bytes.len() <= LIMITS.frame_bytes_max);
                frames.push((frame.bytes.to_vec(), frame.truncated, frame.damaged));
            }
        }
        frames.extend(deframer.cut(Cut::Stalled).map(|frame| (frame.bytes.to_vec(), frame.truncated, frame.damaged)));
        assert!(!deframer.is_pending());
        frames
    };
    fuzz("frame", |input, mutator| {
        let whole = frames(&[input]);
        assert!(whole.iter().map(|(bytes, ..)| bytes.len()).sum::<usize>() <= input.len(), "nothing is made up");
        assert_eq!(frames(&reads(input, mutator)), whole, "any split gives the same frames");
    });
}

fn recorder() -> Recorder {
    Recorder {
        kind: SourceKind::Tcp,
        name: "fuzz".into(),
        hosts: HostRule::new(Default::default(), BTreeMap::new()),
        local_host: "here".into(),
        zone: TimeZone::get("Europe/Berlin").unwrap_or(TimeZone::UTC),
        message_bytes_max: 64,
    }
}

/// What holds of a record, whatever the line was.
fn check_record(record: &LogRecord, line: &[u8]) {
    assert!(line.starts_with(&record.raw), "raw is what came, or its head");
    let (start, length) = (record.message_start as usize, record.message_length as usize);
    assert!(record.raw.get(start..start + length).is_some(), "the message stands in raw");
    assert!(record.event_time <= RECEIVED_US + AHEAD_MAX_US, "no time from far ahead is believed");
    assert!(record.facility.is_none_or(|f| (0..=23).contains(&f)) && record.severity.is_none_or(|s| (0..=7).contains(&s)));
    assert!(!record.host.is_empty() && record.host.len() <= 253);
}

fn check_line(recorder: &Recorder, line: &[u8], mutator: &mut Mutator) {
    let peer = Some([192, 0, 2, 1].into());
    let record = recorder.line(&Line { bytes: line, truncated: false, damaged: false, peer, received_us: RECEIVED_US });
    check_record(&record, line);
    if mutator.below(64) == 0 {
        let mut bytes = Vec::new();
        record.encode(&mut bytes).expect("encodes");
        assert_eq!(LogRecord::from_bytes(&bytes).expect("decodes"), record, "the topic gives back what was put on it");
    }
}

#[test]
fn rfc5424() {
    let recorder = recorder();
    fuzz("rfc5424", |input, mutator| check_line(&recorder, input, mutator));
}

#[test]
fn rfc3164() {
    let recorder = recorder();
    fuzz("rfc3164", |input, mutator| check_line(&recorder, input, mutator));
}

#[test]
fn time() {
    let recorder = recorder();
    fuzz("time", |input, mutator| {
        check_line(&recorder, &[b"<13>", input, b" host app: text"].concat(), mutator);
        check_line(&recorder, &[b"<13>1 ", input, b" host app - - - text"].concat(), mutator);
    });
}

#[test]
fn kmsg() {
    let recorder = recorder();
    fuzz("kmsg", |input, _| {
        let Some(record) = KernelRecord::parse(input) else { return };
        assert!(input.get(record.text.clone()).is_some());
        record.text();
        record.properties().count();
        let record = recorder.kernel(input, &record, RECEIVED_US - 1_000_000, RECEIVED_US);
        assert!(record.event_time <= RECEIVED_US + AHEAD_MAX_US);
    });
}

#[test]
fn relp() {
    /// What was asked for, how many messages, what was answered, and whether it ended badly.
    fn converse(reads: &[&[u8]]) -> (Vec<String>, u64, Vec<u8>, bool) {
        let (mut decoder, mut session, mut answers) = (Decoder::new(LIMITS), Session::default(), Answers::default());
        let (mut seen, mut messages) = (Vec::new(), 0);
        let mut is_bad = false;
        'reads: for read in reads {
            decoder.push(read);
            loop {
                let frame = match decoder.next_frame() {
                    Ok(Some(frame)) => frame,
                    Ok(None) => break,
                    Err(_) => {
                        is_bad = true;
                        break 'reads;
                    }
                };
                assert!(frame.data.len() <= LIMITS.frame_bytes_max && frame.txnr <= 999_999_999);
                assert!((1..=32).contains(&frame.command.len()) && frame.command.bytes().all(|b| b.is_ascii_alphabetic()));
                let (txnr, request) = (frame.txnr, session.receive(&frame));
                seen.push(format!("{txnr} {request:?}"));
                match request {
                    Request::Take(_) => {
                        messages += 1;
                        answers.ok(txnr, messages);
                    }
                    Request::Answer(text) | Request::Last(text) => answers.text(txnr, messages, text),
                    Request::Nonsense(_) => break 'reads,
                }
            }
        }
        let mut bytes = Vec::new();
        answers.take(messages, &mut bytes);
        assert!(answers.is_empty(), "when all is safe, all is answered");
        (seen, messages, bytes, is_bad)
    }
    fuzz("relp", |input, mutator| {
        assert_eq!(converse(&reads(input, mutator)), converse(&[input]), "any split gives the same conversation");
    });
}

#[test]
fn journal() {
    let recorder = recorder();
    fuzz("journal", |input, _| {
        if let Ok(entry) = JournalEntry::parse(input) {
            assert!(entry.severity.is_none_or(|s| s <= 7));
        }
        let (record, _) = recorder.journal_line(input, RECEIVED_US);
        assert!(record.event_time <= RECEIVED_US + AHEAD_MAX_US);
    });
}

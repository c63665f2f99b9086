//! Laws of the deframer: reads do not matter, both framings are equal, nothing stalls it.

use proptest::prelude::*;
use syslog::frame::{Cut, Deframer, FrameLimits};

const LIMITS: FrameLimits = FrameLimits { frame_bytes_max: 64, head_bytes_max: 16 };

#[derive(Debug, Clone, PartialEq, Eq)]
struct Owned {
    bytes: Vec<u8>,
    truncated: bool,
    damaged: bool,
}

/// All frames of a stream that arrives in these reads and is then closed.
fn frames(reads: &[&[u8]], limits: FrameLimits) -> Vec<Owned> {
    let mut deframer = Deframer::new(limits);
    let mut frames = Vec::new();
    for read in reads {
        deframer.push(read);
        while let Some(frame) = deframer.next_frame() {
            frames.push(Owned { bytes: frame.bytes.to_vec(), truncated: frame.truncated, damaged: frame.damaged });
        }
    }
    if let Some(frame) = deframer.cut(Cut::Closed) {
        frames.push(Owned { bytes: frame.bytes.to_vec(), truncated: frame.truncated, damaged: frame.damaged });
    }
    frames
}

fn whole(bytes: &[u8]) -> Owned {
    Owned { bytes: bytes.to_vec(), truncated: false, damaged: false }
}

/// Bytes that make every decision of the deframer likely.
fn stream() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        3 => prop::sample::select(vec![&b"\n"[..], b"\r\n", b"\0", b"<13>", b"<", b">", b" ", b"7 ", b"12 <13>", b"80 <5>", b"9999999 <0>", b"0 <1>", b"5"])
            .prop_map(<[u8]>::to_vec),
        1 => prop::collection::vec(any::<u8>(), 0..40),
        1 => prop::collection::vec(Just(b'x'), 0..150),
    ];
    prop::collection::vec(piece, 0..24).prop_map(|pieces| pieces.concat())
}

/// A message with a priority, without the bytes that end a line.
fn message() -> impl Strategy<Value = Vec<u8>> {
    (
        "<(0|[1-9][0-9]?|1[0-8][0-9])>",
        prop::collection::vec(any::<u8>().prop_filter("ends a line", |b| !matches!(b, 0 | b'\n' | b'\r')), 0..59),
    )
        .prop_map(|(priority, rest)| [priority.into_bytes(), rest].concat())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn any_split_into_reads_gives_the_same_frames(stream in stream(), cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..12)) {
        let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(stream.len() + 1)).collect();
        cuts.extend([0, stream.len()]);
        cuts.sort_unstable();
        let reads: Vec<&[u8]> = cuts.windows(2).map(|pair| &stream[pair[0]..pair[1]]).collect();
        let bytewise: Vec<&[u8]> = stream.chunks(1).collect();
        let at_once = frames(&[&stream], LIMITS);
        prop_assert_eq!(&frames(&reads, LIMITS), &at_once);
        prop_assert_eq!(&frames(&bytewise, LIMITS), &at_once);
    }

    #[test]
    fn counted_and_line_framing_of_the_same_messages_are_equal(messages in prop::collection::vec((message(), any::<bool>()), 0..20)) {
        let counted = |m: &[u8]| [format!("{} ", m.len()).as_bytes(), m].concat();
        let line = |m: &[u8]| [m, b"\n"].concat();
        let expected: Vec<Owned> = messages.iter().map(|(m, _)| whole(m)).collect();
        let all_counted: Vec<u8> = messages.iter().flat_map(|(m, _)| counted(m)).collect();
        let all_lines: Vec<u8> = messages.iter().flat_map(|(m, _)| line(m)).collect();
        let mixed: Vec<u8> = messages.iter().flat_map(|(m, by_count)| if *by_count { counted(m) } else { line(m) }).collect();
        prop_assert_eq!(&frames(&[&all_counted], LIMITS), &expected);
        prop_assert_eq!(&frames(&[&all_lines], LIMITS), &expected);
        prop_assert_eq!(&frames(&[&mixed], LIMITS), &expected);
    }

    /// Lines of any text: joined again they are the stream, but for line ends and empty lines.
    #[test]
    fn no_byte_of_a_line_is_lost(lines in prop::collection::vec("[a-z ]{0,60}", 0..20)) {
        let stream = lines.join("\n");
        let expected: Vec<Owned> = lines.iter().filter(|l| !l.is_empty()).map(|l| whole(l.as_bytes())).collect();
        prop_assert_eq!(frames(&[stream.as_bytes()], LIMITS), expected);
    }
}

#[test]
fn a_count_above_the_limit_is_read_to_its_end_and_its_head_kept() {
    let stream = [b"100 <13>".as_slice(), &[b'y'; 96], b"9 <13>after"].concat();
    let head = Owned { bytes: b"<13>yyyyyyyyyyyy".to_vec(), truncated: true, damaged: false };
    assert_eq!(frames(&[&stream], LIMITS), [head, whole(b"<13>after")]);
}

#[test]
fn a_line_above_the_limit_is_read_to_its_end_and_its_head_kept() {
    let stream = [&[b'y'; 65][..], b"\n<13>after\n"].concat();
    let head = Owned { bytes: vec![b'y'; 16], truncated: true, damaged: false };
    assert_eq!(frames(&[&stream], LIMITS), [head, whole(b"<13>after")]);
    assert_eq!(frames(&[&[&[b'y'; 64][..], b"\n"].concat()], LIMITS), [whole(&[b'y'; 64])], "exactly the limit is no excess");
}

#[test]
fn a_line_of_ten_megabytes_needs_no_memory_of_its_size() {
    let limits = FrameLimits { frame_bytes_max: 200_000, head_bytes_max: 65_536 };
    let mut deframer = Deframer::new(limits);
    let chunk = [b'z'; 16 * 1024];
    for _ in 0..640 {
        deframer.push(&chunk);
        assert_eq!(deframer.next_frame(), None);
    }
    deframer.push(b"\n<13>next\n");
    let frame = deframer.next_frame().expect("the long line");
    assert_eq!((frame.bytes.len(), frame.truncated), (65_536, true));
    assert_eq!(deframer.next_frame().expect("the next line").bytes, b"<13>next");
    assert!(!deframer.is_pending());
}

#[test]
fn a_sender_that_stops_leaves_a_damaged_frame() {
    for (stream, expected) in [(&b"30 <13>half"[..], &b"<13>half"[..]), (b"<13>half", b"<13>half"), (b"12", b"12"), (b"12 <1", b"12 <1")] {
        let mut deframer = Deframer::new(LIMITS);
        deframer.push(stream);
        assert_eq!(deframer.next_frame(), None);
        assert!(deframer.is_pending());
        let frame = deframer.cut(Cut::Stalled).expect("the half frame");
        assert_eq!((frame.bytes, frame.damaged), (expected, true));
        assert!(!deframer.is_pending());
        assert_eq!(deframer.cut(Cut::Stalled), None);
    }
}

#[test]
fn closing_ends_a_line_but_not_a_counted_frame() {
    assert_eq!(frames(&[b"<13>last"], LIMITS), [whole(b"<13>last")]);
    assert_eq!(frames(&[b"<13>last\r"], LIMITS), [whole(b"<13>last")]);
    assert_eq!(frames(&[b"30 <13>last"], LIMITS), [Owned { damaged: true, ..whole(b"<13>last") }]);
}

#[test]
fn the_count_starts_after_the_space() {
    assert_eq!(frames(&[b"8 <13>a bc7 <13>def"], LIMITS), [whole(b"<13>a bc"), whole(b"<13>def")]);
}

/// A line feed after a counted frame is what some senders add; it is no frame.
#[test]
fn a_line_feed_after_a_counted_frame_is_no_frame() {
    assert_eq!(frames(&[b"5 <13>a\n5 <13>b\n<13>c\n\n\r\n"], LIMITS), [whole(b"<13>a"), whole(b"<13>b"), whole(b"<13>c")]);
}

#[test]
fn a_count_needs_a_priority_that_it_covers() {
    for line in [
        &b"3 <13>hello"[..],
        b"0 <13>hello",
        b"12345678 <13>hello",
        b"12 13>hello",
        b"12 <>hello",
        b"12 <1234>hello",
        b"12  <13>hello",
        b"1a",
    ] {
        assert_eq!(frames(&[line, b"\n"], LIMITS), [whole(line)], "{}", line.escape_ascii());
    }
}

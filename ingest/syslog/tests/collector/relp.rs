//! RELP with frames that we write ourselves: an answer means that the bus has the message.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::thread;
use std::time::Duration;

use schemas::SourceKind;
use syslog::Config;
use syslog::frame::FrameLimits;
use syslog::relp::Decoder;

use super::{PATIENCE, Rig, eventually, listening, messages};

/// A sender that reads its answers when it is asked to.
pub(crate) struct Sender<S> {
    pub(crate) stream: S,
    decoder: Decoder,
    txnr: u32,
}

fn relp() -> Config {
    Config { udp: Vec::new(), tcp: Vec::new(), relp: vec!["127.0.0.1:0".parse().expect("an address")], ..listening() }
}

impl Sender<TcpStream> {
    fn connect(rig: &Rig) -> Self {
        let stream = TcpStream::connect(rig.address(SourceKind::Relp)).expect("connects");
        stream.set_read_timeout(Some(PATIENCE)).expect("is set");
        Self::open(stream)
    }
}

impl<S: Read + Write> Sender<S> {
    /// Opens a session.
    pub(crate) fn open(stream: S) -> Self {
        let decoder = Decoder::new(FrameLimits { frame_bytes_max: 10_000, head_bytes_max: 10_000 });
        let mut sender = Self { stream, decoder, txnr: 0 };
        sender.send("open", b"relp_version=0\nrelp_software=test\ncommands=syslog");
        let (txnr, text) = sender.answer().expect("an answer to open");
        assert!(txnr == 1 && text.starts_with("200 OK\nrelp_version=0\n") && text.ends_with("commands=syslog"), "{text}");
        sender
    }

    pub(crate) fn send(&mut self, command: &str, data: &[u8]) {
        self.txnr += 1;
        let frame = [format!("{} {command} {} ", self.txnr, data.len()).as_bytes(), data, b"\n"].concat();
        self.stream.write_all(&frame).expect("writes");
    }

    pub(crate) fn message(&mut self, text: &str) {
        self.send("syslog", format!("<13>1 - h a - - - {text}").as_bytes());
    }

    /// The next answer, or hint; none at the end of the connection.
    pub(crate) fn answer(&mut self) -> Option<(u32, String)> {
        loop {
            if let Some(frame) = self.decoder.next_frame().expect("frames") {
                let text = String::from_utf8(frame.data.to_vec()).expect("text");
                return Some((frame.txnr, if frame.command == "rsp" { text } else { frame.command.to_owned() }));
            }
            let mut chunk = [0; 4_096];
            match self.stream.read(&mut chunk) {
                Ok(0) => return None,
                Ok(bytes) => self.decoder.push(&chunk[..bytes]),
                Err(error) if error.kind() == ErrorKind::ConnectionReset => return None,
                Err(error) => panic!("no answer: {error}"),
            }
        }
    }
}

#[test]
fn an_answer_means_that_the_bus_has_the_message_and_all_before() {
    const MESSAGES: usize = 20_000;
    let rig = Rig::start(relp());
    let mut sender = Sender::connect(&rig);
    let mut writer = Sender { stream: sender.stream.try_clone().expect("a twin"), decoder: Decoder::new(limits()), txnr: 1 };
    let writing = thread::spawn(move || (0..MESSAGES).for_each(|n| writer.message(&n.to_string())));
    for n in 0..MESSAGES {
        assert_eq!(sender.answer(), Some((n as u32 + 2, "200 OK".into())), "answers come in order");
        assert!(rig.bus.len() > n, "message {n} is answered, {} are on the bus", rig.bus.len());
    }
    writing.join().expect("wrote all");
    assert!(rig.bus.blocks() < MESSAGES / 10, "answers wait for blocks, not blocks for answers");
    let status = rig.status(SourceKind::Relp);
    assert_eq!((status.records, status.refusals.len()), (MESSAGES as u64, 0));
    let records = rig.stop();
    assert_eq!(messages(&records), (0..MESSAGES).map(|n| n.to_string()).collect::<Vec<_>>());
    assert!(records.iter().all(|record| record.source.kind == SourceKind::Relp && record.source.peer.as_deref() == Some("127.0.0.1")));
}

fn limits() -> FrameLimits {
    FrameLimits { frame_bytes_max: 10_000, head_bytes_max: 10_000 }
}

#[test]
fn what_no_bus_takes_has_no_answer_until_it_does() {
    let rig = Rig::start(relp());
    let mut sender = Sender::connect(&rig);
    rig.bus.set_full(true);
    sender.message("waits");
    eventually("the message is read", || rig.status(SourceKind::Relp).records == 1);
    // Not a proof, but a receiver that answered too early would most likely be caught.
    sender.stream.set_read_timeout(Some(Duration::from_millis(300))).expect("is set");
    assert!(matches!(sender.stream.peek(&mut [0; 1]), Err(error) if error.kind() == ErrorKind::WouldBlock));
    sender.stream.set_read_timeout(Some(PATIENCE)).expect("is set");
    rig.bus.set_full(false);
    assert_eq!(sender.answer(), Some((2, "200 OK".into())));
    assert_eq!(rig.bus.len(), 1);
    rig.stop();
}

/// The bus refuses the block for good, as when another instance took over: the sender must keep what it sent.
#[test]
fn what_the_bus_refuses_is_never_answered() {
    let rig = Rig::start(relp());
    let mut sender = Sender::connect(&rig);
    sender.message("taken");
    assert_eq!(sender.answer(), Some((2, "200 OK".into())));
    rig.bus.crash();
    sender.message("refused");
    let mut answers = Vec::new();
    while let Some(answer) = sender.answer() {
        answers.push(answer);
    }
    assert!(answers.iter().all(|(txnr, _)| *txnr == 0), "{answers:?}");
    eventually("the collector has failed", || stream_runtime::source::Source::failed(&rig.collector).is_some());
    assert_eq!(rig.bus.len(), 1);
}

#[test]
fn closing_answers_everything_and_says_good_bye() {
    let rig = Rig::start(relp());
    let mut sender = Sender::connect(&rig);
    (0..500).for_each(|n| sender.message(&n.to_string()));
    sender.send("close", b"");
    for txnr in 2..=502 {
        assert_eq!(sender.answer(), Some((txnr, "200 OK".into())));
    }
    assert_eq!((sender.answer(), sender.answer()), (Some((0, "serverclose".into())), None));
    assert_eq!(rig.bus.len(), 500);
    rig.stop();
}

#[test]
fn a_collector_that_stops_answers_what_it_has_taken() {
    let rig = Rig::start(relp());
    let mut sender = Sender::connect(&rig);
    (0..500).for_each(|n| sender.message(&n.to_string()));
    rig.bus.wait_for(1);
    let taken = rig.stop().len() as u32;
    let mut answered = 0;
    loop {
        match sender.answer() {
            Some((0, hint)) => assert_eq!(hint, "serverclose"),
            Some((txnr, _)) => answered = txnr - 1,
            None => break,
        }
    }
    assert_eq!(answered, taken, "nothing is sent twice after an orderly end");
}

#[test]
fn bytes_that_are_no_frame_end_the_connection_after_what_was_good_is_answered() {
    let rig = Rig::start(relp());
    for (nonsense, cause) in [
        (&b"<13>plain syslog\n"[..], "relp_frame"),
        (b"3 syslog 1 ab\n", "relp_frame"),
        (b"0 syslog 5 <13>x\n", "relp_command"),
        (b"3 open 0\n", "relp_command"),
    ] {
        let before = (rig.bus.len(), refused(&rig, cause));
        let mut sender = Sender::connect(&rig);
        sender.message("good");
        sender.stream.write_all(nonsense).expect("writes");
        assert_eq!(sender.answer(), Some((2, "200 OK".into())));
        assert_eq!((sender.answer(), sender.answer()), (Some((0, "serverclose".into())), None));
        eventually("the refusal is counted", || refused(&rig, cause) == before.1 + 1);
        assert_eq!(rig.bus.len(), before.0 + 1, "the good one only");
    }
    rig.stop();
}

pub(crate) fn refused(rig: &Rig, cause: &str) -> u64 {
    rig.loss.refusals().iter().filter(|(_, known, _)| known == cause).map(|(_, _, count)| count).sum()
}

/// Half a message has no answer, so its sender sends it again: to publish it would be to double it.
#[test]
fn half_a_message_is_not_published() {
    let rig = Rig::start(Config { frame_timeout_s: 1, ..relp() });
    let mut cut = Sender::connect(&rig);
    cut.stream.write_all(b"2 syslog 100 <13>1 - h a - - - half of").expect("writes");
    drop(cut);
    let mut slow = Sender::connect(&rig);
    slow.message("whole");
    slow.stream.write_all(b"3 syslog 100 <13>").expect("writes");
    assert_eq!(slow.answer(), Some((2, "200 OK".into())));
    let mut dripped = 0;
    while dripped < 100 && slow.stream.write_all(b"x").is_ok() {
        dripped += 1;
        thread::sleep(Duration::from_millis(100));
    }
    assert!((5..60).contains(&dripped), "closed after {dripped} bytes");
    eventually("the refusal is counted", || refused(&rig, "frame_timeout") == 1);
    assert_eq!(messages(&rig.stop()), ["whole"]);
}

#[test]
fn a_message_of_ten_megabytes_is_cut_and_answered_and_the_next_one_is_whole() {
    let rig = Rig::start(relp());
    let mut sender = Sender::connect(&rig);
    sender.message(&"ä".repeat(5 << 20));
    sender.message("next");
    assert_eq!((sender.answer().map(|a| a.0), sender.answer().map(|a| a.0)), (Some(2), Some(3)));
    assert_eq!(rig.status(SourceKind::Relp).truncated, 1);
    let records = rig.stop();
    assert_eq!((records[0].raw.len(), records[0].truncated, records[1].message()), (65_536, true, "next"));
}

#[test]
fn what_a_limit_drops_is_answered_counted_and_told_as_loss() {
    let rig = Rig::start(Config { rate_per_peer_max: 10, ..relp() });
    let mut sender = Sender::connect(&rig);
    (0..200).for_each(|n| sender.message(&n.to_string()));
    for txnr in 2..=201 {
        assert_eq!(sender.answer(), Some((txnr, "200 OK".into())), "to have it sent again would be no help");
    }
    let status = rig.status(SourceKind::Relp);
    assert_eq!(status.records + status.drops, 200);
    assert!(status.drops > 0);
    eventually("the loss is reported", || rig.lost() == [("rate_per_peer".to_owned(), status.drops)]);
    rig.stop();
}

/// A sender that reads no answers is stopped by its own window, or by ours: nobody's memory grows.
#[test]
fn a_sender_that_reads_no_answers_is_held_up_and_loses_nothing() {
    const MESSAGES: usize = 100_000;
    let rig = Rig::start(relp());
    let mut sender = Sender::connect(&rig);
    let mut writer = Sender { stream: sender.stream.try_clone().expect("a twin"), decoder: Decoder::new(limits()), txnr: 1 };
    let writing = thread::spawn(move || (0..MESSAGES).for_each(|n| writer.message(&n.to_string())));
    rig.bus.wait_for(10_000);
    for n in 0..MESSAGES {
        assert_eq!(sender.answer().map(|answer| answer.0), Some(n as u32 + 2));
    }
    writing.join().expect("wrote all");
    assert_eq!(rig.stop().len(), MESSAGES);
}

//! Sockets, with bytes that we write ourselves.

use std::collections::BTreeMap;
use std::io::Write;
use std::net::{TcpStream, UdpSocket};
use std::os::unix::net::{UnixDatagram, UnixStream};

use schemas::{ParseStatus, SourceKind, TimeSource};
use stream_runtime::source::Source;
use syslog::Config;
use syslog::host::HostFrom;

use super::{Rig, eventually, listening, messages};

#[test]
fn a_udp_datagram_is_one_record_with_all_its_fields() {
    let rig = Rig::start(listening());
    let sender = UdpSocket::bind("127.0.0.1:0").expect("a socket");
    let line = "<165>1 2024-05-01T12:00:00.5Z Web1 app 7 ID1 [a@1 k=\"v\"] grüße\n";
    sender.send_to(line.as_bytes(), rig.address(SourceKind::Udp)).expect("sends");
    let record = rig.bus.wait_for(1).remove(0);
    assert_eq!((record.host.as_str(), record.facility, record.severity), ("web1", Some(20), Some(5)));
    assert_eq!((record.app_name.as_deref(), record.proc_id.as_deref(), record.msg_id.as_deref()), (Some("app"), Some("7"), Some("ID1")));
    assert_eq!((record.event_time, record.time_source), (1_714_564_800_500_000, TimeSource::Message));
    assert_eq!(record.structured_data["a@1"]["k"], "v");
    assert_eq!((record.message(), record.message_text.as_deref()), ("grüße", None));
    assert_eq!(record.raw, line.as_bytes(), "raw is what came");
    assert_eq!((record.source.kind, record.source.peer.as_deref()), (SourceKind::Udp, Some("127.0.0.1")));
    assert_eq!((record.parse_status, record.truncated, record.attributes.len()), (ParseStatus::Rfc5424, false, 0));
    let status = rig.status(SourceKind::Udp);
    assert_eq!((status.records, status.bytes, status.drops), (1, line.len() as u64, 0));
    assert_eq!(status.last_seen, Some(record.observed_time));
    rig.stop();
}

#[test]
fn a_tcp_stream_may_mix_both_framings() {
    let rig = Rig::start(listening());
    let mut sender = TcpStream::connect(rig.address(SourceKind::Tcp)).expect("connects");
    sender.write_all(b"<13>Jan  1 00:00:00 h a: one\n11 <13>two\nlin<13>Jan  1 00:00:00 h a: three\n<13>four").expect("writes");
    drop(sender);
    assert_eq!(messages(&rig.bus.wait_for(4)), ["one", "two\nlin", "three", "four"]);
    rig.stop();
}

#[test]
fn unix_sockets_take_datagrams_and_streams() {
    let rig = Rig::start(Config { host_from: HostFrom::Message, ..listening() });
    let datagram = UnixDatagram::unbound().expect("a socket");
    datagram.send_to(b"<14>Jan  1 00:00:00 prog[3]: first\0", rig.socket("syslog.sock")).expect("sends");
    rig.bus.wait_for(1);
    UnixStream::connect(rig.socket("syslog-stream.sock")).expect("connects").write_all(b"<14>second\n").expect("writes");
    let records = rig.bus.wait_for(2);
    assert_eq!(messages(&records), ["first", "second"]);
    let this_host = rustix::system::uname().nodename().to_string_lossy().to_lowercase();
    assert!(records.iter().all(|r| r.host == this_host && r.source.kind == SourceKind::Unix && r.source.peer.is_none()));
    let sockets = [rig.socket("syslog.sock"), rig.socket("syslog-stream.sock")];
    assert!(sockets.iter().all(|path| path.exists()));
    rig.collector.stop();
    assert!(sockets.iter().all(|path| !path.exists()), "sockets go with the collector");
}

#[test]
fn the_host_is_named_by_message_peer_table_or_address() {
    let peers = BTreeMap::from([("127.0.0.1".parse().expect("an address"), "Switch1".to_owned())]);
    for (config, expected) in [
        (listening(), ["web1", "127.0.0.1"]),
        (Config { peers: peers.clone(), ..listening() }, ["web1", "switch1"]),
        (Config { peers, host_from: HostFrom::Peer, ..listening() }, ["switch1", "switch1"]),
    ] {
        let rig = Rig::start(config);
        let mut sender = TcpStream::connect(rig.address(SourceKind::Tcp)).expect("connects");
        sender.write_all(b"<13>1 - web1 a - - - x\n<13>1 - localhost a - - - y\n").expect("writes");
        let hosts: Vec<_> = rig.bus.wait_for(2).into_iter().map(|record| record.host).collect();
        assert_eq!(hosts, expected);
        rig.stop();
    }
}

#[test]
fn a_sender_that_runs_wild_is_limited_and_the_excess_counted() {
    let rig = Rig::start(Config { rate_per_peer_max: 10, ..listening() });
    let sender = UdpSocket::bind("127.0.0.1:0").expect("a socket");
    for _ in 0..500 {
        sender.send_to(b"<13>again", rig.address(SourceKind::Udp)).expect("sends");
    }
    eventually("all are counted", || {
        let status = rig.status(SourceKind::Udp);
        status.records + status.drops == 500
    });
    let (udp, bus) = (rig.status(SourceKind::Udp), rig.bus.clone());
    assert!((10..=100).contains(&udp.records), "{udp:?}");
    eventually("the loss is reported", || rig.lost() == [("rate_per_peer".to_owned(), udp.drops)]);
    rig.stop();
    assert_eq!(bus.len() as u64, udp.records);
}

#[test]
fn a_full_bus_stops_the_reading_and_loses_nothing() {
    const LINES: usize = 200_000;
    let rig = Rig::start(listening());
    rig.bus.set_full(true);
    let mut sender = TcpStream::connect(rig.address(SourceKind::Tcp)).expect("connects");
    let writer = std::thread::spawn(move || {
        let text = "x".repeat(100);
        for n in 0..LINES {
            writeln!(sender, "<13>1 - h a - - - {n} {text}").expect("writes");
        }
    });
    // The writer comes to a halt: the sockets' buffers and the queue are far smaller than what it wants to send.
    let mut seen = (0, 0);
    eventually("the reading stops", || {
        std::thread::sleep(std::time::Duration::from_millis(200));
        let records = rig.status(SourceKind::Tcp).records;
        seen = (seen.1, records);
        records > 0 && seen.0 == seen.1
    });
    assert!(!writer.is_finished() && (seen.1 as usize) < LINES, "{} lines were read into a full bus", seen.1);
    rig.bus.set_full(false);
    writer.join().expect("wrote all");
    let records = rig.bus.wait_for(LINES);
    for (n, record) in records.iter().enumerate() {
        assert!(record.message().starts_with(&format!("{n} ")), "line {n}: {}", record.message());
    }
    assert!(rig.bus.blocks() < LINES / 100, "lines go in blocks");
    rig.stop();
}

#[test]
fn stopping_publishes_what_was_read_and_what_had_arrived() {
    for _ in 0..5 {
        let rig = Rig::start(listening());
        let mut sender = TcpStream::connect(rig.address(SourceKind::Tcp)).expect("connects");
        let datagrams = UdpSocket::bind("127.0.0.1:0").expect("a socket");
        for n in 0..1_000 {
            writeln!(sender, "<13>{n}").expect("writes");
            if n < 100 {
                datagrams.send_to(b"<13>udp", rig.address(SourceKind::Udp)).expect("sends");
            }
        }
        // Known to be accepted: bytes of a connection that nobody has accepted are the kernel's to refuse.
        rig.bus.wait_for(1);
        eventually("the connection is read", || rig.status(SourceKind::Tcp).records > 0);
        let records = rig.stop();
        let of = |kind| records.iter().filter(|record| record.source.kind == kind).count();
        assert_eq!((of(SourceKind::Tcp), of(SourceKind::Udp)), (1_000, 100));
    }
}

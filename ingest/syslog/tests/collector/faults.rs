//! Senders as they should not be.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::os::unix::net::UnixDatagram;
use std::time::Duration;

use schemas::{ParseStatus, SourceKind};
use syslog::Config;

use super::relp::refused;
use super::{PATIENCE, Rig, eventually, listening, messages};

#[test]
fn a_frame_that_comes_byte_by_byte_for_too_long_is_published_damaged_and_its_connection_closed() {
    let rig = Rig::start(Config { frame_timeout_s: 1, ..listening() });
    let mut slow = TcpStream::connect(rig.address(SourceKind::Tcp)).expect("connects");
    let mut good = TcpStream::connect(rig.address(SourceKind::Tcp)).expect("connects");
    slow.write_all(b"<13>Jan  1 00:00:00 h app: whole\n100 <13>Jan  1 00:00:00 h app: ").expect("writes");
    // One byte every 100 ms keeps the connection busy, but not the frame young.
    let mut dripped = 0;
    while slow.write_all(b"x").is_ok() && dripped < 100 {
        dripped += 1;
        std::thread::sleep(Duration::from_millis(100));
    }
    assert!((5..60).contains(&dripped), "closed after {dripped} bytes");
    good.write_all(b"<13>others are not held up\n").expect("writes");
    let records = rig.bus.wait_for(3);
    let damaged = records.iter().find(|record| record.parse_status == ParseStatus::Damaged).expect("the half frame");
    assert!(damaged.message().starts_with("xxx"), "{damaged:?}");
    assert_eq!((damaged.host.as_str(), damaged.app_name.as_deref()), ("h", Some("app")), "its head is read all the same");
    assert_eq!(slow.read(&mut [0; 1]).unwrap_or(0), 0, "closed");
    rig.stop();
}

#[test]
fn a_line_of_ten_megabytes_is_cut_and_the_next_one_is_whole() {
    let rig = Rig::start(listening());
    let mut sender = TcpStream::connect(rig.address(SourceKind::Tcp)).expect("connects");
    let long = "ä".repeat(5 << 20);
    write!(sender, "<13>{long}\n<13>next\n9999999 <13>{long}").expect("writes");
    drop(sender);
    let records = rig.bus.wait_for(3);
    assert_eq!((records[0].raw.len(), records[0].truncated, records[1].message()), (65_536, true, "next"));
    assert_eq!(records[2].raw.len(), 65_536);
    rig.stop();
}

#[test]
fn a_message_above_the_limit_is_cut_between_characters() {
    let rig = Rig::start(Config { message_bytes_max: 1_001, ..listening() });
    let mut sender = TcpStream::connect(rig.address(SourceKind::Tcp)).expect("connects");
    writeln!(sender, "<13>1 - h a - - - {}", "ä".repeat(1_000)).expect("writes");
    let record = rig.bus.wait_for(1).remove(0);
    assert_eq!((record.message_length, record.message_text.as_deref(), record.truncated), (1_000, None, true));
    assert_eq!(record.raw.len(), record.message_start as usize + 1_000);
    rig.stop();
}

#[test]
fn nul_and_invalid_utf_8_are_kept_in_raw_and_shown_in_text() {
    let rig = Rig::start(listening());
    let sender = UdpSocket::bind("127.0.0.1:0").expect("a socket");
    let line = b"<13>1 - h a - - - a\0b\xff\xfec";
    sender.send_to(line, rig.address(SourceKind::Udp)).expect("sends");
    let record = rig.bus.wait_for(1).remove(0);
    assert_eq!((record.raw.as_slice(), record.message()), (&line[..], "a\0b\u{fffd}\u{fffd}c"));
    rig.stop();
}

#[test]
fn a_count_larger_than_what_follows_is_damaged_at_the_end() {
    let rig = Rig::start(listening());
    let mut sender = TcpStream::connect(rig.address(SourceKind::Tcp)).expect("connects");
    sender.write_all(b"99 <13>1 - h a - - - short").expect("writes");
    drop(sender);
    let record = rig.bus.wait_for(1).remove(0);
    assert_eq!((record.parse_status, record.message(), record.host.as_str()), (ParseStatus::Damaged, "short", "h"));
    rig.stop();
}

#[test]
fn structured_data_that_no_bus_carries_costs_its_fields_not_the_line() {
    let rig = Rig::start(listening());
    let mut sender = TcpStream::connect(rig.address(SourceKind::Tcp)).expect("connects");
    // Each invalid byte becomes three when unescaped: 180,000 bytes of raw, 540,000 of fields, and the text besides.
    let mut line = b"<13>1 - h a - - [x@1 v=\"".to_vec();
    line.extend(std::iter::repeat_n(0xff, 120_000));
    line.extend_from_slice(b"\"] ");
    line.extend(std::iter::repeat_n(0xff, 60_000));
    line.push(b'\n');
    sender.write_all(&line).expect("writes");
    let record = rig.bus.wait_for(1).remove(0);
    assert_eq!((record.raw.len(), record.message().chars().count()), (line.len() - 1, 60_000));
    rig.stop();
}

#[test]
fn a_flood_of_connections_is_refused_and_the_open_ones_are_served() {
    let rig = Rig::start(Config { connections_max: 8, ..listening() });
    let address = rig.address(SourceKind::Tcp);
    let mut open: Vec<TcpStream> = Vec::new();
    for n in 0..8 {
        open.push(TcpStream::connect(address).expect("connects"));
        writeln!(open[n], "<13>hello {n}").expect("writes");
        rig.bus.wait_for(n + 1);
    }
    for _ in 0..100 {
        let mut refused = TcpStream::connect(address).expect("connects");
        assert_eq!(refused.read(&mut [0; 1]).unwrap_or(0), 0, "closed at once");
    }
    let status = rig.status(SourceKind::Tcp);
    assert!(status.reason.contains("connections_max = 8") && status.refusals == [("connections_max".to_owned(), 100)].into(), "{status:?}");
    eventually("the refusals are counted", || refused(&rig, "connections_max") == 100);
    for sender in &mut open {
        sender.write_all(b"<13>still here\n").expect("writes");
    }
    rig.bus.wait_for(16);
    open.clear();
    eventually("there is room again", || {
        let mut again = TcpStream::connect(address).expect("connects");
        again.write_all(b"<13>again\n").is_ok() && messages(&rig.bus.records()).iter().any(|message| message == "again")
    });
    rig.stop();
}

/// A connection from one of loopback's many addresses.
fn connect_from(from: [u8; 4], to: SocketAddr) -> TcpStream {
    let socket = rustix::net::socket(rustix::net::AddressFamily::INET, rustix::net::SocketType::STREAM, None).expect("a socket");
    rustix::net::bind(&socket, &SocketAddr::from((from, 0))).expect("binds");
    rustix::net::connect(&socket, &to).expect("connects");
    let stream = TcpStream::from(socket);
    stream.set_read_timeout(Some(PATIENCE)).expect("is set");
    stream
}

#[test]
fn one_peer_cannot_take_all_connections() {
    let rig = Rig::start(Config { connections_max: 100, connections_per_peer_max: 3, ..listening() });
    let address = rig.address(SourceKind::Tcp);
    let mut greedy: Vec<TcpStream> = (0..3).map(|_| connect_from([127, 0, 0, 1], address)).collect();
    for sender in &mut greedy {
        sender.write_all(b"<13>greedy\n").expect("writes");
    }
    rig.bus.wait_for(3);
    for _ in 0..20 {
        assert_eq!(connect_from([127, 0, 0, 1], address).read(&mut [0; 1]).unwrap_or(0), 0, "closed at once");
    }
    connect_from([127, 0, 0, 2], address).write_all(b"<13>modest\n").expect("writes");
    assert_eq!(rig.bus.wait_for(4)[3].source.peer.as_deref(), Some("127.0.0.2"));
    eventually("the refusals are counted", || refused(&rig, "connections_per_peer_max") == 20);
    rig.stop();
}

#[test]
fn the_idlest_connection_gives_way_when_there_is_no_room() {
    let rig = Rig::start(Config { connections_max: 2, idle_timeout_s: 1, ..listening() });
    let address = rig.address(SourceKind::Tcp);
    let mut idle = connect_from([127, 0, 0, 1], address);
    idle.write_all(b"<13>idle\n").expect("writes");
    rig.bus.wait_for(1);
    let mut busy = connect_from([127, 0, 0, 2], address);
    eventually("a third one is served", || {
        busy.write_all(b"<13>busy\n").expect("the busy one stays");
        let _ = connect_from([127, 0, 0, 3], address).write_all(b"<13>third\n"); // it may be refused
        messages(&rig.bus.records()).iter().any(|text| text == "third")
    });
    assert_eq!(idle.read(&mut [0; 1]).unwrap_or(0), 0, "closed");
    busy.write_all(b"<13>still busy\n").expect("writes");
    eventually("the busy one is heard", || messages(&rig.bus.records()).iter().any(|text| text == "still busy"));
    rig.stop();
}

/// The kernel says how many datagrams it dropped; a socket that nobody reads for a moment is how it comes to that.
#[test]
fn datagrams_dropped_by_the_kernel_are_counted() {
    let rig = Rig::start(Config { udp_rcvbuf_bytes: 65_536, ..listening() });
    let address = rig.address(SourceKind::Udp);
    rig.bus.set_full(true);
    let sender = UdpSocket::bind("127.0.0.1:0").expect("a socket");
    let datagram = [b"<13>".as_slice(), &[b'x'; 1_000]].concat();
    let mut sent = 0_u64;
    // The reader stops when the queue is full; from then on the kernel's buffer fills and overflows.
    for _ in 0..20_000 {
        sent += u64::from(sender.send_to(&datagram, address).is_ok());
    }
    rig.bus.set_full(false);
    eventually("every datagram is a record or a loss", || {
        let status = rig.status(SourceKind::Udp);
        status.drops > 0 && status.records + status.drops == sent
    });
    let dropped = rig.status(SourceKind::Udp).drops;
    eventually("the loss is reported", || rig.lost() == [("receive_buffer_full".to_owned(), dropped)]);
    rig.stop();
}

#[test]
fn a_datagram_above_the_limit_is_cut() {
    let rig = Rig::start(Config { frame_bytes_max: 2_000, message_bytes_max: 500, ..listening() });
    let sender = UnixDatagram::unbound().expect("a socket");
    let datagram = [b"<13>".as_slice(), &[b'x'; 5_000]].concat();
    sender.send_to(&datagram, rig.socket("syslog.sock")).expect("sends");
    let record = rig.bus.wait_for(1).remove(0);
    assert_eq!((record.raw.len(), record.truncated), (500, true));
    rig.stop();
}

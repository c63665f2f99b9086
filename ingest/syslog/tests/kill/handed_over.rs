//! Sockets that a service manager keeps open: what is sent while the collector is being replaced waits for the next one.

use std::io::Write;
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::{UnixDatagram, UnixListener, UnixStream};
use std::process::{Command, Stdio};

use schemas::LogRecord;

use super::{Collector, PROGRAM};

const UPGRADES: usize = 10;

impl Collector {
    /// Starts it as systemd does, with these sockets as descriptors 3, 4 and 5. The shell has them where a process can be given
    /// any: as its standard streams.
    fn start_with(&mut self, sockets: [OwnedFd; 3]) {
        let [first, second, third] = sockets;
        let script = "exec env LISTEN_PID=$$ LISTEN_FDS=3 \"$@\" 3<&0 4<&1 5<&2 0</dev/null 1>/dev/null 2>/dev/null";
        let mut command = Command::new("sh");
        command.args(["-c", script, "sh", PROGRAM]).args(self.arguments());
        command.stdin(Stdio::from(first)).stdout(Stdio::from(second)).stderr(Stdio::from(third));
        self.child = Some(command.spawn().expect("starts"));
    }
}

fn twin(socket: &impl AsFd) -> OwnedFd {
    socket.as_fd().try_clone_to_owned().expect("a twin")
}

/// Those of `expected` that are not there.
fn missing(expected: &[String], records: &[LogRecord]) -> Vec<String> {
    expected.iter().filter(|text| !records.iter().any(|record| record.message() == *text)).cloned().collect()
}

#[test]
fn what_is_sent_over_the_network_during_an_upgrade_waits_for_the_next_collector() {
    let tcp = TcpListener::bind("127.0.0.1:0").expect("binds");
    let relp = TcpListener::bind("127.0.0.1:0").expect("binds");
    let udp = UdpSocket::bind("127.0.0.1:0").expect("binds");
    let address = |listener: &TcpListener| listener.local_addr().expect("an address");
    let udp_address = udp.local_addr().expect("an address");
    let section = format!("tcp = [\"{}\"]\nrelp = [\"{}\"]\nudp = [\"{udp_address}\"]", address(&tcp), address(&relp));
    let mut collector = Collector::new(&section);
    let mut expected = Vec::new();
    let mut opened = Vec::new();
    for upgrade in 0..UPGRADES {
        // Nobody runs. An open connection would be cut by the upgrade, which only RELP survives; what is sent now is not.
        UdpSocket::bind("127.0.0.1:0").expect("a sender").send_to(format!("<13>udp {upgrade}").as_bytes(), udp_address).expect("sends");
        writeln!(TcpStream::connect(address(&tcp)).expect("connects"), "<13>tcp {upgrade}").expect("sends");
        let mut session = TcpStream::connect(address(&relp)).expect("connects");
        let message = format!("<13>relp {upgrade}");
        write!(session, "1 open 0\n2 syslog {} {message}\n", message.len()).expect("sends");
        opened.push(session);
        expected.extend(["udp", "tcp", "relp"].map(|kind| format!("{kind} {upgrade}")));
        let start = |collector: &mut Collector| collector.start_with([twin(&tcp), twin(&relp), twin(&udp)]);
        let records = collector.settle(start, |records| missing(&expected, records));
        assert_eq!(records.len(), expected.len(), "each once");
    }
}

#[test]
fn what_programs_of_this_machine_say_during_an_upgrade_waits_too_and_the_names_of_the_sockets_stay() {
    let folder = tempfile::tempdir().expect("a folder");
    let (path, beside) = (folder.path().join("log.sock"), folder.path().join("log-stream.sock"));
    let (datagram, stream) = (UnixDatagram::bind(&path).expect("binds"), UnixListener::bind(&beside).expect("binds"));
    // Nobody configured this one. It is told in the status, and does no harm.
    let stray = TcpListener::bind("127.0.0.1:0").expect("binds");
    let mut collector = Collector::new(&format!("unix = [{path:?}]"));
    let mut expected = Vec::new();
    for upgrade in 0..UPGRADES {
        UnixDatagram::unbound().expect("a sender").send_to(format!("<13>datagram {upgrade}").as_bytes(), &path).expect("sends");
        writeln!(UnixStream::connect(&beside).expect("connects"), "<13>stream {upgrade}").expect("sends");
        expected.extend(["datagram", "stream"].map(|kind| format!("{kind} {upgrade}")));
        let start = |collector: &mut Collector| collector.start_with([twin(&datagram), twin(&stream), twin(&stray)]);
        let records = collector.settle(start, |records| missing(&expected, records));
        assert_eq!(records.len(), expected.len(), "each once");
        assert!(path.exists() && beside.exists());
    }
}

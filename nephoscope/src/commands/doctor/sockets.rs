//! The addresses that `up` wants: free, ours, or taken, and by whom.

use std::{
    fs,
    io::ErrorKind,
    net::{SocketAddr, TcpListener, UdpSocket},
};

use stream_runtime::config::ListenSettings;

use super::Finding;
use crate::holder::command_of;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Transport {
    Tcp,
    Udp,
}

impl Transport {
    fn name(self) -> &'static str {
        match self {
            Self::Tcp => "TCP",
            Self::Udp => "UDP",
        }
    }

    fn bind(self, address: SocketAddr) -> std::io::Result<()> {
        match self {
            Self::Tcp => TcpListener::bind(address).map(drop),
            Self::Udp => UdpSocket::bind(address).map(drop),
        }
    }

    fn tables(self) -> [&'static str; 2] {
        match self {
            Self::Tcp => ["/proc/net/tcp", "/proc/net/tcp6"],
            Self::Udp => ["/proc/net/udp", "/proc/net/udp6"],
        }
    }
}

/// The page, and what listens for logs and heartbeats.
pub fn ports(listen: &ListenSettings, syslog: &syslog::Config, heartbeat: &heartbeat::Config, instance: Option<u32>) -> Vec<Finding> {
    let mut findings = Vec::new();
    match listen.admin.parse() {
        Ok(address) => findings.push(port(Transport::Tcp, address, "page and API", "[listen] admin", instance)),
        Err(_) => findings.push(Finding::fail("page and API", format!("[listen] admin = {:?}", listen.admin), "expected ADDRESS:PORT")),
    }
    findings.extend(syslog.udp.iter().map(|address| port(Transport::Udp, *address, "syslog", "[syslog] udp", instance)));
    findings.extend(syslog.tcp.iter().map(|address| port(Transport::Tcp, *address, "syslog", "[syslog] tcp", instance)));
    findings.extend(syslog.relp.iter().map(|address| port(Transport::Tcp, *address, "RELP", "[syslog] relp", instance)));
    let tls = syslog.tls.iter().map(|listener| listener.address);
    findings.extend(tls.map(|address| port(Transport::Tcp, address, "syslog over TLS", "[[syslog.tls]] address", instance)));
    findings.extend(heartbeat.udp.iter().map(|address| port(Transport::Udp, *address, "heartbeats", "[heartbeat] udp", instance)));
    findings
}

fn port(transport: Transport, address: SocketAddr, purpose: &str, key: &str, instance: Option<u32>) -> Finding {
    let what = format!("{} {}", transport.name(), address.port());
    if address.port() == 0 {
        return Finding::ok(what, format!("{} gets any free port for {purpose}", address.ip()));
    }
    let error = match transport.bind(address) {
        Ok(()) => return Finding::ok(what, format!("{address} is free for {purpose}")),
        Err(error) => error,
    };
    if error.kind() != ErrorKind::AddrInUse {
        return Finding::fail(what, format!("{address} cannot be used for {purpose}: {error}"), format!("choose another in {key}"));
    }
    let owner = owner(transport, address.port());
    match owner {
        Some(pid) if Some(pid) == instance => Finding::ok(what, format!("{address} is the instance's, for {purpose}")),
        Some(pid) => {
            let found = format!("{address} is taken by process {pid} ({})", command_of(pid));
            Finding::fail(what, found, format!("stop that process, or choose another in {key}"))
        }
        None if instance.is_some() => {
            Finding::warn(what, format!("{address} is taken, by the instance or by another user's process"), "with sudo it can be told")
        }
        None => {
            Finding::fail(what, format!("{address} is taken by another process"), format!("sudo shows which; or choose another in {key}"))
        }
    }
}

/// The process that has the port open: the kernel's tables name the socket, the processes' descriptors name its owner.
fn owner(transport: Transport, port: u16) -> Option<u32> {
    let inodes: Vec<String> = transport.tables().iter().filter_map(|table| inode(&fs::read_to_string(table).ok()?, port)).collect();
    let links: Vec<String> = inodes.iter().map(|inode| format!("socket:[{inode}]")).collect();
    let pids = fs::read_dir("/proc").ok()?.flatten().filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    pids.into_iter().find(|pid| {
        let descriptors = fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
        let mut targets = descriptors.filter_map(|entry| fs::read_link(entry.path()).ok());
        targets.any(|target| target.to_str().is_some_and(|target| links.iter().any(|link| link == target)))
    })
}

/// The inode of the listening or receiving socket of a port, in a table of `/proc/net` (proc(5)): field 2 is the local
/// address, 3 the remote one, which is zero while nobody is connected, 10 the inode.
fn inode(table: &str, port: u16) -> Option<String> {
    table.lines().skip(1).find_map(|line| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let (local, remote) = (fields.get(1)?.rsplit_once(':')?, fields.get(2)?.rsplit_once(':')?);
        let is_meant = u16::from_str_radix(local.1, 16) == Ok(port) && u16::from_str_radix(remote.1, 16) == Ok(0);
        is_meant.then(|| fields.get(9).map(|inode| (*inode).to_string())).flatten()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &str = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n\
        0: 0100007F:1E14 0100007F:A0B2 01 00000000:00000000 00:00000000 00000000  1000 0 111 1\n\
        1: 0100007F:1E14 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1000 0 222 1\n";

    #[test]
    fn the_listening_socket_is_found_beside_its_connections() {
        assert_eq!(inode(TABLE, 7_700), Some("222".into()));
        assert_eq!(inode(TABLE, 7_701), None);
        assert_eq!(inode("head\nbroken 1 2\n", 7_700), None);
    }

    #[test]
    fn our_own_listener_is_known_as_ours() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("is bound");
        assert_eq!(owner(Transport::Tcp, address.port()), Some(std::process::id()));
        let finding = port(Transport::Tcp, address, "a test", "[a] key", Some(std::process::id()));
        assert_eq!(finding.verdict, super::super::Verdict::Ok);
        let finding = port(Transport::Tcp, address, "a test", "[a] key", None);
        assert_eq!(finding.verdict, super::super::Verdict::Fail);
        assert!(finding.found.contains(&std::process::id().to_string()), "{finding:?}");
    }
}

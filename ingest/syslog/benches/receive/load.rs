//! Senders: what they send is made beforehand, so that their own work is little and theirs alone.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use rustix::time::{ClockId, clock_gettime};
use rustls::client::WebPkiServerVerifier;
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{PrivateKeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use tempfile::TempDir;

pub(crate) const CONNECTIONS: usize = 4;
/// librelp's window.
const WINDOW: usize = 128;

/// How lines travel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Transport {
    Tcp,
    Tls,
    Relp,
    RelpTls,
}

impl Transport {
    pub(crate) const ALL: [Self; 4] = [Self::Tcp, Self::Tls, Self::Relp, Self::RelpTls];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Tcp => "TCP",
            Self::Tls => "TLS 1.3",
            Self::Relp => "RELP",
            Self::RelpTls => "RELP, TLS 1.3",
        }
    }

    pub(crate) fn is_relp(self) -> bool {
        matches!(self, Self::Relp | Self::RelpTls)
    }

    pub(crate) fn is_tls(self) -> bool {
        matches!(self, Self::Tls | Self::RelpTls)
    }
}

/// All that is sent, by connection, and certificates.
pub(crate) struct Load {
    lines: Vec<Vec<String>>,
    folder: TempDir,
    client: Arc<ClientConfig>,
}

impl Load {
    pub(crate) fn new(lines: usize) -> Self {
        let line = |n: usize| {
            format!(
                "<165>1 2024-11-24T12:00:{:02}.{:06}Z node{:03} nova-compute {:05} - - [instance: {n:016x}] VM Resumed (Lifecycle Event), \
                 I/O on blk device vda took {:06} ms",
                n / 7 % 60,
                n % 1_000_000,
                n % 200,
                n % 65_536,
                n % 999_983
            )
        };
        let by_connection = (0..CONNECTIONS).map(|k| (k..lines).step_by(CONNECTIONS).map(line).collect()).collect();
        let folder = tempfile::tempdir().expect("a folder");
        let mut params = CertificateParams::new(Vec::new()).expect("parameters");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, "bench CA"); // not the default of what it signs, which would look like itself
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().expect("a key")).expect("a CA");
        let key = KeyPair::generate().expect("a key");
        let name = CertificateParams::new(vec!["localhost".to_owned()]).expect("a name");
        let server = name.signed_by(&key, &issuer).expect("a certificate");
        for (name, text) in [("ca.pem", issuer.pem()), ("server.pem", server.pem()), ("server.key", key.serialize_pem())] {
            std::fs::write(folder.path().join(name), text).expect("writes");
        }
        let provider = Arc::new(ring::default_provider());
        let mut roots = RootCertStore::empty();
        roots.add(issuer.der().clone()).expect("a root");
        let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider.clone()).build().expect("a verifier");
        let builder = ClientConfig::builder_with_provider(provider).with_protocol_versions(&[&rustls::version::TLS13]).expect("a version");
        // rsyslogd's RELP does not do without; the same one serves.
        let own = PrivateKeyDer::from_pem_file(folder.path().join("server.key")).expect("a key");
        let client = builder.with_webpki_verifier(verifier).with_client_auth_cert(vec![server.der().clone()], own).expect("a pair");
        Self { lines: by_connection, folder, client: Arc::new(client) }
    }

    pub(crate) fn len(&self) -> usize {
        self.lines.iter().map(Vec::len).sum()
    }

    /// All are equally long.
    pub(crate) fn line_bytes(&self) -> usize {
        self.lines[0][0].len()
    }

    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Sends everything, each connection on a thread, and closes once all `has_arrived`: some receivers drop what they have not
    /// read when a sender closes. The CPU time of the senders.
    pub(crate) fn send(&self, transport: Transport, to: SocketAddr, has_arrived: impl Fn() -> bool + Sync) -> Duration {
        thread::scope(|scope| {
            let has_arrived = &has_arrived;
            let start = |lines| scope.spawn(move || self.connection(transport, to, lines, has_arrived));
            let senders: Vec<_> = self.lines.iter().map(|lines| start(lines)).collect();
            senders.into_iter().map(|sender| sender.join().expect("sends")).sum()
        })
    }

    fn connection(&self, transport: Transport, to: SocketAddr, lines: &[String], has_arrived: &dyn Fn() -> bool) -> Duration {
        let socket = TcpStream::connect(to).expect("connects");
        socket.set_nodelay(true).expect("is set");
        let name = ServerName::try_from("localhost").expect("a name");
        let mut stream: Box<dyn Stream> = match transport.is_tls() {
            true => Box::new(StreamOwned::new(ClientConnection::new(self.client.clone(), name).expect("a client"), socket)),
            false => Box::new(socket),
        };
        if transport.is_relp() {
            converse(stream.as_mut(), lines);
        } else {
            deliver(stream.as_mut(), lines);
        }
        while !has_arrived() {
            thread::sleep(Duration::from_millis(2));
        }
        let time = clock_gettime(ClockId::ThreadCPUTime);
        Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).unwrap_or(0))
    }
}

trait Stream: Read + Write {}
impl<S: Read + Write> Stream for S {}

fn deliver(stream: &mut dyn Stream, lines: &[String]) {
    for some in lines.chunks(200) {
        let bytes: Vec<u8> = some.iter().flat_map(|line| format!("{} {line}", line.len()).into_bytes()).collect();
        stream.write_all(&bytes).expect("writes");
    }
}

/// As librelp does: never more than a window ahead of the answers.
fn converse(stream: &mut dyn Stream, lines: &[String]) {
    stream.write_all(b"1 open 30 relp_version=0\ncommands=syslog\n").expect("writes");
    let mut chunk = [0; 16_384];
    let mut opening = Vec::new();
    while !opening.ends_with(b"commands=syslog\n") {
        let bytes = stream.read(&mut chunk).expect("an answer");
        assert!(bytes > 0, "closed");
        opening.extend_from_slice(&chunk[..bytes]);
    }
    let (mut sent, mut answered) = (0, 0);
    while answered < lines.len() {
        let ahead = lines.len().min(answered + WINDOW);
        let bytes: Vec<u8> =
            (sent..ahead).flat_map(|n| format!("{} syslog {} {}\n", n + 2, lines[n].len(), lines[n]).into_bytes()).collect();
        stream.write_all(&bytes).expect("writes");
        sent = ahead;
        let bytes = stream.read(&mut chunk).expect("answers");
        assert!(bytes > 0, "closed");
        answered += chunk[..bytes].iter().filter(|byte| **byte == b'\n').count();
    }
    stream.write_all(format!("{} close 0\n", lines.len() + 2).as_bytes()).expect("writes");
}

//! TLS: certificates made here, a sender written here, files that are wrong in every way.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, SystemTime};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::client::WebPkiServerVerifier;
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use schemas::{ParseStatus, SourceKind};
use stream_runtime::loss::Loss;
use stream_runtime::time::wall_clock;
use syslog::Config;
use syslog::collector::config::{ClientCertificate, TlsListener};
use syslog::collector::{Protocol, SourceState};
use tempfile::TempDir;

use super::bus::MemoryBus;
use super::relp::{Sender, refused};
use super::{PATIENCE, Rig, eventually, listening, messages, start};

/// A folder with a CA of its own.
pub(crate) struct Authority {
    folder: TempDir,
    issuer: CertifiedIssuer<'static, KeyPair>,
}

impl Authority {
    pub(crate) fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).expect("parameters");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(rcgen::DnType::CommonName, "test CA");
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().expect("a key")).expect("a CA");
        let folder = tempfile::tempdir().expect("a folder");
        fs::write(folder.path().join("ca.pem"), issuer.pem()).expect("writes");
        Self { folder, issuer }
    }

    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Writes `<file>.pem` and `<file>.key` for these names.
    pub(crate) fn issue(&self, file: &str, names: &[&str]) {
        self.issue_until(file, names, None);
    }

    /// The same, good until then.
    fn issue_until(&self, file: &str, names: &[&str], until: Option<SystemTime>) {
        let key = KeyPair::generate().expect("a key");
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut params = CertificateParams::new(names.clone()).expect("names");
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(rcgen::DnType::CommonName, names.first().map_or("nobody", String::as_str));
        if let Some(until) = until {
            params.not_after = until.into();
        }
        let certificate = params.signed_by(&key, &self.issuer).expect("a certificate");
        fs::write(self.file(&format!("{file}.pem")), certificate.pem()).expect("writes");
        fs::write(self.file(&format!("{file}.key")), key.serialize_pem()).expect("writes");
    }

    /// A listener with the certificate `server`.
    pub(crate) fn listener(&self) -> TlsListener {
        self.issue("server", &["localhost"]);
        TlsListener {
            address: "127.0.0.1:0".parse().expect("an address"),
            protocol: Protocol::Syslog,
            certificate: self.file("server.pem"),
            key: self.file("server.key"),
            client_ca: PathBuf::new(),
            client_certificate: ClientCertificate::Required,
            allow: Vec::new(),
        }
    }

    /// A sender's side, with its own certificate if it has one.
    fn client(&self, own: Option<(&Authority, &str)>, version: &'static rustls::SupportedProtocolVersion) -> ClientConfig {
        let provider = Arc::new(ring::default_provider());
        let mut roots = RootCertStore::empty();
        roots.add(self.issuer.der().clone()).expect("a root");
        let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider.clone()).build().expect("a verifier");
        let builder = ClientConfig::builder_with_provider(provider).with_protocol_versions(&[version]).expect("a version");
        let builder = builder.with_webpki_verifier(verifier);
        match own {
            None => builder.with_no_client_auth(),
            Some((authority, file)) => {
                let chain = vec![CertificateDer::from_pem_file(authority.file(&format!("{file}.pem"))).expect("a certificate")];
                let key = PrivateKeyDer::from_pem_file(authority.file(&format!("{file}.key"))).expect("a key");
                builder.with_client_auth_cert(chain, key).expect("a pair")
            }
        }
    }
}

type Secured = StreamOwned<ClientConnection, TcpStream>;

/// Connects; the handshake is done with the first bytes.
fn connect(rig: &Rig, kind: SourceKind, config: ClientConfig) -> Secured {
    let socket = TcpStream::connect(rig.address(kind)).expect("connects");
    socket.set_read_timeout(Some(PATIENCE)).expect("is set");
    let name = ServerName::try_from("localhost").expect("a name");
    StreamOwned::new(ClientConnection::new(Arc::new(config), name).expect("a client"), socket)
}

pub(crate) fn secured(listener: TlsListener) -> Config {
    Config { udp: Vec::new(), tcp: Vec::new(), tls: vec![listener], ..listening() }
}

/// Sends one line and closes in order; false if the other side would not have it.
fn deliver(rig: &Rig, config: ClientConfig, line: &str) -> bool {
    let mut sender = connect(rig, SourceKind::Tls, config);
    let is_sent = sender.write_all(line.as_bytes()).is_ok();
    sender.conn.send_close_notify();
    let _ = sender.flush();
    is_sent && matches!(sender.read(&mut [0; 1]), Ok(0))
}

const TLS_12: &rustls::SupportedProtocolVersion = &rustls::version::TLS12;
const TLS_13: &rustls::SupportedProtocolVersion = &rustls::version::TLS13;

#[test]
fn lines_arrive_over_both_versions_of_tls_in_both_framings() {
    let authority = Authority::new();
    let rig = Rig::start(secured(authority.listener()));
    for version in [TLS_12, TLS_13] {
        let before = rig.bus.len();
        let mut sender = connect(&rig, SourceKind::Tls, authority.client(None, version));
        sender.write_all(b"17 <13>1 - h a - - -<13>by lines\n").expect("writes");
        for n in 0..2_000 {
            let line = format!("<13>1 - h a - - - {n} {}", "x".repeat(n % 300));
            write!(sender, "{} {line}", line.len()).expect("writes");
        }
        drop(sender); // without a word: what is whole counts
        let records = rig.bus.wait_for(before + 2_002);
        let texts = messages(&records[before..]);
        assert_eq!((texts[0].as_str(), texts[1].as_str()), ("", "by lines"));
        assert!(texts[2..].iter().enumerate().all(|(n, text)| *text == format!("{n} {}", "x".repeat(n % 300))));
        assert!(records.iter().all(|r| r.source.kind == SourceKind::Tls && r.source.peer.as_deref() == Some("127.0.0.1")));
    }
    let status = rig.status(SourceKind::Tls);
    assert!(status.drops == 0 && status.refusals.is_empty(), "{status:?}");
    rig.stop();
}

#[test]
fn a_line_that_somebody_cut_off_is_damaged_and_one_that_was_ended_is_not() {
    let authority = Authority::new();
    let rig = Rig::start(secured(authority.listener()));
    assert!(deliver(&rig, authority.client(None, TLS_13), "<13>ended by the sender"));
    rig.bus.wait_for(1);
    let mut cut = connect(&rig, SourceKind::Tls, authority.client(None, TLS_13));
    cut.write_all(b"<13>cut").expect("writes");
    drop(cut);
    let records = rig.bus.wait_for(2);
    assert_eq!(messages(&records), ["ended by the sender", "cut"]);
    let damaged: Vec<bool> = records.iter().map(|record| record.parse_status == ParseStatus::Damaged).collect();
    assert_eq!(damaged, [false, true]);
    rig.stop();
}

#[test]
fn a_sender_shows_a_certificate_that_its_listener_knows() {
    let (authority, stranger) = (Authority::new(), Authority::new());
    authority.issue("web1", &["web1.example.org"]);
    stranger.issue("web1", &["web1.example.org"]);
    for version in [TLS_12, TLS_13] {
        for (client_certificate, without) in [(ClientCertificate::Required, false), (ClientCertificate::Optional, true)] {
            let listener = TlsListener { client_ca: authority.file("ca.pem"), client_certificate, ..authority.listener() };
            let rig = Rig::start(secured(listener));
            let deliver = |own| deliver(&rig, authority.client(own, version), "<13>x\n");
            assert!(deliver(Some((&authority, "web1"))), "its own");
            assert!(!deliver(Some((&stranger, "web1"))), "another CA's");
            assert_eq!(deliver(None), without, "none at all");
            let refusals = 2 - u64::from(without);
            eventually("refusals are counted", || refused(&rig, "tls_handshake") == refusals);
            assert_eq!(rig.status(SourceKind::Tls).refusals, [("tls_handshake".to_owned(), refusals)].into());
            rig.bus.wait_for(1 + usize::from(without));
            assert_eq!(rig.stop().len(), 1 + usize::from(without));
        }
    }
}

#[test]
fn the_allow_list_knows_senders_by_name_and_by_network() {
    let authority = Authority::new();
    authority.issue("web1", &["web1.example.org"]);
    authority.issue("db1", &["db1.internal"]);
    for (allow, expected) in [
        (&["web1.example.org"][..], [true, false]),
        (&["*.example.org"], [true, false]),
        (&["*.internal", "web1.example.org"], [true, true]),
        (&["127.0.0.0/8"], [true, true]),
        (&["10.0.0.0/8"], [false, false]),
        (&["10.0.0.0/8", "db1.internal"], [false, true]),
    ] {
        let allow: Vec<String> = allow.iter().map(|entry| (*entry).to_owned()).collect();
        let listener = TlsListener { client_ca: authority.file("ca.pem"), allow: allow.clone(), ..authority.listener() };
        let rig = Rig::start(secured(listener));
        for (name, is_allowed) in ["web1", "db1"].into_iter().zip(expected) {
            let before = refused(&rig, "not_allowed");
            let config = authority.client(Some((&authority, name)), TLS_13);
            // One that is refused after its handshake hears of it as an end; no line of it is taken.
            deliver(&rig, config, &format!("<13>{name}\n"));
            eventually("it is taken or refused", || {
                rig.bus.records().iter().any(|record| record.message() == name) || refused(&rig, "not_allowed") > before
            });
            assert_eq!(refused(&rig, "not_allowed") - before, u64::from(!is_allowed), "{name} by {allow:?}");
        }
        let came: Vec<bool> = ["web1", "db1"].map(|name| rig.bus.records().iter().any(|record| record.message() == name)).into();
        assert_eq!(came, expected, "{allow:?}");
        rig.stop();
    }
}

fn hang_up() {
    rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::HUP).expect("is sent");
}

fn certificate_of(sender: &Secured) -> Option<CertificateDer<'static>> {
    sender.conn.peer_certificates().and_then(|chain| chain.first().cloned())
}

#[test]
fn certificates_are_read_anew_on_a_signal_and_open_connections_go_on() {
    let authority = Authority::new();
    let rig = Rig::start(secured(authority.listener()));
    let client = || connect(&rig, SourceKind::Tls, authority.client(None, TLS_13));
    let mut old = client();
    old.write_all(b"<13>before\n").expect("writes");
    rig.bus.wait_for(1);

    authority.issue("server", &["localhost"]);
    let expected = CertificateDer::from_pem_file(authority.file("server.pem")).expect("a certificate");
    hang_up();
    eventually("new connections see the new certificate", || {
        let mut new = client();
        new.write_all(b"<13>new\n").is_ok() && certificate_of(&new).as_ref() == Some(&expected)
    });
    old.write_all(b"<13>the old connection goes on\n").expect("writes");
    eventually("its line arrives", || messages(&rig.bus.records()).iter().any(|text| text == "the old connection goes on"));

    fs::write(authority.file("server.key"), "not a key").expect("writes");
    hang_up();
    eventually("the status tells which file", || rig.status(SourceKind::Tls).reason.contains("server.key"));
    let status = rig.status(SourceKind::Tls);
    assert!(status.state == SourceState::Watching && status.reason.contains("old certificates stay in use"), "{status:?}");
    let mut still = client();
    still.write_all(b"<13>still served\n").expect("writes");
    assert_eq!(certificate_of(&still), Some(expected));
    rig.stop();
}

#[test]
fn a_certificate_that_ends_is_told_until_it_is_renewed() {
    let authority = Authority::new();
    let rig = Rig::start(secured(authority.listener()));
    let reason = || rig.status(SourceKind::Tls).reason;
    assert_eq!(reason(), "", "a good one needs no words");
    let now = SystemTime::UNIX_EPOCH + Duration::from_micros(wall_clock().micros().unsigned_abs());
    let (soon, past) = (now + Duration::from_secs(15 * 86_400 + 60), now - Duration::from_secs(60));
    for (until, expected) in [(Some(soon), "in 15 days"), (Some(past), "the certificate expired on"), (None, "")] {
        authority.issue_until("server", &["localhost"], until);
        hang_up();
        eventually(expected, || if expected.is_empty() { reason().is_empty() } else { reason().contains(expected) });
    }
    rig.stop();
}

#[test]
fn files_that_do_not_serve_are_named_with_what_was_expected() {
    let authority = Authority::new();
    let good = authority.listener();
    authority.issue("other", &["localhost"]);
    fs::write(authority.file("empty"), "").expect("writes");
    fs::write(authority.file("locked.key"), "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n")
        .expect("writes");
    fs::write(authority.file("broken.pem"), "-----BEGIN CERTIFICATE-----\n!!!\n-----END CERTIFICATE-----\n").expect("writes");
    fs::write(authority.file("noise.pem"), "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n").expect("writes");
    let refused = |listener: TlsListener, expected: &[&str]| {
        let error = start(&MemoryBus::default(), secured(listener), authority.file("").as_path(), &Loss::default()).expect_err("refused");
        assert!(expected.iter().all(|part| error.contains(part)), "{expected:?} in {error}");
    };
    let file = |name: &str| authority.file(name);
    refused(TlsListener { certificate: file("absent.pem"), ..good.clone() }, &["certificate = ", "absent.pem", "expected a file"]);
    refused(TlsListener { certificate: file("empty"), ..good.clone() }, &["certificate = ", "empty", "expected PEM cert", "0 bytes"]);
    refused(TlsListener { certificate: file("server.key"), ..good.clone() }, &["certificate = ", "found PRIVATE KEY"]);
    refused(TlsListener { certificate: file("broken.pem"), ..good.clone() }, &["certificate = ", "broken.pem"]);
    refused(TlsListener { certificate: file("noise.pem"), ..good.clone() }, &["certificate = ", "noise.pem"]);
    refused(TlsListener { key: file("server.pem"), ..good.clone() }, &["key = ", "without a passphrase", "found CERTIFICATE"]);
    refused(TlsListener { key: file("locked.key"), ..good.clone() }, &["key = ", "found ENCRYPTED PRIVATE KEY"]);
    refused(TlsListener { key: file("other.key"), ..good.clone() }, &["key = ", "other.key", "server.pem", "found another one"]);
    refused(TlsListener { client_ca: file("empty"), ..good.clone() }, &["client_ca = ", "empty"]);
    refused(TlsListener { client_ca: file("noise.pem"), ..good.clone() }, &["client_ca = ", "noise.pem"]);
    refused(TlsListener { allow: vec!["10.0.0.0/33".into()], ..good.clone() }, &["[[syslog.tls]] allow"]);
    refused(TlsListener { allow: vec!["web1.example.org".into()], ..good.clone() }, &["allow", "expected client_ca"]);
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    refused(TlsListener { address: taken.local_addr().expect("an address"), ..good }, &["in use"]);
}

#[test]
fn a_handshake_that_drips_or_is_none_ends_and_holds_nobody_up() {
    let authority = Authority::new();
    let rig = Rig::start(Config { frame_timeout_s: 1, ..secured(authority.listener()) });
    let mut slow = TcpStream::connect(rig.address(SourceKind::Tls)).expect("connects");
    // The header of a record of 512 bytes, of which one comes every 100 ms.
    slow.write_all(&[0x16, 0x03, 0x01, 0x02, 0x00]).expect("writes");
    let mut plain = TcpStream::connect(rig.address(SourceKind::Tls)).expect("connects");
    plain.write_all(b"<13>somebody forgot to switch TLS on\n").expect("writes");
    let _ = plain.read_to_end(&mut Vec::new()); // an alert, then the end
    assert!(deliver(&rig, authority.client(None, TLS_13), "<13>served meanwhile\n"));
    let mut dripped = 0;
    while dripped < 100 && slow.write_all(&[1]).is_ok() {
        dripped += 1;
        thread::sleep(Duration::from_millis(100));
    }
    assert!((5..60).contains(&dripped), "closed after {dripped} bytes");
    eventually("both are counted", || refused(&rig, "tls_handshake") == 2);
    assert_eq!(messages(&rig.stop()), ["served meanwhile"]);
}

#[test]
fn relp_goes_through_tls_too() {
    let authority = Authority::new();
    authority.issue("web1", &["web1.example.org"]);
    let listener = TlsListener {
        protocol: Protocol::Relp,
        client_ca: authority.file("ca.pem"),
        allow: vec!["*.example.org".into()],
        ..authority.listener()
    };
    let rig = Rig::start(secured(listener));
    for version in [TLS_12, TLS_13] {
        let before = rig.bus.len();
        let mut sender = Sender::open(connect(&rig, SourceKind::Relp, authority.client(Some((&authority, "web1")), version)));
        for n in 0..1_000 {
            sender.message(&n.to_string());
            if n % 100 == 99 {
                for txnr in n - 97..=n + 2 {
                    assert_eq!(sender.answer(), Some((txnr, "200 OK".into())));
                }
                assert!(rig.bus.len() - before > n as usize, "answered when the bus has it");
            }
        }
        sender.send("close", b"");
        assert_eq!(sender.answer(), Some((1_002, "200 OK".into())));
        assert_eq!(sender.answer(), Some((0, "serverclose".into())));
    }
    assert_eq!(rig.stop().len(), 2_000);
}

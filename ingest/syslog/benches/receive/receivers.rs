//! Who receives: the collector within this process, and rsyslogd as a process of its own.

use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};
use schemas::SourceKind;
use stream_runtime::bus::Bus;
use stream_runtime::config::Backend;
use stream_runtime::embedded::{EmbeddedBus, EmbeddedConfig};
use stream_runtime::layout::{self, LayoutSettings};
use stream_runtime::loss::Loss;
use stream_runtime::publish::Open;
use stream_runtime::source::{Source, SourceContext};
use syslog::collector::Protocol;
use syslog::collector::config::{Choice, ClientCertificate, TlsListener};
use syslog::{Collector, Config};

use super::Cost;
use super::load::{Load, Transport};

/// Receives a load, once.
pub(crate) trait Receiver {
    fn name(&self) -> &'static str;

    /// None if it is not installed.
    fn receive(&self, transport: Transport, load: &Load) -> Option<Cost>;
}

fn time(clock: ClockId) -> Duration {
    let time = clock_gettime(clock);
    Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).unwrap_or(0))
}

/// The collector on the embedded bus, as `nephoscope-syslog` runs it.
pub(crate) struct Ours;

impl Receiver for Ours {
    fn name(&self) -> &'static str {
        "ours"
    }

    fn receive(&self, transport: Transport, load: &Load) -> Option<Cost> {
        let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder");
        let bus = EmbeddedBus::open(folder.path(), EmbeddedConfig::default()).expect("opens");
        bus.ensure_topics(&layout::specs(Backend::Embedded, &LayoutSettings::default())).expect("makes topics");
        let free: SocketAddr = "127.0.0.1:0".parse().expect("an address");
        let tls = TlsListener {
            address: free,
            protocol: if transport.is_relp() { Protocol::Relp } else { Protocol::Syslog },
            certificate: load.file("server.pem"),
            key: load.file("server.key"),
            client_ca: Default::default(),
            client_certificate: ClientCertificate::Optional,
            allow: Vec::new(),
        };
        let config =
            Config { sources: Choice::Listed, udp: vec![], tcp: vec![], unix: vec![], timezone: "UTC".into(), ..Config::default() };
        let (config, kind) = match transport {
            Transport::Tcp => (Config { tcp: vec![free], ..config }, SourceKind::Tcp),
            Transport::Relp => (Config { relp: vec![free], ..config }, SourceKind::Relp),
            Transport::Tls => (Config { tls: vec![tls], ..config }, SourceKind::Tls),
            Transport::RelpTls => (Config { tls: vec![tls], ..config }, SourceKind::Relp),
        };
        let open_bus = bus.clone();
        let publisher: Open = Box::new(move || open_bus.publisher("syslog"));
        let context = SourceContext { publisher, spooled: None, publish_ms: 10, data_dir: folder.path().to_owned(), loss: Loss::default() };
        let collector = Collector::start(config, context).expect("starts");
        let source = || collector.status().into_iter().find(|source| source.kind == kind).expect("listens");
        let address = source().name.parse().expect("an address");
        let (cpu, wall) = (time(ClockId::ProcessCPUTime), time(ClockId::Monotonic));
        let senders = load.send(transport, address, || source().records >= load.len() as u64);
        assert!(source().drops == 0 && source().refusals.is_empty(), "{:?}", source());
        collector.stop(); // everything is on the bus then
        let cost = Cost { cpu: time(ClockId::ProcessCPUTime) - cpu - senders, wall: time(ClockId::Monotonic) - wall };
        bus.close();
        Some(cost)
    }
}

/// rsyslogd with its input modules, its queue and its parser, writing each line to a file.
pub(crate) struct Rsyslogd;

impl Receiver for Rsyslogd {
    fn name(&self) -> &'static str {
        "rsyslogd"
    }

    fn receive(&self, transport: Transport, load: &Load) -> Option<Cost> {
        let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder");
        let (config, output) = (folder.path().join("rsyslog.conf"), folder.path().join("out.log"));
        let port = TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("an address").port();
        let file = |name: &str| load.file(name).display().to_string();
        let input = match transport {
            Transport::Tcp => {
                format!("module(load=\"imptcp\")\ninput(type=\"imptcp\" address=\"127.0.0.1\" port=\"{port}\" ruleset=\"out\")")
            }
            Transport::Tls => format!(
                "module(load=\"imtcp\" StreamDriver.Name=\"ossl\" StreamDriver.Mode=\"1\" StreamDriver.AuthMode=\"anon\")\n\
                 input(type=\"imtcp\" address=\"127.0.0.1\" port=\"{port}\" ruleset=\"out\")"
            ),
            Transport::Relp => {
                format!("module(load=\"imrelp\")\ninput(type=\"imrelp\" address=\"127.0.0.1\" port=\"{port}\" ruleset=\"out\")")
            }
            Transport::RelpTls => format!(
                "module(load=\"imrelp\" tls.tlslib=\"openssl\")\ninput(type=\"imrelp\" address=\"127.0.0.1\" port=\"{port}\" ruleset=\"out\" tls=\"on\" \
                 tls.authMode=\"certvalid\" tls.caCert=\"{}\" tls.myCert=\"{}\" tls.myPrivKey=\"{}\")",
                file("ca.pem"),
                file("server.pem"),
                file("server.key")
            ),
        };
        let text = format!(
            "global(workDirectory=\"{}\" DefaultNetstreamDriverCAFile=\"{}\" DefaultNetstreamDriverCertFile=\"{}\" DefaultNetstreamDriverKeyFile=\"{}\")\n\
             template(name=\"raw\" type=\"string\" string=\"%rawmsg%\\n\")\n\
             ruleset(name=\"out\") {{ action(type=\"omfile\" file=\"{}\" template=\"raw\" ioBufferSize=\"64k\") }}\n{input}\n",
            folder.path().display(),
            file("ca.pem"),
            file("server.pem"),
            file("server.key"),
            output.display()
        );
        fs::write(&config, text).expect("writes");
        let pid_file = folder.path().join("pid");
        let child = Command::new("rsyslogd")
            .args(["-n", "-f", &config.display().to_string(), "-i", &pid_file.display().to_string()])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        let process = Process(child.ok()?);
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        let mut tries = 0;
        while std::net::TcpStream::connect(address).is_err() {
            tries += 1;
            if tries > 300 {
                eprintln!("SKIPPED: rsyslogd does not listen for {}", transport.name());
                return None;
            }
            thread::sleep(Duration::from_millis(10));
        }
        let (cpu, wall) = (process.cpu(), time(ClockId::Monotonic));
        let expected = (load.len() * (load.line_bytes() + 1)) as u64;
        load.send(transport, address, || {
            assert!(time(ClockId::Monotonic) - wall < Duration::from_secs(60), "rsyslogd wrote too little");
            fs::metadata(&output).is_ok_and(|metadata| metadata.len() >= expected)
        });
        Some(Cost { cpu: process.cpu() - cpu, wall: time(ClockId::Monotonic) - wall })
    }
}

/// Ended by its own handle.
struct Process(Child);

impl Process {
    /// User and system time, fields 14 and 15 of `/proc/PID/stat` (proc(5)), in ticks of 10 ms.
    fn cpu(&self) -> Duration {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.0.id())).expect("it runs");
        let after_name = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
        let ticks: u64 = after_name.split_whitespace().skip(11).take(2).filter_map(|field| field.parse::<u64>().ok()).sum();
        Duration::from_millis(ticks * 10)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

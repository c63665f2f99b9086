//! What is there to be watched on this machine, and what is not.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use jiff::tz::TimeZone;
use schemas::SourceKind;

use super::blocks::{Closed, Queue};
use super::config::{Choice, Config, DATA_DIR, Switch, TlsListener};
use super::connections::{ConnectionLimits, Connections, Listener};
use super::cursor::Positions;
use super::datagram::{Datagram, Datagrams, enlarge_buffer};
use super::files::FileSet;
use super::inherited::Inherited;
use super::journald::{self, Journal, Journalctl};
use super::kernel::{self, KernelRing};
use super::lines::LineLimits;
use super::listener::{stream_path, tcp, udp, unix_datagram, unix_stream};
use super::rate::RateLimit;
use super::reread::{Past, Reread};
use super::status::{SourceGauge, SourceState, Watch};
use super::stream::{Protocol, Reader};
use super::tail::{KEY_PREFIX, TailSpec};
use super::tls::Gate;
use super::{StartError, Stop, clock};
use crate::frame::FrameLimits;
use crate::host::HostRule;
use crate::record::Recorder;

/// Where syslog daemons write, followed when there is no journal.
const SYSTEM_FILES: [&str; 3] = ["/var/log/syslog", "/var/log/messages", "/var/log/auth.log"];
/// Followed when there is neither a journal nor the ring, which hold the same lines.
const KERNEL_FILE: &str = "/var/log/kern.log";
const HOUR_US: i64 = 3_600_000_000;

/// A listener, to be run on a thread of its own until it is time to stop.
pub(crate) type Task = Box<dyn FnOnce(&Queue, &Stop) -> Result<(), Closed> + Send>;

/// What this machine writes itself.
pub(crate) struct Local {
    pub(crate) reread: Vec<Box<dyn Reread>>,
    /// Lines written from here on are new.
    pub(crate) present_us: i64,
}

/// Opens the sockets that the configuration means. What cannot be opened is a blind spot if it was only looked for, and an error
/// if it was asked for by name.
pub(crate) fn listeners(config: &Config, data_dir: &Path, watch: &Watch) -> Result<Vec<Task>, StartError> {
    let mut opening = Listening {
        sources: Opening::new(config, watch)?,
        inherited: Inherited::take(),
        rate: Arc::new(RateLimit::new(config.rate_per_peer_max)),
        listeners: Vec::new(),
    };
    let (defaults, by_name) = (Config::default(), config.sources == Choice::Listed);
    for address in &config.udp {
        opening.udp(*address, by_name || config.udp != defaults.udp)?;
    }
    for address in &config.tcp {
        opening.tcp(*address, by_name || config.tcp != defaults.tcp)?;
    }
    for address in &config.relp {
        opening.relp(*address)?;
    }
    for listener in &config.tls {
        opening.tls(listener)?;
    }
    for path in &config.unix {
        let path = path.strip_prefix(DATA_DIR).map_or_else(|_| path.clone(), |rest| data_dir.join(rest));
        opening.unix(&path, by_name || config.unix != defaults.unix)?;
    }
    for (kind, name) in opening.inherited.unclaimed() {
        let reason = "the service manager keeps it open, but no listener of [syslog] has this address: nobody reads what is sent there";
        opening.sources.refused(kind, &name, &reason, false)?;
    }
    Ok(opening.listeners)
}

/// Opens journal, kernel ring and files, from where they had been read to; under the same rule.
pub(crate) fn local(config: &Config, watch: &Watch, positions: &Positions) -> Result<Local, StartError> {
    let present_us = clock::now_us();
    let past = Past { since_us: present_us - i64::from(config.backfill_h) * HOUR_US, until_us: present_us };
    let mut opening = Reading { sources: Opening::new(config, watch)?, positions, past, reread: Vec::new() };
    opening.open()?;
    Ok(Local { reread: opening.reread, present_us })
}

/// What every source needs.
struct Opening<'a> {
    config: &'a Config,
    watch: &'a Watch,
    hosts: HostRule,
    local_host: String,
    zone: TimeZone,
}

struct Listening<'a> {
    sources: Opening<'a>,
    inherited: Inherited,
    rate: Arc<RateLimit>,
    listeners: Vec<Task>,
}

struct Reading<'a> {
    sources: Opening<'a>,
    positions: &'a Positions,
    past: Past,
    reread: Vec<Box<dyn Reread>>,
}

impl Listening<'_> {
    fn udp(&mut self, address: SocketAddr, is_asked_for: bool) -> Result<(), StartError> {
        match udp(address, &mut self.inherited) {
            Ok(socket) => {
                let name = socket.local_addr().unwrap_or(address).to_string();
                self.datagrams(SourceKind::Udp, &name, socket, ());
                Ok(())
            }
            Err(error) => self.sources.refused(SourceKind::Udp, &address.to_string(), &error, is_asked_for),
        }
    }

    fn tcp(&mut self, address: SocketAddr, is_asked_for: bool) -> Result<(), StartError> {
        match tcp(address, &mut self.inherited) {
            Ok(listener) => {
                let name = listener.local_addr().unwrap_or(address).to_string();
                self.stream(SourceKind::Tcp, Protocol::Syslog, &name, listener, None, ());
                Ok(())
            }
            Err(error) => self.sources.refused(SourceKind::Tcp, &address.to_string(), &error, is_asked_for),
        }
    }

    fn relp(&mut self, address: SocketAddr) -> Result<(), StartError> {
        match tcp(address, &mut self.inherited) {
            Ok(listener) => {
                let name = listener.local_addr().unwrap_or(address).to_string();
                self.stream(SourceKind::Relp, Protocol::Relp, &name, listener, None, ());
                Ok(())
            }
            Err(error) => self.sources.refused(SourceKind::Relp, &address.to_string(), &error, true),
        }
    }

    fn tls(&mut self, listener: &TlsListener) -> Result<(), StartError> {
        let kind = match listener.protocol {
            Protocol::Syslog => SourceKind::Tls,
            Protocol::Relp => SourceKind::Relp,
        };
        let gate = Gate::open(listener, listener.allow_list()?)?;
        match tcp(listener.address, &mut self.inherited) {
            Ok(socket) => {
                let name = socket.local_addr().unwrap_or(listener.address).to_string();
                self.stream(kind, listener.protocol, &name, socket, Some(gate), ());
                Ok(())
            }
            Err(error) => self.sources.refused(kind, &listener.address.to_string(), &error, true),
        }
    }

    fn unix(&mut self, path: &Path, is_asked_for: bool) -> Result<(), StartError> {
        let name = path.display().to_string();
        match unix_datagram(path, &mut self.inherited) {
            Ok((socket, file)) => self.datagrams(SourceKind::Unix, &name, socket, file),
            Err(error) => self.sources.refused(SourceKind::Unix, &name, &error, is_asked_for)?,
        }
        let path = stream_path(path);
        let name = path.display().to_string();
        match unix_stream(&path, &mut self.inherited) {
            Ok((listener, file)) => self.stream(SourceKind::Unix, Protocol::Syslog, &name, listener, None, file),
            Err(error) => self.sources.refused(SourceKind::Unix, &name, &error, is_asked_for)?,
        }
        Ok(())
    }

    /// `keep` lives as long as the socket.
    fn datagrams(&mut self, kind: SourceKind, name: &str, socket: impl Datagrams + 'static, keep: impl Send + 'static) {
        let gauge = self.sources.watch.add(kind, name, SourceState::Watching, "");
        if let Err(reason) = enlarge_buffer(&socket, self.sources.config.udp_rcvbuf_bytes) {
            gauge.set(SourceState::Watching, reason);
        }
        let (recorder, limits, rate) = (self.sources.recorder(kind, name), self.sources.frame_limits(), self.rate.clone());
        let datagram = Datagram { socket, recorder, gauge, limits, rate };
        self.listeners.push(Box::new(move |queue, stop| {
            let outcome = datagram.run(queue.outlet(), stop);
            drop(keep);
            outcome
        }));
    }

    fn stream(
        &mut self,
        kind: SourceKind,
        protocol: Protocol,
        name: &str,
        listener: impl Listener,
        gate: Option<Gate>,
        keep: impl Send + 'static,
    ) {
        let reader = Arc::new(Reader {
            protocol,
            gate,
            recorder: self.sources.recorder(kind, name),
            gauge: self.sources.watch.add(kind, name, SourceState::Watching, ""),
            limits: self.sources.frame_limits(),
            frame_timeout: Duration::from_secs(self.sources.config.frame_timeout_s.into()),
            rate: self.rate.clone(),
        });
        let limits = ConnectionLimits {
            connections_max: self.sources.config.connections_max,
            per_peer_max: self.sources.config.connections_per_peer_max,
            idle: Duration::from_secs(self.sources.config.idle_timeout_s.into()),
        };
        let connections = Connections { listener, reader, limits };
        self.listeners.push(Box::new(move |queue, stop| {
            connections.run(queue, stop);
            drop(keep);
            Ok(())
        }));
    }
}

impl Reading<'_> {
    /// Each line of this machine once.
    fn open(&mut self) -> Result<(), StartError> {
        let is_auto = self.sources.config.sources == Choice::Auto;
        let wanted = |switch| switch == Switch::On || (switch == Switch::Auto && is_auto);
        let has_journal = wanted(self.sources.config.journal) && self.journal()?;
        let ring_is_wanted = self.sources.config.kmsg == Switch::On || (wanted(self.sources.config.kmsg) && !has_journal);
        let has_ring = ring_is_wanted && self.kernel()?;
        let mut patterns = self.sources.config.files.clone();
        if is_auto && !has_journal {
            patterns.extend(SYSTEM_FILES.map(str::to_owned));
            patterns.extend((!has_ring).then(|| KERNEL_FILE.to_owned()));
        }
        self.files(patterns)
    }

    fn journal(&mut self) -> Result<bool, StartError> {
        let journalctl = Journalctl::default();
        if let Err(reason) = journalctl.probe() {
            self.sources.refused(SourceKind::Journal, journald::KEY, &reason, self.sources.config.journal == Switch::On)?;
            return Ok(false);
        }
        let recorder = self.sources.recorder(SourceKind::Journal, journald::KEY);
        let gauge = self.sources.catching_up(SourceKind::Journal, journald::KEY);
        let position = self.positions.get(journald::KEY);
        self.reread.push(Box::new(Journal::new(journalctl, recorder, gauge, position, self.past)));
        Ok(true)
    }

    fn kernel(&mut self) -> Result<bool, StartError> {
        let opened = kernel::open().and_then(|device| Ok((device, kernel::boot_id().map_err(|error| error.to_string())?)));
        let (device, boot_id) = match opened {
            Ok(opened) => opened,
            Err(reason) => {
                self.sources.refused(SourceKind::Kmsg, kernel::DEVICE, &reason, self.sources.config.kmsg == Switch::On)?;
                return Ok(false);
            }
        };
        let recorder = self.sources.recorder(SourceKind::Kmsg, kernel::DEVICE);
        let gauge = self.sources.catching_up(SourceKind::Kmsg, kernel::DEVICE);
        let position = self.positions.get(kernel::KEY);
        self.reread.push(Box::new(KernelRing::new(device, boot_id, recorder, gauge, position, self.past)));
        Ok(true)
    }

    fn files(&mut self, patterns: Vec<String>) -> Result<(), StartError> {
        let spec = TailSpec {
            recorder: self.sources.recorder(SourceKind::File, ""),
            limits: LineLimits {
                line_bytes_max: self.sources.config.frame_bytes_max,
                head_bytes_max: self.sources.config.message_bytes_max,
            },
            start: self.sources.config.multiline_start()?,
            past: self.past,
        };
        let positions = self.positions.iter().filter(|(key, _)| key.starts_with(KEY_PREFIX));
        let positions = positions.map(|(key, position)| (key.clone(), position.clone())).collect();
        self.reread.push(Box::new(FileSet::new(patterns, spec, self.sources.watch.clone(), positions)));
        Ok(())
    }
}

impl<'a> Opening<'a> {
    fn new(config: &'a Config, watch: &'a Watch) -> Result<Self, StartError> {
        let local_host = rustix::system::uname().nodename().to_string_lossy().into_owned();
        Ok(Self { config, watch, hosts: config.host_rule(), local_host, zone: config.zone()? })
    }

    fn catching_up(&self, kind: SourceKind, name: &str) -> SourceGauge {
        self.watch.add(kind, name, SourceState::CatchingUp, "")
    }

    fn refused(&self, kind: SourceKind, name: &str, reason: &impl ToString, is_asked_for: bool) -> Result<(), StartError> {
        if is_asked_for {
            return Err(StartError::Source { name: name.to_owned(), reason: reason.to_string() });
        }
        let reason = reason.to_string();
        tracing::warn!(source = name, reason, "source cannot be seen");
        self.watch.add(kind, name, SourceState::Blind, reason);
        Ok(())
    }

    fn recorder(&self, kind: SourceKind, name: &str) -> Recorder {
        Recorder {
            kind,
            name: name.to_owned(),
            hosts: self.hosts.clone(),
            local_host: self.local_host.clone(),
            zone: self.zone.clone(),
            message_bytes_max: self.config.message_bytes_max,
        }
    }

    fn frame_limits(&self) -> FrameLimits {
        FrameLimits { frame_bytes_max: self.config.frame_bytes_max, head_bytes_max: self.config.message_bytes_max }
    }
}

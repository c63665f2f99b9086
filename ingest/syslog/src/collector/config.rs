//! `[syslog]`: what an operator may set, each default with its reason.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use jiff::tz::TimeZone;
use regex::bytes::Regex;
use serde::{Deserialize, Serialize};

use super::stream::Protocol;
use super::tls::{AllowError, AllowList};
use crate::host::{HostFrom, HostRule};

/// Stands for the data directory in [`Config::unix`].
pub const DATA_DIR: &str = "<data_dir>";

/// The largest [`Config::message_bytes_max`]: with all its fields a record must stay below what every bus carries.
pub const MESSAGE_BYTES_LIMIT: usize = 262_144;

/// What is watched of this machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Choice {
    /// What is there and readable; what is not is reported as not seen.
    #[default]
    Auto,
    /// Only what is named. Whatever of it cannot be watched is an error.
    Listed,
}

/// Whether a source of this machine is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Switch {
    /// With `sources = "auto"`: if it is readable and not a copy of another source; else not.
    #[default]
    Auto,
    /// Yes; an error if it cannot be read.
    On,
    /// No.
    Off,
}

/// `[syslog.multiline]`: messages of several lines, in files only.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Multiline {
    /// A regular expression; a line that it does not match continues the one before. Off (empty) by default: a wrong pattern
    /// glues everything together.
    pub start: String,
}

/// Whether senders over TLS must show a certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ClientCertificate {
    /// Yes. Who names a CA of his senders means to know them.
    #[default]
    Required,
    /// Only if they have one; it must be good then.
    Optional,
}

/// `[[syslog.tls]]`: one listener over TLS (RFC 5425), usually on port 6514.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TlsListener {
    /// Where it listens.
    pub address: SocketAddr,
    /// `syslog`, or `relp` for RELP over TLS.
    #[serde(default)]
    pub protocol: Protocol,
    /// PEM file with our certificate and those between it and a root that senders know.
    pub certificate: PathBuf,
    /// PEM file with its private key, without a passphrase.
    pub key: PathBuf,
    /// PEM file with the roots of the senders' certificates. Empty: senders show none.
    #[serde(default)]
    pub client_ca: PathBuf,
    /// With `client_ca`: whether a sender must show a certificate.
    #[serde(default)]
    pub client_certificate: ClientCertificate,
    /// Who may send: addresses, networks such as `10.0.0.0/8`, names in the sender's certificate such as `web1.example.org` or
    /// `*.example.org`. One that fits is enough. Empty: whoever the certificate lets in.
    #[serde(default)]
    pub allow: Vec<String>,
}

/// The configuration of the collector. A listener whose address a service manager hands over (socket activation) is taken from
/// it instead of being opened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Look for the logs of this machine, so that nothing needs to be configured.
    pub sources: Choice,
    /// UDP listeners; loopback only unless told otherwise, port 5514 because 514 needs privileges and is rsyslog's.
    pub udp: Vec<SocketAddr>,
    /// TCP listeners; as for UDP.
    pub tcp: Vec<SocketAddr>,
    /// TLS listeners; none by default, for nobody can guess a certificate. Certificates are read again on SIGHUP.
    pub tls: Vec<TlsListener>,
    /// RELP listeners, in the clear; rsyslog's port for it is 2514. Each message is acknowledged once the bus has it.
    pub relp: Vec<SocketAddr>,
    /// Unix sockets, datagram; a stream socket `…-stream.sock` stands beside each, since one path cannot be both.
    pub unix: Vec<PathBuf>,
    /// Files, or patterns with `*`, `?` and `[…]`, to be followed.
    pub files: Vec<String>,
    /// The kernel ring, from the cursor or else from its start. Off with the journal, which holds the same lines.
    pub kmsg: Switch,
    /// The systemd journal.
    pub journal: Switch,
    /// A longer message is cut and marked: parsers downstream stay fast. Up to 262,144.
    pub message_bytes_max: usize,
    /// How much of the past is read at the first start, so that there is something to compare with in the first minute.
    pub backfill_h: u32,
    /// A longer frame is read to its end but only its head kept. The default is rsyslog's largest.
    pub frame_bytes_max: usize,
    /// A half frame older than this is published as it stands and its connection closed.
    pub frame_timeout_s: u32,
    /// Connections per stream listener; a thread each.
    pub connections_max: usize,
    /// Connections of one peer address per listener: one that runs wild must leave room for others. A balancer in front is one
    /// address for all; raise it then.
    pub connections_per_peer_max: usize,
    /// Where there is no room for a new connection, one that has been silent for so long gives way. None is ever closed
    /// otherwise: senders lose the first lines that they write into a connection closed behind their back.
    pub idle_timeout_s: u32,
    /// Kernel buffer of a datagram socket: 8 MiB are ~10,000 messages of head room while the publisher waits for the disk.
    pub udp_rcvbuf_bytes: usize,
    /// Zone of senders that do not give theirs: `local`, a name such as `Europe/Berlin`, or a POSIX string such as `CET-1`.
    pub timezone: String,
    /// Who is believed about the host of a line.
    pub host_from: HostFrom,
    /// Messages per second and peer address beyond which the excess is dropped and counted; 0 is off, for nothing should be
    /// dropped that the machine can carry.
    pub rate_per_peer_max: u32,
    /// Messages of several lines.
    pub multiline: Multiline,
    /// Names of senders that do not give theirs, by address.
    pub peers: BTreeMap<IpAddr, String>,
}

impl Default for Config {
    fn default() -> Self {
        let loopback = SocketAddr::from(([127, 0, 0, 1], 5514));
        Self {
            sources: Choice::Auto,
            udp: vec![loopback],
            tcp: vec![loopback],
            tls: Vec::new(),
            relp: Vec::new(),
            unix: vec![PathBuf::from(DATA_DIR).join("syslog.sock")],
            files: Vec::new(),
            kmsg: Switch::Auto,
            journal: Switch::Auto,
            message_bytes_max: 65_536,
            backfill_h: 24,
            frame_bytes_max: 200_000,
            frame_timeout_s: 60,
            connections_max: 1_024,
            connections_per_peer_max: 256,
            idle_timeout_s: 600,
            udp_rcvbuf_bytes: 8 << 20,
            timezone: "local".into(),
            host_from: HostFrom::Message,
            rate_per_peer_max: 0,
            multiline: Multiline::default(),
            peers: BTreeMap::new(),
        }
    }
}

/// A value of `[syslog]` that cannot be meant.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// A number outside its range.
    #[error("[syslog] {key} = {found}: expected {expected}")]
    Range {
        /// The key.
        key: &'static str,
        /// Its value.
        found: usize,
        /// What is allowed.
        expected: String,
    },
    /// No such time zone.
    #[error("[syslog] timezone = {found:?}: expected \"local\", a name such as \"Europe/Berlin\", or a POSIX string such as \"CET-1\"")]
    Zone {
        /// The value.
        found: String,
        /// Why it is none.
        #[source]
        source: jiff::Error,
    },
    /// No regular expression.
    #[error("[syslog.multiline] start = {found:?}: expected a regular expression")]
    Pattern {
        /// The value.
        found: String,
        /// Why it is none.
        #[source]
        source: regex::Error,
    },
    /// An entry of a listener's allow list that cannot be meant.
    #[error("[[syslog.tls]] allow of {address}")]
    Allow {
        /// The listener.
        address: SocketAddr,
        /// The entry.
        #[source]
        source: AllowError,
    },
    /// Names that nobody could prove.
    #[error("[[syslog.tls]] allow of {address}: expected client_ca with it, since names are proven by certificates; found none")]
    Unproven {
        /// The listener.
        address: SocketAddr,
    },
    /// No file pattern.
    #[error("[syslog] files: expected a path or a pattern, found {found:?}")]
    Files {
        /// The value.
        found: String,
        /// Why it is none.
        #[source]
        source: glob::PatternError,
    },
}

impl TlsListener {
    /// Who may send.
    ///
    /// # Errors
    /// [`ConfigError::Allow`], [`ConfigError::Unproven`].
    pub fn allow_list(&self) -> Result<AllowList, ConfigError> {
        let address = self.address;
        let allow = AllowList::parse(&self.allow).map_err(|source| ConfigError::Allow { address, source })?;
        if allow.needs_certificates() && self.client_ca.as_os_str().is_empty() {
            return Err(ConfigError::Unproven { address });
        }
        Ok(allow)
    }
}

impl Config {
    /// Checks what the types cannot say.
    ///
    /// # Errors
    /// The first value that cannot be meant.
    pub fn check(&self) -> Result<(), ConfigError> {
        let range = |key, found, min: usize, max: usize| {
            let expected = format!("{min} to {max}");
            if (min..=max).contains(&found) { Ok(()) } else { Err(ConfigError::Range { key, found, expected }) }
        };
        range("message_bytes_max", self.message_bytes_max, 480, MESSAGE_BYTES_LIMIT)?; // 480: RFC 5424, 6.1
        range("frame_bytes_max", self.frame_bytes_max, self.message_bytes_max, 2 * MESSAGE_BYTES_LIMIT)?;
        range("frame_timeout_s", self.frame_timeout_s as usize, 1, 86_400)?;
        range("connections_max", self.connections_max, 1, 65_536)?;
        range("connections_per_peer_max", self.connections_per_peer_max, 1, 65_536)?;
        range("idle_timeout_s", self.idle_timeout_s as usize, 1, 86_400 * 366)?;
        range("udp_rcvbuf_bytes", self.udp_rcvbuf_bytes, 65_536, 1 << 30)?;
        range("backfill_h", self.backfill_h as usize, 0, 24 * 366)?;
        self.zone()?;
        self.multiline_start()?;
        self.tls.iter().try_for_each(|listener| listener.allow_list().map(drop))?;
        for pattern in &self.files {
            glob::Pattern::new(pattern).map_err(|source| ConfigError::Files { found: pattern.clone(), source })?;
        }
        Ok(())
    }

    /// The zone of senders that do not give theirs.
    ///
    /// # Errors
    /// [`ConfigError::Zone`].
    pub fn zone(&self) -> Result<TimeZone, ConfigError> {
        let zone = match self.timezone.as_str() {
            "local" => TimeZone::try_system(),
            name => TimeZone::get(name).or_else(|unknown| TimeZone::posix(name).map_err(|_| unknown)),
        };
        zone.map_err(|source| ConfigError::Zone { found: self.timezone.clone(), source })
    }

    /// Which lines begin a message; none if each does.
    ///
    /// # Errors
    /// [`ConfigError::Pattern`].
    pub fn multiline_start(&self) -> Result<Option<Regex>, ConfigError> {
        let found = self.multiline.start.as_str();
        let pattern = (!found.is_empty()).then(|| Regex::new(found)).transpose();
        pattern.map_err(|source| ConfigError::Pattern { found: found.to_owned(), source })
    }

    /// The rule that gives each line its host.
    pub fn host_rule(&self) -> HostRule {
        HostRule::new(self.host_from, self.peers.clone())
    }
}

//! Which host a line belongs to. Everything downstream is keyed by it, so it is decided here, once.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

/// DNS allows no longer names (RFC 1035, 2.3.4, as text).
pub const HOST_BYTES_MAX: usize = 253;

/// Who is believed about the host of a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum HostFrom {
    /// The line itself: right behind relays, which send the lines of many hosts.
    #[default]
    Message,
    /// The address it came from: right where senders must not speak for each other.
    Peer,
}

/// The rule that gives each line its host: the line's own name, else the configured name of the peer, else its address.
///
/// ```
/// use std::collections::BTreeMap;
/// use syslog::host::{HostFrom, HostRule};
///
/// let rule = HostRule::new(HostFrom::Message, BTreeMap::from([("192.0.2.7".parse().unwrap(), "Switch7".into())]));
/// assert_eq!(rule.host(Some("Web1.Example"), "192.0.2.7".parse().unwrap()), "web1.example");
/// assert_eq!(rule.host(Some("localhost"), "192.0.2.7".parse().unwrap()), "switch7");
/// assert_eq!(rule.host(None, "192.0.2.8".parse().unwrap()), "192.0.2.8");
/// ```
#[derive(Debug, Clone, Default)]
pub struct HostRule {
    from: HostFrom,
    peers: BTreeMap<IpAddr, String>,
}

impl HostRule {
    /// `peers`: names of senders that do not give one, by address.
    pub fn new(from: HostFrom, peers: BTreeMap<IpAddr, String>) -> Self {
        Self { from, peers: peers.into_iter().map(|(address, name)| (address.to_canonical(), normal(&name))).collect() }
    }

    /// The host of a line that came over the network from `peer`.
    pub fn host(&self, written: Option<&str>, peer: IpAddr) -> String {
        if let Some(host) = self.written(written) {
            return host;
        }
        let peer = peer.to_canonical();
        self.peers.get(&peer).cloned().unwrap_or_else(|| peer.to_string())
    }

    /// The host of a line from this machine, called `local`: a relay on it may have written lines of others into a file.
    pub fn local_host(&self, written: Option<&str>, local: &str) -> String {
        self.written(written).unwrap_or_else(|| normal(local))
    }

    fn written(&self, written: Option<&str>) -> Option<String> {
        let name = written.filter(|_| self.from == HostFrom::Message)?;
        let nameless = name.is_empty() || name == "-" || name.eq_ignore_ascii_case("localhost");
        (!nameless).then(|| normal(name))
    }
}

/// Lower case, at most [`HOST_BYTES_MAX`] bytes, cut at a character.
fn normal(name: &str) -> String {
    let end = (0..=HOST_BYTES_MAX.min(name.len())).rev().find(|at| name.is_char_boundary(*at)).unwrap_or(0);
    let cut: Cow<'_, str> = name.get(..end).unwrap_or_default().into();
    cut.to_lowercase()
}

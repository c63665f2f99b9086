//! Who may send: addresses, and names that a certificate proves.

use std::net::IpAddr;

use rustls::pki_types::{CertificateDer, DnsName, ServerName};
use webpki::EndEntityCert;

/// An entry of `allow` that cannot be meant.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{found:?}: expected an address, a network such as \"10.0.0.0/8\", a name such as \"web1.example.org\", \
     or \"*.example.org\" for every name one label longer"
)]
pub struct AllowError {
    /// The entry.
    pub found: String,
}

/// Whoever one of the entries fits may send; everybody, if there is none.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct AllowList {
    networks: Vec<Network>,
    names: Vec<DnsName<'static>>,
    /// What stands behind the star of `*.example.org`.
    parents: Vec<String>,
}

/// An address and how many of its leading bits count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Network {
    address: IpAddr,
    bits: u8,
}

impl AllowList {
    /// Reads the entries.
    ///
    /// ```
    /// use syslog::collector::tls::AllowList;
    ///
    /// let allow = AllowList::parse(&["10.0.0.0/8".into(), "2001:db8::1".into(), "*.example.org".into()]).unwrap();
    /// assert!(allow.needs_certificates());
    /// assert!(AllowList::parse(&["10.0.0.0/33".into()]).is_err());
    /// ```
    ///
    /// # Errors
    /// The first that cannot be meant.
    pub fn parse(entries: &[String]) -> Result<Self, AllowError> {
        let mut list = Self::default();
        for entry in entries {
            let refuse = || AllowError { found: entry.clone() };
            let name = |text: &str| DnsName::try_from(text.to_ascii_lowercase()).map_err(|_| refuse());
            if let Some(network) = Network::parse(entry) {
                list.networks.push(network);
            } else if entry.contains('/') || entry.parse::<IpAddr>().is_ok() {
                return Err(refuse());
            } else if let Some(parent) = entry.strip_prefix("*.") {
                list.parents.push(name(parent)?.as_ref().to_owned());
            } else {
                list.names.push(name(entry)?);
            }
        }
        Ok(list)
    }

    /// Can some entry only be proven by a certificate?
    pub fn needs_certificates(&self) -> bool {
        !(self.names.is_empty() && self.parents.is_empty())
    }

    fn is_empty(&self) -> bool {
        self.networks.is_empty() && !self.needs_certificates()
    }

    /// Is there any use in asking for a certificate?
    pub(super) fn may_allow(&self, peer: Option<IpAddr>) -> bool {
        self.needs_certificates() || self.allows(peer, None)
    }

    /// May it send? `certificate` is verified already.
    ///
    /// RFC 5425, 5.2: names are matched against subjectAltName, never against the common name.
    pub(super) fn allows(&self, peer: Option<IpAddr>, certificate: Option<&CertificateDer<'_>>) -> bool {
        let certificate = certificate.and_then(|der| EndEntityCert::try_from(der).ok());
        let is_named = |certificate: &EndEntityCert<'_>| {
            let names = self.names.iter().map(|name| ServerName::DnsName(name.borrow()));
            let is_below = |name: &str| {
                let parent = name.split_once('.').filter(|(label, _)| !label.is_empty() && *label != "*").map(|(_, parent)| parent);
                parent.is_some_and(|parent| self.parents.iter().any(|known| known.eq_ignore_ascii_case(parent)))
            };
            names.map(|name| certificate.verify_is_valid_for_subject_name(&name)).any(|fits| fits.is_ok())
                || certificate.valid_dns_names().any(is_below)
        };
        self.is_empty()
            || peer.is_some_and(|peer| self.networks.iter().any(|network| network.contains(peer)))
            || certificate.as_ref().is_some_and(is_named)
    }
}

impl Network {
    fn parse(text: &str) -> Option<Self> {
        let (address, bits) = text.split_once('/').map_or((text, None), |(address, bits)| (address, Some(bits)));
        let address: IpAddr = address.parse().ok()?;
        let bits_max = if address.is_ipv4() { 32 } else { 128 };
        let bits = bits.map_or(Some(bits_max), |bits| bits.parse().ok()).filter(|bits| *bits <= bits_max)?;
        Some(Self { address, bits })
    }

    fn contains(&self, address: IpAddr) -> bool {
        let differ = match (self.address, address.to_canonical()) {
            (IpAddr::V4(a), IpAddr::V4(b)) => (a.to_bits() ^ b.to_bits()).leading_zeros(),
            (IpAddr::V6(a), IpAddr::V6(b)) => (a.to_bits() ^ b.to_bits()).leading_zeros(),
            _ => return false,
        };
        differ >= u32::from(self.bits)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(entries: &[&str]) -> AllowList {
        AllowList::parse(&entries.iter().map(|entry| (*entry).to_owned()).collect::<Vec<_>>()).expect("a list")
    }

    fn peer(text: &str) -> Option<IpAddr> {
        Some(text.parse().expect("an address"))
    }

    fn certificate(names: &[&str]) -> CertificateDer<'static> {
        let names = names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        rcgen::generate_simple_self_signed(names).expect("a certificate").cert.der().clone()
    }

    #[test]
    fn addresses_are_matched_by_their_leading_bits() {
        let allow = list(&["10.0.0.0/8", "192.0.2.7", "2001:db8::/33", "0.0.0.0/32"]);
        for (address, expected) in [
            ("10.255.0.1", true),
            ("11.0.0.1", false),
            ("192.0.2.7", true),
            ("192.0.2.6", false),
            ("::ffff:10.1.2.3", true),
            ("2001:db8:7fff::1", true),
            ("2001:db8:8000::1", false),
        ] {
            assert_eq!(allow.allows(peer(address), None), expected, "{address}");
            assert_eq!(allow.may_allow(peer(address)), expected, "{address}: no name could help");
        }
        assert!(list(&["0.0.0.0/0"]).allows(peer("203.0.113.9"), None));
        assert!(!list(&["0.0.0.0/0"]).allows(peer("2001:db8::1"), None));
        assert!(list(&[]).allows(peer("203.0.113.9"), None) && list(&[]).allows(None, None));
    }

    #[test]
    fn names_are_those_that_the_certificate_proves() {
        let allow = list(&["Web1.example.org", "*.db.example.org"]);
        for (names, expected) in [
            (&["web1.example.org"][..], true),
            (&["other.example.org", "WEB1.EXAMPLE.ORG"], true),
            (&["*.example.org"], true), // the certificate's own star covers web1
            (&["web2.example.org"], false),
            (&["a.db.example.org"], true),
            (&["a.b.db.example.org"], false),
            (&["db.example.org"], false),
            (&["*.db.example.org"], false), // whoever may be anybody is nobody in particular
        ] {
            assert_eq!(allow.allows(peer("203.0.113.9"), Some(&certificate(names))), expected, "{names:?}");
        }
        assert!(allow.may_allow(peer("203.0.113.9")) && !allow.allows(peer("203.0.113.9"), None));
    }

    #[test]
    fn what_is_neither_address_nor_name_is_refused() {
        for entry in ["", "10.0.0.0/33", "10.0.0/8", "::/129", "*", "*.", "a b", "-x.org", "a/b"] {
            assert_eq!(AllowList::parse(&[entry.into()]), Err(AllowError { found: entry.into() }));
        }
    }
}

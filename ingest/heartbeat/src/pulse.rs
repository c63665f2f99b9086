//! One heartbeat on the wire: a datagram of 64 bytes, 96 if it is signed.
//!
//! ```text
//! byte  0  magic "NPHB"        8  run, u64     24  name, UTF-8, filled up with zeros
//!       4  version, 1         16  sequence, u64
//!       5  flags              (integers are big-endian)
//!       6  length of the name                  64  HMAC-SHA-256 (RFC 2104) over the 64 bytes before it, if signed
//!       7  zero
//! ```

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

/// First bytes of each datagram.
const MAGIC: &[u8; 4] = b"NPHB";
const VERSION: u8 = 1;
const FLAG_VM: u8 = 1;
const FLAG_FAREWELL: u8 = 2;
/// Bytes without a signature.
pub const PULSE_BYTES: usize = 64;
/// Bytes with one.
pub const SIGNED_BYTES: usize = PULSE_BYTES + TAG_BYTES;
const TAG_BYTES: usize = 32;
const NAME_AT: usize = 24;
/// Longest name: a UUID or a host name; longer ones do not fit the datagram.
pub const NAME_BYTES_MAX: usize = PULSE_BYTES - NAME_AT;

/// A key that both ends know.
#[derive(Clone)]
pub struct Key(Hmac<Sha256>);

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Key(…)")
    }
}

/// Why a datagram is no heartbeat of ours.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PulseError {
    /// Another protocol, or a truncated datagram.
    #[error("expected {PULSE_BYTES} or {SIGNED_BYTES} bytes that begin with NPHB, found {found} bytes")]
    Foreign {
        /// Its length.
        found: usize,
    },
    /// A newer sender, perhaps.
    #[error("expected version {VERSION}, found {found}")]
    Version {
        /// Its version.
        found: u8,
    },
    /// The name is empty, too long, or has letters that no name has.
    #[error("expected a name of 1 to {NAME_BYTES_MAX} printable ASCII letters without spaces")]
    Name,
    /// This receiver has a key, and the sender did not sign.
    #[error("it is not signed, and this receiver takes signed heartbeats only")]
    Unsigned,
    /// The signature is of another key, or of another text.
    #[error("its signature is wrong: another key, or a forgery")]
    Forged,
}

impl PulseError {
    /// The reason as a label, for counts.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Foreign { .. } => "foreign",
            Self::Version { .. } => "version",
            Self::Name => "name",
            Self::Unsigned => "unsigned",
            Self::Forged => "forged",
        }
    }
}

/// One heartbeat.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pulse {
    /// Who lives.
    pub name: String,
    /// Whether it is a VM; else a host.
    pub is_vm: bool,
    /// Whether it says goodbye: silence after this is no failure.
    pub is_farewell: bool,
    /// The sender's life, drawn at random when it starts. A migrated VM keeps it, a rebooted one does not.
    pub run: u64,
    /// Counts up from 1 in a life.
    pub sequence: u64,
}

impl Key {
    /// A key of any length; RFC 2104 advises at least 32 bytes.
    ///
    /// ```
    /// use heartbeat::{Key, Pulse};
    /// let pulse = Pulse { name: "vm-7".into(), is_vm: true, is_farewell: false, run: 9, sequence: 1 };
    /// let key = Key::new(b"a secret of both ends");
    /// assert_eq!(Pulse::decode(&pulse.encode(Some(&key)).expect("fits"), Some(&key)), Ok(pulse));
    /// ```
    pub fn new(secret: &[u8]) -> Self {
        Self(<Hmac<Sha256> as KeyInit>::new_from_slice(secret).unwrap_or_else(|_| unreachable!("HMAC takes keys of any length")))
    }

    fn tag(&self, text: &[u8]) -> [u8; TAG_BYTES] {
        self.0.clone().chain_update(text).finalize().into_bytes().into()
    }

    fn is_of(&self, text: &[u8], tag: &[u8]) -> bool {
        self.0.clone().chain_update(text).verify_slice(tag).is_ok() // in constant time
    }
}

/// Whether a name can go into a heartbeat, and from there into labels and lines.
fn is_name(name: &[u8]) -> bool {
    (1..=NAME_BYTES_MAX).contains(&name.len()) && name.iter().all(u8::is_ascii_graphic)
}

impl Pulse {
    /// The datagram.
    ///
    /// # Errors
    /// [`PulseError::Name`] if the name does not fit.
    pub fn encode(&self, key: Option<&Key>) -> Result<Vec<u8>, PulseError> {
        if !is_name(self.name.as_bytes()) {
            return Err(PulseError::Name);
        }
        let flags = if self.is_vm { FLAG_VM } else { 0 } | if self.is_farewell { FLAG_FAREWELL } else { 0 };
        let mut bytes = Vec::with_capacity(SIGNED_BYTES);
        bytes.extend_from_slice(MAGIC);
        bytes.extend_from_slice(&[VERSION, flags, self.name.len() as u8, 0]);
        bytes.extend_from_slice(&self.run.to_be_bytes());
        bytes.extend_from_slice(&self.sequence.to_be_bytes());
        bytes.extend_from_slice(self.name.as_bytes());
        bytes.resize(PULSE_BYTES, 0);
        if let Some(key) = key {
            bytes.extend_from_slice(&key.tag(&bytes));
        }
        Ok(bytes)
    }

    /// Reads a datagram. A receiver without a key takes signed ones too, unchecked: so a key can be given to senders first.
    ///
    /// # Errors
    /// Why it is none of ours; never a panic.
    pub fn decode(bytes: &[u8], key: Option<&Key>) -> Result<Self, PulseError> {
        let foreign = || PulseError::Foreign { found: bytes.len() };
        if bytes.len() != PULSE_BYTES && bytes.len() != SIGNED_BYTES {
            return Err(foreign());
        }
        let (text, tag) = bytes.split_at_checked(PULSE_BYTES).ok_or_else(foreign)?;
        let [b'N', b'P', b'H', b'B', version, flags, length, _, numbers @ ..] = text else { return Err(foreign()) };
        if *version != VERSION {
            return Err(PulseError::Version { found: *version });
        }
        match key {
            Some(_) if tag.is_empty() => return Err(PulseError::Unsigned),
            Some(key) if !key.is_of(text, tag) => return Err(PulseError::Forged),
            _ => {}
        }
        let (run, rest) = numbers.split_first_chunk().ok_or_else(foreign)?;
        let (sequence, name) = rest.split_first_chunk().ok_or_else(foreign)?;
        let name = name.get(..usize::from(*length)).filter(|name| is_name(name)).ok_or(PulseError::Name)?;
        Ok(Self {
            name: String::from_utf8_lossy(name).into_owned(),
            is_vm: flags & FLAG_VM != 0,
            is_farewell: flags & FLAG_FAREWELL != 0,
            run: u64::from_be_bytes(*run),
            sequence: u64::from_be_bytes(*sequence),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pulse(name: &str) -> Pulse {
        Pulse { name: name.into(), is_vm: false, is_farewell: true, run: u64::MAX, sequence: 7 }
    }

    #[test]
    fn a_pulse_comes_back_as_it_went() {
        let key = Key::new(b"k");
        for name in ["h", "host-7.example.org", "8d9f2c1e-0f4a-4a8e-9c6e-1f2d3c4b5a69", &"n".repeat(NAME_BYTES_MAX)] {
            for key in [None, Some(&key)] {
                let bytes = pulse(name).encode(key).expect("fits");
                assert_eq!(bytes.len(), if key.is_some() { SIGNED_BYTES } else { PULSE_BYTES });
                assert_eq!(Pulse::decode(&bytes, key), Ok(pulse(name)));
                assert_eq!(Pulse::decode(&bytes, None), Ok(pulse(name)), "who has no key takes signed ones too");
            }
        }
    }

    #[test]
    fn names_that_could_not_stand_in_a_label_are_refused() {
        for name in ["", "a b", "a\n", "ä", &"n".repeat(NAME_BYTES_MAX + 1)] {
            assert_eq!(pulse(name).encode(None), Err(PulseError::Name), "{name:?}");
        }
        let mut bytes = pulse("host").encode(None).expect("fits");
        bytes[NAME_AT] = 0x1b;
        assert_eq!(Pulse::decode(&bytes, None), Err(PulseError::Name));
        bytes[6] = 255;
        assert_eq!(Pulse::decode(&bytes, None), Err(PulseError::Name));
    }

    #[test]
    fn no_changed_bit_passes_a_receiver_with_a_key() {
        let key = Key::new(b"k");
        let bytes = pulse("host").encode(Some(&key)).expect("fits");
        for bit in 0..bytes.len() * 8 {
            let mut changed = bytes.clone();
            changed[bit / 8] ^= 1 << (bit % 8);
            assert!(Pulse::decode(&changed, Some(&key)).is_err(), "bit {bit}");
        }
        assert_eq!(Pulse::decode(&bytes, Some(&Key::new(b"another"))), Err(PulseError::Forged));
        assert_eq!(Pulse::decode(&bytes[..PULSE_BYTES], Some(&key)), Err(PulseError::Unsigned));
    }

    #[test]
    fn fuzz_any_bytes_are_a_pulse_or_an_error() {
        let key = Key::new(b"k");
        bolero::check!().with_type::<Vec<u8>>().for_each(|bytes| {
            let _ = Pulse::decode(bytes, Some(&key));
            if let Ok(pulse) = Pulse::decode(bytes, None) {
                assert_eq!(Pulse::decode(&pulse.encode(None).expect("a name that was read can be written"), None), Ok(pulse));
            }
        });
    }
}

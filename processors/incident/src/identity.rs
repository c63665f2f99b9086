//! The hashes that name alerts and incidents, in 16 bytes instead of 32 digits.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

/// 128 bits of a hash, written as 32 hex digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Identity(u128);

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

/// Text that is no such hash.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NoIdentity;

impl FromStr for Identity {
    type Err = NoIdentity;

    fn from_str(text: &str) -> Result<Self, NoIdentity> {
        let is_canonical = text.len() == 32 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        if is_canonical { u128::from_str_radix(text, 16).map(Self).map_err(|_| NoIdentity) } else { Err(NoIdentity) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_32_lower_case_hex_digits_are_read_and_written_back() {
        let text = "0b8a4d1f6c2e935577d1a0c4e8f2b961";
        assert_eq!(text.parse::<Identity>().map(|identity| identity.to_string()), Ok(text.into()));
        for bad in ["", "0b8a", "0B8A4D1F6C2E935577D1A0C4E8F2B961", "+b8a4d1f6c2e935577d1a0c4e8f2b961", "0b8a4d1f6c2e935577d1a0c4e8f2b9610"]
        {
            assert_eq!(bad.parse::<Identity>(), Err(NoIdentity), "{bad}");
        }
    }
}

//! How far a spool has been published: what stands in the cursor on the bus.

use std::{fmt, fs::File, io::Read};

use stream_core::NextOffset;

/// One opening of a spool, a random number. Numbers of records rise over all runs; the run tells apart a spool that was put
/// back to an earlier state (a snapshot of a machine, a backup) and has given the same numbers to other records since.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Run(pub(super) [u8; 16]);

impl Run {
    /// A new run.
    pub(super) fn draw() -> std::io::Result<Self> {
        let mut run = [0; 16];
        File::open("/dev/urandom")?.read_exact(&mut run)?;
        Ok(Self(run))
    }

    /// Reads what `Display` wrote.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let digits: Vec<u32> = text.chars().map(|digit| digit.to_digit(16)).collect::<Option<_>>()?;
        let bytes: Vec<u8> = digits.chunks_exact(2).map(|pair| pair.iter().fold(0, |byte, digit| byte << 4 | *digit as u8)).collect();
        (digits.len() == 32).then_some(Self(bytes.try_into().ok()?))
    }
}

impl fmt::Display for Run {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// The place after the last record that is on the bus.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Mark {
    /// The run that wrote the record.
    pub(super) run: Run,
    /// The number after it.
    pub(super) next: NextOffset,
}

const VERSION: u8 = 1;

impl Mark {
    /// As it stands in the cursor.
    pub(super) fn encode(self) -> Vec<u8> {
        [&[VERSION][..], &self.run.0, &self.next.0.to_be_bytes()].concat()
    }

    /// Reads a cursor. None if no spool of ours wrote it.
    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        let (VERSION, bytes) = bytes.split_first().map(|(version, rest)| (*version, rest))? else { return None };
        let (run, bytes) = bytes.split_first_chunk::<16>()?;
        let next = u64::from_be_bytes(bytes.try_into().ok()?);
        Some(Self { run: Run(*run), next: NextOffset(next) })
    }
}

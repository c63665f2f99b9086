//! What the benches of the embedded bus share: log lines, clocks, and the accounts that the kernel keeps of a process.

#![allow(dead_code, missing_docs)]

use std::time::Duration;

/// Bytes of one record: a syslog line of usual length.
pub const RECORD_BYTES: usize = 233;

/// Log lines of [`RECORD_BYTES`] bytes from a few templates with changing numbers, as a machine writes them; the same for
/// the same seed.
pub struct Lines(u64);

impl Lines {
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    /// xorshift64 (Marsaglia 2003).
    pub fn random(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    pub fn fill(&mut self, line: &mut String) {
        use std::fmt::Write;
        line.clear();
        let (a, b, c) = (self.random(), self.random(), self.random());
        let host = a % 40;
        let written = match b % 4 {
            0 => write!(
                line,
                "<30>1 2026-03-01T10:{:02}:{:02}.{:06}Z vm-{host} kubelet {} - - pod_startup_latency pod=web-{c:016x} duration={}ms",
                a >> 8 & 31,
                b >> 8 & 31,
                c >> 8 & 0xfffff,
                a >> 40 & 0xffff,
                b >> 40 & 0xfff
            ),
            1 => write!(
                line,
                "<38>1 2026-03-01T10:{:02}:{:02}.{:06}Z vm-{host} sshd {} - - Accepted publickey for deploy from 10.{}.{}.{} port {} ssh2: ED25519 SHA256:{b:016x}{c:016x}",
                a >> 8 & 31,
                b >> 8 & 31,
                c >> 8 & 0xfffff,
                a >> 40 & 0xffff,
                a >> 16 & 255,
                b >> 16 & 255,
                c >> 16 & 255,
                c >> 48
            ),
            2 => write!(
                line,
                "<6>1 2026-03-01T10:{:02}:{:02}.{:06}Z vm-{host} kernel - - - blk_update_request: I/O error, dev vda, sector {} op 0x1:(WRITE) flags 0x{:x}",
                a >> 8 & 31,
                b >> 8 & 31,
                c >> 8 & 0xfffff,
                b >> 20,
                c & 0xffff
            ),
            _ => write!(
                line,
                "<29>1 2026-03-01T10:{:02}:{:02}.{:06}Z vm-{host} nova-compute {} - - [instance: {a:016x}-{b:016x}] VM Resumed (Lifecycle Event) took {} seconds",
                a >> 8 & 31,
                b >> 8 & 31,
                c >> 8 & 0xfffff,
                a >> 40 & 0xffff,
                c >> 32 & 0xff
            ),
        };
        written.unwrap();
        while line.len() < RECORD_BYTES {
            write!(line, " trace={:016x}", self.random()).unwrap();
        }
        line.truncate(RECORD_BYTES);
    }
}

/// CPU time of the process, and of the calling thread.
pub fn cpu() -> (Duration, Duration) {
    let read = |clock| {
        let time = rustix::time::clock_gettime(clock);
        Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
    };
    (read(rustix::time::ClockId::ProcessCPUTime), read(rustix::time::ClockId::ThreadCPUTime))
}

/// Bytes that the process has sent to block devices.
pub fn written_bytes() -> u64 {
    let text = std::fs::read_to_string("/proc/self/io").unwrap_or_default();
    text.lines().find_map(|line| line.strip_prefix("write_bytes: ")).and_then(|number| number.parse().ok()).unwrap_or(0)
}

/// Resident memory of the process: now, and at most so far.
pub fn rss_bytes() -> (u64, u64) {
    let text = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let field = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name));
        line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<u64>().ok()).unwrap_or(0) * 1024
    };
    (field("VmRSS:"), field("VmHWM:"))
}

/// A quantile of sorted times, in milliseconds.
pub fn quantile_ms(sorted: &[Duration], q: f64) -> f64 {
    let index = ((sorted.len().saturating_sub(1)) as f64 * q) as usize;
    sorted.get(index).map_or(0.0, |time| time.as_secs_f64() * 1e3)
}

/// Bytes of all files below a directory.
pub fn disk_bytes(directory: &std::path::Path) -> u64 {
    let Ok(entries) = std::fs::read_dir(directory) else { return 0 };
    entries
        .flatten()
        .map(|entry| match entry.metadata() {
            Ok(metadata) if metadata.is_dir() => disk_bytes(&entry.path()),
            Ok(metadata) => metadata.len(),
            Err(_) => 0,
        })
        .sum()
}

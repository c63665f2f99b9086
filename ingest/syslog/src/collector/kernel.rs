//! The kernel ring, `/dev/kmsg`: one record per read, numbered, overwritten when it is full.

use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, Read};
use std::os::fd::AsFd;
use std::os::unix::fs::OpenOptionsExt;
use std::sync::Arc;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::OFlags;
use rustix::io::Errno;
use rustix::time::Timespec;

use super::clock;
use super::cursor::Position;
use super::reread::{Entry, LOOK, Past, Reread, Step};
use super::status::{SourceGauge, SourceState};
use crate::kmsg::KernelRecord;
use crate::record::{Recorder, backfill_attribute};

/// The device.
pub(crate) const DEVICE: &str = "/dev/kmsg";
/// Name of the ring in the cursor.
pub(crate) const KEY: &str = "kmsg";
/// Records have at most 8 KiB with their dictionary (`CONSOLE_EXT_LOG_MAX`).
const BUFFER_BYTES: usize = 16 * 1024;
/// The clock of `printk` does not count suspend, so the boot time moves.
const BOOT_TIME_US: i64 = 60_000_000;

/// Follows the kernel ring.
pub(crate) struct KernelRing<D> {
    device: D,
    recorder: Recorder,
    gauge: SourceGauge,
    key: Arc<str>,
    boot_id: String,
    boot_us: i64,
    boot_read_us: Option<i64>,
    last_seq: Option<u64>,
    past: Option<Past>,
    buffer: Vec<u8>,
}

/// Opens the ring; the error says what would help.
pub(crate) fn open() -> Result<File, String> {
    let options = OpenOptions::new().read(true).custom_flags(OFlags::NONBLOCK.bits().cast_signed()).open(DEVICE);
    let file = options.map_err(|error| refusal(&error))?;
    // Some containers give a device whose reads are refused; ask once instead of watching nothing.
    match (&file).read(&mut [0; BUFFER_BYTES]) {
        Err(error) if matches!(error.kind(), ErrorKind::PermissionDenied) => Err(refusal(&error)),
        _ => rustix::fs::seek(&file, rustix::fs::SeekFrom::Start(0)).map(|_| file).map_err(|error| refusal(&error.into())),
    }
}

fn refusal(error: &io::Error) -> String {
    if error.kind() == ErrorKind::PermissionDenied {
        return format!("{DEVICE}: {error}; with kernel.dmesg_restrict = 1 it needs CAP_SYSLOG");
    }
    format!("{DEVICE}: {error}")
}

/// Changes at each boot.
pub(crate) fn boot_id() -> io::Result<String> {
    std::fs::read_to_string("/proc/sys/kernel/random/boot_id").map(|id| id.trim().to_owned())
}

impl<D: Read + AsFd + Send> KernelRing<D> {
    /// Goes on after `position` if it is of this boot; else begins with what `past` allows.
    pub(crate) fn new(device: D, boot_id: String, recorder: Recorder, gauge: SourceGauge, position: Option<&Position>, past: Past) -> Self {
        let last_seq = match position {
            Some(Position::Kernel { boot_id: known, seq }) if *known == boot_id => Some(*seq),
            _ => None,
        };
        let past = position.is_none().then_some(past);
        Self {
            device,
            recorder,
            gauge,
            key: KEY.into(),
            boot_id,
            boot_us: 0,
            boot_read_us: None,
            last_seq,
            past,
            buffer: vec![0; BUFFER_BYTES],
        }
    }

    fn boot_us(&mut self) -> i64 {
        let monotonic_us = clock::monotonic_us();
        if self.boot_read_us.is_none_or(|read| monotonic_us - read >= BOOT_TIME_US) {
            self.boot_us = clock::now_us() - monotonic_us;
            self.boot_read_us = Some(monotonic_us);
        }
        self.boot_us
    }

    /// The bytes of the next record, none if there is none now.
    fn read(&mut self) -> Option<usize> {
        loop {
            match self.device.read(&mut self.buffer) {
                Ok(0) => return None,
                Ok(bytes) => return Some(bytes),
                Err(error) => match Errno::from_io_error(&error) {
                    // The next record was overwritten; the one after the gap is read next, and its number tells the loss.
                    Some(Errno::PIPE | Errno::INTR) => {}
                    Some(Errno::AGAIN) => return None,
                    _ => {
                        self.gauge.set(SourceState::Blind, refusal(&error));
                        return None;
                    }
                },
            }
        }
    }

    fn entry(&mut self, bytes: usize) -> Option<Entry> {
        let (received_us, boot_us) = (clock::now_us(), self.boot_us());
        let raw = self.buffer.get(..bytes)?;
        let Some(record) = KernelRecord::parse(raw) else {
            let record = self.recorder.unread(raw, received_us);
            return Some(Entry { order_us: received_us, record, source: self.key.clone(), position: None, gauge: self.gauge.clone() });
        };
        if self.last_seq.is_some_and(|last| record.seq <= last) {
            return None;
        }
        let lost = self.last_seq.map_or(0, |last| record.seq - last - 1);
        if lost > 0 {
            self.gauge.lose("kmsg_overwritten", lost);
        }
        self.last_seq = Some(record.seq);
        let mut line = self.recorder.kernel(raw, &record, boot_us, received_us);
        if self.past.is_some_and(|past| line.event_time < past.since_us) {
            return None;
        }
        if self.past.is_some_and(|past| line.event_time < past.until_us) {
            backfill_attribute(&mut line.attributes);
        }
        let position = Some(Position::Kernel { boot_id: self.boot_id.clone(), seq: record.seq });
        Some(Entry { order_us: line.event_time, record: line, source: self.key.clone(), position, gauge: self.gauge.clone() })
    }
}

impl<D: Read + AsFd + Send> Reread for KernelRing<D> {
    fn next(&mut self) -> Option<Step> {
        loop {
            let bytes = self.read()?;
            if let Some(entry) = self.entry(bytes) {
                return Some(Step::Line(Box::new(entry)));
            }
        }
    }

    fn caught_up(&mut self) {
        self.past = None;
        self.gauge.set(SourceState::Watching, "");
    }

    fn wait(&mut self) {
        let patience = Timespec { tv_sec: 0, tv_nsec: i64::from(LOOK.subsec_nanos()) };
        if poll(&mut [PollFd::new(&self.device, PollFlags::IN)], Some(&patience)).is_err() {
            std::thread::sleep(LOOK);
        }
    }
}

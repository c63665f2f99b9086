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

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;
    use std::os::fd::BorrowedFd;

    use schemas::{ParseStatus, SourceKind, TimeSource};

    use super::*;
    use crate::collector::status::Watch;

    /// A ring that gives these answers and then says that there is nothing.
    struct Ring {
        answers: VecDeque<Result<&'static str, Errno>>,
        file: File,
    }

    impl Read for Ring {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let record = self.answers.pop_front().unwrap_or(Err(Errno::AGAIN))?;
            buffer[..record.len()].copy_from_slice(record.as_bytes());
            Ok(record.len())
        }
    }

    impl AsFd for Ring {
        fn as_fd(&self) -> BorrowedFd<'_> {
            self.file.as_fd()
        }
    }

    const NO_PAST: Past = Past { since_us: i64::MIN, until_us: i64::MIN };

    fn ring(answers: &[Result<&'static str, Errno>], position: Option<Position>, past: Past) -> (KernelRing<Ring>, Watch) {
        let device = Ring { answers: answers.iter().copied().collect(), file: File::open("/dev/null").expect("opens") };
        let watch = Watch::default();
        let gauge = watch.add(SourceKind::Kmsg, DEVICE, SourceState::CatchingUp, "");
        (KernelRing::new(device, "boot-1".into(), Recorder::for_test(), gauge, position.as_ref(), past), watch)
    }

    fn entries(ring: &mut KernelRing<Ring>) -> Vec<Entry> {
        let lines = std::iter::from_fn(|| ring.next()).map(|step| match step {
            Step::Line(entry) => *entry,
            Step::Forget(_) => panic!("the ring never goes"),
        });
        lines.collect()
    }

    fn seqs(entries: &[Entry]) -> Vec<i64> {
        entries.iter().filter_map(|entry| entry.record.source_seq).collect()
    }

    #[test]
    fn a_record_has_the_kernels_time_and_number() {
        let (mut ring, _) = ring(&[Ok("4,7,1000000,-;eth0: link\\x20down\n SUBSYSTEM=net\n")], None, NO_PAST);
        let entry = entries(&mut ring).remove(0);
        let record = entry.record;
        assert_eq!((record.message(), record.app_name.as_deref(), record.severity), ("eth0: link down", Some("kernel"), Some(4)));
        assert_eq!((record.time_source, record.parse_status, record.facility), (TimeSource::Kernel, ParseStatus::Kmsg, Some(0)));
        assert_eq!(record.attributes["subsystem"], "net");
        let boot_us = clock::now_us() - clock::monotonic_us();
        assert!((record.event_time - boot_us - 1_000_000).abs() < 1_000_000, "one second after boot");
        assert_eq!(entry.position, Some(Position::Kernel { boot_id: "boot-1".into(), seq: 7 }));
    }

    #[test]
    fn a_process_that_writes_to_the_ring_is_named() {
        let (mut ring, _) = ring(&[Ok("30,7,1,-;systemd[1]: Started x.\n"), Ok("30,8,2,-;say[2]: a\\x09b\n")], None, NO_PAST);
        let entries = entries(&mut ring);
        let record = &entries[0].record;
        assert_eq!((record.message(), record.app_name.as_deref(), record.proc_id.as_deref()), ("Started x.", Some("systemd"), Some("1")));
        assert_eq!((record.facility, record.message_text.as_deref()), (Some(3), None));
        assert_eq!((entries[1].record.message(), entries[1].record.app_name.as_deref()), ("a\tb", Some("say")));
    }

    #[test]
    fn overwritten_records_are_counted_by_their_numbers() {
        let answers = [Ok("6,10,1,-;a\n"), Err(Errno::PIPE), Ok("6,15,2,-;b\n"), Err(Errno::INTR), Ok("6,16,3,-;c\n")];
        let (mut ring, watch) = ring(&answers, None, NO_PAST);
        assert_eq!(seqs(&entries(&mut ring)), [10, 15, 16]);
        assert_eq!(watch.status()[0].drops, 4);
    }

    #[test]
    fn after_a_restart_within_a_boot_it_goes_on_and_the_gap_counts() {
        let position = Some(Position::Kernel { boot_id: "boot-1".into(), seq: 10 });
        let answers = [Ok("6,9,1,-;a\n"), Ok("6,10,1,-;b\n"), Ok("6,12,1,-;c\n")];
        let (mut ring, watch) = ring(&answers, position, NO_PAST);
        assert_eq!(seqs(&entries(&mut ring)), [12]);
        assert_eq!(watch.status()[0].drops, 1);
    }

    #[test]
    fn after_a_boot_it_begins_anew_and_nothing_is_lost() {
        let position = Some(Position::Kernel { boot_id: "boot-0".into(), seq: 4_000 });
        let (mut ring, watch) = ring(&[Ok("6,0,1,-;a\n"), Ok("6,1,1,-;b\n")], position, NO_PAST);
        let entries = entries(&mut ring);
        assert_eq!((seqs(&entries), watch.status()[0].drops), (vec![0, 1], 0));
        assert!(entries.iter().all(|entry| entry.record.attributes.is_empty()), "not the first start, so no backfill");
    }

    #[test]
    fn the_first_start_reads_as_far_back_as_it_may_and_marks_it() {
        let boot_us = clock::now_us() - clock::monotonic_us();
        let past = Past { since_us: boot_us + 500_000, until_us: boot_us + 1_500_000 };
        let (mut ring, watch) = ring(&[Ok("6,1,0,-;a\n"), Ok("6,2,1000000,-;b\n"), Ok("6,3,2000000,-;c\n")], None, past);
        let entries = entries(&mut ring);
        assert_eq!(seqs(&entries), [2, 3]);
        let marked: Vec<bool> = entries.iter().map(|entry| entry.record.attributes.contains_key("backfill")).collect();
        assert_eq!((marked, watch.status()[0].drops), (vec![true, false], 0));
    }

    #[test]
    fn what_is_no_record_is_kept_as_it_stands() {
        let (mut ring, _) = ring(&[Ok("6,1,1,-;a\n"), Ok("nonsense"), Ok("6,2,1,-;b\n")], None, NO_PAST);
        let entries = entries(&mut ring);
        assert_eq!((entries[1].record.message(), entries[1].record.parse_status), ("nonsense", ParseStatus::Damaged));
        assert_eq!(entries[1].position, None, "it does not move the position");
    }

    #[test]
    fn a_refusal_says_what_would_help() {
        let error = refusal(&io::Error::from(ErrorKind::PermissionDenied));
        assert!(error.contains("CAP_SYSLOG") && error.contains(DEVICE));
    }
}

//! From a line to the record on the topic.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::Path;

use jiff::tz::TimeZone;
use schemas::{LogRecord, LogSource, ParseStatus, SourceKind, TimeSource};

use crate::host::HostRule;
use crate::journal::{JournalEntry, JournalError};
use crate::kmsg::{KernelRecord, unescape};
use crate::message::Message;
use crate::rfc3164;
use crate::scan::Scanner;
use crate::time::Reception;

/// Properties of a kernel record that are kept as attributes.
const PROPERTIES_MAX: usize = 8;
/// Bytes of an attribute's value.
const ATTRIBUTE_BYTES_MAX: usize = 256;

/// How the lines of one source become records.
#[derive(Debug, Clone)]
pub struct Recorder {
    /// Kind of the source.
    pub kind: SourceKind,
    /// Its name: address, path, device.
    pub name: String,
    /// Which host a line belongs to.
    pub hosts: HostRule,
    /// Name of this machine.
    pub local_host: String,
    /// Zone of senders that do not give theirs.
    pub zone: TimeZone,
    /// A longer message is cut and marked.
    pub message_bytes_max: usize,
}

/// One line with what its transport knows of it.
#[derive(Debug, Clone, Copy)]
pub struct Line<'a> {
    /// The line, without framing.
    pub bytes: &'a [u8],
    /// Its end was cut off for its length.
    pub truncated: bool,
    /// Its end never came.
    pub damaged: bool,
    /// Who sent it; none for sources of this machine.
    pub peer: Option<IpAddr>,
    /// Microseconds since the epoch.
    pub received_us: i64,
}

impl Recorder {
    #[cfg(test)]
    pub(crate) fn for_test() -> Self {
        let (kind, hosts, zone) = (SourceKind::Unknown, HostRule::default(), TimeZone::UTC);
        Self { kind, name: "test".into(), hosts, local_host: "here".into(), zone, message_bytes_max: 65_536 }
    }

    /// A syslog line or a line of a file. Total.
    pub fn line(&self, line: &Line<'_>) -> LogRecord {
        let message = Message::parse(line.bytes, &Reception::new(line.received_us, &self.zone));
        let (end, cut) = self.end(line.bytes, &message.text);
        let raw = line.bytes.get(..end).unwrap_or_default();
        // Bytes after the text are line ends of a datagram: they belong to raw as long as nothing was cut.
        let raw = if cut { raw } else { line.bytes };
        let text = raw.get(message.text.start..end).unwrap_or_default();
        LogRecord {
            host: match line.peer {
                Some(peer) => self.hosts.host(message.host, peer),
                None => self.hosts.local_host(message.host, &self.local_host),
            },
            time_source: if message.time_us.is_some() { TimeSource::Message } else { TimeSource::Received },
            event_time: message.time_us.unwrap_or(line.received_us),
            facility: message.facility.map(i32::from),
            severity: message.severity.map(i32::from),
            app_name: message.app_name.map(str::to_owned),
            proc_id: message.proc_id.map(str::to_owned),
            msg_id: message.msg_id.map(str::to_owned),
            structured_data: message.structured_data.to_map(),
            message_text: lossy_if_needed(text),
            message_start: length(message.text.start),
            message_length: length(text.len()),
            parse_status: if line.damaged { ParseStatus::Damaged } else { message.status },
            truncated: line.truncated || cut,
            ..self.blank(raw.to_vec(), line.peer, line.received_us)
        }
    }

    /// A record of the kernel ring. `boot_us` is when the kernel's clock was zero.
    ///
    /// Processes write to the ring too, as syslog lines with a facility other than the kernel's; those have a tag.
    pub fn kernel(&self, raw: &[u8], record: &KernelRecord<'_>, boot_us: i64, received_us: i64) -> LogRecord {
        let escaped = raw.get(record.text.clone()).unwrap_or_default();
        let mut scanner = Scanner::new(escaped, 0);
        let tag = if record.facility == 0 { None } else { rfc3164::tag(&mut scanner) };
        let message = scanner.rest();
        let text = if message.contains(&b'\\') { Some(unescape(message).into_owned()) } else { lossy_if_needed(message) };
        let time = Reception::new(received_us, &self.zone).believe(boot_us.saturating_add_unsigned(record.uptime_us));
        let attributes = record.properties().take(PROPERTIES_MAX).map(|(name, value)| (name.to_lowercase(), short(&value))).collect();
        LogRecord {
            host: self.hosts.local_host(None, &self.local_host),
            time_source: if time.is_some() { TimeSource::Kernel } else { TimeSource::Received },
            event_time: time.unwrap_or(received_us),
            facility: i32::try_from(record.facility).ok().filter(|f| *f <= 23),
            severity: Some(record.severity.into()),
            app_name: Some(tag.map_or("kernel", |t| t.app_name).to_owned()),
            proc_id: tag.and_then(|t| t.proc_id).map(str::to_owned),
            message_text: text,
            message_start: length(record.text.start + scanner.at()),
            message_length: length(message.len()),
            source_seq: i64::try_from(record.seq).ok(),
            parse_status: ParseStatus::Kmsg,
            attributes,
            ..self.blank(raw.to_vec(), None, received_us)
        }
    }

    /// A record of the kernel ring that does not parse, or any other line that is only kept.
    pub fn unread(&self, raw: &[u8], received_us: i64) -> LogRecord {
        let (end, cut) = self.end(raw, &(0..raw.len()));
        let raw = raw.get(..end).unwrap_or_default();
        LogRecord {
            host: self.hosts.local_host(None, &self.local_host),
            time_source: TimeSource::Received,
            event_time: received_us,
            message_text: lossy_if_needed(raw),
            message_length: length(raw.len()),
            parse_status: ParseStatus::Damaged,
            truncated: cut,
            ..self.blank(raw.to_vec(), None, received_us)
        }
    }

    /// An entry of the journal. Its line is the message: the JSON around it is `journalctl`'s, and the journal keeps the rest.
    pub fn journal(&self, entry: JournalEntry<'_>, received_us: i64) -> LogRecord {
        let time = entry.time_us.and_then(|time| Reception::new(received_us, &self.zone).believe(time));
        let (end, cut) = self.end(&entry.message, &(0..entry.message.len()));
        let mut raw = entry.message.into_owned();
        raw.truncate(end);
        let unit = entry.unit.map(|unit| ("unit".to_owned(), short(&unit)));
        let transport = entry.transport.map(|transport| ("transport".to_owned(), short(&transport)));
        LogRecord {
            host: self.hosts.local_host(entry.host.as_deref(), &self.local_host),
            time_source: if time.is_some() { TimeSource::Message } else { TimeSource::Received },
            event_time: time.unwrap_or(received_us),
            facility: entry.facility.map(i32::from),
            severity: entry.severity.map(i32::from),
            app_name: entry.app_name.map(|name| short(&name)),
            proc_id: entry.proc_id.map(|pid| short(&pid)),
            message_text: lossy_if_needed(&raw),
            message_length: length(raw.len()),
            parse_status: ParseStatus::Journal,
            truncated: cut,
            attributes: unit.into_iter().chain(transport).collect(),
            ..self.blank(raw, None, received_us)
        }
    }

    /// A line of `journalctl` in the same way, or as it stands if it is no entry.
    pub fn journal_line(&self, line: &[u8], received_us: i64) -> (LogRecord, Result<String, JournalError>) {
        match JournalEntry::parse(line) {
            Ok(entry) => {
                let cursor = entry.cursor.clone().into_owned();
                (self.journal(entry, received_us), Ok(cursor))
            }
            Err(error) => (self.unread(line, received_us), Err(error)),
        }
    }

    /// Where the line ends once its message is cut to the limit (not inside a character), and whether it had to be.
    fn end(&self, raw: &[u8], text: &std::ops::Range<usize>) -> (usize, bool) {
        if text.len() <= self.message_bytes_max {
            return (text.end, false);
        }
        let limit = text.start + self.message_bytes_max;
        let character = (limit.saturating_sub(3)..=limit).rev().find(|at| raw.get(*at).is_none_or(|b| b & 0xC0 != 0x80));
        (character.unwrap_or(limit).max(text.start), true)
    }

    fn blank(&self, raw: Vec<u8>, peer: Option<IpAddr>, received_us: i64) -> LogRecord {
        LogRecord {
            observed_time: received_us,
            raw,
            source: LogSource { kind: self.kind, name: self.name.clone(), peer: peer.map(|p| p.to_canonical().to_string()) },
            ..LogRecord::default()
        }
    }
}

/// The virtual machine that the lines of a file speak of: libvirt keeps one log per guest, `…/libvirt/qemu/<guest>.log`.
pub fn guest_of(path: &Path) -> Option<String> {
    let folder = path.parent()?;
    let in_libvirt = folder.file_name()? == "qemu" && folder.parent()?.file_name()? == "libvirt";
    let guest = path.file_name()?.to_str()?.strip_suffix(".log").filter(|guest| !guest.is_empty())?;
    in_libvirt.then(|| short(guest))
}

/// The attribute that marks what was read of the past at the first start.
pub fn backfill_attribute(attributes: &mut BTreeMap<String, String>) {
    attributes.insert("backfill".to_owned(), "1".to_owned());
}

fn lossy_if_needed(text: &[u8]) -> Option<String> {
    std::str::from_utf8(text).is_err().then(|| String::from_utf8_lossy(text).into_owned())
}

fn length(bytes: usize) -> i32 {
    i32::try_from(bytes).unwrap_or(i32::MAX)
}

fn short(text: &str) -> String {
    let end = (0..=ATTRIBUTE_BYTES_MAX.min(text.len())).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
    text.get(..end).unwrap_or_default().to_owned()
}

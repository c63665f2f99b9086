//! How active each template is on each host: what bursts, what falls silent, what is new on a host that is well known.
//!
//! Lines are counted in buckets of event time. A host's buckets close when its own time moves on; once it has been
//! silent for ten seconds of the instance's event time, its clock is taken to run on from where it stood. So neither a
//! fast nor a slow clock of one host, nor one in the wrong time zone, makes another seem silent.

mod state;
mod track;
mod voice;

use hashlink::LruCache;
use schemas::EventTime;
use serde::{Deserialize, Serialize};
use stream_core::Offset;

use crate::{config::Config, template::TemplateId, tree::Hasher};
use track::Track;
pub(crate) use track::{BURST_Z, SILENCE_SCORE};
use voice::{Programs, Voice};

/// A host that said nothing for this long, while event time went on, is silent.
const IDLE_MS: i64 = 10_000;
/// New templates that a host may tell of in one bucket; of the rest a summary is given.
const NEW_PER_BUCKET_MAX: u32 = 10;
/// Findings after which a watermark closes no more hosts: the rest is for the next one. Keeps the alerts of thousands of
/// hosts that fall silent together within the outputs that one record may cause.
const FINDINGS_MAX: usize = 500;
/// Bytes of a host name in the state.
pub(crate) const HOST_BYTES_MAX: usize = 253;

/// What the activity is told of a line.
#[derive(Debug, Clone, Copy)]
pub struct Line<'a> {
    /// Who wrote it.
    pub host: &'a str,
    /// The cluster of its template: stays the same when the template generalises.
    pub cluster: TemplateId,
    /// The program that wrote it.
    pub app: Option<&'a str>,
    /// Syslog severity.
    pub severity: Option<u8>,
    /// When it was written, not later than it was appended.
    pub time: EventTime,
    /// Where it stands in the input.
    pub offset: Offset,
}

/// Something out of the ordinary, or its end.
#[derive(Debug, Clone, PartialEq)]
pub struct Finding {
    /// On which host.
    pub host: String,
    /// Which cluster; [`TemplateId::UNKNOWN`] for a summary.
    pub cluster: TemplateId,
    /// The program that writes its lines, if all are of one.
    pub app: Option<Box<str>>,
    /// Severity of its newest line.
    pub severity: Option<u8>,
    /// End of the bucket in which it was found, or time of the line that ended it.
    pub at: EventTime,
    /// Where its newest line stands.
    pub offset: Offset,
    /// What it is.
    pub kind: FindingKind,
}

/// Kind of a finding.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum FindingKind {
    /// Far more lines than usual, in two buckets running; told again for each bucket that it lasts.
    Burst {
        /// Distance from the mean in units of the usual spread.
        z: f64,
        /// Lines in the bucket.
        count: u32,
        /// Usual lines per bucket.
        mean: f64,
    },
    /// The burst is over.
    BurstOver,
    /// A template that was in nearly every bucket is in none; told again for each bucket that it lasts.
    Silence {
        /// Lines that are missing, divided by their dispersion.
        score: f64,
        /// Buckets without a line.
        buckets: u32,
        /// Usual lines per bucket.
        mean: f64,
    },
    /// The silence is over.
    SilenceOver,
    /// New templates of a bucket beyond those that were told one by one.
    Withheld {
        /// How many.
        count: u32,
    },
}

#[derive(Debug)]
struct Host {
    first_seen: EventTime,
    /// Newest time of its lines.
    newest: EventTime,
    /// Newest time of all hosts' lines when its last one came.
    heard_at: EventTime,
    lines: u64,
    /// Number of the instance's line that was its last: the order of eviction.
    touched: u64,
    /// Touches of its templates so far.
    touches: u64,
    /// Number of the open bucket since the epoch.
    bucket: i64,
    new_in_bucket: u32,
    /// Newest line whose new template was not told.
    withheld: Offset,
    programs: Programs,
    tracks: LruCache<TemplateId, Seen, Hasher>,
}

/// One template of a host.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
struct Seen {
    track: Track,
    voice: Voice,
    severity: Option<u8>,
    offset: Offset,
    /// Number of the host's touch that was the last of this template: the order of eviction.
    touched: u64,
}

/// The activity of all hosts of one instance.
#[derive(Debug)]
pub struct Activity {
    bucket_ns: i64,
    templates_max: usize,
    warmup_lines: u64,
    warmup_ms: i64,
    /// Least recently heard first.
    hosts: LruCache<Box<str>, Host, Hasher>,
    hosts_max: usize,
    newest: EventTime,
    /// Lines so far.
    lines: u64,
    findings: Vec<Finding>,
}

impl Activity {
    /// No host is known.
    pub fn new(config: &Config) -> Self {
        Self {
            bucket_ns: i64::from(config.activity.bucket_s.max(1)) * 1_000_000_000,
            templates_max: config.activity.templates_max.max(1),
            warmup_lines: config.warmup_lines,
            warmup_ms: i64::from(config.warmup_min) * 60_000,
            hosts: LruCache::with_hasher(usize::MAX, Hasher::default()),
            hosts_max: config.hosts_max.max(1),
            newest: EventTime::MIN,
            lines: 0,
            findings: Vec::new(),
        }
    }

    /// Counts a line. What follows from it is in [`Activity::findings`].
    pub fn count(&mut self, line: &Line<'_>) {
        self.lines = self.lines.saturating_add(1);
        self.newest = self.newest.max(line.time);
        let bucket = line.time.0.div_euclid(self.bucket_ns);
        if !self.hosts.contains_key(line.host) {
            self.welcome(line, bucket);
        }
        let Some(host) = self.hosts.get_mut(line.host) else { return };
        if bucket > host.bucket {
            close(host, line.host, bucket, self.bucket_ns, &mut self.findings);
        }
        host.lines = host.lines.saturating_add(1);
        host.touched = self.lines;
        host.newest = host.newest.max(line.time);
        host.heard_at = self.newest;
        let touched = host.touch();
        if !host.tracks.contains_key(&line.cluster)
            && host.tracks.len() >= self.templates_max
            && let Some((cluster, seen)) = host.tracks.remove_lru()
        {
            leave(line.host, cluster, &seen, line.time, &mut self.findings);
        }
        let programs = &mut host.programs;
        let seen = host.tracks.entry(line.cluster).or_insert_with(Seen::default);
        (seen.severity, seen.offset, seen.touched) = (line.severity, line.offset, touched);
        seen.voice = programs.hear(line.app, seen.voice);
        // A straggler of the bucket before counts in this one; an older line belongs to no bucket that is still open.
        if bucket >= host.bucket.saturating_sub(1) && seen.track.count() {
            self.findings.push(seen.finding(line.host, line.cluster, None, line.time, FindingKind::SilenceOver));
        }
    }

    /// Whether a template that is new with `line`, which has been counted, is worth telling: its host is known well enough
    /// and has not told of many others in this bucket.
    pub fn tells_of_new(&mut self, line: &Line<'_>) -> bool {
        let Some(host) = self.hosts.get_mut(line.host) else { return false };
        if host.lines <= self.warmup_lines || line.time.millis_since(host.first_seen) < self.warmup_ms {
            return false;
        }
        host.new_in_bucket = host.new_in_bucket.saturating_add(1);
        if host.new_in_bucket > NEW_PER_BUCKET_MAX {
            host.withheld = line.offset;
            return false;
        }
        true
    }

    /// Closes the buckets of silent hosts, as far as event time has come.
    pub fn close_silent(&mut self, now: EventTime) {
        for (name, host) in &mut self.hosts {
            let silent_ms = now.millis_since(host.heard_at);
            // In the order in which they were last heard: those that follow are not silent either.
            if silent_ms < IDLE_MS || self.findings.len() >= FINDINGS_MAX {
                return;
            }
            let bucket = host.newest.plus_millis(silent_ms).0.div_euclid(self.bucket_ns);
            if bucket > host.bucket {
                close(host, name, bucket, self.bucket_ns, &mut self.findings);
            }
        }
    }

    /// `from` has become a part of `into`: so has its activity, on every host, or on `whose` alone.
    pub fn merge(&mut self, whose: Option<&str>, from: TemplateId, into: TemplateId, at: EventTime) {
        for (name, host) in self.hosts.iter_mut().filter(|(name, _)| whose.is_none_or(|whose| ***name == *whose)) {
            let Some(old) = host.tracks.remove(&from) else { continue };
            leave(name, from, &old, at, &mut self.findings);
            let touched = host.touch();
            let seen = host.tracks.entry(into).or_insert_with(|| Seen { severity: old.severity, offset: old.offset, ..Seen::default() });
            seen.track.absorb(&old.track);
            seen.voice = seen.voice.and(old.voice);
            seen.touched = touched;
        }
    }

    /// Hosts that are remembered.
    pub fn hosts(&self) -> usize {
        self.hosts.len()
    }

    /// What has been found since the last call.
    pub fn findings(&mut self) -> Vec<Finding> {
        std::mem::take(&mut self.findings)
    }

    /// Makes a place for a host that is not known.
    fn welcome(&mut self, line: &Line<'_>, bucket: i64) {
        if self.hosts.len() >= self.hosts_max
            && let Some((name, host)) = self.hosts.remove_lru()
        {
            for (cluster, seen) in &host.tracks {
                leave(&name, *cluster, seen, host.newest, &mut self.findings);
            }
        }
        self.hosts.insert(line.host.into(), Host::new(line.time, bucket));
    }
}

impl Host {
    fn new(time: EventTime, bucket: i64) -> Self {
        Self {
            first_seen: time,
            newest: time,
            heard_at: time,
            lines: 0,
            touched: 0,
            touches: 0,
            bucket,
            new_in_bucket: 0,
            withheld: Offset(0),
            programs: Programs::default(),
            tracks: LruCache::with_hasher(usize::MAX, Hasher::default()),
        }
    }

    fn touch(&mut self) -> u64 {
        self.touches = self.touches.saturating_add(1);
        self.touches
    }
}

impl Seen {
    fn finding(&self, host: &str, cluster: TemplateId, app: Option<&str>, at: EventTime, kind: FindingKind) -> Finding {
        Finding { host: host.into(), cluster, app: app.map(Into::into), severity: self.severity, at, offset: self.offset, kind }
    }
}

/// Closes a host's buckets before number `bucket`.
fn close(host: &mut Host, name: &str, bucket: i64, bucket_ns: i64, findings: &mut Vec<Finding>) {
    let buckets = u32::try_from(bucket.saturating_sub(host.bucket)).unwrap_or(u32::MAX);
    let at = EventTime(bucket.saturating_mul(bucket_ns));
    let count = std::mem::take(&mut host.new_in_bucket).saturating_sub(NEW_PER_BUCKET_MAX);
    if count > 0 {
        let kind = FindingKind::Withheld { count };
        let (cluster, offset) = (TemplateId::UNKNOWN, host.withheld);
        findings.push(Finding { host: name.into(), cluster, app: None, severity: None, at, offset, kind });
    }
    host.bucket = bucket;
    for (cluster, seen) in &mut host.tracks {
        let mut track = std::mem::take(&mut seen.track);
        let app = host.programs.name(seen.voice);
        track.close(buckets, |kind| findings.push(seen.finding(name, *cluster, app, at, kind)));
        seen.track = track;
    }
}

/// A template is forgotten: whoever was told that it bursts or is silent is told that this is over.
fn leave(host: &str, cluster: TemplateId, seen: &Seen, at: EventTime, findings: &mut Vec<Finding>) {
    findings.extend(seen.track.open_ends().map(|kind| seen.finding(host, cluster, None, at, kind)));
}

#[cfg(test)]
mod tests;

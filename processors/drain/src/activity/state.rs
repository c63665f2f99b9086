//! The activity as bytes and back: hosts by name, their templates by id.

use schemas::EventTime;
use serde::{Deserialize, Serialize};
use stream_core::Offset;

use super::{
    Activity, HOST_BYTES_MAX, Host, Seen,
    voice::{PROGRAM_BYTES_MAX, PROGRAMS_MAX, Programs},
};
use crate::{config::Config, template::TemplateId};

/// Bytes of one template of a host: id 8, averages 8, presence 9, counters 5 each, offset and recency at most 10 each, voice 2.
const SEEN_BYTES_MAX: u64 = 74;
/// Bytes of a host without its name, programs and templates.
const HOST_FRAME_BYTES_MAX: u64 = 96;
/// Bytes of the names of its programs.
const PROGRAMS_BYTES_MAX: u64 = PROGRAMS_MAX as u64 * (PROGRAM_BYTES_MAX as u64 + 1) + 1;

#[derive(Serialize, Deserialize)]
struct HostRow {
    name: String,
    first_seen: EventTime,
    newest: EventTime,
    heard_at: EventTime,
    lines: u64,
    touched: u64,
    touches: u64,
    bucket: i64,
    new_in_bucket: u32,
    withheld: Offset,
    programs: Programs,
    tracks: Vec<(TemplateId, Seen)>,
}

#[derive(Serialize, Deserialize)]
struct State {
    newest: EventTime,
    lines: u64,
    hosts: Vec<HostRow>,
}

impl Activity {
    /// The largest state that these caps allow.
    pub fn state_bytes_bound(config: &Config) -> u64 {
        let tracks = config.activity.templates_max as u64 * SEEN_BYTES_MAX;
        config.hosts_max as u64 * (HOST_FRAME_BYTES_MAX + HOST_BYTES_MAX as u64 + PROGRAMS_BYTES_MAX + tracks) + HOST_FRAME_BYTES_MAX
    }

    /// The state; findings that nobody has fetched are none of it.
    ///
    /// # Errors
    /// If postcard cannot write it.
    pub fn snapshot(&self) -> Result<Vec<u8>, postcard::Error> {
        let mut hosts: Vec<HostRow> = self.hosts.iter().map(|(name, host)| host.row(name)).collect();
        hosts.sort_by(|a, b| a.name.cmp(&b.name));
        postcard::to_stdvec(&State { newest: self.newest, lines: self.lines, hosts })
    }

    /// Comes back from a state. Under smaller caps the least recent hosts and templates are left out.
    ///
    /// # Errors
    /// If it is not what [`Activity::snapshot`] writes.
    pub fn restore(config: &Config, bytes: &[u8]) -> Result<Self, postcard::Error> {
        let (state, rest): (State, _) = postcard::take_from_bytes(bytes)?;
        let sorted = state.hosts.is_sorted_by(|a, b| a.name < b.name);
        if !rest.is_empty() || !sorted || state.hosts.iter().any(|host| !host.is_sound()) {
            return Err(postcard::Error::DeserializeBadEncoding);
        }
        let mut activity = Self { newest: state.newest, lines: state.lines, ..Self::new(config) };
        let mut hosts = state.hosts;
        hosts.sort_by_key(|host| host.touched);
        let surplus = hosts.len().saturating_sub(activity.hosts_max);
        for row in hosts.into_iter().skip(surplus) {
            let name = row.name.as_str().into();
            let host = Host::of_row(row, activity.templates_max);
            activity.hosts.insert(name, host);
        }
        Ok(activity)
    }
}

impl HostRow {
    fn is_sound(&self) -> bool {
        let named = (1..=HOST_BYTES_MAX).contains(&self.name.len());
        named
            && self.programs.is_sound()
            && self.tracks.is_sorted_by(|a, b| a.0 < b.0)
            && self.tracks.iter().all(|(_, seen)| seen.touched <= self.touches)
    }
}

impl Host {
    fn row(&self, name: &str) -> HostRow {
        let mut tracks: Vec<_> = self.tracks.iter().map(|(cluster, seen)| (*cluster, seen.clone())).collect();
        tracks.sort_by_key(|(cluster, _)| *cluster);
        HostRow {
            name: name.into(),
            first_seen: self.first_seen,
            newest: self.newest,
            heard_at: self.heard_at,
            lines: self.lines,
            touches: self.touches,
            touched: self.touched,
            bucket: self.bucket,
            new_in_bucket: self.new_in_bucket,
            withheld: self.withheld,
            programs: self.programs.clone(),
            tracks,
        }
    }

    fn of_row(row: HostRow, templates_max: usize) -> Self {
        let mut host = Self {
            first_seen: row.first_seen,
            newest: row.newest,
            heard_at: row.heard_at,
            lines: row.lines,
            touched: row.touched,
            touches: row.touches,
            new_in_bucket: row.new_in_bucket,
            withheld: row.withheld,
            programs: row.programs,
            ..Self::new(row.newest, row.bucket)
        };
        let mut tracks = row.tracks;
        tracks.sort_by_key(|(_, seen)| seen.touched);
        let surplus = tracks.len().saturating_sub(templates_max);
        for (cluster, seen) in tracks.into_iter().skip(surplus) {
            host.tracks.insert(cluster, seen);
        }
        host
    }
}

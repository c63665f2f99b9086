//! The open incidents of an instance: which story each alert belongs to, when a story is told, and when it is over.

use std::collections::BTreeMap;

use schemas::{EventTime, Incident, incident::incident_id};
use serde::{Deserialize, Serialize};
use stream_core::StateError;

use crate::{
    cause,
    config::Config,
    graph::Graph,
    grouping::Neighbourhood,
    identity::Identity,
    mention::{self, MENTIONS_MAX, Mention},
    record,
    sighting::Sighting,
    story::{STORY_BYTES, Story},
};

/// Bytes of all stories at most; beyond, those that are over are forgotten, then the least severe are closed.
const BYTES_MAX: usize = 32 << 20;
/// Stories that one watermark tells at most, and the bytes that it spends on it: one record may cause 8 MiB of outputs.
const TOLD_MAX: usize = 200;
const TOLD_BYTES_MAX: usize = 2 << 20;
/// Stories that one alert shows to be one, besides the oldest, at most: each is told.
const MERGED_MAX: usize = 4;

/// The incidents of one instance. Part of its state.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct IncidentBook {
    #[serde(skip)]
    config: Config,
    graph: Graph,
    stories: BTreeMap<Identity, Story>,
    watermark: EventTime,
    /// Which story an alert belongs to.
    #[serde(skip)]
    of_alert: BTreeMap<Identity, Identity>,
}

impl IncidentBook {
    /// An empty book.
    pub fn new(config: &Config) -> Self {
        Self { config: config.clone(), watermark: EventTime::MIN, ..Self::default() }
    }

    /// The largest snapshot under this configuration.
    pub fn state_bytes_bound(config: &Config) -> u64 {
        // A story may outgrow the limit by one alert and its line before it is seen to.
        let slack = 64 << 10;
        Graph::bytes_bound(config.things_max) + BYTES_MAX as u64 + slack
    }

    /// Number of incidents that are open.
    pub fn open_count(&self) -> usize {
        self.stories.values().filter(|story| story.is_open()).count()
    }

    /// Takes in one word about an alert; returns the incidents that are to be told now.
    pub fn on_alert(&mut self, mut sighting: Sighting, line: &str) -> Vec<Incident> {
        self.name_the_known(&mut sighting, line);
        self.graph.learn(&sighting, self.config.things_max, self.config.edge_ms);
        let mut told = Vec::new();
        if let Some(id) = self.of_alert.get(&sighting.fingerprint).copied() {
            if let Some(story) = self.stories.get_mut(&id) {
                story.hear(&sighting, &self.config, self.watermark);
            }
            self.tell_if_due(id, sighting.at, &mut told);
            self.make_room(id, &mut told);
        } else if sighting.status == schemas::AlertStatus::Firing {
            let id = self.place(&sighting, &mut told);
            self.tell_if_due(id, sighting.at, &mut told);
            self.make_room(id, &mut told);
        }
        told
    }

    /// Event time has come to `now`: stories end, and what changed since it was last told is told, the longest silent first.
    pub fn on_watermark(&mut self, now: EventTime) -> Vec<Incident> {
        self.watermark = self.watermark.max(now);
        let watermark = self.watermark;
        for story in self.stories.values_mut() {
            story.give_up_stale(watermark, &self.config);
            if story.is_over(watermark, &self.config) {
                let total = story.members.len() as u64 + story.untracked;
                story.end(watermark, None, &if total == 1 { "its alert is over".into() } else { format!("all {total} alerts are over") });
            }
        }
        self.forget_old();
        let is_due = |story: &Story| story.is_changed && watermark.millis_since(story.emitted_at) >= self.config.emit_every_ms;
        let mut due: Vec<_> = self.stories.values().filter(|story| is_due(story)).map(|story| (story.emitted_at, story.id)).collect();
        due.sort_unstable();
        let (mut told, mut bytes) = (Vec::new(), 0);
        for (_, id) in due.into_iter().take(TOLD_MAX) {
            bytes += self.stories.get(&id).map_or(0, |story| story.bytes);
            if bytes > TOLD_BYTES_MAX && !told.is_empty() {
                break;
            }
            self.tell(id, watermark, &mut told);
        }
        told
    }

    /// After a restore: takes over the configuration and what is not written.
    ///
    /// # Errors
    /// If it cannot have come from a book under these caps.
    pub fn restored(mut self, config: &Config) -> Result<Self, StateError> {
        let damaged = |detail: String| StateError::Damaged { section: SECTION.into(), detail };
        if !self.graph.is_within(config.things_max) || self.open_count() > config.open_max || !self.stories.values().all(Story::is_within) {
            let found = format!("{} things and {} open incidents", self.graph.len(), self.open_count());
            return Err(damaged(format!("{found}: more than this configuration allows, or an incident with too many alerts")));
        }
        self.config = config.clone();
        self.graph.recount();
        self.stories.values_mut().for_each(Story::recount);
        self.of_alert = self.stories.values().flat_map(|story| story.members.keys().map(|fingerprint| (*fingerprint, story.id))).collect();
        Ok(self)
    }

    /// Adds the machines and services that stand in a line as plain words, if they are known.
    fn name_the_known(&self, sighting: &mut Sighting, line: &str) {
        for word in mention::words(line) {
            let is_own = |node: &schemas::Node| *node == sighting.subject || sighting.places.contains(node);
            let is_new = sighting.mentions.len() < 2 * MENTIONS_MAX && sighting.mentions.iter().all(|mention| mention.name != word);
            let known = || self.graph.machine(&word).or_else(|| self.graph.service(&word));
            if is_new && known().is_some_and(|node| !is_own(&node)) {
                sighting.mentions.push(Mention { name: word, is_endpoint: false, is_caller: false });
            }
        }
    }

    /// Puts an alert that is new into its story, which it may begin, and makes one of those that it shows to be one.
    fn place(&mut self, sighting: &Sighting, told: &mut Vec<Incident>) -> Identity {
        let around = Neighbourhood::new(sighting, &self.graph, &self.config);
        let ranked = around.rank(self.stories.values(), &self.config);
        let Some((bond, _, nearest)) = ranked.first() else {
            return self.begin(sighting);
        };
        let mut one: Vec<(EventTime, Identity)> = vec![];
        if bond.joins_stories() {
            one = ranked.iter().filter(|(bond, ..)| bond.joins_stories()).map(|(_, started_at, id)| (*started_at, *id)).collect();
        }
        let target = one.iter().min().map_or(*nearest, |(_, id)| *id);
        let why = ranked.iter().find(|(_, _, id)| *id == target).map_or_else(String::new, |(bond, ..)| bond.to_string());
        for (_, other) in one.into_iter().filter(|(_, id)| *id != target).take(MERGED_MAX) {
            self.merge(other, target, sighting, told);
        }
        if let Some(story) = self.stories.get_mut(&target)
            && story.add(sighting, &why, self.watermark)
        {
            self.of_alert.insert(sighting.fingerprint, target);
        }
        target
    }

    fn begin(&mut self, sighting: &Sighting) -> Identity {
        let id = incident_id(&sighting.fingerprint.to_string(), sighting.started_at).parse().unwrap_or(sighting.fingerprint);
        let mut story = Story::new(id, sighting);
        story.add(sighting, "", self.watermark);
        self.of_alert.insert(sighting.fingerprint, id);
        self.stories.insert(id, story);
        id
    }

    /// Makes a story part of another, and tells its end at once: whoever follows it must know where it goes on.
    fn merge(&mut self, from: Identity, into: Identity, sighting: &Sighting, told: &mut Vec<Incident>) {
        let Some(mut ended) = self.stories.remove(&from) else { return };
        let why = format!("{} on {} belongs to both", sighting.name, sighting.subject);
        if let Some(story) = self.stories.get_mut(&into) {
            story.absorb(&ended, &why, sighting.at);
            for fingerprint in ended.members.keys() {
                if story.members.contains_key(fingerprint) {
                    self.of_alert.insert(*fingerprint, into);
                } else {
                    self.of_alert.remove(fingerprint);
                }
            }
        }
        let name = into.to_string();
        ended.end(sighting.at, Some(into), &format!("it is part of incident {}: {why}", name.get(..8).unwrap_or(&name)));
        told.push(tell(&mut ended, &self.graph, &self.config, sighting.at));
    }

    fn tell_if_due(&mut self, id: Identity, now: EventTime, told: &mut Vec<Incident>) {
        let every = self.config.emit_every_ms;
        let is_due = |story: &Story| story.is_changed && (story.revision == 0 || now.millis_since(story.emitted_at) >= every);
        if self.stories.get(&id).is_some_and(is_due) {
            self.tell(id, now, told);
        }
    }

    fn tell(&mut self, id: Identity, now: EventTime, told: &mut Vec<Incident>) {
        if let Some(story) = self.stories.get_mut(&id) {
            told.push(tell(story, &self.graph, &self.config, now));
        }
    }

    /// Stories that are over are remembered for as long as an alert of theirs could still be flapping.
    fn forget_old(&mut self) {
        let (watermark, window) = (self.watermark, self.config.flap_window_ms);
        let is_old = |story: &Story| !story.is_changed && story.ending.is_some_and(|ending| watermark.millis_since(ending.at) >= window);
        let old: Vec<Identity> = self.stories.values().filter(|story| is_old(story)).map(|story| story.id).collect();
        for id in old {
            self.forget(id);
        }
    }

    /// Keeps the book within its caps: forgets what is over, then closes the least severe story, of those the oldest, but not `newest`.
    fn make_room(&mut self, newest: Identity, told: &mut Vec<Incident>) {
        let mut bytes: usize = self.stories.values().map(|story| story.bytes).sum();
        let mut open = self.open_count();
        while open > self.config.open_max || bytes > BYTES_MAX || self.stories.len() > 2 * self.config.open_max {
            let key = |story: &Story| (story.id == newest, story.is_open(), story.severity, story.heard_at, story.id);
            let Some(least) = self.stories.values().min_by_key(|story| key(story)).map(|story| story.id) else { return };
            if let Some(story) = self.stories.get_mut(&least) {
                bytes -= story.bytes;
                if story.is_open() {
                    open -= 1;
                    let limits = format!("closed to make room: more than {} incidents or {BYTES_MAX} bytes of them", self.config.open_max);
                    story.end(self.watermark.max(story.heard_at), None, &limits);
                }
                if story.is_changed {
                    told.push(tell(story, &self.graph, &self.config, self.watermark));
                }
            }
            self.forget(least);
        }
    }

    fn forget(&mut self, id: Identity) {
        let Some(story) = self.stories.remove(&id) else { return };
        for fingerprint in story.members.keys() {
            self.of_alert.remove(fingerprint);
        }
    }
}

/// The name of the section in snapshots.
pub(crate) const SECTION: &str = "incidents";

const _: () = assert!(STORY_BYTES < BYTES_MAX);

/// The next record of a story.
fn tell(story: &mut Story, graph: &Graph, config: &Config, now: EventTime) -> Incident {
    let causes = cause::rank(story, graph, &config.weights);
    let first = causes.first().map(|ranked| ranked.cause.clone());
    drop(causes);
    story.note_cause(first.as_ref().map(|cause| &cause.node), first.as_ref().map_or("", |cause| &cause.because));
    story.revision += 1;
    story.is_changed = false;
    story.emitted_at = story.emitted_at.max(now);
    record::incident(story, &cause::rank(story, graph, &config.weights))
}

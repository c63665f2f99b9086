//! One story as it is kept: its alerts, its timeline, and what it reaches.

use std::collections::{BTreeMap, BTreeSet};

use schemas::{
    AlertStatus, EventTime, Node, Severity, TimelineKind,
    alert::one_line,
    incident::{LINE_BYTES_MAX, TIMELINE_MAX},
};
use serde::{Deserialize, Serialize};

use crate::{
    config::Config,
    identity::Identity,
    mention::{MENTIONS_MAX, Mention},
    sighting::Sighting,
};

/// Alerts of one story that are kept one by one; what comes beyond is counted.
pub(crate) const MEMBERS_MAX: usize = 500;

/// An alert of a story.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Member {
    /// The last word about it, with the start of the first.
    pub word: Sighting,
    /// When it was last heard of in the time of the watermark: an alert of a host whose clock is slow is not over at once.
    pub quiet_from: EventTime,
    /// When it last began or ended, as often as matters for flapping.
    pub turns: Vec<EventTime>,
    /// It comes and goes; told once.
    pub is_flapping: bool,
}

impl Member {
    /// Whether it lasts.
    pub fn is_firing(&self) -> bool {
        self.word.status == AlertStatus::Firing
    }

    /// Notes that it began or ended, and says whether it has become flapping by that.
    fn turn(&mut self, at: EventTime, config: &Config) -> bool {
        self.turns.push(at);
        self.turns.retain(|turn| at.millis_since(*turn) <= config.flap_window_ms);
        let most = config.flap_transitions as usize;
        let extra = self.turns.len().saturating_sub(most);
        self.turns.drain(..extra);
        let was_flapping = std::mem::replace(&mut self.is_flapping, self.turns.len() >= most);
        self.is_flapping && !was_flapping
    }

    /// How long it must be over before its story may end.
    fn hold_ms(&self, config: &Config) -> i64 {
        if self.is_flapping { config.flap_window_ms.max(config.resolve_after_ms) } else { config.resolve_after_ms }
    }
}

/// A line of the timeline.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Line {
    /// When.
    pub at: EventTime,
    /// What kind of line.
    pub kind: TimelineKind,
    /// One line.
    pub text: String,
    /// Which alert.
    pub fingerprint: Option<Identity>,
}

/// How a story ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ending {
    /// When that was known.
    pub at: EventTime,
    /// When its last alert ended.
    pub ends_at: EventTime,
    /// The story in which it goes on.
    pub into: Option<Identity>,
}

/// What a story reaches: derived from its alerts, so that a new one is compared with it without looking at each.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Reach {
    /// Places, and what is in trouble there.
    pub places: BTreeMap<Node, BTreeSet<Node>>,
    /// Names that its alerts mention, and whether as an endpoint.
    pub named: BTreeMap<String, bool>,
    /// What its alerts have in common with the same elsewhere.
    pub symptoms: BTreeSet<Identity>,
}

/// One story.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Story {
    /// Which.
    pub id: Identity,
    /// Records told of it so far.
    pub revision: u64,
    /// The greatest that an alert of it had.
    pub severity: Severity,
    /// When its first alert began.
    pub started_at: EventTime,
    /// When it last changed.
    pub last_update: EventTime,
    /// When an alert of it was last heard of.
    pub heard_at: EventTime,
    /// When it was last told.
    pub emitted_at: EventTime,
    /// It has changed since.
    pub is_changed: bool,
    /// How it ended, if it has.
    pub ending: Option<Ending>,
    /// Its alerts.
    pub members: BTreeMap<Identity, Member>,
    /// Alerts that came when there were [`MEMBERS_MAX`] already.
    pub untracked: u64,
    /// How it went.
    pub lines: Vec<Line>,
    /// The first cause when it was last told.
    pub first_cause: Option<Node>,
    #[serde(skip)]
    pub(crate) reach: Reach,
    /// Sum of what its alerts and lines take.
    #[serde(skip)]
    pub(crate) bytes: usize,
}

/// Bytes of a story without alerts and lines in a snapshot.
pub(crate) const STORY_BYTES: usize = 512;

impl Story {
    /// A story that begins with this alert.
    pub fn new(id: Identity, first: &Sighting) -> Self {
        Self {
            id,
            revision: 0,
            severity: first.severity,
            started_at: first.started_at,
            last_update: first.at,
            heard_at: first.at,
            emitted_at: EventTime::MIN,
            is_changed: true,
            ending: None,
            members: BTreeMap::new(),
            untracked: 0,
            lines: Vec::new(),
            first_cause: None,
            reach: Reach::default(),
            bytes: STORY_BYTES,
        }
    }

    /// Whether it goes on.
    pub fn is_open(&self) -> bool {
        self.ending.is_none()
    }

    /// Takes in an alert that is new to it; false if it has no room and only counts it. `why` says how they belong together.
    pub(crate) fn add(&mut self, word: &Sighting, why: &str, watermark: EventTime) -> bool {
        self.touch(word.at);
        self.heard_at = self.heard_at.max(word.at);
        self.started_at = self.started_at.min(word.started_at);
        self.severity = self.severity.max(word.severity);
        let because = if why.is_empty() { String::new() } else { format!(" ({why})") };
        self.tell(word.started_at, TimelineKind::Firing, &format!("{} on {}: {}{because}", word.name, word.subject, word.message), word);
        if self.members.len() >= MEMBERS_MAX {
            self.untracked += 1;
            return false;
        }
        let member = Member { word: word.clone(), quiet_from: word.at.max(watermark), turns: vec![word.started_at], is_flapping: false };
        self.insert(member);
        true
    }

    /// A further word about an alert that it has.
    pub(crate) fn hear(&mut self, word: &Sighting, config: &Config, watermark: EventTime) {
        let Some(member) = self.members.get_mut(&word.fingerprint) else { return };
        let (before, bytes) = (member.word.clone(), member_bytes(member));
        let was_flapping = member.is_flapping;
        member.quiet_from = word.at.max(watermark);
        member.word = Sighting { started_at: before.started_at.min(word.started_at), ..word.clone() };
        member.word.mentions = union(&before.mentions, &word.mentions);
        let turned = before.status != word.status;
        let is_firing = member.is_firing();
        let began_to_flap = turned && member.turn(word.at, config);
        let stays_flapping = was_flapping && member.is_flapping;
        self.bytes = self.bytes - bytes + member_bytes(member);
        let member = member.clone();
        let is_elsewhere = (&before.subject, &before.places, before.symptom) != (&word.subject, &word.places, word.symptom);
        if is_elsewhere || member.word.mentions != before.mentions {
            self.look_around();
        }
        if is_firing {
            self.heard_at = self.heard_at.max(word.at);
            self.severity = self.severity.max(word.severity);
        }
        let name = format!("{} on {}", word.name, word.subject);
        if began_to_flap {
            let text = format!("{name} comes and goes: {} times in {} min", member.turns.len(), config.flap_window_ms / 60_000);
            self.tell(word.at, TimelineKind::Flapping, &text, word);
        } else if turned && !stays_flapping && is_firing {
            self.tell(word.at, TimelineKind::Firing, &format!("{name} again: {}", word.message), word);
        } else if turned && !stays_flapping {
            self.tell(word.at, TimelineKind::Resolved, &format!("{name} is over"), word);
        } else if is_firing && before.severity != word.severity {
            self.tell(word.at, TimelineKind::Severity, &format!("{name} is {} now, was {}", word.severity, before.severity), word);
        }
        if turned && is_firing && !self.is_open() {
            self.ending = None;
            self.touch(word.at);
        }
    }

    /// Takes over all that another story has.
    pub(crate) fn absorb(&mut self, other: &Story, why: &str, at: EventTime) {
        self.started_at = self.started_at.min(other.started_at);
        self.heard_at = self.heard_at.max(other.heard_at);
        self.severity = self.severity.max(other.severity);
        self.untracked += other.untracked;
        for member in other.members.values() {
            if self.members.len() < MEMBERS_MAX || self.members.contains_key(&member.word.fingerprint) {
                self.insert(member.clone());
            } else {
                self.untracked += 1;
            }
        }
        for line in &other.lines {
            self.push(line.clone());
        }
        self.touch(at);
        let id = other.id.to_string();
        self.push_line(at, TimelineKind::Merged, &format!("incident {} is part of this one: {why}", id.get(..8).unwrap_or(&id)), None);
    }

    /// Ends it.
    pub(crate) fn end(&mut self, at: EventTime, into: Option<Identity>, text: &str) {
        let last = self.members.values().filter(|member| !member.is_firing()).map(|member| member.word.at).max();
        let ends_at = if into.is_some() { at } else { last.unwrap_or(at) };
        self.ending = Some(Ending { at, ends_at: ends_at.max(self.started_at), into });
        self.touch(at);
        let kind = if into.is_some() { TimelineKind::Merged } else { TimelineKind::Closed };
        self.push_line(ends_at, kind, text, None);
    }

    /// Alerts of which nothing was heard for so long that whoever sent them is gone count as over.
    pub(crate) fn give_up_stale(&mut self, watermark: EventTime, config: &Config) {
        let is_stale = |member: &Member| member.is_firing() && watermark.millis_since(member.quiet_from) >= config.stale_ms;
        let stale: Vec<Identity> =
            self.members.iter().filter(|(_, member)| is_stale(member)).map(|(fingerprint, _)| *fingerprint).collect();
        for fingerprint in stale {
            let Some(member) = self.members.get_mut(&fingerprint) else { continue };
            member.word.status = AlertStatus::Resolved;
            let word = member.word.clone();
            self.touch(watermark);
            self.tell(
                watermark,
                TimelineKind::Resolved,
                &format!("nothing was heard of {} on {} for too long", word.name, word.subject),
                &word,
            );
        }
    }

    /// Whether all its alerts have been over for long enough.
    pub(crate) fn is_over(&self, watermark: EventTime, config: &Config) -> bool {
        let is_over = |member: &Member| !member.is_firing() && watermark.millis_since(member.quiet_from) >= member.hold_ms(config);
        self.is_open() && self.members.values().all(is_over)
    }

    /// The first cause is another one now.
    pub(crate) fn note_cause(&mut self, cause: Option<&Node>, because: &str) {
        if cause == self.first_cause.as_ref() {
            return;
        }
        if let (Some(cause), true) = (cause, self.first_cause.is_some()) {
            self.push_line(self.last_update, TimelineKind::Cause, &format!("{cause} is the first cause now: {because}"), None);
        }
        self.first_cause = cause.cloned();
    }

    /// After a restore: what is not written.
    pub(crate) fn recount(&mut self) {
        self.bytes =
            STORY_BYTES + self.members.values().map(member_bytes).sum::<usize>() + self.lines.iter().map(line_bytes).sum::<usize>();
        self.look_around();
    }

    /// Whether it can have come from a snapshot.
    pub(crate) fn is_within(&self) -> bool {
        self.members.len() <= MEMBERS_MAX && self.lines.len() <= TIMELINE_MAX
    }

    fn insert(&mut self, member: Member) {
        self.reach.take_in(&member.word);
        self.bytes += member_bytes(&member);
        if let Some(before) = self.members.insert(member.word.fingerprint, member) {
            self.bytes -= member_bytes(&before);
            self.look_around();
        }
    }

    /// What it reaches is always what its alerts as they are now reach, so that it is the same after a restore.
    fn look_around(&mut self) {
        self.reach = Reach::default();
        for member in self.members.values() {
            self.reach.take_in(&member.word);
        }
    }

    fn touch(&mut self, at: EventTime) {
        self.is_changed = true;
        self.last_update = self.last_update.max(at);
    }

    fn tell(&mut self, at: EventTime, kind: TimelineKind, text: &str, word: &Sighting) {
        self.touch(word.at);
        self.push_line(at, kind, text, Some(word.fingerprint));
    }

    fn push_line(&mut self, at: EventTime, kind: TimelineKind, text: &str, fingerprint: Option<Identity>) {
        self.push(Line { at, kind, text: one_line(text, LINE_BYTES_MAX), fingerprint });
    }

    /// Of a timeline that is full the first half stays, since it holds the cause, and of the rest the newest.
    fn push(&mut self, line: Line) {
        if self.lines.len() >= TIMELINE_MAX {
            self.bytes -= line_bytes(&self.lines.remove(TIMELINE_MAX / 2));
        }
        self.bytes += line_bytes(&line);
        self.lines.push(line);
    }
}

impl Reach {
    fn take_in(&mut self, word: &Sighting) {
        for place in &word.places {
            self.places.entry(place.clone()).or_default().insert(word.subject.clone());
        }
        for mention in &word.mentions {
            *self.named.entry(mention.name.clone()).or_default() |= mention.is_endpoint;
        }
        self.symptoms.extend(word.symptom);
    }
}

/// The names of both, those of the first before, as many as an alert may have.
fn union(old: &[Mention], new: &[Mention]) -> Vec<Mention> {
    let mut all = old.to_vec();
    for mention in new {
        if let Some(known) = all.iter_mut().find(|known| known.name == mention.name) {
            known.hear(mention);
        } else if all.len() < 2 * MENTIONS_MAX {
            all.push(mention.clone());
        }
    }
    all
}

/// Bytes of an alert in a snapshot, at most.
fn member_bytes(member: &Member) -> usize {
    const FRAME_BYTES: usize = 240;
    let word = &member.word;
    let nodes: usize = word.places.iter().chain([&word.subject]).map(|node| node.name.len() + 12).sum();
    let mentions: usize = word.mentions.iter().map(|mention| mention.name.len() + 4).sum();
    FRAME_BYTES + word.name.len() + word.message.len() + nodes + mentions + member.turns.len() * 10
}

/// Bytes of a line in a snapshot, at most.
fn line_bytes(line: &Line) -> usize {
    const FRAME_BYTES: usize = 40;
    FRAME_BYTES + line.text.len()
}

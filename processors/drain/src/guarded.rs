//! Mode `guarded`, Drain with guards: how a line finds, makes and changes templates.

use std::collections::HashSet;
use std::sync::Arc;

use xxhash_rust::xxh3::xxh3_128;

use crate::change::{Change, ChangeKind, FROM_MAX, Match, TemplateEvent, TemplateInfo};
use crate::config::{Config, ConfigError};
use crate::drain::Parsed;
use crate::explosion::ExplosionGuard;
use crate::fanout::{CONTEXT_MIN, Fanout};
use crate::mask::Masker;
use crate::param::Params;
use crate::signature::{Entry, Signatures};
use crate::structure::Structure;
use crate::template::{Template, TemplateId, canonical};
use crate::token::{TokenKind, Tokens};
use crate::tree::{Cluster, Hasher, Serial, Tree, skeleton};

/// The tree of one instance in mode `guarded`.
#[derive(Clone, Debug)]
pub(crate) struct Guarded {
    pub(crate) config: Config,
    masker: Arc<Masker>,
    pub(crate) tree: Tree,
    pub(crate) fanout: Fanout,
    signatures: Signatures,
    pub(crate) explosion: ExplosionGuard,
    pinned: HashSet<TemplateId, Hasher>,
    /// Lines and seeds so far: numbers the touches of clusters, which gives their recency.
    pub(crate) touches: u64,
    /// Seeds that have been planted, so that a restored state does not plant them again.
    pub(crate) seeds: Vec<TemplateId>,
    unknown: Arc<str>,
    scratch: Scratch,
}

/// Bytes of a template in the state without its text, its row in the catalogue included.
const ROW_BYTES_MAX: usize = 8 + 5 + 2 + 32 + 18;

/// What is reused from line to line.
#[derive(Clone, Debug, Default)]
struct Scratch {
    structure: Structure,
    tokens: Tokens,
    bones: Vec<u8>,
    params: Params,
    events: Vec<TemplateEvent>,
    change: Option<Change>,
}

impl Guarded {
    pub(crate) fn new(config: &Config) -> Result<Self, ConfigError> {
        config.validate()?;
        Ok(Self::around(Arc::new(Masker::new(&config.masks)?), config))
    }

    /// The same configuration, without clusters and seeds; masks, which are costly to compile, are shared.
    pub(crate) fn empty(&self) -> Self {
        Self::around(Arc::clone(&self.masker), &self.config)
    }

    fn around(masker: Arc<Masker>, config: &Config) -> Self {
        Self {
            masker,
            tree: Tree::new(),
            fanout: Fanout::new(config.fanout, config.pin.iter().cloned()),
            signatures: Signatures::new(config.signature_cache),
            explosion: ExplosionGuard::new(config.clusters_max),
            pinned: config.pin.iter().map(|text| TemplateId::of(&canonical(text))).collect(),
            touches: 0,
            seeds: Vec::new(),
            unknown: "".into(),
            scratch: Scratch::default(),
            config: config.clone(),
        }
    }

    /// Adds a template before its first line; text that some template already covers changes nothing.
    pub(crate) fn seed(&mut self, text: &str) {
        let mut tokens = std::mem::take(&mut self.scratch.tokens);
        tokens.read(text, &self.masker, self.config.line_bytes_max, self.config.tokens_max);
        let template = Template::of_line(&tokens);
        if self.tree.serial_of(template.id).is_none() && self.tree.len() < self.config.clusters_max {
            self.touches = self.touches.saturating_add(1);
            let touched = self.touches;
            let seeded = Cluster { cluster_id: template.id, version: 1, count: 0, first_seen: 0, last_seen: 0, touched, template };
            self.add(seeded, Change { kind: ChangeKind::Seeded, from: Vec::new() });
        }
        self.scratch.tokens = tokens;
    }

    /// Learns from a line that was there before the stream, and does not count it.
    pub(crate) fn learn_seed(&mut self, line: &str) {
        let learn = std::mem::replace(&mut self.config.learn, true);
        let known = self.scratch.events.len();
        let found = self.take(line, 0);
        self.config.learn = learn;
        let touched = self.touches;
        if let Some(cluster) = found.and_then(|(serial, _)| self.tree.touch(serial)) {
            cluster.touched = touched;
        }
        for event in self.scratch.events.iter_mut().skip(known).filter(|event| event.change.kind == ChangeKind::Created) {
            event.change.kind = ChangeKind::Seeded;
        }
    }

    /// See [`crate::Drain::parse`].
    pub(crate) fn parse<'a>(&'a mut self, line: &'a str, now: i64) -> Parsed<'a> {
        self.scratch.events.clear();
        let outcome = self.take(line, now);
        self.report(line, outcome, now)
    }

    /// Finds the structure, the tokens and the cluster of a line.
    fn take(&mut self, line: &str, now: i64) -> Option<(Serial, Match)> {
        self.touches = self.touches.saturating_add(1);
        self.scratch.change = None;
        self.scratch.structure.read(line, &self.masker);
        let mut tokens = std::mem::take(&mut self.scratch.tokens);
        let sentence = self.scratch.structure.sentence(line);
        tokens.read(sentence, &self.masker, self.config.line_bytes_max, self.config.tokens_max);
        let outcome = self.assign(&tokens, now);
        self.scratch.tokens = tokens;
        outcome
    }

    pub(crate) fn clear_events(&mut self) {
        self.scratch.events.clear();
    }

    pub(crate) fn events(&self) -> &[TemplateEvent] {
        &self.scratch.events
    }

    pub(crate) fn len(&self) -> usize {
        self.tree.len()
    }

    pub(crate) fn state_bytes(&self) -> usize {
        self.tree.text_bytes() + self.tree.len() * ROW_BYTES_MAX
    }

    pub(crate) fn templates(&self) -> impl Iterator<Item = TemplateInfo> {
        self.tree.sorted().map(TemplateInfo::from)
    }

    pub(crate) fn template(&self, id: TemplateId) -> Option<TemplateInfo> {
        self.tree.serial_of(id).and_then(|serial| self.tree.peek(serial)).map(TemplateInfo::from)
    }

    pub(crate) fn is_paused(&self, now: i64) -> bool {
        self.explosion.is_paused(now)
    }

    fn assign(&mut self, tokens: &Tokens, now: i64) -> Option<(Serial, Match)> {
        let signature = xxh3_128(tokens.shape());
        if let Some(entry) = self.signatures.get(signature)
            && self.tree.bucket_version(entry.skeleton) == entry.version
            && let Some(matched) = self.tree.peek(entry.serial).and_then(|cluster| fits(&cluster.template, tokens))
        {
            return Some((entry.serial, matched));
        }
        let skeleton = skeleton(tokens, &mut self.scratch.bones);
        let (learn, sim_th) = (self.config.learn, self.config.sim_th);
        let pinned = &self.pinned;
        let found = self.tree.search(tokens, skeleton, |cluster, likeness| {
            likeness.widened == 0
                || (learn
                    && likeness.equal >= CONTEXT_MIN as u32
                    && likeness.similarity() >= sim_th
                    && !pinned.contains(&cluster.template.id))
        });
        match found {
            Some(found) if found.likeness.widened == 0 => {
                let version = self.tree.bucket_version(skeleton);
                self.signatures.insert(signature, Entry { serial: found.serial, skeleton, version });
                let matched = self.tree.peek(found.serial).and_then(|cluster| fits(&cluster.template, tokens))?;
                Some((found.serial, matched))
            }
            Some(found) => {
                let template = self.tree.peek(found.serial)?.template.generalise(tokens);
                Some((self.replace(vec![found.serial], template), Match::Tree))
            }
            None if !learn || self.explosion.is_paused(now) => None,
            None => Some(self.create(tokens, now)),
        }
    }

    fn create(&mut self, tokens: &Tokens, now: i64) -> (Serial, Match) {
        if self.tree.len() >= self.config.clusters_max
            && let Some(cluster) = self.tree.least_recent().and_then(|serial| self.remove(serial))
        {
            self.explosion.evicted(now);
            let change = Change { kind: ChangeKind::Evicted, from: Vec::new() };
            self.scratch.events.push(TemplateEvent { template: (&cluster).into(), change, superseded_by: None });
        }
        let template = Template::of_line(tokens);
        let cluster =
            Cluster { cluster_id: template.id, version: 1, count: 0, first_seen: now, last_seen: now, touched: self.touches, template };
        let created = self.add(cluster, Change { kind: ChangeKind::Created, from: Vec::new() });
        let serial = self.merge_alternatives(created);
        (serial, if serial == created { Match::New } else { Match::Tree })
    }

    /// Puts `template` in the place of `members` and of the cluster that has this text already, if there is one. What comes out is
    /// the same for every order of the members.
    fn replace(&mut self, mut members: Vec<Serial>, template: Template) -> Serial {
        members.extend(self.tree.serial_of(template.id));
        members.sort_unstable();
        members.dedup();
        let kind = if members.len() > 1 { ChangeKind::Merged } else { ChangeKind::Generalised };
        let mut old: Vec<Cluster> = members.into_iter().filter_map(|serial| self.remove(serial)).collect();
        // By id: serials differ after a restore, and nothing that is told may.
        old.sort_by_key(|cluster| cluster.template.id);
        let from = old.iter().map(|cluster| cluster.template.id).filter(|id| *id != template.id).take(FROM_MAX).collect();
        let change = Change { kind, from };
        for cluster in old.iter().filter(|cluster| cluster.template.id != template.id) {
            let superseded = TemplateEvent { template: cluster.into(), change: change.clone(), superseded_by: Some(template.id) };
            self.scratch.events.push(superseded);
        }
        let cluster = Cluster {
            cluster_id: old.iter().map(|cluster| cluster.cluster_id).min().unwrap_or(template.id),
            version: old.iter().map(|cluster| cluster.version).max().unwrap_or(0).saturating_add(1),
            count: old.iter().fold(0, |sum, cluster| sum.saturating_add(cluster.count)),
            first_seen: old.iter().map(|cluster| cluster.first_seen).min().unwrap_or_default(),
            last_seen: old.iter().map(|cluster| cluster.last_seen).max().unwrap_or_default(),
            touched: self.touches,
            template,
        };
        let serial = self.add(cluster, change);
        self.merge_alternatives(serial)
    }

    /// Merges until no place of the resulting template has alternatives that make it a parameter. Each round leaves fewer clusters.
    fn merge_alternatives(&mut self, serial: Serial) -> Serial {
        let Some(template) = self.tree.peek(serial).map(|cluster| cluster.template.clone()) else { return serial };
        let Some(place) = self.fanout.parameter(&template) else { return serial };
        let widen = |template: &Template| template.widen(|index, part| index == place.index || part.kind == TokenKind::Wild);
        let merged = widen(&template);
        let alternative = |other: &Cluster| !self.pinned.contains(&other.template.id) && widen(&other.template).id == merged.id;
        let members: Vec<Serial> = place.serials.into_iter().filter(|s| self.tree.peek(*s).is_some_and(alternative)).collect();
        if members.len() < 2 || !members.contains(&serial) {
            return serial;
        }
        self.replace(members, merged)
    }

    /// Adds a cluster to every index and tells of it.
    fn add(&mut self, cluster: Cluster, change: Change) -> Serial {
        let (template, info) = (cluster.template.clone(), TemplateInfo::from(&cluster));
        let serial = self.tree.insert(cluster);
        self.fanout.insert(serial, &template);
        self.scratch.events.push(TemplateEvent { template: info, change: change.clone(), superseded_by: None });
        self.scratch.change = Some(change);
        serial
    }

    /// Removes a cluster from every index.
    fn remove(&mut self, serial: Serial) -> Option<Cluster> {
        let cluster = self.tree.remove(serial)?;
        self.fanout.remove(serial, &cluster.template);
        Some(cluster)
    }

    /// Counts the line and describes its cluster.
    fn report<'a>(&'a mut self, line: &'a str, outcome: Option<(Serial, Match)>, now: i64) -> Parsed<'a> {
        let source = self.scratch.structure.source(line);
        let severity = self.scratch.structure.severity;
        let cluster = outcome.and_then(|(serial, matched)| self.tree.touch(serial).map(|cluster| (cluster, matched)));
        let Some((cluster, matched)) = cluster else {
            return Parsed { severity, ..Parsed::unknown(source, &self.unknown, &self.scratch.events) };
        };
        cluster.count = cluster.count.saturating_add(1);
        cluster.first_seen = if cluster.count == 1 { now } else { cluster.first_seen.min(now) };
        cluster.last_seen = if cluster.count == 1 { now } else { cluster.last_seen.max(now) };
        cluster.touched = self.touches;
        self.scratch.params.clear();
        if !self.scratch.structure.has_keys_only {
            self.scratch.params.read(source, &cluster.template, &self.scratch.tokens);
        }
        self.scratch.params.read_fields(source, &self.scratch.structure);
        Parsed {
            template_id: cluster.template.id,
            cluster_id: cluster.cluster_id,
            version: cluster.version,
            template: &cluster.template.text,
            matched,
            change: self.scratch.change.as_ref(),
            params: self.scratch.params.list(),
            params_truncated: self.scratch.params.truncated(),
            events: &self.scratch.events,
            source,
            severity,
            mask_names: self.masker.names(),
        }
    }
}

/// How `tokens` match a template as it is, if they do.
fn fits(template: &Template, tokens: &Tokens) -> Option<Match> {
    if template.text.as_bytes() == tokens.shape() {
        return Some(Match::Exact);
    }
    template.compare(tokens).filter(|likeness| likeness.widened == 0).map(|_| Match::Tree)
}

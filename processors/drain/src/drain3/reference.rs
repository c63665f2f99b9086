//! Drain3 under the contract: its clusters with our ids, versions, events and bounds.
//!
//! Drain3 may keep two clusters of one text; they share a template id, and the template goes only with the last of them.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::change::{Change, ChangeKind, Match, TemplateEvent, TemplateInfo};
use crate::config::{Config, ConfigError, TOKENS_CEILING};
use crate::drain::Parsed;
use crate::explosion::ExplosionGuard;
use crate::mask::ParamType;
use crate::param::Params;
use crate::template::{TEXT_BYTES_MAX, TemplateId, canonical};
use crate::token::PLACEHOLDER;
use crate::tree::HashMap;

use super::branches::{NODE_BYTES_MAX, Number};
use super::ini::AFFIX_BYTES_MAX;
use super::masks::Bounds;
use super::{Assignment, Drain3, Drain3Change, Drain3Settings, May};

/// What the contract knows of a cluster beyond Drain3.
#[derive(Clone, Debug)]
pub(super) struct About {
    pub id: TemplateId,
    pub text: Arc<str>,
    pub cluster_id: TemplateId,
    pub version: u32,
    pub first_seen: i64,
    pub last_seen: i64,
    /// Number of the line that matched last.
    pub touched: u64,
}

/// The tree of one instance in mode `drain3`.
#[derive(Clone, Debug)]
pub(crate) struct Reference {
    pub(super) drain3: Drain3,
    pub(super) about: BTreeMap<Number, About>,
    /// The live clusters of each template, oldest first.
    pub(super) by_id: HashMap<TemplateId, Vec<Number>>,
    pub(super) explosion: ExplosionGuard,
    learn: bool,
    pub(super) touches: u64,
    /// Seeds that have been planted.
    pub(crate) seeds: Vec<TemplateId>,
    unknown: Arc<str>,
    params: Params,
    events: Vec<TemplateEvent>,
    change: Option<Change>,
}

/// Nodes that lead to a cluster in the deepest tree.
const NODES_PER_CLUSTER: usize = 16;
/// Tokens of all templates together: 1,500 bytes for each of 4,096. Where templates are longer, fewer live.
const TOKENS_BYTES_MAX: usize = 6 << 20;

/// Bytes of a cluster in the state without its tokens: ids, version, numbers, usage, and its row in the catalogue.
const CLUSTER_BYTES_MAX: usize = 8 + 5 + 5 + 10 + 40 + 18;

impl Reference {
    pub(crate) fn new(config: &Config) -> Result<Self, ConfigError> {
        let settings = Drain3Settings::from_ini(&config.files.ini)?;
        let clusters_max = Self::clusters_max(config, &settings);
        let bounds = Bounds {
            line_bytes_max: config.line_bytes_max,
            tokens_max: config.tokens_max,
            text_bytes_max: TEXT_BYTES_MAX,
            templates_bytes_max: TOKENS_BYTES_MAX,
            nodes_max: clusters_max.saturating_mul(2 * NODES_PER_CLUSTER),
        };
        Ok(Self::around(Drain3::bounded(&settings, bounds, clusters_max)?, config.learn))
    }

    /// The same settings, without clusters and seeds.
    pub(crate) fn empty(&self) -> Self {
        Self::around(self.drain3.empty(), self.learn)
    }

    fn around(drain3: Drain3, learn: bool) -> Self {
        Self {
            explosion: ExplosionGuard::new(drain3.clusters_max),
            drain3,
            learn,
            about: BTreeMap::new(),
            by_id: HashMap::default(),
            touches: 0,
            seeds: Vec::new(),
            unknown: "".into(),
            params: Params::default(),
            events: Vec::new(),
            change: None,
        }
    }

    fn clusters_max(config: &Config, settings: &Drain3Settings) -> usize {
        settings.max_clusters.unwrap_or(usize::MAX).min(config.clusters_max)
    }

    /// Bytes of a template: those of a masked line, each of whose tokens may become a parameter.
    pub(super) fn template_bytes_max() -> usize {
        TEXT_BYTES_MAX + (TOKENS_CEILING + 1) * (2 * AFFIX_BYTES_MAX + 2)
    }

    /// The largest snapshot that these caps allow.
    pub(crate) fn state_bytes_bound(config: &Config) -> u64 {
        let clusters = config.clusters_max as u64;
        // One line's branches may come on top before it is seen that there are too many.
        let nodes = clusters * 2 * NODES_PER_CLUSTER as u64 + 64;
        let (tokens, seeds) = (3 * TOKENS_BYTES_MAX + 2 * Self::template_bytes_max(), config.seed_templates.len() as u64 + 1);
        tokens as u64 + nodes * NODE_BYTES_MAX as u64 + (clusters + 2) * CLUSTER_BYTES_MAX as u64 + clusters * 10 + seeds * 8
    }

    /// See [`crate::Drain::parse`].
    pub(crate) fn parse<'a>(&'a mut self, line: &'a str, now: i64) -> Parsed<'a> {
        self.touches = self.touches.saturating_add(1);
        self.events.clear();
        self.change = None;
        self.drain3.read(line);
        let may = match () {
            () if !self.learn => May::Look,
            () if self.explosion.is_paused(now) => May::JoinOnly,
            () => May::Create,
        };
        let matched = self.drain3.assign(may).map(|assignment| (assignment.cluster, self.follow(&assignment, ChangeKind::Created, now)));
        self.report(line, matched, now)
    }

    /// Adds a template before its first line; a text that some template already covers changes nothing.
    pub(crate) fn seed(&mut self, text: &str) {
        let text = canonical(text).replace(PLACEHOLDER, &self.drain3.masks.param);
        self.drain3.read_tokens(&text);
        if self.drain3.best_of_leaf(1.0, true).is_none() {
            self.touches = self.touches.saturating_add(1);
            let assignment = self.drain3.create();
            self.follow(&assignment, ChangeKind::Seeded, 0);
            self.drain3.set_size(assignment.cluster, 0);
        }
    }

    /// Learns from a line that was there before the stream.
    pub(crate) fn learn_seed(&mut self, line: &str) {
        self.touches = self.touches.saturating_add(1);
        self.drain3.read(line);
        if let Some(assignment) = self.drain3.assign(May::Create) {
            self.follow(&assignment, ChangeKind::Seeded, 0);
            self.drain3.set_size(assignment.cluster, 0);
        }
    }

    /// Keeps ids and events up with what Drain3 did.
    fn follow(&mut self, assignment: &Assignment, creation: ChangeKind, now: i64) -> Match {
        for number in &assignment.evicted {
            self.explosion.evicted(now);
            self.forget(*number);
        }
        let number = assignment.cluster;
        match assignment.change {
            Drain3Change::Created => self.welcome(number, creation, now),
            Drain3Change::Changed => {
                self.rename(number);
                Match::Tree
            }
            Drain3Change::None if self.drain3.fits_exactly(number) => Match::Exact,
            Drain3Change::None => Match::Tree,
        }
    }

    fn forget(&mut self, number: Number) {
        let Some(about) = self.about.remove(&number) else { return };
        if self.leave(about.id, number) {
            let change = Change { kind: ChangeKind::Evicted, from: Vec::new() };
            // Drain3 has let go of the cluster: its size is told no more.
            self.events.push(TemplateEvent { template: info(&about, 0), change, superseded_by: None });
        }
    }

    fn welcome(&mut self, number: Number, kind: ChangeKind, now: i64) -> Match {
        let text = self.text(number);
        let id = TemplateId::of(&text);
        let touched = self.touches;
        let about = About { id, text, cluster_id: id, version: 1, first_seen: now, last_seen: now, touched };
        let is_new = self.join(id, number);
        if is_new {
            let change = Change { kind, from: Vec::new() };
            self.events.push(TemplateEvent { template: info(&about, 0), change: change.clone(), superseded_by: None });
            self.change = Some(change);
        }
        self.about.insert(number, about);
        if is_new { Match::New } else { Match::Tree }
    }

    fn rename(&mut self, number: Number) {
        let text = self.text(number);
        let id = TemplateId::of(&text);
        let size = self.drain3.size(number).saturating_sub(1);
        let Some(about) = self.about.get_mut(&number).filter(|about| about.id != id) else { return };
        let old = about.clone();
        (about.id, about.text, about.version) = (id, text, about.version.saturating_add(1));
        let new = about.clone();
        let change = Change { kind: ChangeKind::Generalised, from: vec![old.id] };
        if self.leave(old.id, number) {
            self.events.push(TemplateEvent { template: info(&old, size), change: change.clone(), superseded_by: Some(id) });
        }
        self.join(id, number);
        self.events.push(TemplateEvent { template: info(&new, size), change: change.clone(), superseded_by: None });
        self.change = Some(change);
    }

    /// Whether the template is new with this cluster.
    fn join(&mut self, id: TemplateId, number: Number) -> bool {
        let numbers = self.by_id.entry(id).or_default();
        numbers.push(number);
        numbers.sort_unstable();
        numbers.len() == 1
    }

    /// Whether the template went with this cluster.
    fn leave(&mut self, id: TemplateId, number: Number) -> bool {
        let Some(numbers) = self.by_id.get_mut(&id) else { return false };
        numbers.retain(|other| *other != number);
        let is_last = numbers.is_empty();
        if is_last {
            self.by_id.remove(&id);
        }
        is_last
    }

    /// Takes a cluster of a snapshot back.
    pub(super) fn take_back(&mut self, number: Number, about: About) {
        self.join(about.id, number);
        self.about.insert(number, about);
    }

    pub(super) fn text(&self, number: Number) -> Arc<str> {
        self.drain3.clusters.peek(&number).map_or_else(|| "".into(), |cluster| self.drain3.canonical(&cluster.tokens))
    }

    fn report<'a>(&'a mut self, line: &'a str, matched: Option<(Number, Match)>, now: i64) -> Parsed<'a> {
        self.params.clear();
        let touched = self.touches;
        let Some((about, number, matched)) = matched.and_then(|(number, matched)| Some((self.about.get_mut(&number)?, number, matched)))
        else {
            return Parsed::unknown(line, &self.unknown, &self.events);
        };
        let is_first = self.drain3.size(number) <= 1;
        about.first_seen = if is_first { now } else { about.first_seen.min(now) };
        about.last_seen = if is_first { now } else { about.last_seen.max(now) };
        about.touched = touched;
        self.drain3.params(number, line, &mut self.params);
        Parsed {
            template_id: about.id,
            cluster_id: about.cluster_id,
            version: about.version,
            template: &about.text,
            matched,
            change: self.change.as_ref(),
            params: self.params.list(),
            params_truncated: self.params.truncated(),
            events: &self.events,
            source: line,
            severity: None,
            mask_names: self.drain3.masks.names(),
        }
    }

    pub(crate) fn events(&self) -> &[TemplateEvent] {
        &self.events
    }

    pub(crate) fn clear_events(&mut self) {
        self.events.clear();
    }

    pub(crate) fn len(&self) -> usize {
        self.drain3.clusters.len()
    }

    /// Only asked for where each host has a tree, when a template has changed.
    pub(crate) fn state_bytes(&self) -> usize {
        let tokens = |cluster: &super::Cluster| cluster.tokens.iter().map(|token| token.len() + 1).sum::<usize>();
        let clusters: usize = self.drain3.clusters.iter().map(|(_, cluster)| tokens(cluster) + CLUSTER_BYTES_MAX).sum();
        clusters + self.drain3.branches.state_bytes()
    }

    pub(crate) fn templates(&self) -> impl Iterator<Item = TemplateInfo> {
        let mut ids: Vec<TemplateId> = self.by_id.keys().copied().collect();
        ids.sort_unstable();
        ids.into_iter().filter_map(|id| self.template(id))
    }

    pub(crate) fn template(&self, id: TemplateId) -> Option<TemplateInfo> {
        let numbers = self.by_id.get(&id)?;
        let all = || numbers.iter().filter_map(|number| self.about.get(number));
        let count = numbers.iter().fold(0_u64, |sum, number| sum.saturating_add(self.drain3.size(*number)));
        let first_seen = all().map(|about| about.first_seen).min()?;
        let last_seen = all().map(|about| about.last_seen).max()?;
        Some(TemplateInfo { first_seen, last_seen, ..info(all().next()?, count) })
    }

    pub(crate) fn is_paused(&self, now: i64) -> bool {
        self.explosion.is_paused(now)
    }
}

fn info(about: &About, count: u64) -> TemplateInfo {
    TemplateInfo {
        id: about.id,
        cluster_id: about.cluster_id,
        version: about.version,
        text: Arc::clone(&about.text),
        tokens: about.text.split_ascii_whitespace().count(),
        first_seen: about.first_seen,
        last_seen: about.last_seen,
        count,
    }
}

impl Drain3 {
    fn read(&mut self, line: &str) {
        self.masks.read(line, &self.bounds, &mut self.line);
        self.close_line();
    }

    /// Tokens of a template: nothing is masked any more.
    fn read_tokens(&mut self, text: &str) {
        self.masks.split(text, &self.bounds, &mut self.line);
        self.close_line();
    }

    /// What lies beyond the bounds is one more parameter.
    fn close_line(&mut self) {
        if self.line.is_cut {
            self.line.close(&self.masks.param);
        }
    }

    fn size(&self, number: Number) -> u64 {
        self.clusters.peek(&number).map_or(0, |cluster| cluster.size)
    }

    fn set_size(&mut self, number: Number, size: u64) {
        if let Some(cluster) = self.clusters.get_mut(&number) {
            cluster.size = size;
        }
    }

    fn fits_exactly(&self, number: Number) -> bool {
        self.clusters.peek(&number).is_some_and(|cluster| cluster.tokens.iter().map(|token| &**token).eq(self.line.tokens()))
    }

    /// The tokens of a template as our canonical text.
    pub(super) fn canonical(&self, tokens: &[Box<str>]) -> Arc<str> {
        let mut text = String::new();
        for token in tokens {
            text.push_str(if text.is_empty() { "" } else { " " });
            let mut copied = 0;
            for (range, _) in self.masks.placeholders(token) {
                text.push_str(token.get(copied..range.start).unwrap_or_default());
                text.push_str(PLACEHOLDER);
                copied = range.end;
            }
            text.push_str(token.get(copied..).unwrap_or_default());
        }
        canonical(&text).into()
    }

    /// The values of the line at the placeholders of a cluster's template.
    fn params(&self, number: Number, line: &str, params: &mut Params) {
        let Some(cluster) = self.clusters.peek(&number) else { return };
        for (index, token) in cluster.tokens.iter().enumerate() {
            let theirs = self.line.token(index);
            if **token == *self.masks.param {
                let (start, end) = self.line.origin(index, 0..theirs.len());
                let whole = self.masks.placeholders(theirs).into_iter().find(|(range, _)| *range == (0..theirs.len()));
                params.push(line, kind(whole.and_then(|(_, rule)| rule)), None, (start, end));
                continue;
            }
            for (range, rule) in self.masks.placeholders(token) {
                let (start, end) = self.line.origin(index, range);
                params.push(line, kind(rule), None, (start, end));
            }
        }
    }
}

fn kind(rule: Option<usize>) -> ParamType {
    rule.and_then(|rule| u16::try_from(rule).ok()).map_or(ParamType::Word, ParamType::Custom)
}

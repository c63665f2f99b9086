//! The live clusters: by recency, by id, and by skeleton for the search.

use std::collections::BTreeMap;

use foldhash::fast::FixedState;
use hashlink::LruCache;
use xxhash_rust::xxh3::xxh3_64;

use crate::template::{Likeness, Part, Template, TemplateId};
use crate::token::{TokenKind, Tokens, variable};

/// Hash state without a random seed: nothing in this crate may differ between two runs.
pub(crate) type Hasher = FixedState;
pub(crate) type HashMap<K, V> = std::collections::HashMap<K, V, Hasher>;

/// Names a cluster inside one process; never reused and never written down, unlike the id of its template.
pub(crate) type Serial = u64;

/// A cluster: a template and what is known of its lines.
#[derive(Clone, Debug)]
pub(crate) struct Cluster {
    pub template: Template,
    /// Id of the first template of this cluster, however often it has widened since.
    pub cluster_id: TemplateId,
    /// Counts the templates of this cluster, from 1.
    pub version: u32,
    pub count: u64,
    pub first_seen: i64,
    pub last_seen: i64,
    /// Number of the line that matched last: the order of eviction.
    pub touched: u64,
}

/// Clusters whose templates share token count and delimiters.
#[derive(Clone, Debug, Default)]
struct Bucket {
    /// Changes with every change of the bucket and is never the same twice.
    version: u64,
    /// By hash of the first content token where that is a word; words of one variable together.
    by_word: HashMap<u64, Vec<Serial>>,
    /// Those that begin with anything else.
    open: Vec<Serial>,
}

/// The clusters of one instance.
#[derive(Clone, Debug)]
pub(crate) struct Tree {
    clusters: LruCache<Serial, Cluster, Hasher>,
    by_id: HashMap<TemplateId, Serial>,
    buckets: HashMap<u64, Bucket>,
    serials: Serial,
    versions: u64,
    /// Of all templates.
    text_bytes: usize,
}

/// What a search found.
pub(crate) struct Candidate {
    pub serial: Serial,
    pub likeness: Likeness,
}

impl Tree {
    pub(crate) fn new() -> Self {
        Self {
            clusters: LruCache::with_hasher(usize::MAX, Hasher::default()),
            by_id: HashMap::default(),
            buckets: HashMap::default(),
            serials: 0,
            versions: 0,
            text_bytes: 0,
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.clusters.len()
    }

    pub(crate) fn text_bytes(&self) -> usize {
        self.text_bytes
    }

    /// A cluster without touching it.
    pub(crate) fn peek(&self, serial: Serial) -> Option<&Cluster> {
        self.clusters.peek(&serial)
    }

    /// A cluster, which becomes the most recent one: for matches only, never for candidates (Drain3 #38).
    pub(crate) fn touch(&mut self, serial: Serial) -> Option<&mut Cluster> {
        self.clusters.get_mut(&serial)
    }

    pub(crate) fn serial_of(&self, id: TemplateId) -> Option<Serial> {
        self.by_id.get(&id).copied()
    }

    /// All clusters by id of their template.
    pub(crate) fn sorted(&self) -> impl Iterator<Item = &Cluster> {
        let sorted: BTreeMap<_, _> = self.clusters.iter().map(|(_, cluster)| (cluster.template.id, cluster)).collect();
        sorted.into_values()
    }

    pub(crate) fn least_recent(&self) -> Option<Serial> {
        self.clusters.iter().next().map(|(serial, _)| *serial)
    }

    /// Adds a cluster as the most recent one.
    pub(crate) fn insert(&mut self, cluster: Cluster) -> Serial {
        self.serials += 1;
        self.text_bytes += cluster.template.text.len();
        let serial = self.serials;
        self.by_id.insert(cluster.template.id, serial);
        let bucket = self.buckets.entry(template_skeleton(&cluster.template)).or_default();
        self.versions += 1;
        bucket.version = self.versions;
        match first_word(&cluster.template) {
            Some(word) => bucket.by_word.entry(word).or_default().push(serial),
            None => bucket.open.push(serial),
        }
        self.clusters.insert(serial, cluster);
        serial
    }

    pub(crate) fn remove(&mut self, serial: Serial) -> Option<Cluster> {
        let cluster = self.clusters.remove(&serial)?;
        self.text_bytes = self.text_bytes.saturating_sub(cluster.template.text.len());
        self.by_id.remove(&cluster.template.id);
        let skeleton = template_skeleton(&cluster.template);
        if let Some(bucket) = self.buckets.get_mut(&skeleton) {
            self.versions += 1;
            bucket.version = self.versions;
            bucket.open.retain(|s| *s != serial);
            if let Some(word) = first_word(&cluster.template)
                && let Some(list) = bucket.by_word.get_mut(&word)
            {
                list.retain(|s| *s != serial);
                if list.is_empty() {
                    bucket.by_word.remove(&word);
                }
            }
            if bucket.open.is_empty() && bucket.by_word.is_empty() {
                self.buckets.remove(&skeleton);
            }
        }
        Some(cluster)
    }

    /// State of the bucket of a skeleton: while it is the same, a search says the same. 0 = no bucket.
    pub(crate) fn bucket_version(&self, skeleton: u64) -> u64 {
        self.buckets.get(&skeleton).map_or(0, |bucket| bucket.version)
    }

    /// The best cluster for a line: highest similarity, then fewer placeholders (what says more of the line), then the smaller id.
    pub(crate) fn search(&self, line: &Tokens, skeleton: u64, accept: impl Fn(&Cluster, &Likeness) -> bool) -> Option<Candidate> {
        let bucket = self.buckets.get(&skeleton)?;
        let first = line.list().iter().find(|token| token.kind.is_content());
        let by_word = first
            .filter(|token| token.kind == TokenKind::Word)
            .and_then(|token| bucket.by_word.get(&xxh3_64(variable(line.text(token)))))
            .map_or(&[][..], Vec::as_slice);
        let mut best: Option<(f64, u32, TemplateId, Candidate)> = None;
        for serial in by_word.iter().chain(&bucket.open) {
            let Some(cluster) = self.clusters.peek(serial) else { continue };
            let Some(likeness) = cluster.template.compare(line).filter(|likeness| accept(cluster, likeness)) else { continue };
            let (similarity, id) = (likeness.similarity(), cluster.template.id);
            let better =
                best.as_ref().is_none_or(|(s, w, i, _)| similarity.total_cmp(s).then(w.cmp(&likeness.wild)).then(i.cmp(&id)).is_gt());
            if better {
                best = Some((similarity, likeness.wild, id, Candidate { serial: *serial, likeness }));
            }
        }
        best.map(|(.., candidate)| candidate)
    }
}

/// Hash of what must be equal for two lines to be comparable: the number of tokens and the delimiters between the content.
pub(crate) fn skeleton(line: &Tokens, buffer: &mut Vec<u8>) -> u64 {
    buffer.clear();
    buffer.extend(line.list().iter().map(|token| bone(token.kind, line.text(token))));
    xxh3_64(buffer)
}

fn template_skeleton(template: &Template) -> u64 {
    let bones: Vec<u8> = template.parts.iter().map(|part| bone(part.kind, template.part(part).as_bytes())).collect();
    xxh3_64(&bones)
}

fn bone(kind: TokenKind, text: &[u8]) -> u8 {
    match kind {
        TokenKind::Blank => b' ',
        TokenKind::Delimiter => text.first().copied().unwrap_or_default(),
        TokenKind::Word | TokenKind::Wild => b'w',
    }
}

fn first_word(template: &Template) -> Option<u64> {
    let first: &Part = template.parts.iter().find(|part| part.kind.is_content())?;
    (first.kind == TokenKind::Word).then(|| xxh3_64(variable(template.part(first).as_bytes())))
}

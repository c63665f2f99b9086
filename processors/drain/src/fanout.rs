//! Fan-out: which live templates differ in one word only.
//!
//! Many words at one place are names, few are verbs: "user ada logged in" … "user zoe logged in" is one event, "disk started"
//! and "disk paused" are two. The index knows for each template and each of its words the hole that is left when
//! the word is taken out; templates that leave the same hole are alternatives at that place.

use std::collections::HashSet;

use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

use crate::template::Template;
use crate::token::TokenKind;
use crate::tree::{HashMap, Hasher, Serial};

/// The index of holes. It holds live clusters only: whoever inserts or removes a cluster says so here.
#[derive(Clone, Debug)]
pub(crate) struct Fanout {
    holes: HashMap<u64, Vec<Alternative>>,
    /// Distinct words that make a place a parameter.
    words_min: usize,
    pinned_words: HashSet<String, Hasher>,
}

/// What stands in a hole.
#[derive(Clone, Copy, Debug)]
struct Alternative {
    serial: Serial,
    /// A placeholder: a value has been seen there, so the place is a parameter already.
    wild: bool,
}

/// A place where enough alternatives meet.
pub(crate) struct Place {
    /// Index of the part that becomes a placeholder.
    pub index: usize,
    /// Clusters that leave the same hole: the hole is a hash, whoever merges compares.
    pub serials: Vec<Serial>,
}

/// A place of a template and the hash of all around it.
struct Hole {
    index: usize,
    hash: u64,
    wild: bool,
    /// Words outside.
    context: usize,
}

/// Words around a place that a single value among words needs to make it a parameter: "state 5" and "state lost" have too little in
/// common to be one event.
pub(crate) const CONTEXT_MIN: usize = 2;

impl Fanout {
    /// `pinned` words never are alternatives.
    pub(crate) fn new(words_min: usize, pinned: impl IntoIterator<Item = String>) -> Self {
        Self { holes: HashMap::default(), words_min, pinned_words: pinned.into_iter().collect() }
    }

    pub(crate) fn insert(&mut self, serial: Serial, template: &Template) {
        for Hole { hash, wild, .. } in self.holes_of(template) {
            self.holes.entry(hash).or_default().push(Alternative { serial, wild });
        }
    }

    pub(crate) fn remove(&mut self, serial: Serial, template: &Template) {
        for Hole { hash, .. } in self.holes_of(template) {
            if let Some(alternatives) = self.holes.get_mut(&hash) {
                alternatives.retain(|other| other.serial != serial);
                if alternatives.is_empty() {
                    self.holes.remove(&hash);
                }
            }
        }
    }

    /// The place of `template` with the most alternatives among those that are parameters: a value stands beside the words, or the
    /// words are many. Of equals the first.
    pub(crate) fn parameter(&self, template: &Template) -> Option<Place> {
        let mut widest: Option<(usize, &Vec<Alternative>)> = None;
        for Hole { index, hash, context, .. } in self.holes_of(template) {
            let Some(alternatives) = self.holes.get(&hash) else { continue };
            let valued = context >= CONTEXT_MIN && alternatives.iter().any(|other| other.wild);
            let least = if valued { 2 } else { self.words_min };
            if alternatives.len() >= least && widest.is_none_or(|(_, most)| alternatives.len() > most.len()) {
                widest = Some((index, alternatives));
            }
        }
        widest.map(|(index, alternatives)| Place { index, serials: alternatives.iter().map(|other| other.serial).collect() })
    }

    /// The places that may vary. Keys (`name=`) do not, and at least one word must stand outside the hole: without context
    /// nothing makes a word a parameter.
    fn holes_of(&self, template: &Template) -> Vec<Hole> {
        let hashes: Vec<u64> = template.parts.iter().map(|part| xxh3_64(template.part(part).as_bytes())).collect();
        let mut behind: Vec<u64> = hashes.iter().rev().scan(0, |hash, part| Some(std::mem::replace(hash, join(*hash, *part)))).collect();
        behind.reverse();
        let words = template.parts.iter().filter(|part| part.kind == TokenKind::Word).count();
        let mut before = 0;
        let mut holes = Vec::new();
        for (index, ((part, own), behind)) in template.parts.iter().zip(&hashes).zip(&behind).enumerate() {
            let key = template.parts.get(index + 1).is_some_and(|next| template.part(next) == "=");
            let fixed = key || self.pinned_words.contains(template.part(part));
            let wild = part.kind == TokenKind::Wild;
            let context = words - usize::from(part.kind == TokenKind::Word);
            if part.kind.is_content() && !fixed && context > 0 {
                holes.push(Hole { index, hash: join(join(before, *behind), index as u64), wild, context });
            }
            before = join(before, *own);
        }
        holes
    }
}

/// Folds `next` into `hash`, so that all prefixes and suffixes of a template are hashed in one pass each.
fn join(hash: u64, next: u64) -> u64 {
    xxh3_64_with_seed(&next.to_le_bytes(), hash)
}

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
#[derive(Debug)]
pub(crate) struct Fanout {
    holes: HashMap<u64, Vec<Serial>>,
    pinned_words: HashSet<String, Hasher>,
}

/// A place where enough alternatives meet.
pub(crate) struct Alternatives {
    /// Index of the part that becomes a placeholder.
    pub place: usize,
    /// Clusters that may be alternatives there: the hole is a hash, whoever merges compares.
    pub serials: Vec<Serial>,
}

impl Fanout {
    /// `pinned` words never are alternatives.
    pub(crate) fn new(pinned: impl IntoIterator<Item = String>) -> Self {
        Self { holes: HashMap::default(), pinned_words: pinned.into_iter().collect() }
    }

    pub(crate) fn insert(&mut self, serial: Serial, template: &Template) {
        for (_, hole) in self.holes_of(template) {
            self.holes.entry(hole).or_default().push(serial);
        }
    }

    pub(crate) fn remove(&mut self, serial: Serial, template: &Template) {
        for (_, hole) in self.holes_of(template) {
            if let Some(serials) = self.holes.get_mut(&hole) {
                serials.retain(|s| *s != serial);
                if serials.is_empty() {
                    self.holes.remove(&hole);
                }
            }
        }
    }

    /// The place of `template` with the most alternatives, if they are at least `least`; of equals the first.
    pub(crate) fn widest(&self, template: &Template, least: usize) -> Option<Alternatives> {
        let mut widest: Option<(usize, &Vec<Serial>)> = None;
        for (place, hole) in self.holes_of(template) {
            if let Some(serials) = self.holes.get(&hole)
                && serials.len() >= least
                && widest.is_none_or(|(_, most)| serials.len() > most.len())
            {
                widest = Some((place, serials));
            }
        }
        widest.map(|(place, serials)| Alternatives { place, serials: serials.clone() })
    }

    /// Each word's place with the hash of all that stands before and behind it. Two words at least: a template that
    /// is one word has no context that would make the word a parameter.
    fn holes_of(&self, template: &Template) -> Vec<(usize, u64)> {
        let hashes: Vec<u64> = template.parts.iter().map(|part| xxh3_64(template.part(part).as_bytes())).collect();
        let mut behind: Vec<u64> = hashes.iter().rev().scan(0, |hash, part| Some(std::mem::replace(hash, join(*hash, *part)))).collect();
        behind.reverse();
        let mut before = 0;
        let mut holes = Vec::new();
        for (place, ((part, hash), behind)) in template.parts.iter().zip(&hashes).zip(&behind).enumerate() {
            let key = template.parts.get(place + 1).is_some_and(|next| template.part(next) == "=");
            if part.kind == TokenKind::Word && !key && !self.pinned_words.contains(template.part(part)) {
                holes.push((place, join(join(before, *behind), place as u64)));
            }
            before = join(before, *hash);
        }
        let plain = template.parts.iter().filter(|part| part.kind == TokenKind::Word).count();
        if plain < 2 { Vec::new() } else { holes }
    }
}

/// Folds `next` into `hash`, so that all prefixes and suffixes of a template are hashed in one pass each.
fn join(hash: u64, next: u64) -> u64 {
    xxh3_64_with_seed(&next.to_le_bytes(), hash)
}

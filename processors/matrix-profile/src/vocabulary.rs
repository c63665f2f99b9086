//! The templates that the hosts of an instance use: their texts, what the local model thinks of them, how near they are.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::sync::Arc;

use foldhash::{HashMap, HashMapExt};
use schemas::TemplateId;
use verdict::{Judgement, Model};

use crate::vector::{Distance, TEXT_BYTES_MAX, TemplateVector};

/// Templates whose texts are kept, the least recently used leaves: twice what one instance of `drain` keeps.
pub(crate) const TEMPLATES_MAX: usize = 8_192;
/// Distances that are remembered; they can always be computed again.
const DISTANCES_MAX: usize = 1 << 18;

/// One template.
#[derive(Clone, Debug)]
struct Entry {
    text: Arc<str>,
    vector: TemplateVector,
    local: Judgement,
    /// When it was last used; its key in [`Vocabulary::by_use`].
    used: u64,
}

/// Texts and distances. A template that is not known is unrelated to all but itself.
#[derive(Clone, Debug, Default)]
pub struct Vocabulary {
    entries: HashMap<TemplateId, Entry>,
    by_use: BTreeMap<u64, TemplateId>,
    uses: u64,
    /// A memo, hence no state; by smaller and greater id.
    distances: RefCell<HashMap<(TemplateId, TemplateId), Distance>>,
}

impl Vocabulary {
    /// A template is in use. Returns whether it was not known.
    pub fn meet(&mut self, id: TemplateId, text: &str) -> bool {
        self.uses += 1;
        let uses = self.uses;
        if let Some(entry) = self.entries.get_mut(&id) {
            self.by_use.remove(&entry.used);
            entry.used = uses;
            self.by_use.insert(uses, id);
            return false;
        }
        let text = text.get(..text.floor_char_boundary(TEXT_BYTES_MAX)).unwrap_or_default();
        self.entries
            .insert(id, Entry { text: text.into(), vector: TemplateVector::of(text), local: Model::shipped().judge(text), used: uses });
        self.by_use.insert(uses, id);
        if self.entries.len() > TEMPLATES_MAX
            && let Some((_, least)) = self.by_use.pop_first()
        {
            self.entries.remove(&least);
            // Its distances would be remembered as if it were still known.
            self.distances.get_mut().retain(|(a, b), _| *a != least && *b != least);
        }
        true
    }

    /// The text of a template, at most a kilobyte of it.
    pub fn text(&self, id: TemplateId) -> Option<&Arc<str>> {
        self.entries.get(&id).map(|entry| &entry.text)
    }

    /// What the local model thinks of a template; of one that is not known, what it thinks of an empty text.
    pub fn local(&self, id: TemplateId) -> Judgement {
        self.entries.get(&id).map_or_else(|| Model::shipped().judge(""), |entry| entry.local)
    }

    /// How near two templates are.
    pub fn distance(&self, a: TemplateId, b: TemplateId) -> Distance {
        if a == b {
            return Distance::ZERO;
        }
        let key = (a.min(b), a.max(b));
        if let Some(known) = self.distances.borrow().get(&key) {
            return *known;
        }
        let (Some(of_a), Some(of_b)) = (self.entries.get(&a), self.entries.get(&b)) else { return Distance::ONE };
        let distance = of_a.vector.distance(&of_b.vector);
        let mut distances = self.distances.borrow_mut();
        if distances.len() >= DISTANCES_MAX {
            *distances = HashMap::new();
        }
        distances.insert(key, distance);
        distance
    }

    /// Ids and texts, the least recently used first.
    pub(crate) fn rows(&self) -> impl Iterator<Item = (TemplateId, &str)> {
        self.by_use.values().filter_map(|id| Some((*id, &*self.entries.get(id)?.text)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_least_recently_used_template_leaves_first() {
        let mut vocabulary = Vocabulary::default();
        let id = |n: usize| TemplateId::of(&format!("t{n}"));
        for n in 0..TEMPLATES_MAX {
            assert!(vocabulary.meet(id(n), "text"));
        }
        assert!(!vocabulary.meet(id(0), "text"));
        assert!(vocabulary.meet(id(TEMPLATES_MAX), "text"));
        assert!(vocabulary.text(id(0)).is_some() && vocabulary.text(id(1)).is_none());
    }

    #[test]
    fn what_is_not_known_is_unrelated_to_all_but_itself() {
        let mut vocabulary = Vocabulary::default();
        let (known, unknown) = (TemplateId::of("a"), TemplateId::of("b"));
        vocabulary.meet(known, "disk is warm");
        assert_eq!(vocabulary.distance(unknown, unknown), Distance::ZERO);
        assert_eq!(vocabulary.distance(known, unknown), Distance::ONE);
        vocabulary.meet(unknown, "disk is warm");
        assert_eq!(vocabulary.distance(known, unknown), Distance::ZERO, "a guess about what is not known is not remembered");
    }
}

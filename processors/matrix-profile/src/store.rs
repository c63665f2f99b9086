//! The windows that a host has shown while it was well.

use std::collections::{BTreeMap, BTreeSet};

use foldhash::HashMap;
use schemas::{EventTime, TemplateId};
use serde::{Deserialize, Serialize};

use crate::vector::Distance;
use crate::vocabulary::Vocabulary;

/// Templates of a window. The published tuning prefers few (false positive rates .33, .78 and .91 for 5, 10 and 15).
pub const M: usize = 4;

/// The templates of a window, as often as they occur, ascending: the order within a few lines is chance.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Window([TemplateId; M]);

impl Window {
    /// The window of these templates.
    pub fn new(mut templates: [TemplateId; M]) -> Self {
        templates.sort_unstable();
        Self(templates)
    }

    /// Ascending.
    pub fn templates(&self) -> &[TemplateId; M] {
        &self.0
    }

    fn distinct(&self) -> impl Iterator<Item = TemplateId> {
        let before = std::iter::once(None).chain(self.0.iter().map(Some));
        self.0.iter().zip(before).filter(|(template, before)| Some(*template) != *before).map(|(template, _)| *template)
    }

    fn renamed(&self, from: TemplateId, to: TemplateId) -> Self {
        Self::new(self.0.map(|template| if template == from { to } else { template }))
    }
}

/// What is known of a stored window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stored {
    /// When it was first shown.
    pub learned_at: EventTime,
    /// A person said that it is normal: it stays, and scores nothing.
    pub is_pinned: bool,
    /// When it was last shown; its key among the recent.
    hit: u64,
    slot: u32,
}

/// How far a window is from the past.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Profile {
    /// Least distance of a stored window, 0 to 1.
    pub distance: f64,
    /// That window; of equally near ones the smallest.
    pub nearest: Option<Window>,
}

/// Windows, least recently shown leaves first.
#[derive(Clone, Debug, Default)]
pub struct Store {
    max: usize,
    windows: HashMap<Window, Stored>,
    recent: BTreeMap<u64, Window>,
    hits: u64,
    /// The windows that a template stands in, by slot.
    postings: HashMap<TemplateId, Vec<u32>>,
    /// Window of each slot; those of no window are free.
    slots: Vec<Option<Window>>,
    free: Vec<u32>,
}

impl Store {
    /// An empty store of at most `max` windows.
    pub fn new(max: usize) -> Self {
        // From the middle, so that a window can be put back before all others.
        Self { max: max.max(1), hits: 1 << 40, ..Self::default() }
    }

    /// Windows stored.
    pub fn len(&self) -> usize {
        self.windows.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.windows.is_empty()
    }

    /// What is known of a window.
    pub fn get(&self, window: &Window) -> Option<&Stored> {
        self.windows.get(window)
    }

    /// Whether a template stands in some window.
    pub fn knows(&self, template: TemplateId) -> bool {
        self.postings.contains_key(&template)
    }

    /// The window was shown: it is stored, and the most recent. Returns the window that left for it. Where all are pinned the least
    /// recent of them leaves, so that the bound holds whatever people say.
    pub fn push(&mut self, window: Window, at: EventTime) -> Option<(Window, Stored)> {
        self.hits += 1;
        let hit = self.hits;
        if let Some(stored) = self.windows.get_mut(&window) {
            self.recent.remove(&stored.hit);
            stored.hit = hit;
            self.recent.insert(hit, window);
            return None;
        }
        let evicted = (self.windows.len() >= self.max).then(|| self.least_recent()).flatten();
        let evicted = evicted.and_then(|window| Some((window, self.remove(&window)?)));
        self.put(window, Stored { learned_at: at, is_pinned: false, hit, slot: 0 });
        evicted
    }

    /// A person said that the window is normal, or takes it back. Returns whether that is new.
    pub fn pin(&mut self, window: &Window, is_pinned: bool) -> bool {
        let stored = self.windows.get_mut(window).filter(|stored| stored.is_pinned != is_pinned);
        stored.map(|stored| stored.is_pinned = is_pinned).is_some()
    }

    /// Forgets a window.
    pub fn remove(&mut self, window: &Window) -> Option<Stored> {
        let stored = self.windows.remove(window)?;
        self.recent.remove(&stored.hit);
        for template in window.distinct() {
            if let Some(slots) = self.postings.get_mut(&template) {
                slots.retain(|slot| *slot != stored.slot);
                if slots.is_empty() {
                    self.postings.remove(&template);
                }
            }
        }
        if let Some(slot) = self.slots.get_mut(stored.slot as usize) {
            *slot = None;
            self.free.push(stored.slot);
        }
        Some(stored)
    }

    /// Puts a window back that left to make room, as the least recent: that is why it had left. Nothing if there is no room.
    pub fn put_back(&mut self, window: Window, learned_at: EventTime, is_pinned: bool) {
        if !self.windows.contains_key(&window) && self.windows.len() < self.max {
            let hit = self.recent.keys().next().map_or(self.hits, |least| least - 1);
            self.put(window, Stored { learned_at, is_pinned, hit, slot: 0 });
        }
    }

    /// A template has become another. Windows that thereby become equal are one: pinned if one was, as old as the older.
    pub fn rename(&mut self, from: TemplateId, to: TemplateId) {
        let slots = self.postings.get(&from).cloned().unwrap_or_default();
        let windows: BTreeSet<Window> = slots.iter().filter_map(|slot| *self.slots.get(*slot as usize)?).collect();
        for window in windows {
            let Some(mut stored) = self.remove(&window) else { continue };
            let renamed = window.renamed(from, to);
            if let Some(other) = self.remove(&renamed) {
                stored.learned_at = stored.learned_at.min(other.learned_at);
                stored.is_pinned |= other.is_pinned;
                stored.hit = stored.hit.max(other.hit);
            }
            self.put(renamed, stored);
        }
    }

    /// Distance of the nearest template of any stored window.
    pub fn novelty(&self, template: TemplateId, vocabulary: &Vocabulary) -> f64 {
        if self.knows(template) {
            return 0.0;
        }
        let distances = self.postings.keys().map(|known| vocabulary.distance(template, *known));
        distances.min().unwrap_or(Distance::ONE).value()
    }

    /// D(w, s) = mean over the templates of w of the distance to the nearest template of s; the least over all stored s. Only windows
    /// that share something with w are looked at, through the lists of their templates.
    pub fn profile(&self, window: &Window, vocabulary: &Vocabulary) -> Profile {
        if self.windows.contains_key(window) {
            return Profile { distance: 0.0, nearest: Some(*window) };
        }
        let one = Distance::ONE.units();
        // What is saved against a distance of 1 for each template, by slot; and up to which template it has been added.
        let mut saved: Vec<(u32, u32)> = vec![(0, 0); self.slots.len()];
        for (round, template) in (1..).zip(window.distinct()) {
            let times = window.templates().iter().filter(|other| **other == template).count() as u32;
            let mut near: Vec<(Distance, &Vec<u32>)> = self
                .postings
                .iter()
                .map(|(known, slots)| (vocabulary.distance(template, *known), slots))
                .filter(|(distance, _)| *distance < Distance::ONE)
                .collect();
            near.sort_by_key(|(distance, _)| *distance);
            for (distance, slots) in near {
                let gain = times * (one - distance.units());
                for slot in slots {
                    if let Some((gained, done)) = saved.get_mut(*slot as usize).filter(|(_, done)| *done < round) {
                        *gained += gain;
                        *done = round;
                    }
                }
            }
        }
        let most = saved.iter().map(|(gained, _)| *gained).max().filter(|most| *most > 0);
        let Some(most) = most else { return Profile { distance: 1.0, nearest: None } };
        let nearest = saved.iter().zip(&self.slots).filter(|((gained, _), _)| *gained == most).filter_map(|(_, window)| *window).min();
        let whole = M as u32 * one;
        Profile { distance: f64::from(whole - most) / f64::from(whole), nearest }
    }

    /// All windows, the least recently shown first.
    pub fn iter(&self) -> impl Iterator<Item = (&Window, &Stored)> {
        self.recent.values().filter_map(|window| Some((window, self.windows.get(window)?)))
    }

    fn least_recent(&self) -> Option<Window> {
        let unpinned = self.recent.values().find(|window| self.get(window).is_some_and(|stored| !stored.is_pinned));
        unpinned.or_else(|| self.recent.values().next()).copied()
    }

    fn put(&mut self, window: Window, stored: Stored) {
        let slot = match self.free.pop() {
            Some(slot) => slot,
            None => {
                self.slots.push(None);
                self.slots.len() as u32 - 1
            }
        };
        if let Some(entry) = self.slots.get_mut(slot as usize) {
            *entry = Some(window);
        }
        for template in window.distinct() {
            self.postings.entry(template).or_default().push(slot);
        }
        self.recent.insert(stored.hit, window);
        self.windows.insert(window, Stored { slot, ..stored });
    }
}

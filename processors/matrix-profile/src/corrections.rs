//! What people say of alarms that were none, and of failures that were missed: done to the store, and undone.

use std::collections::VecDeque;

use schemas::{EventTime, TemplateId};
use serde::{Deserialize, Serialize};

use crate::store::{Store, Window};

/// Corrections that can be undone, the oldest is final.
pub(crate) const CORRECTIONS_MAX: usize = 256;
/// Windows that one correction removes at most, the most recently learned first.
pub(crate) const REMOVED_MAX: usize = 64;

/// A window as it was stored.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Kept {
    pub window: Window,
    pub learned_at: EventTime,
    pub is_pinned: bool,
}

/// What was done to one window.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
enum Deed {
    /// It was not stored; what left for it.
    Added { window: Window, evicted: Option<Kept> },
    /// It was stored and is pinned now.
    Pinned(Window),
    /// It was stored and is not any more.
    Removed(Kept),
}

/// One correction of one host.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Correction {
    /// Id of the feedback.
    id: String,
    host: String,
    deeds: Vec<Deed>,
}

/// The latest corrections.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Corrections(VecDeque<Correction>);

impl Corrections {
    /// The windows of an alarm are normal: they are stored for good.
    pub(crate) fn false_alarm(&mut self, id: &str, host: &str, windows: &[Window], at: EventTime, store: &mut Store) {
        let mut deeds = Vec::new();
        for window in windows {
            let is_known = store.get(window).is_some();
            let evicted = if is_known { None } else { store.push(*window, at) };
            if !store.pin(window, true) {
                continue;
            }
            deeds.push(match is_known {
                true => Deed::Pinned(*window),
                false => {
                    let evicted = evicted.map(|(window, old)| Kept { window, learned_at: old.learned_at, is_pinned: old.is_pinned });
                    Deed::Added { window: *window, evicted }
                }
            });
        }
        self.note(id, host, deeds);
    }

    /// A failure was missed: what was learned since then, with that template if one is named, was not normal.
    pub(crate) fn missed(&mut self, id: &str, host: &str, template: Option<TemplateId>, since: EventTime, store: &mut Store) {
        let mut learned: Vec<Kept> = store
            .iter()
            .filter(|(window, stored)| {
                let is_meant = template.is_none_or(|template| window.templates().contains(&template));
                is_meant && stored.learned_at >= since && !stored.is_pinned
            })
            .map(|(window, stored)| Kept { window: *window, learned_at: stored.learned_at, is_pinned: false })
            .collect();
        learned.sort_by_key(|kept| (std::cmp::Reverse(kept.learned_at), kept.window));
        learned.truncate(REMOVED_MAX);
        for kept in &learned {
            store.remove(&kept.window);
        }
        self.note(id, host, learned.into_iter().map(Deed::Removed).collect());
    }

    /// The host of a correction that can be undone.
    pub(crate) fn host_of(&self, id: &str) -> Option<&str> {
        self.0.iter().find(|correction| correction.id == id).map(|correction| correction.host.as_str())
    }

    /// Takes a correction back.
    pub(crate) fn undo(&mut self, id: &str, store: &mut Store) {
        let Some(index) = self.0.iter().position(|correction| correction.id == id) else { return };
        let deeds = self.0.remove(index).map(|correction| correction.deeds).unwrap_or_default();
        for deed in deeds.into_iter().rev() {
            match deed {
                Deed::Added { window, evicted } => {
                    store.remove(&window);
                    if let Some(Kept { window, learned_at, is_pinned }) = evicted {
                        store.put_back(window, learned_at, is_pinned);
                    }
                }
                Deed::Pinned(window) => drop(store.pin(&window, false).then_some(())),
                Deed::Removed(Kept { window, learned_at, is_pinned }) => store.put_back(window, learned_at, is_pinned),
            }
        }
    }

    /// Nothing about a host that is forgotten can be undone.
    pub(crate) fn forget(&mut self, host: &str) {
        self.0.retain(|correction| correction.host != host);
    }

    fn note(&mut self, id: &str, host: &str, deeds: Vec<Deed>) {
        self.0.push_back(Correction { id: id.into(), host: host.into(), deeds });
        if self.0.len() > CORRECTIONS_MAX {
            self.0.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn window(n: u8) -> Window {
        Window::new([n, n + 1, n + 2, n + 3].map(|n| TemplateId::of(&n.to_string())))
    }

    fn content(store: &Store) -> Vec<(Window, EventTime, bool)> {
        let mut all: Vec<_> = store.iter().map(|(window, stored)| (*window, stored.learned_at, stored.is_pinned)).collect();
        all.sort();
        all
    }

    proptest! {
        #[test]
        fn a_correction_undone_leaves_what_was_there(
            shown in proptest::collection::vec(0..12u8, 0..20),
            alarms in proptest::collection::vec(0..20u8, 0..6),
            max in 1..12usize,
            is_false_alarm in any::<bool>(),
            template in proptest::option::of(0..14u8),
        ) {
            let mut store = Store::new(max);
            for (at, n) in shown.iter().enumerate() {
                store.push(window(*n), EventTime::from_millis(at as i64));
            }
            let before = content(&store);
            let mut corrections = Corrections::default();
            if is_false_alarm {
                let windows: Vec<Window> = alarms.iter().take(1).map(|n| window(*n)).collect();
                corrections.false_alarm("f1", "h", &windows, EventTime::from_millis(99), &mut store);
                prop_assert!(windows.iter().all(|window| store.get(window).is_some_and(|stored| stored.is_pinned)));
            } else {
                let template = template.map(|n| TemplateId::of(&n.to_string()));
                corrections.missed("f1", "h", template, EventTime::from_millis(5), &mut store);
            }
            prop_assert_eq!(corrections.host_of("f1"), Some("h"));
            corrections.undo("f1", &mut store);
            prop_assert_eq!(content(&store), before);
            prop_assert_eq!(corrections.host_of("f1"), None);
        }
    }

    #[test]
    fn a_missed_failure_unlearns_what_was_learned_since_and_nothing_that_is_pinned() {
        let mut store = Store::new(10);
        for (at, n) in [(1, 1), (5, 2), (9, 3)] {
            store.push(window(n), EventTime::from_millis(at));
        }
        store.pin(&window(3), true);
        Corrections::default().missed("f", "h", None, EventTime::from_millis(4), &mut store);
        assert_eq!(content(&store).iter().map(|(_, at, _)| at.millis()).collect::<std::collections::BTreeSet<_>>(), [1, 9].into());
    }
}

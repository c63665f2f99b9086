//! The store against slow, obvious ones.

use std::collections::BTreeSet;

use matrix_profile::{Distance, M, Store, TemplateVector, Vocabulary, Window};
use proptest::prelude::*;
use schemas::{EventTime, TemplateId};

const TEXTS: [&str; 10] = [
    "session opened for user <*>",
    "session closed for user <*>",
    "I/O error on dev <*>",
    "I/O errors on device <*> sector <*>",
    "link up",
    "link down",
    "job <*> started",
    "job <*> finished in <*> ms",
    "cache is warm",
    "temperature above threshold",
];

fn id(n: usize) -> TemplateId {
    TemplateId::of(TEXTS[n])
}

fn window(of: [usize; M]) -> Window {
    Window::new(of.map(id))
}

fn vocabulary() -> Vocabulary {
    let mut vocabulary = Vocabulary::default();
    for text in TEXTS {
        vocabulary.meet(TemplateId::of(text), text);
    }
    vocabulary
}

/// The definition: D(w, s) for every stored s.
fn profile(of: &Window, stored: &[Window]) -> f64 {
    let text = |id: &TemplateId| TEXTS.iter().find(|text| TemplateId::of(text) == *id).expect("one of ours");
    let delta = |a: &TemplateId, b: &TemplateId| {
        if a == b { 0.0 } else { TemplateVector::of(text(a)).distance(&TemplateVector::of(text(b))).value() }
    };
    let distance = |s: &Window| -> f64 {
        let nearest = |a: &TemplateId| s.templates().iter().map(|b| delta(a, b)).fold(1.0, f64::min);
        of.templates().iter().map(nearest).sum::<f64>() / M as f64
    };
    stored.iter().map(distance).fold(1.0, f64::min)
}

fn windows(max: usize) -> impl Strategy<Value = Vec<[usize; M]>> {
    proptest::collection::vec(proptest::array::uniform4(0..TEXTS.len()), 0..max)
}

proptest! {
    #[test]
    fn the_index_finds_what_a_scan_finds_and_nothing_else_decides(list in windows(24), of in proptest::array::uniform4(0..TEXTS.len())) {
        let vocabulary = vocabulary();
        let mut store = Store::new(100);
        for of in &list {
            store.push(window(*of), EventTime::MIN);
        }
        let stored: Vec<Window> = list.iter().map(|of| window(*of)).collect();
        let found = store.profile(&window(of), &vocabulary);
        prop_assert!((found.distance - profile(&window(of), &stored)).abs() < 1e-6, "{:?}", found);
        if let Some(nearest) = found.nearest {
            prop_assert!((profile(&window(of), &[nearest]) - found.distance).abs() < 1e-6);
        }
    }

    #[test]
    fn the_least_recently_shown_window_leaves(list in windows(40), max in 1..8usize) {
        let mut store = Store::new(max);
        let mut plain: Vec<Window> = Vec::new();
        for of in &list {
            let shown = window(*of);
            store.push(shown, EventTime::MIN);
            plain.retain(|known| *known != shown);
            plain.push(shown);
            if plain.len() > max {
                plain.remove(0);
            }
        }
        prop_assert_eq!(store.iter().map(|(window, _)| *window).collect::<Vec<_>>(), plain.clone());
        let known: BTreeSet<TemplateId> = plain.iter().flat_map(|window| *window.templates()).collect();
        for n in 0..TEXTS.len() {
            prop_assert_eq!(store.knows(id(n)), known.contains(&id(n)));
        }
    }

    #[test]
    fn a_renamed_template_is_the_other_everywhere(list in windows(20)) {
        let mut store = Store::new(100);
        for of in &list {
            store.push(window(*of), EventTime::MIN);
        }
        store.rename(id(0), id(1));
        let expected: BTreeSet<Window> = list.iter().map(|of| window(of.map(|n| n.max(1)))).collect();
        prop_assert_eq!(store.iter().map(|(window, _)| *window).collect::<BTreeSet<_>>(), expected);
        prop_assert!(!store.knows(id(0)));
    }
}

#[test]
fn distances_are_the_same_whatever_the_templates_are_called() {
    // Ids are hashes: another spelling of blanks is another id for the same words.
    let (mut ours, mut theirs) = (Vocabulary::default(), Vocabulary::default());
    let other = |text: &str| TemplateId::of(&format!("{text} "));
    for text in TEXTS {
        ours.meet(TemplateId::of(text), text);
        theirs.meet(other(text), text);
    }
    for a in TEXTS {
        for b in TEXTS {
            assert_eq!(ours.distance(TemplateId::of(a), TemplateId::of(b)), theirs.distance(other(a), other(b)));
        }
    }
    assert_eq!(ours.distance(id(0), id(0)), Distance::ZERO);
}

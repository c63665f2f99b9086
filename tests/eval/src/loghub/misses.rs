//! Where a parser and the truth disagree, for whoever wants to improve the parser.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use super::accuracy::Labelled;

/// A true group: its text and, by predicted group, the lines they share and the predicted text.
struct TrueGroup<'a> {
    text: &'a str,
    lines: usize,
    parts: BTreeMap<&'a str, (usize, &'a str)>,
}

/// The true groups that no predicted group equals, largest first: lines, true text, and each predicted text with its lines
/// inside and in all.
pub(super) fn describe(predicted: &[Labelled], truth: &[Labelled]) -> String {
    let mut sizes: BTreeMap<&str, usize> = BTreeMap::new();
    let mut groups: BTreeMap<&str, TrueGroup<'_>> = BTreeMap::new();
    for (p, t) in predicted.iter().zip(truth) {
        *sizes.entry(&p.group).or_default() += 1;
        let group = groups.entry(&t.group).or_insert(TrueGroup { text: &t.text, lines: 0, parts: BTreeMap::new() });
        group.lines += 1;
        group.parts.entry(&p.group).or_insert((0, &p.text)).0 += 1;
    }
    let size = |group: &str| sizes.get(group).copied().unwrap_or(0);
    let found = |group: &TrueGroup<'_>| group.parts.keys().all(|part| size(part) == group.lines);
    let mut missed: Vec<TrueGroup<'_>> = groups.into_values().filter(|group| !found(group)).collect();
    missed.sort_by_key(|group| (Reverse(group.lines), group.text));
    let mut text = String::new();
    for group in missed {
        text += &format!("{} lines: {}\n", group.lines, group.text);
        for (part, (inside, predicted)) in group.parts {
            text += &format!("    {inside} of {}: {predicted}\n", size(part));
        }
    }
    text
}

//! Where a parser and the truth disagree, for whoever wants to improve the parser.

use std::collections::{BTreeMap, BTreeSet};

use super::accuracy::Labelled;

/// The true groups that no predicted group equals, largest first: lines, true text, and each predicted text with its lines
/// inside and in all.
pub(super) fn describe(predicted: &[Labelled], truth: &[Labelled]) -> String {
    let mut sizes: BTreeMap<&str, usize> = BTreeMap::new();
    let mut groups: BTreeMap<&str, (&str, BTreeMap<&str, (usize, &str)>)> = BTreeMap::new();
    for (p, t) in predicted.iter().zip(truth) {
        *sizes.entry(&p.group).or_default() += 1;
        let (_, parts) = groups.entry(&t.group).or_insert((&t.text, BTreeMap::new()));
        parts.entry(&p.group).or_insert((0, &p.text)).0 += 1;
    }
    let mut misses = BTreeSet::new();
    for (text, parts) in groups.values() {
        let lines: usize = parts.values().map(|(lines, _)| lines).sum();
        let found = parts.len() == 1 && parts.iter().all(|(group, (inside, _))| sizes.get(group) == Some(inside));
        if found {
            continue;
        }
        let mut miss = format!("{lines} lines: {text}\n");
        for (group, (inside, text)) in parts {
            miss += &format!("    {inside} of {}: {text}\n", sizes.get(group).copied().unwrap_or(0));
        }
        misses.insert((std::cmp::Reverse(lines), miss));
    }
    misses.into_iter().map(|(_, miss)| miss).collect()
}

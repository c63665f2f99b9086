//! Counts under labels, with a limit to the labels: hostile input must not fill a scraper's memory.

use std::collections::BTreeMap;

use schemas::topics::DLQ_SUFFIX;
use stream_core::{RejectReason, TopicName};

/// Values that a label may have in one metric.
pub const LABELS_MAX: usize = 1_000;
/// Where what is beyond is counted.
pub const OTHER: &str = "_other";

/// What may stand under the limit.
pub trait Label: Ord + Clone {
    /// What stands for all that are beyond it.
    fn other(&self) -> Self;
}

impl Label for TopicName {
    fn other(&self) -> Self {
        Self::new(OTHER)
    }
}

impl Label for String {
    fn other(&self) -> Self {
        OTHER.into()
    }
}

impl Label for (TopicName, RejectReason) {
    fn other(&self) -> Self {
        (self.0.other(), self.1)
    }
}

impl Label for (TopicName, &'static str) {
    fn other(&self) -> Self {
        (self.0.other(), self.1)
    }
}

/// A map whose keys are counted under [`OTHER`] once there are [`LABELS_MAX`]. A key that has its place keeps it, so no count
/// ever falls.
#[derive(Debug, Clone)]
pub struct Capped<K, V>(BTreeMap<K, V>);

impl<K, V> Default for Capped<K, V> {
    fn default() -> Self {
        Self(BTreeMap::new())
    }
}

impl<K: Label, V: Default> Capped<K, V> {
    /// The place of a key, or that of all others.
    pub fn at(&mut self, key: &K) -> &mut V {
        if self.0.contains_key(key) || self.0.len() < LABELS_MAX {
            return self.0.entry(key.clone()).or_default();
        }
        self.0.entry(key.other()).or_default()
    }
}

impl<K: Label> Capped<K, u64> {
    /// Counts one for each key. Keys of a batch come in runs that share one place in memory, so the map is asked once a run:
    /// this is the one thing about metrics that happens per record.
    pub fn count<'a>(&mut self, keys: impl Iterator<Item = &'a K>)
    where
        K: 'a,
    {
        let mut run: Option<(&K, u64)> = None;
        for key in keys {
            match &mut run {
                Some((last, count)) if std::ptr::eq(*last, key) => *count += 1,
                _ => {
                    if let Some((last, count)) = run.replace((key, 1)) {
                        *self.at(last) += count;
                    }
                }
            }
        }
        if let Some((last, count)) = run {
            *self.at(last) += count;
        }
    }
}

impl<K: Ord, V> Capped<K, V> {
    /// All keys with their values, in order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&K, &V)> {
        self.0.iter()
    }

    /// All values.
    pub fn values(&self) -> impl ExactSizeIterator<Item = &V> {
        self.0.values()
    }

    /// The value of a key.
    pub fn get(&self, key: &K) -> Option<&V> {
        self.0.get(key)
    }
}

impl Capped<TopicName, u64> {
    /// What stands under dead-letter topics, by the topic of the record that died.
    pub fn dead_letters(&self) -> impl Iterator<Item = (&str, u64)> {
        self.0.iter().filter_map(|(topic, count)| Some((topic.as_str().strip_suffix(DLQ_SUFFIX)?, *count)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn beyond_the_limit_all_count_as_one_and_no_count_falls() {
        let mut counts = Capped::<String, u64>::default();
        for n in 0..3 * LABELS_MAX {
            *counts.at(&format!("{n:08}")) += 1;
        }
        *counts.at(&"00000007".to_string()) += 1;
        // A key that would stand before all others in order takes nobody's place.
        *counts.at(&"!".to_string()) += 1;
        assert_eq!(counts.iter().len(), LABELS_MAX + 1);
        assert_eq!(counts.get(&"00000007".to_string()), Some(&2));
        assert_eq!(counts.get(&OTHER.to_string()), Some(&(2 * LABELS_MAX as u64 + 1)));
        assert_eq!(counts.values().sum::<u64>(), 3 * LABELS_MAX as u64 + 2);
    }

    #[test]
    fn runs_count_as_their_keys_do() {
        let (a, b, also_a) = ("a".to_string(), "b".to_string(), "a".to_string());
        let mut counts = Capped::default();
        counts.count([&a, &a, &b, &a, &also_a].into_iter());
        counts.count([].into_iter());
        assert_eq!((counts.get(&a), counts.get(&b)), (Some(&4), Some(&1)));
    }

    #[test]
    fn dead_letters_are_told_by_their_topic() {
        let mut counts = Capped::<TopicName, u64>::default();
        *counts.at(&TopicName::new("a.v1")) += 5;
        *counts.at(&TopicName::new("a.v1.dlq")) += 2;
        assert_eq!(counts.dead_letters().collect::<Vec<_>>(), [("a.v1", 2)]);
    }
}

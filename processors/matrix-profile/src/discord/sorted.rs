//! Numbers in order, with insertion, removal and access by rank: sorted blocks of a few hundred entries, so that each
//! operation touches one block and the list of blocks.

use std::cmp::Ordering;

/// A number and which of its kind it is.
pub(super) type Key = (f64, u64);

/// Entries of a block before it is split: a kilobyte or four move per insertion, and 10,000 entries are some 60 blocks.
const BLOCK_MAX: usize = 256;

/// A sorted list.
#[derive(Clone, Debug, Default)]
pub(super) struct Sorted {
    /// None is empty.
    blocks: Vec<Vec<Key>>,
    len: usize,
}

/// A place in the list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    block: usize,
    index: usize,
}

fn compare(a: &Key, b: &Key) -> Ordering {
    a.0.total_cmp(&b.0).then(a.1.cmp(&b.1))
}

impl Sorted {
    pub(super) fn len(&self) -> usize {
        self.len
    }

    pub(super) fn insert(&mut self, key: Key) {
        self.len += 1;
        let place = self.first_from(key);
        // Behind everything: the last block takes it.
        let block = place.block.min(self.blocks.len().saturating_sub(1));
        let Some(entries) = self.blocks.get_mut(block) else {
            self.blocks.push(vec![key]);
            return;
        };
        let index = if place.block == block { place.index } else { entries.len() };
        entries.insert(index, key);
        if entries.len() > BLOCK_MAX {
            let upper = entries.split_off(BLOCK_MAX / 2);
            self.blocks.insert(block + 1, upper);
        }
    }

    /// Removes a key that is there; of one that is not nothing is removed.
    pub(super) fn remove(&mut self, key: Key) {
        let place = self.first_from(key);
        let Some(entries) = self.blocks.get_mut(place.block) else { return };
        if entries.get(place.index).is_some_and(|found| compare(found, &key) == Ordering::Equal) {
            entries.remove(place.index);
            self.len -= 1;
            if entries.is_empty() {
                self.blocks.remove(place.block);
            }
        }
    }

    /// The number of this rank, counted from 0.
    pub(super) fn at(&self, rank: usize) -> Option<f64> {
        let mut left = rank;
        for block in &self.blocks {
            match block.get(left) {
                Some(key) => return Some(key.0),
                None => left -= block.len(),
            }
        }
        None
    }

    /// Place of the first key that is not less.
    pub(super) fn first_from(&self, key: Key) -> Place {
        let is_less = |other: &Key| compare(other, &key) == Ordering::Less;
        let block = self.blocks.partition_point(|entries| entries.last().is_some_and(is_less));
        let index = self.blocks.get(block).map_or(0, |entries| entries.partition_point(is_less));
        Place { block, index }
    }

    pub(super) fn get(&self, place: Place) -> Option<Key> {
        self.blocks.get(place.block)?.get(place.index).copied()
    }

    /// The place after one that is there.
    pub(super) fn after(&self, place: Place) -> Place {
        match self.blocks.get(place.block) {
            Some(entries) if place.index + 1 < entries.len() => Place { index: place.index + 1, ..place },
            _ => Place { block: place.block + 1, index: 0 },
        }
    }

    /// The place before one.
    pub(super) fn before(&self, place: Place) -> Option<Place> {
        if place.index > 0 {
            return Some(Place { index: place.index - 1, ..place });
        }
        let block = place.block.checked_sub(1)?;
        Some(Place { block, index: self.blocks.get(block)?.len().checked_sub(1)? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn it_is_what_a_sorted_vector_is(steps in proptest::collection::vec((any::<bool>(), 0..200u64), 0..2_000)) {
            let (mut sorted, mut plain) = (Sorted::default(), Vec::<Key>::new());
            for (number, (insert, value)) in steps.into_iter().enumerate() {
                if insert || plain.is_empty() {
                    let key = (value as f64, number as u64);
                    sorted.insert(key);
                    plain.push(key);
                    plain.sort_by(compare);
                } else {
                    sorted.remove(plain.remove(value as usize % plain.len()));
                }
                prop_assert_eq!(sorted.len(), plain.len());
            }
            for (rank, key) in plain.iter().enumerate() {
                prop_assert_eq!(sorted.at(rank), Some(key.0));
                let place = sorted.first_from(*key);
                prop_assert_eq!(sorted.get(place), Some(*key));
                prop_assert_eq!(sorted.get(sorted.after(place)), plain.get(rank + 1).copied());
                prop_assert_eq!(sorted.before(place).and_then(|place| sorted.get(place)), rank.checked_sub(1).map(|rank| plain[rank]));
            }
            prop_assert_eq!(sorted.at(plain.len()), None);
        }
    }
}

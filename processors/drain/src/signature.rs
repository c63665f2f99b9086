//! The memo from the shape of a line to its cluster: the whole cost of a known line.

use hashlink::LruCache;

use crate::tree::{Hasher, Serial};

/// What a search said, and for which state of the bucket it said so.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Entry {
    pub serial: Serial,
    pub skeleton: u64,
    pub version: u64,
}

/// A pure memo: the caller compares [`Entry::version`] with that of the bucket, so an entry says what a fresh search would
/// say, and the memo is no part of the state.
#[derive(Clone, Debug)]
pub(crate) struct Signatures {
    entries: LruCache<u128, Entry, Hasher>,
    entries_max: usize,
}

impl Signatures {
    pub(crate) fn new(entries_max: usize) -> Self {
        Self { entries: LruCache::with_hasher(entries_max, Hasher::default()), entries_max }
    }

    pub(crate) fn get(&mut self, signature: u128) -> Option<Entry> {
        self.entries.get(&signature).copied()
    }

    pub(crate) fn insert(&mut self, signature: u128, entry: Entry) {
        if self.entries_max > 0 {
            self.entries.insert(signature, entry);
        }
    }
}

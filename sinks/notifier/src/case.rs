//! One alert, by its fingerprint: what has been told of it, and what is still to be told, in order.

use std::collections::VecDeque;

use schemas::EventTime;
use serde::{Deserialize, Serialize};

use crate::word::Word;

/// Words that wait at most: an alert that comes and goes while nothing can be told is told from its last turns.
const WORDS_MAX: usize = 8;

/// What is known of an alert.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Case {
    /// Words to be told, oldest first; firing and resolved take turns.
    pub words: VecDeque<Word>,
    /// As it was told, if it was told as firing.
    pub told: Option<Word>,
    /// When it was last heard of.
    pub heard_at: EventTime,
    /// Its group, where there are groups.
    pub group: Option<String>,
    /// When its words may be told, where there are none; kept in a section of its own.
    #[serde(skip)]
    pub due: Option<EventTime>,
}

/// What became of a word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Taken {
    /// It is to be told.
    News,
    /// It takes the place of one that is still to be told.
    Instead,
    /// It says again what was told.
    Repeat,
}

impl Case {
    /// Takes a word; `repeats` if those that say the same again are told too.
    pub fn take(&mut self, word: Word, repeats: bool) -> Taken {
        if let Some(last) = self.words.back_mut() {
            if last.status == word.status {
                *last = word;
                return Taken::Instead;
            }
        } else if let Some(told) = &mut self.told
            && word.is_firing()
            && told.severity == word.severity
            && !repeats
        {
            *told = word.told();
            return Taken::Repeat;
        }
        self.words.push_back(word);
        if self.words.len() > WORDS_MAX {
            // Two turns less, and what was told still fits what follows.
            self.words.drain(..2);
        }
        Taken::News
    }

    /// Where its words stand among those of others, if there are any.
    pub fn turn(&self) -> Option<(EventTime, u64)> {
        self.words.front().map(|word| (self.due.unwrap_or(EventTime::MIN), word.offset))
    }

    /// Takes away the words up to an offset, since they were told or refused. Returns them.
    pub fn settle(&mut self, offset: u64) -> Vec<Word> {
        let count = self.words.iter().take_while(|word| word.offset <= offset).count();
        self.words.drain(..count).collect()
    }

    /// Drops an end at the front of which nobody knows the beginning.
    pub fn drop_orphan(&mut self) -> bool {
        let is_orphan = self.told.is_none() && self.words.front().is_some_and(|word| !word.is_firing());
        if is_orphan {
            self.words.pop_front();
        }
        is_orphan
    }

    /// Bytes in memory and, about, in the state.
    pub fn bytes(&self) -> usize {
        self.words.iter().chain(&self.told).map(Word::bytes).sum()
    }

    /// Whether there is nothing to remember.
    pub fn is_empty(&self) -> bool {
        self.words.is_empty() && self.told.is_none()
    }
}

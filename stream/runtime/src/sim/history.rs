//! What the state log says happened to an instance: the committed injections, and the records that were passed over.

use std::collections::{BTreeMap, BTreeSet};

use schemas::EventTime;
use serde::de::DeserializeOwned;
use stream_core::{NextOffset, Offset, TopicPartition};

use super::{
    cluster::{Cluster, state_key, state_topic},
    violation::Violation,
};
use crate::state::{HEAD_KEY, Head, JournalEntry, POSITION_KEY, Position};

/// Something that the runtime did to an instance between two records.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Injected {
    /// An idle tick.
    Tick(EventTime),
    /// A broadcast record.
    Broadcast(TopicPartition, Offset),
}

/// All that was committed about one instance.
#[derive(Debug, Default)]
pub(super) struct History {
    /// Injections in order, each with the input offset before which it applies.
    pub(super) injections: Vec<(NextOffset, Injected)>,
    /// Every record that was ever marked as poison.
    pub(super) poison: BTreeSet<Offset>,
    /// How far each broadcast was read.
    pub(super) broadcasts: BTreeMap<TopicPartition, NextOffset>,
    /// The last position.
    pub(super) last: Option<Position>,
}

impl History {
    /// Reads the whole log of an instance, overwritten values and all.
    pub(super) fn read(cluster: &Cluster, processor: &str, at: &TopicPartition) -> Result<Self, Violation> {
        let log = cluster.log(&TopicPartition::new(&state_topic(processor), at.partition))?;
        let prefix = state_key(at, "");
        let mut history = Self::default();
        for (_, record) in log.committed(NextOffset(0)) {
            let key = record.key.as_deref().and_then(|key| key.strip_prefix(prefix.as_slice()));
            let (Some(key), Some(value)) = (key.and_then(|key| std::str::from_utf8(key).ok()), &record.value) else { continue };
            match key {
                POSITION_KEY => history.moved(at, decode(at, key, value)?)?,
                HEAD_KEY => history.snapshot(cluster, decode(at, key, value)?)?,
                _ if key.starts_with("journal/") => {
                    let entry: JournalEntry = decode(at, key, value)?;
                    history.injections.push((entry.before, Injected::Tick(entry.tick)));
                }
                _ => {}
            }
        }
        Ok(history)
    }

    fn moved(&mut self, at: &TopicPartition, position: Position) -> Result<(), Violation> {
        if let Some(last) = self.last.as_ref().filter(|last| position.next < last.next) {
            let problem = format!("the position went from {} back to {}", last.next, position.next);
            return Err(Violation::History { at: at.clone(), problem });
        }
        self.poison.extend(&position.poison);
        self.last = Some(position);
        Ok(())
    }

    /// A batch of broadcast records is followed by a snapshot in the same commit, whose head tells how far they were read.
    fn snapshot(&mut self, cluster: &Cluster, head: Head) -> Result<(), Violation> {
        for (at, to) in head.broadcasts {
            let from = self.broadcasts.insert(at.clone(), to).unwrap_or_default();
            let new = cluster.log(&at)?.committed(from).map(|(offset, _)| offset).take_while(|offset| to.is_past(*offset));
            self.injections.extend(new.map(|offset| (head.next, Injected::Broadcast(at.clone(), offset))));
        }
        Ok(())
    }
}

fn decode<T: DeserializeOwned>(at: &TopicPartition, key: &str, value: &[u8]) -> Result<T, Violation> {
    postcard::from_bytes(value).map_err(|error| Violation::History { at: at.clone(), problem: format!("{key}: {error}") })
}

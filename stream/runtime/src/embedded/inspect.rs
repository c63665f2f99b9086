//! What people and tools may see of the embedded bus.

use std::{collections::BTreeMap, ops::ControlFlow};

use stream_core::{NextOffset, TopicPartition};

use super::{
    EmbeddedBus, publisher,
    reader::{ReadEnd, Reader, Room},
    rows,
    shared::closed,
    store::{Table, Write},
    time,
};
use crate::{
    bus::{BusError, StateImage},
    gathered::Gathered,
    inspect::{Appended, GroupStatus, Inspect, ReadLimits, StateStatus, TopicStatus, position_of},
    publish::{PublishBatch, PublishError},
    state::POSITION_KEY,
};

impl Inspect for EmbeddedBus {
    fn topics(&self) -> Result<Vec<TopicStatus>, BusError> {
        let status = |topic: &super::topics::Topic| TopicStatus {
            name: topic.spec.name.clone(),
            cleanup: topic.spec.cleanup,
            partitions: topic.logs.iter().map(|log| log.status()).collect(),
        };
        Ok(self.shared().topics.all().iter().map(|topic| status(topic)).collect())
    }

    fn read(&self, at: &TopicPartition, from: NextOffset, limits: &ReadLimits, into: &mut Gathered) -> Result<(), BusError> {
        let log = self.shared().topics.log(at)?;
        let mut reader = Reader::new(&log, from);
        let room = Room { records_max: limits.records_max, bytes_max: limits.bytes_max };
        let (deadline, before) = (time::instant() + limits.wait, into.len());
        loop {
            let seen = self.shared().signal.count();
            while let ReadEnd::Trimmed { .. } = reader.read(room, into)? {}
            if into.len() > before || room.is_full(into) || !self.shared().signal.wait(seen, deadline) {
                return Ok(());
            }
        }
    }

    fn states(&self) -> Result<Vec<StateStatus>, BusError> {
        let mut found = BTreeMap::<(String, TopicPartition), (usize, u64)>::new();
        self.shared().store.scan(Table::State, b"", None, |key, value| {
            if let Some((processor, at, _)) = rows::split_state_key(key) {
                let (keys, bytes) = found.entry((processor.to_owned(), at)).or_default();
                *keys += 1;
                *bytes += value.len() as u64;
            }
            ControlFlow::Continue(())
        })?;
        Ok(found.into_iter().map(|((processor, at), (keys, bytes))| StateStatus { processor, at, keys, bytes }).collect())
    }

    fn state(&self, processor: &str, at: &TopicPartition) -> Result<StateImage, BusError> {
        let mut image = StateImage::new();
        self.shared().store.scan(Table::State, &rows::instance_prefix(processor, at), None, |key, value| {
            if let Some((_, _, name)) = rows::split_state_key(key) {
                image.insert(name.to_owned(), value.to_vec());
            }
            ControlFlow::Continue(())
        })?;
        Ok(image)
    }

    fn groups(&self) -> Result<Vec<GroupStatus>, BusError> {
        let (mut groups, mut damage) = (Vec::new(), None);
        // The positions alone: chunks of snapshots may be many megabytes.
        self.shared().store.scan(Table::State, b"", None, |key, value| {
            let Some((processor, at, POSITION_KEY)) = rows::split_state_key(key) else { return ControlFlow::Continue(()) };
            match position_of(&at, value) {
                Ok(position) => groups.push(GroupStatus { processor: processor.to_owned(), at, position }),
                Err(error) => damage = Some(error),
            }
            if damage.is_none() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        })?;
        damage.map_or(Ok(groups), Err)
    }

    fn reset_state(&self, processor: &str) -> Result<usize, BusError> {
        let processor = processor.to_owned();
        let reset = self.shared().queue.run(move |committer| {
            let shared = committer.shared.clone();
            // Held until the rows are gone: no session may open, and restore, in between.
            let groups = shared.groups();
            if groups.is_open(&processor) {
                return Err(BusError::Fatal(format!("{processor} is running; stop it before its state is reset")));
            }
            let (mut rows, mut instances) = (Vec::new(), std::collections::BTreeSet::new());
            shared.store.scan(Table::State, &rows::processor_prefix(&processor), None, |key, _| {
                instances.extend(rows::split_state_key(key).map(|(_, at, _)| at));
                rows.push(Write { table: Table::State, key: key.to_vec(), value: None });
                ControlFlow::Continue(())
            })?;
            committer.write(rows)?;
            Ok(instances.len())
        });
        reset.unwrap_or_else(|| Err(closed()))
    }

    fn append(&self, source: &str, sequence: u64, records: &PublishBatch, position: &[u8]) -> Result<Appended, PublishError> {
        publisher::append(self.shared(), source, sequence, records, position)
    }
}

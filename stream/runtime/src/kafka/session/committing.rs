//! One transaction: outputs, state, and positions in the name of the member that restored them.

use rdkafka::{consumer::Consumer, error::KafkaError, topic_partition_list::TopicPartitionList};
use stream_core::TopicName;

use super::KafkaSession;
use crate::{
    bus::{BusError, CommitBatch},
    kafka::{
        names::state_prefix,
        native,
        reader::{number, position},
        routes,
        transactions::Ended,
    },
    peril::{Moment, pass},
};

/// Why a batch could not be written.
enum Unwritten {
    Client(&'static str, KafkaError),
    /// Somebody else owns what was processed.
    Foreign(String),
    Wrong(BusError),
}

impl KafkaSession {
    pub(super) fn write(&mut self, batch: &CommitBatch<'_>) -> Result<(), Ended> {
        pass(Moment::Begin);
        self.transactions.begin()?;
        match self.send(batch) {
            Ok(()) => Ok(()),
            Err(Unwritten::Client(what, error)) => Err(self.transactions.end(what, &error)),
            Err(Unwritten::Foreign(why)) => Err(self.transactions.abort(why)),
            Err(Unwritten::Wrong(error)) => {
                let _ = self.transactions.abort(error.to_string());
                Err(Ended::Fatal(error.to_string()))
            }
        }
    }

    fn send(&mut self, batch: &CommitBatch<'_>) -> Result<(), Unwritten> {
        for output in batch.outputs.outputs() {
            let (topic, partitions) = self.routes.to(&self.shared, output.topic).map_err(|error| unroutable(output.topic, error))?;
            let partition = output.partition_among(partitions);
            let sent = self.transactions.send(topic, partition.0, output.key, output.value, output.headers);
            sent.map_err(|error| Unwritten::Client("output", error))?;
        }
        let state_log = self.shared.names.topic(&self.state_log);
        for write in batch.state {
            let key = format!("{}{}", state_prefix(&write.at), write.key);
            let (key, value) = (Some(key.as_bytes()), write.value.as_deref());
            let sent = self.transactions.send(&state_log, write.at.partition.0, key, value, Default::default());
            sent.map_err(|error| Unwritten::Client("state", error))?;
        }
        self.transactions.delivered().map_err(|error| Unwritten::Client("delivery", error))?;
        pass(Moment::Sent);
        // Read anew for every commit: the generation moves on with every rebalance, also with those that leave us what we
        // have. And read before we look who we are, so that a membership that lapses in between does not slip through.
        let member = self.consumer.group_metadata().ok_or_else(|| Unwritten::Foreign("this client has no group".into()))?;
        self.check_member(batch)?;
        let mut positions = TopicPartitionList::with_capacity(batch.positions.len());
        for (at, next) in batch.positions {
            let topic = self.shared.names.topic(&at.topic);
            let added = positions.add_partition_offset(&topic, number(at.partition.0), position(*next));
            added.map_err(|error| Unwritten::Client("position", error))?;
        }
        if positions.count() > 0 {
            self.transactions.send_positions(&positions, &member).map_err(|error| Unwritten::Client("positions", error))?;
        }
        pass(Moment::Positioned);
        self.transactions.commit().map_err(|error| Unwritten::Client("commit", error))?;
        pass(Moment::Committed);
        Ok(())
    }

    /// Whether all that was processed still belongs to who restored it.
    fn check_member(&mut self, batch: &CommitBatch<'_>) -> Result<(), Unwritten> {
        if self.consumer.assignment_lost() {
            return Err(Unwritten::Foreign("the assignment was lost".into()));
        }
        let member = native::member_id(&self.consumer);
        for at in batch.positions.iter().map(|(at, _)| at).chain(batch.state.iter().map(|write| &write.at)) {
            match self.partitions.iter().find(|assigned| assigned.place.at == *at) {
                Some(assigned) if assigned.restored_as.is_some() && assigned.restored_as == member => {}
                Some(_) => return Err(Unwritten::Foreign(format!("{at} was restored by an earlier membership"))),
                None => return Err(Unwritten::Foreign(format!("{at} is not assigned to this session of {}", self.processor))),
            }
        }
        Ok(())
    }
}

fn unroutable(topic: &TopicName, error: KafkaError) -> Unwritten {
    match routes::describe(topic, &error) {
        Some(error) => Unwritten::Wrong(error),
        None => Unwritten::Client("output", error),
    }
}

//! Which session of a processor reads which partition.
//!
//! Partition `p` belongs to the session number `p mod n` of `n`. A partition changes hands in two steps, as in Kafka's
//! cooperative protocol: its session gives it up in its next gather, when no transaction is open, and only then may the
//! next one have it. So nobody ever commits for a partition that another session has restored.

use std::collections::{BTreeMap, BTreeSet};

use stream_core::TopicPartition;

/// Number of a session; a later one is greater.
pub(super) type SessionId = u64;

/// All sessions, by processor.
#[derive(Debug, Default)]
pub(super) struct Groups {
    groups: BTreeMap<String, Group>,
    last_id: SessionId,
}

#[derive(Debug, Default)]
struct Group {
    /// Rises with every change.
    version: u64,
    members: BTreeSet<SessionId>,
    owners: BTreeMap<TopicPartition, SessionId>,
}

/// What a rebalance means for one session.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Changes {
    pub(super) revoked: Vec<TopicPartition>,
    pub(super) assigned: Vec<TopicPartition>,
}

impl Groups {
    /// Adds a session.
    pub(super) fn join(&mut self, processor: &str) -> SessionId {
        self.last_id += 1;
        let group = self.groups.entry(processor.to_owned()).or_default();
        group.version += 1;
        group.members.insert(self.last_id);
        self.last_id
    }

    /// Removes a session; its partitions are free.
    pub(super) fn leave(&mut self, processor: &str, id: SessionId) {
        if let Some(group) = self.groups.get_mut(processor) {
            group.version += 1;
            group.members.remove(&id);
            group.owners.retain(|_, owner| *owner != id);
        }
    }

    /// Whether a processor has sessions.
    pub(super) fn is_open(&self, processor: &str) -> bool {
        self.groups.get(processor).is_some_and(|group| !group.members.is_empty())
    }

    /// Whether anything changed since `seen`.
    pub(super) fn is_changed(&self, processor: &str, seen: u64) -> bool {
        self.groups.get(processor).is_some_and(|group| group.version != seen)
    }

    /// Gives up and takes what session `id` should, of the partitions `inputs`. Sets `seen`.
    pub(super) fn rebalance(&mut self, processor: &str, id: SessionId, inputs: &[TopicPartition], seen: &mut u64) -> Changes {
        let mut changes = Changes::default();
        let Some(group) = self.groups.get_mut(processor) else {
            return changes;
        };
        for at in inputs {
            let wanted = group.members.iter().nth(at.partition.0 as usize % group.members.len().max(1)).copied();
            match (group.owners.get(at).copied(), wanted == Some(id)) {
                (Some(owner), false) if owner == id => {
                    group.owners.remove(at);
                    changes.revoked.push(at.clone());
                }
                (None, true) => {
                    group.owners.insert(at.clone(), id);
                    changes.assigned.push(at.clone());
                }
                _ => {}
            }
        }
        if !changes.revoked.is_empty() || !changes.assigned.is_empty() {
            group.version += 1;
        }
        *seen = group.version;
        changes
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use stream_core::Partition;

    fn inputs() -> Vec<TopicPartition> {
        (0..5).map(|partition| TopicPartition::new(&"in.v1".into(), Partition(partition))).collect()
    }

    proptest! {
        /// Sessions come, go and look at any time: no partition ever has two, and in the end each has the right one.
        #[test]
        fn a_partition_has_one_session_at_a_time(steps in proptest::collection::vec((0u8..3, any::<prop::sample::Index>()), 1..60)) {
            let (mut groups, inputs) = (Groups::default(), inputs());
            let mut sessions = BTreeMap::<SessionId, (u64, BTreeSet<TopicPartition>)>::new();
            let look = |groups: &mut Groups, id, session: &mut (u64, BTreeSet<TopicPartition>)| {
                let changes = groups.rebalance("p", id, &inputs, &mut session.0);
                session.1.retain(|at| !changes.revoked.contains(at));
                session.1.extend(changes.assigned);
            };
            for (step, which) in steps {
                let ids: Vec<_> = sessions.keys().copied().collect();
                match step {
                    0 => drop(sessions.insert(groups.join("p"), (0, BTreeSet::new()))),
                    1 if !ids.is_empty() => {
                        let id = *which.get(&ids);
                        sessions.remove(&id);
                        groups.leave("p", id);
                    }
                    2 if !ids.is_empty() => {
                        let id = *which.get(&ids);
                        look(&mut groups, id, sessions.get_mut(&id).unwrap());
                    }
                    _ => {}
                }
                let owned: Vec<_> = sessions.values().flat_map(|(_, owned)| owned.iter()).collect();
                prop_assert_eq!(owned.iter().collect::<BTreeSet<_>>().len(), owned.len());
            }
            let ids: Vec<_> = sessions.keys().copied().collect();
            for id in ids.iter().chain(&ids) {
                look(&mut groups, *id, sessions.get_mut(id).unwrap());
            }
            for at in inputs.iter().filter(|_| !ids.is_empty()) {
                prop_assert!(sessions[&ids[at.partition.0 as usize % ids.len()]].1.contains(at));
            }
            for (id, (seen, _)) in &sessions {
                prop_assert!(!groups.is_changed("p", *seen) || *id != *ids.last().unwrap());
            }
        }
    }
}

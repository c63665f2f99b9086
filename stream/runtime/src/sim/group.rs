//! The group coordinator: members, generations, cooperative assignment, and offsets that travel in transactions
//! (KIP-429, KIP-447).

use std::collections::{BTreeMap, BTreeSet};

use stream_core::{NextOffset, TopicPartition};

use super::{
    log::{TransactionId, Verdict},
    rng::Rng,
};

/// A member; an evicted one that comes back is another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct MemberId(pub u64);

/// What a client knows of its membership when it commits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Membership {
    /// Member.
    pub member: MemberId,
    /// Generation of the group.
    pub generation: u64,
}

/// Why offsets were refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refused {
    /// It has been evicted.
    UnknownMember,
    /// The group has moved on since.
    IllegalGeneration,
}

#[derive(Debug, Default)]
struct Member {
    instance: String,
    assigned: BTreeSet<TopicPartition>,
    /// Taken away, but not handed on before the member says that it has let go.
    revoking: BTreeSet<TopicPartition>,
}

impl Member {
    fn give_up(&mut self, rng: &mut Rng) {
        let chosen = self.assigned.iter().nth(rng.index(self.assigned.len())).cloned();
        if let Some(partition) = chosen {
            self.assigned.remove(&partition);
            self.revoking.insert(partition);
        }
    }
}

/// A consumer group.
#[derive(Debug, Default)]
pub struct Group {
    partitions: Vec<TopicPartition>,
    generation: u64,
    joined: u64,
    members: BTreeMap<MemberId, Member>,
    fenced: BTreeSet<MemberId>,
    offsets: BTreeMap<TopicPartition, NextOffset>,
    pending: BTreeMap<TransactionId, Vec<(TopicPartition, NextOffset)>>,
}

impl Group {
    /// A group that splits these partitions.
    pub fn new(partitions: Vec<TopicPartition>) -> Self {
        Self { partitions, ..Self::default() }
    }

    /// Joins. A static member of the same name is fenced: it will be told so, and can do nothing more.
    pub fn join(&mut self, instance: &str, rng: &mut Rng) -> Membership {
        let former: Vec<_> = self.members.iter().filter(|(_, member)| member.instance == instance).map(|(id, _)| *id).collect();
        for id in former {
            self.members.remove(&id);
            self.fenced.insert(id);
        }
        self.joined += 1;
        let member = MemberId(self.joined);
        self.members.insert(member, Member { instance: instance.into(), ..Member::default() });
        self.rebalance(rng);
        Membership { member, generation: self.generation }
    }

    /// Leaves, or is evicted because it was silent for a session timeout.
    pub fn remove(&mut self, member: MemberId, rng: &mut Rng) {
        if self.members.remove(&member).is_some() {
            self.rebalance(rng);
        }
    }

    /// Deals what nobody holds to whoever has least, and takes from whoever has more than its share. Whoever has to give
    /// one up keeps it until it has let go, as the cooperative protocol has it.
    fn rebalance(&mut self, rng: &mut Rng) {
        self.generation += 1;
        for partition in &self.partitions {
            let is_held = |member: &Member| member.assigned.contains(partition) || member.revoking.contains(partition);
            if self.members.values().any(is_held) {
                continue;
            }
            let least = self.members.values().map(|member| member.assigned.len()).min().unwrap_or(0);
            let mut candidates: Vec<_> = self.members.values_mut().filter(|member| member.assigned.len() == least).collect();
            let chosen = rng.index(candidates.len());
            if let Some(member) = candidates.get_mut(chosen) {
                member.assigned.insert(partition.clone());
            }
        }
        let share = self.partitions.len().div_ceil(self.members.len().max(1));
        for member in self.members.values_mut() {
            while member.assigned.len() > share {
                member.give_up(rng);
            }
        }
    }

    /// Takes something away from somebody for no reason that the client could see.
    pub fn disturb(&mut self, rng: &mut Rng) {
        let chosen = rng.index(self.members.len());
        if let Some(member) = self.members.values_mut().nth(chosen) {
            member.give_up(rng);
        }
        self.rebalance(rng);
    }

    /// A member has let go of what it had to give up.
    pub fn release(&mut self, member: MemberId, rng: &mut Rng) {
        if let Some(member) = self.members.get_mut(&member)
            && !std::mem::take(&mut member.revoking).is_empty()
        {
            self.rebalance(rng);
        }
    }

    /// What a member owns now; none if it has been evicted.
    pub fn assigned(&self, member: MemberId) -> Option<&BTreeSet<TopicPartition>> {
        self.members.get(&member).map(|member| &member.assigned)
    }

    /// Whether a static member of the same name took over.
    pub fn is_fenced(&self, member: MemberId) -> bool {
        self.fenced.contains(&member)
    }

    /// Members of these instances.
    pub fn members_of(&self, is_candidate: impl Fn(&str) -> bool) -> Vec<MemberId> {
        self.members.iter().filter(|(_, member)| is_candidate(&member.instance)).map(|(id, _)| *id).collect()
    }

    /// The present generation.
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// `TxnOffsetCommit`: the offsets wait for the transaction's marker.
    pub fn commit(
        &mut self,
        by: Membership,
        transaction: TransactionId,
        positions: &[(TopicPartition, NextOffset)],
    ) -> Result<(), Refused> {
        if !self.members.contains_key(&by.member) {
            return Err(Refused::UnknownMember);
        }
        if by.generation != self.generation {
            return Err(Refused::IllegalGeneration);
        }
        self.pending.entry(transaction).or_default().extend_from_slice(positions);
        Ok(())
    }

    /// The marker of a transaction arrives.
    pub fn settle(&mut self, transaction: TransactionId, verdict: Verdict) {
        let pending = self.pending.remove(&transaction).unwrap_or_default();
        if verdict == Verdict::Commit {
            self.offsets.extend(pending);
        }
    }

    /// Transactions that may still move the position of a partition.
    pub fn pending(&self, at: &TopicPartition) -> Vec<TransactionId> {
        let touches = |positions: &[(TopicPartition, NextOffset)]| positions.iter().any(|(partition, _)| partition == at);
        self.pending.iter().filter(|(_, positions)| touches(positions)).map(|(transaction, _)| *transaction).collect()
    }

    /// The committed position. Stable only if nothing is [pending](Group::pending).
    pub fn position(&self, at: &TopicPartition) -> Option<NextOffset> {
        self.offsets.get(at).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use stream_core::Partition;

    fn partitions(count: u32) -> Vec<TopicPartition> {
        (0..count).map(|partition| TopicPartition::new(&"in.v1".into(), Partition(partition))).collect()
    }

    #[test]
    fn a_partition_is_handed_on_only_after_its_holder_let_go() {
        let (mut group, mut rng) = (Group::new(partitions(4)), Rng::new(1));
        let first = group.join("a", &mut rng).member;
        assert_eq!(group.assigned(first).map(BTreeSet::len), Some(4));
        let second = group.join("b", &mut rng).member;
        assert_eq!(group.assigned(second).map(BTreeSet::len), Some(0));
        assert_eq!(group.assigned(first).map(BTreeSet::len), Some(2));
        group.release(first, &mut rng);
        assert_eq!(group.assigned(first).map(BTreeSet::len), Some(2));
        assert_eq!(group.assigned(second).map(BTreeSet::len), Some(2));
    }

    #[test]
    fn a_zombie_of_an_older_generation_is_refused() {
        let (mut group, mut rng, transaction) = (Group::new(partitions(1)), Rng::new(1), TransactionId(1));
        let zombie = group.join("a", &mut rng);
        group.join("b", &mut rng);
        assert_eq!(group.commit(zombie, transaction, &[]), Err(Refused::IllegalGeneration));
        group.remove(zombie.member, &mut rng);
        assert_eq!(group.commit(zombie, transaction, &[]), Err(Refused::UnknownMember));
    }

    #[test]
    fn positions_are_stable_only_after_the_marker() {
        let (mut group, mut rng, at) = (Group::new(partitions(1)), Rng::new(1), partitions(1).remove(0));
        let owner = group.join("a", &mut rng);
        for (number, verdict, then) in [(1, Verdict::Commit, 5), (2, Verdict::Abort, 5), (3, Verdict::Commit, 7)] {
            let transaction = TransactionId(number);
            group.commit(owner, transaction, &[(at.clone(), NextOffset(4 + number))]).expect("a member of this generation");
            assert_eq!(group.pending(&at), [transaction]);
            group.settle(transaction, verdict);
            assert_eq!((group.position(&at), group.pending(&at)), (Some(NextOffset(then)), Vec::new()));
        }
    }

    #[test]
    fn a_static_member_that_comes_back_fences_its_former_self() {
        let (mut group, mut rng) = (Group::new(partitions(1)), Rng::new(1));
        let former = group.join("a", &mut rng).member;
        let present = group.join("a", &mut rng).member;
        assert!(group.is_fenced(former) && !group.is_fenced(present));
        assert_eq!(group.assigned(present).map(BTreeSet::len), Some(1));
    }
}

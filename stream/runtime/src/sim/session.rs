//! A worker's session on the model: what librdkafka does between the engine and the brokers.

use std::collections::BTreeMap;

use stream_core::{NextOffset, TopicPartition};

use super::{
    client::Client,
    cluster::{Cluster, state_topic},
    group::{MemberId, Membership, Refused},
    log::{TransactionId, Verdict},
    transactions::{Claim, Target},
};
use crate::{
    bus::{BatchLimits, BusError, CommitBatch, CommitError, Restoring, Session, WorkerSpec},
    gathered::{Gathered, PartitionEvent},
    mutation::{Mutation, is_on},
};

/// A partition that this session may read.
#[derive(Debug, Default)]
struct Readable {
    position: Option<NextOffset>,
    is_paused: bool,
    /// The end has been announced since the position last moved.
    is_end_known: bool,
    /// The member that owned it when its state was read; commits are good only as that one.
    restored_as: Option<MemberId>,
    /// The end of the state log when the restore began: it must become stable before the state may be read.
    restore_mark: Option<NextOffset>,
}

impl Readable {
    /// Reads a random number of records from where it stands, and says so if that is the end.
    fn read(&mut self, at: &TopicPartition, cluster: &mut Cluster, limits: &BatchLimits, into: &mut Gathered) -> Result<(), BusError> {
        let Some(mut position) = self.position.filter(|_| !self.is_paused) else { return Ok(()) };
        let start = cluster.log(at)?.start();
        if position < start {
            into.events.push(PartitionEvent::Trimmed { at: at.clone(), from: position, to: start });
            position = start;
            self.is_end_known = false;
        }
        let wanted = cluster.rng.below(cluster.gathered_max + 1) as usize;
        let wanted = wanted.min(limits.records_max.saturating_sub(into.len()));
        let log = cluster.log(at)?;
        let mut next = position;
        for (offset, stored) in log.committed(position).take(wanted) {
            if into.bytes() >= limits.bytes_max {
                break;
            }
            into.push(at, &stored.record(at, offset));
            next = offset.next();
        }
        let is_at_end = log.committed(next).next().is_none();
        self.is_end_known &= next == position && is_at_end;
        self.position = Some(next);
        if is_at_end && !self.is_end_known {
            self.is_end_known = true;
            into.events.push(PartitionEvent::AtEnd(at.clone()));
        }
        Ok(())
    }
}

/// A session. Dropping it without [`Session::close`] is a crash.
pub struct SimSession {
    client: Client,
    spec: WorkerSpec,
    claim: Claim,
    /// Its membership as the client's own thread heard last.
    membership: Membership,
    /// The member whose assignment the readable inputs are.
    assigned_as: MemberId,
    inputs: BTreeMap<TopicPartition, Readable>,
    broadcasts: BTreeMap<TopicPartition, Readable>,
    are_broadcasts_announced: bool,
    open: Option<TransactionId>,
}

impl SimSession {
    /// Joins the group and claims the transactional id, which settles what an earlier process of this instance left behind.
    pub(super) fn open(client: Client, spec: &WorkerSpec) -> Result<Self, BusError> {
        client.at_risk()?;
        let id = format!("{}.{}", spec.processor, client.instance());
        let mut guard = client.cluster();
        let cluster = &mut *guard;
        if let Some(missing) = spec.inputs.iter().chain(&spec.broadcasts).find(|topic| cluster.partitions(topic) == 0) {
            return Err(BusError::Fatal(format!("there is no topic {missing}")));
        }
        let state_partitions = spec.inputs.iter().map(|topic| cluster.partitions(topic)).max().unwrap_or(0);
        cluster.create(&state_topic(&spec.processor), state_partitions);
        let claim = cluster.coordinator.initialise(&id);
        cluster.deliver_markers(Some(&id));
        cluster.group(&spec.processor, &spec.inputs);
        let membership = cluster.with_group(&spec.processor, |group, rng| group.join(client.instance(), rng));
        let broadcasts = spec.broadcasts.iter().flat_map(|topic| cluster.partitions_of(topic));
        let broadcasts = broadcasts.map(|at| (at, Readable { is_paused: true, ..Readable::default() })).collect();
        drop(guard);
        Ok(Self {
            client,
            spec: spec.clone(),
            claim,
            membership,
            assigned_as: membership.member,
            inputs: BTreeMap::new(),
            broadcasts,
            are_broadcasts_announced: false,
            open: None,
        })
    }

    fn transactional_id(&self) -> String {
        format!("{}.{}", self.spec.processor, self.client.instance())
    }

    /// The client's own thread hears of the group. If it was evicted it joins anew, without asking the application.
    fn heartbeat(&mut self) {
        let mut cluster = self.client.cluster();
        let (membership, instance) = (self.membership, self.client.instance());
        self.membership = cluster.with_group(&self.spec.processor, |group, rng| {
            if group.is_fenced(membership.member) || group.assigned(membership.member).is_some() {
                Membership { generation: group.generation(), ..membership }
            } else {
                group.join(instance, rng)
            }
        });
    }

    /// Whether the client's own thread got a chance to hear of the group before the application acts.
    fn hears(&self) -> bool {
        !self.client.cluster().strikes(|faults| faults.stale_membership)
    }

    /// Serves the rebalance callbacks.
    fn poll_group(&mut self, into: &mut Gathered) -> Result<(), BusError> {
        self.heartbeat();
        let mut cluster = self.client.cluster();
        if cluster.group(&self.spec.processor, &self.spec.inputs).is_fenced(self.membership.member) {
            cluster.events.fenced += 1;
            return Err(BusError::Lost("another process joined as this static member".into()));
        }
        let member = self.membership.member;
        let group = cluster.group(&self.spec.processor, &self.spec.inputs);
        let assigned = if self.assigned_as == member { group.assigned(member).cloned() } else { None }.unwrap_or_default();
        self.assigned_as = member;
        let revoked: Vec<_> = self.inputs.keys().filter(|at| !assigned.contains(*at)).cloned().collect();
        for at in revoked {
            self.inputs.remove(&at);
            into.events.push(PartitionEvent::Revoked(at));
        }
        cluster.with_group(&self.spec.processor, |group, rng| group.release(member, rng));
        let assigned = cluster.group(&self.spec.processor, &self.spec.inputs).assigned(member).cloned().unwrap_or_default();
        for at in assigned {
            if !self.inputs.contains_key(&at) {
                self.inputs.insert(at.clone(), Readable { is_paused: true, ..Readable::default() });
                into.events.push(PartitionEvent::Assigned(at));
            }
        }
        Ok(())
    }

    /// Reads a random number of records of each input partition, in a random order of partitions: nothing may assume
    /// fairness.
    fn read_inputs(&mut self, limits: &BatchLimits, into: &mut Gathered) -> Result<(), BusError> {
        let mut cluster = self.client.cluster();
        let mut inputs: Vec<_> = self.inputs.iter_mut().collect();
        while !inputs.is_empty() {
            let (at, from) = inputs.swap_remove(cluster.rng.index(inputs.len()));
            from.read(at, &mut cluster, limits, into)?;
        }
        Ok(())
    }

    /// Reads broadcasts, in the order of their partitions, so that the oracle knows in which order a batch was applied.
    fn read_broadcasts(&mut self, limits: &BatchLimits, into: &mut Gathered) -> Result<(), BusError> {
        let mut cluster = self.client.cluster();
        self.broadcasts.iter_mut().try_for_each(|(at, from)| from.read(at, &mut cluster, limits, into))
    }

    fn readable(&mut self, at: &TopicPartition) -> Option<&mut Readable> {
        self.inputs.get_mut(at).or_else(|| self.broadcasts.get_mut(at))
    }

    /// The guard of the specification's loop: the assignment is still the one that was processed.
    ///
    /// What counts is the member as which the *assignment* was served, not the one that the client's thread knows when the
    /// restore ends: it may have joined anew in between.
    fn is_assignment_intact(&self, batch: &CommitBatch<'_>) -> bool {
        let is_ours = |at: &TopicPartition| self.inputs.get(at).is_some_and(|input| input.restored_as == Some(self.membership.member));
        batch.positions.iter().map(|(at, _)| at).chain(batch.state.iter().map(|write| &write.at)).all(is_ours)
    }

    fn send_records(&self, transaction: TransactionId, batch: &CommitBatch<'_>) -> Result<(), CommitError> {
        for output in batch.outputs.outputs() {
            let mut cluster = self.client.cluster();
            cluster.append_output(&self.claim, transaction, &output).map_err(|_| fenced(&mut cluster))?;
        }
        self.client.at_risk().map_err(unknown)?;
        for write in batch.state {
            let mut cluster = self.client.cluster();
            cluster.append_state(&self.claim, transaction, &self.spec.processor, write).map_err(|_| fenced(&mut cluster))?;
        }
        Ok(())
    }

    /// Adds the positions to the transaction, with the membership read anew.
    fn send_positions(&mut self, transaction: TransactionId, batch: &CommitBatch<'_>) -> Result<(), CommitError> {
        if self.hears() {
            self.heartbeat();
        }
        let client = self.client.clone();
        let mut cluster = client.cluster();
        if cluster.strikes(|faults| faults.abort) {
            return Err(self.aborted(&mut cluster, "a record could not be delivered"));
        }
        if !self.is_assignment_intact(batch) && !is_on(Mutation::MembershipReadAtCommit) {
            return Err(self.aborted(&mut cluster, "the assignment is not the one that was processed"));
        }
        let target = Target::Offsets(self.spec.processor.clone());
        if cluster.coordinator.touch(&self.claim, transaction, target).is_err() {
            return Err(fenced(&mut cluster));
        }
        let group = cluster.group(&self.spec.processor, &self.spec.inputs);
        group.commit(self.membership, transaction, batch.positions).map_err(|refused| {
            cluster.events.refused += 1;
            let reason = match refused {
                Refused::UnknownMember => "the group does not know this member",
                Refused::IllegalGeneration => "the group has a newer generation",
            };
            self.aborted(&mut cluster, reason)
        })
    }

    /// Decides. The answer may get lost on the way there or on the way back.
    fn send_verdict(&mut self, transaction: TransactionId) -> Result<(), CommitError> {
        let mut cluster = self.client.cluster();
        let is_answer_lost = cluster.strikes(|faults| faults.unknown);
        cluster.events.unknown += u64::from(is_answer_lost);
        self.open = None;
        if is_answer_lost && cluster.rng.chance(500) {
            return Err(CommitError::Unknown("the request was lost".into()));
        }
        if cluster.coordinator.decide(&self.claim, transaction, Verdict::Commit).is_err() {
            return Err(fenced(&mut cluster));
        }
        cluster.events.commits += 1;
        tracing::debug!(instance = self.client.instance(), ?transaction, is_answer_lost, "committed");
        if !cluster.strikes(|faults| faults.late_marker) {
            cluster.deliver_markers(Some(&self.transactional_id()));
        }
        if is_answer_lost { Err(CommitError::Unknown("the answer was lost".into())) } else { Ok(()) }
    }

    /// Ends the transaction as aborted and says why.
    fn aborted(&mut self, cluster: &mut Cluster, reason: &str) -> CommitError {
        cluster.events.aborts += 1;
        match self.open.take().map(|open| cluster.coordinator.decide(&self.claim, open, Verdict::Abort)) {
            Some(Err(_)) => fenced(cluster),
            Some(Ok(())) | None => CommitError::Aborted(reason.into()),
        }
    }
}

fn fenced(cluster: &mut Cluster) -> CommitError {
    cluster.events.fenced += 1;
    CommitError::Fenced("the transactional id has a newer epoch".into())
}

/// A dead or frozen process learns nothing of its commit.
fn unknown(error: BusError) -> CommitError {
    CommitError::Unknown(error.to_string())
}

impl Session for SimSession {
    fn gather(&mut self, limits: &BatchLimits, into: &mut Gathered) -> Result<(), BusError> {
        self.client.at_risk()?;
        if !std::mem::replace(&mut self.are_broadcasts_announced, true) {
            into.events.extend(self.broadcasts.keys().cloned().map(PartitionEvent::Assigned));
        }
        // One gather polls many times: records may precede the news that their partition is gone.
        let is_news_late = self.client.cluster().rng.chance(300);
        if is_news_late {
            self.read_inputs(limits, into)?;
            self.client.at_risk()?;
        }
        self.poll_group(into)?;
        self.read_inputs(limits, into)?;
        self.read_broadcasts(limits, into)?;
        tracing::debug!(
            instance = self.client.instance(),
            membership = ?self.membership,
            events = ?into.events,
            records = ?into.records().map(|(at, record)| format!("{at}@{}", record.offset)).collect::<Vec<_>>(),
            "gather"
        );
        Ok(())
    }

    fn restore_step(&mut self, at: &TopicPartition) -> Result<Restoring, BusError> {
        self.client.at_risk()?;
        if self.hears() {
            self.heartbeat();
        }
        let processor = self.spec.processor.clone();
        let mut cluster = self.client.cluster();
        let input = self.inputs.get_mut(at).ok_or_else(|| BusError::Fatal(format!("restore of {at}, which is not assigned")))?;
        let is_slow = cluster.strikes(|faults| faults.slow_restore);
        if is_slow || !cluster.group(&processor, &self.spec.inputs).pending(at).is_empty() {
            return Ok(Restoring::Pending);
        }
        let log = cluster.log(&TopicPartition::new(&state_topic(&processor), at.partition))?;
        let mark = *input.restore_mark.get_or_insert_with(|| log.high_watermark());
        if log.last_stable() < mark && !is_on(Mutation::StateReadToLastStable) {
            return Ok(Restoring::Pending);
        }
        input.restore_mark = None;
        input.restored_as = Some(self.assigned_as);
        let image = cluster.state_image(&processor, at)?;
        tracing::debug!(instance = self.client.instance(), %at, keys = ?image.keys(), "restored");
        cluster.events.restores += 1;
        Ok(Restoring::Ready(image))
    }

    fn committed(&mut self, at: &TopicPartition) -> Result<Option<NextOffset>, BusError> {
        self.client.at_risk()?;
        let mut cluster = self.client.cluster();
        let pending = cluster.group(&self.spec.processor, &self.spec.inputs).pending(at);
        cluster.settle(pending);
        Ok(cluster.group(&self.spec.processor, &self.spec.inputs).position(at))
    }

    fn begin(&mut self) -> Result<(), BusError> {
        self.client.at_risk()?;
        let mut cluster = self.client.cluster();
        cluster.deliver_markers(Some(&self.transactional_id()));
        match cluster.coordinator.begin(&self.claim) {
            Ok(transaction) => {
                self.open = Some(transaction);
                Ok(())
            }
            Err(_) => {
                cluster.events.fenced += 1;
                Err(BusError::Lost("the transactional id has a newer epoch".into()))
            }
        }
    }

    fn commit(&mut self, batch: &CommitBatch<'_>) -> Result<(), CommitError> {
        self.client.at_risk().map_err(unknown)?;
        let Some(transaction) = self.open else { return Err(CommitError::Fatal("commit without begin".into())) };
        tracing::debug!(
            instance = self.client.instance(),
            ?transaction,
            positions = ?batch.positions,
            writes = ?batch.state.iter().map(|write| format!("{}/{}", write.at, write.key)).collect::<Vec<_>>(),
            "commit"
        );
        if self.client.cluster().strikes(|faults| faults.disk_full) {
            self.client.cluster().events.retries += 1;
            return Err(CommitError::Retry("the disk is full".into()));
        }
        self.send_records(transaction, batch)?;
        self.client.at_risk().map_err(unknown)?;
        self.send_positions(transaction, batch)?;
        self.client.at_risk().map_err(unknown)?;
        self.send_verdict(transaction)?;
        self.client.at_risk().map_err(unknown)
    }

    fn abort(&mut self) -> Result<(), BusError> {
        self.client.at_risk()?;
        let client = self.client.clone();
        let mut cluster = client.cluster();
        match self.aborted(&mut cluster, "") {
            CommitError::Aborted(_) => Ok(()),
            other => Err(BusError::Lost(other.to_string())),
        }
    }

    fn pause(&mut self, at: &TopicPartition) {
        if let Some(from) = self.readable(at) {
            from.is_paused = true;
        }
    }

    fn resume(&mut self, at: &TopicPartition) {
        if let Some(from) = self.readable(at) {
            from.is_paused = false;
        }
    }

    fn seek(&mut self, at: &TopicPartition, to: NextOffset) -> Result<(), BusError> {
        self.client.at_risk()?;
        let from = self.readable(at).ok_or_else(|| BusError::Fatal(format!("seek in {at}, which is not assigned")))?;
        from.position = Some(to);
        from.is_end_known = false;
        Ok(())
    }

    fn end(&mut self, at: &TopicPartition) -> Option<NextOffset> {
        self.client.cluster().log(at).ok().map(super::log::Log::last_stable)
    }

    fn is_retention_near(&mut self, _at: &TopicPartition, _position: NextOffset) -> bool {
        self.client.cluster().strikes(|faults| faults.costly / 4)
    }

    fn close(&mut self) {
        if !self.client.is_dead() {
            let member = self.membership.member;
            self.client.cluster().with_group(&self.spec.processor, |group, rng| group.remove(member, rng));
        }
    }
}

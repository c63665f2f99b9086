//! The transaction coordinator: epochs, verdicts, and the markers that carry a verdict to each partition *later*, one by
//! one (KIP-98, with KIP-890's check that a partition takes records only of a transaction that is open).

use std::collections::{BTreeMap, BTreeSet};

use stream_core::TopicPartition;

use super::log::{TransactionId, Verdict};

/// A producer's claim to a transactional id; a newer claim makes it void.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claim {
    id: String,
    epoch: u32,
}

/// A claim that is void: somebody else initialised the same transactional id, or the transaction timed out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fenced;

/// Where a transaction has left something, and so where its marker must go.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Target {
    /// Records.
    Log(TopicPartition),
    /// Offsets of a consumer group.
    Offsets(String),
}

/// A verdict on its way to one target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Marker {
    /// Transaction.
    pub transaction: TransactionId,
    /// Where it goes.
    pub target: Target,
    /// What it says.
    pub verdict: Verdict,
}

#[derive(Debug)]
struct Transaction {
    producer: String,
    targets: BTreeSet<Target>,
    verdict: Option<Verdict>,
}

/// All transactional producers and their unsettled transactions.
#[derive(Debug, Default)]
pub struct Coordinator {
    epochs: BTreeMap<String, u32>,
    unsettled: BTreeMap<TransactionId, Transaction>,
    begun: u64,
}

impl Coordinator {
    /// `InitProducerId`: raises the epoch, so that older claims are void, and aborts what an older producer left open.
    pub fn initialise(&mut self, id: &str) -> Claim {
        self.expire(id);
        let epoch = self.epochs.entry(id.into()).or_default();
        *epoch += 1;
        Claim { id: id.into(), epoch: *epoch }
    }

    /// The transaction of this id took too long, or its producer is gone: its claim is void and the transaction aborted.
    pub fn expire(&mut self, id: &str) {
        for transaction in self.unsettled.values_mut() {
            if transaction.producer == id && transaction.verdict.is_none() {
                transaction.verdict = Some(Verdict::Abort);
                *self.epochs.entry(id.into()).or_default() += 1;
            }
        }
        self.forget_settled();
    }

    /// Opens a transaction. The model's client begins only when the markers of its former transaction have arrived.
    pub fn begin(&mut self, claim: &Claim) -> Result<TransactionId, Fenced> {
        self.check(claim)?;
        self.begun += 1;
        let transaction = Transaction { producer: claim.id.clone(), targets: BTreeSet::new(), verdict: None };
        self.unsettled.insert(TransactionId(self.begun), transaction);
        Ok(TransactionId(self.begun))
    }

    /// Adds a target before anything of the transaction goes there.
    pub fn touch(&mut self, claim: &Claim, transaction: TransactionId, target: Target) -> Result<(), Fenced> {
        self.check(claim)?;
        match self.unsettled.get_mut(&transaction) {
            Some(open) if open.verdict.is_none() => {
                open.targets.insert(target);
                Ok(())
            }
            Some(_) | None => Err(Fenced),
        }
    }

    /// Decides. From here on the outcome is certain, though no partition knows it yet.
    pub fn decide(&mut self, claim: &Claim, transaction: TransactionId, verdict: Verdict) -> Result<(), Fenced> {
        self.check(claim)?;
        match self.unsettled.get_mut(&transaction) {
            Some(open) if open.verdict.is_none() => open.verdict = Some(verdict),
            Some(_) | None => return Err(Fenced),
        }
        self.forget_settled();
        Ok(())
    }

    /// Markers that could be written now, of all producers or of one.
    pub fn markers(&self, of: Option<&str>) -> Vec<Marker> {
        let decided = self.unsettled.iter().filter(|(_, open)| of.is_none_or(|id| open.producer == id));
        decided
            .filter_map(|(transaction, open)| Some((*transaction, open, open.verdict?)))
            .flat_map(|(transaction, open, verdict)| {
                open.targets.iter().map(move |target| Marker { transaction, target: target.clone(), verdict })
            })
            .collect()
    }

    /// A marker has been written.
    pub fn delivered(&mut self, marker: &Marker) {
        if let Some(open) = self.unsettled.get_mut(&marker.transaction) {
            open.targets.remove(&marker.target);
        }
        self.forget_settled();
    }

    /// Producers with a transaction that nobody has decided.
    pub fn undecided(&self) -> Vec<String> {
        let undecided = self.unsettled.values().filter(|open| open.verdict.is_none());
        undecided.map(|open| open.producer.clone()).collect()
    }

    /// The producer of an unsettled transaction.
    pub fn producer_of(&self, transaction: TransactionId) -> Option<String> {
        self.unsettled.get(&transaction).map(|open| open.producer.clone())
    }

    fn check(&self, claim: &Claim) -> Result<(), Fenced> {
        if self.epochs.get(&claim.id) == Some(&claim.epoch) { Ok(()) } else { Err(Fenced) }
    }

    fn forget_settled(&mut self) {
        self.unsettled.retain(|_, open| open.verdict.is_none() || !open.targets.is_empty());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target() -> Target {
        Target::Offsets("group".into())
    }

    #[test]
    fn a_newer_claim_aborts_and_fences_the_older() {
        let mut coordinator = Coordinator::default();
        let zombie = coordinator.initialise("a");
        let left = coordinator.begin(&zombie).expect("the only claim");
        coordinator.touch(&zombie, left, target()).expect("open");
        let heir = coordinator.initialise("a");
        assert_eq!(coordinator.decide(&zombie, left, Verdict::Commit), Err(Fenced));
        assert_eq!(coordinator.touch(&zombie, left, target()), Err(Fenced));
        assert_eq!(coordinator.markers(None), [Marker { transaction: left, target: target(), verdict: Verdict::Abort }]);
        assert!(coordinator.begin(&heir).is_ok());
    }

    #[test]
    fn a_verdict_stands_however_late_its_markers_are() {
        let mut coordinator = Coordinator::default();
        let claim = coordinator.initialise("a");
        let transaction = coordinator.begin(&claim).expect("the only claim");
        coordinator.touch(&claim, transaction, target()).expect("open");
        coordinator.decide(&claim, transaction, Verdict::Commit).expect("open");
        coordinator.initialise("a");
        let markers = coordinator.markers(Some("a"));
        assert_eq!(markers[0].verdict, Verdict::Commit, "initialising settles a decided transaction, it does not undo it");
        coordinator.delivered(&markers[0]);
        assert!(coordinator.markers(None).is_empty());
    }

    #[test]
    fn a_transaction_that_timed_out_cannot_be_committed() {
        let mut coordinator = Coordinator::default();
        let claim = coordinator.initialise("a");
        let transaction = coordinator.begin(&claim).expect("the only claim");
        coordinator.expire("a");
        assert_eq!(coordinator.decide(&claim, transaction, Verdict::Commit), Err(Fenced));
    }
}

//! Event time orders, arrival does not: each host's records wait a moment for those that happened before them.

use std::collections::{BTreeMap, VecDeque};

use schemas::EventTime;
use serde::{Deserialize, Serialize};
use stream_core::Offset;

/// Records of one host that wait at most; beyond, the earliest leaves at once.
const HOST_MAX: usize = 10_000;
/// Records of all hosts that wait at most; beyond, the host of the one that has waited longest gives up its earliest.
pub(crate) const INSTANCE_MAX: usize = 50_000;

/// When it happened, and where it stands in the log: equal seconds are common in syslog, and arrival is then the best guess.
pub(crate) type Key = (EventTime, Offset);

/// One host's records that wait.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Waiting<T> {
    records: BTreeMap<Key, T>,
    /// The latest event time of the host.
    newest: EventTime,
    /// The last record that left; what is earlier comes late.
    left: Option<Key>,
}

/// The waiting records of an instance. Hosts are told apart by a number that the caller gives.
///
/// A record leaves when its host's newest time, or the append time of the partition, is `reorder_ms` past its own: a slow clock or a
/// dying host must not wait. Nothing in here depends on another host's *event* time, and append time only says sooner what the
/// host's own next record would say, so no host changes what another one's order is.
#[derive(Clone, Debug)]
pub(crate) struct Reorder<T> {
    reorder_ms: i64,
    hosts: BTreeMap<u32, Waiting<T>>,
    /// Records in the order in which they were appended: when, whose, which. Those that have left are skipped.
    arrivals: VecDeque<(EventTime, u32, Key)>,
    waiting: usize,
}

/// A record that has left.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Ordered<T> {
    pub host: u32,
    pub time: EventTime,
    pub offset: Offset,
    pub record: T,
    /// It is older than one that left before.
    pub is_late: bool,
}

impl<T> Reorder<T> {
    pub(crate) fn new(reorder_ms: i64) -> Self {
        Self { reorder_ms, hosts: BTreeMap::new(), arrivals: VecDeque::new(), waiting: 0 }
    }

    /// A record arrives; everything that may leave now is handed to `leave`, in order for each host.
    pub(crate) fn push(&mut self, host: u32, key: Key, appended_at: EventTime, record: T, leave: &mut impl FnMut(Ordered<T>)) {
        // First what append time sets free: whether another host's record came in between must make no difference.
        self.release_appended(appended_at, leave);
        let waiting = self.hosts.entry(host).or_insert_with(|| Waiting { records: BTreeMap::new(), newest: EventTime::MIN, left: None });
        if waiting.left.is_some_and(|left| key < left) {
            leave(Ordered { host, time: key.0, offset: key.1, record, is_late: true });
            return;
        }
        waiting.newest = waiting.newest.max(key.0);
        waiting.records.insert(key, record);
        self.waiting += 1;
        self.arrivals.push_back((appended_at, host, key));
        let free = waiting.newest.plus_millis(-self.reorder_ms);
        let is_crowded = waiting.records.len() > HOST_MAX;
        let earliest = waiting.records.first_key_value().map(|(key, _)| *key).filter(|_| is_crowded);
        self.release(host, (free, Offset(u64::MAX)), leave);
        if let Some(earliest) = earliest {
            self.release(host, earliest, leave);
        }
        while self.waiting > INSTANCE_MAX
            && let Some((_, host, key)) = self.arrivals.pop_front()
        {
            self.release(host, key, leave);
        }
    }

    /// Silence: everything leaves.
    pub(crate) fn flush(&mut self, leave: &mut impl FnMut(Ordered<T>)) {
        while let Some((_, host, key)) = self.arrivals.pop_front() {
            self.release(host, key, leave);
        }
    }

    /// Forgets a host; what still waits is handed out.
    pub(crate) fn forget(&mut self, host: u32, leave: &mut impl FnMut(Ordered<T>)) {
        self.release(host, (EventTime(i64::MAX), Offset(u64::MAX)), leave);
        self.hosts.remove(&host);
        self.arrivals.retain(|(_, of, _)| *of != host);
    }

    fn release_appended(&mut self, now: EventTime, leave: &mut impl FnMut(Ordered<T>)) {
        while let Some((appended_at, host, key)) = self.arrivals.front().copied() {
            let is_here = self.hosts.get(&host).is_some_and(|waiting| waiting.records.contains_key(&key));
            if is_here && now.millis_since(appended_at) < self.reorder_ms {
                return;
            }
            self.arrivals.pop_front();
            if is_here {
                self.release(host, key, leave);
            }
        }
    }

    /// Everything of a host up to a key leaves.
    fn release(&mut self, host: u32, up_to: Key, leave: &mut impl FnMut(Ordered<T>)) {
        let Some(waiting) = self.hosts.get_mut(&host) else { return };
        while let Some(first) = waiting.records.first_entry() {
            if *first.key() > up_to {
                return;
            }
            let (key, record) = first.remove_entry();
            self.waiting -= 1;
            waiting.left = waiting.left.max(Some(key));
            leave(Ordered { host, time: key.0, offset: key.1, record, is_late: false });
        }
    }
}

/// The state of a [`Reorder`]: hosts and arrivals that still wait.
#[derive(Serialize, Deserialize)]
pub(crate) struct ReorderRows<T> {
    hosts: BTreeMap<u32, (EventTime, Option<Key>)>,
    records: Vec<(EventTime, u32, Key, T)>,
}

impl<T: Clone> Reorder<T> {
    pub(crate) fn rows(&self) -> ReorderRows<T> {
        let hosts = self.hosts.iter().map(|(host, waiting)| (*host, (waiting.newest, waiting.left))).collect();
        let record = |(at, host, key): &(EventTime, u32, Key)| {
            let record = self.hosts.get(host)?.records.get(key)?.clone();
            Some((*at, *host, *key, record))
        };
        ReorderRows { hosts, records: self.arrivals.iter().filter_map(record).collect() }
    }

    pub(crate) fn from_rows(reorder_ms: i64, rows: ReorderRows<T>) -> Self {
        let mut reorder = Self::new(reorder_ms);
        for (host, (newest, left)) in rows.hosts {
            reorder.hosts.insert(host, Waiting { records: BTreeMap::new(), newest, left });
        }
        for (appended_at, host, key, record) in rows.records {
            let Some(waiting) = reorder.hosts.get_mut(&host) else { continue };
            if waiting.records.insert(key, record).is_none() {
                reorder.waiting += 1;
                reorder.arrivals.push_back((appended_at, host, key));
            }
        }
        reorder
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn at(ms: i64) -> EventTime {
        EventTime::from_millis(ms)
    }

    /// Feeds (host, event ms, append ms) and gives what left: host, event ms, late.
    fn run(records: &[(u32, i64, i64)], restore: bool) -> Vec<(u32, i64, bool)> {
        let mut reorder = Reorder::new(2_000);
        let mut left = Vec::new();
        for (offset, (host, event, append)) in records.iter().enumerate() {
            reorder.push(*host, (at(*event), Offset(offset as u64)), at(*append), (), &mut |o: Ordered<()>| {
                left.push((o.host, o.time.millis(), o.is_late))
            });
            if restore {
                reorder = Reorder::from_rows(2_000, reorder.rows());
            }
        }
        reorder.flush(&mut |o: Ordered<()>| left.push((o.host, o.time.millis(), o.is_late)));
        assert_eq!(reorder.waiting, 0);
        left
    }

    #[test]
    fn within_the_wait_records_leave_in_the_order_in_which_they_happened() {
        assert_eq!(run(&[(1, 500, 500), (1, 100, 510), (1, 300, 520)], false), [(1, 100, false), (1, 300, false), (1, 500, false)]);
    }

    #[test]
    fn what_comes_after_the_wait_is_late() {
        assert_eq!(
            run(&[(1, 5_000, 5_000), (1, 8_000, 8_000), (1, 4_000, 8_010)], false),
            [(1, 5_000, false), (1, 4_000, true), (1, 8_000, false)]
        );
    }

    #[test]
    fn a_slow_clock_does_not_wait_for_itself() {
        // The clock stands still, but the log goes on.
        assert_eq!(run(&[(1, 100, 1_000), (2, 9_000, 3_000), (1, 50, 3_010)], false)[..2], [(1, 100, false), (1, 50, true)]);
    }

    proptest! {
        #[test]
        fn no_host_changes_the_order_of_another(steps in proptest::collection::vec((0..3u32, 0..9_000i64, 0..900i64), 0..80)) {
            let mut now = 0;
            let records: Vec<(u32, i64, i64)> = steps.iter().map(|(host, event, step)| {
                now += step;
                (*host, *event, now)
            }).collect();
            let mixed = run(&records, false);
            prop_assert_eq!(&mixed, &run(&records, true), "restored at every step");
            for host in 0..3 {
                let own: Vec<_> = records.iter().copied().filter(|record| record.0 == host).collect();
                let alone = run(&own, false);
                let among: Vec<_> = mixed.iter().copied().filter(|record| record.0 == host).collect();
                prop_assert_eq!(alone, among);
            }
        }
    }
}

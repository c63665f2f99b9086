//! Which fault happens when: all of it follows from the seed. What the machine makes of it does not, so a seed gives the same
//! attack again, not the same run.

use std::time::Duration;

/// A session of our workers ends after 15 s, a transaction after 10 s; whoever is away for longer has been replaced.
const BEYOND_SESSION_MS: (u64, u64) = (16_000, 19_000);
/// From one broker fault to the next: the cluster has one broker to spare, and it must be whole before it loses another.
const BROKER_REST: Duration = Duration::from_secs(12);
/// Faults come in waves. Without the calm between them the group would never come to an agreement (a dead member is waited for
/// until its session ends), and faults would meet workers that have nothing to do.
const WAVE: Duration = Duration::from_secs(15);
const CYCLE: Duration = Duration::from_secs(35);
/// Instead of every eighth wave, the second one first, somebody resets the group, which stops all workers.
const RESET_CYCLES: u32 = 8;

/// Something that goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// `kill -9` of a worker, which comes back after this time: as itself, or after somebody took over.
    KillWorker(Duration),
    /// `kill -9` of a collector.
    KillCollector(Duration),
    /// One worker more.
    Join,
    /// One worker less, by SIGTERM.
    Leave,
    /// Every worker by SIGTERM and back, one after the other: an upgrade.
    RollingRestart,
    /// A worker stands still (SIGSTOP) for longer than its session and wakes as a zombie.
    PauseWorker(Duration),
    /// A collector stands still for longer than its transaction may be open.
    PauseCollector(Duration),
    /// A collector stands still, another process takes its name, then it wakes.
    ReplaceCollector(Duration),
    /// `kill -9` of a broker.
    KillBroker(Duration),
    /// A broker restarted politely: its partitions get other leaders.
    RestartBroker,
    /// Leaders move to the preferred replicas.
    MoveLeaders,
    /// A stranger writes to the input topic and aborts.
    AbortTransaction,
    /// A stranger writes to the input topic and dies with its transaction open.
    AbandonTransaction,
    /// Somebody resets the group's offsets while no worker runs; a worker must refuse to start until they are put back.
    ResetGroup,
}

impl Fault {
    /// What the table calls it.
    pub fn name(self) -> &'static str {
        match self {
            Self::KillWorker(_) => "worker: kill -9",
            Self::KillCollector(_) => "collector: kill -9",
            Self::Join => "worker: joins",
            Self::Leave => "worker: leaves (SIGTERM)",
            Self::RollingRestart => "workers: rolling restart",
            Self::PauseWorker(_) => "worker: SIGSTOP past its session",
            Self::PauseCollector(_) => "collector: SIGSTOP past its transaction",
            Self::ReplaceCollector(_) => "collector: SIGSTOP, replaced, SIGCONT",
            Self::KillBroker(_) => "broker: kill -9",
            Self::RestartBroker => "broker: restart, leaders move",
            Self::MoveLeaders => "brokers: leaders move back",
            Self::AbortTransaction => "stranger: aborted transaction",
            Self::AbandonTransaction => "stranger: transaction left open",
            Self::ResetGroup => "group: offsets reset",
        }
    }
}

/// A fault and its moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Step {
    /// Since the start of the run.
    pub at: Duration,
    /// What happens.
    pub fault: Fault,
    /// Whom it meets, modulo how many there are.
    pub victim: usize,
}

/// The faults of a run of this length, in order; one every `pace` on average while a wave lasts.
pub fn plan(seed: u64, length: Duration, pace: Duration) -> Vec<Step> {
    let mut random = Random(seed);
    let mut steps = Vec::new();
    let mut brokers_rest_until = Duration::ZERO;
    for cycle in 0.. {
        let begin = CYCLE * cycle;
        if begin >= length {
            break;
        }
        if cycle % RESET_CYCLES == 1 {
            steps.push(Step { at: begin, fault: Fault::ResetGroup, victim: random.victim() });
            continue;
        }
        let mut at = begin + random.about(pace);
        while at < length.min(begin + WAVE) {
            let fault = random.fault(at >= brokers_rest_until);
            if let Fault::KillBroker(_) | Fault::RestartBroker | Fault::MoveLeaders = fault {
                brokers_rest_until = at + BROKER_REST;
            }
            steps.push(Step { at, fault, victim: random.victim() });
            at += random.about(pace);
        }
    }
    steps
}

/// One fault at a time, each with its own name, and enough time after each: what each costs by itself. Wants four workers of
/// which three run, and one broker.
pub fn one_by_one() -> Vec<(&'static str, Step)> {
    let step = |at_s, fault| Step { at: Duration::from_secs(at_s), fault, victim: 0 };
    vec![
        ("worker: kill -9, same replica back", step(15, Fault::KillWorker(Duration::ZERO))),
        ("worker: kill -9, another takes over", step(40, Fault::KillWorker(Duration::from_secs(30)))),
        ("worker: leaves (SIGTERM)", step(85, Fault::Leave)),
        ("worker: joins", step(105, Fault::Join)),
        ("collector: kill -9", step(125, Fault::KillCollector(Duration::ZERO))),
        ("broker: away for 14 s", step(145, Fault::KillBroker(Duration::from_secs(14)))),
    ]
}

/// How long [`one_by_one`] is watched after its last fault.
pub const ONE_BY_ONE_REST: Duration = Duration::from_secs(50);

/// SplitMix64 (Steele, Lea, Flood: Fast splittable pseudorandom number generators, OOPSLA 2014).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn between(&mut self, low: u64, high: u64) -> u64 {
        low + self.next() % (high.saturating_sub(low) + 1)
    }

    fn millis(&mut self, (low, high): (u64, u64)) -> Duration {
        Duration::from_millis(self.between(low, high))
    }

    /// From half of this time to half as much again.
    fn about(&mut self, time: Duration) -> Duration {
        let time_us = u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        Duration::from_micros(self.between(time_us / 2, time_us.saturating_mul(3) / 2))
    }

    fn victim(&mut self) -> usize {
        usize::try_from(self.between(0, 1 << 20)).unwrap_or(0)
    }

    /// Mostly short enough to come back as oneself, else long enough to be replaced.
    fn away(&mut self) -> Duration {
        let range = if self.between(1, 4) == 1 { BEYOND_SESSION_MS } else { (0, 3_000) };
        self.millis(range)
    }

    fn fault(&mut self, brokers_rested: bool) -> Fault {
        match self.between(1, 100) {
            1..=26 => Fault::KillWorker(self.away()),
            27..=42 => Fault::KillCollector(self.away()),
            43..=54 => Fault::AbortTransaction,
            55..=58 => Fault::AbandonTransaction,
            59..=66 => Fault::Join,
            67..=74 => Fault::Leave,
            75..=79 => Fault::PauseWorker(self.millis(BEYOND_SESSION_MS)),
            80..=82 => Fault::PauseCollector(self.millis((11_000, 14_000))),
            83..=86 => Fault::ReplaceCollector(self.millis((1_000, 6_000))),
            87..=88 => Fault::RollingRestart,
            89..=94 if brokers_rested => Fault::KillBroker(self.millis((500, 5_000))),
            95..=97 if brokers_rested => Fault::RestartBroker,
            98.. if brokers_rested => Fault::MoveLeaders,
            _ => Fault::KillWorker(self.away()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    const PACE: Duration = Duration::from_millis(500);

    #[test]
    fn a_seed_is_one_attack_and_another_seed_another() {
        let length = Duration::from_secs(60);
        assert_eq!(plan(7, length, PACE), plan(7, length, PACE));
        assert_ne!(plan(7, length, PACE), plan(8, length, PACE));
    }

    #[test]
    fn a_long_run_meets_every_kind_in_time_order_and_in_waves() {
        let length = CYCLE * 40;
        let steps = plan(1, length, PACE);
        // 35 waves of 30 faults, and a reset in each of the other five.
        assert!((950..1_150).contains(&steps.len()), "{} steps", steps.len());
        assert!(steps.iter().all(|step| step.at < length && step.at.as_secs() % CYCLE.as_secs() < WAVE.as_secs()));
        assert!(steps.windows(2).all(|pair| pair[0].at <= pair[1].at));
        let mut kinds = BTreeMap::<&str, u32>::new();
        for step in &steps {
            *kinds.entry(step.fault.name()).or_default() += 1;
        }
        assert_eq!(kinds.len(), 14, "{kinds:?}");
    }

    #[test]
    fn a_cluster_is_whole_before_it_loses_another_broker() {
        for seed in 0..50 {
            let steps = plan(seed, Duration::from_secs(300), PACE);
            let brokers: Vec<Duration> = steps
                .iter()
                .filter(|step| matches!(step.fault, Fault::KillBroker(_) | Fault::RestartBroker | Fault::MoveLeaders))
                .map(|step| step.at)
                .collect();
            assert!(brokers.windows(2).all(|pair| pair[1] - pair[0] >= BROKER_REST), "seed {seed}");
        }
    }
}

//! What each fault does, from the blow to the recovery.

use std::error::Error;
use std::process::ExitStatus;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use super::fleet::{Slot, pick, running};
use super::plan::{Fault, Step};
use super::stranger::{Offsets, Stranger};
use crate::Cluster;
use crate::Process;

/// Workers that stay when others leave.
const WORKERS_MIN: usize = 2;
/// How long a woken zombie is watched; what it does until then must not show.
const ZOMBIE: Duration = Duration::from_secs(5);
/// How long a worker may take to find that its group's offsets are not its own: it must join first.
const REFUSAL_MAX: Duration = Duration::from_secs(45);
/// How long it may take until the group's offsets are back: brokers may be away meanwhile.
const PUT_BACK_MAX: Duration = Duration::from_secs(120);
/// How far an operator moves a group.
const RESET_RECORDS: i64 = 100;

/// Everything that can be hit.
pub struct Arena {
    /// The brokers.
    pub cluster: Cluster,
    /// How many brokers there are.
    pub brokers: usize,
    /// Held by whoever does something to a broker.
    pub broker_fault: Mutex<()>,
    /// Places for workers, some of them empty.
    pub workers: Vec<Slot>,
    /// Places for collectors.
    pub collectors: Vec<Slot>,
    /// A stranger's client.
    pub stranger: Stranger,
    /// The workers' consumer group.
    pub group: String,
}

/// What became of a fault.
#[derive(Debug)]
pub enum Outcome {
    /// It happened.
    Done,
    /// There was nobody that it could happen to.
    NotNow,
    /// It happened, and what was seen breaks a promise.
    Finding(String),
}

type Failure = Box<dyn Error + Send + Sync>;
type Struck = Result<Outcome, Failure>;

impl Arena {
    /// Lets a fault happen and returns when its consequences that we bring about ourselves are over.
    ///
    /// # Errors
    /// If a process, a broker or a client did not do as it was told; the run goes on.
    pub fn strike(&self, number: usize, step: &Step) -> Struck {
        match step.fault {
            Fault::KillWorker(away) => kill(&self.workers, step.victim, away),
            Fault::KillCollector(away) => kill(&self.collectors, step.victim, away),
            Fault::PauseWorker(away) => pause(&self.workers, step.victim, away),
            Fault::PauseCollector(away) => pause(&self.collectors, step.victim, away),
            Fault::ReplaceCollector(away) => replace(&self.collectors, step.victim, away),
            Fault::Join => join(&self.workers, step.victim),
            Fault::Leave if running(&self.workers) <= WORKERS_MIN => Ok(Outcome::NotNow),
            Fault::Leave => leave(&self.workers, step.victim),
            Fault::RollingRestart => rolling_restart(&self.workers),
            Fault::KillBroker(away) => self.on_broker(|| {
                let node = self.node(step.victim);
                self.cluster.kill(node)?;
                std::thread::sleep(away);
                Ok(self.cluster.restart(node)?)
            }),
            Fault::RestartBroker => self.on_broker(|| Ok(self.cluster.restart(self.node(step.victim))?)),
            Fault::MoveLeaders if self.brokers == 1 => Ok(Outcome::NotNow),
            Fault::MoveLeaders => self.on_broker(|| {
                let arguments = ["--election-type", "preferred", "--all-topic-partitions"];
                Ok(self.cluster.tool("LeaderElectionCommand", &arguments).map(drop)?)
            }),
            Fault::AbortTransaction => self.stranger.abort(&format!("stranger.{number}")).map(|()| Outcome::Done).map_err(Into::into),
            Fault::AbandonTransaction => self.stranger.abandon(&format!("stranger.{number}")).map(|()| Outcome::Done).map_err(Into::into),
            Fault::ResetGroup => self.reset_group(step.victim.is_multiple_of(2)),
        }
    }

    fn node(&self, victim: usize) -> u32 {
        u32::try_from(victim % self.brokers + 1).unwrap_or(1)
    }

    fn on_broker(&self, fault: impl FnOnce() -> Result<(), Failure>) -> Struck {
        let Ok(_held) = self.broker_fault.try_lock() else { return Ok(Outcome::NotNow) };
        fault().map(|()| Outcome::Done)
    }

    /// Stops all workers, moves the group's offsets, expects that a worker refuses to start, puts them back, starts all again.
    fn reset_group(&self, forwards: bool) -> Struck {
        let mut held: Vec<_> = self.workers.iter().map(Slot::hold).collect();
        let ran: Vec<bool> = held.iter().map(|process| process.is_some()).collect();
        let leavers: Vec<Process> = held.iter_mut().filter_map(|process| process.take()).collect();
        for process in &leavers {
            let _ = process.signal(Signal::TERM);
        }
        for process in leavers {
            let _ = process.leave();
        }
        let struck = self.reset_empty_group(forwards);
        for (slot, (process, ran)) in self.workers.iter().zip(held.iter_mut().zip(ran)) {
            **process = if ran { Some(slot.launch.start()?) } else { None };
        }
        struck
    }

    /// How a worker ended that found the group's offsets moved; None if it did not.
    fn start_moved(&self, slot: &Slot, moved: &Offsets) -> Result<Option<ExitStatus>, Failure> {
        self.stranger.reset(&self.group, moved)?;
        Ok(slot.launch.start()?.wait(REFUSAL_MAX))
    }

    fn reset_empty_group(&self, forwards: bool) -> Struck {
        let own = self.stranger.offsets(&self.group)?;
        let by = if forwards { RESET_RECORDS } else { -RESET_RECORDS };
        let moved: Offsets = own.iter().map(|(&partition, &offset)| (partition, (offset + by).max(0))).collect();
        let Some(slot) = self.workers.first().filter(|_| own != moved) else { return Ok(Outcome::NotNow) };
        let refused = self.start_moved(slot, &moved);
        // Whatever came of it, even if the brokers took some of the offsets and then failed: nothing runs until they are back.
        let begun = Instant::now();
        while let Err(error) = self.stranger.reset(&self.group, &own) {
            if begun.elapsed() > PUT_BACK_MAX {
                return Err(error.into());
            }
            std::thread::sleep(Duration::from_millis(500));
        }
        Ok(match refused? {
            Some(status) if !status.success() => Outcome::Done,
            Some(status) => Outcome::Finding(format!("group reset: {} ended with {status} instead of refusing", slot.launch.name)),
            None => Outcome::Finding(format!("group reset: {} went on for {} s", slot.launch.name, REFUSAL_MAX.as_secs())),
        })
    }
}

fn kill(slots: &[Slot], victim: usize, away: Duration) -> Struck {
    let Some((slot, mut held)) = pick(slots, victim, true) else { return Ok(Outcome::NotNow) };
    *held = None;
    std::thread::sleep(away);
    *held = Some(slot.launch.start()?);
    Ok(Outcome::Done)
}

fn pause(slots: &[Slot], victim: usize, away: Duration) -> Struck {
    let Some((_, held)) = pick(slots, victim, true) else { return Ok(Outcome::NotNow) };
    let Some(process) = held.as_ref() else { return Ok(Outcome::NotNow) };
    process.signal(Signal::STOP)?;
    std::thread::sleep(away);
    process.signal(Signal::CONT)?;
    Ok(Outcome::Done)
}

/// A second process takes the name of the first while that one stands still. Which of the two goes on after it woke is theirs
/// to settle; in the end we keep the second.
fn replace(slots: &[Slot], victim: usize, away: Duration) -> Struck {
    let Some((slot, mut held)) = pick(slots, victim, true) else { return Ok(Outcome::NotNow) };
    let Some(mut zombie) = held.take() else { return Ok(Outcome::NotNow) };
    zombie.signal(Signal::STOP)?;
    *held = Some(slot.launch.start_elsewhere()?);
    std::thread::sleep(away);
    zombie.signal(Signal::CONT)?;
    zombie.wait(ZOMBIE);
    drop(zombie);
    Ok(Outcome::Done)
}

fn join(slots: &[Slot], victim: usize) -> Struck {
    let Some((slot, mut held)) = pick(slots, victim, false) else { return Ok(Outcome::NotNow) };
    *held = Some(slot.launch.start()?);
    Ok(Outcome::Done)
}

fn leave(slots: &[Slot], victim: usize) -> Struck {
    let Some((slot, mut held)) = pick(slots, victim, true) else { return Ok(Outcome::NotNow) };
    let Some(process) = held.take() else { return Ok(Outcome::NotNow) };
    let status = process.leave()?;
    Ok(if status.success() {
        Outcome::Done
    } else {
        Outcome::Finding(format!("{} left with {status}: {}", slot.launch.name, slot.launch.last_words()))
    })
}

fn rolling_restart(slots: &[Slot]) -> Struck {
    let mut outcome = Outcome::NotNow;
    for victim in 0..slots.len() {
        let Some(slot) = slots.get(victim) else { continue };
        let Some(mut held) = slot.try_hold() else { continue };
        let Some(process) = held.take() else { continue };
        let status = process.leave();
        *held = Some(slot.launch.start()?);
        match status? {
            status if status.success() && !matches!(outcome, Outcome::Finding(_)) => outcome = Outcome::Done,
            status if status.success() => {}
            status => outcome = Outcome::Finding(format!("{} left with {status}", slot.launch.name)),
        }
    }
    Ok(outcome)
}

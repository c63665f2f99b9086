//! Who is heard: pure, without clock and socket, so that a day of heartbeats can be lived through in a test.

use std::collections::{BTreeMap, VecDeque};

use schemas::{Heartbeat, HeartbeatKind};

use crate::{
    pulse::Pulse,
    window::{Seen, SequenceWindow},
};

/// Former lives of a name that are remembered: their pulses, played again, prove nothing.
const FORMER_MAX: usize = 8;

/// What bounds a register.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Names at most.
    pub names_max: usize,
    /// A name that is silent for this long is forgotten.
    pub forget_after_us: i64,
    /// A name is spoken of this often while it lives.
    pub summary_us: i64,
    /// The receiver speaks of itself this often.
    pub listening_us: i64,
}

/// Why a well-formed pulse says nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// It is of a life that has ended: delayed for long, or played again.
    #[error("it is of an earlier life of its sender")]
    FormerLife,
    /// No room for another name.
    #[error("there are as many names as this receiver keeps")]
    TooManyNames,
}

impl Refused {
    /// The reason as a label, for counts.
    pub fn reason(self) -> &'static str {
        match self {
            Self::FormerLife => "former_life",
            Self::TooManyNames => "too_many_names",
        }
    }
}

/// What has been heard and not been said yet.
#[derive(Debug, Clone, Copy, Default)]
struct Counts {
    pulses: i64,
    missing: i64,
    repeated: i64,
}

#[derive(Debug, Clone)]
struct Entry {
    is_vm: bool,
    run: u64,
    former: VecDeque<u64>,
    window: SequenceWindow,
    counts: Counts,
    total: i64,
    last_us: i64,
    due_us: i64,
    state: State,
}

/// What is known of a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Nothing yet.
    New,
    /// It lives.
    Alive,
    /// Nothing came since the last time it was due.
    Quiet,
    /// It said goodbye.
    Gone,
}

/// All names that a receiver hears.
#[derive(Debug)]
pub struct Register {
    receiver: String,
    /// The receiver's own life.
    run: u64,
    limits: Limits,
    names: BTreeMap<String, Entry>,
    changes: Vec<Heartbeat>,
    /// Pulses of all names: since the last word about the receiver, and in all.
    pulses: i64,
    total: i64,
    last_us: Option<i64>,
    due_us: i64,
}

impl Register {
    /// Of a receiver that begins to listen.
    pub fn new(receiver: &str, run: u64, limits: Limits) -> Self {
        Self {
            receiver: receiver.into(),
            run,
            limits,
            names: BTreeMap::new(),
            changes: Vec::new(),
            pulses: 0,
            total: 0,
            last_us: None,
            due_us: i64::MIN,
        }
    }

    /// Names at present.
    pub fn len(&self) -> usize {
        self.names.len()
    }

    /// Whether nobody was heard.
    pub fn is_empty(&self) -> bool {
        self.names.is_empty()
    }

    /// A pulse came at `now_us`.
    ///
    /// # Errors
    /// If it says nothing; it is then not counted.
    pub fn hear(&mut self, pulse: &Pulse, now_us: i64) -> Result<(), Refused> {
        if !self.names.contains_key(&pulse.name) && self.names.len() >= self.limits.names_max {
            return Err(Refused::TooManyNames);
        }
        let entry = self.names.entry(pulse.name.clone()).or_insert_with(|| Entry::new(pulse));
        let heard = entry.hear(pulse, now_us)?;
        if matches!(heard, Heard::Nothing) {
            return Ok(());
        }
        self.pulses += 1;
        self.total += 1;
        self.last_us = Some(now_us);
        if let Heard::Change(kind) = heard {
            entry.due_us = now_us.saturating_add(self.limits.summary_us);
            let change = entry.take(&pulse.name, &self.receiver, kind, now_us);
            self.changes.push(change);
        }
        Ok(())
    }

    /// What is to be published at `now_us`: changes in the order in which they came, then whoever is due, then the receiver, once
    /// it has heard somebody.
    pub fn due(&mut self, now_us: i64) -> Vec<Heartbeat> {
        let mut due = std::mem::take(&mut self.changes);
        for (name, entry) in &mut self.names {
            if now_us < entry.due_us {
                continue;
            }
            entry.due_us = now_us.saturating_add(self.limits.summary_us);
            // Who has said goodbye says it more than once.
            if entry.counts.pulses > 0 && entry.state != State::Gone {
                due.push(entry.take(name, &self.receiver, HeartbeatKind::Summary, now_us));
            } else if entry.state == State::Alive {
                entry.state = State::Quiet;
            }
        }
        if now_us >= self.due_us {
            self.due_us = now_us.saturating_add(self.limits.listening_us);
            self.names.retain(|_, entry| now_us.saturating_sub(entry.last_us) < self.limits.forget_after_us);
            // Where nobody is expected, nobody waits for the receiver's word.
            if !self.names.is_empty() {
                due.push(self.listening(now_us));
            }
        }
        due
    }

    /// What has been heard and not been said, by a receiver that ends.
    pub fn rest(&mut self, now_us: i64) -> Vec<Heartbeat> {
        self.names.values_mut().for_each(|entry| entry.due_us = now_us);
        self.due(now_us)
    }

    fn listening(&mut self, now_us: i64) -> Heartbeat {
        Heartbeat {
            name: self.receiver.clone(),
            kind: HeartbeatKind::Listening,
            time: now_us,
            receiver: self.receiver.clone(),
            run: run_text(self.run),
            pulses: std::mem::take(&mut self.pulses),
            total: self.total,
            last_pulse: self.last_us,
            ..Heartbeat::default()
        }
    }
}

/// What a pulse says.
enum Heard {
    /// It has been heard before.
    Nothing,
    /// It lives.
    Life,
    /// Something happened to it.
    Change(HeartbeatKind),
}

impl Entry {
    fn new(pulse: &Pulse) -> Self {
        Self {
            is_vm: pulse.is_vm,
            run: pulse.run,
            former: VecDeque::new(),
            window: SequenceWindow::new(pulse.sequence),
            counts: Counts::default(),
            total: 0,
            last_us: 0,
            due_us: 0,
            state: State::New,
        }
    }

    fn hear(&mut self, pulse: &Pulse, now_us: i64) -> Result<Heard, Refused> {
        let is_new_life = pulse.run != self.run;
        let seen = if self.state == State::New {
            Seen::Ahead { skipped: 0 }
        } else if is_new_life {
            if self.former.contains(&pulse.run) {
                return Err(Refused::FormerLife);
            }
            if self.former.len() >= FORMER_MAX {
                self.former.pop_front();
            }
            self.former.push_back(std::mem::replace(&mut self.run, pulse.run));
            self.window = SequenceWindow::new(pulse.sequence);
            Seen::Ahead { skipped: 0 }
        } else {
            self.window.take(pulse.sequence)
        };
        match seen {
            Seen::Repeated => {
                self.counts.repeated += 1;
                return Ok(Heard::Nothing);
            }
            Seen::Ahead { skipped } => self.counts.missing = self.counts.missing.saturating_add_unsigned(skipped),
            Seen::Late => self.counts.missing = (self.counts.missing - 1).max(0),
        }
        self.is_vm = pulse.is_vm;
        self.counts.pulses += 1;
        self.total += 1;
        self.last_us = now_us;
        let next = if pulse.is_farewell { State::Gone } else { State::Alive };
        let heard = match (self.state, next) {
            // What was overtaken on its way is no return.
            (State::Gone, State::Gone) => Heard::Life,
            (State::Gone, _) if matches!(seen, Seen::Late) => return Ok(Heard::Life),
            (_, State::Gone) => Heard::Change(HeartbeatKind::Farewell),
            (State::New, _) => Heard::Change(HeartbeatKind::First),
            _ if is_new_life => Heard::Change(HeartbeatKind::Restarted),
            (State::Quiet | State::Gone, _) => Heard::Change(HeartbeatKind::Returned),
            _ => Heard::Life,
        };
        self.state = next;
        Ok(heard)
    }

    /// The record, after which the counts begin anew.
    fn take(&mut self, name: &str, receiver: &str, kind: HeartbeatKind, now_us: i64) -> Heartbeat {
        let Counts { pulses, missing, repeated } = std::mem::take(&mut self.counts);
        Heartbeat {
            name: name.into(),
            is_vm: self.is_vm,
            kind,
            time: now_us,
            receiver: receiver.into(),
            run: run_text(self.run),
            sequence: i64::try_from(self.window.highest()).unwrap_or(i64::MAX),
            pulses,
            missing,
            repeated,
            total: self.total,
            last_pulse: Some(self.last_us),
        }
    }
}

fn run_text(run: u64) -> String {
    format!("{run:016x}")
}

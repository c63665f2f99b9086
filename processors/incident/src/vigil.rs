//! Who should be heard and is not: silent hosts and VMs, and receivers that hear nobody.
//!
//! Time is the receiver's own: silence is what it says it did not hear, so neither a receiver that died nor a backlog that is read
//! late makes anybody silent. And when nobody at all is heard, it is the receiver that is in question: one alert, not a thousand.

use std::collections::{BTreeMap, BTreeSet};

use schemas::{EventTime, Heartbeat, HeartbeatKind, Severity, alert};
use serde::{Deserialize, Serialize};
use stream_core::{AlertBook, AlertDraft, Outbox, Reject, RejectReason, StateError};

use crate::config::Config;

/// A receiver that has heard nobody for this long may be about to go deaf: senders beat every 6 s or faster. Until that is
/// decided, nobody is called silent.
const HUSH_MS: i64 = 7_000;
/// Alerts that one word of a receiver causes at most; the others follow with the next.
const FIRED_MAX: usize = 500;
/// Receivers that are remembered; beyond, the one that spoke first is forgotten, with its names.
const RECEIVERS_MAX: usize = 256;
/// Bytes of a name; a host name has at most so many.
const NAME_BYTES_MAX: usize = 253;
/// Bytes of one name or receiver in a snapshot: two names and some numbers.
const ENTRY_BYTES_MAX: u64 = 2 * NAME_BYTES_MAX as u64 + 64;
/// Its section of the state.
pub(crate) const SECTION: &str = "vigil";

const HOST_SILENT: &str = "HostSilent";
const VM_SILENT: &str = "VmSilent";
const RECEIVER_BLIND: &str = "HeartbeatReceiverBlind";

/// What is known of one host or VM.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Watched {
    is_vm: bool,
    receiver: String,
    /// Pulses so far: who was hardly ever heard is not missed.
    pulses: u64,
    last_pulse: EventTime,
    /// It said goodbye.
    is_gone: bool,
}

/// What is known of one receiver.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
struct Ear {
    run: String,
    /// When it last said that it hears.
    last_word: EventTime,
    /// When it last heard anybody.
    last_pulse: EventTime,
    /// Since when it has been hearing without a break: silence counts from here.
    since: EventTime,
    is_blind: bool,
}

/// Everybody who should be heard. Part of the processor's state.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Vigil {
    names: BTreeMap<String, Watched>,
    receivers: BTreeMap<String, Ear>,
}

impl Vigil {
    /// The largest section that a vigil becomes.
    pub(crate) fn state_bytes_bound(config: &Config) -> u64 {
        (config.names_max + RECEIVERS_MAX) as u64 * ENTRY_BYTES_MAX
    }

    /// From a snapshot, which another configuration may have written.
    pub(crate) fn restored(mut self, config: &Config) -> Result<Self, StateError> {
        if self.receivers.len() > RECEIVERS_MAX {
            return Err(StateError::Damaged {
                section: SECTION.into(),
                detail: format!("{} receivers, at most {RECEIVERS_MAX} are possible", self.receivers.len()),
            });
        }
        self.leave_room(config.names_max);
        Ok(self)
    }

    /// A receiver spoke.
    ///
    /// # Errors
    /// If the record names nobody, or an output limit is broken.
    pub(crate) fn on_heartbeat(
        &mut self,
        heartbeat: &Heartbeat,
        config: &Config,
        book: &mut AlertBook,
        out: &mut Outbox,
    ) -> Result<(), Reject> {
        for (field, name) in [("name", &heartbeat.name), ("receiver", &heartbeat.receiver)] {
            if !(1..=NAME_BYTES_MAX).contains(&name.len()) || name.chars().any(char::is_control) {
                let problem =
                    format!("{field}: expected 1 to {NAME_BYTES_MAX} bytes without control characters, found {} bytes", name.len());
                return Err(Reject::new(RejectReason::InvalidField, problem));
            }
        }
        match heartbeat.kind {
            HeartbeatKind::Unknown => Ok(()),
            HeartbeatKind::Listening => self.on_word(heartbeat, config, book, out),
            _ => self.on_sign(heartbeat, config, book, out),
        }
    }

    /// Event time has come to `now`: a receiver that does not even say that it hears is blind.
    ///
    /// # Errors
    /// If an output limit is broken.
    pub(crate) fn on_watermark(&mut self, now: EventTime, config: &Config, book: &mut AlertBook, out: &mut Outbox) -> Result<(), Reject> {
        let has_names: BTreeSet<&str> = self.names.values().filter(|name| !name.is_gone).map(|name| name.receiver.as_str()).collect();
        for (receiver, ear) in &mut self.receivers {
            let silence_ms = now.millis_since(ear.last_word);
            if !ear.is_blind && silence_ms >= config.silent_ms && has_names.contains(receiver.as_str()) {
                ear.is_blind = true;
                let why = format!("it has not said for {} s that it hears: it is down, or the way from it to the bus", silence_ms / 1_000);
                book.fire(blind(receiver, &why), now, out)?;
            }
        }
        Ok(())
    }

    /// Somebody was heard.
    fn on_sign(&mut self, heartbeat: &Heartbeat, config: &Config, book: &mut AlertBook, out: &mut Outbox) -> Result<(), Reject> {
        let (time, pulses) = (EventTime::from_micros(heartbeat.time), u64::try_from(heartbeat.pulses).unwrap_or(0));
        let last_pulse = heartbeat.last_pulse.map_or(time, EventTime::from_micros).min(time);
        if !self.names.contains_key(&heartbeat.name) {
            self.leave_room(config.names_max - 1);
        }
        let name = self.names.entry(heartbeat.name.clone()).or_insert_with(|| Watched {
            is_vm: heartbeat.is_vm,
            receiver: heartbeat.receiver.clone(),
            pulses: 0,
            last_pulse,
            is_gone: false,
        });
        name.pulses = name.pulses.saturating_add(pulses);
        name.last_pulse = name.last_pulse.max(last_pulse);
        name.is_gone = heartbeat.kind == HeartbeatKind::Farewell;
        name.receiver.clone_from(&heartbeat.receiver);
        // Who changes its kind is another to whoever reads labels.
        let before = std::mem::replace(&mut name.is_vm, heartbeat.is_vm);
        book.resolve(&fingerprint(&heartbeat.name, before), time, out)?;
        if let Some(ear) = self.receivers.get_mut(&heartbeat.receiver) {
            ear.last_pulse = ear.last_pulse.max(last_pulse);
        }
        Ok(())
    }

    /// A receiver said that it hears: now it can be told who does not speak.
    fn on_word(&mut self, heartbeat: &Heartbeat, config: &Config, book: &mut AlertBook, out: &mut Outbox) -> Result<(), Reject> {
        let now = EventTime::from_micros(heartbeat.time);
        self.forget_a_receiver(&heartbeat.receiver);
        let ear = self.receivers.entry(heartbeat.receiver.clone()).or_default();
        if now < ear.last_word {
            return Ok(()); // its clock was set back: what it says now cannot be compared
        }
        let was_away = ear.run != heartbeat.run || now.millis_since(ear.last_word) >= config.silent_ms;
        ear.last_word = now;
        ear.last_pulse = heartbeat.last_pulse.map_or(ear.last_pulse, |last| ear.last_pulse.max(EventTime::from_micros(last).min(now)));
        if was_away {
            ear.run.clone_from(&heartbeat.run);
            ear.since = now;
        }
        let hush_ms = now.millis_since(ear.last_pulse.max(ear.since));
        if ear.is_blind && hush_ms < config.silent_ms {
            (ear.is_blind, ear.since) = (false, now);
            book.resolve(&alert::fingerprint(RECEIVER_BLIND, &blind(&heartbeat.receiver, "").labels), now, out)?;
        }
        if ear.is_blind {
            return Ok(());
        }
        let since = ear.since;
        let is_missed = |name: &str, watched: &Watched| {
            watched.receiver == heartbeat.receiver
                && !watched.is_gone
                && watched.pulses >= config.pulses_min
                && !book.is_open(&fingerprint(name, watched.is_vm))
        };
        let expected: Vec<(&String, &Watched)> = self.names.iter().filter(|(name, watched)| is_missed(name, watched)).collect();
        let count = expected.len();
        let is_silent = |watched: &Watched| now.millis_since(watched.last_pulse.max(since)) >= config.silent_ms;
        let silent: Vec<AlertDraft> = expected
            .into_iter()
            .filter(|(_, watched)| is_silent(watched))
            .map(|(name, watched)| silent(name, watched, now, config))
            .collect();
        if silent.is_empty() || (HUSH_MS..config.silent_ms).contains(&hush_ms) {
            return Ok(());
        }
        if hush_ms >= config.silent_ms && count > 1 {
            ear.is_blind = true;
            let why = format!("it has heard none of {count} hosts and VMs for {} s", hush_ms / 1_000);
            return book.fire(blind(&heartbeat.receiver, &why), now, out);
        }
        silent.into_iter().take(FIRED_MAX).try_for_each(|draft| book.fire(draft, now, out))
    }

    /// Whoever has been silent for longest leaves.
    fn leave_room(&mut self, names_max: usize) {
        while self.names.len() > names_max {
            let oldest = self.names.iter().min_by_key(|(_, name)| name.last_pulse).map(|(name, _)| name.clone());
            let Some(oldest) = oldest else { return };
            self.names.remove(&oldest);
        }
    }

    fn forget_a_receiver(&mut self, but: &str) {
        if self.receivers.len() < RECEIVERS_MAX || self.receivers.contains_key(but) {
            return;
        }
        let oldest = self.receivers.iter().min_by_key(|(_, ear)| ear.last_word).map(|(receiver, _)| receiver.clone());
        if let Some(oldest) = oldest {
            self.names.retain(|_, name| name.receiver != oldest);
            self.receivers.remove(&oldest);
        }
    }
}

fn labels(name: &str, is_vm: bool) -> BTreeMap<String, String> {
    [((if is_vm { "vm" } else { "host" }).to_owned(), name.to_owned())].into()
}

fn fingerprint(name: &str, is_vm: bool) -> String {
    alert::fingerprint(if is_vm { VM_SILENT } else { HOST_SILENT }, &labels(name, is_vm))
}

fn silent(name: &str, watched: &Watched, now: EventTime, config: &Config) -> AlertDraft {
    let (kind, what) = if watched.is_vm { (VM_SILENT, "VM") } else { (HOST_SILENT, "host") };
    let silence_s = now.millis_since(watched.last_pulse) / 1_000;
    AlertDraft {
        name: kind,
        severity: Severity::Critical,
        labels: labels(name, watched.is_vm),
        message: format!("{what} {name} is silent: no heartbeat for {silence_s} s"),
        description: format!(
            "It was heard {} times before and did not say goodbye; {} hears others. Either it is down or hung, or the network between the two \
             is. What its log said last is on the page under its name.",
            watched.pulses, watched.receiver
        ),
        annotations: [("last_pulse".to_owned(), watched.last_pulse.to_string()), ("receiver".to_owned(), watched.receiver.clone())].into(),
        score: silence_s as f64,
        threshold: config.silent_ms as f64 / 1_000.0,
        ..AlertDraft::default()
    }
}

fn blind(receiver: &str, why: &str) -> AlertDraft {
    AlertDraft {
        name: RECEIVER_BLIND,
        severity: Severity::High,
        labels: [("receiver".to_owned(), receiver.to_owned())].into(),
        message: format!("receiver {receiver} hears no heartbeats"),
        description: format!(
            "{why}. As long as this lasts nobody who sends to it can be missed: a host that dies now is not told. Look at the receiver's network \
             first, then whether the hosts are well."
        ),
        ..AlertDraft::default()
    }
}

//! Plays a story: its lines through the real drain processor, whose alerts through the real incident processor.

use std::collections::BTreeMap;

use anyhow::bail;
use drain::DrainProcessor;
use incident::{Config, IncidentProcessor};
use schemas::{Alert, AlertStatus, EventTime, Incident, LogRecord, Subject, alert, topics};
use stream_core::{
    Applied, EventClock, Headers, Instance, Lateness, NextOffset, Offset, Outbox, Partition, Processor, Record, TopicPartition,
};

use super::story::Story;

/// When the first truth begins: the hosts have spoken for 45 minutes by then, since detectors must know what is normal.
const T0: EventTime = EventTime::from_millis(1_700_000_040_000);
const BEFORE_S: i64 = 2_700;
/// The hosts speak on for so long.
const AFTER_S: i64 = 3_600;
/// What every host says: program, severity, seconds between two lines, line.
const USUAL: [(&str, i32, i64, &str); 4] = [
    ("node-agent", 6, 2, "sent {n} samples in {n} ms"),
    ("systemd", 6, 30, "Started session {n} of user deploy."),
    ("cron", 6, 60, "(root) CMD (run-parts --report /etc/cron.hourly {n})"),
    ("kernel", 6, 45, "audit: type=1400 audit({n}): apparmor status ok"),
];

/// What came of a story.
pub struct Played {
    /// For each alert that fired, the truth that it belongs to, if one.
    pub truth_of: BTreeMap<String, Option<String>>,
    /// When each truth began.
    pub began: BTreeMap<String, EventTime>,
    /// How many alerts real detectors gave, and how many are written by hand.
    pub detected: usize,
    /// See `detected`.
    pub by_hand: usize,
    /// All records of incidents, in order.
    pub told: Vec<Incident>,
}

enum Event {
    Line { record: Box<LogRecord>, truth: Option<String> },
    Alert { alert: Box<Alert>, truth: String },
}

/// Plays it.
///
/// # Errors
/// If a processor refuses what it should take.
pub fn play(story: &Story, config: &Config) -> anyhow::Result<Played> {
    let mut events = events(story);
    events.sort_by_key(|(at, order, _)| (*at, *order));
    let mut drain = Stage::<DrainProcessor>::new(topics::LOGS_RAW, &drain::Config::default())?;
    let mut incidents = Stage::<IncidentProcessor>::new(topics::ALERTS, config)?;
    let mut played = Played { truth_of: BTreeMap::new(), began: BTreeMap::new(), detected: 0, by_hand: 0, told: Vec::new() };
    let mut truth_of_line: Vec<Option<String>> = Vec::new();
    // What begins with a silence begins when it falls, not with the first word about it.
    for truth in &story.truth {
        let falls_silent = story.steady.iter().filter(|steady| steady.hosts.iter().any(|host| truth.hosts.contains(host)));
        if let Some(until_s) = falls_silent.filter_map(|steady| steady.until_s).min() {
            played.began.insert(truth.name.clone(), T0.plus_millis(until_s * 1_000));
        }
    }
    for (at, _, event) in events {
        let (alerts, by_hand) = match event {
            Event::Line { record, truth } => {
                if let Some(truth) = &truth {
                    begin(&mut played.began, truth, at);
                }
                truth_of_line.push(truth);
                let outputs = drain.feed(&record.to_bytes()?, at)?;
                (
                    outputs.into_iter().filter(|(topic, _)| topic == topics::ALERTS).map(|(_, value)| (value, None)).collect::<Vec<_>>(),
                    false,
                )
            }
            Event::Alert { alert, truth } => {
                begin(&mut played.began, &truth, at);
                (vec![(serde_json::to_vec(&alert)?, Some(truth))], true)
            }
        };
        for (value, truth) in alerts {
            let alert: Alert = serde_json::from_slice(&value)?;
            if alert.status == AlertStatus::Firing && !played.truth_of.contains_key(&alert.fingerprint) {
                let of_line = || truth_of_line.get(usize::try_from(alert.evidence.first()?.offset).ok()?)?.clone();
                let of_host = || {
                    story
                        .truth
                        .iter()
                        .find(|truth| alert.labels.get("host").is_some_and(|host| truth.hosts.contains(host)))
                        .map(|truth| truth.name.clone())
                };
                played.truth_of.insert(alert.fingerprint.clone(), truth.or_else(of_line).or_else(of_host));
                *(if by_hand { &mut played.by_hand } else { &mut played.detected }) += 1;
            }
            for (_, value) in incidents.feed(&value, at)? {
                played.told.push(serde_json::from_slice(&value)?);
            }
        }
    }
    for (_, value) in incidents.silence(7_200_000)? {
        played.told.push(serde_json::from_slice(&value)?);
    }
    Ok(played)
}

fn begin(began: &mut BTreeMap<String, EventTime>, truth: &str, at: EventTime) {
    let first = began.entry(truth.to_string()).or_insert(at);
    *first = at.min(*first);
}

fn events(story: &Story) -> Vec<(EventTime, usize, Event)> {
    let mut events = Vec::new();
    let mut n = 0usize;
    let mut say = |at_s: i64, shift_ms: i64, host: &str, app: &str, severity: i32, line: &str, truth: Option<&String>| {
        n += 1;
        let at = T0.plus_millis(at_s * 1_000 + shift_ms);
        // Numbers that change from line to line, the same in every run.
        let number = (n as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 50;
        let message = line.replace("{n}", &number.to_string());
        let record = LogRecord {
            host: host.into(),
            event_time: at.micros(),
            observed_time: at.micros(),
            severity: Some(severity),
            app_name: Some(app.into()),
            message_length: message.len() as i32,
            raw: message.into_bytes(),
            ..LogRecord::default()
        };
        events.push((at, n, Event::Line { record: Box::new(record), truth: truth.cloned() }));
    };
    let mut hosts: Vec<&String> = story.hosts().collect();
    hosts.sort();
    hosts.dedup();
    for (index, host) in hosts.iter().enumerate() {
        let silent_from = story
            .steady
            .iter()
            .filter(|steady| steady.app.is_none() && steady.hosts.contains(host))
            .filter_map(|steady| steady.until_s)
            .min();
        let shift_ms = 37 * index as i64;
        for (app, severity, every_s, line) in USUAL {
            let mut at_s = -BEFORE_S;
            while at_s < silent_from.unwrap_or(AFTER_S) {
                say(at_s, shift_ms, host, app, severity, line, None);
                at_s += every_s;
            }
        }
        for steady in story.steady.iter().filter(|steady| steady.hosts.contains(host)) {
            let Some(app) = &steady.app else { continue };
            let mut at_s = -BEFORE_S;
            while at_s < steady.until_s.unwrap_or(AFTER_S) {
                say(at_s, shift_ms + 11, host, app, steady.severity, &steady.line, None);
                at_s += steady.every_s.max(1);
            }
        }
    }
    for line in &story.line {
        for (index, host) in line.hosts.iter().enumerate() {
            for time in 0..line.times {
                let at_s = line.at_s + time * line.every_s;
                say(at_s, 300 * index as i64 + 5, host, &line.app, line.severity, &line.line, Some(&line.truth));
            }
        }
    }
    for (index, written) in story.alert.iter().enumerate() {
        let at = T0.plus_millis(written.at_s * 1_000);
        let over = at.plus_millis(written.for_s * 1_000);
        let firing = Alert {
            id: alert::hex16(format!("{index} firing").as_bytes()),
            fingerprint: alert::fingerprint(&written.name, &written.labels),
            name: written.name.clone(),
            severity: written.severity,
            started_at: at,
            last_received: at,
            labels: written.labels.clone(),
            service: written.service.clone(),
            source: vec!["by-hand".into()],
            message: written.message.clone(),
            ..Alert::default()
        };
        let id = alert::hex16(format!("{index} resolved").as_bytes());
        let resolved = Alert { id, status: AlertStatus::Resolved, last_received: over, ends_at: Some(over), ..firing.clone() };
        events.push((at, usize::MAX, Event::Alert { alert: Box::new(firing), truth: written.truth.clone() }));
        events.push((over, usize::MAX, Event::Alert { alert: Box::new(resolved), truth: written.truth.clone() }));
    }
    events
}

/// One processor with its clock.
struct Stage<P: Processor> {
    instance: Instance<P>,
    out: Outbox,
    next: NextOffset,
}

impl<P: Processor> Stage<P> {
    fn new(topic: &str, config: &P::Config) -> anyhow::Result<Self> {
        let at = TopicPartition::new(&topic.into(), Partition(0));
        let lateness = P::lateness(config).unwrap_or(Lateness::DEFAULT);
        let instance = Instance::new(P::new(config, &at)?, EventClock::default(), at, lateness);
        Ok(Self { instance, out: Outbox::new(P::NAME), next: NextOffset(0) })
    }

    fn feed(&mut self, value: &[u8], appended_at: EventTime) -> anyhow::Result<Vec<(String, Vec<u8>)>> {
        self.out.clear();
        let at = self.instance.at().clone();
        let offset = Offset(self.next.0);
        self.next = offset.next();
        let (topic, partition, headers) = (&at.topic, at.partition, Headers::default());
        let record = Record { topic, partition, offset, appended_at, key: None, value: Some(value), headers };
        match self.instance.apply(record, &mut self.out) {
            Applied::Accepted => Ok(self.outputs()),
            Applied::Rejected(reject) | Applied::Poisoned(reject) => bail!("{} refuses record {}: {reject}", P::NAME, offset.0),
        }
    }

    fn silence(&mut self, ms: i64) -> anyhow::Result<Vec<(String, Vec<u8>)>> {
        self.out.clear();
        if let Some(to) = self.instance.clock.idle_tick(ms) {
            self.instance.tick(self.next, to, &mut self.out)?;
        }
        Ok(self.outputs())
    }

    fn outputs(&self) -> Vec<(String, Vec<u8>)> {
        self.out.outputs().filter_map(|output| Some((output.topic.to_string(), output.value?.to_vec()))).collect()
    }
}

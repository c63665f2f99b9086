//! What one record of `alerts.v1` says about the world: which trouble, about what, where, and whom it names.

use std::collections::BTreeMap;

use schemas::{Alert, AlertStatus, EventTime, Node, NodeKind, Severity, alert};
use serde::{Deserialize, Serialize};
use stream_core::{Reject, RejectReason};

use crate::{
    config::{Config, Weights},
    identity::Identity,
    mention::{self, Mention},
};

/// Labels that say where a trouble is. What is left of the labels is the symptom.
const PLACES: [(&str, NodeKind); 3] = [("vm", NodeKind::Vm), ("host", NodeKind::Host), ("peer", NodeKind::Peer)];
/// Labels that name further services: who is hit, and who asks.
const OTHER_SERVICES: [&str; 2] = ["victim", "caller"];
/// The word for a service that is not known.
const UNKNOWN: &str = "unknown";
/// Annotation that holds the line behind an alert.
const LINE: &str = "line";
/// The program that speaks of units, and the ending of those that are services (systemd.unit(5)).
const UNITS: (&str, &str) = ("systemd", ".service");
/// Names of alerts that say no more than "never said before".
const NOVELTIES: [&str; 2] = ["NewTemplate", "TemplateExplosion"];
/// Bytes of a message that is kept.
const MESSAGE_BYTES_MAX: usize = 200;

/// How close to the ground a trouble was seen: the lower, the rather it is a cause.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Layer {
    /// Hardware and kernel.
    Machine,
    /// A virtual machine as a whole.
    Vm,
    /// The network.
    Network,
    /// A program.
    Service,
    /// Something was said for the first time; nobody knows yet whether it is bad.
    Novelty,
}

impl Layer {
    /// Its factor.
    pub fn weight(self, weights: &Weights) -> f64 {
        match self {
            Self::Machine => weights.machine,
            Self::Vm => weights.vm,
            Self::Network => weights.network,
            Self::Service => weights.service,
            Self::Novelty => weights.novelty,
        }
    }
}

/// One word about one trouble, as far as stories need it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Sighting {
    /// Which trouble.
    pub fingerprint: Identity,
    /// Which word about it.
    pub id: Identity,
    /// Kind of trouble.
    pub name: String,
    /// Whether it lasts.
    pub status: AlertStatus,
    /// How bad it is.
    pub severity: Severity,
    /// When it began.
    pub started_at: EventTime,
    /// When it was last seen, or ended.
    pub at: EventTime,
    /// The thing that it is about.
    pub subject: Node,
    /// Where it is: machines, the innermost first; if no machine is known, its subject.
    pub places: Vec<Node>,
    /// What it has in common with the same trouble elsewhere.
    pub symptom: Option<Identity>,
    /// Whom it names.
    pub mentions: Vec<Mention>,
    /// Where it was seen.
    pub layer: Layer,
    /// One line.
    pub message: String,
}

impl Sighting {
    /// Reads an alert that keeps its contract. `now` is when the bus stored it: nothing happened later than that.
    ///
    /// # Errors
    /// [`RejectReason::InvalidField`] if its id or fingerprint is no hash.
    pub fn read(alert: &Alert, now: EventTime, config: &Config) -> Result<Self, Reject> {
        let identity = |field: &str, text: &str| {
            let detail = || format!("{field}: expected 32 lower-case hex digits, found {text:?}");
            text.parse().map_err(|_| Reject::new(RejectReason::InvalidField, detail()))
        };
        let (id, fingerprint) = (identity("id", &alert.id)?, identity("fingerprint", &alert.fingerprint)?);
        let last = match alert.status {
            AlertStatus::Firing => alert.last_received,
            AlertStatus::Resolved => alert.ends_at.unwrap_or(alert.last_received),
        };
        let at = whole_millis(last.min(now));
        let mut places: Vec<Node> =
            PLACES.iter().filter_map(|(label, kind)| Some(Node::new(*kind, named(alert.labels.get(*label)?)?))).collect();
        let speaker = named(&alert.service).filter(|service| *service != UNKNOWN).or_else(|| named(alert.labels.get("service")?));
        let service = speaker.and_then(|speaker| unit(speaker, alert)).or(speaker);
        let is_any_of = |programs: &[String]| service.is_some_and(|service| programs.iter().any(|program| program == service));
        let is_machine = is_any_of(&config.machine_programs);
        let speaks_for_itself = service.filter(|_| !is_machine && !is_any_of(&config.host_programs));
        let of_service = |name: &str| Node::new(NodeKind::Service, name);
        let innermost = places.first().cloned();
        let subject = match (innermost, speaks_for_itself) {
            // What is said about a virtual machine from outside is about it, whoever says it.
            (Some(place), _) if place.kind == NodeKind::Vm => place,
            (_, Some(service)) => of_service(service),
            (Some(place), None) => place,
            (None, None) => of_service(service.or_else(|| named(alert.source.first()?)).unwrap_or(UNKNOWN)),
        };
        if places.is_empty() {
            places.push(subject.clone());
        }
        let layer = match subject.kind {
            _ if is_machine => Layer::Machine,
            NodeKind::Vm => Layer::Vm,
            _ if places.iter().any(|place| place.kind == NodeKind::Peer) => Layer::Network,
            _ if NOVELTIES.contains(&alert.name.as_str()) => Layer::Novelty,
            _ => Layer::Service,
        };
        Ok(Self {
            fingerprint,
            id,
            name: alert.name.clone(),
            status: alert.status,
            severity: alert.severity,
            started_at: whole_millis(alert.started_at.min(at)),
            at,
            subject,
            symptom: symptom(alert),
            mentions: mentions(alert),
            places,
            layer,
            message: alert::one_line(&alert.message, MESSAGE_BYTES_MAX),
        })
    }
}

/// A name that names something.
fn named(name: &str) -> Option<&str> {
    (!name.is_empty()).then_some(name)
}

/// What is left of an alert's identity without the place. The template says it alone, whoever found what about it.
fn symptom(alert: &Alert) -> Option<Identity> {
    let is_place = |label: &str| PLACES.iter().any(|(place, _)| *place == label);
    let rest: BTreeMap<String, String> = match alert.labels.get_key_value("template_id") {
        Some((key, id)) => [(key.clone(), id.clone())].into(),
        None => alert.labels.iter().filter(|(label, _)| !is_place(label)).map(|(key, value)| (key.clone(), value.clone())).collect(),
    };
    let name = if rest.contains_key("template_id") { "Template" } else { &alert.name };
    if rest.is_empty() { None } else { alert::fingerprint(name, &rest).parse().ok() }
}

/// The service that is meant if systemd speaks: *nginx.service: Failed with result 'exit-code'* is about nginx.
fn unit<'a>(speaker: &str, alert: &'a Alert) -> Option<&'a str> {
    let (program, ending) = UNITS;
    let unit = line(alert).split(|c: char| c.is_whitespace() || c == ':').find_map(|word| word.strip_suffix(ending));
    // An instance of a template, `getty@tty1`, is of the service before the sign.
    let name = unit.map(|unit| unit.split('@').next().unwrap_or(unit)).filter(|_| speaker == program)?;
    named(name).filter(|name| name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.')))
}

/// The line behind an alert, or what it says itself.
fn line(alert: &Alert) -> &str {
    alert.annotations.get(LINE).unwrap_or(&alert.message)
}

fn mentions(alert: &Alert) -> Vec<Mention> {
    let mut mentions = mention::mentions(line(alert));
    let services = OTHER_SERVICES.iter().filter_map(|label| named(alert.labels.get(*label)?));
    mentions.extend(services.map(|name| Mention { name: name.to_ascii_lowercase(), is_endpoint: false, is_caller: false }));
    let own =
        |mention: &Mention| PLACES.iter().filter_map(|(label, _)| alert.labels.get(*label)).any(|place| answers_to(place, &mention.name));
    mentions.retain(|mention| !own(mention));
    mentions
}

/// Whether the machine `host` is meant by `name`.
pub(crate) fn answers_to(host: &str, name: &str) -> bool {
    host.eq_ignore_ascii_case(name) || (!name.contains('.') && mention::short(host).eq_ignore_ascii_case(name))
}

/// Alerts count in milliseconds.
pub(crate) fn whole_millis(time: EventTime) -> EventTime {
    EventTime::from_millis(time.millis())
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: EventTime = EventTime::from_millis(1_700_000_000_000);

    fn alert(labels: &[(&str, &str)], service: &str, line: &str) -> Alert {
        Alert {
            id: "0".repeat(32),
            fingerprint: "1".repeat(32),
            name: "SevereLog".into(),
            service: service.into(),
            last_received: NOW,
            started_at: NOW,
            labels: labels.iter().map(|(key, value)| ((*key).to_string(), (*value).to_string())).collect(),
            annotations: [(LINE.to_string(), line.to_string())].into(),
            ..Alert::default()
        }
    }

    fn read(alert: &Alert) -> Sighting {
        Sighting::read(alert, NOW, &Config::default()).expect("a good alert")
    }

    #[test]
    fn what_an_alert_is_about() {
        let about = |labels: &[(&str, &str)], service: &str| {
            let sighting = read(&alert(labels, service, ""));
            (sighting.subject.to_string(), sighting.layer)
        };
        assert_eq!(about(&[("host", "web-1")], "shop"), ("service/shop".into(), Layer::Service));
        assert_eq!(about(&[("host", "web-1")], "kernel"), ("host/web-1".into(), Layer::Machine));
        assert_eq!(about(&[("host", "web-1")], "systemd"), ("host/web-1".into(), Layer::Service));
        assert_eq!(about(&[("host", "hv-3"), ("vm", "vm-9")], "qemu"), ("vm/vm-9".into(), Layer::Vm));
        assert_eq!(about(&[("peer", "10.0.0.9")], "unknown"), ("peer/10.0.0.9".into(), Layer::Network));
        assert_eq!(about(&[], "unknown"), ("service/unknown".into(), Layer::Service));
    }

    #[test]
    fn what_systemd_says_of_a_unit_is_about_its_service() {
        let about = |service: &str, line: &str| read(&alert(&[("host", "web-1")], service, line)).subject.to_string();
        assert_eq!(about("systemd", "nginx.service: Failed with result 'exit-code'."), "service/nginx");
        assert_eq!(about("systemd", "Failed to start getty@tty1.service - Getty."), "service/getty");
        assert_eq!(about("systemd", "Started session 4 of user deploy."), "host/web-1");
        assert_eq!(about("shop", "nginx.service is gone"), "service/shop");
    }

    #[test]
    fn a_symptom_is_the_same_on_every_host() {
        let symptom = |labels: &[(&str, &str)]| read(&alert(labels, "shop", "")).symptom;
        assert_eq!(symptom(&[("host", "a"), ("template_id", "7")]), symptom(&[("host", "b"), ("template_id", "7")]));
        assert_ne!(symptom(&[("host", "a"), ("template_id", "7")]), symptom(&[("host", "a"), ("template_id", "8")]));
        assert_eq!(symptom(&[("host", "a"), ("unit", "x")]), symptom(&[("host", "b"), ("unit", "x")]));
        assert_eq!(symptom(&[("host", "a")]), None);
    }

    #[test]
    fn a_host_does_not_mention_itself() {
        let names = |host: &str, line: &str| {
            let mentions = read(&alert(&[("host", host)], "shop", line)).mentions;
            mentions.into_iter().map(|mention| mention.name).collect::<Vec<_>>()
        };
        assert_eq!(names("web-1.example.org", "web-1 cannot reach db-7:5432"), ["db-7"]);
        assert_eq!(names("web-1", "web-1.example.org cannot reach db-7"), ["web-1.example.org", "db-7"]);
    }

    #[test]
    fn nothing_happened_after_it_was_stored_and_no_alert_began_after_it_was_seen() {
        let ahead = Alert { last_received: NOW.plus_millis(90_000), started_at: EventTime(i64::MAX), ..alert(&[("host", "a")], "x", "") };
        let sighting = read(&ahead);
        assert_eq!((sighting.at, sighting.started_at), (NOW, NOW));
    }

    #[test]
    fn an_id_that_is_no_hash_is_refused_and_named() {
        let reject = Sighting::read(&Alert { id: "x\n".into(), ..alert(&[], "", "") }, NOW, &Config::default()).expect_err("a bad id");
        assert_eq!(reject.to_string(), r#"invalid_field: id: expected 32 lower-case hex digits, found "x\n""#);
    }
}

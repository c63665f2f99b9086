//! What every client of librdkafka shares: its log goes to ours, and its failures become words that an operator can use.

use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use rdkafka::{
    ClientContext, Message,
    config::RDKafkaLogLevel,
    consumer::{BaseConsumer, Consumer, ConsumerContext},
    error::{KafkaError, KafkaResult, RDKafkaErrorCode},
    message::DeliveryResult,
    producer::ProducerContext,
};

use crate::bus::BusError;

/// One question to the broker takes this long at most; the caller asks again.
pub(super) const ASK: Duration = Duration::from_secs(5);
/// One try of it: after each the client's log is served, so that a wrong password is no silence.
const TRY: Duration = Duration::from_secs(1);
/// Enough to take over what stands in a queue.
const SERVE: Duration = Duration::from_millis(1);

/// Time that never goes back, for waits.
#[allow(clippy::disallowed_methods, reason = "a bus is an edge")]
pub(super) fn now() -> Instant {
    Instant::now()
}

/// A client that only asks. It remembers what librdkafka complained about last: its errors say no more than that a broker
/// could not be reached, and the reason stands in its log alone.
#[derive(Default)]
pub(super) struct Asking(Mutex<Option<String>>);

impl Asking {
    fn remember(&self, complaint: Option<String>) {
        if let Some(complaint) = complaint {
            *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(complaint);
        }
    }
}

impl ClientContext for Asking {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        self.remember(hear(level, facility, message));
    }

    fn error(&self, error: KafkaError, reason: &str) {
        self.remember(hear_error(&error, reason));
    }
}

impl ConsumerContext for Asking {}

/// Puts a question to the brokers, again while they cannot be reached, for [`ASK`] in all. Each try gets the time that it
/// may take.
pub(super) fn ask<T>(
    client: &BaseConsumer<Asking>,
    what: &str,
    question: impl Fn(&BaseConsumer<Asking>, Duration) -> KafkaResult<T>,
) -> Result<T, BusError> {
    let until = now() + ASK;
    let mut last_complaint = None;
    loop {
        let answer = question(client, TRY);
        last_complaint = complaint(client).or(last_complaint);
        match answer.map_err(|error| failed(what, &error)) {
            Ok(answer) => return Ok(answer),
            Err(BusError::Lost(_)) if now() < until => {}
            Err(BusError::Lost(why)) => {
                return Err(BusError::Lost(last_complaint.map_or(why, |complaint| format!("{what}: no broker answers: {complaint}"))));
            }
            Err(error) => return Err(error),
        }
    }
}

/// Serves the client's log, which waits in its queue until somebody polls, and takes the last complaint out of it.
pub(super) fn complaint(client: &BaseConsumer<Asking>) -> Option<String> {
    let _ = client.poll(SERVE);
    client.context().0.lock().unwrap_or_else(PoisonError::into_inner).take()
}

/// A producer's context: remembers the first record that could not be delivered. Successes are not reported at all.
#[derive(Default)]
pub(super) struct Deliveries {
    failure: Mutex<Option<KafkaError>>,
    /// Topic of that record, which the error does not name.
    topic: Mutex<Option<String>>,
    /// Topics that the brokers would not add to the transaction, in librdkafka's words: its errors say no more than that the
    /// records were purged.
    refused: Mutex<Vec<String>>,
}

impl Deliveries {
    /// The first failure since the last call.
    pub(super) fn take_failure(&self) -> Option<KafkaError> {
        self.failure.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// What may not be written, if that is why the transaction failed.
    pub(super) fn take_refusal(&self) -> Option<String> {
        let refused = std::mem::take(&mut *self.refused.lock().unwrap_or_else(PoisonError::into_inner));
        (!refused.is_empty()).then(|| refused.join("; "))
    }

    /// The topic of the last failure.
    pub(super) fn take_topic(&self) -> Option<String> {
        self.topic.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

impl ClientContext for Deliveries {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        let complaint = hear(level, facility, message);
        if let Some(complaint) =
            complaint.filter(|text| text.contains("Failed to add partition \"") && text.contains("authorization failed"))
        {
            let mut refused = self.refused.lock().unwrap_or_else(PoisonError::into_inner);
            if refused.len() < TOLD_MAX && !refused.contains(&complaint) {
                refused.push(complaint);
            }
        }
    }

    fn error(&self, error: KafkaError, reason: &str) {
        hear_error(&error, reason);
    }
}

impl ProducerContext for Deliveries {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        let Err((error, message)) = result else { return };
        let mut failure = self.failure.lock().unwrap_or_else(PoisonError::into_inner);
        if failure.is_none() {
            *self.topic.lock().unwrap_or_else(PoisonError::into_inner) = Some(message.topic().to_owned());
            *failure = Some(error.clone());
        }
    }
}

/// librdkafka's log lines, in ours. What it calls an error is for us a connection that it will try again: a complaint, which
/// is returned.
pub(super) fn hear(level: RDKafkaLogLevel, facility: &str, message: &str) -> Option<String> {
    use RDKafkaLogLevel as L;
    let is_failure = matches!(level, L::Emerg | L::Alert | L::Critical | L::Error);
    // Properties that concern only producers or only consumers are given to both.
    let is_complaint = facility != "CONFWARN" && (is_failure || is_refused_greeting(message));
    if is_complaint {
        return Some(complain(message));
    }
    match level {
        // A transactional id that is just being settled is asked for every few milliseconds.
        L::Warning | L::Notice if facility != "CONFWARN" && facility != "GETPID" => {
            tracing::info!(target: "librdkafka", facility, "{message}")
        }
        _ => tracing::debug!(target: "librdkafka", facility, "{message}"),
    }
    None
}

/// librdkafka's error events, in our log. Failed log-ins come only this way. What follows from such failures (all brokers are
/// down), and what the caller gets anyway, is told by others.
pub(super) fn hear_error(error: &KafkaError, reason: &str) -> Option<String> {
    use RDKafkaErrorCode as C;
    match error.rdkafka_error_code() {
        Some(C::Authentication | C::SSL | C::Resolve | C::BrokerTransportFailure) => Some(complain(reason)),
        _ => {
            tracing::debug!(target: "librdkafka", %error, reason);
            None
        }
    }
}

/// A listener that speaks TLS closes the connection of a client that does not: librdkafka thinks nothing of it.
fn is_refused_greeting(message: &str) -> bool {
    message.contains("Disconnected") && message.contains("in state APIVERSION_QUERY")
}

/// The same complaint is told once in this time: many clients of a process meet the same broker, every second.
const TOLD_AGAIN: Duration = Duration::from_secs(30);
/// Complaints that are told apart.
const TOLD_MAX: usize = 64;
static TOLD: Mutex<BTreeMap<String, Instant>> = Mutex::new(BTreeMap::new());

fn complain(message: &str) -> String {
    let text = explained(message);
    let mut told = TOLD.lock().unwrap_or_else(PoisonError::into_inner);
    told.retain(|_, at| at.elapsed() < TOLD_AGAIN);
    if told.len() < TOLD_MAX && !told.contains_key(&text) {
        told.insert(text.clone(), now());
        tracing::warn!(target: "librdkafka", "{text}");
    }
    text
}

/// A complaint without the name of the thread that made it and how long that took, and with what an operator can do.
fn explained(message: &str) -> String {
    let text = message.strip_prefix("[thrd:").and_then(|rest| rest.split_once("]: ")).map_or(message, |(_, text)| text);
    let short = text.rsplit_once(" (after ").map_or(text, |(short, _)| short);
    match hint(text) {
        Some(hint) => format!("{short}; {hint}"),
        None => short.to_owned(),
    }
}

/// What an operator can do about a failure that librdkafka words for programmers.
fn hint(message: &str) -> Option<&'static str> {
    const HINTS: [(&str, &str); 9] = [
        ("certificate verify failed", "set ssl.ca.location to the authority that signed the broker's certificate"),
        ("SSL handshake failed", "check ssl.ca.location, and that this listener speaks TLS"),
        ("SASL authentication error", "check sasl.mechanism, sasl.username and sasl.password"),
        ("in state APIVERSION_QUERY", "the listener may expect TLS: set security.protocol"),
        ("Disconnected while requesting ApiVersion", "the listener may expect TLS: set security.protocol"),
        ("Connection refused", "is the broker up, and is this the address that it advertises?"),
        ("Failed to resolve", "the broker advertises a name that this machine cannot resolve (advertised.listeners)"),
        ("Unsupported SASL mechanism", "set sasl.mechanism to one that the listener offers"),
        ("No provider for SASL mechanism", "PLAIN, SCRAM-SHA-256, SCRAM-SHA-512 and OAUTHBEARER are built in"),
    ];
    HINTS.iter().find(|(text, _)| message.contains(text)).map(|(_, hint)| *hint)
}

/// An error of a client, with what was tried.
pub(super) fn failed(what: &str, error: &KafkaError) -> BusError {
    let text = format!("{what}: {error}");
    let code = match error {
        KafkaError::AdminOp(code) => Some(*code),
        _ => error.rdkafka_error_code(),
    };
    match code {
        Some(code) if is_refusal(code) => BusError::Fatal(match refusal_hint(code) {
            Some(hint) => format!("{text}; {hint}"),
            None => text,
        }),
        Some(_) => BusError::Lost(text),
        // Wrong properties have no code.
        None => BusError::Fatal(text),
    }
}

/// Whether trying again cannot help.
fn is_refusal(code: RDKafkaErrorCode) -> bool {
    use RDKafkaErrorCode as C;
    matches!(
        code,
        C::TopicAuthorizationFailed
            | C::GroupAuthorizationFailed
            | C::ClusterAuthorizationFailed
            | C::TransactionalIdAuthorizationFailed
            | C::InvalidConfig
            | C::InvalidRecord
            | C::InvalidReplicationFactor
            | C::PolicyViolation
            | C::UnsupportedVersion
            | C::Authentication
            | C::SaslAuthenticationFailed
    )
}

fn refusal_hint(code: RDKafkaErrorCode) -> Option<&'static str> {
    use RDKafkaErrorCode as C;
    match code {
        C::TopicAuthorizationFailed => Some("this user lacks an ACL on the topic (docs/kafka.md lists them for each binary)"),
        C::GroupAuthorizationFailed => Some("this user lacks Read on the consumer group (docs/kafka.md)"),
        C::TransactionalIdAuthorizationFailed => Some("this user lacks Write and Describe on the transactional id (docs/kafka.md)"),
        C::ClusterAuthorizationFailed => Some("this user lacks IdempotentWrite on the cluster (docs/kafka.md)"),
        C::InvalidReplicationFactor => Some("there are fewer brokers than bus.replication_factor"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_operator_can_do_stands_behind_what_went_wrong() {
        // As librdkafka 2.12 words them.
        for (message, hint) in [
            (
                "[thrd:sasl_ssl://127.0.0.1:9094/bootstrap]: sasl_ssl://127.0.0.1:9094/bootstrap: SASL authentication error: \
                 Authentication failed during authentication due to invalid credentials with SASL mechanism SCRAM-SHA-512 (after 9ms in state AUTH_REQ)",
                "sasl.password",
            ),
            (
                "[thrd:127.0.0.1:9094/bootstrap]: 127.0.0.1:9094/bootstrap: Disconnected: connection closed by peer: receive 0 after \
                 POLLIN (after 1ms in state APIVERSION_QUERY)",
                "the listener may expect TLS",
            ),
            (
                "[thrd:127.0.0.1:1/bootstrap]: 127.0.0.1:1/bootstrap: Connect to ipv4#127.0.0.1:1 failed: Connection refused (after 0ms)",
                "is the broker up",
            ),
        ] {
            let text = explained(message);
            assert!(!text.contains("thrd:") && !text.contains("(after") && text.contains(hint), "{text}");
        }
        assert_eq!(explained("anything else"), "anything else");
    }

    #[test]
    fn a_listener_that_hangs_up_at_the_greeting_is_a_complaint_though_it_is_logged_as_news() {
        let text = "127.0.0.1:9094/bootstrap: Disconnected: connection closed by peer (after 1ms in state APIVERSION_QUERY)";
        assert!(hear(RDKafkaLogLevel::Info, "FAIL", text).is_some_and(|text| text.contains("security.protocol")));
        assert_eq!(hear(RDKafkaLogLevel::Info, "FAIL", "127.0.0.1:9092/1: Disconnected (after 600000ms in state UP)"), None);
        for code in [RDKafkaErrorCode::AllBrokersDown, RDKafkaErrorCode::PartitionEOF, RDKafkaErrorCode::GroupAuthorizationFailed] {
            assert_eq!(hear_error(&KafkaError::Global(code), "is told by others"), None);
        }
        assert!(hear_error(&KafkaError::Global(RDKafkaErrorCode::Authentication), "SASL authentication error: no").is_some());
    }

    #[test]
    fn a_refusal_is_the_operators_and_an_absence_mends_itself() {
        let error = |code| failed("list of topics", &KafkaError::MetadataFetch(code));
        assert!(matches!(error(RDKafkaErrorCode::BrokerTransportFailure), BusError::Lost(_)));
        let BusError::Fatal(text) = error(RDKafkaErrorCode::TopicAuthorizationFailed) else { panic!("waits for ever") };
        assert!(text.contains("list of topics") && text.contains("docs/kafka.md"), "{text}");
    }
}

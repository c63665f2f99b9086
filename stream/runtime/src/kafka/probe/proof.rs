//! Steps 1 to 4: whether transactions are atomic, isolated and fenced.
//!
//! Readers of committed records get the records of a partition in order. So a record that must not appear is known to be
//! absent as soon as a later one is read; no wait can miss it.

use std::{
    sync::{
        Mutex, PoisonError,
        mpsc::{Receiver, Sender, channel},
    },
    time::Duration,
};

use rdkafka::{
    ClientContext, Message, Timestamp,
    config::RDKafkaLogLevel,
    error::{KafkaError, KafkaResult},
    message::DeliveryResult,
    producer::{BaseRecord, Producer, ProducerContext, ThreadedProducer},
};
use stream_core::NextOffset;

use super::{
    super::{
        client::{failed, hear, hear_error, now},
        reader::{Read, Reader},
        transactions::is_fencing,
    },
    Check, Deadline, Subject, words,
};
use crate::time::wall_clock;

/// Name of the first step.
pub(super) const ABORT: &str = "1 abort";
const COMMIT: &str = "2 commit";
const ISOLATION: &str = "3 isolation";
const FENCING: &str = "4 fencing";
const CLOCK: &str = "clock";

/// One call to the brokers.
const CALL: Duration = Duration::from_secs(8);
/// Between two tries of a call that may be tried again.
const PAUSE: Duration = Duration::from_millis(50);
/// The times in records count as the brokers' where they are later by more (see `appended_at`).
const CLOCK_OFFSET_MS: i64 = 1_000;
/// Where the kernel gives a new UUID at every read.
const UUID: &str = "/proc/sys/kernel/random/uuid";

/// What to look at when transactions are not answered for.
const NO_COORDINATOR: &str = "the brokers do not answer for transactions: can __transaction_state be written? Are there as many brokers as \
                              transaction.state.log.replication.factor and transaction.state.log.min.isr want?";

type Checked<T> = Result<T, Box<Check>>;

/// Runs the proof on a topic with one partition; adds what holds, and ends with what does not.
pub(super) fn run(subject: &Subject<'_>, topic: &str, broker: &str, checks: &mut Vec<Check>) -> Checked<()> {
    let nonce = std::fs::read_to_string(UUID).map_err(|error| Check::fail(ABORT, format!("a UUID from {UUID}"), error.to_string()))?;
    let stage = Stage { subject, topic, nonce: nonce.trim().to_owned() };
    stage.prove(checks).map_err(|broken| Box::new(broken.at(broker)))
}

struct Stage<'a> {
    subject: &'a Subject<'a>,
    topic: &'a str,
    nonce: String,
}

/// A record that was read.
struct Seen {
    value: String,
    timestamp: Timestamp,
}

impl Stage<'_> {
    fn prove(&self, checks: &mut Vec<Check>) -> Checked<()> {
        let a = self.producer(ABORT, "A")?;
        a.begin(ABORT)?;
        let r1 = a.put(ABORT, self, "r1")?;
        a.call(ABORT, "an abort", |producer, wait| producer.abort_transaction(wait))?;
        checks.push(Check::ok(ABORT, format!("r1 was written at offset {r1} and aborted")));

        a.begin(COMMIT)?;
        let r2 = a.put(COMMIT, self, "r2")?;
        // The first record of a transaction may wait a second for its partition to be registered; this one goes at once.
        let sent_ms = wall_clock().millis();
        a.put(COMMIT, self, "time")?;
        let stored_ms = wall_clock().millis();
        a.call(COMMIT, "a commit", |producer, wait| producer.commit_transaction(wait))?;
        checks.push(Check::ok(COMMIT, format!("r2 was written at offset {r2} and committed")));

        let seen = self.read(ISOLATION, r1, &["r2", "time"])?;
        checks.push(Check::ok(ISOLATION, "a reader of committed records sees r2, not r1, and comes to the end"));
        checks.extend(seen.last().map(|seen| clock(seen.timestamp, sent_ms, stored_ms)));

        a.begin(FENCING)?;
        a.put(FENCING, self, "r3")?;
        let b = self.producer(FENCING, "B")?;
        let committed = a.producer.commit_transaction(self.subject.deadline.left(CALL));
        check_fenced(committed)?;
        b.begin(FENCING)?;
        b.put(FENCING, self, "r4")?;
        b.call(FENCING, "B's commit", |producer, wait| producer.commit_transaction(wait))?;
        self.read(FENCING, r1, &["r2", "time", "r4"])?;
        checks.push(Check::ok(FENCING, "A could not commit r3 after B took over its transactional id; r4 of B is there"));
        Ok(())
    }

    /// A producer of the proof's one transactional id.
    fn producer(&self, step: &'static str, name: &str) -> Checked<Throwaway> {
        let Subject { settings, names, deadline, .. } = self.subject;
        let id = names.transactional_id("probe", &self.nonce);
        let mut config = settings.producer(&names.client("probe"), &id);
        config.set("delivery.report.only.error", "false").set("linger.ms", "0");
        let (sender, delivered) = channel();
        let context = Reports { delivered: sender, complaint: Mutex::default() };
        let producer = config.create_with_context(context);
        let expected = format!("a producer {name} of transactional id {id}");
        let producer = producer.map_err(|error| Check::fail(step, &expected, words(failed("producer", &error))))?;
        let this = Throwaway { producer, delivered: Mutex::new(delivered), deadline: *deadline };
        this.call(step, &expected, |producer, wait| producer.init_transactions(wait))?;
        Ok(this)
    }

    /// Reads our records from an offset on until all that is expected has come and nothing follows.
    fn read(&self, step: &'static str, from: i64, expected: &[&str]) -> Checked<Vec<Seen>> {
        let subject = self.subject;
        let wanted = format!("{} and then the end, from offset {from} on, under read_committed", expected.join(", "));
        let broken = |found: String| Box::new(Check::fail(step, &wanted, found));
        let client = |error: &KafkaError| broken(words(failed("reader", error)));
        let reader = Reader::open(&subject.client_config()).map_err(|error| broken(words(error)))?;
        let from = NextOffset(u64::try_from(from).unwrap_or(0));
        reader.assign(self.topic, 0, from).map_err(|error| client(&error))?;
        let mut seen = Vec::<Seen>::new();
        let until = now() + subject.deadline.left(CALL);
        loop {
            match reader.next(PAUSE).map_err(|error| client(&error))? {
                Read::Record(message) => {
                    let text = message.payload().map(String::from_utf8_lossy).unwrap_or_default();
                    // Others may prove the same broker at the same time.
                    let Some(value) = text.strip_prefix(&self.nonce) else { continue };
                    seen.push(Seen { value: value.trim().to_owned(), timestamp: message.timestamp() });
                    if seen.iter().zip(expected).any(|(seen, expected)| seen.value != *expected) || seen.len() > expected.len() {
                        let broken = broken(listed(&seen)).advised("this broker does not isolate transactions: do not run on it");
                        return Err(Box::new(broken));
                    }
                }
                Read::End if seen.len() == expected.len() => return Ok(seen),
                // The marks of a commit come a moment after its answer.
                Read::End | Read::Nothing if now() < until => {}
                Read::End | Read::Nothing => return Err(broken(format!("{} in {} s", listed(&seen), CALL.as_secs()))),
            }
        }
    }
}

fn listed(seen: &[Seen]) -> String {
    let values: Vec<_> = seen.iter().map(|seen| seen.value.as_str()).collect();
    if values.is_empty() { "nothing".into() } else { values.join(", ") }
}

/// Whether the commit of a producer that was replaced failed for that reason.
fn check_fenced(committed: KafkaResult<()>) -> Checked<()> {
    let expected = "A's commit to fail as fenced, since B initialised the same transactional id";
    match committed {
        Err(error) if error.rdkafka_error_code().is_some_and(is_fencing) => Ok(()),
        Ok(()) => Err(Box::new(
            Check::fail(FENCING, expected, "it succeeded")
                .advised("on this broker a replica that was replaced still writes: do not run on it"),
        )),
        Err(error) => Err(Box::new(Check::fail(FENCING, expected, words(failed("commit", &error))))),
    }
}

/// The brokers' clock against ours: the record was stored between both of our times.
fn clock(stored: Timestamp, sent_ms: i64, acknowledged_ms: i64) -> Check {
    let Timestamp::LogAppendTime(broker_ms) = stored else {
        let found = format!("the record carries {stored:?}, not the broker's time");
        return Check::warn(CLOCK, found, "set message.timestamp.type=LogAppendTime on the topic of the probe, or delete it");
    };
    let (least_ms, most_ms) = (broker_ms - acknowledged_ms, broker_ms - sent_ms);
    let found = format!("the broker's clock minus this machine's: {least_ms} to {most_ms} ms");
    if most_ms < -CLOCK_OFFSET_MS || least_ms > CLOCK_OFFSET_MS {
        let advice = "synchronise the clocks: a time later than the broker's counts as the broker's, an earlier one may be late";
        return Check::warn(CLOCK, found, advice);
    }
    Check::ok(CLOCK, found)
}

/// A producer that lives for one proof.
struct Throwaway {
    producer: ThreadedProducer<Reports>,
    /// Where each record was stored.
    delivered: Mutex<Receiver<KafkaResult<i64>>>,
    deadline: Deadline,
}

impl Throwaway {
    /// The same call again while the client says that it may be.
    fn call(
        &self,
        step: &'static str,
        expected: &str,
        call: impl Fn(&ThreadedProducer<Reports>, Duration) -> KafkaResult<()>,
    ) -> Checked<()> {
        let deadline = Deadline(now() + self.deadline.left(CALL));
        loop {
            let error = match call(&self.producer, deadline.left(CALL)) {
                Ok(()) => return Ok(()),
                Err(error) => error,
            };
            let is_retriable = matches!(&error, KafkaError::Transaction(error) if error.is_retriable());
            let broken = Check::fail(step, expected, self.explained(&error));
            if !is_retriable {
                return Err(Box::new(broken));
            }
            if deadline.is_over() {
                return Err(Box::new(broken.advised(NO_COORDINATOR)));
            }
            std::thread::sleep(PAUSE);
        }
    }

    fn begin(&self, step: &'static str) -> Checked<()> {
        let begun = self.producer.begin_transaction();
        begun.map_err(|error| Box::new(Check::fail(step, "a transaction to begin", self.explained(&error))))
    }

    /// Writes a record and waits for its delivery report: only then the broker has the transaction open.
    fn put(&self, step: &'static str, stage: &Stage<'_>, name: &str) -> Checked<i64> {
        let broken = |found: String| Box::new(Check::fail(step, format!("{name} to be stored in {}", stage.topic), found));
        let value = format!("{} {name}", stage.nonce);
        let record = BaseRecord::<(), [u8]>::to(stage.topic).partition(0).payload(value.as_bytes());
        self.producer.send(record).map_err(|(error, _)| broken(self.explained(&error)))?;
        let delivered = self.delivered.lock().unwrap_or_else(PoisonError::into_inner);
        match delivered.recv_timeout(self.deadline.left(CALL)) {
            Ok(Ok(offset)) => Ok(offset),
            Ok(Err(error)) => Err(broken(self.explained(&error))),
            Err(_) => Err(broken(format!("no delivery report in {} s", CALL.as_secs()))),
        }
    }

    fn explained(&self, error: &KafkaError) -> String {
        let text = words(failed("the client says", error));
        let complaint = self.producer.client().context().complaint.lock().unwrap_or_else(PoisonError::into_inner).take();
        complaint.map_or_else(|| text.clone(), |complaint| format!("{text}: {complaint}"))
    }
}

/// Passes delivery reports on, and keeps what librdkafka complained about last.
struct Reports {
    delivered: Sender<KafkaResult<i64>>,
    complaint: Mutex<Option<String>>,
}

impl Reports {
    fn remember(&self, complaint: Option<String>) {
        if let Some(complaint) = complaint {
            *self.complaint.lock().unwrap_or_else(PoisonError::into_inner) = Some(complaint);
        }
    }
}

impl ClientContext for Reports {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        self.remember(hear(level, facility, message));
    }

    fn error(&self, error: KafkaError, reason: &str) {
        self.remember(hear_error(&error, reason));
    }
}

impl ProducerContext for Reports {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        let stored = match result {
            Ok(message) => Ok(message.offset()),
            Err((error, _)) => Err(error.clone()),
        };
        // Whoever waited may have given up.
        let _ = self.delivered.send(stored);
    }
}

#[cfg(test)]
mod tests {
    use super::{super::Verdict, *};

    #[test]
    fn a_commit_that_should_have_been_fenced_fails_the_proof() {
        let broken = check_fenced(Ok(())).expect_err("must be fenced");
        assert_eq!((broken.verdict, broken.step.as_str(), broken.found.as_str()), (Verdict::Fail, "4 fencing", "it succeeded"));
        let code = rdkafka::types::RDKafkaErrorCode::OperationTimedOut;
        let broken = check_fenced(Err(KafkaError::Global(code))).expect_err("a timeout is no fencing");
        assert!(broken.found.contains("Timed out"), "{}", broken.found);
        assert_eq!(check_fenced(Err(KafkaError::Global(rdkafka::types::RDKafkaErrorCode::ProducerFenced))), Ok(()));
    }

    #[test]
    fn clocks_that_are_apart_for_certain_are_told() {
        let verdict = |broker_ms| clock(Timestamp::LogAppendTime(broker_ms), 100_000, 100_050).verdict;
        assert_eq!(
            [98_000, 98_999, 99_000, 100_020, 101_050, 101_051].map(verdict),
            [Verdict::Warn, Verdict::Warn, Verdict::Ok, Verdict::Ok, Verdict::Ok, Verdict::Warn]
        );
        assert_eq!(clock(Timestamp::CreateTime(100_000), 100_000, 100_050).verdict, Verdict::Warn);
    }
}

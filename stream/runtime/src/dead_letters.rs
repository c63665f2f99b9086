//! Dead letters: where rejected records go, whole, with the reason beside them; and how many of them stop the line.

use serde::{Deserialize, Serialize};
use stream_core::{HeaderBuffer, Outbox, Record, Reject};

use crate::settings::DlqSettings;

/// Prefix of the headers that say what happened.
const PREFIX: &str = "dlq.";
/// Prefix of the record's own headers.
const ORIGINAL_PREFIX: &str = "orig.";
/// Header that counts replays.
pub const REPLAYED_HEADER: &str = "dlq.replayed";
/// A record that was replayed this often is not replayed again.
pub const REPLAYS_MAX: u32 = 3;

/// A leaky bucket in thousandths. Kept in the position, so a restart loop cannot drain a topic a hundred at a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Bucket(u32);

const ONE: u32 = 1_000;

impl Bucket {
    /// One record was processed.
    pub fn accept(&mut self, settings: &DlqSettings) {
        let leak = (settings.leak.clamp(0.0, 1.0) * f64::from(ONE)) as u32;
        self.0 = self.0.saturating_sub(leak);
    }

    /// One record was rejected; true if the bucket is full.
    pub fn reject(&mut self, settings: &DlqSettings) -> bool {
        self.0 = self.0.saturating_add(ONE);
        self.0 >= settings.burst_max.saturating_mul(ONE)
    }

    /// Whether nothing has been rejected lately.
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }
}

/// Who rejected.
#[derive(Debug, Clone)]
pub struct Rejecter {
    /// Its consumer group.
    pub group: String,
    /// Processor.
    pub processor: &'static str,
    /// Version of the program.
    pub version: &'static str,
}

/// Puts the dead letter of `record` into the outbox: key and value untouched, `dlq.*` and `orig.*` headers.
///
/// # Errors
/// If the record with its new headers is larger than any bus carries.
pub fn put(record: &Record<'_>, reject: &Reject, by: &Rejecter, out: &mut Outbox) -> Result<(), Reject> {
    let mut headers = HeaderBuffer::default();
    let mut say = |name: &str, value: &str| headers.push(&format!("{PREFIX}{name}"), Some(value.as_bytes()));
    say("topic", record.topic.as_str());
    say("partition", &record.partition.to_string());
    say("offset", &record.offset.to_string());
    say("timestamp", &record.appended_at.to_string());
    say("group", &by.group);
    say("processor", by.processor);
    say("version", by.version);
    say("reason", reject.reason.as_str());
    say("detail", &reject.detail);
    for (name, value) in record.headers.iter() {
        headers.push(&format!("{ORIGINAL_PREFIX}{name}"), value);
    }
    out.dead_letter(record.key, record.value, headers.as_headers())
}

/// The record as it was before it became a dead letter: where it stood, and its own headers with the count of replays.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Original {
    /// Topic that it stood in.
    pub topic: String,
    /// Its own headers, and `dlq.replayed`.
    pub headers: HeaderBuffer,
    /// How often it has been replayed, this time included.
    pub replays: u32,
}

impl Original {
    /// Reads the headers of a dead letter.
    ///
    /// # Errors
    /// What is missing or why it may not be replayed again.
    pub fn of(record: &Record<'_>) -> Result<Self, String> {
        let topic = record.headers.text("dlq.topic").ok_or("it has no header dlq.topic, so it is no dead letter")?.to_string();
        let mut headers = HeaderBuffer::default();
        let mut replays = 1;
        for (name, value) in record.headers.iter() {
            let Some(name) = name.strip_prefix(ORIGINAL_PREFIX) else { continue };
            if name == REPLAYED_HEADER {
                replays += value.and_then(|value| std::str::from_utf8(value).ok()?.parse::<u32>().ok()).unwrap_or(0);
            } else {
                headers.push(name, value);
            }
        }
        if replays > REPLAYS_MAX {
            return Err(format!("it has been replayed {REPLAYS_MAX} times already"));
        }
        headers.push(REPLAYED_HEADER, Some(replays.to_string().as_bytes()));
        Ok(Self { topic, headers, replays })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use schemas::EventTime;
    use stream_core::{Headers, Offset, Partition, RejectReason, TopicName};

    type Listed = Vec<(String, Option<Vec<u8>>)>;

    fn round_trip(headers: Headers<'_>) -> (Listed, Result<Original, String>) {
        let topic = TopicName::new("in.v1");
        let (partition, offset, appended_at) = (Partition(7), Offset(11), EventTime::from_millis(1_700_000_000_123));
        let record = Record { topic: &topic, partition, offset, appended_at, key: Some(b"k"), value: Some(b"\xff\x00v"), headers };
        let mut instance = stream_core::Instance::new(Nothing, Default::default(), record.topic_partition(), Default::default());
        let mut out = Outbox::new("toy");
        instance.skip(record, &mut out);
        let reject = Reject::new(RejectReason::TooOld, "because");
        let by = Rejecter { group: "staging.nephoscope.toy".into(), processor: "toy", version: "1.2.3" };
        put(&record, &reject, &by, &mut out).expect("fits");
        let view = out.outputs().next().expect("one");
        assert_eq!((view.topic.as_str(), view.key, view.value), ("in.v1.dlq", Some(&b"k"[..]), Some(&b"\xff\x00v"[..])));
        assert_eq!(view.partition_among(12), partition);
        let list = view.headers.iter().map(|(name, value)| (name.to_string(), value.map(<[u8]>::to_vec))).collect();
        (list, Original::of(&Record { headers: view.headers, ..record }))
    }

    struct Nothing;

    impl stream_core::Processor for Nothing {
        type Config = ();
        const NAME: &'static str = "toy";
        const STATE_VERSION: u16 = 1;
        fn inputs(_: &()) -> Vec<TopicName> {
            vec![]
        }
        fn outputs(_: &()) -> Vec<TopicName> {
            vec![]
        }
        fn state_bytes_bound(_: &()) -> u64 {
            0
        }
        fn new(_: &(), _: &stream_core::TopicPartition) -> Result<Self, stream_core::ConfigError> {
            Ok(Self)
        }
        fn on_record(&mut self, _: Record<'_>, _: &mut Outbox) -> Result<(), Reject> {
            Ok(())
        }
        fn snapshot(&self, _: &mut stream_core::SnapshotWriter) -> Result<(), stream_core::StateError> {
            Ok(())
        }
        fn restore(_: &stream_core::SnapshotReader<'_>, _: &(), _: &stream_core::TopicPartition) -> Result<Self, stream_core::StateError> {
            Ok(Self)
        }
    }

    #[test]
    fn every_field_stands_in_its_own_header() {
        let mut own = HeaderBuffer::default();
        own.push("a", Some(b"1"));
        own.push("a", None);
        let (list, original) = round_trip(own.as_headers());
        let text = |value: &str| Some(value.as_bytes().to_vec());
        let expected = [
            ("dlq.topic", text("in.v1")),
            ("dlq.partition", text("7")),
            ("dlq.offset", text("11")),
            ("dlq.timestamp", text("2023-11-14T22:13:20.123Z")),
            ("dlq.group", text("staging.nephoscope.toy")),
            ("dlq.processor", text("toy")),
            ("dlq.version", text("1.2.3")),
            ("dlq.reason", text("too_old")),
            ("dlq.detail", text("because")),
            ("orig.a", text("1")),
            ("orig.a", None),
        ];
        assert_eq!(list, expected.map(|(name, value)| (name.to_string(), value)));
        let told = schemas::topics::DEAD_LETTER_HEADERS.iter().map(|(name, _)| *name);
        assert!(told.eq(list.iter().map(|(name, _)| name.as_str()).filter(|name| name.starts_with(PREFIX))), "the contract tells each");
        let original = original.expect("may be replayed");
        let back: Vec<_> = original.headers.as_headers().iter().collect();
        assert_eq!(back, [("a", Some(&b"1"[..])), ("a", None), (REPLAYED_HEADER, Some(&b"1"[..]))]);
    }

    #[test]
    fn a_record_is_replayed_three_times_and_no_more() {
        let mut headers = HeaderBuffer::default();
        for expected in 1..=REPLAYS_MAX {
            let (_, original) = round_trip(headers.as_headers());
            let original = original.expect("may be replayed");
            assert_eq!(original.replays, expected);
            headers = original.headers;
        }
        let (_, refused) = round_trip(headers.as_headers());
        assert!(refused.expect_err("is refused").contains("3 times"));
    }

    #[test]
    fn a_hundred_in_a_row_or_more_than_a_tenth_fill_the_bucket() {
        let settings = DlqSettings::default();
        let mut bucket = Bucket::default();
        assert_eq!((1..=100).find(|_| bucket.reject(&settings)), Some(100));
        let fills = |every: u32| {
            let mut bucket = Bucket::default();
            (0..10_000).any(|n| {
                let full = n % every == 0 && bucket.reject(&settings);
                if n % every != 0 {
                    bucket.accept(&settings);
                }
                full
            })
        };
        assert!(!fills(11), "one in eleven runs out as fast as it comes in");
        assert!(fills(8), "one in eight does not");
    }
}

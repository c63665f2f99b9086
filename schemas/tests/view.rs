//! The borrowed reader of raw lines against the owned one.

use std::collections::BTreeMap;

use proptest::{collection::vec, option, prelude::*, sample::Index};
use schemas::{EventTime, LogRecord, LogRecordView, LogSource, ParseStatus, SourceKind, Subject, TimeSource};

fn texts() -> impl Strategy<Value = BTreeMap<String, String>> {
    proptest::collection::btree_map("\\PC{0,6}", "\\PC{0,12}", 0..4)
}

fn records() -> impl Strategy<Value = LogRecord> {
    let time_source = prop::sample::select(vec![TimeSource::Unknown, TimeSource::Message, TimeSource::Kernel, TimeSource::Received]);
    let kind = prop::sample::select(vec![
        SourceKind::Unknown,
        SourceKind::Udp,
        SourceKind::Tcp,
        SourceKind::Tls,
        SourceKind::Unix,
        SourceKind::Relp,
        SourceKind::File,
        SourceKind::Kmsg,
        SourceKind::Journal,
        SourceKind::Kafka,
        SourceKind::Otlp,
    ]);
    let status = prop::sample::select(vec![
        ParseStatus::Plain,
        ParseStatus::Rfc5424,
        ParseStatus::Rfc3164,
        ParseStatus::Kmsg,
        ParseStatus::Journal,
        ParseStatus::Json,
        ParseStatus::Damaged,
    ]);
    let raw = prop_oneof!["\\PC{0,40}".prop_map(String::into_bytes), vec(any::<u8>(), 0..40)];
    let range = prop_oneof![(0..20i32, 0..30i32), (any::<i32>(), any::<i32>())];
    let maybe = || option::of("\\PC{0,10}");
    let identity = ("\\PC{0,20}", any::<i64>(), any::<i64>(), time_source, option::of(any::<i32>()), option::of(any::<i32>()));
    let message = (raw, range, maybe(), proptest::collection::btree_map("\\PC{0,6}", texts(), 0..3));
    let source = (kind, "\\PC{0,12}", maybe(), option::of(any::<i64>()), status, any::<bool>());
    (identity, message, source, (maybe(), maybe(), maybe(), maybe(), maybe()), texts()).prop_map(
        |(identity, message, source, names, attributes)| {
            let (host, event_time, observed_time, time_source, facility, severity) = identity;
            let (raw, (message_start, message_length), message_text, structured_data) = message;
            let (kind, name, peer, source_seq, parse_status, truncated) = source;
            let (app_name, proc_id, msg_id, trace_id, span_id) = names;
            let source = LogSource { kind, name, peer };
            LogRecord {
                host,
                event_time,
                observed_time,
                time_source,
                facility,
                severity,
                app_name,
                proc_id,
                msg_id,
                structured_data,
                raw,
                message_start,
                message_length,
                message_text,
                source,
                source_seq,
                parse_status,
                truncated,
                attributes,
                trace_id,
                span_id,
            }
        },
    )
}

/// Everything that a view shows is what the record says.
fn same(view: &LogRecordView<'_>, record: &LogRecord) -> Result<(), TestCaseError> {
    prop_assert_eq!(view.host, &record.host);
    prop_assert_eq!(view.event_time, EventTime::from_micros(record.event_time));
    prop_assert_eq!(view.observed_time, EventTime::from_micros(record.observed_time));
    prop_assert_eq!(view.time_source, record.time_source);
    prop_assert_eq!((view.facility, view.severity), (record.facility, record.severity));
    prop_assert_eq!(view.app_name, record.app_name.as_deref());
    prop_assert_eq!(view.raw, &record.raw);
    prop_assert_eq!(view.message, record.message());
    prop_assert_eq!((view.source_kind, view.source_name), (record.source.kind, record.source.name.as_str()));
    prop_assert_eq!((view.parse_status, view.truncated), (record.parse_status, record.truncated));
    let attributes: BTreeMap<String, String> = view.attributes().map(|(name, value)| (name.into(), value.into())).collect();
    prop_assert_eq!(&attributes, &record.attributes);
    for (name, value) in &record.attributes {
        prop_assert_eq!(view.attribute(name), Some(value.as_str()));
    }
    Ok(())
}

/// Both readers agree on bytes: both refuse, or both read the same.
fn agree(bytes: &[u8]) -> Result<(), TestCaseError> {
    match (LogRecordView::from_bytes(bytes), LogRecord::from_bytes(bytes)) {
        (Ok(view), Ok(record)) => same(&view, &record),
        (Err(_), Err(_)) => Ok(()),
        (Ok(view), Err(error)) => Err(TestCaseError::fail(format!("only the view reads {bytes:02x?} as {view:?}: {error}"))),
        (Err(error), Ok(record)) => Err(TestCaseError::fail(format!("only the owned reader reads {bytes:02x?} as {record:?}: {error}"))),
    }
}

proptest! {
    #[test]
    fn a_view_shows_what_the_record_says(record in records()) {
        let bytes = record.to_bytes().expect("fits the schema");
        same(&LogRecordView::from_bytes(&bytes).expect("our own encoding"), &record)?;
        prop_assert_eq!(LogRecord::from_bytes(&bytes).expect("our own encoding"), record);
    }

    #[test]
    fn of_damaged_records_both_readers_say_the_same(record in records(), place in any::<Index>(), with in any::<u8>(), cut in any::<bool>()) {
        let mut bytes = record.to_bytes().expect("fits the schema");
        let at = place.index(bytes.len());
        if cut { bytes.truncate(at) } else { bytes[at] = with }
        agree(&bytes)?;
    }

    #[test]
    fn of_arbitrary_bytes_both_readers_say_the_same(body in vec(any::<u8>(), 0..300)) {
        let mut bytes = LogRecord::default().to_bytes().expect("fits the schema");
        bytes.truncate(schemas::codec::HEADER_BYTES);
        bytes.extend(&body);
        agree(&bytes)?;
        agree(&body)?;
    }
}

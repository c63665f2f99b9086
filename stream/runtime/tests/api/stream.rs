//! Server-sent events.

use serde_json::Value;
use stream_core::HeaderBuffer;

use crate::Running;

/// Event name and data, one after the other. Lines of data belong together until an empty line.
fn events(lines: impl Iterator<Item = String>) -> impl Iterator<Item = (String, Value)> {
    let (mut name, mut data) = (String::new(), String::new());
    lines.filter_map(move |line| {
        if let Some(event) = line.strip_prefix("event: ") {
            name = event.into();
        } else if let Some(more) = line.strip_prefix("data: ") {
            data.push_str(more);
            data.push('\n');
        } else if line.is_empty() && !data.is_empty() {
            return Some((name.clone(), serde_json::from_str(&std::mem::take(&mut data)).expect("JSON")));
        }
        None
    })
}

#[test]
fn new_records_of_the_asked_topics_arrive_in_order() {
    let running = Running::start();
    let push = |topic: &str, value: &str| running.bus.push(topic, None, Some(value.as_bytes()), &HeaderBuffer::default());
    push("alerts.v1", r#"{"n":"before"}"#);
    let (status, lines) = running.client().stream("/api/stream?topics=alerts.v1,logs.raw.v1,alerts.v1");
    assert_eq!(status, 200);
    let mut events = events(lines);
    let (name, hello) = events.next().expect("an event");
    assert_eq!(name, "hello");
    assert_eq!(hello["topics"][0], serde_json::json!({ "topic": "alerts.v1", "partition": 0, "next": 1 }));
    assert_eq!(hello["topics"].as_array().map(Vec::len), Some(2));
    push("logs.parsed.v1", r#"{"n":"not asked for"}"#);
    for n in 0..500 {
        push("alerts.v1", &format!("{{\"n\":{n},\n\"hostile\":\"\\n\\ndata: x</script>\"}}"));
    }
    for n in 0..500 {
        let (name, record) = events.next().expect("an event");
        assert_eq!((name.as_str(), &record["topic"], &record["offset"]), ("record", &"alerts.v1".into(), &(n + 1).into()));
        assert_eq!((&record["value"]["n"], &record["value"]["hostile"]), (&n.into(), &"\n\ndata: x</script>".into()));
    }
    push("logs.raw.v1", "{}");
    assert_eq!(events.next().expect("an event").1["topic"], "logs.raw.v1");
}

#[test]
fn a_slow_client_is_told_how_many_it_missed_and_holds_nobody_up() {
    const RECORDS: u64 = 20_000;
    let running = Running::start();
    let (_, slow) = running.client().stream("/api/stream?topics=alerts.v1");
    let (_, quick) = running.client().stream("/api/stream?topics=alerts.v1");
    let mut slow = events(slow);
    assert_eq!(slow.next().expect("an event").0, "hello");
    let value = format!("{{\"x\":\"{}\"}}", "x".repeat(4_000));
    for _ in 0..RECORDS {
        running.bus.push("alerts.v1", None, Some(value.as_bytes()), &HeaderBuffer::default());
    }
    // The sum of what came and what was missed is everything, for whoever looks.
    let count = |events: &mut dyn Iterator<Item = (String, Value)>| {
        let (mut came, mut missed) = (0, 0);
        while came + missed < RECORDS {
            match events.next().expect("an event") {
                (name, data) if name == "missed" => missed += data["count"].as_u64().expect("a count"),
                (name, _) if name == "record" => came += 1,
                _ => {}
            }
        }
        (came, missed)
    };
    let mut quick = events(quick);
    count(&mut quick);
    let (came, missed) = count(&mut slow);
    assert_eq!(came + missed, RECORDS);
    assert!(missed > 0, "nobody can be sent 80 MB without reading");
}

#[test]
fn a_long_record_comes_without_its_value() {
    let running = Running::start();
    let (_, lines) = running.client().stream("/api/stream?topics=alerts.v1");
    let mut events = events(lines);
    assert_eq!(events.next().expect("an event").0, "hello");
    let value = format!("{{\"x\":\"{}\"}}", "x".repeat(20_000));
    running.bus.push("alerts.v1", None, Some(value.as_bytes()), &HeaderBuffer::default());
    let (_, record) = events.next().expect("an event");
    assert_eq!((&record["offset"], &record["valueBytes"], record.get("value")), (&0.into(), &value.len().into(), None));
}

#[test]
fn streams_are_asked_for_by_topic() {
    let running = Running::start();
    for (target, status) in
        [("/api/stream", 400), ("/api/stream?topics=", 400), ("/api/stream?topics=nothing.v1", 404), ("/api/stream?topic=alerts.v1", 400)]
    {
        assert_eq!(running.client().get(target).status, status, "{target}");
    }
}

use futures_executor::block_on;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use schemas::topics::Cleanup;
use stream_runtime::{
    bus::{Bus, BusError, TopicSpec},
    config::BusSettings,
    kafka::KafkaBus,
};

use crate::support::*;

/// Makes a topic as somebody else would, with these properties.
fn make(on: &Installation, name: &str, properties: &[(&str, &str)]) {
    let admin: AdminClient<_> = on.client().create().unwrap();
    let name = format!("{}{name}", on.topic_prefix());
    let topic = properties.iter().fold(NewTopic::new(&name, 1, TopicReplication::Fixed(1)), |topic, (name, value)| topic.set(name, value));
    for made in block_on(admin.create_topics(&[topic], &AdminOptions::new().operation_timeout(Some(PATIENCE)))).unwrap() {
        made.unwrap();
    }
}

fn refusal(bus: &KafkaBus, spec: TopicSpec) -> String {
    match bus.ensure_topics(&[spec]) {
        Err(BusError::Fatal(why)) => why,
        other => panic!("should be refused: {other:?}"),
    }
}

#[test]
fn topics_are_made_once_and_found_again() {
    let Some(on) = Installation::new("made", 3) else { return };
    let bus = on.bus("one");
    assert_eq!(bus.partitions(&IN.into()).unwrap(), 3);
    assert_eq!(bus.partitions(&"other.v1".into()).unwrap(), 0);
    bus.ensure_topics(&[topic(IN, 3)]).unwrap();
    on.bus("two").ensure_topics(&[topic(IN, 3), topic("other.v1", 2)]).unwrap();
    assert_eq!(bus.partitions(&"other.v1".into()).unwrap(), 2, "what somebody else makes is seen when it is asked for");
}

#[test]
fn another_shape_of_a_topic_is_refused_by_what_differs() {
    let Some(on) = Installation::new("shapes", 2) else { return };
    let bus = on.bus("one");
    let why = refusal(&bus, topic(IN, 3));
    assert!(why.contains("in.v1 has 2 partitions, expected 3"), "{why}");
    let why = refusal(&bus, TopicSpec { cleanup: Cleanup::Compact, ..topic(IN, 2) });
    assert!(why.contains("in.v1: cleanup.policy is \"delete\", expected compact"), "{why}");
    make(&on, "created.v1", &[("message.timestamp.type", "CreateTime")]);
    let why = refusal(&bus, topic("created.v1", 1));
    assert!(why.contains("created.v1: message.timestamp.type is \"CreateTime\", expected LogAppendTime"), "{why}");
    make(&on, "small.v1", &[("message.timestamp.type", "LogAppendTime"), ("max.message.bytes", "1000")]);
    let why = refusal(&bus, topic("small.v1", 1));
    assert!(why.contains("small.v1: max.message.bytes is \"1000\", expected at least 1000000"), "{why}");
}

#[test]
fn missing_topics_are_named_where_they_are_not_to_be_made() {
    let Some(on) = Installation::empty("unmade") else { return };
    let bus = on.bus_of(BusSettings { create_topics: false, ..on.settings() }, []);
    let Err(BusError::Fatal(why)) = bus.ensure_topics(&[topic(IN, 1), topic(OUT, 1)]) else { panic!("nothing may be made") };
    assert!(why.contains("in.v1") && why.contains("out.v1") && why.contains("create_topics"), "{why}");
}

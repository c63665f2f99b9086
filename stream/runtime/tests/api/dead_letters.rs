//! Replays.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::json;
use stream_core::HeaderBuffer;

use crate::Running;

/// Three dead letters: by reason `malformed`, `too_old`, `malformed`; the last was replayed three times already.
fn with_letters() -> Running {
    let running = Running::start();
    for (reason, replayed) in [("malformed", None), ("too_old", Some("2")), ("malformed", Some("3"))] {
        let mut headers = HeaderBuffer::default();
        headers.push("dlq.topic", Some(b"logs.raw.v1"));
        headers.push("dlq.reason", Some(reason.as_bytes()));
        headers.push("orig.a", Some(b"1"));
        if let Some(replayed) = replayed {
            headers.push("orig.dlq.replayed", Some(replayed.as_bytes()));
        }
        running.bus.push("logs.raw.v1.dlq", Some(b"vm-7"), Some(b"\xffvalue"), &headers);
    }
    running
}

#[test]
fn a_letter_goes_back_as_it_was() {
    let running = with_letters();
    let answer = running.client().post("/api/dlq/logs.raw.v1/replay", &json!({ "offsets": [0] }));
    assert_eq!(answer.json(), json!({ "replayed": 1, "refused": [], "next": 3 }), "{}", answer.text());
    let record = &running.client().get("/api/topics/logs.raw.v1/records").json()["records"][0];
    assert_eq!((&record["key"], &record["valueBase64"]), (&"vm-7".into(), &"/3ZhbHVl".into()));
    assert_eq!(record["headers"], json!([{ "name": "a", "value": "1" }, { "name": "dlq.replayed", "value": "1" }]));
}

#[test]
fn after_three_times_a_letter_stays() {
    let running = with_letters();
    let answer = running.client().post("/api/dlq/logs.raw.v1.dlq/replay", &json!({ "offsets": [1, 2] })).json();
    assert_eq!((&answer["replayed"], &answer["refused"][0]["offset"]), (&1.into(), &2.into()));
    assert!(answer["refused"][0]["why"].as_str().is_some_and(|why| why.contains("3 times")));
}

#[test]
fn letters_are_chosen_by_reason_time_and_count() {
    let replay = |body: serde_json::Value| {
        let answer = with_letters().client().post("/api/dlq/logs.raw.v1/replay", &body).json();
        (answer["replayed"].as_u64(), answer["refused"].as_array().map(Vec::len), answer["next"].as_u64())
    };
    assert_eq!(replay(json!({ "reason": "malformed" })), (Some(1), Some(1), Some(3)));
    assert_eq!(replay(json!({ "reason": "other" })), (Some(0), Some(0), Some(3)));
    assert_eq!(replay(json!({ "since": "2023-11-14T22:13:21.000Z" })), (Some(1), Some(1), Some(3)));
    assert_eq!(replay(json!({ "limit": 1 })), (Some(1), Some(0), Some(1)));
}

#[test]
fn a_replay_of_everything_by_mistake_is_refused() {
    let running = with_letters();
    for (body, status) in [
        (json!({}), 400),
        (json!({ "offsets": [1], "limit": 1 }), 400),
        (json!({ "limit": 1_001 }), 400),
        (json!({ "partition": 1, "limit": 1 }), 404),
        (json!({ "reson": "malformed" }), 422),
        (json!({ "since": "yesterday" }), 422),
    ] {
        assert_eq!(running.client().post("/api/dlq/logs.raw.v1/replay", &body).status, status, "{body}");
    }
    assert_eq!(running.client().post("/api/dlq/nothing.v1/replay", &json!({ "limit": 1 })).status, 404);
    assert_eq!(running.client().get("/api/topics/logs.raw.v1/records").json()["end"], 0);
}

#[test]
fn many_letters_go_back_page_by_page_and_each_once() {
    const LETTERS: u64 = 2_500;
    let running = Running::start();
    let push = |n: u64| {
        let mut headers = HeaderBuffer::default();
        headers.push("dlq.topic", Some(b"logs.raw.v1"));
        headers.push("dlq.reason", Some(if n.is_multiple_of(5) { b"too_old" } else { b"malformed" }));
        running.bus.push("logs.raw.v1.dlq", None, Some(n.to_string().as_bytes()), &headers);
    };
    (0..LETTERS).for_each(push);
    let (mut pages, mut from) = (Vec::new(), 0);
    while from < LETTERS {
        let selection = json!({ "reason": "malformed", "from": from, "until": LETTERS, "limit": 1_000 });
        let page = running.client().post("/api/dlq/logs.raw.v1/replay", &selection).json();
        pages.push(page["replayed"].as_u64().expect("a count"));
        from = page["next"].as_u64().expect("a position");
        // Rejected again, as it were: beyond `until`, so no replay is without end.
        push(1);
    }
    assert_eq!(pages, [1_000, 1_000]);
    let mut values = Vec::new();
    while values.len() < 2_000 {
        let target = format!("/api/topics/logs.raw.v1/records?limit=1000&offset={}", values.len());
        let records = running.client().get(&target).json()["records"].as_array().expect("records").clone();
        values.extend(records.iter().map(|record| record["valueBase64"].as_str().expect("bytes").to_string()));
    }
    let expected = (0..LETTERS).filter(|n| !n.is_multiple_of(5)).map(|n| STANDARD.encode(n.to_string()));
    assert_eq!(values, expected.collect::<Vec<_>>());
}

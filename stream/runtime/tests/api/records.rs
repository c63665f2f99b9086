//! Reading and publishing.

use schemas::{LogRecord, ParsedLog, Subject, TemplateRecord};
use serde_json::json;
use stream_core::{HeaderBuffer, RECORD_BYTES_MAX};

use crate::Running;

fn headers(list: &[(&str, Option<&[u8]>)]) -> HeaderBuffer {
    let mut headers = HeaderBuffer::default();
    list.iter().for_each(|(name, value)| headers.push(name, *value));
    headers
}

#[test]
fn topics_are_listed_with_what_they_hold() {
    let running = Running::start();
    running.bus.push("alerts.v1", None, Some(b"{}"), &HeaderBuffer::default());
    let topics = running.client().get("/api/topics").json();
    let alerts = topics["topics"].as_array().and_then(|list| list.iter().find(|topic| topic["name"] == "alerts.v1")).expect("is listed");
    assert_eq!((&alerts["records"], &alerts["bytes"], &alerts["key"]), (&1.into(), &2.into(), &"fingerprint".into()));
    assert_eq!(alerts["partitions"][0], json!({ "partition": 0, "start": 0, "next": 1, "bytes": 2 }));
}

#[test]
fn values_are_shown_as_what_they_are() {
    let running = Running::start();
    let line = LogRecord { host: "vm-7".into(), raw: b"caf\xc3\xa9 \x1b[31m<script>".to_vec(), ..LogRecord::default() };
    let broken = LogRecord { raw: b"\xff\xfe!".to_vec(), ..LogRecord::default() };
    let parsed = ParsedLog { template: "session opened for <*>".into(), ..ParsedLog::default() };
    let template = TemplateRecord { template_id: "0c042ead4b207399".into(), ..TemplateRecord::default() };
    let push = |value: Option<&[u8]>, headers: &HeaderBuffer| running.bus.push("logs.raw.v1", Some(b"vm-7"), value, headers);
    let none = HeaderBuffer::default();
    push(Some(&line.to_bytes().expect("encodes")), &headers(&[("a", Some(b"1")), ("a", None), ("b", Some(b"\xff"))]));
    push(Some(&broken.to_bytes().expect("encodes")), &none);
    push(Some(&parsed.to_bytes().expect("encodes")), &none);
    push(Some(&template.to_bytes().expect("encodes")), &none);
    push(Some(br#"{"b": 12345678901234567890, "a": 0.1}"#), &none);
    push(Some(b"{ no json"), &none);
    push(Some(b"\xc3\x01unknown!"), &none);
    push(Some(b""), &none);
    push(None, &none);

    let answer = running.client().get("/api/topics/logs.raw.v1/records?offset=0");
    let page = answer.json();
    let record = |index: usize| &page["records"][index];
    assert_eq!((&page["start"], &page["end"], &page["next"]), (&0.into(), &9.into(), &9.into()));
    assert_eq!(
        record(0)["headers"],
        json!([{ "name": "a", "value": "1" }, { "name": "a", "value": null }, { "name": "b", "value": null, "valueBase64": "/w==" }])
    );
    assert_eq!((&record(0)["key"], &record(0)["appendedAt"]), (&"vm-7".into(), &"2023-11-14T22:13:20.000Z".into()));
    assert_eq!((&record(0)["subject"], &record(0)["value"]["raw"]), (&"logs.raw".into(), &"café \u{1b}[31m<script>".into()));
    assert!(record(0)["value"].get("raw_base64").is_none());
    assert_eq!((&record(1)["value"]["raw"], &record(1)["value"]["raw_base64"]), (&"\u{fffd}\u{fffd}!".into(), &"//4h".into()));
    assert_eq!(record(2)["value"]["template"], "session opened for <*>");
    assert_eq!(record(3)["value"]["template_id"], "0c042ead4b207399");
    assert!(answer.text().contains(r#""value":{"b": 12345678901234567890, "a": 0.1}"#), "JSON passes through as it is");
    assert_eq!((&record(5)["valueBase64"], record(5)["value"].is_null()), (&"eyBubyBqc29u".into(), true));
    assert!(record(5)["problem"].as_str().is_some_and(|problem| problem.contains("no JSON object")));
    assert!(record(6)["problem"].as_str().is_some_and(|problem| problem.contains("is not known")));
    assert!(record(7)["problem"].as_str().is_some_and(|problem| problem.contains("nothing")));
    assert!(record(8).get("value").is_some_and(serde_json::Value::is_null), "a tombstone has a value, null");
    assert!(record(8).get("problem").is_none());
}

#[test]
fn reads_go_from_an_offset_the_last_or_the_first() {
    let running = Running::start();
    for n in 0..10 {
        running.bus.push("alerts.v1", None, Some(format!("{{\"n\":{n}}}").as_bytes()), &HeaderBuffer::default());
    }
    let read = |query: &str| {
        let page = running.client().get(&format!("/api/topics/alerts.v1/records?{query}")).json();
        let offsets: Vec<u64> =
            page["records"].as_array().expect("records").iter().filter_map(|record| record["offset"].as_u64()).collect();
        (offsets, page["next"].as_u64().expect("next"))
    };
    assert_eq!(read("limit=2"), (vec![0, 1], 2));
    assert_eq!(read("offset=8"), (vec![8, 9], 10));
    assert_eq!(read("last=3&limit=2"), (vec![7, 8], 9));
    assert_eq!(read("last=99"), ((0..10).collect(), 10));
    assert_eq!(read("offset=10"), (vec![], 10));
}

#[test]
fn a_read_waits_for_the_first_record() {
    let running = Running::start();
    let client = running.client();
    let reader = std::thread::spawn(move || client.get("/api/topics/alerts.v1/records?offset=0&wait_ms=20000").json());
    // Whether the record comes before or during the wait makes no difference to the answer.
    running.bus.push("alerts.v1", None, Some(b"{}"), &HeaderBuffer::default());
    assert_eq!(reader.join().expect("no panic")["records"].as_array().map(Vec::len), Some(1));
}

#[test]
fn wrong_questions_are_answered_with_what_was_expected() {
    let running = Running::start();
    for (target, status, part) in [
        ("/api/topics/nothing.v1/records", 404, "alerts.v1"),
        ("/api/topics/alerts.v1/records?partition=1", 404, "0 to 0"),
        ("/api/topics/alerts.v1/records?limit=1001", 400, "1 to 1000"),
        ("/api/topics/alerts.v1/records?limit=0", 400, "1 to 1000"),
        ("/api/topics/alerts.v1/records?wait_ms=30001", 400, "at most 30000"),
        ("/api/topics/alerts.v1/records?offset=1&last=1", 400, "one of them"),
        ("/api/topics/alerts.v1/records?offset=-1", 400, ""),
        ("/api/topics/alerts.v1/records?ofset=1", 400, ""),
        ("/api/nothing", 404, ""),
    ] {
        let answer = running.client().get(target);
        assert_eq!(answer.status, status, "{target}");
        let expected = answer.json()["expected"].as_str().unwrap_or("").to_string();
        assert!(expected.contains(part), "{target}: {expected}");
        assert!(answer.json()["error"].as_str().is_some_and(|error| !error.is_empty()), "{target}");
    }
    assert_eq!(running.client().send("DELETE", "/api/topics", b"").status, 405);
}

#[test]
fn a_publication_is_taken_once() {
    let running = Running::start();
    let body = json!({ "source": "agent-7", "sequence": 3, "records": [
        { "key": "vm-7", "value": { "a": 1 }, "headers": [{ "name": "h", "value": "x" }] },
        { "keyBase64": "/w==", "valueBase64": "wwE=" },
        { "key": "gone" },
    ] });
    let publish = || running.client().post("/api/topics/alerts.v1/records", &body).json();
    assert_eq!(publish(), json!({ "appended": "new", "records": 3 }));
    assert_eq!(publish(), json!({ "appended": "known", "records": 3 }));
    let page = running.client().get("/api/topics/alerts.v1/records").json();
    assert_eq!(page["records"].as_array().map(Vec::len), Some(3));
    assert_eq!((&page["records"][0]["value"], &page["records"][0]["headers"][0]["value"]), (&json!({ "a": 1 }), &"x".into()));
    assert_eq!((&page["records"][1]["keyBase64"], &page["records"][1]["valueBase64"]), (&"/w==".into(), &"wwE=".into()));
}

#[test]
fn what_no_bus_carries_is_refused_whole() {
    let running = Running::start();
    let large = "x".repeat(RECORD_BYTES_MAX);
    let one = |record: serde_json::Value| json!({ "source": "agent", "sequence": 1, "records": [{ "value": {} }, record] });
    for (topic, body, status) in [
        ("alerts.v1", one(json!({ "value": { "x": large } })), 413),
        ("alerts.v1", one(json!({ "value": 7 })), 400),
        ("alerts.v1", one(json!({ "value": {}, "valueBase64": "" })), 400),
        ("alerts.v1", one(json!({ "valueBase64": "*" })), 400),
        ("alerts.v1", one(json!({ "vlaue": {} })), 422),
        ("alerts.v1", one(json!({ "headers": vec![json!({ "name": "h" }); 65] })), 413),
        ("alerts.v1", json!({ "source": "Agent/7", "sequence": 1, "records": [] }), 400),
        ("alerts.v1", json!({ "source": "agent", "sequence": 1, "records": vec![json!({}); 10_001] }), 413),
        ("alerts.v1.dlq", one(json!({})), 403),
        ("nothing.v1", one(json!({})), 404),
    ] {
        let answer = running.client().post(&format!("/api/topics/{topic}/records"), &body);
        assert_eq!(answer.status, status, "{}", answer.text());
    }
    let form = running.client().with("Content-Type", "text/plain").send("POST", "/api/topics/alerts.v1/records", b"{}");
    assert_eq!(form.status, 415, "a form of a foreign page cannot send JSON without being asked first");
    let long = vec![b' '; (8 << 20) + 1];
    let long = running.client().with("Content-Type", "application/json").send("POST", "/api/topics/alerts.v1/records", &long);
    assert_eq!(long.status, 413);
    assert_eq!(running.client().get("/api/topics/alerts.v1/records").json()["end"], 0);
}

//! The JSON behind the page, without a browser.

use serde_json::Value;

use crate::fed;

fn texts(templates: &Value) -> Vec<&str> {
    templates["templates"].as_array().expect("a list").iter().filter_map(|template| template["text"].as_str()).collect()
}

#[test]
fn the_json_behind_the_page_answers_every_question() {
    let instance = fed();

    let overview = instance.json("/api/overview");
    assert_eq!(overview["minutes"].as_array().map(Vec::len), Some(60));
    assert_eq!(overview["alertMinutes"][59], serde_json::json!([0, 0, 0, 0, 1]));
    assert_eq!((&overview["hostsKnown"], &overview["templatesKnown"]), (&2.into(), &4.into()));
    assert_eq!((&overview["stages"][0]["name"], &overview["stages"][0]["records"]), (&"drain".into(), &402.into()));
    assert!(overview["stages"][0]["rate"].is_f64() && overview["rssBytes"].as_u64().is_some_and(|bytes| bytes > 1 << 20));

    let all = instance.json("/api/templates");
    let on_web = instance.json("/api/templates?host=web-1");
    let found = instance.json("/api/templates?contains=CHECKPOINT&sort=count&limit=1");
    let worst = instance.json("/api/templates?sort=severity&limit=1");
    assert_eq!(texts(&all)[..2].iter().filter(|text| text.contains("<*>")).count(), 2, "{all}");
    assert_eq!((texts(&all).len(), texts(&on_web).len()), (4, 2));
    assert_eq!((texts(&found), &found["templates"][0]["count"]), (vec!["checkpoint took <*>"], &200.into()));
    assert!(texts(&worst)[0].starts_with("disk sda1 failed: password=[redacted]"));
    let id = found["templates"][0]["id"].as_str().expect("an id");
    let template = instance.json(&format!("/api/templates/{id}"));
    assert_eq!(template["lines"].as_array().map(Vec::len), Some(20));
    assert!(template["lines"][0]["text"].as_str().is_some_and(|text| text.ends_with("checkpoint took 199 ms")), "newest first");

    let alerts = instance.json("/api/alerts?status=firing&severity=critical&limit=5");
    assert_eq!(alerts["alerts"].as_array().map(Vec::len), Some(1));
    assert_eq!(instance.json("/api/alerts?status=resolved")["alerts"], serde_json::json!([]));
    for key in ["id", "fingerprint"] {
        let key = alerts["alerts"][0][key].as_str().expect("a key");
        let proof = instance.json(&format!("/api/alerts/{key}"));
        assert_eq!((&proof["alert"]["severity"], &proof["gone"]), (&"critical".into(), &0.into()));
        assert_eq!(proof["lines"][0]["host"], "db-2");
        assert!(proof["lines"][0]["text"].as_str().is_some_and(|text| text.ends_with("disk sda1 failed: password=[redacted] <b>bold</b>")));
    }

    let sources = instance.json("/api/sources");
    let speaking = sources["sources"].as_array().expect("a list").iter().find(|source| source["records"] == 402).expect("it speaks");
    assert_eq!((&speaking["kind"], &speaking["state"], &speaking["drops"]), (&"UNIX".into(), &"watching".into(), &0.into()));

    // The state log's positions, read from the real store.
    let drain = instance.json("/api/groups")["groups"][0].clone();
    assert_eq!((&drain["processor"], &drain["topic"], &drain["partition"]), (&"drain".into(), &"logs.raw.v1".into(), &0.into()));
    assert_eq!((&drain["position"], &drain["end"], &drain["lag"]), (&402.into(), &402.into(), &0.into()));

    let incidents = instance.json("/api/incidents?status=open&severity=high&limit=1");
    let incident = &incidents["incidents"][0];
    assert_eq!((&incident["severity"], &incident["causes"][0]["node"]), (&"critical".into(), &"service/app".into()), "{incident}");
    assert_eq!(incident["alerts"][0]["fingerprint"], alerts["alerts"][0]["fingerprint"]);
    assert!(!incident.to_string().contains("hunter2"), "{incident}");
    let id = incident["id"].as_str().expect("an id");
    assert_eq!(&instance.json(&format!("/api/incidents/{id}"))["id"], &incident["id"]);
    assert_eq!(instance.json("/api/incidents?status=resolved"), serde_json::json!({ "incidents": [] }));
    assert_eq!((&overview["openIncidents"][0]["id"], &overview["endedIncidents"]), (&incident["id"], &serde_json::json!([])));

    for (path, status) in [
        ("/api/incidents?status=bad", 400),
        ("/api/incidents?limit=0", 400),
        ("/api/incidents/nothing", 404),
        ("/api/templates?limit=0", 400),
        ("/api/templates?limit=1001", 400),
        ("/api/templates?since=yesterday", 400),
        ("/api/templates?sort=best", 400),
        ("/api/templates?hots=a", 400),
        ("/api/templates/nothing", 404),
        ("/api/alerts?severity=bad", 400),
        ("/api/alerts/nothing", 404),
        ("/nothing", 404),
    ] {
        let (found, body) = instance.ask(path);
        assert_eq!(found, status, "{path}");
        let error = serde_json::from_str::<Value>(&body).expect("JSON")["error"].clone();
        assert!(error.as_str().is_some_and(|error| !error.is_empty()), "{path}");
    }
}

//! Who gets in.

use std::os::unix::fs::PermissionsExt;

use crate::{Client, Running, TOKEN};

#[test]
fn a_request_over_tcp_needs_the_token() {
    let running = Running::start();
    for target in ["/", "/config", "/api/status", "/api/topics", "/api/stream?topics=alerts.v1", "/nowhere"] {
        let answer = running.stranger().get(target);
        assert_eq!(answer.status, 401, "{target}");
        assert!(answer.json()["expected"].as_str().is_some_and(|expected| expected.contains("Bearer")), "{target}");
        assert_eq!(running.stranger().with("Authorization", "Bearer 5f4dcc3b").get(target).status, 401, "{target}");
        assert_eq!(running.stranger().with("Authorization", &format!("Bearer {TOKEN}0")).get(target).status, 401, "{target}");
        assert_eq!(
            running.stranger().get(&format!("{target}{}token=", if target.contains('?') { '&' } else { '?' })).status,
            401,
            "{target}"
        );
    }
    assert_eq!(running.client().get("/api/status").status, 200);
}

#[test]
fn supervisors_on_this_machine_need_none() {
    let running = Running::start();
    for target in ["/livez", "/readyz", "/metrics"] {
        assert_eq!(running.stranger().get(target).status, 200, "{target}");
    }
}

#[test]
fn the_url_of_up_becomes_a_cookie_and_loses_its_token() {
    let running = Running::start();
    let page = running.stranger().with("Accept", "text/html,*/*").get(&format!("/?token={TOKEN}&a=b"));
    assert_eq!((page.status, page.header("location")), (303, Some("/?a=b")));
    let cookie = page.header("set-cookie").expect("a cookie").to_string();
    assert!(cookie.ends_with("; HttpOnly; SameSite=Strict; Path=/"), "{cookie}");
    let pair = cookie.split(';').next().expect("a pair");
    assert_eq!(running.stranger().with("Cookie", &format!("other=1; {pair}")).get("/").text(), "<p>page");
    let again = running.stranger().with("Accept", "text/html").with("Cookie", pair).get(&format!("/?token={TOKEN}"));
    assert_eq!(again.status, 303, "the token leaves the address of a known browser too");
    assert_eq!(running.stranger().with("Cookie", &pair.replace('=', "=0")).get("/").status, 401);
    let api = running.stranger().get(&format!("/api/topics?token={TOKEN}"));
    assert!(api.status == 200 && api.header("set-cookie").is_some());
    let lost = running.stranger().with("Accept", "text/html").get("/");
    assert!(lost.status == 401 && lost.text().contains("<h1>Nephoscope"), "{}", lost.text());
}

#[test]
fn a_rebound_name_and_a_foreign_page_are_turned_away() {
    let running = Running::start();
    for host in ["evil.example", "evil.example:7700", "localhost.evil.example", "10.1.2.3"] {
        for target in ["/api/topics", "/livez", "/metrics"] {
            assert_eq!(running.client().host(host).get(target).status, 403, "{host} {target}");
        }
    }
    for host in ["localhost", "localhost:1", "[::1]:7700", "127.0.0.1"] {
        assert_eq!(running.client().host(host).get("/api/topics").status, 200, "{host}");
    }
    let port = running.server.address().port();
    for origin in ["http://evil.example", "null", "http://127.0.0.1:1", &format!("http://localhost:{port}")] {
        assert_eq!(running.client().with("Origin", origin).get("/api/topics").status, 403, "{origin}");
    }
    assert_eq!(running.client().with("Origin", &format!("http://127.0.0.1:{port}")).get("/api/topics").status, 200);
}

#[test]
fn the_socket_is_its_owners_and_needs_no_token() {
    let running = Running::start();
    let mode = std::fs::metadata(&running.socket).expect("exists").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    assert_eq!(Client::unix(&running.socket).get("/api/topics").status, 200);
    assert_eq!(Client::unix(&running.socket).get("/config").json()["kafka"]["sasl.password"], "<redacted>");
}

#[test]
fn every_answer_is_hardened() {
    let running = Running::start();
    for answer in [running.client().get("/api/topics"), running.stranger().get("/api/topics"), running.client().get("/nowhere")] {
        assert_eq!(answer.header("content-security-policy"), Some("default-src 'none'; frame-ancestors 'none'"));
        assert_eq!(answer.header("x-content-type-options"), Some("nosniff"));
        assert_eq!(answer.header("x-frame-options"), Some("DENY"));
        assert_eq!(answer.header("cache-control"), Some("no-store"));
        assert_eq!(answer.header("referrer-policy"), Some("no-referrer"));
    }
}

#[test]
fn a_stop_ends_everything_and_takes_the_socket_along() {
    let running = Running::start();
    let waiting = running.client();
    let reader = std::thread::spawn(move || waiting.get("/api/topics/alerts.v1/records?wait_ms=30000").status);
    let client = running.client();
    let (status, mut lines) = client.stream("/api/stream?topics=alerts.v1");
    assert_eq!(status, 200);
    assert!(lines.any(|line| line == "event: hello"));
    let Running { server, engine, socket, .. } = running;
    server.stop();
    assert_eq!(reader.join().expect("no panic"), 200);
    assert_eq!(lines.filter(|line| line.starts_with("event")).count(), 0);
    assert!(!socket.exists());
    engine.stop();
}

//! Stories of a host, told in event time, and the alerts that they give.

mod desk;

use desk::{Desk, Output, T0, alerts, line};
use drain::{ActivityConfig, Config, DrainProcessor};
use schemas::{EventTime, LogRecord, Subject};
use serde_json::Value;
use stream_core::Processor;

const MINUTE_MS: i64 = 60_000;

/// A busy host: in each minute twelve requests, six jobs, and a heartbeat of its own.
fn normal(desk: &mut Desk, host: &str, minutes: std::ops::Range<i64>) -> Vec<Output> {
    let mut outputs = Vec::new();
    for second in minutes.start * 60..minutes.end * 60 {
        let ms = second * 1_000;
        if second % 5 == 0 {
            outputs.extend(desk.line(&line(host, ms, 6, &format!("request {second} answered in {} ms", second % 37))));
        }
        if second % 10 == 3 {
            outputs.extend(desk.line(&line(host, ms, 5, &format!("job {second} done"))));
        }
    }
    outputs
}

/// A host that is known: 1,080 lines in an hour.
fn known(config: Config) -> Desk {
    let mut desk = Desk::new(config);
    assert_eq!(alerts(&normal(&mut desk, "web-1", 0..60)), [""; 0], "nothing is wrong in an ordinary hour");
    desk
}

fn alert<'a>(outputs: &'a [Output], name: &str) -> &'a Value {
    &outputs.iter().find(|output| output.value["name"] == name).unwrap_or_else(|| panic!("no {name} among {outputs:#?}")).value
}

#[test]
fn from_normal_to_burst_to_silence_to_severe() {
    let mut desk = known(Config::default());

    // Two minutes of 200 failing jobs, then the usual six.
    let mut burst = Vec::new();
    for second in 0..120 {
        let ms = 60 * MINUTE_MS + second * 1_000;
        burst.extend(desk.line(&line("web-1", ms, 6, &format!("request {second} answered in 9 ms"))));
        for k in 0..4 {
            burst.extend(desk.line(&line("web-1", ms, 5, &format!("job {k} done"))));
        }
    }
    burst.extend(normal(&mut desk, "web-1", 62..63));
    assert_eq!(alerts(&burst), ["TemplateBurst firing info web-1", "TemplateBurst firing info web-1"]);
    let burst_alert = alert(&burst, "TemplateBurst");
    assert_eq!(burst_alert["startedAt"], T0.plus_millis(62 * MINUTE_MS).to_string());
    assert!(burst_alert["score"].as_f64() >= burst_alert["threshold"].as_f64());
    assert!(burst_alert["message"].as_str().is_some_and(|message| message.starts_with("web-1: ")), "{burst_alert}");
    let calm = normal(&mut desk, "web-1", 63..70);
    assert_eq!(alerts(&calm), ["TemplateBurst resolved info web-1", "TemplateBurst resolved info web-1"]);

    // The jobs stop, the requests go on.
    let mut silence = Vec::new();
    for second in (70 * 60..80 * 60).step_by(5) {
        silence.extend(desk.line(&line("web-1", second * 1_000, 6, &format!("request {second} answered in 7 ms"))));
    }
    assert_eq!(alerts(&silence).first().map(String::as_str), Some("TemplateSilence firing info web-1"));
    let silence_alert = alert(&silence, "TemplateSilence");
    assert_eq!(silence_alert["annotations"]["template"], "job <*> done");
    assert_eq!(silence_alert["service"], "shop", "all its lines are of one program");
    assert_eq!(alerts(&normal(&mut desk, "web-1", 80..81)), ["TemplateSilence resolved info web-1"]);

    // A severe line is told at once, with what it rests on, and resolves after fifteen quiet minutes.
    let severe = desk.line(&line("web-1", 81 * MINUTE_MS, 2, "device sda rejected a write"));
    assert_eq!(alerts(&severe), ["SevereLog firing critical web-1"]);
    let severe_alert = alert(&severe, "SevereLog");
    assert_eq!(severe_alert["message"], "web-1: device sda rejected a write");
    assert_eq!(severe_alert["service"], "shop");
    let parsed = &severe.iter().find(|output| output.topic == "logs.parsed.v1").expect("the line").value;
    assert_eq!(severe_alert["evidence"][0]["offset"], parsed["raw_offset"]);
    assert_eq!(severe_alert["labels"]["template_id"], parsed["template_id"]);
    assert_eq!(alerts(&normal(&mut desk, "web-1", 81..100)), ["SevereLog resolved critical web-1"]);
}

#[test]
fn a_severe_line_of_an_unknown_host_is_told_and_its_repeats_are_counted() {
    let mut desk = Desk::new(Config::default());
    assert_eq!(alerts(&desk.line(&line("db-7", 0, 0, "panic in interrupt"))), ["SevereLog firing critical db-7"]);
    for second in 1..=60 {
        assert_eq!(alerts(&desk.line(&line("db-7", second * 1_000, 0, "panic in interrupt"))), [""; 0]);
    }
    let ended = desk.silence(16 * MINUTE_MS);
    assert_eq!(alerts(&ended), ["SevereLog resolved critical db-7"]);
    assert_eq!(alert(&ended, "SevereLog")["annotations"]["count"], "61");
}

#[test]
fn a_dead_host_is_found_by_the_ticks_of_silence() {
    let mut desk = known(Config::default());
    let mut outputs = Vec::new();
    for tick in 1..60 {
        outputs.extend(desk.silence(tick * 10_000));
    }
    let mut told = alerts(&outputs);
    told.dedup();
    assert_eq!(told, ["TemplateSilence firing info web-1"], "{told:?}");
    let templates: std::collections::BTreeSet<_> =
        outputs.iter().map(|output| output.value["annotations"]["template"].to_string()).collect();
    assert_eq!(templates.len(), 2, "both templates: {templates:?}");
}

#[test]
fn what_is_new_on_a_known_host_is_told_ten_times_a_minute_and_then_summed_up() {
    let mut desk = known(Config::default());
    let words = ["alder", "birch", "cedar", "elm", "fir", "hazel", "holly", "larch", "maple", "oak", "pine", "rowan", "spruce", "yew"];
    let mut outputs = Vec::new();
    for (k, word) in words.iter().enumerate() {
        let message = format!("{word} {} is broken", words.iter().rev().take(k).copied().collect::<Vec<_>>().join(" "));
        outputs.extend(desk.line(&line("web-1", 60 * MINUTE_MS + k as i64, 4, &message)));
    }
    assert_eq!(alerts(&outputs), ["NewTemplate firing warning web-1"; 10]);
    assert_eq!(alerts(&desk.line(&line("web-1", 60 * MINUTE_MS + 50, 6, "harmless news of another kind"))), [""; 0], "nobody asked");
    let next_minute = normal(&mut desk, "web-1", 61..62);
    assert_eq!(alerts(&next_minute), ["NewTemplate firing warning web-1"]);
    assert_eq!(alert(&next_minute, "NewTemplate")["message"], "web-1: 4 more new templates within 60 s");
    let fresh = line("web-2", 60 * MINUTE_MS, 4, "another host says something of its own for the first time");
    assert_eq!(alerts(&desk.line(&fresh)), [""; 0], "a host that nobody knows");
}

#[test]
fn history_raises_no_alerts_unless_it_is_severe() {
    let mut desk = known(Config::default());
    let now = T0.plus_millis(60 * MINUTE_MS).micros();
    let old = |severity, message| LogRecord { observed_time: now, ..line("web-1", 49 * MINUTE_MS, severity, message) };
    let marked = |severity, message| LogRecord {
        attributes: [("backfill".to_string(), "true".to_string())].into(),
        ..line("web-1", 60 * MINUTE_MS, severity, message)
    };
    assert_eq!(alerts(&desk.line(&old(3, "controller reset after timeout"))), [""; 0]);
    assert_eq!(alerts(&desk.line(&marked(3, "link of port down again"))), [""; 0]);
    for record in [old(2, "cannot read superblock"), marked(1, "temperature above threshold")] {
        let severe = desk.line(&record);
        assert_eq!(alerts(&severe), ["SevereLog firing critical web-1"]);
        assert_eq!(alert(&severe, "SevereLog")["annotations"]["backfill"], "true");
    }
    assert_eq!(alerts(&desk.line(&line("web-1", 60 * MINUTE_MS, 3, "fan stopped turning now"))), ["NewTemplate firing high web-1"]);
}

#[test]
fn endless_news_is_an_explosion_and_not_a_thousand_alerts() {
    let mut desk = Desk::new(Config { clusters_max: 64, ..Config::default() });
    let mut outputs = Vec::new();
    for k in 0..2_000i64 {
        let word: String = (0..6).map(|place| char::from(b'a' + (k >> (place * 2)) as u8 % 4 + place as u8 * 4)).collect();
        outputs.extend(desk.line(&line("web-1", k * 100, 6, &format!("{word} {}", "x ".repeat((k % 40) as usize)))));
    }
    let mut told = alerts(&outputs);
    told.dedup();
    assert_eq!(told, ["TemplateExplosion firing warning -"], "an instance, not a host");
    assert_eq!(alert(&outputs, "TemplateExplosion")["annotations"]["host"], "web-1");
    assert_eq!(alerts(&desk.silence(16 * MINUTE_MS)), ["TemplateExplosion resolved warning -"]);
}

#[test]
fn a_template_is_published_on_each_change_and_then_every_ten_minutes() {
    let mut desk = Desk::new(Config { seed_templates: vec!["link <*> is up".into()], ..Config::default() });
    let outputs = normal(&mut desk, "web-1", 0..25);
    let templates = outputs.iter().filter(|output| output.topic == "logs.templates.v1").map(|output| &output.value);
    let of = |text: &str| templates.clone().filter(|t| t["template"] == text).map(|t| t["change"]["kind"].to_string()).collect::<Vec<_>>();
    assert_eq!(of("link <*> is up"), ["\"SEEDED\""], "told with the first line");
    assert_eq!(of("request <*> answered in <*>"), ["\"CREATED\"", "\"NONE\"", "\"NONE\""]);
    let last = templates.clone().rfind(|t| t["template"] == "request <*> answered in <*>").expect("published");
    assert_eq!((&last["count"], &last["superseded_by"]), (&Value::from(241), &Value::Null));
}

#[test]
fn hostile_text_reaches_no_alert_unescaped() {
    let mut desk = Desk::new(Config::default());
    let hostile = "\u{1b}[2J <!channel> \u{202e}gpj.exe \r\nBcc: all \u{0}";
    let outputs = desk.line(&LogRecord { app_name: Some(hostile.into()), ..line("h\u{1b}\n", 0, 1, hostile) });
    let alert = alert(&outputs, "SevereLog");
    let alert: schemas::Alert = serde_json::from_value(alert.clone()).expect("an alert");
    let texts = [&alert.message, &alert.service].into_iter().chain(alert.labels.values());
    assert!(texts.clone().all(|text| !text.contains(char::is_control)), "{alert:?}");
    let texts = texts.chain([&alert.description]).chain(alert.annotations.values());
    assert!(texts.clone().all(|text| !text.contains(['\u{1b}', '\u{202e}', '\r', '\0'])), "{alert:?}");
    assert!(alert.message.contains(r"\u{1b}"), "shown, not lost: {}", alert.message);
}

#[test]
fn the_state_stays_within_its_bound_under_endless_lines_and_hosts() {
    let config = Config {
        clusters_max: 128,
        hosts_max: 16,
        activity: ActivityConfig { templates_max: 16, ..ActivityConfig::default() },
        ..Config::default()
    };
    let bound = DrainProcessor::state_bytes_bound(&config);
    let mut desk = Desk::new(config);
    let mut random = 1u64;
    let mut largest = 0;
    for k in 0..30_000i64 {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let host = format!("{}-{}", "h".repeat(200), random >> 40);
        let words: Vec<String> = (0..random % 9).map(|n| format!("{}w", (random >> (n * 5)) % 32).replace(char::is_numeric, "q")).collect();
        let letters: String = random.to_string().bytes().map(|digit| char::from(digit - b'0' + b'a')).collect();
        desk.line(&line(&host, k * 1_000, (random >> 32) as i32 & 7, &format!("{letters} {}", words.join(" "))));
        if k % 5_000 == 0 {
            largest = largest.max(desk.state_bytes());
        }
    }
    largest = largest.max(desk.state_bytes());
    assert!(largest > 100_000 && largest <= bound, "{largest} of {bound}");
}

#[test]
fn the_default_configuration_fits_the_runtimes_limit() {
    let bound = DrainProcessor::state_bytes_bound(&Config::default());
    assert!(bound < 128 << 20, "{bound}");
}

#[test]
fn a_host_name_that_no_state_could_hold_is_rejected() {
    let long = line(&"h".repeat(254), 0, 6, "hello").to_bytes().expect("fits the schema");
    let outcome = std::panic::catch_unwind(|| Desk::new(Config::default()).record(&long, EventTime(0)));
    let reason = outcome.expect_err("rejected");
    assert!(reason.downcast_ref::<String>().is_some_and(|text| text.contains("expected 1 to 253 bytes, found 254")));
}

use proptest::prelude::*;

use super::*;

const T0: EventTime = EventTime::from_millis(1_700_000_040_000);
const MINUTE_MS: i64 = 60_000;

fn cluster(n: u32) -> TemplateId {
    TemplateId::of(&n.to_string())
}

fn line(host: &str, n: u32, ms: i64) -> Line<'_> {
    Line { host, cluster: cluster(n), app: Some("shop"), severity: Some(4), time: T0.plus_millis(ms), offset: Offset(7) }
}

/// `per_minute` lines of each of `templates` in each minute of `minutes`.
fn feed(activity: &mut Activity, host: &str, minutes: std::ops::Range<i64>, templates: std::ops::Range<u32>, per_minute: i64) {
    for minute in minutes {
        for template in templates.clone() {
            for k in 0..per_minute {
                activity.count(&line(host, template, minute * MINUTE_MS + k * (MINUTE_MS / per_minute)));
            }
        }
    }
}

fn kinds(findings: &[Finding]) -> Vec<&'static str> {
    let kind = |finding: &Finding| match finding.kind {
        FindingKind::Burst { .. } => "burst",
        FindingKind::BurstOver => "burst over",
        FindingKind::Silence { .. } => "silence",
        FindingKind::SilenceOver => "silence over",
        FindingKind::Withheld { .. } => "withheld",
    };
    findings.iter().map(kind).collect()
}

fn restored(activity: &Activity, config: &Config) -> Activity {
    let bytes = activity.snapshot().expect("can be written");
    let restored = Activity::restore(config, &bytes).expect("our own state");
    assert_eq!(restored.snapshot().expect("can be written"), bytes);
    restored
}

#[test]
fn a_burst_is_found_on_its_own_host_only() {
    let mut activity = Activity::new(&Config::default());
    for minute in 0..40 {
        feed(&mut activity, "a", minute..minute + 1, 0..2, 5);
        feed(&mut activity, "b", minute..minute + 1, 0..2, 5);
    }
    assert_eq!(activity.findings(), []);
    feed(&mut activity, "a", 40..43, 0..1, 1_000);
    let findings = activity.findings();
    assert_eq!(kinds(&findings), ["burst"]);
    assert_eq!((findings[0].host.as_str(), findings[0].cluster, findings[0].at), ("a", cluster(0), T0.plus_millis(42 * MINUTE_MS)));
}

#[test]
fn a_dead_host_falls_silent_by_the_watermark_and_a_slow_clock_does_not() {
    let mut activity = Activity::new(&Config::default());
    let slow_ms = 3 * 3_600_000; // in the wrong time zone
    for minute in 0..60 {
        feed(&mut activity, "dead", minute..minute + 1, 0..1, 10);
        activity.count(&line("slow", 0, minute * MINUTE_MS - slow_ms));
        activity.close_silent(T0.plus_millis(minute * MINUTE_MS - 5_000));
    }
    assert_eq!(activity.findings(), []);
    for minute in 60..66 {
        for second in 0..60 {
            let ms = minute * MINUTE_MS + second * 1_000;
            if second % 6 == 0 {
                activity.count(&line("slow", 0, ms - slow_ms));
            }
            activity.close_silent(T0.plus_millis(ms - 5_000));
        }
    }
    let findings = activity.findings();
    assert!(findings.iter().all(|finding| finding.host == "dead"), "{findings:?}");
    assert_eq!(kinds(&findings), ["silence", "silence", "silence"]);
    let first = findings.first().map(|finding| finding.at.millis_since(T0) / MINUTE_MS);
    assert_eq!(first, Some(63), "three minutes without a line, thirty lines missing");
}

#[test]
fn a_finding_names_the_program_if_all_lines_of_its_template_are_of_one() {
    let mut activity = Activity::new(&Config::default());
    for minute in 0..60 {
        for second in (0..60).step_by(6) {
            let ms = minute * MINUTE_MS + second * 1_000;
            activity.count(&Line { app: Some("cron"), ..line("a", 0, ms) });
            activity.count(&Line { app: Some(if second % 12 == 0 { "cron" } else { "sshd" }), ..line("a", 1, ms) });
            activity.count(&Line { app: None, ..line("a", 2, ms) });
        }
    }
    activity.close_silent(T0.plus_millis(63 * MINUTE_MS));
    let apps: std::collections::BTreeMap<_, _> =
        activity.findings().into_iter().map(|finding| (finding.cluster, finding.app.map(String::from))).collect();
    let expected = [(cluster(0), Some("cron".to_string())), (cluster(1), None), (cluster(2), None)];
    assert_eq!(apps, expected.into());
}

#[test]
fn new_templates_are_told_after_the_warm_up_and_ten_a_minute() {
    let config = Config { warmup_lines: 20, ..Config::default() };
    let mut activity = Activity::new(&config);
    let tells = |activity: &mut Activity, n: u32, ms: i64| {
        let new = line("a", n, ms);
        activity.count(&new);
        activity.tells_of_new(&new)
    };
    assert!(!(0..20).any(|n| tells(&mut activity, n, 0)), "not twenty lines yet");
    assert!(!tells(&mut activity, 20, 9 * MINUTE_MS), "not ten minutes yet");
    assert_eq!((100..140).filter(|n| tells(&mut activity, *n, 10 * MINUTE_MS)).count(), 10);
    assert_eq!(activity.findings(), []);
    assert!(tells(&mut activity, 200, 11 * MINUTE_MS), "another minute");
    let findings = activity.findings();
    assert_eq!(findings.iter().map(|finding| finding.kind).collect::<Vec<_>>(), [FindingKind::Withheld { count: 30 }]);
}

#[test]
fn merged_templates_go_on_as_one() {
    let mut activity = Activity::new(&Config::default());
    feed(&mut activity, "a", 0..60, 0..4, 5);
    for n in 1..4 {
        activity.merge(None, cluster(n), cluster(0), T0.plus_millis(60 * MINUTE_MS));
    }
    feed(&mut activity, "a", 60..70, 0..1, 20);
    assert_eq!(activity.findings(), [], "four of five lines a minute are one of twenty");
    activity.close_silent(T0.plus_millis(75 * MINUTE_MS));
    let findings = activity.findings();
    assert_eq!((kinds(&findings), findings[0].cluster), (vec!["silence"], cluster(0)));
    activity.merge(None, cluster(0), cluster(9), T0.plus_millis(76 * MINUTE_MS));
    assert_eq!(kinds(&activity.findings()), ["silence over"]);
}

#[test]
fn a_forgotten_host_or_template_leaves_no_alert_open() {
    let config = Config { hosts_max: 2, ..Config::default() };
    let mut activity = Activity::new(&config);
    feed(&mut activity, "a", 0..60, 0..1, 10);
    activity.close_silent(T0.plus_millis(70 * MINUTE_MS));
    assert_eq!(kinds(&activity.findings()), ["silence"]);
    activity.count(&line("b", 0, 70 * MINUTE_MS));
    activity.count(&line("c", 0, 70 * MINUTE_MS));
    assert_eq!(kinds(&activity.findings()), ["silence over"]);
    assert_eq!(activity.hosts(), 2);
}

#[test]
fn thousands_of_hosts_that_fall_silent_together_are_told_bit_by_bit() {
    let mut activity = Activity::new(&Config::default());
    let names: Vec<String> = (0..1_000).map(|n| format!("host-{n}")).collect();
    for minute in 0..40 {
        for name in &names {
            feed(&mut activity, name, minute..minute + 1, 0..1, 10);
        }
    }
    let mut silent = std::collections::BTreeSet::new();
    for second in 0..10 {
        activity.close_silent(T0.plus_millis(46 * MINUTE_MS + second * 1_000));
        let findings = activity.findings();
        assert!(findings.len() <= FINDINGS_MAX);
        silent.extend(findings.into_iter().map(|finding| finding.host));
    }
    assert_eq!(silent.len(), names.len());
}

#[test]
fn the_state_is_bounded_under_endless_hosts_and_templates() {
    let mut config = Config { hosts_max: 20, ..Config::default() };
    config.activity.templates_max = 16;
    let mut activity = Activity::new(&config);
    for n in 0..20_000u32 {
        let host = format!("{}-{}", n % 97, "h".repeat(248));
        activity.count(&line(&host, n % 89, i64::from(n) * 997));
    }
    assert_eq!(activity.hosts(), 20);
    let bytes = activity.snapshot().expect("can be written").len() as u64;
    assert!(bytes <= Activity::state_bytes_bound(&config), "{bytes}");
    let smaller = Config { hosts_max: 3, ..config };
    let bytes = activity.snapshot().expect("can be written");
    assert_eq!(Activity::restore(&smaller, &bytes).expect("fits after eviction").hosts(), 3);
}

#[test]
fn the_bound_holds_for_the_longest_encodings() {
    let config = Config { hosts_max: 1, ..Config::default() };
    let mut activity = Activity::new(&config);
    let host = "h".repeat(HOST_BYTES_MAX);
    for n in 0..512 {
        let (time, app) = (EventTime(i64::MIN + 1), format!("{:048}", n % 64));
        activity.count(&Line { host: &host, cluster: cluster(n), app: Some(&app), severity: Some(7), time, offset: Offset(u64::MAX) });
    }
    for (_, host) in &mut activity.hosts {
        (host.lines, host.touched, host.touches, host.withheld) = (u64::MAX, u64::MAX, u64::MAX, Offset(u64::MAX));
        host.new_in_bucket = u32::MAX;
        for (_, seen) in &mut host.tracks {
            seen.touched = u64::MAX;
            seen.track = Track::widest();
        }
    }
    let bytes = activity.snapshot().expect("can be written").len() as u64;
    let bound = Activity::state_bytes_bound(&config);
    assert!(bytes <= bound && bytes * 10 > bound * 9, "{bytes} of {bound}");
}

proptest! {
    /// Any times, any order, any split: no panic, and a restored activity goes on as the other.
    #[test]
    fn a_restored_activity_goes_on_as_the_other(
        lines in proptest::collection::vec((0..4u8, 0..6u32, any::<i64>(), 0..20u8), 1..120),
        split in any::<proptest::sample::Index>(),
    ) {
        let mut config = Config { hosts_max: 3, warmup_lines: 5, warmup_min: 1, ..Config::default() };
        config.activity.templates_max = 4;
        let split = split.index(lines.len());
        let (mut straight, mut other) = (Activity::new(&config), Activity::new(&config));
        let mut clock = T0;
        for (index, (host, n, time, kind)) in lines.into_iter().enumerate() {
            if index == split {
                other = restored(&other, &config);
            }
            clock = clock.plus_millis(time.rem_euclid(40_000));
            let host = host.to_string();
            let time = if kind == 0 { EventTime(time) } else { clock };
            let line = Line { host: &host, cluster: cluster(n), app: None, severity: None, time, offset: Offset(index as u64) };
            let seen = [&mut straight, &mut other].map(|activity| {
                let mut told = false;
                match kind {
                    1 => activity.close_silent(clock),
                    2 => activity.merge(None, cluster(n), cluster(n + 1), clock),
                    _ => {
                        activity.count(&line);
                        told = activity.tells_of_new(&line);
                    }
                }
                (told, activity.findings())
            });
            prop_assert_eq!(&seen[0], &seen[1]);
        }
        prop_assert_eq!(straight.snapshot(), other.snapshot());
    }

    #[test]
    fn reading_a_state_is_total(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = Activity::restore(&Config::default(), &bytes);
    }
}

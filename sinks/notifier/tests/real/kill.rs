//! `kill -9` of the real notifier at random moments, with two destinations: one that is known by keys, and one that is not.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    process::{Child, Command, Stdio},
    time::Duration,
};

use schemas::Severity;
use stream_runtime::embedded::{EmbeddedBus, EmbeddedConfig};

use super::{
    alert, bus, ended, publish,
    recorder::{Recorder, Request},
    until,
};

/// Kills of one run, if `NEPHOSCOPE_NOTIFIER_KILLS` says nothing.
const KILLS: usize = 20;
/// Alerts that begin in each round; those of the round before end.
const PER_ROUND: usize = 20;
/// What one commit may hold of a destination that drops repeats; see `drops_repeats` of its configuration.
const BATCH_REQUESTS: usize = 100;

/// A notifier; dropped is `kill -9`.
struct Life(Child);

impl Drop for Life {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn start(folder: &Path) -> Life {
    let child = Command::new(env!("CARGO_BIN_EXE_nephoscope-notifier"))
        .arg("--config")
        .arg(folder.join("n.toml"))
        .arg("--data-dir")
        .arg(folder.join("data"))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn();
    Life(child.expect("starts"))
}

#[test]
fn kills_lose_nothing_and_repeat_a_message_each_at_most() {
    let kills: usize = std::env::var("NEPHOSCOPE_NOTIFIER_KILLS").map_or(KILLS, |text| text.parse().expect("a number"));
    let folder = tempfile::tempdir().expect("a folder");
    let recorder = Recorder::willing();
    std::fs::write(folder.path().join("key"), "k").expect("writes");
    let config = format!(
        "[listen]\nadmin = \"127.0.0.1:0\"\n[notifier.webhook.hook]\nurl = \"{}\"\n[notifier.pagerduty.pager]\nurl = \"{}\"\nrouting_key = \"file:{}\"\n\
         [[notifier.routes]]\nto = [\"hook\", \"pager\"]\ntell = \"alerts\"\ngroup_wait_ms = 0\ngroup_interval_ms = 0\n",
        recorder.url("/hook"),
        recorder.url("/pager"),
        folder.path().join("key").display()
    );
    std::fs::write(folder.path().join("n.toml"), config).expect("writes");
    drop(bus(folder.path()));

    let (mut seed, mut last, mut expected) = (0x5eed_u64, Vec::new(), BTreeSet::new());
    for round in 0..=kills {
        let bus = EmbeddedBus::open(&folder.path().join("data"), EmbeddedConfig::default()).expect("opens after a kill");
        let begun: Vec<_> = (0..if round < kills { PER_ROUND } else { 0 })
            .map(|n| alert("Stall", &[("host", &format!("h-{}", n % 4)), ("device", &format!("{round}-{n}"))], Severity::Warning))
            .collect();
        expected.extend(begun.iter().map(|alert| alert.fingerprint.clone()));
        publish(&bus, &last.iter().map(ended).chain(begun.iter().cloned()).collect::<Vec<_>>());
        last = begun;
        drop(bus);
        if round < kills {
            let life = start(folder.path());
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            std::thread::sleep(Duration::from_millis(40 + (seed >> 33) % 400));
            drop(life);
        }
    }
    let life = start(folder.path());
    let of = |path: &str| recorder.requests().into_iter().filter(|request| request.path == path).collect::<Vec<_>>();
    // As long as it takes after so many kills; only one that stands still is given up.
    let (hook, pager) = loop {
        let (hook, pager) = (told(&of("/hook")), Pager::told(&of("/pager")));
        if hook.ended == expected && pager.ended == expected {
            break (hook, pager);
        }
        let before = (hook.ended.len(), pager.ended.len());
        until(&format!("more than {before:?} of {} told", expected.len()), || {
            let now = (told(&of("/hook")).ended.len(), Pager::told(&of("/pager")).ended.len());
            (now != before).then_some(())
        });
    };
    drop(life);
    println!(
        "{kills} kills, {} alerts that came and went: none lost; without keys {} messages came again; with keys {} requests, {} incidents opened twice",
        expected.len(),
        hook.repeated,
        pager.repeated,
        pager.reopened
    );
    assert!(hook.repeated <= kills, "a kill repeats one message at most: {}", hook.repeated);
    assert!(pager.repeated <= kills * BATCH_REQUESTS, "a kill repeats one batch at most: {}", pager.repeated);
    assert_eq!(pager.reopened, 0, "whoever is paged sees no repeat");
    assert_eq!((hook.out_of_order, pager.out_of_order), (0, 0));
}

/// What a webhook was told.
#[derive(Default)]
struct Hook {
    ended: BTreeSet<String>,
    repeated: usize,
    out_of_order: usize,
}

fn told(requests: &[Request]) -> Hook {
    let mut hook = Hook::default();
    let mut known = BTreeMap::<String, BTreeSet<String>>::new();
    let mut messages = BTreeSet::new();
    for request in requests {
        // The same message word for word is a repeat; one that names what still fires beside its news is none.
        let alerts = request.body["alerts"].as_array().expect("alerts");
        let words: Vec<_> = alerts.iter().map(|alert| [&alert["fingerprint"], &alert["status"]].map(|text| text.to_string())).collect();
        let has_news = words.iter().any(|[fingerprint, status]| !known.get(fingerprint).is_some_and(|known| known.contains(status)));
        hook.repeated += usize::from(!has_news || !messages.insert(words));
        for alert in alerts {
            let [fingerprint, status] = ["fingerprint", "status"].map(|name| alert[name].as_str().expect(name).to_string());
            if status == "resolved" {
                hook.out_of_order += usize::from(!known.get(&format!("{fingerprint:?}")).is_some_and(|known| known.contains("\"firing\"")));
                hook.ended.insert(fingerprint.clone());
            }
            known.entry(format!("{fingerprint:?}")).or_default().insert(format!("{status:?}"));
        }
    }
    hook
}

/// A pager that knows each trouble by its key: open or over.
#[derive(Default)]
struct Pager {
    ended: BTreeSet<String>,
    repeated: usize,
    reopened: usize,
    out_of_order: usize,
}

impl Pager {
    fn told(requests: &[Request]) -> Self {
        let mut pager = Self::default();
        let mut opened = BTreeMap::<String, bool>::new();
        for request in requests {
            let key = request.body["dedup_key"].as_str().expect("a key").to_string();
            let is_trigger = request.body["event_action"] == "trigger";
            match (opened.get(&key).copied(), is_trigger) {
                (None, true) => _ = opened.insert(key, true),
                (None, false) => pager.out_of_order += 1,
                (Some(true), false) => {
                    opened.insert(key.clone(), false);
                    pager.ended.insert(key);
                }
                (Some(false), true) => {
                    pager.reopened += 1;
                    opened.insert(key, true);
                }
                (Some(true), true) | (Some(false), false) => pager.repeated += 1,
            }
        }
        pager
    }
}

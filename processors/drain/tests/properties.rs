//! What holds for every line and every sequence of lines.

use std::collections::BTreeSet;

use drain::{Change, Config, Drain, Masker, Match, TemplateEvent, TemplateId};
use proptest::prelude::*;

/// Everything a call of `parse` says.
#[derive(Debug, PartialEq)]
struct Said {
    id: TemplateId,
    cluster: TemplateId,
    version: u32,
    text: String,
    matched: Match,
    change: Option<Change>,
    params: Vec<String>,
    events: Vec<TemplateEvent>,
}

fn say(drain: &mut Drain, line: &str, now: i64) -> Said {
    let parsed = drain.parse(line, now);
    Said {
        id: parsed.template_id,
        cluster: parsed.cluster_id,
        version: parsed.version,
        text: parsed.template.to_string(),
        matched: parsed.matched,
        change: parsed.change.cloned(),
        params: parsed.params.iter().map(|p| format!("{:?} {}", p.kind, p.value(line))).collect(),
        events: parsed.events.to_vec(),
    }
}

/// Lines that collide often: few words, values, punctuation.
fn line() -> impl Strategy<Value = String> {
    let word = prop_oneof![
        3 => proptest::sample::select(vec!["disk", "link", "user", "for", "state", "up", "down", "lost", "gone", "ok", "a.b", "x/y"]),
        2 => proptest::sample::select(vec!["17", "0x1f", "10.0.0.1", "eth0", "eth1", "true", "false", "blk_12", "5 ms", "/a/b", "Jun 5", "..."]),
        1 => proptest::sample::select(vec!["(", ")", "[", "]", ",", ":", "=", "<*>", "-", "é", "'"]),
    ];
    let joint = proptest::sample::select(vec![" ", " ", " ", "", "  "]);
    proptest::collection::vec((word, joint), 1..7).prop_map(|parts| parts.into_iter().flat_map(|(word, joint)| [word, joint]).collect())
}

/// A small cap, a small memo and some seeds, so that eviction, merging and the explosion guard all happen.
fn tight() -> Config {
    let seed_templates = ["disk gone", "link <*> up", "user lost"].map(str::to_owned).into();
    Config { clusters_max: 24, fanout: 3, signature_cache: 8, seed_templates, ..Config::default() }
}

fn masked(masker: &Masker, line: &str) -> String {
    let mut spans = Vec::new();
    masker.spans(line, &mut spans);
    let (mut text, mut at) = (String::new(), 0);
    for span in spans {
        assert!(at <= span.start && span.start < span.end, "spans are sorted, disjoint and not empty");
        text += &line[at..span.start];
        text += "<*>";
        at = span.end;
    }
    text + &line[at..]
}

/// A slow reading of what a template says, by backtracking over characters: literals equal, `<*>` any text, white space runs alike.
fn says(template: &str, line: &str) -> bool {
    let normal = line.split_ascii_whitespace().collect::<Vec<_>>().join(" ");
    let pieces: Vec<&str> = template.split("<*>").collect();
    let Some((first, rest)) = pieces.split_first() else { return false };
    let Some(mut left) = normal.strip_prefix(first) else { return false };
    let Some((last, middle)) = rest.split_last() else { return left.is_empty() };
    for piece in middle {
        match left.find(piece) {
            Some(at) => left = &left[at + piece.len()..],
            None => return false,
        }
    }
    left.ends_with(last)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn masking_twice_changes_nothing(line in prop_oneof![line(), "\\PC{0,60}", "[0-9a-f:./*<> -]{0,40}"]) {
        let masker = Masker::new(&[]).unwrap();
        let once = masked(&masker, &line);
        prop_assert_eq!(masked(&masker, &once), once);
    }

    #[test]
    fn a_template_text_is_its_own_template(line in prop_oneof![line(), "\\PC{0,60}"]) {
        let template = Drain::new(&Config::default()).unwrap().parse(&line, 0).template.to_string();
        let mut again = Drain::new(&Config::default()).unwrap();
        let parsed = again.parse(&template, 0);
        prop_assert_eq!(&**parsed.template, &*template);
    }

    #[test]
    fn every_line_matches_its_own_template(lines in proptest::collection::vec(line(), 1..60)) {
        let mut drain = Drain::new(&tight()).unwrap();
        for line in &lines {
            let said = say(&mut drain, line, 0);
            if said.matched != Match::Unknown {
                // Annotations ("17 (5 ms)") are left out of templates on purpose; such lines say more than their template.
                prop_assert!(line.contains(['(', '[']) || says(&said.text, line), "{line:?} is not {:?}", said.text);
                prop_assert_eq!(drain.template(said.id).map(|t| t.text.to_string()), Some(said.text.clone()), "it is live");
                prop_assert_eq!(say(&mut drain, line, 0).id, said.id, "and said again, it is found again");
            }
        }
    }

    #[test]
    fn ids_depend_on_text_only_and_clusters_stay_within_the_cap(lines in proptest::collection::vec(line(), 1..120)) {
        let mut drain = Drain::new(&tight()).unwrap();
        for line in &lines {
            let said = say(&mut drain, line, 0);
            prop_assert_eq!(said.id, if said.matched == Match::Unknown { TemplateId::UNKNOWN } else { TemplateId::of(&said.text) });
            prop_assert!(said.version >= 1 || said.matched == Match::Unknown);
        }
        let templates: Vec<_> = drain.templates().collect();
        prop_assert!(templates.len() <= 24);
        prop_assert!(templates.iter().all(|t| t.id == TemplateId::of(&t.text) && drain::canonical(&t.text) == *t.text));
        let texts: BTreeSet<_> = templates.iter().map(|t| &t.text).collect();
        prop_assert_eq!(texts.len(), templates.len(), "no two clusters have one text");
    }

    #[test]
    fn events_tell_the_whole_story(lines in proptest::collection::vec(line(), 1..120)) {
        let mut drain = Drain::new(&tight()).unwrap();
        let mut live: BTreeSet<TemplateId> = drain.events().iter().map(|event| event.template.id).collect();
        for line in &lines {
            for event in say(&mut drain, line, 0).events {
                let gone = event.superseded_by.is_some() || event.change.kind == drain::ChangeKind::Evicted;
                if gone {
                    prop_assert!(live.remove(&event.template.id), "only what lives can go");
                } else {
                    live.insert(event.template.id);
                }
            }
            prop_assert!(drain.templates().map(|t| t.id).eq(live.iter().copied()));
        }
    }

    #[test]
    fn a_restored_tree_goes_on_as_the_old_one(
        lines in proptest::collection::vec((line(), 0..40_i64), 1..120),
        cut in 0..120_usize,
    ) {
        let config = tight();
        let mut old = Drain::new(&config).unwrap();
        let (before, after) = lines.split_at(cut.min(lines.len()));
        for (line, minute) in before {
            say(&mut old, line, minute * 60_000_000_000);
        }
        let mut new = Drain::restore(&config, &old.snapshot()).unwrap();
        prop_assert_eq!(new.snapshot(), old.snapshot());
        for (line, minute) in after {
            prop_assert_eq!(say(&mut new, line, minute * 60_000_000_000), say(&mut old, line, minute * 60_000_000_000));
        }
        prop_assert_eq!(new.snapshot(), old.snapshot());
    }

    #[test]
    fn the_memo_is_pure(lines in proptest::collection::vec(line(), 1..120)) {
        let mut with = Drain::new(&Config { signature_cache: 4, ..tight() }).unwrap();
        let mut without = Drain::new(&Config { signature_cache: 0, ..tight() }).unwrap();
        for line in &lines {
            prop_assert_eq!(say(&mut with, line, 0), say(&mut without, line, 0));
        }
    }

    #[test]
    fn merging_does_not_depend_on_the_order(order in Just(["ada", "bob", "eve", "joe", "lia", "max"]).prop_shuffle()) {
        let merged = |names: &[&str]| {
            let mut drain = Drain::new(&Config::default()).unwrap();
            for name in names {
                drain.parse(&format!("mail for {name} waits"), 0);
            }
            drain.templates().map(|t| (t.id, t.cluster_id, t.version, t.count)).collect::<Vec<_>>()
        };
        let sorted = merged(&["ada", "bob", "eve", "joe", "lia", "max"]);
        prop_assert_eq!(sorted.len(), 1);
        prop_assert_eq!(merged(&order), sorted);
    }
}

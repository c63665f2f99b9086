//! Short fuzz runs; `cargo bolero test` takes the same targets further.

use drain::{Config, Drain, Masker, Snapshot};

#[test]
fn any_line_is_masked_and_parsed() {
    let masker = Masker::new(&[]).expect("no rules");
    let mut drain = Drain::new(&Config { clusters_max: 16, ..Config::default() }).expect("valid");
    bolero::check!().with_iterations(20_000).with_type::<(Vec<u8>, i64)>().for_each(move |(bytes, now)| {
        let line = String::from_utf8_lossy(bytes);
        let mut spans = Vec::new();
        masker.spans(&line, &mut spans);
        let mut at = 0;
        for span in &spans {
            assert!(at <= span.start && span.start < span.end && line.get(span.start..span.end).is_some());
            at = span.end;
        }
        let parsed = drain.parse(&line, *now);
        assert!(parsed.params.iter().all(|p| line.get(p.start..p.end).is_some()));
    });
}

#[test]
fn any_bytes_are_a_snapshot_or_an_error() {
    let config = Config::default();
    bolero::check!().with_iterations(5_000).with_type::<(Vec<u8>, Vec<u8>)>().for_each(|(templates, usage)| {
        let snapshot = Snapshot { templates: templates.clone(), usage: usage.clone() };
        if let Ok(drain) = Drain::restore(&config, &snapshot) {
            assert!(Drain::restore(&config, &drain.snapshot()).is_ok());
        }
    });
}

#[test]
fn a_damaged_snapshot_is_restored_or_refused_but_never_half_read() {
    let config = Config::default();
    let mut drain = Drain::new(&config).expect("valid");
    for k in 0..40 {
        drain.parse(&format!("event {} of kind {k} is over", ["up", "down", "lost"][k % 3]), 0);
    }
    let good = drain.snapshot();
    bolero::check!().with_iterations(5_000).with_type::<(bool, u16, u8)>().for_each(|&(usage, at, value)| {
        let mut bad = good.clone();
        let section = if usage { &mut bad.usage } else { &mut bad.templates };
        let at = usize::from(at) % section.len();
        section[at] = value;
        if let Ok(mut drain) = Drain::restore(&config, &bad) {
            drain.parse("event up of kind 7 is over", 0);
            assert!(Drain::restore(&config, &drain.snapshot()).is_ok());
        }
    });
}

//! The topics as they are against the table as it would make them.

use rdkafka::metadata::Metadata;

use super::{
    super::{parts, topics},
    Check, Subject,
};
use crate::{config::Backend, layout};

const STEP: &str = "topics";

/// Compares every topic of the table, with its dead letters, the cursors and the state logs.
pub(super) fn check(subject: &Subject<'_>, found: &Metadata) -> Vec<Check> {
    let specs = layout::specs(Backend::Kafka, subject.layout);
    let mut wanted: Vec<_> = specs.iter().map(|spec| topics::Wanted::of(subject.names.topic(&spec.name), spec)).collect();
    let internal = parts::internal_topics(&subject.names, &specs);
    wanted.extend(internal.iter().map(|(name, partitions)| topics::Wanted::internal(subject.names.topic(name), *partitions)));
    let (present, missing) = topics::present(found, &wanted);
    let mut checks = Vec::new();
    for (wanted, partitions) in &present {
        if let Some(wrong) = wanted.wrong_partitions(*partitions) {
            checks.push(broken(wrong));
        }
    }
    let listed: Vec<_> = present.iter().map(|(wanted, _)| *wanted).collect();
    let described = subject.client_config().create_with_context(super::Asking::default());
    let described = described.map_err(|error| super::super::client::failed("admin client", &error));
    match described.and_then(|admin| topics::describe(&admin, &listed)) {
        Ok(described) => {
            let hidden = described.iter().filter(|described| described.is_none()).count();
            for (wanted, described) in listed.iter().zip(&described) {
                for difference in described.iter().flat_map(|described| wanted.differences(described)) {
                    checks.push(if difference.is_broken { broken(difference.text) } else { chosen(difference.text) });
                }
            }
            if hidden > 0 {
                checks.push(Check::note(STEP, format!("{hidden} topics may not be described by this user (DescribeConfigs)")));
            }
        }
        Err(error) => checks.push(Check::note(STEP, format!("the topics cannot be described: {}", super::words(error)))),
    }
    if !missing.is_empty() {
        checks.push(absent(&missing, subject.bus.create_topics));
    }
    if checks.is_empty() {
        checks.push(Check::ok(STEP, format!("all {} are as the table has them", present.len())));
    }
    checks
}

/// No part would start on it.
fn broken(text: String) -> Check {
    Check::fail(STEP, "as the table of topics has it", text)
        .advised("change the topic, or [topics] in the configuration; see docs/kafka.md")
}

/// An operator may have meant it.
fn chosen(text: String) -> Check {
    Check::warn(STEP, text, "if it is meant, say so in [topics.\"<name>\"], so that every part knows; else change the topic")
}

fn absent(missing: &[&topics::Wanted], is_created: bool) -> Check {
    let names: Vec<_> = missing.iter().map(|wanted| wanted.name.as_str()).collect();
    let found = format!("{} of the table do not exist, or this user may not see them: {}", names.len(), names.join(", "));
    if is_created {
        return Check::ok(STEP, format!("{found}; the first part that starts makes them"));
    }
    Check::fail(STEP, "every topic of the table, since bus.create_topics = false", found).advised("make them; docs/kafka.md has the table")
}

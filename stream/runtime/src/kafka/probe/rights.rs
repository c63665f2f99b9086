//! What each binary needs to be allowed, against what this user is.

use std::collections::{BTreeMap, BTreeSet};

use futures_executor::block_on;
use rdkafka::{
    admin::{AdminClient, AdminOptions, NewTopic, TopicReplication},
    error::{KafkaError, RDKafkaErrorCode},
    metadata::Metadata,
    producer::{Producer, ThreadedProducer},
};
use schemas::topics::{ALERTS, DLQ_SUFFIX, TOPICS};
use stream_core::TopicName;

use super::{
    super::{
        client::{ASK, Asking, Deliveries},
        names::Names,
        parts::{self, Part},
    },
    Check, Deadline, Subject,
    operations::{self, Allowed, Operation},
};
use crate::engine::RUNTIME_SOURCE;

/// The end of the transactional ids that are tried; no replica is called so.
const TRIED: &str = "doctor";

/// What one binary needs.
#[derive(Debug, Default, PartialEq, Eq)]
struct Needs {
    topics: BTreeMap<String, BTreeSet<Operation>>,
    groups: BTreeSet<String>,
    transactional_ids: BTreeSet<String>,
}

impl Needs {
    fn of(part: &Part, names: &Names) -> Self {
        use Operation::{Describe, Read, Write};
        let mut this = Self::default();
        let mut topic = |name: &str, operation| _ = this.topics.entry(names.topic(&TopicName::new(name))).or_default().insert(operation);
        for row in TOPICS {
            topic(row.name, Describe);
            topic(&format!("{}{DLQ_SUFFIX}", row.name), Describe);
        }
        for name in &part.reads {
            topic(name, Read);
            topic(&format!("{name}{DLQ_SUFFIX}"), Write);
        }
        for name in &part.writes {
            topic(name, Write);
        }
        // Every process says what it lost, by a publisher of its own.
        topic(ALERTS, Write);
        let log = names.state_log(part.name);
        for (name, is_needed) in [(names.cursors(), true), (log, part.has_group())] {
            for operation in [Describe, Read, Write].into_iter().filter(|_| is_needed) {
                topic(name.as_str(), operation);
            }
        }
        if part.has_group() {
            this.groups.insert(names.group(part.name));
        }
        this.transactional_ids =
            [part.name.to_owned(), format!("{RUNTIME_SOURCE}-{}", part.name)].map(|part| names.transactional_id(&part, TRIED)).into();
        this
    }
}

/// What is allowed, as far as it was told.
struct Known {
    topics: BTreeMap<String, Allowed>,
    groups: BTreeMap<String, Allowed>,
    /// Why a transactional id could not be initialised.
    transactional_ids: BTreeMap<String, Option<KafkaError>>,
    /// Missing topics that may not be made.
    forbidden: BTreeSet<String>,
    /// Topics that exist.
    present: BTreeSet<String>,
}

/// One line for each binary.
pub(super) fn check(subject: &Subject<'_>, found: &Metadata) -> Vec<Check> {
    let needs: BTreeMap<_, _> = parts::all().iter().map(|part| (part.name, Needs::of(part, &subject.names))).collect();
    match ask(subject, found, needs.values()) {
        Ok(known) => needs.iter().map(|(part, needs)| judge(part, needs, &known, subject.bus.create_topics)).collect(),
        Err(error) => vec![Check::note("rights", format!("the brokers do not tell what this user may do: {error}"))],
    }
}

fn ask<'a>(subject: &Subject<'_>, found: &Metadata, needs: impl Iterator<Item = &'a Needs> + Clone) -> Result<Known, KafkaError> {
    let topics: BTreeSet<&str> = needs.clone().flat_map(|needs| needs.topics.keys().map(String::as_str)).collect();
    let groups: BTreeSet<&str> = needs.clone().flat_map(|needs| needs.groups.iter().map(String::as_str)).collect();
    let ids: BTreeSet<&String> = needs.flat_map(|needs| &needs.transactional_ids).collect();
    let present: BTreeSet<_> =
        found.topics().iter().filter(|topic| !topic.partitions().is_empty()).map(|topic| topic.name().to_owned()).collect();
    let topic_names: Vec<_> = topics.into_iter().collect();
    let wait = || subject.deadline.left(ASK);
    let topics = operations::on_topics(&subject.client, &topic_names, wait()).map_err(KafkaError::AdminOp)?;
    let groups = operations::on_groups(&subject.client, &groups.into_iter().collect::<Vec<_>>(), wait()).map_err(KafkaError::AdminOp)?;
    let transactional_ids = ids.into_iter().map(|id| (id.clone(), initialise(subject, id).err())).collect();
    let missing: Vec<_> = topic_names.into_iter().filter(|name| !present.contains(*name)).collect();
    Ok(Known { topics, groups, transactional_ids, forbidden: forbidden(subject, &missing)?, present })
}

/// Nothing tells who may use a transactional id, so one of each binary is used.
fn initialise(subject: &Subject<'_>, id: &str) -> Result<(), KafkaError> {
    let config = subject.settings.producer(&subject.names.client("probe"), id);
    let producer: ThreadedProducer<Deliveries> = config.create_with_context(Deliveries::default())?;
    let deadline = Deadline(super::now() + subject.deadline.left(ASK));
    loop {
        match producer.init_transactions(deadline.left(ASK)) {
            Err(KafkaError::Transaction(error)) if error.is_retriable() && !deadline.is_over() => std::thread::sleep(ASK / 100),
            outcome => return outcome,
        }
    }
}

/// The missing topics that this user may not make: a creation that is only checked tells.
fn forbidden(subject: &Subject<'_>, missing: &[&str]) -> Result<BTreeSet<String>, KafkaError> {
    if missing.is_empty() || !subject.bus.create_topics {
        return Ok(BTreeSet::new());
    }
    let admin: AdminClient<Asking> = subject.client_config().create_with_context(Asking::default())?;
    let topics: Vec<_> = missing.iter().map(|name| NewTopic::new(name, 1, TopicReplication::Fixed(1))).collect();
    let options = AdminOptions::new().validate_only(true).request_timeout(Some(subject.deadline.left(ASK)));
    let checked = block_on(admin.create_topics(&topics, &options))?;
    let refused = checked.into_iter().filter_map(Result::err);
    Ok(refused.filter(|(_, code)| *code == RDKafkaErrorCode::TopicAuthorizationFailed).map(|(name, _)| name).collect())
}

fn judge(part: &str, needs: &Needs, known: &Known, is_created: bool) -> Check {
    let (mut missing, mut untold) = (Vec::new(), Vec::new());
    for (name, operations) in &needs.topics {
        if known.forbidden.contains(name) {
            missing.push(format!("Create on topic {name}"));
        }
        match known.topics.get(name) {
            Some(Ok(allowed)) => {
                let lacking = operations.iter().filter(|operation| !allowed.contains(operation));
                missing.extend(lacking.map(|operation| format!("{operation:?} on topic {name}")));
            }
            Some(Err(RDKafkaErrorCode::TopicAuthorizationFailed)) => {
                missing.extend(operations.iter().map(|operation| format!("{operation:?} on topic {name}")));
            }
            Some(Err(RDKafkaErrorCode::UnknownTopicOrPartition | RDKafkaErrorCode::UnknownTopic)) if is_created => {}
            _ if known.present.contains(name) => untold.push(format!("topic {name}")),
            _ => {}
        }
    }
    for name in &needs.groups {
        match known.groups.get(name) {
            Some(Ok(allowed)) if allowed.contains(&Operation::Read) => {}
            Some(Ok(_) | Err(RDKafkaErrorCode::GroupAuthorizationFailed)) => missing.push(format!("Read on group {name}")),
            _ => untold.push(format!("group {name}")),
        }
    }
    for name in &needs.transactional_ids {
        match known.transactional_ids.get(name) {
            Some(None) => {}
            Some(Some(error)) if error.rdkafka_error_code() == Some(RDKafkaErrorCode::TransactionalIdAuthorizationFailed) => {
                missing.push(format!("Write on transactional ids {}*", name.trim_end_matches(TRIED)));
            }
            _ => untold.push(format!("transactional id {name}")),
        }
    }
    told(part, &missing, &untold)
}

fn told(part: &str, missing: &[String], untold: &[String]) -> Check {
    let step = format!("rights of {part}");
    if !missing.is_empty() {
        let advice = format!(
            "docs/kafka.md has the commands; if nephoscope-{part} has a user of its own, run this with its configuration instead (--config)"
        );
        return Check::warn(step, format!("this user lacks {}", missing.join(", ")), advice);
    }
    match untold {
        [] => Check::ok(step, format!("this user may do what nephoscope-{part} does")),
        _ => Check::note(step, format!("nothing is known to be missing, but the brokers do not tell about {}", untold.join(", "))),
    }
}

#[cfg(test)]
mod tests {
    use super::{super::Verdict, *};
    use crate::config::BusSettings;

    fn needs(part: &str) -> Needs {
        let parts = parts::all();
        let part = parts.iter().find(|known| known.name == part).expect("is in the table");
        Needs::of(part, &Names::new(&BusSettings { topic_prefix: "obs.".into(), ..BusSettings::default() }))
    }

    /// A user that may do exactly what is needed.
    fn known(needs: &Needs) -> Known {
        Known {
            topics: needs.topics.iter().map(|(name, operations)| (name.clone(), Ok(operations.iter().copied().collect()))).collect(),
            groups: needs.groups.iter().map(|name| (name.clone(), Ok(vec![Operation::Read]))).collect(),
            transactional_ids: needs.transactional_ids.iter().map(|id| (id.clone(), None)).collect(),
            forbidden: BTreeSet::new(),
            present: needs.topics.keys().cloned().collect(),
        }
    }

    #[test]
    fn a_processor_needs_its_state_its_group_and_its_dead_letters() {
        use Operation::{Describe, Read, Write};
        let needs = needs("drain");
        let on = |name: &str| needs.topics.get(name).map(|operations| operations.iter().copied().collect::<Vec<_>>());
        assert_eq!(on("obs.logs.raw.v1"), Some(vec![Read, Describe]));
        assert_eq!(on("obs.logs.raw.v1.dlq"), Some(vec![Write, Describe]));
        assert_eq!(on("obs.nephoscope.drain.state"), Some(vec![Read, Write, Describe]));
        assert_eq!(needs.groups, ["nephoscope.drain".to_owned()].into());
    }

    #[test]
    fn a_collector_needs_neither_group_nor_state() {
        let needs = needs("syslog");
        assert!(needs.groups.is_empty() && !needs.topics.keys().any(|name| name.ends_with(".state")), "{needs:?}");
        assert!(needs.topics.contains_key("obs.nephoscope.cursors"));
    }

    #[test]
    fn each_right_that_is_taken_away_is_named() {
        let needs = needs("drain");
        assert_eq!(judge("drain", &needs, &known(&needs), false).verdict, Verdict::Ok);
        let without = |mend: fn(&mut Known)| {
            let mut known = known(&needs);
            mend(&mut known);
            let check = judge("drain", &needs, &known, true);
            assert_eq!(check.verdict, Verdict::Warn);
            check.found
        };
        let found = without(|known| _ = known.topics.insert("obs.logs.parsed.v1".into(), Ok(vec![Operation::Describe])));
        assert_eq!(found, "this user lacks Write on topic obs.logs.parsed.v1");
        let found = without(|known| _ = known.groups.insert("nephoscope.drain".into(), Err(RDKafkaErrorCode::GroupAuthorizationFailed)));
        assert_eq!(found, "this user lacks Read on group nephoscope.drain");
        let found = without(|known| _ = known.forbidden.insert("obs.alerts.v1".into()));
        assert_eq!(found, "this user lacks Create on topic obs.alerts.v1");
        let found = without(|known| {
            let code = RDKafkaErrorCode::TransactionalIdAuthorizationFailed;
            _ = known.transactional_ids.insert("nephoscope.drain.doctor".into(), Some(KafkaError::Global(code)));
        });
        assert_eq!(found, "this user lacks Write on transactional ids nephoscope.drain.*");
    }

    #[test]
    fn what_is_not_told_is_not_called_fine() {
        let needs = needs("drain");
        let mut known = known(&needs);
        known.groups.clear();
        let check = judge("drain", &needs, &known, false);
        assert_eq!(check.verdict, Verdict::Note);
        assert!(check.found.contains("group nephoscope.drain"), "{}", check.found);
    }
}

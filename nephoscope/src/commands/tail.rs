//! `tail`: records as they arrive.

use std::{collections::VecDeque, ops::ControlFlow, thread, time::Duration};

use schemas::topics;

use crate::{
    cli::Tail,
    origin::{Origin, Topic, is_away},
    output::{Output, note},
    record::Record,
    redact::Redactor,
};

/// Where a filter leaves gaps, this many records are looked through for the last N that match.
const LOOK_BACK: u64 = 10_000;
/// How long one request waits for a record of a single partition: below the API's limit of 30 s.
const WAIT: Duration = Duration::from_secs(25);
/// With several partitions they are asked in turn, so that none waits for another for long.
const WAIT_IN_TURN: Duration = Duration::from_millis(250);
/// How often an instance that went away is looked for.
const RETRY: Duration = Duration::from_secs(1);
/// Records of one request while following.
const BATCH: usize = 500;

/// The topic that a person means.
fn topic_name(word: &str) -> &str {
    match word {
        "logs" => topics::LOGS_RAW,
        "alerts" => topics::ALERTS,
        "incidents" => topics::INCIDENTS,
        "templates" => topics::LOGS_TEMPLATES,
        name => name,
    }
}

/// Prints the last records, then those that come.
pub fn run(args: &Tail, origin: &Origin, redactor: &Redactor, out: &mut Output) -> anyhow::Result<()> {
    let topic = origin.topic(topic_name(&args.topic))?;
    for record in last(args, origin, &topic)? {
        print(record, redactor, out)?;
    }
    match (args.no_follow, origin.is_live()) {
        (true, _) => Ok(()),
        (false, true) => follow(args, origin, &topic, redactor, out),
        (false, false) => {
            note("nothing more can come while no instance runs");
            Ok(())
        }
    }
}

/// The last records that match, of all partitions, in order of time.
fn last(args: &Tail, origin: &Origin, topic: &Topic) -> anyhow::Result<Vec<Record>> {
    let count = args.last as usize;
    let is_filtered = args.host.is_some() || args.grep.is_some();
    let back = if is_filtered { LOOK_BACK.max(args.last.into()) } else { args.last.into() };
    let mut all = Vec::new();
    for part in topic.partitions.iter().filter(|_| count > 0) {
        let mut found = VecDeque::with_capacity(count.min(BATCH));
        origin.scan(&topic.name, part, part.next.saturating_sub(back), |record| {
            if matches(args, &record) {
                if found.len() == count {
                    found.pop_front();
                }
                found.push_back(record);
            }
            Ok(ControlFlow::Continue(()))
        })?;
        all.extend(found);
    }
    all.sort_by_key(|record| record.appended_at);
    Ok(all.split_off(all.len().saturating_sub(count)))
}

fn follow(args: &Tail, origin: &Origin, topic: &Topic, redactor: &Redactor, out: &mut Output) -> anyhow::Result<()> {
    let mut positions: Vec<(u32, u64)> = topic.partitions.iter().map(|part| (part.partition, part.next)).collect();
    let wait = if positions.len() == 1 { WAIT } else { WAIT_IN_TURN };
    loop {
        for index in 0..positions.len() {
            let (partition, position) = positions[index];
            let records = match origin.read(&topic.name, partition, position, BATCH, wait) {
                Ok(records) => records,
                Err(error) if is_away(&error) => {
                    wait_for_return(origin, &topic.name, &mut positions)?;
                    continue;
                }
                Err(error) => return Err(error),
            };
            for record in records {
                positions[index].1 = record.offset + 1;
                if matches(args, &record) {
                    print(record, redactor, out)?;
                }
            }
        }
    }
}

/// Waits for an instance that went away. If it comes back with another store, that is read from its beginning.
fn wait_for_return(origin: &Origin, topic: &str, positions: &mut [(u32, u64)]) -> anyhow::Result<()> {
    note("the instance went away; waiting for it to come back");
    let topic = loop {
        thread::sleep(RETRY);
        match origin.topic(topic) {
            Ok(topic) => break topic,
            Err(error) if is_away(&error) => {}
            Err(error) => return Err(error),
        }
    };
    note("the instance is back");
    for (partition, position) in positions {
        let part = topic.partitions.iter().find(|part| part.partition == *partition);
        if let Some(part) = part.filter(|part| part.next < *position) {
            note(format!("partition {partition} ends at {}, before what was read up to {position}: its store is another one", part.next));
            *position = part.start;
        }
    }
    Ok(())
}

fn matches(args: &Tail, record: &Record) -> bool {
    let is_of_host = args.host.as_deref().is_none_or(|host| record.is_of_host(host));
    is_of_host && args.grep.as_deref().is_none_or(|text| contains(record, text))
}

/// Whether what is shown of it, or its value, contains the text, in any case.
fn contains(record: &Record, text: &str) -> bool {
    let text = text.to_lowercase();
    let has = |shown: &str| shown.to_lowercase().contains(&text);
    let line = record.line();
    has(&anstream::adapter::strip_str(&line).to_string()) || record.value.as_ref().is_some_and(|value| has(&value.to_string()))
}

fn print(mut record: Record, redactor: &Redactor, out: &mut Output) -> std::io::Result<()> {
    redactor.record(&mut record);
    if out.is_json() { out.json_line(&record) } else { out.line(record.line()) }
}

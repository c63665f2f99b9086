//! `dlq list`, `show` and `replay`: records that a part could not read.

use std::{cmp::Reverse, str::FromStr, time::Duration};

use anyhow::{Context, bail};
use schemas::{EventTime, topics::DLQ_SUFFIX};
use serde::{Deserialize, Serialize};
use stream_runtime::time::wall_clock;

use crate::{
    cli::{DlqFilter, DlqReplay, DlqShow},
    client::encoded,
    moment::ago,
    origin::Origin,
    output::{BAD, Cell, FAINT, GOOD, HEAD, Output, Table, WARN, bytes, count, plain, styled},
    record::Record,
    redact::Redactor,
};

/// Letters of one request (the API's own limit).
const PAGE_MAX: u64 = 1_000;
/// Refusals that are told one by one.
const REFUSALS_TOLD: usize = 20;

/// Names a dead letter: `<topic>/<partition>/<offset>`, with or without `.dlq` behind the topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Letter {
    topic: String,
    partition: u32,
    offset: u64,
}

impl FromStr for Letter {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let expected = || "expected TOPIC/PARTITION/OFFSET, e.g. logs.raw.v1/0/17".to_string();
        let mut parts = text.splitn(3, '/');
        let (topic, partition, offset) = (parts.next(), parts.next(), parts.next());
        let topic = topic.filter(|topic| !topic.is_empty()).ok_or_else(expected)?;
        let partition = partition.and_then(|number| number.parse().ok()).ok_or_else(expected)?;
        let offset = offset.and_then(|number| number.parse().ok()).ok_or_else(expected)?;
        Ok(Self { topic: letters_of(topic), partition, offset })
    }
}

/// The topic of a topic's dead letters.
fn letters_of(topic: &str) -> String {
    if topic.ends_with(DLQ_SUFFIX) { topic.into() } else { format!("{topic}{DLQ_SUFFIX}") }
}

/// Lists dead letters of all topics, or of one.
pub fn list(args: &DlqFilter, origin: &Origin, redactor: &Redactor, out: &mut Output) -> anyhow::Result<()> {
    let topics = match &args.topic {
        Some(topic) => vec![origin.topic(&letters_of(topic))?],
        None => origin.topics()?.into_iter().filter(|topic| topic.name.ends_with(DLQ_SUFFIX)).collect(),
    };
    let mut letters: Vec<Record> = Vec::new();
    for topic in &topics {
        origin.scan_since(topic, args.since, |record| {
            if args.reason.as_deref().is_none_or(|reason| record.header("dlq.reason") == Some(reason)) {
                letters.push(record);
            }
            // Twice the limit at most is held: the newest are wanted, and each partition comes oldest first.
            if letters.len() > args.limit.saturating_mul(2) {
                keep_newest(&mut letters, args.limit);
            }
            Ok(())
        })?;
    }
    keep_newest(&mut letters, args.limit);
    letters.iter_mut().for_each(|letter| redactor.record(letter));
    letters.reverse();
    if out.is_json() {
        return Ok(out.document(&letters)?);
    }
    if letters.is_empty() {
        return Ok(out.line(styled(GOOD, "no dead letters"))?);
    }
    let now = wall_clock();
    let mut table = Table::new(&["LETTER", "WHEN", "KEY", "BY", "REASON", ">REPLAYED", "DETAIL"]);
    for letter in &letters {
        let header = |name| letter.header(name).map_or_else(|| "-".into(), plain);
        table.row([
            format!("{}/{}/{}", plain(letter.topic.trim_end_matches(DLQ_SUFFIX)), letter.partition, letter.offset).into(),
            ago(letter.appended_at, now).into(),
            letter.key.as_deref().map_or_else(|| "-".into(), plain).into(),
            header("dlq.processor").into(),
            Cell::styled(WARN, header("dlq.reason")),
            letter.header("orig.dlq.replayed").map_or_else(|| "-".into(), plain).into(),
            header("dlq.detail").into(),
        ]);
    }
    Ok(out.table(&table)?)
}

fn keep_newest(letters: &mut Vec<Record>, limit: usize) {
    letters.sort_by_key(|letter| Reverse((letter.appended_at, letter.offset)));
    letters.truncate(limit);
}

/// Shows one dead letter whole.
pub fn show(args: &DlqShow, origin: &Origin, redactor: &Redactor, out: &mut Output) -> anyhow::Result<()> {
    let Letter { topic, partition, offset } = &args.letter;
    let found = origin.topic(topic)?;
    if !found.partitions.iter().any(|part| part.partition == *partition) {
        bail!("{topic} has no partition {partition}; it has {}", found.partitions.len());
    }
    let letter = origin.read(topic, *partition, *offset, 1, Duration::ZERO)?.into_iter().find(|letter| letter.offset == *offset);
    let Some(mut letter) = letter else {
        bail!("{topic}/{partition} has no record at {offset}; `nephoscope dlq list` shows those there are")
    };
    redactor.record(&mut letter);
    if out.is_json() {
        return Ok(out.document(&letter)?);
    }
    let mut table = Table::new(&["", ""]);
    table.row([Cell::styled(FAINT, "key"), letter.key.as_deref().map_or_else(|| "-".into(), plain).into()]);
    for header in &letter.headers {
        let value = header.value.as_deref().or(header.value_base64.as_deref()).map_or_else(|| "-".into(), plain);
        let style = if header.name == "dlq.reason" || header.name == "dlq.detail" { WARN } else { FAINT };
        table.row([Cell::styled(style, plain(&header.name)), value.into()]);
    }
    out.rows(&table)?;
    out.line("")?;
    match (&letter.value, &letter.value_base64) {
        (Some(value), _) => {
            out.line(styled(HEAD, format!("Value ({})", letter.subject.as_deref().unwrap_or("JSON"))))?;
            for line in serde_json::to_string_pretty(value)?.lines() {
                out.line(plain(line))?;
            }
        }
        (None, Some(base64)) => {
            let size = bytes(base64.len() as u64 / 4 * 3);
            out.line(styled(HEAD, format!("Value (about {size} that cannot be decoded, base64)")))?;
            out.line(plain(base64))?;
        }
        (None, None) => out.line(styled(HEAD, "No value"))?,
    }
    Ok(())
}

/// What the API says about one page of a replay.
#[derive(Debug, Deserialize)]
struct Page {
    replayed: u64,
    refused: Vec<Refusal>,
    next: u64,
}

#[derive(Debug, Serialize, Deserialize)]
struct Refusal {
    offset: u64,
    why: String,
}

/// What became of the letters of one partition.
#[derive(Debug, Serialize)]
struct Part {
    partition: u32,
    replayed: u64,
    refused: Vec<Refusal>,
}

/// Publishes dead letters to their topic again: those that are there now, since a letter that is rejected once more becomes a
/// new one.
pub fn replay(args: &DlqReplay, origin: &Origin, out: &mut Output) -> anyhow::Result<()> {
    let client = origin.instance("replaying dead letters")?;
    let topic = origin.topic(&letters_of(&args.topic))?;
    let path = format!("/api/dlq/{}/replay", encoded(&topic.name));
    let since = args.since.map(|since: EventTime| since.to_string());
    let mut left = args.limit.unwrap_or(u64::MAX);
    let mut parts = Vec::new();
    for place in topic.partitions.iter().filter(|place| place.next > place.start) {
        let mut part = Part { partition: place.partition, replayed: 0, refused: Vec::new() };
        let mut from = place.start;
        while from < place.next && left > 0 {
            let selection = serde_json::json!({"partition": place.partition, "from": from, "until": place.next, "reason": args.reason,
                "since": since, "limit": left.min(PAGE_MAX)});
            let page: Page = client.post(&path, &selection).with_context(|| {
                format!("stopped before {}/{from}; {} letters of this partition were replayed", place.partition, part.replayed)
            })?;
            if page.next <= from {
                bail!("{} answered a replay from {from} with {}, which is no progress", client.endpoint(), page.next);
            }
            part.replayed += page.replayed;
            part.refused.extend(page.refused);
            left = left.saturating_sub(page.replayed);
            from = page.next;
        }
        parts.push(part);
    }
    if out.is_json() {
        return Ok(out.document(&parts)?);
    }
    let replayed: u64 = parts.iter().map(|part| part.replayed).sum();
    out.line(format!("{} dead letters of {} replayed", count(replayed), plain(args.topic.trim_end_matches(DLQ_SUFFIX))))?;
    let refusals = || parts.iter().flat_map(|part| part.refused.iter().map(|refusal| (part.partition, refusal)));
    for (partition, Refusal { offset, why }) in refusals().take(REFUSALS_TOLD) {
        out.line(format!("{} {partition}/{offset}: {}", styled(BAD, "refused"), plain(why)))?;
    }
    if let more @ 1.. = refusals().count().saturating_sub(REFUSALS_TOLD) {
        out.line(styled(FAINT, format!("{} more were refused; --json names them all", count(more as u64))))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_letter_is_named_with_or_without_its_suffix() {
        let letter = Letter { topic: "logs.raw.v1.dlq".into(), partition: 3, offset: 17 };
        assert_eq!("logs.raw.v1/3/17".parse(), Ok(letter.clone()));
        assert_eq!("logs.raw.v1.dlq/3/17".parse(), Ok(letter));
        for text in ["", "a", "a/1", "a/b/1", "a/1/b", "/1/2", "a/1/2/3"] {
            assert!(text.parse::<Letter>().is_err(), "{text}");
        }
    }
}

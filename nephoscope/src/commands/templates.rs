//! `templates list`: what kinds of log lines there are, how often they come, and how they changed.

use std::{cmp::Reverse, collections::BTreeMap};

use schemas::{EventTime, ParsedLog, TemplateRecord, topics};
use serde::Serialize;
use stream_runtime::time::wall_clock;

use crate::{
    cli::TemplatesList,
    moment::{ago, local},
    origin::Origin,
    output::{Cell, FAINT, HEAD, Output, Table, count, plain, styled},
    redact::Redactor,
};

/// How far parsed lines are read if nothing is said.
const SINCE_DEFAULT_MS: i64 = 3_600_000;
/// Template id of lines that match none.
const UNKNOWN_ID: &str = "0000000000000000";

/// A template and how often it came.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Row {
    template_id: String,
    template: String,
    version: i32,
    count: i64,
    first_seen: EventTime,
    last_seen: EventTime,
}

/// A change of a template, and the line that caused it.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Event {
    at: EventTime,
    host: String,
    kind: schemas::ChangeKind,
    template_id: String,
    template: String,
    from: Vec<String>,
}

/// Lists templates, or with `--events` what happened to them.
pub fn list(args: &TemplatesList, origin: &Origin, redactor: &Redactor, out: &mut Output) -> anyhow::Result<()> {
    if args.events {
        let mut events = events(args, origin)?;
        events.iter_mut().for_each(|event| redactor.string(&mut event.template));
        return print_events(&events, args.limit, out);
    }
    let is_table = args.host.is_none() && args.since.is_none();
    let mut rows = if is_table { of_table(origin)? } else { of_lines(args.host.as_deref(), args.since, origin)? };
    rows.sort_by(|a, b| (b.count, &a.template_id).cmp(&(a.count, &b.template_id)));
    let total = rows.len();
    rows.truncate(args.limit);
    rows.iter_mut().for_each(|row| redactor.string(&mut row.template));
    if out.is_json() {
        return Ok(out.document(&rows)?);
    }
    if rows.is_empty() {
        let why = if is_table { "no templates yet: nothing has been read, or `drain` does not run" } else { "no such lines in that time" };
        return Ok(out.line(why)?);
    }
    let now = wall_clock();
    let mut table = Table::new(&["TEMPLATE ID", ">LINES", "LAST", "TEMPLATE"]);
    for row in &rows {
        table.row([
            Cell::styled(FAINT, plain(&row.template_id)),
            count(row.count.unsigned_abs()).into(),
            ago(row.last_seen, now).into(),
            plain(&row.template).into(),
        ]);
    }
    out.table(&table)?;
    if is_table && out.is_terminal() {
        out.line(styled(FAINT, "counts as drain last published them, ten minutes old at most; --since 1h counts lines"))?;
    }
    if total > rows.len() {
        out.line(styled(FAINT, format!("{} more; --limit {total} shows them all", total - rows.len())))?;
    }
    Ok(())
}

/// The table that drain keeps: the last word on each template that is still in use.
fn of_table(origin: &Origin) -> anyhow::Result<Vec<Row>> {
    let mut last: BTreeMap<String, Option<TemplateRecord>> = BTreeMap::new();
    origin.scan_since(&origin.topic(topics::LOGS_TEMPLATES)?, None, |record| {
        if let Some(key) = record.key.clone() {
            last.insert(key, record.value_as());
        }
        Ok(())
    })?;
    let is_used = |record: &TemplateRecord| record.superseded_by.is_none() && record.change.kind != schemas::ChangeKind::Evicted;
    let row = |record: TemplateRecord| Row {
        template_id: record.template_id,
        template: record.template,
        version: record.version,
        count: record.count,
        first_seen: EventTime::from_micros(record.first_seen),
        last_seen: EventTime::from_micros(record.last_seen),
    };
    Ok(last.into_values().flatten().filter(is_used).map(row).collect())
}

/// Counted from the parsed lines, of one host or all.
fn of_lines(host: Option<&str>, since: Option<EventTime>, origin: &Origin) -> anyhow::Result<Vec<Row>> {
    let mut rows: BTreeMap<String, Row> = BTreeMap::new();
    scan_parsed(host, since, origin, |parsed| {
        let at = EventTime::from_micros(parsed.event_time);
        let row = rows.entry(parsed.template_id.clone()).or_insert_with(|| Row {
            template: if parsed.template_id == UNKNOWN_ID { "(matches no template)".into() } else { parsed.template.clone() },
            template_id: parsed.template_id,
            version: parsed.template_version,
            count: 0,
            first_seen: at,
            last_seen: at,
        });
        row.count += 1;
        (row.first_seen, row.last_seen) = (row.first_seen.min(at), row.last_seen.max(at));
    })?;
    Ok(rows.into_values().collect())
}

fn events(args: &TemplatesList, origin: &Origin) -> anyhow::Result<Vec<Event>> {
    let mut events = Vec::new();
    scan_parsed(args.host.as_deref(), args.since, origin, |parsed| {
        let Some(change) = parsed.change else { return };
        events.push(Event {
            at: EventTime::from_micros(parsed.event_time),
            host: parsed.host,
            kind: change.kind,
            template_id: parsed.template_id,
            template: parsed.template,
            from: change.from,
        });
    })?;
    // The newest, in order of time.
    events.sort_by_key(|event| Reverse(event.at));
    events.truncate(args.limit);
    events.reverse();
    Ok(events)
}

fn print_events(events: &[Event], limit: usize, out: &mut Output) -> anyhow::Result<()> {
    if out.is_json() {
        return Ok(out.document(&events)?);
    }
    if events.is_empty() {
        return Ok(out.line("no template changed; --since reaches further back")?);
    }
    for event in events {
        let kind = styled(HEAD, format!("{:<11}", format!("{:?}", event.kind).to_lowercase()));
        let from = if event.from.is_empty() { String::new() } else { styled(FAINT, format!(" from {}", plain(&event.from.join(", ")))) };
        let (time, id) = (styled(FAINT, local(event.at)), styled(FAINT, plain(&event.template_id)));
        out.line(format!("{time} {} {kind} {id} {}{from}", plain(&event.host), plain(&event.template)))?;
    }
    if events.len() == limit {
        out.line(styled(FAINT, "the newest; --limit shows more"))?;
    }
    Ok(())
}

fn scan_parsed(host: Option<&str>, since: Option<EventTime>, origin: &Origin, mut visit: impl FnMut(ParsedLog)) -> anyhow::Result<()> {
    let since = since.unwrap_or_else(|| wall_clock().plus_millis(-SINCE_DEFAULT_MS));
    origin.scan_since(&origin.topic(topics::LOGS_PARSED)?, Some(since), |record| {
        if let Some(parsed) = record.value_as::<ParsedLog>()
            && host.is_none_or(|host| parsed.host.eq_ignore_ascii_case(host))
            // Lines of the past that were read at the first start are stored now, but are of then.
            && EventTime::from_micros(parsed.event_time) >= since
        {
            visit(parsed);
        }
        Ok(())
    })
}

//! `status`: what runs, how fast, how far behind, what was rejected or lost, and what is not seen.

use std::{collections::BTreeMap, process::ExitCode, thread, time::Duration};

use anstyle::Style;
use schemas::EventTime;
use serde::Deserialize;
use serde_json::Value;
use stream_runtime::time::wall_clock;

use crate::{
    cli::{Global, Status},
    client::{Client, ClientError},
    commands::topics,
    moment::{ago, span},
    origin::{Origin, client, is_away, window},
    output::{BAD, Cell, FAINT, GOOD, HEAD, Output, PLAIN, Table, WARN, bytes, count, plain, styled},
};

const WATCH_PERIOD: Duration = Duration::from_secs(2);

/// What the API tells about the process.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct View {
    version: String,
    uptime_seconds: u64,
    ready: bool,
    rss_bytes: Option<u64>,
    disk: Disk,
    stages: Vec<Stage>,
    losses: Vec<Loss>,
    #[serde(default)]
    sources: Vec<Source>,
}

#[derive(Debug, Deserialize)]
struct Groups {
    groups: Vec<Group>,
}

/// How far a processor has come in a partition.
#[derive(Debug, Deserialize)]
struct Group {
    processor: String,
    topic: String,
    partition: u32,
    position: u64,
    end: u64,
    lag: u64,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Disk {
    topics_bytes: u64,
    free_bytes: Option<u64>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Stage {
    name: String,
    state: String,
    why: Option<String>,
    records: u64,
    records_per_second: f64,
    emitted: BTreeMap<String, u64>,
    rejects: BTreeMap<String, u64>,
    late: u64,
    lag: u64,
    watermark_seconds: Option<i64>,
    state_bytes: u64,
}

#[derive(Debug, Deserialize)]
struct Loss {
    component: String,
    topic: String,
    cause: String,
    count: u64,
}

#[derive(Debug, Deserialize)]
struct Source {
    name: String,
    kind: String,
    state: String,
    reason: String,
    last_seen: Option<i64>,
    records: u64,
    drops: u64,
    #[serde(default)]
    truncated: u64,
    /// Connections, by cause.
    #[serde(default)]
    refusals: BTreeMap<String, u64>,
}

/// Shows the status once, or again and again. Fails if nothing runs or a stage has stopped.
pub fn run(args: &Status, global: &Global, out: &mut Output) -> anyhow::Result<ExitCode> {
    if let Some(window) = window(global)? {
        return show_cluster(&window.client, args, out);
    }
    let client = client(global)?;
    loop {
        match look(&client) {
            Ok(found) => {
                let code = show(&found, args.watch, out)?;
                if !args.watch {
                    return Ok(code);
                }
            }
            Err(error) if args.watch && is_away(&error) => {
                out.clear_screen()?;
                out.line(styled(WARN, plain(&error.to_string())))?;
            }
            Err(error) if error.downcast_ref::<ClientError>().is_some_and(ClientError::is_absent) && global.address.is_none() => {
                return show_store(global, out);
            }
            Err(error) => return Err(error),
        }
        thread::sleep(WATCH_PERIOD);
    }
}

/// The document of the API, with the sources in it.
fn look(client: &Client) -> anyhow::Result<Value> {
    let mut status: Value = client.get("/api/status", Duration::ZERO)?;
    match client.get::<Value>("/api/sources", Duration::ZERO) {
        Ok(mut sources) => status["sources"] = sources["sources"].take(),
        // A process without collectors has no such route.
        Err(error) if error.status() == Some(404) => {}
        Err(error) => return Err(error.into()),
    }
    Ok(status)
}

fn show(found: &Value, is_repeated: bool, out: &mut Output) -> anyhow::Result<ExitCode> {
    let view = View::deserialize(found)?;
    let has_stopped = view.stages.iter().any(|stage| stage.state == "stopped");
    if out.is_json() && is_repeated {
        out.json_line(found)?;
    } else if out.is_json() {
        out.document(found)?;
    } else {
        if is_repeated {
            out.clear_screen()?;
        }
        print(&view, out)?;
    }
    Ok(if has_stopped { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

fn print(view: &View, out: &mut Output) -> anyhow::Result<()> {
    let now = wall_clock();
    let ready = if view.ready { styled(GOOD, "ready") } else { styled(BAD, "not ready") };
    let memory = view.rss_bytes.map_or_else(String::new, |rss| format!(", memory {}", bytes(rss)));
    let free = view.disk.free_bytes.map_or_else(String::new, |free| format!(" ({} free)", bytes(free)));
    let (uptime, disk) = (span(i64::try_from(view.uptime_seconds).unwrap_or(i64::MAX)), bytes(view.disk.topics_bytes));
    out.line(format!("nephoscope {}: {ready}, up {uptime}{memory}, disk {disk}{free}", plain(&view.version)))?;
    out.line("")?;
    print_stages(&view.stages, now, out)?;
    print_sources(&view.sources, now, out)?;
    if view.losses.is_empty() {
        return Ok(out.line(styled(GOOD, "nothing was lost"))?);
    }
    out.line(styled(BAD, "LOST"))?;
    let mut table = Table::new(&[">COUNT", "OF", "BY", "CAUSE"]);
    for loss in &view.losses {
        table.row([count(loss.count).into(), plain(&loss.topic).into(), plain(&loss.component).into(), plain(&loss.cause).into()]);
    }
    Ok(out.table(&table)?)
}

fn print_stages(stages: &[Stage], now: EventTime, out: &mut Output) -> anyhow::Result<()> {
    let mut table = Table::new(&["STAGE", "STATE", ">/S", ">RECORDS", ">LAG", ">REJECTS", ">LATE", "WATERMARK", ">MEMORY", "WRITES"]);
    for stage in stages {
        let style = state_style(&stage.state);
        let rejects = stage.rejects.values().sum();
        let watermark = stage.watermark_seconds.map_or_else(|| "-".into(), |seconds| ago(EventTime::from_millis(seconds * 1_000), now));
        let writes: Vec<_> = stage.emitted.iter().map(|(topic, records)| format!("{} {}", count(*records), plain(topic))).collect();
        table.row([
            Cell::styled(HEAD, plain(&stage.name)),
            Cell::styled(style, plain(&stage.state)),
            format!("{:.1}", stage.records_per_second).into(),
            count(stage.records).into(),
            count(stage.lag).into(),
            Cell::styled(if rejects > 0 { WARN } else { PLAIN }, count(rejects)),
            count(stage.late).into(),
            watermark.into(),
            bytes(stage.state_bytes).into(),
            Cell::styled(FAINT, writes.join(", ")),
        ]);
    }
    if table.is_empty() {
        out.line("no stages run")?;
    } else {
        out.table(&table)?;
    }
    for stage in stages {
        if let Some(why) = &stage.why {
            out.line(styled(state_style(&stage.state), format!("{} is {}: {}", plain(&stage.name), plain(&stage.state), plain(why))))?;
        }
        if !stage.rejects.is_empty() {
            let reasons: Vec<_> = stage.rejects.iter().map(|(reason, records)| format!("{} {}", count(*records), plain(reason))).collect();
            out.line(styled(WARN, format!("{} rejected {}; `nephoscope dlq list` shows them", plain(&stage.name), reasons.join(", "))))?;
        }
    }
    Ok(out.line("")?)
}

fn print_sources(sources: &[Source], now: EventTime, out: &mut Output) -> anyhow::Result<()> {
    let (blind, seen): (Vec<_>, Vec<_>) = sources.iter().partition(|source| source.state == "blind");
    let mut table = Table::new(&["SOURCE", "KIND", "STATE", ">LINES", "LAST", ">LOST", "NOTE"]);
    for source in &seen {
        let last = source.last_seen.map_or_else(|| "never".into(), |micros| ago(EventTime::from_micros(micros), now));
        table.row([
            Cell::styled(HEAD, plain(&source.name)),
            plain(&source.kind).to_lowercase().into(),
            Cell::styled(state_style(&source.state), plain(&source.state)),
            count(source.records).into(),
            last.into(),
            Cell::styled(if source.drops > 0 { BAD } else { PLAIN }, count(source.drops)),
            Cell::styled(FAINT, plain(&source.reason)),
        ]);
    }
    if !table.is_empty() {
        out.table(&table)?;
        print_refusals(&seen, out)?;
        out.line("")?;
    }
    if !blind.is_empty() {
        out.line(styled(WARN, "NOT SEEN"))?;
        for source in &blind {
            out.line(format!("{} ({}): {}", plain(&source.name), plain(&source.kind).to_lowercase(), plain(&source.reason)))?;
        }
        out.line("")?;
    }
    Ok(())
}

/// Who was not let in, or sent home, and what was cut: by the name of the limit or the fault, which is its name in the metrics too.
fn print_refusals(sources: &[&Source], out: &mut Output) -> anyhow::Result<()> {
    for source in sources {
        let name = plain(&source.name);
        if !source.refusals.is_empty() {
            let causes: Vec<_> = source.refusals.iter().map(|(cause, times)| format!("{} {}", count(*times), plain(cause))).collect();
            out.line(styled(WARN, format!("{name} refused or ended connections: {}", causes.join(", "))))?;
        }
        if source.truncated > 0 {
            out.line(styled(WARN, format!("{name} cut {} lines to message_bytes_max", count(source.truncated))))?;
        }
    }
    Ok(())
}

fn state_style(state: &str) -> Style {
    match state {
        "running" | "watching" => GOOD,
        "stopped" => BAD,
        _ => WARN,
    }
}

/// How far each processor has come in a cluster, whoever runs it: no instance of ours can be asked.
fn show_cluster(client: &Client, args: &Status, out: &mut Output) -> anyhow::Result<ExitCode> {
    loop {
        let found: Value = client.get("/api/groups", Duration::ZERO)?;
        let groups = Groups::deserialize(&found)?.groups;
        match (out.is_json(), args.watch) {
            (true, true) => out.json_line(&found)?,
            (true, false) => out.document(&found)?,
            (false, is_repeated) => {
                if is_repeated {
                    out.clear_screen()?;
                }
                print_groups(&groups, out)?;
            }
        }
        if !args.watch {
            return Ok(ExitCode::SUCCESS);
        }
        thread::sleep(WATCH_PERIOD);
    }
}

fn print_groups(groups: &[Group], out: &mut Output) -> anyhow::Result<()> {
    let mut table = Table::new(&["PROCESSOR", "INPUT", ">PARTITION", ">POSITION", ">END", ">LAG"]);
    for group in groups {
        table.row([
            Cell::styled(HEAD, plain(&group.processor)),
            plain(&group.topic).into(),
            group.partition.to_string().into(),
            count(group.position).into(),
            count(group.end).into(),
            count(group.lag).into(),
        ]);
    }
    if table.is_empty() { Ok(out.line("no processor has committed anything yet")?) } else { Ok(out.table(&table)?) }
}

/// What is left of an instance that does not run. That it does not run is a failure.
fn show_store(global: &Global, out: &mut Output) -> anyhow::Result<ExitCode> {
    let origin = Origin::open(global)?;
    if out.is_json() {
        out.document(&serde_json::json!({"running": false, "topics": origin.topics()?}))?;
    } else {
        topics::run(&origin, out)?;
    }
    Ok(ExitCode::FAILURE)
}

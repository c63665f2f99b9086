//! `notify list`, `test` and `explain`: where alerts are told, and which go where.

use std::{collections::BTreeMap, process::ExitCode, time::Duration};

use anyhow::{Context, bail};
use notifier::{Routes, Standing, Step, Trial};
use schemas::{Silence, topics};
use serde::{Deserialize, Serialize};
use stream_runtime::time::wall_clock;

use super::{alerts, silence::silences};
use crate::{
    cli::{Global, NotifyExplain, NotifyTest},
    client::{Client, encoded},
    moment::ago,
    origin::{Origin, client},
    output::{BAD, Cell, FAINT, GOOD, HEAD, Output, Table, count, note, plain, styled},
    redact::Redactor,
    up::Configuration,
};

#[derive(Debug, Deserialize)]
struct Destinations {
    destinations: BTreeMap<String, Standing>,
}

/// How each destination stands, as its instance says.
pub(super) fn standings(origin: &Origin) -> anyhow::Result<BTreeMap<String, Standing>> {
    let found: Destinations = origin.instance("looking at destinations")?.get("/api/notify", Duration::ZERO)?;
    Ok(found.destinations)
}

/// Lists the destinations.
pub fn list(origin: &Origin, out: &mut Output) -> anyhow::Result<()> {
    let standings = standings(origin)?;
    if out.is_json() {
        return Ok(out.document(&standings)?);
    }
    if standings.is_empty() {
        return Ok(out.line("no destinations; [notifier] of the configuration names them")?);
    }
    let now = wall_clock();
    let mut table =
        Table::new(&["DESTINATION", "KIND", ">TOLD", ">WAITING", ">SILENCED", ">INHIBITED", ">FOLDED", ">REFUSED", "LAST", "TROUBLE"]);
    for (name, standing) in &standings {
        table.row([
            plain(name).into(),
            plain(&standing.kind).into(),
            count(standing.alerts).into(),
            count(standing.waiting).into(),
            count(standing.silenced.values().sum()).into(),
            count(standing.inhibited).into(),
            count(standing.folded).into(),
            count(standing.refused).into(),
            standing.last_delivered.map_or_else(|| "-".into(), |at| ago(at, now)).into(),
            standing.trouble.as_deref().map_or_else(|| Cell::styled(GOOD, "none"), |why| Cell::styled(BAD, plain(why))),
        ]);
    }
    Ok(out.table(&table)?)
}

/// Sends a synthetic alert: from the running instance, else from here.
pub fn test(args: &NotifyTest, global: &Global, out: &mut Output) -> anyhow::Result<ExitCode> {
    let client = client(global)?;
    let is_running = global.address.is_some() || client.fetch("/livez").is_ok();
    let trial = if is_running { asked(&client, &args.destination)? } else { tried(global, &args.destination)? };
    if out.is_json() {
        out.document(&trial)?;
    } else if trial.delivered {
        out.line(format!("{} {} took it after {} ms", styled(GOOD, "ok"), plain(&trial.destination), trial.took_ms))?;
    } else {
        let why = trial.why.as_deref().unwrap_or("no reason given");
        out.line(format!("{} {} did not take it: {}", styled(BAD, "failed"), plain(&trial.destination), plain(why)))?;
    }
    Ok(if trial.delivered { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn asked(client: &Client, destination: &str) -> anyhow::Result<Trial> {
    Ok(client.post(&format!("/api/notify/{}/trial", encoded(destination)), &serde_json::json!({}))?)
}

fn tried(global: &Global, destination: &str) -> anyhow::Result<Trial> {
    note("no instance runs here; this command sends it itself");
    let Configuration { notifier, .. } = Configuration::read(global)?;
    Trial::run(&notifier, destination).map_err(anyhow::Error::msg)
}

/// What becomes of an alert.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Explained {
    fingerprint: String,
    name: String,
    routes: Vec<Step>,
    destinations: Vec<String>,
    silenced_by: Option<Silence>,
}

/// Says which route takes an alert, and why.
pub fn explain(args: &NotifyExplain, global: &Global, origin: &Origin, redactor: &Redactor, out: &mut Output) -> anyhow::Result<()> {
    let (alert, _) = alerts::find(&args.alert, origin, redactor, &origin.topic(topics::ALERTS)?)?;
    let config = match origin {
        Origin::Instance(client) => {
            let mut whole: serde_json::Value = client.get("/config", Duration::ZERO)?;
            let section = whole.get_mut(notifier::SECTION).map(serde_json::Value::take);
            let Some(section) = section else { bail!("{} has no [notifier]; is it of another version?", client.endpoint()) };
            serde_json::from_value(section).context("its [notifier] has a shape that this version does not know")?
        }
        Origin::Store(_) | Origin::Cluster(_) => Configuration::read(global)?.notifier,
    };
    let (routes, now) = (Routes::new(&config)?, wall_clock());
    let mut over = notifier::Silences::default();
    for silence in silences(origin)? {
        over.apply(Some(silence.id.as_bytes()), Some(&serde_json::to_vec(&silence)?)).map_err(anyhow::Error::from)?;
    }
    let explained = Explained {
        fingerprint: alert.fingerprint.clone(),
        name: alert.name.clone(),
        routes: routes.explain(&alert, now),
        destinations: routes.destinations(&alert, now).into_iter().map(String::from).collect(),
        silenced_by: over.over(&alert, now).cloned(),
    };
    if out.is_json() { Ok(out.document(&explained)?) } else { print(&explained, out) }
}

fn print(explained: &Explained, out: &mut Output) -> anyhow::Result<()> {
    out.line(format!("{} {}", styled(HEAD, plain(&explained.name)), plain(&explained.fingerprint)))?;
    for step in &explained.routes {
        let verdict = match (step.asked, step.takes) {
            (false, _) => styled(FAINT, "not asked: a route before it took the alert"),
            (true, true) => styled(GOOD, format!("takes it, to {}", to(&step.to))),
            (true, false) => styled(FAINT, "does not take it"),
        };
        out.line(format!("route {}: {verdict}", step.route))?;
        for condition in step.because.iter().filter(|_| step.asked) {
            let holds = if condition.holds { styled(GOOD, "holds") } else { styled(BAD, "does not hold") };
            out.line(format!("  {} {holds}: {}", plain(&condition.condition), plain(&condition.found)))?;
        }
    }
    match &explained.silenced_by {
        Some(silence) => {
            let why = format!("silence {} by {}: {}", plain(&silence.id), plain(&silence.by), plain(&silence.why));
            out.line(format!("{} {why}", styled(BAD, "held back by")))?;
        }
        None => out.line(format!("it is told to {}", to(&explained.destinations)))?,
    }
    Ok(())
}

fn to(names: &[String]) -> String {
    if names.is_empty() { "nobody".into() } else { names.iter().map(|name| plain(name)).collect::<Vec<_>>().join(", ") }
}

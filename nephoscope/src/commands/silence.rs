//! `silence add`, `list` and `expire`: what people are not to be told for a while.

use std::collections::BTreeMap;

use anyhow::bail;
use schemas::{Silence, topics};
use serde::Serialize;
use stream_runtime::{secret::random_hex, time::wall_clock};

use super::notify::standings;
use crate::{
    cli::{SilenceAdd, SilenceExpire, SilenceList},
    moment::local,
    origin::Origin,
    output::{Cell, FAINT, GOOD, Output, Table, WARN, count, plain},
    publication::Publication,
};

/// Bytes of an id: 8 digits are easily said.
const ID_BYTES: usize = 4;

/// All silences that stand on the topic, those that are over included.
pub(super) fn silences(origin: &Origin) -> anyhow::Result<Vec<Silence>> {
    let mut last = BTreeMap::new();
    origin.scan_since(&origin.topic(topics::CONTROL_SILENCES)?, None, |record| {
        match (record.value_as::<Silence>(), record.key) {
            (Some(silence), _) => _ = last.insert(silence.id.clone(), silence),
            (None, Some(id)) => _ = last.remove(&id),
            (None, None) => {}
        }
        Ok(())
    })?;
    Ok(last.into_values().collect())
}

fn publish(origin: &Origin, silence: &Silence) -> anyhow::Result<()> {
    silence.check()?;
    Publication::to(topics::CONTROL_SILENCES).json(&silence.id, silence).send(origin, "silencing")
}

/// Adds a silence.
pub fn add(args: &SilenceAdd, origin: &Origin, out: &mut Output) -> anyhow::Result<()> {
    let now = wall_clock();
    let silence = Silence {
        id: random_hex(ID_BYTES)?,
        matchers: args.matchers.iter().map(ToString::to_string).collect(),
        starts_at: now,
        ends_at: now.plus_millis(args.length_ms),
        by: args.by.clone(),
        why: args.why.clone(),
    };
    publish(origin, &silence)?;
    if out.is_json() {
        return Ok(out.document(&silence)?);
    }
    Ok(out.line(format!("silence {} holds until {}", silence.id, local(silence.ends_at)))?)
}

/// A silence and what it has held back.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Listed {
    #[serde(flatten)]
    silence: Silence,
    state: &'static str,
    /// Alerts held back, over all destinations of the instance that was asked, since it started.
    held_back: Option<u64>,
}

/// Lists the silences.
pub fn list(args: &SilenceList, origin: &Origin, out: &mut Output) -> anyhow::Result<()> {
    let now = wall_clock();
    // Only a running notifier counts.
    let standings = standings(origin).ok();
    let held_back = |id: &str| {
        let all = standings.as_ref()?.values();
        Some(all.filter_map(|standing| standing.silenced.get(id)).sum())
    };
    let state = |silence: &Silence| match silence {
        silence if silence.holds_at(now) => "holds",
        silence if now < silence.starts_at => "pending",
        _ => "over",
    };
    let listed = silences(origin)?.into_iter().map(|silence| Listed { state: state(&silence), held_back: held_back(&silence.id), silence });
    let mut listed: Vec<Listed> = listed.filter(|listed| args.all || listed.state != "over").collect();
    listed.sort_by(|a, b| (a.silence.ends_at, &a.silence.id).cmp(&(b.silence.ends_at, &b.silence.id)));
    if out.is_json() {
        return Ok(out.document(&listed)?);
    }
    if listed.is_empty() {
        return Ok(out.line("no silences")?);
    }
    let mut table = Table::new(&["ID", "STATE", "UNTIL", ">HELD BACK", "BY", "MATCHERS", "WHY"]);
    for Listed { silence, state, held_back } in &listed {
        let style = match *state {
            "holds" => WARN,
            "pending" => GOOD,
            _ => FAINT,
        };
        table.row([
            plain(&silence.id).into(),
            Cell::styled(style, *state),
            local(silence.ends_at).into(),
            held_back.map_or_else(|| "-".into(), count).into(),
            plain(&silence.by).into(),
            plain(&silence.matchers.join(" ")).into(),
            plain(&silence.why).into(),
        ]);
    }
    Ok(out.table(&table)?)
}

/// Ends a silence now.
pub fn expire(args: &SilenceExpire, origin: &Origin, out: &mut Output) -> anyhow::Result<()> {
    let now = wall_clock();
    let begins = |silence: &Silence| silence.id.starts_with(&args.id) && now < silence.ends_at;
    let mut found: Vec<Silence> = silences(origin)?.into_iter().filter(begins).collect();
    let Some(mut silence) = found.pop().filter(|_| found.is_empty()) else {
        bail!(
            "{} silences that are not over begin with {:?}; `nephoscope silence list` shows them",
            found.len() + usize::from(!found.is_empty()),
            args.id
        );
    };
    silence.ends_at = now.max(silence.starts_at);
    publish(origin, &silence)?;
    if out.is_json() {
        return Ok(out.document(&silence)?);
    }
    Ok(out.line(format!("silence {} is over", plain(&silence.id)))?)
}

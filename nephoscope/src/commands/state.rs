//! `state show` and `state reset`: what the processors remember.

use std::{process::ExitCode, time::Duration};

use anyhow::{Context, bail};
use serde::{Deserialize, Serialize};
use stream_runtime::{
    embedded::{EmbeddedBus, EmbeddedConfig},
    inspect::Inspect,
};

use crate::{
    cli::{Global, StateReset, StateShow},
    origin::{Origin, data_dir},
    output::{Output, Table, bytes, count, plain},
};

/// The state of one instance of a processor.
#[derive(Debug, Serialize, Deserialize)]
struct State {
    processor: String,
    topic: String,
    partition: u32,
    keys: u64,
    bytes: u64,
}

#[derive(Debug, Deserialize)]
struct States {
    states: Vec<State>,
}

/// Lists the states of all processors, or of one.
pub fn show(args: &StateShow, origin: &Origin, out: &mut Output) -> anyhow::Result<()> {
    let mut states = states(origin)?;
    if let Some(processor) = &args.processor {
        let names: Vec<_> = states.iter().map(|state| state.processor.clone()).collect();
        states.retain(|state| state.processor == *processor);
        if states.is_empty() {
            bail!("{processor} has no state{}", known(&names));
        }
    }
    if out.is_json() {
        return Ok(out.document(&states)?);
    }
    let mut table = Table::new(&["PROCESSOR", "INPUT", ">PARTITION", ">KEYS", ">SIZE"]);
    for state in &states {
        table.row([
            plain(&state.processor).into(),
            plain(&state.topic).into(),
            state.partition.to_string().into(),
            count(state.keys).into(),
            bytes(state.bytes).into(),
        ]);
    }
    if table.is_empty() { Ok(out.line("no processor has any state yet")?) } else { Ok(out.table(&table)?) }
}

fn states(origin: &Origin) -> anyhow::Result<Vec<State>> {
    match origin {
        Origin::Instance(client) => Ok(client.get::<States>("/api/states", Duration::ZERO)?.states),
        Origin::Store(bus) => {
            let view = |state: stream_runtime::inspect::StateStatus| State {
                processor: state.processor,
                topic: state.at.topic.to_string(),
                partition: state.at.partition.0,
                keys: state.keys as u64,
                bytes: state.bytes,
            };
            Ok(bus.states()?.into_iter().map(view).collect())
        }
    }
}

fn known(names: &[String]) -> String {
    let mut names = names.to_vec();
    names.dedup();
    if names.is_empty() { "; no processor has any yet".into() } else { format!("; there are {}", names.join(", ")) }
}

/// Forgets the states of a processor, in a store that nobody uses.
pub fn reset(args: &StateReset, global: &Global, out: &mut Output) -> anyhow::Result<ExitCode> {
    let processor = &args.processor;
    let origin = Origin::open(global)?;
    if origin.is_live() {
        bail!(
            "an instance runs, and {processor} in it would write its state again\n\
             stop it (Ctrl-C, or `systemctl stop nephoscope`), say this again, and start it"
        );
    }
    let states = states(&origin)?;
    let names: Vec<_> = states.iter().map(|state| state.processor.clone()).collect();
    let (instances, size) = states
        .iter()
        .filter(|state| state.processor == *processor)
        .fold((0, 0), |(instances, size), state| (instances + 1, size + state.bytes));
    if instances == 0 {
        bail!("{processor} has no state{}", known(&names));
    }
    if !args.yes {
        bail!("this would make {processor} forget for ever what it has learned, {}; with --yes it will", bytes(size));
    }
    // The reading handle holds a lock of its own.
    drop(origin);
    let dir = data_dir(global)?;
    let bus = EmbeddedBus::open(&dir, EmbeddedConfig::default())?;
    let instances = bus.reset_state(processor).with_context(|| format!("the state of {processor} stays as it was"))?;
    bus.close();
    if out.is_json() {
        out.document(&serde_json::json!({"processor": processor, "instances": instances, "bytes": size}))?;
    } else {
        out.line(format!("{} forgot {}; it starts empty where it stopped reading", plain(processor), bytes(size)))?;
    }
    Ok(ExitCode::SUCCESS)
}

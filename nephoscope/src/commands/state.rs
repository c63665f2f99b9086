//! `state show` and `state reset`: what the processors remember.

use std::{collections::BTreeMap, process::ExitCode, time::Duration};

use anyhow::{Context, bail};
use drain::DrainProcessor;
use incident::IncidentProcessor;
use serde::{Deserialize, Serialize};
use stream_core::{NextOffset, Processor, TopicPartition};
use stream_runtime::{
    config::Backend,
    inspect::Inspect,
    loss::Loss,
    metrics::StageMetrics,
    process::{OpenBus, ProcessSettings},
    time::SystemClock,
    worker::{Skip, Worker},
};

use crate::{
    cli::{Global, StateReset, StateShow, StateSkip},
    origin::{Origin, settings},
    output::{Output, Table, bytes, count, plain},
    up::Configuration,
    window::Window,
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
        Origin::Instance(client) | Origin::Cluster(Window { client, .. }) => {
            Ok(client.get::<States>("/api/states", Duration::ZERO)?.states)
        }
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

/// Lets a processor live through records in silence.
pub fn skip(args: &StateSkip, global: &Global, out: &mut Output) -> anyhow::Result<ExitCode> {
    let origin = Origin::open(global)?;
    refuse_if_running(&origin, &args.processor)?;
    let before = states(&origin)?;
    drop(origin);
    if !before.iter().any(|state| state.processor == args.processor) {
        let names: Vec<_> = before.iter().map(|state| state.processor.clone()).collect();
        bail!("{} has no state{}", args.processor, known(&names));
    }
    let Configuration { process, drain, incident, .. } = Configuration::read(global)?;
    let skip = match (&args.partition, args.to) {
        (Some(partition), Some(to)) => Skip::To(partition.clone(), NextOffset(to)),
        _ if process.bus.backend == Backend::Embedded => {
            bail!("--partition and --to are needed here: only on Kafka can somebody move the consumer group")
        }
        _ => Skip::ToGroup,
    };
    let settled = match args.processor.as_str() {
        DrainProcessor::NAME => live_through::<DrainProcessor>(drain, &process, skip)?,
        IncidentProcessor::NAME => live_through::<IncidentProcessor>(incident, &process, skip)?,
        other => bail!("{other} is no processor of this program"),
    };
    if out.is_json() {
        let positions: Vec<_> = settled.iter().map(|(at, next)| serde_json::json!({"partition": at.to_string(), "next": next.0})).collect();
        out.document(&positions)?;
    } else {
        for (at, next) in &settled {
            out.line(format!("{at} goes on at {next}"))?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Runs a processor until it has passed over what is to be skipped and has committed that.
fn live_through<P: Processor>(
    config: P::Config,
    process: &ProcessSettings,
    skip: Skip,
) -> anyhow::Result<BTreeMap<TopicPartition, NextOffset>> {
    let bus = OpenBus::open(process)?;
    let (loss, metrics) = (Loss::default(), StageMetrics::default());
    let mut worker = Worker::<P>::new(bus.as_bus(), config, process.engine.clone(), Box::new(SystemClock), loss, metrics)?;
    worker.skip(skip);
    let settled = loop {
        worker.step()?;
        if let Some(settled) = worker.settled() {
            break settled;
        }
    };
    worker.shutdown()?;
    Ok(settled)
}

fn refuse_if_running(origin: &Origin, processor: &str) -> anyhow::Result<()> {
    match origin {
        Origin::Instance(_) => bail!(
            "an instance runs, and {processor} in it would write its state again\n\
             stop it (Ctrl-C, or `systemctl stop nephoscope`), say this again, and start it"
        ),
        // The bus itself asks the group whether anybody is there.
        Origin::Cluster(_) | Origin::Store(_) => Ok(()),
    }
}

/// Forgets the states of a processor, in a store that nobody uses.
pub fn reset(args: &StateReset, global: &Global, out: &mut Output) -> anyhow::Result<ExitCode> {
    let processor = &args.processor;
    let origin = Origin::open(global)?;
    refuse_if_running(&origin, processor)?;
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
    let bus = OpenBus::open(&settings(global)?.0)?;
    let instances = bus.as_inspect().reset_state(processor).with_context(|| format!("the state of {processor} stays as it was"))?;
    drop(bus);
    if out.is_json() {
        out.document(&serde_json::json!({"processor": processor, "instances": instances, "bytes": size}))?;
    } else {
        out.line(format!("{} forgot {}; it starts empty where it stopped reading", plain(processor), bytes(size)))?;
    }
    Ok(ExitCode::SUCCESS)
}

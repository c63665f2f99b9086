//! `topics`: what stands on the bus.

use schemas::topics;
use stream_runtime::{config::Backend, layout, process::OpenBus};

use crate::{
    cli::Global,
    origin::{Origin, settings},
    output::{Cell, FAINT, Output, Table, bytes, count, plain},
};

/// Lists all topics; those of dead letters only where there are any.
pub fn run(origin: &Origin, out: &mut Output) -> anyhow::Result<()> {
    let all = origin.topics()?;
    if out.is_json() {
        return Ok(out.document(&all)?);
    }
    let mut table = Table::new(&["TOPIC", "KEEPS", ">PARTITIONS", ">RECORDS", ">NEXT", ">SIZE", "WHAT"]);
    for topic in all.iter().filter(|topic| !topic.name.ends_with(topics::DLQ_SUFFIX) || topic.records() > 0) {
        let about = topics::find(&topic.name).map_or("", |row| row.about);
        let about = if topic.name.ends_with(topics::DLQ_SUFFIX) { "dead letters" } else { about };
        let keeps = if topic.cleanup == "compact" { "last of each key" } else { "by age, size" };
        table.row([
            plain(&topic.name).into(),
            keeps.into(),
            topic.partitions.len().to_string().into(),
            count(topic.records()).into(),
            count(topic.partitions.iter().map(|part| part.next).sum()).into(),
            topic.bytes().map_or("–".into(), bytes).into(),
            Cell::styled(FAINT, about),
        ]);
    }
    if table.is_empty() {
        return Ok(out.line("there are no topics yet")?);
    }
    Ok(out.table(&table)?)
}

/// Makes what is missing on the brokers. The embedded bus makes its topics by itself.
pub fn create(global: &Global, out: &mut Output) -> anyhow::Result<()> {
    let (settings, _) = settings(global)?;
    if settings.bus.backend != Backend::Kafka {
        return Ok(out.line("the embedded bus makes its topics by itself; name a cluster with --bus kafka://HOST:PORT")?);
    }
    let specs = layout::specs(settings.bus.backend, &settings.topics);
    if let OpenBus::Kafka(bus) = OpenBus::open(&settings)? {
        bus.ensure_installation(&settings.topics)?;
    }
    if out.is_json() {
        let names: Vec<_> = specs.iter().map(|spec| spec.name.to_string()).collect();
        return Ok(out.document(&names)?);
    }
    Ok(out.line(format!("{} topics are there as they should be", specs.len()))?)
}

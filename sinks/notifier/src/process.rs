//! The notifier in a process: its sections of the configuration, and what it is told about the rest of the process.

use axum::Router;
use redact::{RedactSettings, Redactor};
use stream_core::{NextOffset, TopicPartition};
use stream_runtime::{
    config::{ConfigFile, ConfigFileError},
    engine::{EngineView, error_chain},
    inspect::Inspect,
    process::Running,
};

use crate::{config::Config, config::SECTION, vitals::Vitals};

/// Reads `[notifier]` and `[redact]`.
///
/// # Errors
/// If a key is unknown or a value cannot be meant.
pub fn read(file: &mut ConfigFile) -> Result<Config, ConfigFileError> {
    let mut config: Config = file.section(SECTION)?;
    let wrong = |key: String, problem: String| ConfigFileError { place: None, key, problem };
    config.check().map_err(|error| {
        let problem = format!("found {}, expected {}", error.found, error.expected);
        wrong(error.key, problem)
    })?;
    let redact: RedactSettings = file.section(redact::SECTION)?;
    config.redactor =
        Redactor::new(&redact).map_err(|error| wrong(format!("{}.patterns[{}]", redact::SECTION, error.index), error_chain(&error)))?;
    Ok(config)
}

/// Lets the notifier see how the process is that it runs in. Returns its routes of the API.
pub fn prepare(config: &mut Config, running: &Running) -> Router {
    let (engine, inspect, lag_max) = (running.engine.view(), running.bus.as_inspect(), config.watchdog_lag_max);
    config.vitals = Vitals::new(move || look(&engine, inspect.as_ref(), lag_max));
    crate::api::routes(config)
}

/// Every part of this process is ready, and no part of the installation is far behind.
fn look(engine: &EngineView, inspect: &dyn Inspect, lag_max: u64) -> Result<(), String> {
    if let Some((part, why)) = engine.not_ready().into_iter().next() {
        return Err(format!("{part} is not ready: {why}"));
    }
    let topics = inspect.topics().map_err(|error| error_chain(&error))?;
    let end = |at: &TopicPartition| {
        let topic = topics.iter().find(|topic| topic.name == at.topic);
        topic.and_then(|topic| topic.partitions.get(at.partition.0 as usize)).map_or(NextOffset(0), |partition| partition.next)
    };
    for group in inspect.groups().map_err(|error| error_chain(&error))? {
        let lag = end(&group.at).0.saturating_sub(group.position.0);
        if lag > lag_max {
            return Err(format!("{} is {lag} records behind on {}, at most {lag_max} are allowed", group.processor, group.at));
        }
    }
    Ok(())
}

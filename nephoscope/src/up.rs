//! `up`: every part in one process on the embedded bus, watching this machine.

use std::{process::ExitCode, sync::Arc};

use drain::DrainProcessor;
use stream_core::Processor;
use stream_runtime::{
    config::{ConfigFile, ConfigFileError},
    process::{ProcessArgs, ProcessSettings, Running, init_log, signal_flag, token, wait_until},
    source::Source,
};
use syslog::Collector;

use crate::{
    cli::{Global, Up},
    console::Console,
    report::Report,
};

/// Exit code of a configuration that cannot be used.
const USAGE: u8 = 2;

/// Runs until SIGTERM or SIGINT.
///
/// # Errors
/// If a part cannot start, or the collector ends by itself.
pub fn run(args: &Up, global: &Global) -> anyhow::Result<ExitCode> {
    match start(args, global) {
        Err(error) if error.is::<ConfigFileError>() => {
            crate::output::complain(&error.to_string());
            Ok(ExitCode::from(USAGE))
        }
        outcome => outcome.map(|()| ExitCode::SUCCESS),
    }
}

fn start(args: &Up, global: &Global) -> anyhow::Result<()> {
    let mut file = ConfigFile::load(global.config.as_deref())?;
    let process = ProcessArgs { config: None, data_dir: global.data_dir.clone(), print_config: args.print_config };
    let settings = ProcessSettings::read(&mut file, &process)?;
    let drain: drain::Config = file.section(DrainProcessor::NAME)?;
    let syslog: syslog::Config = file.section(Collector::NAME)?;
    file.finish()?;
    if args.print_config {
        print!("{}", file.print());
        return Ok(());
    }
    init_log(&settings.telemetry);
    let stop = signal_flag()?;

    let mut running = Running::open(&settings)?;
    running.engine.spawn::<DrainProcessor>(drain)?;
    let collector = Collector::start(syslog, running.source_context(Collector::NAME, &settings)?).map_err(boxed)?;
    let watch = collector.watch();
    let console = Console::start(Arc::new(running.bus.clone()), running.engine.view(), move || watch.status())?;
    let api = running.serve(&file, &settings, console.routes()).map_err(boxed)?;
    let url = format!("http://{}/?token={}", api.address(), token(&settings.listen, &settings.bus.data_dir).map_err(boxed)?);
    let report = Report::start(console.clone(), url, settings.bus.data_dir.clone())?;
    let outcome = wait_until(&stop, || collector.failed().map(|why| format!("the syslog collector stopped: {why}")));
    report.stop();
    tracing::info!("leaving: everything read so far is on the bus when this process ends");
    collector.stop();
    api.stop();
    console.stop();
    running.stop();
    outcome.map_err(boxed)
}

fn boxed(error: Box<dyn std::error::Error + Send + Sync>) -> anyhow::Error {
    anyhow::Error::from_boxed(error)
}

//! `up`: every part in one process, watching this machine.

use std::process::ExitCode;

use drain::DrainProcessor;
use heartbeat::Receiver;
use incident::IncidentProcessor;
use notifier::{Courier, Notifier};
use stream_core::Processor;
use stream_runtime::{
    config::{ConfigFile, ConfigFileError, ListenSettings},
    process::{ProcessArgs, ProcessSettings, Running, UMBRELLA, init_log, signal_flag, token, wait_until},
    source::Source,
};
use syslog::Collector;

use crate::{
    cli::{Global, Up},
    console::Console,
    output::Output,
    redact::Redactor,
    report::Report,
};

/// The configuration of all parts, read from file, environment and arguments.
pub struct Configuration {
    /// Shared sections.
    pub process: ProcessSettings,
    /// `[drain]`.
    pub drain: drain::Config,
    /// `[heartbeat]`.
    pub heartbeat: heartbeat::Config,
    /// `[incident]`.
    pub incident: incident::Config,
    /// `[notifier]`.
    pub notifier: notifier::Config,
    /// `[syslog]`.
    pub syslog: syslog::Config,
    /// `[redact]`.
    pub redactor: Redactor,
    /// Where all of it comes from.
    pub file: ConfigFile,
}

impl Configuration {
    /// Reads all sections.
    ///
    /// # Errors
    /// If one has an unknown key or a bad value, or belongs to no part.
    pub fn read(global: &Global) -> Result<Self, ConfigFileError> {
        let mut file = ConfigFile::load(global.config.as_deref())?;
        let args = ProcessArgs { config: None, data_dir: global.data_dir.clone(), bus: global.bus.clone(), print_config: false };
        let process = ProcessSettings::read(&mut file, &args, ListenSettings::default())?;
        let (drain, syslog) = (file.section(DrainProcessor::NAME)?, file.section(Collector::NAME)?);
        let incident = file.section(IncidentProcessor::NAME)?;
        let heartbeat = file.section(Receiver::NAME)?;
        let notifier = notifier::read(&mut file)?;
        let redactor = Redactor::from(notifier.redactor.clone());
        file.finish()?;
        Ok(Self { process, drain, heartbeat, incident, notifier, syslog, redactor, file })
    }
}

/// Runs until SIGTERM or SIGINT.
///
/// # Errors
/// If the configuration cannot be meant, a part cannot start, or the collector ends by itself.
pub fn run(args: &Up, global: &Global, out: &mut Output) -> anyhow::Result<ExitCode> {
    let Configuration { process: settings, drain, heartbeat, incident, mut notifier, syslog, redactor, file } =
        Configuration::read(global)?;
    if args.print_config {
        if out.is_json() {
            out.document(&file.to_json())?;
        } else {
            out.line(file.print().trim_end())?;
        }
        return Ok(ExitCode::SUCCESS);
    }
    init_log(&settings.telemetry);
    let stop = signal_flag()?;

    let mut running = Running::open(UMBRELLA, &settings)?;
    running.export_spans("nephoscope")?;
    running.engine.spawn::<DrainProcessor>(drain)?;
    running.engine.spawn::<IncidentProcessor>(incident)?;
    let notifications = notifier::prepare(&mut notifier, &running);
    running.engine.spawn_sink::<Notifier<Courier>>(&notifier)?;
    let collector = Collector::start(syslog, running.source_context(Collector::NAME, &settings)?).map_err(boxed)?;
    let receiver = Receiver::start(heartbeat, running.source_context(Receiver::NAME, &settings)?).map_err(boxed)?;
    let watch = collector.watch();
    let console = Console::start(running.bus.as_inspect(), running.engine.view(), move || watch.status(), redactor)?;
    let api = running.serve(&file, &settings, console.routes().merge(notifications)).map_err(boxed)?;
    let url = format!("http://{}/?token={}", api.address(), token(&settings.listen, &settings.bus.data_dir).map_err(boxed)?);
    let report = Report::start(console.clone(), url, settings.bus.data_dir.clone())?;
    let failed = || {
        let collector = collector.failed().map(|why| format!("the syslog collector stopped: {why}"));
        collector.or_else(|| receiver.failed().map(|why| format!("the receiver of heartbeats stopped: {why}")))
    };
    let outcome = wait_until(&stop, running.engine.view(), failed);
    report.stop();
    tracing::info!("leaving: everything read so far is on the bus when this process ends");
    collector.stop();
    receiver.stop();
    api.stop();
    console.stop();
    running.stop();
    outcome.map(|()| ExitCode::SUCCESS).map_err(boxed)
}

/// What anyhow makes of a box hides its type, and a wrong configuration has an exit code of its own.
fn boxed(error: Box<dyn std::error::Error + Send + Sync>) -> anyhow::Error {
    match error.downcast::<ConfigFileError>() {
        Ok(error) => (*error).into(),
        Err(error) => anyhow::Error::from_boxed(error),
    }
}

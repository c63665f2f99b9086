//! What every binary of ours does around its part: arguments, configuration, log, bus, API, signals, exit code.

use std::{
    ffi::OsString,
    path::{Path, PathBuf},
    process::ExitCode,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use axum::Router;
use clap::{Args, CommandFactory, FromArgMatches, Parser};
use stream_core::{Processor, Sink};
use tracing_subscriber::EnvFilter;

use crate::{
    api::{ApiConfig, ApiServer, ApiState},
    bus::{Bus, BusError},
    config::{Backend, BusSettings, ConfigFile, ConfigFileError, ListenSettings, LogFormat, TelemetrySettings},
    embedded::{EmbeddedBus, EmbeddedConfig},
    engine::{Engine, EngineView, error_chain},
    inspect::Inspect,
    kafka::{KafkaBus, KafkaSettings},
    layout::{self, LayoutSettings},
    notify, secret,
    settings::EngineSettings,
    source::{Source, SourceContext},
    spool::{self, SpoolSettings},
    telemetry::otlp::SpanExport,
    time::{Clock, SystemClock},
    watch::Watch,
    worker::{VERSION, WorkerError},
};

/// How often a process looks whether it should end.
const WATCH_PERIOD: Duration = Duration::from_millis(100);
/// The API's socket within the data directory.
pub const SOCKET_FILE: &str = "api.sock";
/// The TCP token within the data directory.
pub const TOKEN_FILE: &str = "token";
const TOKEN_BYTES: usize = 16;
/// Pid, address and version of the running process, within the data directory.
pub const RUN_FILE: &str = "run.json";
/// How long a process that starts waits for a bus that is away, and between two tries.
const START_PATIENCE: Duration = Duration::from_secs(15);
const START_PAUSE: Duration = Duration::from_secs(1);
/// How long a process may take to stop. Our units and our compose file kill after 20 s.
const STOP_MAX: Duration = Duration::from_secs(15);
/// The process that runs every part.
pub const UMBRELLA: &str = "up";
/// Exit code of a wrong command line or configuration.
const USAGE: u8 = 2;

/// Arguments that every binary has.
#[derive(Debug, Clone, Default, Args)]
pub struct ProcessArgs {
    /// Configuration file [default: ./nephoscope.toml, else /etc/nephoscope/nephoscope.toml, if there is one]
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Where state is kept [default: /var/lib/nephoscope as root, else ~/.local/state/nephoscope]
    #[arg(long, value_name = "DIR")]
    pub data_dir: Option<PathBuf>,
    /// Which bus: embedded, or kafka://HOST:PORT[,HOST:PORT…] [default: what the configuration says, else embedded]
    #[arg(long, value_name = "BUS", value_parser = BusArg::parse)]
    pub bus: Option<BusArg>,
    /// Print the effective configuration with the origin of each value, and end
    #[arg(long)]
    pub print_config: bool,
}

/// The bus as a command line names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BusArg {
    /// The durable log in this process.
    Embedded,
    /// Kafka, with the brokers to ask first.
    Kafka(String),
}

impl BusArg {
    /// Reads `embedded` or `kafka://host:port,…`.
    ///
    /// # Errors
    /// If it is neither.
    pub fn parse(text: &str) -> Result<Self, String> {
        match text.strip_prefix("kafka://") {
            Some(brokers) if !brokers.is_empty() => Ok(Self::Kafka(brokers.trim_end_matches('/').into())),
            None if text == "embedded" => Ok(Self::Embedded),
            _ => Err("expected embedded or kafka://HOST:PORT".into()),
        }
    }

    /// Puts it above file and environment.
    pub fn set(&self, file: &mut ConfigFile) {
        match self {
            Self::Embedded => file.set("bus.backend", Backend::Embedded),
            Self::Kafka(brokers) => {
                file.set("bus.backend", Backend::Kafka);
                file.set("kafka.bootstrap.servers", brokers);
            }
        }
    }
}

/// The sections that every binary reads.
#[derive(Debug, Clone)]
pub struct ProcessSettings {
    /// `[bus]`.
    pub bus: BusSettings,
    /// `[batch]`, `[state]`, `[time]`, `[dlq]`.
    pub engine: EngineSettings,
    /// `[embedded]`.
    pub embedded: EmbeddedConfig,
    /// `[spool]`.
    pub spool: SpoolSettings,
    /// `[kafka]`.
    pub kafka: KafkaSettings,
    /// `[topics]`.
    pub topics: LayoutSettings,
    /// `[listen]`.
    pub listen: ListenSettings,
    /// `[telemetry]`.
    pub telemetry: TelemetrySettings,
}

impl ProcessSettings {
    /// Reads the shared sections; a process listens as `listen` says unless it is told otherwise.
    ///
    /// # Errors
    /// If one has an unknown key or a bad value.
    pub fn read(file: &mut ConfigFile, args: &ProcessArgs, listen: ListenSettings) -> Result<Self, ConfigFileError> {
        if let Some(dir) = &args.data_dir {
            file.set("bus.data_dir", dir);
        }
        if let Some(bus) = &args.bus {
            bus.set(file);
        }
        let topics: LayoutSettings = file.section("topics")?;
        topics.check()?;
        Ok(Self {
            topics,
            kafka: KafkaSettings::read(file)?,
            bus: file.section("bus")?,
            engine: EngineSettings {
                batch: file.section("batch")?,
                state: file.section("state")?,
                time: file.section("time")?,
                dlq: file.section("dlq")?,
            },
            embedded: file.section("embedded")?,
            spool: file.section("spool")?,
            listen: file.section_or("listen", listen)?,
            telemetry: file.section("telemetry")?,
        })
    }
}

/// Sends this program's own log to standard error.
pub fn init_log(telemetry: &TelemetrySettings) {
    let filter = EnvFilter::try_new(&telemetry.log).unwrap_or_else(|_| EnvFilter::new("info"));
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    match telemetry.log_format {
        LogFormat::Text => log.init(),
        LogFormat::Json => log.json().init(),
    }
}

/// A flag that SIGTERM and SIGINT set; a second signal ends the process at once.
///
/// # Errors
/// If the handlers cannot be installed.
pub fn signal_flag() -> std::io::Result<Arc<AtomicBool>> {
    let flag = Arc::new(AtomicBool::new(false));
    for signal in [signal_hook::consts::SIGTERM, signal_hook::consts::SIGINT] {
        signal_hook::flag::register_conditional_shutdown(signal, 1, Arc::clone(&flag))?;
        signal_hook::flag::register(signal, Arc::clone(&flag))?;
    }
    Ok(flag)
}

/// The main function of a processor's binary.
pub fn run<P: Processor>() -> ExitCode {
    let read = |file: &mut ConfigFile| file.section::<P::Config>(section_name(P::NAME));
    run_stages(P::NAME, read, |running, config| running.engine.spawn::<P>(config).map(|()| Router::new()))
}

/// The main function of a sink's binary. It ends when all destinations have stopped; while one is left, readiness and an alert
/// tell of those that have.
pub fn run_sink<S: Sink>() -> ExitCode {
    run_sink_with::<S>(|file| file.section(section_name(S::NAME)), |_, _| Router::new())
}

/// The same for a sink whose configuration is more than its section: `read` reads it, `prepare` adds what only the running
/// process knows and returns the sink's routes of the API.
pub fn run_sink_with<S: Sink>(
    read: impl FnOnce(&mut ConfigFile) -> Result<S::Config, ConfigFileError>,
    prepare: impl FnOnce(&mut S::Config, &Running) -> Router,
) -> ExitCode {
    run_stages(S::NAME, read, |running, mut config| {
        let routes = prepare(&mut config, running);
        running.engine.spawn_sink::<S>(&config).map(|()| routes)
    })
}

fn run_stages<C>(
    name: &'static str,
    read: impl FnOnce(&mut ConfigFile) -> Result<C, ConfigFileError>,
    spawn: impl FnOnce(&mut Running, C) -> Result<Router, WorkerError>,
) -> ExitCode {
    exit(name, std::env::args_os(), |args| {
        let mut file = ConfigFile::load(args.config.as_deref())?;
        let settings = ProcessSettings::read(&mut file, args, ListenSettings::of_part())?;
        let config = read(&mut file)?;
        let Some(stop) = begin(args, &file, &settings)? else { return Ok(()) };
        let mut running = Running::open(name, &settings)?;
        running.export_spans(binary_name(name))?;
        let routes = spawn(&mut running, config)?;
        let api = running.serve(&file, &settings, routes)?;
        let view = running.engine.view();
        let outcome = wait_until(&stop, view.clone(), || {
            let stages = view.stages();
            if stages.is_empty() {
                return Some(format!("[{}] names no destination", section_name(name)));
            }
            let stopped: Vec<_> = stages.iter().filter(|stage| stage.state == "stopped").filter_map(|stage| stage.why.clone()).collect();
            (stopped.len() == stages.len()).then(|| stopped.join("; "))
        });
        api.stop();
        running.stop();
        outcome
    })
}

/// The main function of a collector's binary.
pub fn run_source<S: Source>() -> ExitCode {
    run_source_from::<S>(std::env::args_os())
}

/// The same for a binary whose command line is more than that of a part.
pub fn run_source_from<S: Source>(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    exit(S::NAME, arguments, |args| {
        let mut file = ConfigFile::load(args.config.as_deref())?;
        let settings = ProcessSettings::read(&mut file, args, ListenSettings::of_part())?;
        let config: S::Config = file.section(section_name(S::NAME))?;
        let Some(stop) = begin(args, &file, &settings)? else { return Ok(()) };
        let running = Running::open_collector(S::NAME, &settings)?;
        let source = S::start(config, running.source_context(S::NAME, &settings)?)?;
        let api = running.serve(&file, &settings, Router::new())?;
        let outcome = wait_until(&stop, running.engine.view(), || source.failed());
        source.stop();
        api.stop();
        running.stop();
        outcome
    })
}

/// Whatever ended a process.
pub type AnyError = Box<dyn std::error::Error + Send + Sync>;

/// Command line of a single part.
#[derive(Debug, Parser)]
#[command(version, about = None)]
struct PartCommand {
    #[command(flatten)]
    process: ProcessArgs,
}

fn exit(
    name: &'static str,
    arguments: impl IntoIterator<Item = OsString>,
    run: impl FnOnce(&ProcessArgs) -> Result<(), AnyError>,
) -> ExitCode {
    let command = PartCommand::command().name(binary_name(name));
    let args = match PartCommand::from_arg_matches(&command.get_matches_from(arguments)) {
        Ok(args) => args,
        Err(error) => error.exit(),
    };
    match run(&args.process) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("nephoscope-{name}: {}", error_chain(error.as_ref()));
            if error.is::<ConfigFileError>() { ExitCode::from(USAGE) } else { ExitCode::FAILURE }
        }
    }
}

/// Checks the rest of the configuration, then prints it or begins. None if there is nothing more to do.
fn begin(args: &ProcessArgs, file: &ConfigFile, settings: &ProcessSettings) -> Result<Option<Arc<AtomicBool>>, AnyError> {
    if args.print_config {
        print!("{}", file.print());
        return Ok(None);
    }
    init_log(&settings.telemetry);
    Ok(Some(signal_flag()?))
}

/// The binary of a part.
fn binary_name(name: &str) -> &'static str {
    format!("nephoscope-{name}").leak() // twice per process
}

/// The section of a part: its name in snake case.
fn section_name(name: &'static str) -> &'static str {
    match name.find('-') {
        None => name,
        Some(_) => name.replace('-', "_").leak(), // once per process
    }
}

/// The token of the TCP listener: from the configured file, else from one in the data directory, which is made on the first
/// start and which only its owner may read.
///
/// # Errors
/// If the file cannot be read or made, or holds nothing.
pub fn token(listen: &ListenSettings, data_dir: &Path) -> Result<String, AnyError> {
    let path = if listen.token_file.is_empty() { data_dir.join(TOKEN_FILE) } else { PathBuf::from(&listen.token_file) };
    let text = if listen.token_file.is_empty() { secret::read_or_make(&path, TOKEN_BYTES) } else { std::fs::read_to_string(&path) };
    let text = text.map_err(|error| format!("token file {}: {error}", path.display()))?;
    let token = text.trim().to_string();
    if token.is_empty() { Err(format!("token file {} is empty", path.display()).into()) } else { Ok(token) }
}

/// An open bus with an engine and an API on it.
pub struct Running {
    /// The bus.
    pub bus: OpenBus,
    /// The parts.
    pub engine: Engine,
    /// Where socket and run file stand.
    run_dir: PathBuf,
    spans: Option<SpanExport>,
}

/// The bus that the configuration names.
#[derive(Clone)]
pub enum OpenBus {
    /// The durable log in this process.
    Embedded(EmbeddedBus),
    /// Kafka.
    Kafka(KafkaBus),
}

impl OpenBus {
    /// Opens it.
    ///
    /// # Errors
    /// If the data directory cannot be used, or a property of Kafka's clients has a bad value.
    pub fn open(settings: &ProcessSettings) -> Result<Self, BusError> {
        Ok(match settings.bus.backend {
            Backend::Embedded => Self::Embedded(EmbeddedBus::open(&settings.bus.data_dir, settings.embedded.clone())?),
            Backend::Kafka => Self::Kafka(KafkaBus::open(settings.bus.clone(), settings.kafka.clone())?),
        })
    }

    /// As the engine sees it.
    pub fn as_bus(&self) -> Arc<dyn Bus> {
        match self {
            Self::Embedded(bus) => Arc::new(bus.clone()),
            Self::Kafka(bus) => Arc::new(bus.clone()),
        }
    }

    /// As people and tools see it.
    pub fn as_inspect(&self) -> Arc<dyn Inspect> {
        match self {
            Self::Embedded(bus) => Arc::new(bus.clone()),
            Self::Kafka(bus) => Arc::new(bus.clone()),
        }
    }
}

impl Running {
    /// Opens the bus, creates its topics, starts the watch.
    ///
    /// # Errors
    /// If the data directory cannot be used, another process uses it, or the bus is away for longer than a broker's restart.
    pub fn open(process: &str, settings: &ProcessSettings) -> Result<Self, BusError> {
        Self::begin(process, settings, |watch| patiently(|| watch.open()))
    }

    /// The same for a collector, whose senders do not wait: it listens although the bus may be away.
    ///
    /// # Errors
    /// If the data directory cannot be used or another process uses it.
    fn open_collector(process: &str, settings: &ProcessSettings) -> Result<Self, BusError> {
        Self::begin(process, settings, |_| Ok(()))
    }

    fn begin(process: &str, settings: &ProcessSettings, reach: impl FnOnce(&mut Watch) -> Result<(), BusError>) -> Result<Self, BusError> {
        let bus = OpenBus::open(settings)?;
        let mut engine = Engine::new(bus.as_bus(), settings.engine.clone());
        let mut watch = engine.watch(process, layout::specs(settings.bus.backend, &settings.topics));
        reach(&mut watch)?;
        engine.spawn_watch(watch)?;
        let data_dir = settings.bus.data_dir.clone();
        let run_dir = match &bus {
            // Several processes share a data directory, and each replica answers for itself; `up` is the one that is asked.
            OpenBus::Kafka(bus) if process != UMBRELLA => data_dir.join(process).join(bus.replica(process)?),
            _ => data_dir,
        };
        std::fs::create_dir_all(&run_dir)
            .map_err(|source| BusError::Io { what: format!("cannot create {}", run_dir.display()), source })?;
        Ok(Self { bus, engine, run_dir, spans: None })
    }

    /// Exports spans about every part that is started from now on, if the environment asks for it.
    ///
    /// # Errors
    /// If one of the `OTEL_*` variables cannot be followed.
    pub fn export_spans(&mut self, service: &'static str) -> Result<(), ConfigFileError> {
        self.spans = SpanExport::from_env(service, self.engine.loss())?;
        if let Some(spans) = &self.spans {
            self.engine.trace(spans.tracing());
        }
        Ok(())
    }

    /// What a collector needs.
    ///
    /// # Errors
    /// If its spool cannot be opened.
    pub fn source_context(&self, name: &'static str, settings: &ProcessSettings) -> Result<SourceContext, BusError> {
        let data_dir = settings.bus.data_dir.clone();
        let topics = layout::specs(settings.bus.backend, &settings.topics);
        let (spooled, publish_ms) = match settings.bus.backend {
            Backend::Embedded => (None, 10),
            Backend::Kafka => {
                let source: &'static str = format!("{name}.spool").leak(); // once per process
                let directory = spool::directory(&data_dir, name);
                settings.spool.check()?;
                (Some(self.engine.spooled(source, topics.clone(), &directory, settings.spool.spool_bytes_max)?), 100)
            }
        };
        Ok(SourceContext { publisher: self.engine.publisher(name, topics), spooled, publish_ms, data_dir, loss: self.engine.loss() })
    }

    /// Starts the API on the data directory's socket and the configured address.
    ///
    /// # Errors
    /// If the address is taken or the token file cannot be read.
    pub fn serve(&self, file: &ConfigFile, settings: &ProcessSettings, routes: Router) -> Result<ApiServer, AnyError> {
        let listen = settings.listen.admin.parse().map_err(|_| ConfigFileError {
            place: None,
            key: "listen.admin".into(),
            problem: format!("found {:?}, expected an address such as 127.0.0.1:7700", settings.listen.admin),
        })?;
        let token = token(&settings.listen, &settings.bus.data_dir)?;
        let state = ApiState { inspect: self.bus.as_inspect(), engine: self.engine.view(), config: file.to_json(), routes };
        let api = ApiServer::start(ApiConfig { listen, socket: self.run_dir.join(SOCKET_FILE), token }, state)?;
        let run = serde_json::json!({ "pid": std::process::id(), "address": api.address().to_string(), "version": VERSION });
        std::fs::write(self.run_dir.join(RUN_FILE), run.to_string())?;
        Ok(api)
    }

    /// Lets every part finish, then closes the bus.
    pub fn stop(self) {
        self.engine.stop();
        self.spans.into_iter().for_each(SpanExport::stop);
        if let OpenBus::Embedded(bus) = self.bus {
            bus.close();
        }
    }
}

/// The same again while the bus is away, as it is for a moment when a broker restarts. Whoever starts meanwhile need not fail.
fn patiently<T>(mut attempt: impl FnMut() -> Result<T, BusError>) -> Result<T, BusError> {
    let until = SystemClock.monotonic() + START_PATIENCE;
    loop {
        match attempt() {
            Err(BusError::Lost(why)) if SystemClock.monotonic() < until => {
                tracing::warn!(why, "the bus is away; trying again");
                std::thread::sleep(START_PAUSE);
            }
            outcome => return outcome,
        }
    }
}

/// Returns when a signal came, or with the reason when there is one to end. As long as it waits, a service manager that
/// started the process knows that it serves, and that its workers live.
///
/// # Errors
/// The reason.
pub fn wait_until(stop: &AtomicBool, engine: EngineView, failed: impl Fn() -> Option<String>) -> Result<(), AnyError> {
    let _serving = notify::serving(move || engine.not_alive().is_empty())?;
    while !stop.load(Ordering::Relaxed) {
        if let Some(why) = failed() {
            return Err(why.into());
        }
        std::thread::sleep(WATCH_PERIOD);
    }
    bound_stop()
}

/// A bus that does not answer must not hold up a stop, which waits for commits. What is still under way after [`STOP_MAX`] is left
/// as `kill -9` would leave it: whoever comes next settles it, and nothing is lost or doubled.
fn bound_stop() -> Result<(), AnyError> {
    let end = || {
        std::thread::sleep(STOP_MAX);
        tracing::warn!(
            "still not stopped after {} s: ending without a farewell; whoever comes next goes on from the last commit",
            STOP_MAX.as_secs()
        );
        // No exit handlers: librdkafka's threads are still at work.
        signal_hook::low_level::exit(0)
    };
    std::thread::Builder::new().name("stop".into()).spawn(end).map(drop).map_err(AnyError::from)
}

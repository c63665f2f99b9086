//! What every binary of ours does around its part: arguments, configuration, log, bus, API, signals, exit code.

use std::{
    io::{Read, Write},
    os::unix::fs::OpenOptionsExt,
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
use stream_core::Processor;
use tracing_subscriber::EnvFilter;

use crate::{
    api::{ApiConfig, ApiServer, ApiState},
    bus::BusError,
    config::{BusSettings, ConfigFile, ConfigFileError, ListenSettings, LogFormat, TelemetrySettings},
    embedded::{EmbeddedBus, EmbeddedConfig},
    engine::{Engine, error_chain},
    settings::EngineSettings,
    source::{Source, SourceContext},
    worker::VERSION,
};

/// How often a process looks whether it should end.
const WATCH_PERIOD: Duration = Duration::from_millis(100);
/// The API's socket within the data directory.
pub const SOCKET_FILE: &str = "api.sock";
/// The TCP token within the data directory.
pub const TOKEN_FILE: &str = "token";
/// Pid, address and version of the running process, within the data directory.
pub const RUN_FILE: &str = "run.json";
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
    /// Print the effective configuration with the origin of each value, and end
    #[arg(long)]
    pub print_config: bool,
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
    /// `[listen]`.
    pub listen: ListenSettings,
    /// `[telemetry]`.
    pub telemetry: TelemetrySettings,
}

impl ProcessSettings {
    /// Reads the shared sections.
    ///
    /// # Errors
    /// If one has an unknown key or a bad value.
    pub fn read(file: &mut ConfigFile, args: &ProcessArgs) -> Result<Self, ConfigFileError> {
        if let Some(dir) = &args.data_dir {
            file.set("bus.data_dir", dir);
        }
        Ok(Self {
            bus: file.section("bus")?,
            engine: EngineSettings {
                batch: file.section("batch")?,
                state: file.section("state")?,
                time: file.section("time")?,
                dlq: file.section("dlq")?,
            },
            embedded: file.section("embedded")?,
            listen: file.section("listen")?,
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
    exit(P::NAME, |args| {
        let mut file = ConfigFile::load(args.config.as_deref())?;
        let settings = ProcessSettings::read(&mut file, args)?;
        let config: P::Config = file.section(section_name(P::NAME))?;
        let Some(stop) = begin(args, &file, &settings)? else { return Ok(()) };
        let mut running = Running::open(&settings)?;
        running.engine.spawn::<P>(config)?;
        let api = running.serve(&file, &settings, Router::new())?;
        let view = running.engine.view();
        let outcome = wait_until(&stop, || view.stages().into_iter().find_map(|stage| stage.why.filter(|_| stage.state == "stopped")));
        api.stop();
        running.stop();
        outcome
    })
}

/// The main function of a collector's binary.
pub fn run_source<S: Source>() -> ExitCode {
    exit(S::NAME, |args| {
        let mut file = ConfigFile::load(args.config.as_deref())?;
        let settings = ProcessSettings::read(&mut file, args)?;
        let config: S::Config = file.section(section_name(S::NAME))?;
        let Some(stop) = begin(args, &file, &settings)? else { return Ok(()) };
        let running = Running::open(&settings)?;
        let source = S::start(config, running.source_context(S::NAME, &settings)?)?;
        let api = running.serve(&file, &settings, Router::new())?;
        let outcome = wait_until(&stop, || source.failed());
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

fn exit(name: &'static str, run: impl FnOnce(&ProcessArgs) -> Result<(), AnyError>) -> ExitCode {
    let command = PartCommand::command().name(&*format!("nephoscope-{name}").leak());
    let args = match PartCommand::from_arg_matches(&command.get_matches()) {
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
    if listen.token_file.is_empty() && !path.exists() {
        let mut random = [0; 16];
        std::fs::File::open("/dev/urandom")?.read_exact(&mut random)?;
        let token: String = random.iter().map(|byte| format!("{byte:02x}")).collect();
        let mut file = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path)?;
        file.write_all(token.as_bytes())?;
    }
    let text = std::fs::read_to_string(&path).map_err(|error| format!("token file {}: {error}", path.display()))?;
    let token = text.trim().to_string();
    if token.is_empty() { Err(format!("token file {} is empty", path.display()).into()) } else { Ok(token) }
}

/// An open bus with an engine and an API on it.
pub struct Running {
    /// The bus.
    pub bus: EmbeddedBus,
    /// The parts.
    pub engine: Engine,
}

impl Running {
    /// Opens the bus, creates its topics, starts the watch.
    ///
    /// # Errors
    /// If the data directory cannot be used or another process uses it.
    pub fn open(settings: &ProcessSettings) -> Result<Self, BusError> {
        let bus = EmbeddedBus::open(&settings.bus.data_dir, settings.embedded.clone())?;
        Engine::ensure_topics(&bus)?;
        let mut engine = Engine::new(Arc::new(bus.clone()), settings.engine.clone());
        engine.spawn_watch()?;
        Ok(Self { bus, engine })
    }

    /// What a collector needs.
    ///
    /// # Errors
    /// If its publisher cannot be opened.
    pub fn source_context(&self, name: &'static str, settings: &ProcessSettings) -> Result<SourceContext, BusError> {
        Ok(SourceContext { publisher: self.engine.publisher(name)?, data_dir: settings.bus.data_dir.clone(), loss: self.engine.loss() })
    }

    /// Starts the API on the data directory's socket and the configured address.
    ///
    /// # Errors
    /// If the address is taken or the token file cannot be read.
    pub fn serve(&self, file: &ConfigFile, settings: &ProcessSettings, routes: Router) -> Result<ApiServer, AnyError> {
        let data_dir = &settings.bus.data_dir;
        let listen = settings.listen.admin.parse().map_err(|_| ConfigFileError {
            place: None,
            key: "listen.admin".into(),
            problem: format!("found {:?}, expected an address such as 127.0.0.1:7700", settings.listen.admin),
        })?;
        let token = token(&settings.listen, data_dir)?;
        let state = ApiState { inspect: Arc::new(self.bus.clone()), engine: self.engine.view(), config: file.to_json(), routes };
        let api = ApiServer::start(ApiConfig { listen, socket: data_dir.join(SOCKET_FILE), token }, state)?;
        let run = serde_json::json!({ "pid": std::process::id(), "address": api.address().to_string(), "version": VERSION });
        std::fs::write(data_dir.join(RUN_FILE), run.to_string())?;
        Ok(api)
    }

    /// Lets every part finish, then closes the bus.
    pub fn stop(self) {
        self.engine.stop();
        self.bus.close();
    }
}

/// Returns when a signal came, or with the reason when there is one to end.
///
/// # Errors
/// The reason.
pub fn wait_until(stop: &AtomicBool, failed: impl Fn() -> Option<String>) -> Result<(), AnyError> {
    while !stop.load(Ordering::Relaxed) {
        if let Some(why) = failed() {
            return Err(why.into());
        }
        std::thread::sleep(WATCH_PERIOD);
    }
    Ok(())
}

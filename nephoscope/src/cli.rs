//! The arguments of all commands, with their help texts.

mod feedback;
mod verdicts;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use schemas::{AlertStatus, EventTime, IncidentStatus, Severity};
use stream_core::{Partition, TopicName, TopicPartition};
use stream_runtime::process::BusArg;

pub use feedback::{FalseAlarm, Feedback, Missed, Said, Undo};
pub use verdicts::{Verdicts, VerdictsImport, VerdictsList, VerdictsSet, VerdictsUndo, WordArg};

use crate::{commands::dlq::Letter, moment};

/// Nephoscope watches machines and says before their users do that something goes wrong.
#[derive(Debug, Parser)]
#[command(name = "nephoscope", version, arg_required_else_help = true, after_help = EXAMPLES)]
pub struct Cli {
    #[command(flatten)]
    pub global: Global,
    #[command(subcommand)]
    pub command: Command,
}

const EXAMPLES: &str = "\
Examples:
  nephoscope up                      watch this machine; the page is on http://127.0.0.1:7700
  nephoscope demo                    a story on the real pipeline: something new, a flood, a silence, a severe line
  nephoscope doctor                  can this machine be watched, and what should be mended first
  nephoscope status                  what runs, how fast, and what is not seen
  nephoscope tail logs --grep oom    log lines as they arrive
  nephoscope alerts list             what is wrong now
  nephoscope incidents list          the same, story by story, with probable causes

Exit codes: 0 it went well, 1 it failed, 2 it was not understood.";

/// Where to look, and how to answer: the same for every command.
#[derive(Debug, Args)]
pub struct Global {
    /// Configuration file [default: ./nephoscope.toml, else /etc/nephoscope/nephoscope.toml, if there is one]
    #[arg(long, global = true, value_name = "FILE", help_heading = "Global options")]
    pub config: Option<PathBuf>,
    /// Data directory of the instance to ask, or of the store to read [default: what the configuration says]
    #[arg(long, global = true, value_name = "DIR", help_heading = "Global options")]
    pub data_dir: Option<PathBuf>,
    /// Which bus: embedded, or kafka://HOST:PORT[,HOST:PORT…] [default: what the configuration says, else embedded]
    #[arg(long, global = true, value_name = "BUS", value_parser = BusArg::parse, help_heading = "Global options")]
    pub bus: Option<BusArg>,
    /// Ask the instance that answers here, instead of the one of the data directory
    #[arg(long, global = true, value_name = "http://HOST:PORT", value_parser = authority, help_heading = "Global options")]
    pub address: Option<String>,
    /// File that holds the token for --address
    #[arg(long, global = true, value_name = "FILE", help_heading = "Global options", requires = "address")]
    pub token_file: Option<PathBuf>,
    /// Answer in JSON: one document, or one object per line from what follows
    #[arg(long, global = true, help_heading = "Global options")]
    pub json: bool,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Watch this machine: every part in one process, until it is told to stop
    #[command(after_help = UP_EXAMPLES)]
    Up(Up),
    /// Play a scripted story on the real pipeline, and check that every expected alert comes
    #[command(after_help = DEMO_EXAMPLES)]
    Demo(Demo),
    /// Follow a topic as records arrive
    #[command(after_help = TAIL_EXAMPLES)]
    Tail(Tail),
    /// List the topics: what each holds, and how much of it
    #[command(after_help = TOPICS_EXAMPLES)]
    Topics(Topics),
    /// What kinds of log lines there are
    #[command(subcommand, arg_required_else_help = true)]
    Templates(Templates),
    /// What is or was wrong
    #[command(subcommand, arg_required_else_help = true)]
    Alerts(Alerts),
    /// Alerts of one story together, and what probably caused them
    #[command(subcommand, arg_required_else_help = true)]
    Incidents(Incidents),
    /// Where alerts are told, and which go where
    #[command(subcommand, arg_required_else_help = true)]
    Notify(Notify),
    /// What people are not to be told for a while
    #[command(subcommand, arg_required_else_help = true)]
    Silence(Silence),
    /// What a kind of line tells of, who says so, and a person's word on it
    #[command(subcommand, arg_required_else_help = true)]
    Verdicts(Verdicts),
    /// Correct what the system learnt: an alert that was none, a failure that nobody told
    #[command(subcommand, arg_required_else_help = true)]
    Feedback(Feedback),
    /// What runs, how fast, how far behind, what was rejected or lost, and what is not seen
    #[command(after_help = STATUS_EXAMPLES)]
    Status(Status),
    /// Records that a part could not read
    #[command(subcommand, arg_required_else_help = true)]
    Dlq(Dlq),
    /// What the processors remember
    #[command(subcommand, arg_required_else_help = true)]
    State(State),
    /// The store on disk, while nothing runs
    #[command(subcommand, arg_required_else_help = true)]
    Store(Store),
    /// Examine this machine and the installation: what is fine, what is not, what to do
    #[command(after_help = DOCTOR_EXAMPLES)]
    Doctor(Doctor),
    /// Ask an instance whether it lives: a yes or no, for supervisors
    #[command(after_help = HEALTH_EXAMPLES)]
    Health(Health),
}

/// `up`.
#[derive(Debug, Args)]
pub struct Up {
    /// Print the effective configuration with the origin of each value, and end
    #[arg(long)]
    pub print_config: bool,
}

const UP_EXAMPLES: &str = "\
Examples:
  nephoscope up                                   journal or log files, kernel, syslog on 127.0.0.1:5514
  nephoscope up --print-config > nephoscope.toml  every setting, ready to be changed
  NEPHOSCOPE_LISTEN__ADMIN=127.0.0.1:8800 nephoscope up --data-dir /tmp/nephoscope";

/// `store`.
#[derive(Debug, Subcommand)]
pub enum Store {
    /// Read every chunk of the log and every page of the store, and say what is wrong and where
    #[command(
        after_help = "Examples:\n  nephoscope store check\n  nephoscope --data-dir /tmp/nephoscope --json store check\n\nExit codes: 0 everything can be read, 1 it cannot."
    )]
    Check,
    /// Cut each damaged partition to its last good chunk; the offsets that go are published as a loss and never used again
    #[command(after_help = STORE_REPAIR_EXAMPLES)]
    Repair(StoreRepair),
}

/// `store repair`.
#[derive(Debug, Args)]
pub struct StoreRepair {
    /// Do it; without this, only say what would go
    #[arg(long)]
    pub yes: bool,
}

const STORE_REPAIR_EXAMPLES: &str = "\
Examples:
  nephoscope store repair        what would go
  nephoscope store repair --yes  cut it off

Exit codes: 0 everything can be read now, 1 it cannot.";

/// `demo`.
#[derive(Debug, Args)]
pub struct Demo {
    /// Tell the story this many times faster, at most 6
    #[arg(long, default_value_t = 1, value_name = "FACTOR", value_parser = clap::value_parser!(u32).range(1..=6))]
    pub speed: u32,
}

const DEMO_EXAMPLES: &str = "\
It starts an instance of its own in a temporary directory and disturbs nothing.

Examples:
  nephoscope demo
  nephoscope demo --speed 6";

/// `tail`.
#[derive(Debug, Args)]
pub struct Tail {
    /// `logs`, `alerts`, `templates`, or the name of any topic
    #[arg(value_name = "TOPIC")]
    pub topic: String,
    /// Begin with the last N records that match
    #[arg(long, default_value_t = 10, value_name = "N")]
    pub last: u32,
    /// Only records of this host
    #[arg(long, value_name = "HOST")]
    pub host: Option<String>,
    /// Only records that contain this text, in any case
    #[arg(long, value_name = "TEXT")]
    pub grep: Option<String>,
    /// Print what is there and end
    #[arg(long)]
    pub no_follow: bool,
}

const TAIL_EXAMPLES: &str = "\
Examples:
  nephoscope tail logs --host web-3
  nephoscope tail alerts --last 50
  nephoscope tail logs.parsed.v1 --grep 'connection refused' --json
  nephoscope tail logs --last 1000 --no-follow > lines.txt";

const TOPICS_EXAMPLES: &str = "\
Examples:
  nephoscope topics
  nephoscope topics --json
  nephoscope --bus kafka://127.0.0.1:9092 topics create";

#[derive(Debug, Subcommand)]
pub enum Templates {
    /// List the templates, the most frequent first
    #[command(after_help = TEMPLATES_EXAMPLES)]
    List(TemplatesList),
}

/// `templates list`.
#[derive(Debug, Args)]
pub struct TemplatesList {
    /// Only what this host wrote
    #[arg(long, value_name = "HOST")]
    pub host: Option<String>,
    /// Only what came since: a span such as 15m, 2h, 1d, or a time in RFC 3339
    #[arg(long, value_name = "WHEN", value_parser = moment::since)]
    pub since: Option<EventTime>,
    /// What happened to templates (created, generalised, merged, evicted), in order of time, instead of the table
    #[arg(long)]
    pub events: bool,
    /// At most this many
    #[arg(long, default_value_t = 50, value_name = "N")]
    pub limit: usize,
}

const TEMPLATES_EXAMPLES: &str = "\
Alone it shows the table that drain publishes, whose counts may be ten minutes old. With --host, --since or --events
the lines themselves are read and counted, of the last hour unless --since says otherwise.

Examples:
  nephoscope templates list --limit 20
  nephoscope templates list --host web-3 --since 15m
  nephoscope templates list --events --since 1d";

#[derive(Debug, Subcommand)]
pub enum Alerts {
    /// List alerts, each with its last word, the newest first
    #[command(after_help = ALERTS_LIST_EXAMPLES)]
    List(AlertsList),
    /// Show all that is known about one alert, with the log lines that it rests on
    #[command(after_help = ALERTS_SHOW_EXAMPLES)]
    Show(AlertsShow),
}

/// `alerts list`.
#[derive(Debug, Args)]
pub struct AlertsList {
    /// Only those that last, or only those that are over
    #[arg(long, value_enum, value_name = "STATUS")]
    pub status: Option<StatusArg>,
    /// Only those at least this severe
    #[arg(long, value_enum, value_name = "SEVERITY")]
    pub severity: Option<SeverityArg>,
    /// Only what was said since: a span such as 15m, 2h, 1d, or a time in RFC 3339 [default: 1d]
    #[arg(long, value_name = "WHEN", value_parser = moment::since)]
    pub since: Option<EventTime>,
}

const ALERTS_LIST_EXAMPLES: &str = "\
Examples:
  nephoscope alerts list
  nephoscope alerts list --status firing --severity high
  nephoscope alerts list --since 7d --json";

/// `alerts show`.
#[derive(Debug, Args)]
pub struct AlertsShow {
    /// Id or fingerprint of the alert, or how it begins
    #[arg(value_name = "ID|FINGERPRINT")]
    pub alert: String,
}

const ALERTS_SHOW_EXAMPLES: &str = "\
Examples:
  nephoscope alerts show 832b9dae
  nephoscope alerts show 832b9dae9e06b086c1aa3d277e96eaa0 --json";

#[derive(Debug, Subcommand)]
pub enum Incidents {
    /// List incidents, those that are open first, the newest first
    #[command(after_help = INCIDENTS_LIST_EXAMPLES)]
    List(IncidentsList),
    /// Show one incident: what probably caused it and why, how it went, and its alerts
    #[command(after_help = INCIDENTS_SHOW_EXAMPLES)]
    Show(IncidentsShow),
}

/// `incidents list`.
#[derive(Debug, Args)]
pub struct IncidentsList {
    /// Only those that go on, or only those that are over
    #[arg(long, value_enum, value_name = "STATUS")]
    pub status: Option<IncidentStatusArg>,
    /// Only those at least this severe
    #[arg(long, value_enum, value_name = "SEVERITY")]
    pub severity: Option<SeverityArg>,
    /// Only what changed since: a span such as 15m, 2h, 1d, or a time in RFC 3339 [default: 1d]
    #[arg(long, value_name = "WHEN", value_parser = moment::since)]
    pub since: Option<EventTime>,
}

const INCIDENTS_LIST_EXAMPLES: &str = "\
Examples:
  nephoscope incidents list
  nephoscope incidents list --status open --severity high
  nephoscope incidents list --since 7d --json";

/// `incidents show`.
#[derive(Debug, Args)]
pub struct IncidentsShow {
    /// Id of the incident, or how it begins
    #[arg(value_name = "ID")]
    pub incident: String,
}

const INCIDENTS_SHOW_EXAMPLES: &str = "\
Examples:
  nephoscope incidents show 86ba9877
  nephoscope incidents show 86ba9877b46112355f13c311ad667eec --json";

#[derive(Debug, Subcommand)]
pub enum Notify {
    /// List the destinations, and how each stands
    #[command(after_help = "Examples:\n  nephoscope notify list\n  nephoscope notify list --json")]
    List,
    /// Send one synthetic alert to a destination, now, and say what came of it
    #[command(after_help = NOTIFY_TEST_EXAMPLES)]
    Test(NotifyTest),
    /// Say which route takes an alert, and why
    #[command(after_help = NOTIFY_EXPLAIN_EXAMPLES)]
    Explain(NotifyExplain),
}

/// `notify test`.
#[derive(Debug, Args)]
pub struct NotifyTest {
    /// The destination, by the name that it has in the configuration
    #[arg(value_name = "DESTINATION")]
    pub destination: String,
}

const NOTIFY_TEST_EXAMPLES: &str = "\
A running instance sends it, with its own configuration and secrets; where none runs, this command does. Routes, groups and
silences do not matter. Exit code 1 if the destination did not take it.

Examples:
  nephoscope notify test pager
  nephoscope notify test ops --json";

/// `notify explain`.
#[derive(Debug, Args)]
pub struct NotifyExplain {
    /// Id or fingerprint of the alert, or how it begins
    #[arg(value_name = "ID|FINGERPRINT")]
    pub alert: String,
}

const NOTIFY_EXPLAIN_EXAMPLES: &str = "\
It asks the routes as of now: time windows count.

Examples:
  nephoscope notify explain 832b9dae
  nephoscope notify explain 832b9dae --json";

#[derive(Debug, Subcommand)]
pub enum Silence {
    /// Hold alerts back for a while; every silence has an end, an author and a reason
    #[command(after_help = SILENCE_ADD_EXAMPLES)]
    Add(SilenceAdd),
    /// List the silences that hold or will hold, and what each has held back
    #[command(after_help = "Examples:\n  nephoscope silence list\n  nephoscope silence list --all --json")]
    List(SilenceList),
    /// End a silence now
    #[command(after_help = "Examples:\n  nephoscope silence expire 5f0c2a9b")]
    Expire(SilenceExpire),
}

/// `silence add`.
#[derive(Debug, Args)]
pub struct SilenceAdd {
    /// A condition, as in Alertmanager: name=value, !=, =~, !~; all that are given must hold
    #[arg(long = "match", value_name = "MATCHER", required = true)]
    pub matchers: Vec<notifier::Matcher>,
    /// How long: a span such as 15m, 2h, 1d
    #[arg(long = "for", value_name = "SPAN", value_parser = moment::length)]
    pub length_ms: i64,
    /// Who says so
    #[arg(long, value_name = "NAME")]
    pub by: String,
    /// Why
    #[arg(long, value_name = "REASON")]
    pub why: String,
}

const SILENCE_ADD_EXAMPLES: &str = "\
Alerts are still on the topic and the page; they are only not told. What was told as firing is still told when it ends.

Examples:
  nephoscope silence add --match 'host=~\"web-.*\"' --for 2h --by ann --why 'upgrade, CHG-4711'
  nephoscope silence add --match name=TemplateBurst --match host=db-7 --for 30m --by ann --why 'load test'";

/// `silence list`.
#[derive(Debug, Args)]
pub struct SilenceList {
    /// Those that are over too
    #[arg(long)]
    pub all: bool,
}

/// `silence expire`.
#[derive(Debug, Args)]
pub struct SilenceExpire {
    /// Id of the silence, or how it begins
    #[arg(value_name = "ID")]
    pub id: String,
}

/// `status`.
#[derive(Debug, Args)]
pub struct Status {
    /// Show it again every two seconds
    #[arg(long)]
    pub watch: bool,
}

const STATUS_EXAMPLES: &str = "\
Rates are measured over one second; exit code 1 if a stage has stopped.

Examples:
  nephoscope status
  nephoscope status --watch
  nephoscope status --json";

#[derive(Debug, Subcommand)]
pub enum Dlq {
    /// List dead letters, the newest last
    #[command(after_help = DLQ_LIST_EXAMPLES)]
    List(DlqFilter),
    /// Show one dead letter whole: why it was rejected, its headers, its bytes
    #[command(after_help = DLQ_SHOW_EXAMPLES)]
    Show(DlqShow),
    /// Publish dead letters to their topic again, after what rejected them has been mended
    #[command(after_help = DLQ_REPLAY_EXAMPLES)]
    Replay(DlqReplay),
}

/// Which dead letters.
#[derive(Debug, Args)]
pub struct DlqFilter {
    /// Only those of this topic
    #[arg(long, value_name = "TOPIC")]
    pub topic: Option<String>,
    /// Only those rejected for this reason, e.g. undecodable, too_old, panic
    #[arg(long, value_name = "REASON")]
    pub reason: Option<String>,
    /// Only those rejected since: a span such as 15m, 2h, 1d, or a time in RFC 3339
    #[arg(long, value_name = "WHEN", value_parser = moment::since)]
    pub since: Option<EventTime>,
    /// At most this many, the newest
    #[arg(long, default_value_t = 50, value_name = "N")]
    pub limit: usize,
}

const DLQ_LIST_EXAMPLES: &str = "\
Examples:
  nephoscope dlq list
  nephoscope dlq list --topic logs.raw.v1 --reason undecodable --since 1d";

/// `dlq show`.
#[derive(Debug, Args)]
pub struct DlqShow {
    /// The dead letter, as `dlq list` names it
    #[arg(value_name = "TOPIC/PARTITION/OFFSET")]
    pub letter: Letter,
}

const DLQ_SHOW_EXAMPLES: &str = "\
Examples:
  nephoscope dlq show logs.raw.v1/0/17
  nephoscope dlq show logs.raw.v1/0/17 --json";

/// `dlq replay`.
#[derive(Debug, Args)]
pub struct DlqReplay {
    /// The topic that they came from
    #[arg(value_name = "TOPIC")]
    pub topic: String,
    /// Only those rejected for this reason
    #[arg(long, value_name = "REASON")]
    pub reason: Option<String>,
    /// Only those rejected since: a span such as 15m, 2h, 1d, or a time in RFC 3339
    #[arg(long, value_name = "WHEN", value_parser = moment::since)]
    pub since: Option<EventTime>,
    /// At most this many, the oldest
    #[arg(long, value_name = "N")]
    pub limit: Option<u64>,
}

const DLQ_REPLAY_EXAMPLES: &str = "\
A record is replayed three times at most. Replaying needs a running instance.

Examples:
  nephoscope dlq replay logs.raw.v1 --reason unknown_schema
  nephoscope dlq replay logs.raw.v1 --since 1h --limit 10";

#[derive(Debug, Subcommand)]
pub enum State {
    /// Show what each processor keeps: instances, position, size
    #[command(after_help = STATE_SHOW_EXAMPLES)]
    Show(StateShow),
    /// Forget what a processor has learned, so that it starts empty where it stopped reading
    #[command(after_help = STATE_RESET_EXAMPLES)]
    Reset(StateReset),
    /// Let a processor live through records without putting anything out, and go on behind them
    #[command(after_help = STATE_SKIP_EXAMPLES)]
    Skip(StateSkip),
}

/// `state skip`.
#[derive(Debug, Args)]
pub struct StateSkip {
    /// The processor
    #[arg(value_name = "PROCESSOR")]
    pub processor: String,
    /// The input partition, as `state show` names it; without it all, up to where the consumer group has been moved
    #[arg(long, value_name = "TOPIC/PARTITION", value_parser = partition, requires = "to")]
    pub partition: Option<TopicPartition>,
    /// The position to go on from
    #[arg(long, value_name = "OFFSET", requires = "partition")]
    pub to: Option<u64>,
}

const STATE_SKIP_EXAMPLES: &str = "\
Its state learns from the records, so it stays whole; their outputs are not wanted. The instance must be stopped first.
On Kafka this is the way on after somebody has moved the consumer group forward.

Examples:
  nephoscope state skip drain --partition logs.raw.v1/0 --to 120000
  nephoscope --bus kafka://127.0.0.1:9092 state skip drain";

/// `topics`.
#[derive(Debug, Args)]
pub struct Topics {
    #[command(subcommand)]
    pub command: Option<TopicsCommand>,
}

#[derive(Debug, Subcommand)]
pub enum TopicsCommand {
    /// Make on Kafka what is missing, and verify what is there; any part does so as well when it starts
    #[command(after_help = "Examples:\n  nephoscope --bus kafka://127.0.0.1:9092 topics create")]
    Create,
}

fn partition(text: &str) -> Result<TopicPartition, String> {
    let parsed = text.rsplit_once('/').and_then(|(topic, number)| Some((topic, number.parse().ok()?)));
    let (topic, number) = parsed.ok_or("expected TOPIC/PARTITION, such as logs.raw.v1/0")?;
    Ok(TopicPartition::new(&TopicName::new(topic), Partition(number)))
}

/// `state show`.
#[derive(Debug, Args)]
pub struct StateShow {
    /// Only this processor
    #[arg(value_name = "PROCESSOR")]
    pub processor: Option<String>,
}

const STATE_SHOW_EXAMPLES: &str = "\
Examples:
  nephoscope state show
  nephoscope state show drain --json";

/// `state reset`.
#[derive(Debug, Args)]
pub struct StateReset {
    /// The processor
    #[arg(value_name = "PROCESSOR")]
    pub processor: String,
    /// It cannot be undone; say that you mean it
    #[arg(long)]
    pub yes: bool,
}

const STATE_RESET_EXAMPLES: &str = "\
The instance must be stopped first: a running processor would write its state again.

Examples:
  nephoscope state reset drain --yes";

/// `doctor`.
#[derive(Debug, Args)]
pub struct Doctor {
    #[command(subcommand)]
    pub subject: Option<DoctorSubject>,
}

/// What is examined instead of this machine.
#[derive(Debug, Clone, Copy, Subcommand)]
pub enum DoctorSubject {
    /// Prove that the transactions of a Kafka cluster hold, and look at its clock, its topics and this user's rights
    #[command(after_help = DOCTOR_KAFKA_EXAMPLES)]
    Kafka,
}

const DOCTOR_EXAMPLES: &str = "\
Exit code 1 if something fails; warnings are no failure.

Examples:
  nephoscope doctor
  sudo nephoscope doctor --json
  nephoscope doctor kafka";

const DOCTOR_KAFKA_EXAMPLES: &str = "\
It takes a few seconds, at most half a minute, and writes four records to the topic <bus.prefix>.probe. Properties of the
connection come from [kafka] of the configuration. Exit code 1 if something fails: do not run on such a cluster.

Examples:
  nephoscope doctor kafka --bus kafka://127.0.0.1:9092
  nephoscope doctor kafka --config /etc/nephoscope/nephoscope.toml --json";

/// `health`.
#[derive(Debug, Args)]
pub struct Health {
    /// Ask whether it processes; one that restores its state lives, but is not ready
    #[arg(long)]
    pub ready: bool,
}

const HEALTH_EXAMPLES: &str = "\
Exit code 1 if it says no, and if nobody answers. On loopback no token is needed.

Examples:
  nephoscope health
  nephoscope health --ready --address http://127.0.0.1:7700";

/// Values of `--status`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum StatusArg {
    Firing,
    Resolved,
}

impl From<StatusArg> for AlertStatus {
    fn from(arg: StatusArg) -> Self {
        match arg {
            StatusArg::Firing => Self::Firing,
            StatusArg::Resolved => Self::Resolved,
        }
    }
}

/// Values of `--status` of incidents.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum IncidentStatusArg {
    Open,
    Resolved,
}

impl From<IncidentStatusArg> for IncidentStatus {
    fn from(arg: IncidentStatusArg) -> Self {
        match arg {
            IncidentStatusArg::Open => Self::Open,
            IncidentStatusArg::Resolved => Self::Resolved,
        }
    }
}

/// Values of `--severity`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum SeverityArg {
    Low,
    Info,
    Warning,
    High,
    Critical,
}

impl From<SeverityArg> for Severity {
    fn from(arg: SeverityArg) -> Self {
        match arg {
            SeverityArg::Low => Self::Low,
            SeverityArg::Info => Self::Info,
            SeverityArg::Warning => Self::Warning,
            SeverityArg::High => Self::High,
            SeverityArg::Critical => Self::Critical,
        }
    }
}

/// `host:port` of an address.
fn authority(text: &str) -> Result<String, String> {
    let authority = text.strip_prefix("http://").map(|rest| rest.trim_end_matches('/'));
    let is_whole =
        |authority: &&str| authority.rsplit_once(':').is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok());
    authority.filter(is_whole).map(str::to_string).ok_or_else(|| "expected http://HOST:PORT".into())
}

//! Chaos: real processes on real brokers, hit by a seeded schedule of faults, while lines with a number each flow from files
//! to `logs.raw.v1` and on to `logs.parsed.v1`. Afterwards every line and every output is counted.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use rdkafka::message::Message;
use schemas::{LogRecord, ParsedLog, Subject, topics};

use crate::{Cluster, ClusterError, Launch, Plan, Process, Topics, TopicsError};

mod arena;
mod fleet;
mod ledger;
mod load;
mod plan;
mod report;
mod stranger;

use arena::{Arena, Outcome};
use fleet::Slot;
use ledger::Ledger;
use plan::Step;
use stranger::Stranger;

pub use ledger::Verdict;
pub use report::{Count, Report};

/// Consumer group of the workers.
const GROUP: &str = "nephoscope.drain";
/// How long the first output may take: topics are made, the group forms.
const START_MAX: Duration = Duration::from_secs(60);
/// How long the rest may take after the last fault: a session, a transaction and the slowest restore, several times over.
const SETTLE_MAX: Duration = Duration::from_secs(180);
/// How often processes are looked after.
const LOOK: Duration = Duration::from_millis(100);

/// A run.
#[derive(Debug, Clone)]
pub struct Settings {
    /// What happens when.
    pub attack: Attack,
    /// Three brokers instead of one.
    pub three_brokers: bool,
    /// Workers at most; all but one run at the start, so that one can join.
    pub workers: usize,
    /// Collectors, each with a file of its own.
    pub collectors: usize,
    /// Lines per second, all files together.
    pub lines_per_s: u32,
    /// Where `nephoscope-drain` and `nephoscope-syslog` are.
    pub binaries: PathBuf,
    /// Where files, data directories and logs go; must not exist. It stays, for whoever must find out what went wrong.
    pub directory: PathBuf,
    /// Print each fault as it happens.
    pub tell: bool,
}

/// What happens when.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Attack {
    /// Faults of all kinds, many at once.
    Seeded {
        /// How long they happen.
        length: Duration,
        /// Decides which, when and to whom.
        seed: u64,
        /// From one to the next, on average, while a wave of them lasts.
        pace: Duration,
    },
    /// A few faults, one after the other, to see how long each stops the outputs. All workers are static members, the default.
    OneByOne,
}

impl Attack {
    fn steps(self) -> Vec<(&'static str, Step)> {
        match self {
            Self::Seeded { length, seed, pace } => {
                plan::plan(seed, length, pace).into_iter().map(|step| (step.fault.name(), step)).collect()
            }
            Self::OneByOne => plan::one_by_one(),
        }
    }
}

/// Why a run could not be made.
#[derive(Debug, thiserror::Error)]
pub enum ChaosError {
    /// A binary is not built.
    #[error("{} is not there: build it with scripts/build", .0.display())]
    NotBuilt(PathBuf),
    /// No brokers.
    #[error(transparent)]
    Cluster(#[from] ClusterError),
    /// A topic cannot be read.
    #[error("the topics cannot be read")]
    Topics(#[from] TopicsError),
    /// Nothing came out before the first fault.
    #[error("nothing came out within {} s of the start; {who} said: {words}", START_MAX.as_secs())]
    NoStart {
        /// A process.
        who: String,
        /// The end of its log.
        words: String,
    },
    /// A file or a process.
    #[error("files or processes of the run")]
    Io(#[from] io::Error),
}

/// Makes a run and counts.
///
/// # Errors
/// If it could not be made. What went wrong within it stands in the report.
pub fn run(settings: &Settings) -> Result<Report, ChaosError> {
    std::fs::create_dir_all(&settings.directory)?;
    let files: Vec<PathBuf> = (0..settings.collectors).map(|number| settings.directory.join(format!("{number}.log"))).collect();
    let arena = arena(settings, &files)?;
    let topics = Topics::on(arena.cluster.bootstrap());
    let tally = Mutex::new(Report { title: title(settings), ..Report::default() });
    let stop = AtomicBool::new(false);

    let (written, moments, settled) = std::thread::scope(|scope| {
        let writer = scope.spawn(|| load::write(&files, settings.lines_per_s, &stop));
        let attacked = attack(settings, &arena, &topics, &tally);
        stop.store(true, Ordering::Relaxed);
        let written = writer.join().unwrap_or_else(|_| Err(io::Error::other("the writer panicked")))?;
        let moments = attacked?;
        Ok::<_, ChaosError>((written, moments, settle(&arena, &topics, &tally, settings.collectors, written)?))
    })?;

    let mut report = tally.into_inner().unwrap_or_else(PoisonError::into_inner);
    report.settled = settled;
    for slot in arena.workers.iter().chain(&arena.collectors) {
        let Some(process) = slot.hold().take() else { continue };
        match process.leave() {
            Ok(status) if status.success() => {}
            Ok(status) => report.findings.push(format!("{} left with {status}: {}", slot.launch.name, slot.launch.last_words())),
            Err(error) => report.findings.push(format!("{}: {error}", slot.launch.name)),
        }
    }
    let ledger = count(&topics, settings.collectors)?;
    if settings.attack == Attack::OneByOne {
        report.gaps = gaps(&moments, &ledger);
    }
    report.verdict = ledger.close(written);
    Ok(report)
}

fn title(settings: &Settings) -> String {
    let attack = match settings.attack {
        Attack::Seeded { length, seed, pace } => {
            format!("{} s, seed {seed}, waves of a fault every {} ms", length.as_secs(), pace.as_millis())
        }
        Attack::OneByOne => "one fault at a time".into(),
    };
    format!(
        "chaos: {attack}; {} broker(s), {} workers, {} collectors, {} lines/s",
        if settings.three_brokers { 3 } else { 1 },
        settings.workers,
        settings.collectors,
        settings.lines_per_s
    )
}

/// Brokers, and a place for each process.
fn arena(settings: &Settings, files: &[PathBuf]) -> Result<Arena, ChaosError> {
    let programs = ["nephoscope-drain", "nephoscope-syslog"].map(|name| settings.binaries.join(name));
    if let Some(missing) = programs.iter().find(|program| !program.is_file()) {
        return Err(ChaosError::NotBuilt(missing.clone()));
    }
    let cluster = Cluster::start(&Plan { three: settings.three_brokers, ..Plan::default() })?;
    let bus = format!("[bus]\nbackend = \"kafka\"\n[kafka]\n\"bootstrap.servers\" = \"{}\"\n", cluster.bootstrap());
    let [drain, syslog] = programs;
    let slot = |program: &Path, name: String, config: String, environment: &[(&str, &str)]| -> io::Result<Slot> {
        let path = settings.directory.join(format!("{name}.toml"));
        std::fs::write(&path, config)?;
        let mut environment: Vec<(String, String)> = environment.iter().map(|&(key, value)| (key.into(), value.into())).collect();
        environment.push(("NEPHOSCOPE_BUS__INSTANCE".into(), name.clone()));
        Ok(Slot::new(Launch {
            program: program.into(),
            arguments: Vec::new(),
            config: path,
            data_dir: settings.directory.join(&name),
            environment,
            log: settings.directory.join(format!("{name}.out")),
            name,
        }))
    };
    let workers = (0..settings.workers).map(|number| {
        // Static and dynamic members in one group: a fleet that is being moved from one to the other.
        let membership = if number % 2 == 0 || settings.attack == Attack::OneByOne { "true" } else { "false" };
        slot(&drain, format!("drain-{number}"), bus.clone(), &[("NEPHOSCOPE_BUS__STATIC_MEMBERSHIP", membership)])
    });
    let collectors = files.iter().enumerate().map(|(number, file)| {
        let sources = format!("[syslog]\nsources = \"listed\"\nudp = []\ntcp = []\nunix = []\nfiles = [\"{}\"]\n", file.display());
        slot(&syslog, format!("syslog-{number}"), format!("{bus}{sources}"), &[])
    });
    Ok(Arena {
        workers: workers.collect::<Result<_, _>>()?,
        collectors: collectors.collect::<Result<_, _>>()?,
        stranger: Stranger::new(cluster.bootstrap(), topics::LOGS_RAW),
        group: GROUP.into(),
        brokers: if settings.three_brokers { 3 } else { 1 },
        broker_fault: Mutex::new(()),
        cluster,
    })
}

/// When each fault began, by the clock that the brokers stamp records with.
type Moments = Vec<(&'static str, i64)>;

/// Starts everything, waits for the first output, lets the faults happen, and returns when the last one is over.
fn attack(settings: &Settings, arena: &Arena, topics: &Topics, tally: &Mutex<Report>) -> Result<Moments, ChaosError> {
    for slot in arena.collectors.iter().chain(arena.workers.iter().take(settings.workers.saturating_sub(1).max(1))) {
        *slot.hold() = Some(slot.launch.start()?);
    }
    await_output(arena, topics)?;
    let begun = Instant::now();
    let wait_until = |at: Duration| -> io::Result<()> {
        while begun.elapsed() < at {
            look_after(arena, tally)?;
            std::thread::sleep(LOOK.min(at.saturating_sub(begun.elapsed())));
        }
        Ok(())
    };
    std::thread::scope(|scope| {
        let mut moments = vec![("undisturbed", wall_ms())];
        for (number, (name, step)) in settings.attack.steps().into_iter().enumerate() {
            wait_until(step.at)?;
            moments.push((name, wall_ms()));
            scope.spawn(move || strike(settings, arena, number, name, &step, tally));
        }
        if settings.attack == Attack::OneByOne {
            wait_until(begun.elapsed() + plan::ONE_BY_ONE_REST)?;
        }
        Ok(moments)
    })
}

fn wall_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

/// The longest pause between each moment and the next.
fn gaps(moments: &Moments, ledger: &Ledger) -> Vec<(&'static str, Duration)> {
    let ends = moments.iter().skip(1).map(|&(_, ms)| ms).chain([i64::MAX]);
    let pauses = moments.iter().zip(ends).map(|(&(name, from_ms), to_ms)| {
        let pause_ms = ledger.longest_pause_ms(from_ms, to_ms);
        (name, Duration::from_millis(u64::try_from(pause_ms).unwrap_or(0)))
    });
    pauses.collect()
}

fn await_output(arena: &Arena, topics: &Topics) -> Result<(), ChaosError> {
    let begun = Instant::now();
    let mut outputs = 0;
    while outputs == 0 {
        std::thread::sleep(LOOK * 5);
        let ended = arena
            .workers
            .iter()
            .chain(&arena.collectors)
            .find(|slot| slot.hold().as_mut().is_some_and(|process| process.ended().is_some()));
        let silent = || arena.workers.first().filter(|_| begun.elapsed() > START_MAX);
        if let Some(slot) = ended.or_else(silent) {
            return Err(ChaosError::NoStart { who: slot.launch.name.clone(), words: slot.launch.last_words() });
        }
        // The topics are made by the processes themselves, and may not be there yet.
        let _ = topics.read(topics::LOGS_PARSED, |_| outputs += 1);
    }
    Ok(())
}

/// Starts again what ended by itself, as a service manager would.
fn look_after(arena: &Arena, tally: &Mutex<Report>) -> io::Result<()> {
    for slot in arena.workers.iter().chain(&arena.collectors) {
        let Some(mut held) = slot.try_hold() else { continue };
        let Some(status) = held.as_mut().and_then(Process::ended) else { continue };
        *report(tally).exits.entry(format!("{status}, {}", slot.launch.last_words())).or_default() += 1;
        *held = Some(slot.launch.start()?);
    }
    Ok(())
}

fn strike(settings: &Settings, arena: &Arena, number: usize, name: &'static str, step: &Step, tally: &Mutex<Report>) {
    if settings.tell {
        println!("{:>8.1} s  {name}", step.at.as_secs_f64());
    }
    let outcome = arena.strike(number, step);
    let mut report = report(tally);
    let count = report.faults.entry(name).or_default();
    match outcome {
        Ok(Outcome::Done) => count.done += 1,
        Ok(Outcome::NotNow) => count.not_now += 1,
        Ok(Outcome::Finding(finding)) => {
            count.done += 1;
            report.findings.push(finding);
        }
        Err(error) => {
            count.not_now += 1;
            if settings.tell {
                println!("{:>8.1} s  {name}: not now: {error}", step.at.as_secs_f64());
            }
        }
    }
}

fn report(tally: &Mutex<Report>) -> std::sync::MutexGuard<'_, Report> {
    tally.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Waits until every line is there and every input has its output, or for the longest time that this may take.
fn settle(arena: &Arena, topics: &Topics, tally: &Mutex<Report>, files: usize, written: u64) -> Result<Duration, ChaosError> {
    let begun = Instant::now();
    if fleet::running(&arena.workers) == 0
        && let Some(slot) = arena.workers.first()
    {
        *slot.hold() = Some(slot.launch.start()?);
    }
    loop {
        look_after(arena, tally)?;
        let verdict = count(topics, files)?.close(written);
        if (verdict.lines_lost, verdict.outputs_lost) == (0, 0) || begun.elapsed() > SETTLE_MAX {
            return Ok(begun.elapsed());
        }
        std::thread::sleep(LOOK * 10);
    }
}

/// Reads both topics, and the dead letters, from the beginning to the end.
fn count(topics: &Topics, files: usize) -> Result<Ledger, ChaosError> {
    let mut ledger = Ledger::new(files);
    topics.read(topics::LOGS_RAW, |message| {
        let record = LogRecord::from_bytes(message.payload().unwrap_or_default()).ok();
        let (partition, offset) = coordinates(message.partition(), message.offset());
        ledger.input(partition, offset, record.and_then(|record| load::number_of(record.message())));
    })?;
    topics.read(topics::LOGS_PARSED, |message| {
        let Ok(record) = ParsedLog::from_bytes(message.payload().unwrap_or_default()) else {
            return ledger.dead_letter();
        };
        let (input_partition, input_offset) = coordinates(record.raw_partition, record.raw_offset);
        let appended_ms = message.timestamp().to_millis().unwrap_or_default();
        ledger.output(coordinates(message.partition(), 0).0, input_partition, input_offset, appended_ms);
    })?;
    topics.read(&format!("{}.dlq", topics::LOGS_RAW), |_| ledger.dead_letter())?;
    Ok(ledger)
}

/// Kafka's signed numbers as what they are; a negative one is none of ours and lands where it shows.
fn coordinates(partition: i32, offset: i64) -> (u32, u64) {
    (u32::try_from(partition).unwrap_or(u32::MAX), u64::try_from(offset).unwrap_or_default())
}

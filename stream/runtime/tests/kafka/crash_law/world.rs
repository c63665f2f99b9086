//! One world: sources, replicas and strangers on an installation of their own, and a seeded schedule of what befalls them.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use stream_core::{Processor, TopicName};
use stream_runtime::{
    bus::Bus,
    config::BusSettings,
    kafka::KafkaBus,
    sim::{
        self, Moment, Mutation, Rng, Verified, Workload,
        toy::{self, Toy},
    },
    worker::WorkerError,
};

use super::{
    fate::{Fate, Order},
    record::record,
    replica::{Replica, Setting, is_fenced},
    source::Source,
    stranger::Stranger,
};
use crate::support::{Installation, topic};

/// The shortest that the broker allows: who is silent for longer is replaced.
const SESSION_MS: u64 = 6_000;
/// Long enough to lose membership and name.
const DEEP_SLEEP: Duration = Duration::from_millis(SESSION_MS + 2_000);
/// After the faults have ceased, everything must be processed within this.
const CALM_MAX: Duration = Duration::from_secs(90);

/// A world.
pub struct World {
    on: Installation,
    rng: Rng,
    workload: Workload,
    topics: Vec<(TopicName, u32)>,
    setting: Setting,
    is_static: bool,
    release: u8,
    replicas: Vec<Option<Replica>>,
    sources: Vec<Option<Source>>,
    /// Sources that have published everything.
    fed: Vec<bool>,
    /// Processes that have an heir, or are on their way out.
    zombies: Vec<Replica>,
    source_zombies: Vec<(usize, Source)>,
    strangers: Vec<Stranger>,
    met: BTreeMap<&'static str, u64>,
}

/// What happened in a world that broke no law.
#[derive(Debug)]
pub struct Story {
    /// Faults of each kind.
    pub met: BTreeMap<&'static str, u64>,
    pub verified: Verified,
}

impl World {
    /// Sets the scene.
    pub fn new(on: Installation, seed: u64, mutation: Option<Mutation>) -> Self {
        let mut rng = Rng::new(seed);
        let mut workload = toy::workload(&mut rng);
        // The slow sources of a real bus: a few minutes of them would find no more.
        workload.sources.iter_mut().for_each(|records| records.truncate(120));
        sim::sign(&mut workload);
        let setting = Setting::draw(&mut rng, mutation);
        let topics = topics(&workload, &setting);
        let specs: Vec<_> = topics.iter().map(|(name, partitions)| topic(name.as_str(), *partitions)).collect();
        on.bus("maker").ensure_topics(&specs).unwrap();
        let strangers = inputs(&topics, &setting).map(|(name, partitions)| {
            let (id, name) = (format!("{}.{name}", on.name), format!("{}{name}", on.topic_prefix()));
            Stranger::new(on.client(), &id, name, partitions)
        });
        let strangers = strangers.collect();
        let replicas = (0..2 + rng.index(2)).map(|_| None).collect();
        let sources: Vec<_> = workload.sources.iter().map(|_| None).collect();
        let fed = vec![false; sources.len()];
        let is_static = rng.chance(600);
        let (zombies, source_zombies, met) = (Vec::new(), Vec::new(), BTreeMap::new());
        Self { on, rng, workload, topics, setting, is_static, release: 0, replicas, sources, fed, zombies, source_zombies, strangers, met }
    }

    /// Lives through `time` of faults, then calms down.
    pub fn run(mut self, time: Duration) -> Result<Story, String> {
        let until = Instant::now() + time;
        (0..self.replicas.len()).for_each(|index| self.start(index));
        (0..self.sources.len()).for_each(|index| self.feed(index));
        while Instant::now() < until {
            std::thread::sleep(Duration::from_millis(100 + self.rng.below(300)));
            self.act()?;
        }
        self.calm_down()
    }

    fn note(&mut self, what: &'static str) {
        *self.met.entry(what).or_default() += 1;
    }

    /// Something happens.
    fn act(&mut self) -> Result<(), String> {
        self.bury()?;
        let (draw, index) = (self.rng.below(100), self.rng.bits() as usize);
        let moment = Moment::ALL[self.rng.index(Moment::ALL.len())];
        let (replica, source) = (index % self.replicas.len(), index % self.sources.len());
        match draw {
            0..35 => {
                (0..self.replicas.len()).for_each(|index| self.start(index));
                (0..self.sources.len()).for_each(|index| self.feed(index));
            }
            35..53 => self.command(replica, Order::Die(moment)),
            53..63 => {
                self.note("replicas told to leave");
                self.command(replica, Order::Leave);
            }
            63..70 => {
                let time = Duration::from_millis(100 + self.rng.below(1_500));
                self.command(replica, Order::Freeze(moment, time));
            }
            70..77 => self.command(replica, Order::Freeze(moment, DEEP_SLEEP)),
            77..82 => self.replace(replica),
            82..90 => self.command_source(source, Order::Die(moment)),
            90..93 => self.command_source(source, Order::Freeze(moment, DEEP_SLEEP / 4)),
            93..95 => self.replace_source(source),
            95..99 => {
                self.note("strangers' transactions");
                let time = Duration::from_millis(self.rng.below(400));
                let stranger = index % self.strangers.len();
                self.strangers[stranger].interfere(time);
            }
            _ => self.upgrade(),
        }
        Ok(())
    }

    /// Takes note of processes that have ended.
    fn bury(&mut self) -> Result<(), String> {
        let gone = self.replicas.iter_mut().filter_map(|replica| replica.take_if(|replica| replica.is_gone()));
        let mut gone: Vec<_> = gone.collect();
        gone.extend(self.zombies.extract_if(.., |zombie| zombie.is_gone()));
        for replica in gone {
            self.count(&replica.fate, "replicas killed in a commit", "replicas frozen in a commit");
            self.count_commits(&replica);
            match replica.end() {
                Ok(()) => {}
                Err(error) if is_fenced(&error) => self.note("replicas that found their name taken"),
                Err(error) => return Err(described(&error)),
            }
        }
        let gone = self.sources.iter_mut().enumerate();
        let gone = gone.filter_map(|(index, source)| Some((index, source.take_if(|source| source.is_gone())?)));
        let mut gone: Vec<_> = gone.collect();
        gone.extend(self.source_zombies.extract_if(.., |(_, zombie)| zombie.is_gone()));
        for (index, source) in gone {
            self.count(&source.fate, "sources killed in a commit", "sources frozen in a commit");
            self.fed[index] |= source.end();
        }
        Ok(())
    }

    fn count(&mut self, fate: &Fate, deaths: &'static str, freezes: &'static str) {
        let met = fate.met();
        *self.met.entry(deaths).or_default() += met.0;
        *self.met.entry(freezes).or_default() += met.1;
    }

    fn count_commits(&mut self, replica: &Replica) {
        let totals = replica.metrics.totals();
        let committed = totals.commits.get("ok").copied().unwrap_or_default();
        *self.met.entry("commits").or_default() += committed;
        *self.met.entry("commits that failed").or_default() += totals.commits.values().sum::<u64>() - committed;
        *self.met.entry("restores").or_default() += totals.restores;
    }

    /// A process's bus: each has clients of its own.
    fn bus(&self, instance: &str) -> KafkaBus {
        let (session, transaction) = (SESSION_MS.to_string(), (SESSION_MS - 1_000).to_string());
        self.on.bus_of(
            BusSettings { instance: instance.into(), static_membership: self.is_static, ..self.on.settings() },
            [
                ("session.timeout.ms", &*session),
                ("max.poll.interval.ms", &*session),
                ("transaction.timeout.ms", &*transaction),
                ("message.timeout.ms", &*transaction),
                ("heartbeat.interval.ms", "500"),
            ],
        )
    }

    fn start(&mut self, index: usize) {
        if self.replicas[index].is_none() {
            let bus = self.bus(&format!("replica-{index}"));
            self.replicas[index] = Some(Replica::start(bus, &self.setting, self.release));
        }
    }

    fn feed(&mut self, index: usize) {
        if self.sources[index].is_none() && !self.fed[index] {
            let (bus, rng) = (self.bus("host"), self.rng.fork());
            let records = &self.workload.sources[index];
            self.sources[index] = Some(Source::start(bus, &format!("source-{index}"), records, rng, self.setting.mutation));
        }
    }

    fn command(&mut self, index: usize, order: Order) {
        if let Some(replica) = &self.replicas[index] {
            replica.fate.order(order);
        }
    }

    fn command_source(&mut self, index: usize, order: Order) {
        if let Some(source) = &self.sources[index] {
            source.fate.order(order);
        }
    }

    /// A process stands still, and somebody starts another one under its name.
    fn replace(&mut self, index: usize) {
        if let Some(zombie) = self.replicas[index].take_if(|replica| replica.fate.is_frozen()) {
            self.note("replicas replaced while frozen");
            self.zombies.push(zombie);
            self.start(index);
        }
    }

    fn replace_source(&mut self, index: usize) {
        if let Some(zombie) = self.sources[index].take_if(|source| source.fate.is_frozen()) {
            self.note("sources replaced while frozen");
            self.source_zombies.push((index, zombie));
            self.feed(index);
        }
    }

    /// All processes end, and the next release is started: a bug may be mended in it.
    fn upgrade(&mut self) {
        self.note("upgrades");
        self.dismiss();
        self.release += 1;
    }

    /// Everybody who is still there leaves.
    fn dismiss(&mut self) {
        self.zombies.extend(self.replicas.iter_mut().filter_map(Option::take));
        self.zombies.iter().for_each(|replica| replica.fate.leave());
        while self.zombies.iter().any(|replica| !replica.is_gone()) {
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Faults cease; everything must be processed soon. Then everybody leaves, and what stands on the broker is judged.
    fn calm_down(mut self) -> Result<Story, String> {
        let begun = Instant::now();
        while !self.is_calm()? {
            if begun.elapsed() > CALM_MAX {
                return Err(format!("stuck: not everything is processed {CALM_MAX:?} after the faults have ceased"));
            }
            std::thread::sleep(Duration::from_millis(300));
        }
        self.dismiss();
        self.bury()?;
        let recording = record(&self.on, &self.setting.toy, &self.topics);
        let verified = recording.verify::<Toy>(&self.setting.toy, &self.workload).map_err(|violation| sim::describe(&violation))?;
        Ok(Story { met: std::mem::take(&mut self.met), verified })
    }

    /// Lets everybody work undisturbed; true once everything is published and processed.
    fn is_calm(&mut self) -> Result<bool, String> {
        self.bury()?;
        (0..self.replicas.len()).for_each(|index| self.start(index));
        (0..self.sources.len()).for_each(|index| self.feed(index));
        let sources = self.sources.iter().flatten().chain(self.source_zombies.iter().map(|(_, source)| source)).map(|source| &source.fate);
        self.replicas.iter().flatten().map(|replica| &replica.fate).chain(sources).for_each(Fate::calm_down);
        self.zombies.iter().for_each(|zombie| zombie.fate.leave());
        if !self.fed.iter().all(|fed| *fed) {
            return Ok(false);
        }
        let recording = record(&self.on, &self.setting.toy, &self.topics);
        recording.is_processed::<Toy>(&self.setting.toy).map_err(|violation| sim::describe(&violation))
    }
}

/// A world that broke a law ends too.
impl Drop for World {
    fn drop(&mut self) {
        self.replicas.iter().flatten().chain(&self.zombies).for_each(|replica| replica.fate.leave());
        self.sources.iter().flatten().for_each(|source| source.fate.calm_down());
    }
}

fn described(error: &WorkerError) -> String {
    let mut text = format!("a worker stopped: {error}");
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

/// All topics of a world, with their partitions.
fn topics(workload: &Workload, setting: &Setting) -> Vec<(TopicName, u32)> {
    let mut topics: BTreeMap<TopicName, u32> = workload.partitions.iter().cloned().collect();
    for read in Toy::inputs(&setting.toy).into_iter().chain(Toy::broadcasts(&setting.toy)) {
        let partitions = topics.get(&read).copied().unwrap_or(1);
        topics.insert(read.dead_letters(), partitions);
    }
    topics.into_iter().collect()
}

fn inputs<'a>(topics: &'a [(TopicName, u32)], setting: &Setting) -> impl Iterator<Item = (TopicName, u32)> + 'a {
    let inputs = Toy::inputs(&setting.toy);
    topics.iter().filter(move |(name, _)| inputs.contains(name)).cloned()
}

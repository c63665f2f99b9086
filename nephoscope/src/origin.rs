//! Where answers come from: the running instance, through its API, or, when none runs, its store as it was left.
//!
//! Both give the same records in the same form, so that a command does not care which it is.

use std::{
    io,
    ops::ControlFlow,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, bail};
use schemas::EventTime;
use serde::{Deserialize, Serialize};
use stream_core::{NextOffset, Partition, TopicName, TopicPartition};
use stream_runtime::{
    api::RecordView,
    config::{Backend, BusSettings, ConfigFile, ListenSettings},
    embedded::EmbeddedBus,
    gathered::Gathered,
    inspect::{Inspect, ReadLimits},
    process::{BusArg, ProcessArgs, ProcessSettings},
};

use crate::{
    cli::Global,
    client::{Client, ClientError, Endpoint, encoded},
    holder::Holder,
    output::note,
    record::Record,
    window::Window,
};

/// Records of one request (the API's own limit).
const RECORDS_MAX: usize = 1_000;
/// Bytes of one read from the store.
const BYTES_MAX: usize = 8 << 20;

/// Where answers come from.
pub enum Origin {
    /// A running instance.
    Instance(Client),
    /// The store of an instance that does not run.
    Store(EmbeddedBus),
    /// A Kafka cluster, looked at by this command itself.
    Cluster(Window),
}

/// A topic as it is now.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Topic {
    /// Name.
    pub name: String,
    /// `delete` or `compact`.
    pub cleanup: String,
    /// Its partitions.
    pub partitions: Vec<TopicPart>,
}

/// A partition as it is now.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct TopicPart {
    /// Number.
    pub partition: u32,
    /// The first record that is left.
    pub start: u64,
    /// The position after the last record.
    pub next: u64,
    /// Bytes on disk, where the bus can tell.
    pub bytes: Option<u64>,
}

impl Topic {
    /// Records that are there, at most: compaction leaves gaps.
    pub fn records(&self) -> u64 {
        self.partitions.iter().map(|part| part.next.saturating_sub(part.start)).sum()
    }

    /// Bytes on disk, where the bus can tell.
    pub fn bytes(&self) -> Option<u64> {
        self.partitions.iter().map(|part| part.bytes).sum()
    }
}

/// The data directory that the arguments and the configuration mean.
///
/// # Errors
/// If the configuration cannot be read.
pub fn data_dir(global: &Global) -> anyhow::Result<PathBuf> {
    if let Some(dir) = &global.data_dir {
        return Ok(dir.clone());
    }
    let mut file = ConfigFile::load(global.config.as_deref())?;
    Ok(file.section::<BusSettings>("bus")?.data_dir)
}

/// The shared sections of the configuration that the arguments mean.
///
/// # Errors
/// If one has an unknown key or a bad value.
pub fn settings(global: &Global) -> anyhow::Result<(ProcessSettings, ConfigFile)> {
    let mut file = ConfigFile::load(global.config.as_deref())?;
    let args = ProcessArgs { data_dir: global.data_dir.clone(), bus: global.bus.clone(), ..ProcessArgs::default() };
    let settings = ProcessSettings::read(&mut file, &args, ListenSettings::default())?;
    Ok((settings, file))
}

/// A view of the Kafka cluster that the arguments or the configuration name. None if they name no cluster, or if an instance
/// of this data directory answers, which knows more.
///
/// # Errors
/// If the configuration cannot be meant.
pub fn window(global: &Global) -> anyhow::Result<Option<Window>> {
    if global.address.is_some() {
        return Ok(None);
    }
    let (settings, file) = settings(global)?;
    let is_named = matches!(global.bus, Some(BusArg::Kafka(_)));
    if settings.bus.backend != Backend::Kafka || (!is_named && client(global)?.fetch("/livez").is_ok()) {
        return Ok(None);
    }
    Window::open(&settings, &file).map(Some)
}

/// A client of the instance that the arguments mean; whether one runs shows at the first request.
///
/// # Errors
/// If the arguments cannot be meant.
pub fn client(global: &Global) -> anyhow::Result<Client> {
    let Some(authority) = &global.address else { return Ok(Client::of_data_dir(&data_dir(global)?)?) };
    let read = |path: &PathBuf| std::fs::read_to_string(path).with_context(|| format!("cannot read the token file {}", path.display()));
    let token = global.token_file.as_ref().map(read).transpose()?.map(|token| token.trim().to_string());
    Ok(Client::new(Endpoint::Tcp { authority: authority.clone(), token })?)
}

impl Origin {
    /// The running instance; if none runs, its store, opened for reading.
    ///
    /// # Errors
    /// If neither is there, with what was tried and what to do.
    pub fn open(global: &Global) -> anyhow::Result<Self> {
        if let Some(window) = window(global)? {
            return Ok(Self::Cluster(window));
        }
        let client = client(global)?;
        match client.fetch("/livez") {
            Ok(_) => Ok(Self::Instance(client)),
            Err(error) if error.is_absent() && global.address.is_none() => Self::open_store(&data_dir(global)?),
            Err(error) => Err(error.into()),
        }
    }

    fn open_store(dir: &Path) -> anyhow::Result<Self> {
        let holder = Holder::of(dir);
        let shown = dir.display();
        if holder != Holder::Nobody {
            bail!("{holder} uses {shown}, but does not answer; if it has just been started, wait, else `nephoscope doctor` says more");
        }
        let store = EmbeddedBus::open_read_only(dir).with_context(|| {
            format!(
                "no instance runs on {shown}, and its store cannot be read either\n\
                 start one with `nephoscope up`, or name another with --data-dir or --address"
            )
        })?;
        note(format!("no instance runs on {shown}; this is its store as it was left"));
        Ok(Self::Store(store))
    }

    /// The client of a running instance; an error that says what needs one.
    ///
    /// # Errors
    /// If none runs.
    pub fn instance(&self, what: &str) -> anyhow::Result<&Client> {
        match self {
            Self::Instance(client) | Self::Cluster(Window { client, .. }) => Ok(client),
            Self::Store(_) => bail!("{what} needs a running instance; start one with `nephoscope up`"),
        }
    }

    /// Whether new records may still come.
    pub fn is_live(&self) -> bool {
        matches!(self, Self::Instance(_) | Self::Cluster(_))
    }

    /// All topics, by name.
    ///
    /// # Errors
    /// If there is no answer.
    pub fn topics(&self) -> anyhow::Result<Vec<Topic>> {
        match self {
            Self::Instance(client) | Self::Cluster(Window { client, .. }) => {
                Ok(client.get::<Topics>("/api/topics", Duration::ZERO)?.topics)
            }
            Self::Store(bus) => Ok(bus.topics()?.iter().map(topic_view).collect()),
        }
    }

    /// One topic.
    ///
    /// # Errors
    /// If it does not exist, with the names of those that do.
    pub fn topic(&self, name: &str) -> anyhow::Result<Topic> {
        let mut topics = self.topics()?;
        let Some(index) = topics.iter().position(|topic| topic.name == name) else {
            let names: Vec<_> = topics.iter().map(|topic| topic.name.as_str()).filter(|name| !name.ends_with(".dlq")).collect();
            let names = if names.is_empty() { "there is none yet".into() } else { format!("there are {}", names.join(", ")) };
            bail!("there is no topic {name:?}; {names}");
        };
        Ok(topics.swap_remove(index))
    }

    /// Records from a position on, in order. Waits that long for a first one.
    ///
    /// # Errors
    /// If there is no answer.
    pub fn read(&self, topic: &str, partition: u32, from: u64, limit: usize, wait: Duration) -> anyhow::Result<Vec<Record>> {
        let limit = limit.clamp(1, RECORDS_MAX);
        match self {
            Self::Instance(client) | Self::Cluster(Window { client, .. }) => {
                let wait_ms = wait.as_millis();
                let path =
                    format!("/api/topics/{}/records?partition={partition}&offset={from}&limit={limit}&wait_ms={wait_ms}", encoded(topic));
                Ok(client.get::<Records>(&path, wait)?.records)
            }
            Self::Store(bus) => {
                let at = TopicPartition::new(&TopicName::new(topic), Partition(partition));
                let limits = ReadLimits { records_max: limit, bytes_max: BYTES_MAX, wait: Duration::ZERO };
                let mut gathered = Gathered::default();
                bus.read(&at, NextOffset(from), &limits, &mut gathered)?;
                let view = |record| serde_json::from_value(serde_json::to_value(RecordView::of(&record))?);
                Ok(gathered.records().map(|(_, record)| view(record)).collect::<Result<_, serde_json::Error>>()?)
            }
        }
    }

    /// Visits the records between a position and the end as it is now.
    ///
    /// # Errors
    /// If there is no answer.
    pub fn scan(
        &self,
        topic: &str,
        part: &TopicPart,
        from: u64,
        mut visit: impl FnMut(Record) -> anyhow::Result<ControlFlow<()>>,
    ) -> anyhow::Result<()> {
        let mut position = from.max(part.start);
        while position < part.next {
            let records = self.read(topic, part.partition, position, RECORDS_MAX, Duration::ZERO)?;
            let Some(last) = records.last() else { break };
            position = last.offset + 1;
            for record in records {
                if record.offset >= part.next || visit(record)?.is_break() {
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    /// Visits everything that stands in a topic since a time, partition by partition.
    ///
    /// # Errors
    /// If there is no answer.
    pub fn scan_since(
        &self,
        topic: &Topic,
        since: Option<EventTime>,
        mut visit: impl FnMut(Record) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        for part in &topic.partitions {
            let from = since.map_or(Ok(part.start), |since| self.position_at(&topic.name, part, since))?;
            self.scan(&topic.name, part, from, |record| visit(record).map(ControlFlow::Continue))?;
        }
        Ok(())
    }

    /// The first position whose record was stored at or after a time. Append times never decrease within a partition, so
    /// halving finds it in some twenty reads.
    fn position_at(&self, topic: &str, part: &TopicPart, time: EventTime) -> anyhow::Result<u64> {
        let (mut low, mut high) = (part.start, part.next);
        while low < high {
            let middle = low + (high - low) / 2;
            match self.read(topic, part.partition, middle, 1, Duration::ZERO)?.first() {
                Some(record) if record.appended_at < time => low = record.offset.max(middle) + 1,
                _ => high = middle,
            }
        }
        Ok(low)
    }
}

/// Whether an error means that the instance went away, so that it may come back.
pub fn is_away(error: &anyhow::Error) -> bool {
    matches!(
        error.downcast_ref::<ClientError>(),
        Some(ClientError::Absent { .. } | ClientError::Broken { .. } | ClientError::Refused { status: 503, .. })
    )
}

/// Whether an error means that nobody reads the output any more.
pub fn is_broken_pipe(error: &anyhow::Error) -> bool {
    let kinds = error.chain().filter_map(|cause| {
        let io = cause.downcast_ref::<io::Error>().map(io::Error::kind);
        io.or_else(|| cause.downcast_ref::<serde_json::Error>()?.io_error_kind())
    });
    kinds.into_iter().any(|kind| kind == io::ErrorKind::BrokenPipe)
}

#[derive(Debug, Deserialize)]
struct Topics {
    topics: Vec<Topic>,
}

#[derive(Debug, Deserialize)]
struct Records {
    records: Vec<Record>,
}

fn topic_view(topic: &stream_runtime::inspect::TopicStatus) -> Topic {
    let part = |(number, part): (usize, &stream_runtime::inspect::PartitionStatus)| TopicPart {
        partition: number as u32,
        start: part.start.0,
        next: part.next.0,
        bytes: part.bytes,
    };
    let cleanup = match topic.cleanup {
        schemas::topics::Cleanup::Delete => "delete",
        schemas::topics::Cleanup::Compact => "compact",
    };
    Topic { name: topic.name.to_string(), cleanup: cleanup.into(), partitions: topic.partitions.iter().enumerate().map(part).collect() }
}

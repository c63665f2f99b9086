//! Seeded bad days on the model bus: brokers that abort, whose answer is lost, whose markers are late; clients that break;
//! processes that die at any point.

use std::sync::{Arc, Mutex};

use schemas::EventTime;
use stream_core::NextOffset;

use super::{
    super::{
        drainer::{Drainer, Next},
        queue::{FULL, Queue},
    },
    TOPIC, batch, folder, lost, number, open,
};
use crate::{
    bus::Bus,
    loss::Loss,
    sim::{
        Faults, Rng,
        client::{Client, SimBus, Stillness},
        cluster::Cluster,
    },
    time::{Clock, SystemClock},
};

const SOURCE: &str = "sockets";
const SEEDS: u64 = 2_000;

/// One process with a spool.
struct Process {
    client: Client,
    queue: Arc<Mutex<Queue>>,
    drainer: Drainer,
}

impl Process {
    fn start(cluster: &Arc<Mutex<Cluster>>, queue: Queue) -> Self {
        let client = Client::new(cluster, Arc::new(Stillness), SOURCE);
        let (queue, bus) = (Arc::new(Mutex::new(queue)), SimBus(client.clone()));
        let drainer = Drainer::new(Arc::clone(&queue), Box::new(move || bus.publisher(SOURCE)), Box::new(SystemClock));
        Self { client, queue, drainer }
    }
}

fn published(cluster: &Mutex<Cluster>) -> Vec<u64> {
    let cluster = cluster.lock().expect("one thread");
    let [at] = &cluster.partitions_of(&TOPIC.into())[..] else { panic!("one partition") };
    let log = cluster.log(at).expect("exists");
    log.committed(NextOffset(0)).filter_map(|(_, stored)| stored.value.as_deref()).map(number).collect()
}

/// Returns what was published, lost and appended, and how many processes there were.
fn bad_day(seed: u64) -> (Vec<u64>, u64, u64, u64) {
    let mut rng = Rng::new(seed);
    let mut cluster = Cluster::new(rng.fork(), Faults::draw(&mut rng), EventTime(0));
    cluster.create(&TOPIC.into(), 1);
    let cluster = Arc::new(Mutex::new(cluster));
    let (directory, loss) = (folder(), Loss::default());
    let bytes_max = if rng.chance(300) { 6_000 } else { 1 << 30 };
    let start = || Process::start(&cluster, open(directory.path(), bytes_max, &loss));
    let (mut process, mut appended, mut processes) = (start(), 0, 1);
    let mut is_away = false;
    for _ in 0..300 {
        is_away ^= rng.chance(20);
        if process.client.is_dead() || rng.chance(10) {
            drop(process);
            process = start();
            processes += 1;
        }
        match rng.below(10) {
            0..4 => {
                let count = 1 + rng.below(5);
                if process.queue.lock().expect("one thread").append(&batch(appended..appended + count, 40)).is_ok() {
                    appended += count;
                }
            }
            4..8 if !is_away => drop(process.drainer.step()),
            _ => cluster.lock().expect("one thread").deliver_markers(None),
        }
    }
    cluster.lock().expect("one thread").faults = Faults::NONE;
    drop(process);
    let mut process = start();
    let steps = (0..10_000).find(|_| {
        cluster.lock().expect("one thread").deliver_markers(None);
        process.drainer.step() == Next::Idle
    });
    assert!(steps.is_some(), "SIM_SEED={seed}: on a good day everything goes out");
    cluster.lock().expect("one thread").deliver_markers(None);
    (published(&cluster), lost(&loss, FULL), appended, processes + 1)
}

#[test]
fn each_record_is_published_once_whatever_happens() {
    let begun = SystemClock.cpu();
    let (mut records, mut processes_all, mut lost_all) = (0, 0, 0);
    for seed in crate::sim::seeds_to_run(SEEDS) {
        let (published, lost, appended, processes) = bad_day(seed);
        assert!(published.windows(2).all(|pair| pair[0] < pair[1]), "SIM_SEED={seed}: in order, each once: {published:?}");
        let gone = appended - published.len() as u64;
        if lost == 0 {
            assert_eq!(gone, 0, "SIM_SEED={seed}: {gone} records of {appended} are lost without a word");
        }
        // What is dropped before the first look at the cursor counts as lost, though it may have gone out before a crash.
        assert!(lost >= gone, "SIM_SEED={seed}: {gone} are lost, {lost} were reported");
        (records, processes_all, lost_all) = (records + appended, processes_all + processes, lost_all + lost);
    }
    println!("{records} records, {processes_all} processes, {lost_all} dropped, {:?} CPU", SystemClock.cpu() - begun);
    if crate::sim::seeds_to_run(SEEDS).count() as u64 >= SEEDS {
        assert!(processes_all > 3 * SEEDS && lost_all > 100);
    }
}

//! A source in a thread: publishes its records in blocks and goes on after its cursor, whatever happens to it.

use std::{thread::JoinHandle, time::Duration};

use stream_runtime::{
    bus::{Bus, BusError},
    kafka::KafkaBus,
    publish::{Cursor, Publish, PublishBatch, PublishError},
    sim::{Mutation, Rng, SourceRecord},
};

use super::fate::Fate;

/// Records of one block at most.
const BLOCK_MAX: u64 = 6;

/// One process of a source. It ends when everything is on the bus, when it is killed, or when another one of its name went
/// on; true if everything is there.
pub struct Source {
    pub fate: Fate,
    thread: JoinHandle<bool>,
}

impl Source {
    pub fn start(bus: KafkaBus, name: &str, records: &[SourceRecord], rng: Rng, mutation: Option<Mutation>) -> Self {
        let (fate, name, records) = (Fate::default(), name.to_owned(), records.to_vec());
        let rule = fate.clone();
        let thread = std::thread::spawn(move || {
            let feed = || feed(&bus, &name, &records, rng, &rule);
            rule.rule(0, mutation, feed).unwrap_or(false)
        });
        Self { fate, thread }
    }

    pub fn is_gone(&self) -> bool {
        self.thread.is_finished()
    }

    /// Waits for its end; true if everything is on the bus.
    pub fn end(self) -> bool {
        self.thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }
}

fn feed(bus: &KafkaBus, name: &str, records: &[SourceRecord], mut rng: Rng, fate: &Fate) -> bool {
    let mut publisher = loop {
        match bus.publisher(name) {
            Ok(publisher) => break publisher,
            Err(BusError::Lost(_)) => std::thread::sleep(Duration::from_millis(200)),
            Err(error) => panic!("{name}: {error}"),
        }
    };
    loop {
        let from = position(publisher.cursor());
        if from == records.len() {
            return true;
        }
        let to = (from + 1 + rng.below(BLOCK_MAX) as usize).min(records.len());
        let mut batch = PublishBatch::default();
        for record in &records[from..to] {
            batch.push(&record.topic, record.key.as_deref(), record.value.as_deref(), record.headers.as_headers()).unwrap();
        }
        match publish_until_taken(&mut *publisher, &batch, to) {
            Ok(()) => {}
            Err(PublishError::Closed(_) | PublishError::Retry(_) | PublishError::Unknown(_)) => return false,
        }
        let pause = if fate.is_calm() { 1 } else { 20 + rng.below(300) };
        std::thread::sleep(Duration::from_millis(pause));
    }
}

/// As a collector does: the same block again while the bus asks for that.
fn publish_until_taken(publisher: &mut dyn Publish, batch: &PublishBatch, to: usize) -> Result<(), PublishError> {
    loop {
        match publisher.publish(batch, &(to as u64).to_be_bytes()) {
            Err(PublishError::Retry(_)) => std::thread::sleep(Duration::from_millis(50)),
            outcome => return outcome,
        }
    }
}

/// How many records the cursor says are on the bus.
fn position(cursor: Option<&Cursor>) -> usize {
    let position = cursor.and_then(|cursor| <[u8; 8]>::try_from(cursor.position.as_slice()).ok());
    position.map_or(0, |position| u64::from_be_bytes(position) as usize)
}

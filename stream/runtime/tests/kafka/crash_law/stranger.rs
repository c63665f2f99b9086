//! Somebody else's producer on our input topics, all of whose transactions are aborted.

use std::time::Duration;

use rdkafka::{
    config::ClientConfig,
    producer::{BaseRecord, DefaultProducerContext, Producer, ThreadedProducer},
};

/// A stranger.
pub struct Stranger {
    producer: ThreadedProducer<DefaultProducerContext>,
    topic: String,
    partitions: i32,
}

/// A broker that was killed is back sooner.
const PATIENCE: Duration = Duration::from_secs(8);

impl Stranger {
    pub fn new(mut client: ClientConfig, name: &str, topic: String, partitions: u32) -> Self {
        client.set("transactional.id", format!("{name}.stranger")).set("transaction.timeout.ms", "5000");
        let producer: ThreadedProducer<DefaultProducerContext> = client.create().unwrap();
        producer.init_transactions(crate::support::PATIENCE).unwrap();
        Self { producer, topic, partitions: partitions as i32 }
    }

    /// Writes what nobody may ever see, leaves it open for a while, and takes it back. If the broker dies meanwhile, it never
    /// happened either.
    pub fn interfere(&self, open: Duration) {
        let interfered = self.producer.begin_transaction().and_then(|()| {
            for partition in 0..self.partitions {
                let record = BaseRecord::to(&self.topic).partition(partition).key("stranger").payload("never happened");
                self.producer.send::<str, str>(record).map_err(|(error, _)| error)?;
            }
            self.producer.flush(PATIENCE)?;
            std::thread::sleep(open);
            self.producer.abort_transaction(PATIENCE)
        });
        if let Err(error) = interfered {
            println!("stranger: {error}");
        }
    }
}

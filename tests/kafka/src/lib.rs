//! What the tests on a real Apache Kafka share: the brokers themselves, topics, the whole of a topic as a consumer sees it
//! that reads nothing but what was committed, and the [`chaos`] run.
//!
//! ```no_run
//! use kafka_tests::{Cluster, Plan, Topics};
//! let cluster = Cluster::start(&Plan::default())?;
//! let topics = Topics::on(cluster.bootstrap());
//! topics.create("greetings", 1, 1)?;
//! cluster.kill(1)?; // kill -9
//! cluster.restart(1)?;
//! topics.read("greetings", |record| println!("{record:?}"))?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

#![allow(clippy::disallowed_methods, reason = "these are tests of real processes, in real time")]

pub mod chaos;
mod cluster;
mod process;
mod topics;

pub use cluster::{Cluster, ClusterError, Plan, Secure};
pub use process::{Launch, Process, binaries, until};
pub use topics::{Topics, TopicsError};

//! What the tests on a real Apache Kafka share: the brokers themselves.
//!
//! ```no_run
//! use kafka_tests::{Cluster, Plan};
//! let cluster = Cluster::start(&Plan::default())?;
//! println!("bootstrap.servers={}", cluster.bootstrap());
//! cluster.kill(1)?; // kill -9
//! cluster.restart(1)?;
//! # Ok::<(), kafka_tests::ClusterError>(())
//! ```

mod cluster;

pub use cluster::{Cluster, ClusterError, Plan, Secure};

//! Clusters that should not be trusted, and clusters that trust not everybody: `nephoscope doctor kafka` against good and
//! broken brokers, TLS and SASL with right and wrong credentials.
#![allow(clippy::disallowed_methods, reason = "tests of a real broker, in real time")]

mod access;
mod proof;

use kafka_tests::{Cluster, ClusterError, Plan};
use stream_runtime::config::{Backend, BusSettings};
use tempfile::TempDir;

/// A cluster. None, and the reason told, where there cannot be one.
fn cluster(plan: &Plan) -> Option<Cluster> {
    match Cluster::start(plan) {
        Ok(cluster) => Some(cluster),
        Err(ClusterError::Absent(why)) => {
            println!("SKIPPED: {why}");
            None
        }
        Err(error) => panic!("{error}"),
    }
}

fn settings(data_dir: &TempDir) -> BusSettings {
    BusSettings { backend: Backend::Kafka, data_dir: data_dir.path().into(), ..BusSettings::default() }
}

//! A process's connection to the cluster: it may die at any call, and the world may go on in the middle of one.

use std::sync::{
    Arc, Mutex, MutexGuard, PoisonError,
    atomic::{AtomicBool, Ordering},
};

use stream_core::TopicName;

use super::{cluster::Cluster, publisher::SimPublisher, session::SimSession};
use crate::{
    bus::{Bus, BusError, Session, TopicSpec, WorkerSpec},
    publish::Publish,
};

/// What goes on elsewhere while a process is frozen inside a call.
pub trait World: Send + Sync {
    /// Lets others work, time out, take over.
    fn go_on(&self);
}

/// A world in which nothing else happens.
#[cfg(test)]
pub struct Stillness;

#[cfg(test)]
impl World for Stillness {
    fn go_on(&self) {}
}

/// One process of one instance, as the cluster sees it. Clones are the same process.
#[derive(Clone)]
pub struct Client {
    cluster: Arc<Mutex<Cluster>>,
    world: Arc<dyn World>,
    instance: Arc<str>,
    is_dead: Arc<AtomicBool>,
}

impl Client {
    /// A new process.
    pub fn new(cluster: &Arc<Mutex<Cluster>>, world: Arc<dyn World>, instance: &str) -> Self {
        Self { cluster: cluster.clone(), world, instance: instance.into(), is_dead: Arc::default() }
    }

    /// The instance's name, which outlives the process.
    pub fn instance(&self) -> &str {
        &self.instance
    }

    /// Whether the process has died: whatever its code still does has no effect, and it should be dropped.
    pub fn is_dead(&self) -> bool {
        self.is_dead.load(Ordering::Relaxed)
    }

    /// The process dies here.
    pub fn kill(&self) {
        self.is_dead.store(true, Ordering::Relaxed);
    }

    /// The cluster. Never held while the world goes on.
    pub fn cluster(&self) -> MutexGuard<'_, Cluster> {
        self.cluster.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A point between two effects of a call. Here the process may be frozen for a while, its client may break, and it may
    /// die.
    pub(super) fn at_risk(&self) -> Result<(), BusError> {
        if self.is_dead() {
            return Err(BusError::Fatal("the process is dead".into()));
        }
        let is_frozen = {
            let mut cluster = self.cluster();
            let strikes = cluster.strikes(|faults| faults.freeze);
            cluster.events.frozen += u64::from(strikes);
            strikes
        };
        if is_frozen {
            tracing::debug!(instance = &*self.instance, "frozen");
            self.world.go_on();
            tracing::debug!(instance = &*self.instance, "wakes up");
        }
        let mut cluster = self.cluster();
        if cluster.strikes(|faults| faults.lost) {
            cluster.events.lost += 1;
            return Err(BusError::Lost("the client broke".into()));
        }
        if cluster.strikes(|faults| faults.crash) {
            cluster.events.crashes += 1;
            tracing::debug!(instance = &*self.instance, "dies");
            drop(cluster);
            self.kill();
            return Err(BusError::Fatal("the process dies".into()));
        }
        Ok(())
    }
}

/// The model bus as one process sees it.
#[derive(Clone)]
pub struct SimBus(pub Client);

impl Bus for SimBus {
    fn ensure_topics(&self, specs: &[TopicSpec]) -> Result<(), BusError> {
        let mut cluster = self.0.cluster();
        for spec in specs {
            cluster.create(&spec.name, spec.partitions);
            let found = cluster.partitions(&spec.name);
            if found != spec.partitions {
                let (name, expected) = (&spec.name, spec.partitions);
                return Err(BusError::Fatal(format!("topic {name} has {found} partitions, expected {expected}")));
            }
        }
        Ok(())
    }

    fn partitions(&self, topic: &TopicName) -> Result<u32, BusError> {
        Ok(self.0.cluster().partitions(topic))
    }

    fn open(&self, spec: &WorkerSpec) -> Result<Box<dyn Session>, BusError> {
        Ok(Box::new(SimSession::open(self.0.clone(), spec)?))
    }

    fn publisher(&self, source: &str) -> Result<Box<dyn Publish>, BusError> {
        Ok(Box::new(SimPublisher::open(self.0.clone(), source)?))
    }
}

//! How each destination stands, for whoever asks: written by the sinks, read by the API.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use schemas::EventTime;
use serde::{Deserialize, Serialize};

/// All destinations of this process; cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Board(Arc<Mutex<BTreeMap<String, Standing>>>);

/// How a destination stands.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Standing {
    /// Its kind.
    pub kind: String,
    /// Requests that it took since this process started.
    pub delivered: u64,
    /// Alerts told in them.
    pub alerts: u64,
    /// Alerts that it refused for good.
    pub refused: u64,
    /// Alerts that wait to be told.
    pub waiting: u64,
    /// Alerts that were told as firing, and of which the end is to be told.
    pub firing: u64,
    /// Alerts held back, by silence.
    pub silenced: BTreeMap<String, u64>,
    /// Alerts held back because an incident's cause explains them.
    pub inhibited: u64,
    /// Alerts held back because the incident that they are of was told.
    pub folded: u64,
    /// Alerts that no route brings here.
    pub elsewhere: u64,
    /// Told alerts that had to be forgotten to make room.
    pub forgotten: u64,
    /// When it last took something.
    pub last_delivered: Option<EventTime>,
    /// What it said when it last took nothing; none since it takes again.
    pub trouble: Option<String>,
    /// When it is tried again.
    pub next_try: Option<EventTime>,
    /// When the last watchdog was sent.
    pub last_watchdog: Option<EventTime>,
    /// Why no watchdog is sent.
    pub watchdog_held: Option<String>,
}

impl Board {
    /// Says how a destination stands.
    pub fn write(&self, destination: &str, standing: Standing) {
        self.lock().insert(destination.into(), standing);
    }

    /// How all stand.
    pub fn read(&self) -> BTreeMap<String, Standing> {
        self.lock().clone()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Standing>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

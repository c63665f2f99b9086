//! The way out: what a destination is, and how it may answer.

use std::time::Duration;

use stream_core::ConfigError;

use crate::{config::Config, notification::Notification};

/// Why a destination did not take a message.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// Not now: it is busy, away or broken.
    #[error("{why}")]
    Later {
        /// What happened.
        why: String,
        /// How long it wants to be left alone.
        after: Option<Duration>,
    },
    /// Never: it refuses this message.
    #[error("{why}")]
    Never {
        /// What it said.
        why: String,
    },
}

impl Failure {
    /// A [`Failure::Later`] that asks for nothing.
    pub fn later(why: impl ToString) -> Self {
        Self::Later { why: why.to_string(), after: None }
    }

    /// A [`Failure::Never`].
    pub fn never(why: impl ToString) -> Self {
        Self::Never { why: why.to_string() }
    }
}

/// One destination. It may take its time: nobody else waits.
pub trait Delivery: Sized + Send + 'static {
    /// Gets ready; nothing is sent yet.
    ///
    /// # Errors
    /// If its configuration cannot be meant.
    fn open(config: &Config, destination: &str) -> Result<Self, ConfigError>;

    /// Delivers a message.
    ///
    /// # Errors
    /// [`Failure`].
    fn deliver(&mut self, notification: &Notification) -> Result<(), Failure>;
}

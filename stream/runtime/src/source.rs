//! What a collector is: it reads the world and publishes, records and cursor in one step.

use std::{error::Error, path::PathBuf};

use serde::{Serialize, de::DeserializeOwned};

use crate::{
    loss::Loss,
    publish::{Open, Publish},
};

/// What a source gets from its process.
pub struct SourceContext {
    /// Opens the way onto the bus, which knows the cursor of the last run.
    pub publisher: Open,
    /// The way for what cannot be read again, where the bus can be away, even now: through a [spool](crate::spool), without a
    /// cursor. None where the bus is in this process: then everything goes the one way.
    pub spooled: Option<Box<dyn Publish>>,
    /// A block is published this long after its first record: what a publication costs on this bus decides.
    pub publish_ms: u64,
    /// Where it may put sockets.
    pub data_dir: PathBuf,
    /// Where it reports what it had to drop.
    pub loss: Loss,
}

/// A collector with threads of its own.
pub trait Source: Sized + Send + 'static {
    /// Its section of the configuration file.
    type Config: DeserializeOwned + Serialize + Default + Clone + Send + 'static;

    /// Lower-case name: of its publisher, its configuration section, its thread.
    const NAME: &'static str;

    /// Begins to read and publish.
    ///
    /// # Errors
    /// If the configuration cannot work, or an explicitly named listener cannot be opened.
    fn start(config: Self::Config, context: SourceContext) -> Result<Self, Box<dyn Error + Send + Sync>>;

    /// Why it can do nothing any more, if so: its process then ends.
    fn failed(&self) -> Option<String>;

    /// Stops reading, publishes what has been read, returns.
    fn stop(self);
}

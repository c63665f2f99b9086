//! Whether all that the watchdog vouches for is well: somebody else looks, the sink asks.

use std::{fmt, sync::Arc};

/// Asked before each watchdog.
#[derive(Clone)]
pub struct Vitals(Arc<dyn Fn() -> Result<(), String> + Send + Sync>);

impl Vitals {
    /// Whoever can tell; an error says what is not well.
    pub fn new(look: impl Fn() -> Result<(), String> + Send + Sync + 'static) -> Self {
        Self(Arc::new(look))
    }

    /// Whether all is well.
    ///
    /// # Errors
    /// What is not.
    pub fn look(&self) -> Result<(), String> {
        (self.0)()
    }
}

/// Nobody looks, so nobody vouches: silence then is the truth.
impl Default for Vitals {
    fn default() -> Self {
        Self::new(|| Err("nobody looks after the parts here".into()))
    }
}

impl fmt::Debug for Vitals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Vitals")
    }
}

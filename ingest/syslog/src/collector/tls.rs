//! Syslog over TLS (RFC 5425): who we are, who may come in, and the bytes of a connection that did.
//!
//! rustls does the cryptography, version 1.2 and 1.3. Certificates are read at the start and again on SIGHUP; connections that
//! are open go on with what they began with. What cannot be read then is told, and the old certificates stay in use.

mod allow;
mod expiry;
mod identity;
mod secured;

use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use signal_hook::consts::SIGHUP;
use stream_runtime::engine::error_chain;

pub use self::allow::{AllowError, AllowList};
use self::identity::Identity;
pub use self::identity::IdentityError;
use self::secured::Secured;
use super::clock;
use super::config::TlsListener;
use super::connections::Socket;
use super::status::{SourceGauge, SourceState};

/// Whether certificates and keys of a listener serve, for those who look before they start; and what should be told of them all
/// the same: that the certificate expires soon, or has.
///
/// # Errors
/// The first file that does not.
pub fn check(listener: &TlsListener) -> Result<Option<String>, IdentityError> {
    identity::load(listener).map(|identity| identity.warning())
}

/// Why a connection was not let in.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Refusal {
    #[error("its address or the names in its certificate are not in the allow list")]
    NotAllowed,
    #[error("the TLS handshake took longer than frame_timeout_s")]
    Slow,
    #[error("TLS handshake: {0}")]
    Handshake(String),
}

impl Refusal {
    /// As it stands in metrics.
    pub(crate) fn cause(&self) -> &'static str {
        match self {
            Self::NotAllowed => "not_allowed",
            Self::Slow | Self::Handshake(_) => "tls_handshake",
        }
    }
}

/// The entrance of a TLS listener.
pub(crate) struct Gate {
    listener: TlsListener,
    allow: AllowList,
    identity: Mutex<Arc<Identity>>,
    is_asked_to_refresh: Arc<AtomicBool>,
    signal: Option<signal_hook::SigId>,
}

impl Gate {
    /// Reads the certificates, and from now on again whenever the process is sent SIGHUP.
    pub(crate) fn open(listener: &TlsListener, allow: AllowList) -> Result<Self, IdentityError> {
        let identity = Mutex::new(Arc::new(identity::load(listener)?));
        let is_asked_to_refresh = Arc::new(AtomicBool::new(false));
        let signal = signal_hook::flag::register(SIGHUP, is_asked_to_refresh.clone());
        let signal = signal.inspect_err(|error| tracing::warn!(%error, "certificates cannot be read anew on SIGHUP")).ok();
        Ok(Self { listener: listener.clone(), allow, identity, is_asked_to_refresh, signal })
    }

    /// Reads the certificates again if that was asked for, and tells when they end.
    pub(crate) fn refresh(&self, gauge: &SourceGauge) {
        self.read_anew(gauge);
        gauge.notice(self.identity().warning());
    }

    fn identity(&self) -> Arc<Identity> {
        self.identity.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn read_anew(&self, gauge: &SourceGauge) {
        if !self.is_asked_to_refresh.swap(false, Ordering::Relaxed) {
            return;
        }
        match identity::load(&self.listener) {
            Ok(identity) => {
                *self.identity.lock().unwrap_or_else(PoisonError::into_inner) = Arc::new(identity);
                gauge.set(SourceState::Watching, "");
                tracing::info!(address = %self.listener.address, "certificates read anew; they hold for new connections");
            }
            Err(error) => {
                gauge.set(SourceState::Watching, format!("the old certificates stay in use: {}", error_chain(&error)));
            }
        }
    }

    /// Shakes hands, within `patience`.
    pub(crate) fn admit<S: Socket>(&self, socket: S, peer: Option<IpAddr>, patience: Duration) -> Result<Secured<S>, Refusal> {
        if !self.allow.may_allow(peer) {
            return Err(Refusal::NotAllowed);
        }
        let secured = Secured::shake_hands(self.identity().config.clone(), socket, patience)?;
        if self.allow.allows(peer, secured.certificate()) { Ok(secured) } else { Err(Refusal::NotAllowed) }
    }
}

impl Identity {
    fn warning(&self) -> Option<String> {
        self.expiry.and_then(|expiry| expiry.warning(clock::now_us()))
    }
}

impl Drop for Gate {
    fn drop(&mut self) {
        self.signal.map(signal_hook::low_level::unregister);
    }
}

//! Posting over HTTP, and what an answer means: 2xx it is taken; 408, 429, 5xx and anything that is no answer: later; the
//! rest: never.

use std::{sync::OnceLock, time::Duration};

use jiff::Timestamp;
use schemas::EventTime;
use ureq::{
    Agent, Error,
    http::{HeaderMap, header::RETRY_AFTER},
    tls::{Certificate, RootCerts, TlsConfig},
};

use crate::{delivery::Failure, payload::plain};

/// How long a connection may take, and everything together: less than a process has to stop, which waits for it.
const CONNECT_TIME_MAX: Duration = Duration::from_secs(5);
const TIME_MAX: Duration = Duration::from_secs(10);
/// Bytes of an answer that are read.
const ANSWER_BYTES_MAX: u64 = 16 << 10;
/// Letters of an answer that are told.
const TOLD_LETTERS_MAX: usize = 200;

/// Posts to one destination; connections are kept.
pub(super) struct Http(Agent);

impl Http {
    pub(super) fn new() -> Self {
        let tls = TlsConfig::builder().root_certs(roots()).build();
        let config = Agent::config_builder()
            .timeout_connect(Some(CONNECT_TIME_MAX))
            .timeout_global(Some(TIME_MAX))
            .http_status_as_error(false)
            // Whoever moved is told so in the configuration: an alert is not sent to wherever an answer points.
            .max_redirects(0)
            .max_redirects_will_error(false)
            .user_agent(concat!("nephoscope/", env!("CARGO_PKG_VERSION")))
            .tls_config(tls)
            .build();
        Self(config.new_agent())
    }

    /// Posts a JSON document.
    pub(super) fn post(&self, url: &str, headers: &[(&'static str, String)], body: &[u8], now: EventTime) -> Result<(), Failure> {
        let request = self.0.post(url).content_type("application/json");
        let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, value));
        let mut response = match request.send(body) {
            Ok(response) => response,
            Err(error @ (Error::BadUri(_) | Error::Http(_))) => return Err(Failure::never(told(&error))),
            Err(error) => return Err(Failure::later(told(&error))),
        };
        let status = response.status();
        // Read to its end, so that the connection can be used again; what it says matters only if it refuses.
        let text = response.body_mut().with_config().limit(ANSWER_BYTES_MAX).lossy_utf8(true).read_to_string().unwrap_or_default();
        let why = || match text.trim() {
            "" => format!("it answered {status}"),
            text => format!("it answered {status}: {}", plain(text).chars().take(TOLD_LETTERS_MAX).collect::<String>()),
        };
        match status.as_u16() {
            200..300 => Ok(()),
            408 | 429 | 500.. => Err(Failure::Later { why: why(), after: retry_after(response.headers(), now) }),
            _ => Err(Failure::never(why())),
        }
    }
}

/// The authorities that this machine trusts, read once; those that Mozilla trusts, where it names none.
fn roots() -> RootCerts {
    static ROOTS: OnceLock<RootCerts> = OnceLock::new();
    let load = || {
        let found = rustls_native_certs::load_native_certs();
        found.errors.iter().for_each(|error| tracing::warn!(%error, "an authority of this machine cannot be read"));
        if found.certs.is_empty() {
            return RootCerts::WebPki;
        }
        RootCerts::from(found.certs.iter().map(|cert| Certificate::from_der(cert).to_owned()))
    };
    ROOTS.get_or_init(load).clone()
}

/// What a client says about why there is no answer, without the address, which may be a secret.
fn told(error: &Error) -> String {
    match error {
        Error::BadUri(_) => "its url cannot be meant".into(),
        Error::Timeout(_) => format!("no answer within {} s", TIME_MAX.as_secs()),
        Error::HostNotFound => "its host is not known".into(),
        other => plain(&stream_runtime::engine::error_chain(other)),
    }
}

/// `Retry-After` (RFC 9110, 10.2.3): seconds, or a date.
fn retry_after(headers: &HeaderMap, now: EventTime) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = text.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let date = Timestamp::from(jiff::fmt::rfc2822::parse(text).ok()?);
    let millis = date.as_millisecond().saturating_sub(now.millis());
    Some(Duration::from_millis(u64::try_from(millis).unwrap_or(0)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(value: &str) -> Option<Duration> {
        let headers = [(RETRY_AFTER, value.parse().expect("a value"))].into_iter().collect();
        retry_after(&headers, EventTime::parse("1994-11-06T08:49:07Z").expect("a time"))
    }

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        assert_eq!(asked("120"), Some(Duration::from_secs(120)));
        assert_eq!(asked("Sun, 06 Nov 1994 08:49:37 GMT"), Some(Duration::from_secs(30)));
        assert_eq!(asked("Sun, 06 Nov 1994 08:00:00 GMT"), Some(Duration::ZERO));
        assert_eq!(asked("soon"), None);
    }
}

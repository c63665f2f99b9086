//! What the standard `OTEL_*` variables say. Endpoint, headers, timeout and compression are read by the exporter itself,
//! sampler and resource by the SDK; here stand the rest, and what this program cannot do, which is refused by name.
//! <https://opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables/>

use std::time::Duration;

use crate::config::ConfigFileError;

/// When spans are sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BatchSettings {
    /// Spans that may wait (`OTEL_BSP_MAX_QUEUE_SIZE`).
    pub queue_max: usize,
    /// Spans of one request (`OTEL_BSP_MAX_EXPORT_BATCH_SIZE`).
    pub batch_max: usize,
    /// How long a span may wait for others (`OTEL_BSP_SCHEDULE_DELAY`).
    pub delay: Duration,
}

impl Default for BatchSettings {
    /// The standard's own defaults.
    fn default() -> Self {
        Self { queue_max: 2_048, batch_max: 512, delay: Duration::from_secs(5) }
    }
}

/// Variables as a function, so that tests need no environment.
pub(super) type Lookup<'a> = &'a dyn Fn(&str) -> Option<String>;

/// What to do with spans; none if nobody asked for them.
///
/// # Errors
/// Names the variable, what it says and what was expected.
pub(super) fn read(variable: Lookup<'_>) -> Result<Option<BatchSettings>, ConfigFileError> {
    let variable = |name: &str| variable(name).filter(|value| !value.is_empty());
    let either = |signal: &str, general: &str| [signal, general].into_iter().find_map(|name| Some((name.to_string(), variable(name)?)));
    let endpoint = either("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT");
    let is_off = variable("OTEL_SDK_DISABLED").is_some_and(|value| value.eq_ignore_ascii_case("true"));
    let exporter = variable("OTEL_TRACES_EXPORTER").unwrap_or_else(|| "otlp".into());
    let Some((name, endpoint)) = endpoint.filter(|_| !is_off && exporter != "none") else { return Ok(None) };
    if exporter != "otlp" {
        return Err(refused("OTEL_TRACES_EXPORTER", &exporter, "otlp or none"));
    }
    if !endpoint.starts_with("http://") {
        let expected = "an address that begins with http://: a collector nearby, which forwards to others with TLS";
        return Err(refused(&name, &endpoint, expected));
    }
    if let Some((name, protocol)) = either("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")
        && protocol != "http/protobuf"
    {
        return Err(refused(&name, &protocol, "http/protobuf (by default on port 4318)"));
    }
    let number = |name: &str, default: usize| match variable(name) {
        None => Ok(default),
        Some(value) => value.parse::<usize>().ok().filter(|n| *n > 0).ok_or_else(|| refused(name, &value, "a whole number above 0")),
    };
    let default = BatchSettings::default();
    let queue_max = number("OTEL_BSP_MAX_QUEUE_SIZE", default.queue_max)?;
    let delay_ms = number("OTEL_BSP_SCHEDULE_DELAY", usize::try_from(default.delay.as_millis()).unwrap_or(usize::MAX))?;
    Ok(Some(BatchSettings {
        queue_max,
        batch_max: number("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", default.batch_max.min(queue_max))?,
        delay: Duration::from_millis(delay_ms as u64),
    }))
}

pub(super) fn refused(variable: &str, found: &str, expected: &str) -> ConfigFileError {
    let problem = format!("found {found:?}, expected {expected}");
    ConfigFileError { place: Some("environment".into()), key: variable.into(), problem }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(variables: &[(&str, &str)]) -> Result<Option<BatchSettings>, String> {
        let lookup = |name: &str| variables.iter().find(|(known, _)| *known == name).map(|(_, value)| value.to_string());
        read(&lookup).map_err(|error| error.to_string())
    }

    #[test]
    fn spans_are_off_until_an_endpoint_is_named() {
        let endpoint = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:4318");
        assert_eq!(of(&[]), Ok(None));
        assert_eq!(of(&[("OTEL_EXPORTER_OTLP_ENDPOINT", "")]), Ok(None));
        assert_eq!(of(&[endpoint]), Ok(Some(BatchSettings::default())));
        assert_eq!(of(&[endpoint, ("OTEL_SDK_DISABLED", "TRUE")]), Ok(None));
        assert_eq!(of(&[endpoint, ("OTEL_TRACES_EXPORTER", "none")]), Ok(None));
        let set = [("OTEL_BSP_MAX_QUEUE_SIZE", "10"), ("OTEL_BSP_SCHEDULE_DELAY", "20"), ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf")];
        let expected = BatchSettings { queue_max: 10, batch_max: 10, delay: Duration::from_millis(20) };
        assert_eq!(of(&[&set[..], &[endpoint]].concat()), Ok(Some(expected)));
    }

    #[test]
    fn what_cannot_be_done_is_refused_by_the_name_of_its_variable() {
        let endpoint = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://127.0.0.1:4318/v1/traces");
        for (name, value, expected) in [
            ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "https://example.com", "begins with http://"),
            ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc", "http/protobuf"),
            ("OTEL_TRACES_EXPORTER", "zipkin", "otlp or none"),
            ("OTEL_BSP_MAX_QUEUE_SIZE", "0", "above 0"),
        ] {
            let error = of(&[(name, value), endpoint]).expect_err(name);
            assert!(error.starts_with(&format!("environment: {name}: found {value:?}")) && error.contains(expected), "{error}");
        }
    }
}

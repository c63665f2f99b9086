//! W3C trace context in record headers. <https://www.w3.org/TR/trace-context/>

use opentelemetry::{
    propagation::{Extractor, TextMapPropagator},
    trace::{SpanContext, TraceContextExt},
};
use opentelemetry_sdk::propagation::TraceContextPropagator;
use schemas::cloudevents::TRACEPARENT;
use stream_core::Headers;

/// Bytes of the header in its first version; later ones may only be longer.
const BYTES_MIN: usize = 55;

/// The sampled span that a record was sent in, if its headers name one.
pub(super) fn sampled(headers: Headers<'_>) -> Option<SpanContext> {
    // Most records have none, and the propagator allocates; it also takes ids that are too short.
    headers.text(TRACEPARENT).filter(|value| value.len() >= BYTES_MIN)?;
    let context = TraceContextPropagator::new().extract(&Carrier(headers));
    let span = context.span().span_context().clone();
    (span.is_valid() && span.is_sampled()).then_some(span)
}

/// The header that names a span.
pub(super) fn traceparent(span: &SpanContext) -> String {
    format!("00-{}-{}-{:02x}", span.trace_id(), span.span_id(), span.trace_flags())
}

struct Carrier<'a>(Headers<'a>);

impl Extractor for Carrier<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        self.0.text(key)
    }

    fn keys(&self) -> Vec<&str> {
        self.0.iter().map(|(name, _)| name).collect()
    }
}

#[cfg(test)]
mod tests {
    use stream_core::HeaderBuffer;

    use super::*;

    fn read(value: &str) -> Option<String> {
        let mut headers = HeaderBuffer::default();
        headers.push(TRACEPARENT, Some(value.as_bytes()));
        sampled(headers.as_headers()).map(|span| traceparent(&span))
    }

    #[test]
    fn only_a_sampled_and_valid_context_is_taken() {
        let good = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
        assert_eq!(read(good).as_deref(), Some(good));
        for bad in [
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00",
            "00-00000000000000000000000000000000-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b716920333-01",
            "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "\u{1f4a5}",
            "",
        ] {
            assert_eq!(read(bad), None, "{bad}");
        }
        assert_eq!(sampled(Headers::default()), None);
    }
}

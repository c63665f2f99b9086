//! Export of spans by OTLP over HTTP, with the official exporter. It is off until `OTEL_EXPORTER_OTLP_ENDPOINT` (or its
//! variant for traces) is set, and configured by nothing but the standard's variables.

mod attributes;
mod context;
mod queue;
mod settings;
mod tracer;

use std::sync::Arc;

use opentelemetry::{Key, trace::TracerProvider};
use opentelemetry_otlp::{SpanExporter, WithExportConfig};
use opentelemetry_sdk::{Resource, trace::SdkTracerProvider};

pub use self::settings::BatchSettings;
use self::{queue::Sending, tracer::WorkerTracer};
use super::{BatchTracer, Stage, Tracing};
use crate::{config::ConfigFileError, loss::Loss};

/// The scope of our spans.
const SCOPE: &str = "nephoscope";
/// What the SDK calls a program that did not say its name.
const UNNAMED: &str = "unknown_service";

/// A running export.
pub struct SpanExport {
    spans: Arc<Spans>,
    sending: Sending,
}

/// Makes tracers whose spans are exported.
struct Spans(SdkTracerProvider);

impl Tracing for Spans {
    fn tracer(&self, stage: Stage) -> Box<dyn BatchTracer> {
        Box::new(WorkerTracer::new(self.0.tracer(SCOPE), stage))
    }
}

impl SpanExport {
    /// Starts the export that the environment asks for; none if it asks for none. `service` is the name of this program unless
    /// `OTEL_SERVICE_NAME` says another; lost spans are told to `loss`.
    ///
    /// # Errors
    /// Names the variable that cannot be followed.
    #[allow(clippy::disallowed_methods, reason = "the standard configures exporters by the environment")]
    pub fn from_env(service: &'static str, loss: Loss) -> Result<Option<Self>, ConfigFileError> {
        let Some(settings) = settings::read(&|name| std::env::var(name).ok())? else { return Ok(None) };
        Self::build(service, None, settings, loss).map(Some)
    }

    /// Starts an export to one endpoint, its path included.
    ///
    /// # Errors
    /// If it is no address.
    pub fn to(endpoint: &str, service: &'static str, settings: BatchSettings, loss: Loss) -> Result<Self, ConfigFileError> {
        Self::build(service, Some(endpoint), settings, loss)
    }

    fn build(service: &'static str, endpoint: Option<&str>, settings: BatchSettings, loss: Loss) -> Result<Self, ConfigFileError> {
        let refused = |problem: String| ConfigFileError { place: Some("environment".into()), key: "OTEL_EXPORTER_OTLP_*".into(), problem };
        let builder = SpanExporter::builder().with_http();
        let builder = endpoint.into_iter().fold(builder, |builder, endpoint| builder.with_endpoint(endpoint));
        let exporter = builder.build().map_err(|error| refused(error.to_string()))?;
        let resource = Resource::builder().with_attribute(attributes::version());
        let is_named = |resource: &Resource| {
            resource.get(&Key::from_static_str("service.name")).is_some_and(|name| !name.as_str().starts_with(UNNAMED))
        };
        let named = Resource::builder().build();
        let resource = if is_named(&named) { resource } else { resource.with_service_name(service) }.build();
        let (queue, sending) =
            queue::start(exporter, &resource, settings, loss).map_err(|error| refused(format!("cannot start a thread: {error}")))?;
        let provider = SdkTracerProvider::builder().with_span_processor(queue).with_resource(resource).build();
        Ok(Self { spans: Arc::new(Spans(provider)), sending })
    }

    /// What makes the workers' tracers.
    pub fn tracing(&self) -> Arc<dyn Tracing> {
        self.spans.clone()
    }

    /// Sends what is left, for at most a second and a half, and ends.
    pub fn stop(self) {
        self.sending.stop();
    }
}

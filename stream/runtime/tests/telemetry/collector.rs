//! A small OTLP/HTTP receiver on loopback, which reads what comes with the official types.

use std::{
    net::SocketAddr,
    sync::{Arc, Condvar, Mutex},
    time::Duration,
};

use axum::{Router, body::Bytes, http::StatusCode, routing::post};
use opentelemetry_proto::tonic::{
    collector::trace::v1::ExportTraceServiceRequest,
    common::v1::{KeyValue, any_value::Value},
    trace::v1::Span,
};
use prost::Message;
use tokio::sync::oneshot;

/// What has come, and a bell for whoever waits.
type Received = Arc<(Mutex<Vec<ExportTraceServiceRequest>>, Condvar)>;

pub struct Collector {
    address: SocketAddr,
    received: Received,
    /// Dropped to end it.
    _stop: oneshot::Sender<()>,
}

impl Collector {
    /// One that takes everything.
    pub fn start() -> Self {
        Self::serve(|received, body| {
            let Ok(request) = ExportTraceServiceRequest::decode(body) else { return Some(StatusCode::BAD_REQUEST) };
            received.0.lock().expect("lock").push(request);
            received.1.notify_all();
            Some(StatusCode::OK)
        })
    }

    /// One that takes requests and never answers.
    pub fn hanging() -> Self {
        Self::serve(|_, _| None)
    }

    fn serve(answer: fn(&Received, Bytes) -> Option<StatusCode>) -> Self {
        let received = Received::default();
        let (stop, stopped) = oneshot::channel::<()>();
        let (tell, address) = std::sync::mpsc::channel();
        let state = Arc::clone(&received);
        let handler = async move |body: Bytes| match answer(&state, body) {
            Some(status) => status,
            None => std::future::pending().await,
        };
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("starts");
            runtime.block_on(async {
                let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("listens");
                tell.send(listener.local_addr().expect("has an address")).expect("is heard");
                let serve = async { axum::serve(listener, Router::new().route("/v1/traces", post(handler))).await };
                tokio::select! { _ = serve => {}, _ = stopped => {} }
            });
        });
        Self { address: address.recv().expect("listens"), received, _stop: stop }
    }

    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// All spans, once there are that many.
    pub fn wait_for(&self, count: usize) -> Vec<Span> {
        let received = self.received.0.lock().expect("lock");
        let (received, outcome) =
            self.received.1.wait_timeout_while(received, Duration::from_secs(30), |all| spans(all).len() < count).expect("lock");
        assert!(!outcome.timed_out(), "{} of {count} spans came", spans(&received).len());
        spans(&received)
    }

    /// An attribute of the resource of all spans.
    pub fn resource(&self, name: &str) -> Option<String> {
        let received = self.received.0.lock().expect("lock");
        let resource = received.first()?.resource_spans.first()?.resource.as_ref()?;
        attribute(&resource.attributes, name)
    }
}

fn spans(all: &[ExportTraceServiceRequest]) -> Vec<Span> {
    let scopes = all.iter().flat_map(|request| &request.resource_spans).flat_map(|resource| &resource.scope_spans);
    scopes.flat_map(|scope| scope.spans.clone()).collect()
}

/// The value of an attribute as text.
pub fn attribute(attributes: &[KeyValue], name: &str) -> Option<String> {
    let found = attributes.iter().find(|attribute| attribute.key == name)?;
    Some(match found.value.as_ref()?.value.as_ref()? {
        Value::StringValue(text) => text.clone(),
        Value::IntValue(number) => number.to_string(),
        other => format!("{other:?}"),
    })
}

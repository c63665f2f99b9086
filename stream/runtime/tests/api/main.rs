//! The local API over real sockets, on a bus in memory.

mod access;
mod client;
mod dead_letters;
mod health;
mod memory;
mod records;
mod stream;

use std::{path::PathBuf, sync::Arc};

use stream_runtime::{
    api::{ApiConfig, ApiServer, ApiState},
    bus::{Bus, BusError, Session, TopicSpec, WorkerSpec},
    engine::Engine,
    publish::Publish,
    settings::EngineSettings,
};

use client::Client;
use memory::Memory;

/// Token of every test.
const TOKEN: &str = "5f4dcc3b5aa765d61d8327deb882cf99";

/// A server on a free port.
struct Running {
    server: ApiServer,
    bus: Arc<Memory>,
    engine: Engine,
    socket: PathBuf,
    _dir: tempfile::TempDir,
}

impl Running {
    fn start() -> Self {
        Self::with_engine(Engine::new(Arc::new(NoBus), EngineSettings::default()))
    }

    fn with_engine(engine: Engine) -> Self {
        let dir = tempfile::tempdir().expect("temporary directory");
        let bus = Arc::new(Memory::with_topics());
        let socket = dir.path().join("api.sock");
        let config = ApiConfig { listen: ([127, 0, 0, 1], 0).into(), socket: socket.clone(), token: TOKEN.into() };
        let page = axum::routing::get(async || axum::response::Html("<p>page"));
        let state = ApiState {
            inspect: bus.clone(),
            engine: engine.view(),
            config: serde_json::json!({ "kafka": { "sasl.password": "<redacted>" } }),
            routes: axum::Router::new().route("/", page),
        };
        let server = ApiServer::start(config, state).expect("starts");
        Self { server, bus, engine, socket, _dir: dir }
    }

    /// A client that shows the token.
    fn client(&self) -> Client {
        self.stranger().with("Authorization", &format!("Bearer {TOKEN}"))
    }

    /// One that does not.
    fn stranger(&self) -> Client {
        Client::tcp(self.server.address())
    }
}

/// A bus that nobody can open.
struct NoBus;

impl Bus for NoBus {
    fn ensure_topics(&self, _: &[TopicSpec]) -> Result<(), BusError> {
        Ok(())
    }

    fn partitions(&self, _: &stream_core::TopicName) -> Result<u32, BusError> {
        Ok(1)
    }

    fn open(&self, _: &WorkerSpec) -> Result<Box<dyn Session>, BusError> {
        Err(BusError::Fatal("the disk is on fire".into()))
    }

    fn publisher(&self, _: &str) -> Result<Box<dyn Publish>, BusError> {
        Err(BusError::Fatal("the disk is on fire".into()))
    }
}

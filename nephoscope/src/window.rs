//! A view of a Kafka cluster on which no instance of ours answers: the same API, served by this very command on a socket of
//! its own, so that every command works there as it does against an instance.

use std::path::PathBuf;

use anyhow::Context;
use axum::Router;
use stream_runtime::{
    api::{ApiConfig, ApiServer, ApiState},
    config::ConfigFile,
    engine::Engine,
    process::{OpenBus, ProcessSettings},
    secret::random_hex,
};

use crate::client::{Client, Endpoint};

/// An open view.
pub struct Window {
    /// Asks it.
    pub client: Client,
    server: Option<ApiServer>,
    socket: PathBuf,
}

impl Window {
    /// Opens the cluster that the arguments and the configuration name.
    ///
    /// # Errors
    /// If the configuration cannot be meant or the socket cannot be made.
    pub fn open(settings: &ProcessSettings, file: &ConfigFile) -> anyhow::Result<Self> {
        let bus = OpenBus::open(settings)?;
        let engine = Engine::new(bus.as_bus(), settings.engine.clone());
        let socket = std::env::temp_dir().join(format!("nephoscope-{}.sock", std::process::id()));
        let state = ApiState { inspect: bus.as_inspect(), engine: engine.view(), config: file.to_json(), routes: Router::new() };
        // Nobody but this process asks, and it does so by the socket: the listener's token is never told.
        let config = ApiConfig { listen: ([127, 0, 0, 1], 0).into(), socket: socket.clone(), token: random_hex(16)? };
        let server = ApiServer::start(config, state).context("cannot look at the cluster")?;
        Ok(Self { client: Client::new(Endpoint::Unix(socket.clone()))?, server: Some(server), socket })
    }
}

impl Drop for Window {
    fn drop(&mut self) {
        if let Some(server) = self.server.take() {
            server.stop();
        }
        let _ = std::fs::remove_file(&self.socket);
    }
}

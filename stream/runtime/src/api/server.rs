//! The server's life: bind, serve on a thread of its own, stop.

use std::{
    io,
    net::SocketAddr,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::JoinHandle,
    time::Duration,
};

use axum::{Router, extract::DefaultBodyLimit, middleware};
use tokio::{net::TcpListener, net::UnixListener, sync::Semaphore, sync::watch};

use super::{
    ApiState, BODY_BYTES_MAX, Shared,
    access::{self, Guard},
    extract::ApiError,
    hub::Hub,
    listener::{Limited, Peer},
    rates::{Rates, SAMPLE_PERIOD},
    routes,
};
use crate::time::{Clock, SystemClock, wall_clock};

/// Requests that read, wait or stream at the same time.
const WAITING_MAX: usize = 64;
/// Threads that blocking requests may use: those that wait, and some for the others.
const BLOCKING_THREADS_MAX: usize = WAITING_MAX + 16;
/// How long open requests may take once the server closes.
const CLOSE_TIME_MAX: Duration = Duration::from_secs(2);

/// Where the API listens and who may ask.
#[derive(Debug, Clone)]
pub struct ApiConfig {
    /// TCP address; port 0 takes a free one.
    pub listen: SocketAddr,
    /// Unix socket, which its owner alone may open; beside the data.
    pub socket: PathBuf,
    /// What a request over TCP must show.
    pub token: String,
}

/// Why it did not start.
#[derive(Debug, thiserror::Error)]
#[error("{what}")]
pub struct ApiServerError {
    what: String,
    #[source]
    source: io::Error,
}

/// A running server. Dropping it stops it.
pub struct ApiServer {
    address: SocketAddr,
    socket: PathBuf,
    closing: Arc<AtomicBool>,
    close: watch::Sender<()>,
    thread: Option<JoinHandle<()>>,
}

impl ApiServer {
    /// Binds both listeners, then serves.
    ///
    /// # Errors
    /// If the address is taken, the socket cannot be made, or the thread cannot be started.
    pub fn start(config: ApiConfig, state: ApiState) -> Result<Self, ApiServerError> {
        let failed = |what: String| move |source| ApiServerError { what, source };
        let tcp = std::net::TcpListener::bind(config.listen).map_err(failed(format!("cannot listen on {}", config.listen)))?;
        let address = tcp.local_addr().map_err(failed(format!("cannot listen on {}", config.listen)))?;
        tcp.set_nonblocking(true).map_err(failed(format!("cannot listen on {address}")))?;
        let unix = bind_socket(&config.socket).map_err(failed(format!("cannot make the socket {}", config.socket.display())))?;
        let what = || "cannot start the API".to_string();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .max_blocking_threads(BLOCKING_THREADS_MAX)
            .thread_name("api-request")
            .build()
            .map_err(failed(what()))?;

        let (close, closed) = watch::channel(());
        let closing = Arc::new(AtomicBool::new(false));
        let shared = Arc::new(Shared {
            hub: Hub::new(Arc::clone(&state.inspect), Arc::clone(&closing)),
            inspect: state.inspect,
            engine: state.engine,
            config: state.config,
            rates: Rates::default(),
            started: SystemClock.monotonic(),
            started_at: wall_clock(),
            waiting: Arc::new(Semaphore::new(WAITING_MAX)),
            replaying: std::sync::Mutex::default(),
            data_dir: config.socket.parent().map_or_else(|| PathBuf::from("."), Path::to_path_buf),
            closing: Arc::clone(&closing),
        });
        let app = state
            .routes
            .merge(routes(Arc::clone(&shared)))
            .fallback(async || ApiError::not_found("there is no such route"))
            .method_not_allowed_fallback(async || ApiError::method_not_allowed())
            .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
            .layer(middleware::from_fn_with_state(Guard::new(&config.token, address), access::guard));
        let run = move || {
            if let Err(error) = runtime.block_on(serve(app, tcp, unix, shared, closed)) {
                tracing::error!(%error, "the API stopped");
            }
            runtime.shutdown_timeout(CLOSE_TIME_MAX);
        };
        let thread = std::thread::Builder::new().name("api".into()).spawn(run).map_err(failed(what()))?;
        tracing::info!(%address, socket = %config.socket.display(), "API listens");
        Ok(Self { address, socket: config.socket, closing, close, thread: Some(thread) })
    }

    /// The TCP address, with the port that was taken.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Lets open requests end, for two seconds at most, and waits for it.
    pub fn stop(self) {
        drop(self);
    }
}

impl Drop for ApiServer {
    fn drop(&mut self) {
        self.closing.store(true, Ordering::Relaxed);
        self.close.send_replace(());
        if self.thread.take().is_some_and(|thread| thread.join().is_err()) {
            tracing::error!("thread of the API panicked");
        }
        // It is ours alone: the data directory has one owner. If it is gone already, so be it.
        let _ = std::fs::remove_file(&self.socket);
    }
}

async fn serve(
    app: Router,
    tcp: std::net::TcpListener,
    unix: std::os::unix::net::UnixListener,
    shared: Arc<Shared>,
    closed: watch::Receiver<()>,
) -> io::Result<()> {
    let (tcp, unix) = (Limited::new(TcpListener::from_std(tcp)?), Limited::new(UnixListener::from_std(unix)?));
    let until = |mut closed: watch::Receiver<()>| async move {
        // An error means that the server itself is gone, which is as good.
        let _ = closed.changed().await;
    };
    let over_tcp =
        axum::serve(tcp, app.clone().into_make_service_with_connect_info::<Peer>()).with_graceful_shutdown(until(closed.clone()));
    let over_unix = axum::serve(unix, app.into_make_service_with_connect_info::<Peer>()).with_graceful_shutdown(until(closed.clone()));
    let sampler = tokio::spawn(sample(shared));
    let serving = async { tokio::try_join!(over_tcp.into_future(), over_unix.into_future()) };
    let too_long = async {
        until(closed).await;
        tokio::time::sleep(CLOSE_TIME_MAX).await;
    };
    let result = tokio::select! {
        ended = serving => ended.map(|_| ()),
        () = too_long => Ok(()),
    };
    sampler.abort();
    result
}

async fn sample(shared: Arc<Shared>) {
    let mut period = tokio::time::interval(SAMPLE_PERIOD);
    period.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        period.tick().await;
        let counts = shared.engine.stages().into_iter().map(|stage| (stage.name, stage.records));
        shared.rates.sample(SystemClock.monotonic(), counts);
    }
}

/// Made under another name and moved into place, so that nobody can open it before its mode is right.
fn bind_socket(path: &Path) -> io::Result<std::os::unix::net::UnixListener> {
    let young = path.with_extension("new");
    match std::fs::remove_file(&young) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let listener = std::os::unix::net::UnixListener::bind(&young)?;
    std::fs::set_permissions(&young, std::fs::Permissions::from_mode(0o600))?;
    std::fs::rename(&young, path)?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

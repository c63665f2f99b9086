//! What a service manager is told: that the process serves, that it lives, that it leaves (sd_notify(3)).
//!
//! The protocol is one datagram per message to the socket that the manager names in the environment, so it needs no library.
//! Whoever was not started by such a manager tells nobody and has nothing to configure.

use std::{
    ffi::OsStr,
    io,
    os::{
        linux::net::SocketAddrExt,
        unix::{
            ffi::OsStrExt,
            net::{SocketAddr, UnixDatagram},
        },
    },
    sync::mpsc::{self, RecvTimeoutError},
    thread::JoinHandle,
    time::Duration,
};

/// A manager that does not read must hold nobody up.
const SEND_TIME_MAX: Duration = Duration::from_secs(1);

/// A service manager that wants to be told.
#[derive(Debug)]
pub struct ServiceManager {
    address: SocketAddr,
    watchdog: Option<Duration>,
}

impl ServiceManager {
    /// The manager that started this process, if one did.
    ///
    /// # Errors
    /// If the environment names a socket that cannot be one.
    #[allow(clippy::disallowed_methods, reason = "the protocol hands everything over in the environment")]
    pub fn of_environment() -> io::Result<Option<Self>> {
        let Some(socket) = std::env::var_os("NOTIFY_SOCKET") else { return Ok(None) };
        let number = |name: &str| std::env::var(name).ok()?.parse::<u64>().ok();
        // Children inherit the variables, but the watchdog waits for its own process only.
        let is_ours = number("WATCHDOG_PID").is_none_or(|pid| pid == u64::from(std::process::id()));
        let watchdog = number("WATCHDOG_USEC").filter(|period| *period > 0 && is_ours).map(Duration::from_micros);
        Self::at(&socket, watchdog).map(Some)
    }

    /// The manager that listens on `socket`: a path, or `@` and an abstract name. It expects a sign of life within every
    /// `watchdog`.
    ///
    /// # Errors
    /// If it is neither.
    pub fn at(socket: &OsStr, watchdog: Option<Duration>) -> io::Result<Self> {
        let address = match socket.as_bytes() {
            [b'@', name @ ..] => SocketAddr::from_abstract_name(name),
            [b'/', ..] => SocketAddr::from_pathname(socket),
            _ => {
                let problem = format!("NOTIFY_SOCKET: expected an absolute path or @ and an abstract name, found {socket:?}");
                Err(io::Error::new(io::ErrorKind::InvalidInput, problem))
            }
        };
        Ok(Self { address: address?, watchdog })
    }

    /// Tells that the process serves, and from now on, twice as often as the watchdog wants it, that it lives, as long as
    /// `is_alive` says so. Dropping what comes back tells that the process leaves.
    ///
    /// # Errors
    /// If there is no thread or socket to be had.
    pub fn serving(self, is_alive: impl Fn() -> bool + Send + 'static) -> io::Result<Serving> {
        let socket = UnixDatagram::unbound()?;
        socket.set_write_timeout(Some(SEND_TIME_MAX))?;
        let (leave, left) = mpsc::channel::<()>();
        let run = move || {
            let tell = |message: &str| {
                if let Err(error) = socket.send_to_addr(message.as_bytes(), &self.address) {
                    tracing::warn!(message, %error, "the service manager could not be told");
                }
            };
            tell("READY=1");
            loop {
                let ended = match self.watchdog {
                    Some(period) => left.recv_timeout(period / 2),
                    None => left.recv().map_err(RecvTimeoutError::from),
                };
                match ended {
                    Err(RecvTimeoutError::Timeout) if is_alive() => tell("WATCHDOG=1"),
                    Err(RecvTimeoutError::Timeout) => tracing::error!("a worker makes no rounds; the watchdog gets no sign of life"),
                    Ok(()) | Err(RecvTimeoutError::Disconnected) => return tell("STOPPING=1"),
                }
            }
        };
        let thread = std::thread::Builder::new().name("notify".into()).spawn(run)?;
        Ok(Serving { leave: Some(leave), thread: Some(thread) })
    }
}

/// Tells the manager that started this process, if one did: see [`ServiceManager::serving`].
///
/// # Errors
/// If the environment names a socket that cannot be one, or there is no thread or socket to be had.
pub fn serving(is_alive: impl Fn() -> bool + Send + 'static) -> io::Result<Option<Serving>> {
    ServiceManager::of_environment()?.map(|manager| manager.serving(is_alive)).transpose()
}

/// As long as it lives, the manager knows that the process serves.
#[derive(Debug)]
pub struct Serving {
    leave: Option<mpsc::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Drop for Serving {
    fn drop(&mut self) {
        drop(self.leave.take());
        if self.thread.take().is_some_and(|thread| thread.join().is_err()) {
            tracing::error!("thread of the service manager's messages panicked");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    };

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(10);
    const WATCHDOG: Duration = Duration::from_millis(20);

    /// A manager as systemd is one: it only listens.
    struct Listener {
        socket: UnixDatagram,
        directory: tempfile::TempDir,
    }

    impl Listener {
        fn new() -> Self {
            let directory = tempfile::tempdir().expect("a directory");
            let socket = UnixDatagram::bind(directory.path().join("notify")).expect("binds");
            socket.set_read_timeout(Some(PATIENCE)).expect("is set");
            Self { socket, directory }
        }

        fn manager(&self, watchdog: Option<Duration>) -> ServiceManager {
            ServiceManager::at(self.directory.path().join("notify").as_os_str(), watchdog).expect("an address")
        }

        fn next(&self) -> String {
            let mut message = [0; 64];
            let length = self.socket.recv(&mut message).expect("a message");
            String::from_utf8_lossy(&message[..length]).into_owned()
        }
    }

    #[test]
    fn it_is_told_of_the_whole_life_in_order() {
        let listener = Listener::new();
        let serving = listener.manager(Some(WATCHDOG)).serving(|| true).expect("starts");
        assert_eq!([listener.next(), listener.next(), listener.next()], ["READY=1", "WATCHDOG=1", "WATCHDOG=1"]);
        drop(serving);
        let rest: Vec<String> = std::iter::from_fn(|| Some(listener.next()).filter(|message| message != "STOPPING=1")).collect();
        assert!(rest.iter().all(|message| message == "WATCHDOG=1"), "{rest:?}");
    }

    #[test]
    fn a_dead_worker_starves_the_watchdog() {
        let listener = Listener::new();
        let alive = Arc::new(AtomicBool::new(false));
        let asked = Arc::new(AtomicBool::new(false));
        let is_alive = {
            let (alive, asked) = (Arc::clone(&alive), Arc::clone(&asked));
            move || {
                asked.store(true, Ordering::SeqCst);
                alive.load(Ordering::SeqCst)
            }
        };
        let serving = listener.manager(Some(WATCHDOG)).serving(is_alive).expect("starts");
        assert_eq!(listener.next(), "READY=1");
        while !asked.load(Ordering::SeqCst) {
            std::thread::yield_now();
        }
        listener.socket.set_nonblocking(true).expect("is set");
        assert!(listener.socket.recv(&mut [0; 64]).is_err(), "nothing may feed it");
        listener.socket.set_nonblocking(false).expect("is set");
        alive.store(true, Ordering::SeqCst);
        assert_eq!(listener.next(), "WATCHDOG=1");
        drop(serving);
    }

    #[test]
    fn without_a_watchdog_only_the_two_ends_are_told() {
        let listener = Listener::new();
        drop(listener.manager(None).serving(|| unreachable!("nobody asks")).expect("starts"));
        assert_eq!([listener.next(), listener.next()], ["READY=1", "STOPPING=1"]);
    }

    #[test]
    fn an_abstract_name_is_a_socket_too() {
        let name = format!("nephoscope-notify-{}", std::process::id());
        let socket = UnixDatagram::bind_addr(&SocketAddr::from_abstract_name(&name).expect("a name")).expect("binds");
        socket.set_read_timeout(Some(PATIENCE)).expect("is set");
        drop(ServiceManager::at(OsStr::new(&format!("@{name}")), None).expect("an address").serving(|| true).expect("starts"));
        let mut message = [0; 64];
        let length = socket.recv(&mut message).expect("a message");
        assert_eq!(&message[..length], b"READY=1");
    }

    #[test]
    fn a_manager_that_is_gone_holds_nobody_up() {
        let listener = Listener::new();
        let manager = listener.manager(Some(WATCHDOG));
        drop(listener);
        drop(manager.serving(|| true).expect("starts"));
    }

    #[test]
    fn what_is_no_socket_is_refused_by_name() {
        let error = ServiceManager::at(OsStr::new("notify"), None).expect_err("is refused").to_string();
        assert!(error.contains("expected an absolute path") && error.contains("\"notify\""), "{error}");
    }
}

//! Brokers started by `broker.sh`, ended with the value that stands for them.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use tempfile::TempDir;

/// Why a cluster could not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum ClusterError {
    /// This machine has no Java, or no jars and no way to get them; a test that meets this is skipped, and says so.
    #[error("no Kafka here: {0}")]
    Absent(String),
    /// The script failed.
    #[error("broker.sh {command}: {message}")]
    Failed {
        /// The command and its arguments.
        command: String,
        /// What the script said.
        message: String,
    },
    /// The script could not be run at all, or no folder could be made for it.
    #[error("cannot run broker.sh")]
    Io(#[from] std::io::Error),
}

/// Which cluster to start. The default: one broker, a plaintext listener, no authorizer.
#[derive(Clone, Debug, Default)]
pub struct Plan {
    /// Three brokers with replication factor 3 instead of one.
    pub three: bool,
    /// A second listener that demands TLS and SCRAM-SHA-512, with these users (name, password) besides `admin`.
    pub secure: Option<Vec<(String, String)>>,
    /// An authorizer that lets only `admin` and the plaintext listener do what no ACL allows.
    pub authorizer: bool,
}

/// How a client reaches the listener that demands TLS and SCRAM-SHA-512.
#[derive(Clone, Debug)]
pub struct Secure {
    /// `bootstrap.servers`.
    pub bootstrap: String,
    /// `ssl.ca.location`.
    pub ca: PathBuf,
    /// `sasl.mechanism`.
    pub mechanism: String,
}

/// A running cluster in a folder of its own; it ends, and the folder goes, when this value is dropped or its process ends.
pub struct Cluster {
    dir: TempDir,
    bootstrap: String,
    secure: Option<Secure>,
}

impl Cluster {
    /// Starts the brokers and waits until each of them answers.
    ///
    /// # Errors
    /// [`ClusterError::Absent`] where Kafka cannot run, [`ClusterError::Failed`] where it did not start.
    pub fn start(plan: &Plan) -> Result<Self, ClusterError> {
        let dir = tempfile::Builder::new().prefix("nephoscope-kafka-").tempdir()?;
        let mut arguments: Vec<String> = vec!["--port".into(), "0".into(), "--owner".into(), std::process::id().to_string()];
        arguments.extend(["--brokers".into(), if plan.three { "3" } else { "1" }.into()]);
        if let Some(users) = &plan.secure {
            arguments.push("--secure".into());
            for (name, password) in users {
                arguments.extend(["--user".into(), format!("{name}:{password}")]);
            }
        }
        if plan.authorizer {
            arguments.push("--authorizer".into());
        }
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let printed = match script(dir.path(), "start", &arguments) {
            Ok(printed) => printed,
            Err(error) => {
                // The other nodes of a cluster that did not come up as a whole must not outlive it.
                let _ = script(dir.path(), "stop", &[]);
                return Err(error);
            }
        };
        let settings: BTreeMap<&str, &str> = printed.lines().filter_map(|line| line.split_once('=')).collect();
        let setting = |name: &str| settings.get(name).map(|value| (*value).to_owned());
        let secure = setting("KAFKA_SECURE_BOOTSTRAP").map(|bootstrap| Secure {
            bootstrap,
            ca: setting("KAFKA_SECURE_CA").unwrap_or_default().into(),
            mechanism: setting("KAFKA_SECURE_MECHANISM").unwrap_or_default(),
        });
        Ok(Self { dir, bootstrap: setting("KAFKA_BOOTSTRAP").unwrap_or_default(), secure })
    }

    /// `bootstrap.servers` of the plaintext listener.
    #[must_use]
    pub fn bootstrap(&self) -> &str {
        &self.bootstrap
    }

    /// The listener that demands TLS and SASL, if the plan asked for one.
    #[must_use]
    pub fn secure(&self) -> Option<&Secure> {
        self.secure.as_ref()
    }

    /// `kill -9` of a broker; the first one is 1.
    ///
    /// # Errors
    /// If the broker does not run.
    pub fn kill(&self, node: u32) -> Result<(), ClusterError> {
        self.on_node("kill", node)
    }

    /// Brings a killed broker back, or restarts a living one politely; returns once it answers.
    ///
    /// # Errors
    /// If the broker does not come back.
    pub fn restart(&self, node: u32) -> Result<(), ClusterError> {
        self.on_node("restart", node)
    }

    /// Stops a broker's process where it stands (SIGSTOP).
    ///
    /// # Errors
    /// If the broker does not run.
    pub fn pause(&self, node: u32) -> Result<(), ClusterError> {
        self.on_node("pause", node)
    }

    /// Lets a paused broker go on (SIGCONT).
    ///
    /// # Errors
    /// If the broker does not run.
    pub fn resume(&self, node: u32) -> Result<(), ClusterError> {
        self.on_node("resume", node)
    }

    /// Runs one of Kafka's own tools (`TopicCommand`, `AclCommand` …) on this cluster and returns what it printed. Each
    /// call starts a JVM: a second or so.
    ///
    /// # Errors
    /// If the tool ends with another code than 0.
    pub fn tool(&self, class: &str, arguments: &[&str]) -> Result<String, ClusterError> {
        let arguments: Vec<&str> = std::iter::once(class).chain(arguments.iter().copied()).collect();
        script(self.dir.path(), "tool", &arguments)
    }

    fn on_node(&self, command: &str, node: u32) -> Result<(), ClusterError> {
        script(self.dir.path(), command, &[&node.to_string()]).map(|_| ())
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        let _ = script(self.dir.path(), "stop", &[]);
    }
}

impl fmt::Debug for Cluster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cluster").field("bootstrap", &self.bootstrap).finish_non_exhaustive()
    }
}

/// Runs `broker.sh COMMAND --dir DIR ARGUMENTS…` and returns what it printed.
fn script(dir: &Path, command: &str, arguments: &[&str]) -> Result<String, ClusterError> {
    let Output { status, stdout, stderr } =
        Command::new(concat!(env!("CARGO_MANIFEST_DIR"), "/broker.sh")).arg(command).arg("--dir").arg(dir).args(arguments).output()?;
    let said = || String::from_utf8_lossy(&stderr).trim().to_owned();
    match status.code() {
        Some(0) => Ok(String::from_utf8_lossy(&stdout).into_owned()),
        Some(77) => Err(ClusterError::Absent(said())),
        _ => Err(ClusterError::Failed { command: format!("{command} {}", arguments.join(" ")), message: said() }),
    }
}

//! A small HTTP/1.1 client of the API: one connection per request, through the owner's Unix socket or to a TCP listener
//! with its token. It blocks; an event loop lives only as long as a request.

use std::{
    fmt, io,
    path::{Path, PathBuf},
    time::Duration,
};

use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::{
    Method, Request,
    body::Bytes,
    header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HOST},
};
use hyper_util::rt::TokioIo;
use serde::de::DeserializeOwned;
use tokio::net::{TcpStream, UnixStream};

/// Name of the owner's socket in the data directory.
pub const SOCKET_NAME: &str = "api.sock";
/// How long a connection may take.
const CONNECT_TIME_MAX: Duration = Duration::from_secs(3);
/// How long an answer may take, beyond what the request itself asks the instance to wait.
const ANSWER_TIME_MAX: Duration = Duration::from_secs(20);
/// HTTP status of a request without the token.
const UNAUTHORIZED: u16 = 401;
/// The largest answer: a thousand records of the largest size do not come at once, the API has its own limits.
const ANSWER_BYTES_MAX: usize = 256 << 20;

/// Where an instance answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Endpoint {
    /// The owner's socket.
    Unix(PathBuf),
    /// A listener on a network, with the token that it wants.
    Tcp {
        /// `host:port`.
        authority: String,
        /// Token.
        token: Option<String>,
    },
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix(path) => path.display().fmt(f),
            Self::Tcp { authority, .. } => write!(f, "http://{authority}"),
        }
    }
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// Nobody listens there.
    #[error("no instance answers on {endpoint}")]
    Absent {
        /// Where it was looked for.
        endpoint: Endpoint,
        /// What the operating system says.
        #[source]
        source: io::Error,
    },
    /// Somebody may listen, but there is no way to it.
    #[error("cannot connect to {endpoint}{hint}")]
    Connect {
        /// Where.
        endpoint: Endpoint,
        /// What may help.
        hint: &'static str,
        /// What the operating system says.
        #[source]
        source: io::Error,
    },
    /// The connection broke, or what came is no HTTP.
    #[error("{endpoint} did not answer {request}")]
    Broken {
        /// Where.
        endpoint: Endpoint,
        /// Method and path.
        request: String,
        /// What happened.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// It wants to know who asks.
    #[error("{endpoint} wants its token: give --token-file; the instance keeps it as `token` in its data directory")]
    Token {
        /// Where.
        endpoint: Endpoint,
    },
    /// An answer, but a refusal.
    #[error("{endpoint} refused {request}: {status}{}{reason}", if reason.is_empty() { "" } else { ", " })]
    Refused {
        /// Where.
        endpoint: Endpoint,
        /// Method and path.
        request: String,
        /// HTTP status.
        status: u16,
        /// What the instance says about it.
        reason: String,
    },
    /// An answer of another shape: the instance has another version.
    #[error("{endpoint} answered {request} in a shape that this version does not know; is the instance of another version?")]
    Shape {
        /// Where.
        endpoint: Endpoint,
        /// Method and path.
        request: String,
        /// What was expected, what came, where.
        #[source]
        source: serde_json::Error,
    },
}

impl ClientError {
    /// Whether nothing runs there, so that the store may be read instead.
    pub fn is_absent(&self) -> bool {
        matches!(self, Self::Absent { .. })
    }

    /// The HTTP status of a refusal.
    pub fn status(&self) -> Option<u16> {
        match self {
            Self::Refused { status, .. } => Some(*status),
            _ => None,
        }
    }
}

/// What an instance answered.
#[derive(Debug)]
pub struct Answer {
    /// HTTP status.
    pub status: u16,
    /// Body.
    pub body: Bytes,
}

/// A client of one instance.
#[derive(Debug)]
pub struct Client {
    endpoint: Endpoint,
    runtime: tokio::runtime::Runtime,
}

impl Client {
    /// A client; nothing is connected yet.
    ///
    /// # Errors
    /// If the operating system has no event loop to give.
    pub fn new(endpoint: Endpoint) -> io::Result<Self> {
        Ok(Self { endpoint, runtime: tokio::runtime::Builder::new_current_thread().enable_all().build()? })
    }

    /// A client of the instance that works on a data directory.
    ///
    /// # Errors
    /// As [`Client::new`].
    pub fn of_data_dir(data_dir: &Path) -> io::Result<Self> {
        Self::new(Endpoint::Unix(data_dir.join(SOCKET_NAME)))
    }

    /// Where it connects to.
    pub fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// Reads a JSON document. `wait` is what the request itself asks the instance to wait.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub fn get<T: DeserializeOwned>(&self, path: &str, wait: Duration) -> Result<T, ClientError> {
        self.accepted(Method::GET, path, Bytes::new(), wait)
    }

    /// Sends a JSON document and reads the answer.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub fn post<T: DeserializeOwned>(&self, path: &str, body: &serde_json::Value) -> Result<T, ClientError> {
        self.accepted(Method::POST, path, body.to_string().into(), Duration::ZERO)
    }

    /// Reads whatever is answered, refusals included.
    ///
    /// # Errors
    /// If there is no answer.
    pub fn fetch(&self, path: &str) -> Result<Answer, ClientError> {
        self.answer(Method::GET, path, Bytes::new(), Duration::ZERO)
    }

    fn accepted<T: DeserializeOwned>(&self, method: Method, path: &str, body: Bytes, wait: Duration) -> Result<T, ClientError> {
        let request = format!("{method} {path}");
        let answer = self.answer(method, path, body, wait)?;
        let endpoint = || self.endpoint.clone();
        if answer.status == UNAUTHORIZED {
            return Err(ClientError::Token { endpoint: endpoint() });
        }
        if !(200..300).contains(&answer.status) {
            return Err(ClientError::Refused { endpoint: endpoint(), request, status: answer.status, reason: reason(&answer) });
        }
        serde_json::from_slice(&answer.body).map_err(|source| ClientError::Shape { endpoint: endpoint(), request, source })
    }

    fn answer(&self, method: Method, path: &str, body: Bytes, wait: Duration) -> Result<Answer, ClientError> {
        let request = format!("{method} {path}");
        let exchange = async {
            match &self.endpoint {
                Endpoint::Unix(socket) => {
                    let stream = self.connected(UnixStream::connect(socket)).await?;
                    Ok(exchange(stream, self.request(method, path, body)).await)
                }
                Endpoint::Tcp { authority, .. } => {
                    let stream = self.connected(TcpStream::connect(authority.as_str())).await?;
                    Ok(exchange(stream, self.request(method, path, body)).await)
                }
            }
        };
        let limit = CONNECT_TIME_MAX + ANSWER_TIME_MAX + wait;
        let done = self.runtime.block_on(async { tokio::time::timeout(limit, exchange).await });
        let broken = |source| ClientError::Broken { endpoint: self.endpoint.clone(), request, source };
        match done {
            Ok(Ok(Ok(answer))) => Ok(answer),
            Ok(Ok(Err(source))) => Err(broken(source)),
            Ok(Err(error)) => Err(error),
            Err(_) => Err(broken(format!("no answer within {} s", limit.as_secs()).into())),
        }
    }

    async fn connected<S>(&self, connecting: impl Future<Output = io::Result<S>>) -> Result<S, ClientError> {
        let connected = tokio::time::timeout(CONNECT_TIME_MAX, connecting).await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
        connected.map_err(|source| {
            let endpoint = self.endpoint.clone();
            match source.kind() {
                io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => ClientError::Absent { endpoint, source },
                io::ErrorKind::PermissionDenied => {
                    let hint = ": it belongs to another user; run this as that user, or give --address and --token-file";
                    ClientError::Connect { endpoint, hint, source }
                }
                _ => ClientError::Connect { endpoint, hint: "", source },
            }
        })
    }

    fn request(&self, method: Method, path: &str, body: Bytes) -> Result<Request<Full<Bytes>>, hyper::http::Error> {
        let (host, token) = match &self.endpoint {
            Endpoint::Unix(_) => ("localhost", None),
            Endpoint::Tcp { authority, token } => (authority.as_str(), token.as_ref()),
        };
        let mut request = Request::builder().method(method).uri(path).header(HOST, host).header(ACCEPT, "application/json");
        if !body.is_empty() {
            request = request.header(CONTENT_TYPE, "application/json");
        }
        if let Some(token) = token {
            request = request.header(AUTHORIZATION, format!("Bearer {token}"));
        }
        request.body(Full::new(body))
    }
}

type AnyError = Box<dyn std::error::Error + Send + Sync>;

async fn exchange<S>(stream: S, request: Result<Request<Full<Bytes>>, hyper::http::Error>) -> Result<Answer, AnyError>
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
{
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    // Its errors come back through the request that they concern.
    let connection = tokio::spawn(async move { drop(connection.await) });
    let answer = async {
        let response = sender.send_request(request?).await?;
        let status = response.status().as_u16();
        let body = Limited::new(response.into_body(), ANSWER_BYTES_MAX).collect().await.map_err(|error| {
            if error.is::<LengthLimitError>() { format!("the answer is larger than {ANSWER_BYTES_MAX} bytes").into() } else { error }
        })?;
        Ok(Answer { status, body: body.to_bytes() })
    };
    let answer = answer.await;
    connection.abort();
    answer
}

/// What a refusal says: the fields `error` and `expected` of the API's own object, else its first line.
fn reason(answer: &Answer) -> String {
    #[derive(serde::Deserialize)]
    struct Refusal {
        error: String,
        expected: Option<String>,
    }
    let text = match serde_json::from_slice(&answer.body) {
        Ok(Refusal { error, expected: None }) => error,
        Ok(Refusal { error, expected: Some(expected) }) => format!("{error}; expected {expected}"),
        Err(_) => String::from_utf8_lossy(&answer.body).lines().next().unwrap_or("").to_string(),
    };
    crate::output::plain(&text)
}

/// A value as it may stand in a path or a query (RFC 3986, 2.3).
pub fn encoded(value: &str) -> String {
    let mut text = String::with_capacity(value.len());
    for byte in value.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => text.push(char::from(byte)),
            _ => text.push_str(&format!("%{byte:02X}")),
        }
    }
    text
}

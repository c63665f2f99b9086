//! Certificates and keys from files, and what is wrong with them in words.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{VerifierBuilderError, WebPkiClientVerifier};
use rustls::{RootCertStore, ServerConfig};

use super::expiry::Expiry;
use crate::collector::config::{ClientCertificate, TlsListener};

/// A file of a TLS listener that does not serve.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// It cannot be read.
    #[error("[[syslog.tls]] {key} = {file:?}: expected a file that can be read")]
    Unreadable {
        /// The key.
        key: &'static str,
        /// The file.
        file: PathBuf,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
    /// It can be read, but holds something else.
    #[error("[[syslog.tls]] {key} = {file:?}: expected {expected}, found {found}")]
    Content {
        /// The key.
        key: &'static str,
        /// The file.
        file: PathBuf,
        /// What should be there.
        expected: &'static str,
        /// What is there.
        found: String,
    },
    /// Each file is good, but the two do not belong together.
    #[error("[[syslog.tls]] key = {key:?}: expected the private key of the first certificate in {certificate:?}, found another one")]
    Pair {
        /// The file of the key.
        key: PathBuf,
        /// The file of the certificate.
        certificate: PathBuf,
    },
}

const CERTIFICATES: &str = "PEM certificates (-----BEGIN CERTIFICATE-----)";
const PRIVATE_KEY: &str = "a PEM private key without a passphrase (-----BEGIN PRIVATE KEY-----, RSA PRIVATE KEY or EC PRIVATE KEY)";

/// What a listener shows, and whom it believes.
pub(super) struct Identity {
    pub(super) config: Arc<ServerConfig>,
    pub(super) expiry: Option<Expiry>,
}

/// Reads all files of a listener.
pub(super) fn load(listener: &TlsListener) -> Result<Identity, IdentityError> {
    let provider = Arc::new(ring::default_provider());
    let chain = certificates("certificate", &listener.certificate)?;
    let key = private_key(&listener.key)?;
    let builder = ServerConfig::builder_with_provider(provider.clone()).with_safe_default_protocol_versions();
    let certificate = |found: String| content("certificate", &listener.certificate, CERTIFICATES, found);
    let expiry = Expiry::of(&chain).map_err(certificate)?;
    let builder = builder.map_err(|error| certificate(error.to_string()))?;
    let builder = match client_roots(listener, &provider)? {
        None => builder.with_no_client_auth(),
        Some(verifier) => builder.with_client_cert_verifier(verifier),
    };
    let config = builder.with_single_cert(chain, key).map_err(|error| match error {
        rustls::Error::InconsistentKeys(_) => IdentityError::Pair { key: listener.key.clone(), certificate: listener.certificate.clone() },
        rustls::Error::General(problem) => content("key", &listener.key, PRIVATE_KEY, problem),
        other => certificate(other.to_string()),
    });
    let mut config = config?;
    // Tickets stay unread in the receive buffer of a sender that only writes. When it closes, the kernel then resets the
    // connection instead of ending it, and what was still on its way is lost. Syslog connections are long; they cost little.
    config.send_tls13_tickets = 0;
    Ok(Identity { config: Arc::new(config), expiry })
}

type Verifier = Arc<dyn rustls::server::danger::ClientCertVerifier>;

fn client_roots(listener: &TlsListener, provider: &Arc<CryptoProvider>) -> Result<Option<Verifier>, IdentityError> {
    let file = &listener.client_ca;
    if file.as_os_str().is_empty() {
        return Ok(None);
    }
    let refuse = |found: String| content("client_ca", file, CERTIFICATES, found);
    let mut roots = RootCertStore::empty();
    for certificate in certificates("client_ca", file)? {
        roots.add(certificate).map_err(|error| refuse(error.to_string()))?;
    }
    let builder = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider.clone());
    let builder = match listener.client_certificate {
        ClientCertificate::Required => builder,
        ClientCertificate::Optional => builder.allow_unauthenticated(),
    };
    builder.build().map(Some).map_err(|error: VerifierBuilderError| refuse(error.to_string()))
}

fn certificates(key: &'static str, file: &Path) -> Result<Vec<CertificateDer<'static>>, IdentityError> {
    let text = read(key, file)?;
    let found = CertificateDer::pem_slice_iter(&text).collect::<Result<Vec<_>, _>>();
    let found = found.map_err(|error| content(key, file, CERTIFICATES, error.to_string()))?;
    if found.is_empty() { Err(content(key, file, CERTIFICATES, sections(&text))) } else { Ok(found) }
}

fn private_key(file: &Path) -> Result<PrivateKeyDer<'static>, IdentityError> {
    let text = read("key", file)?;
    PrivateKeyDer::from_pem_slice(&text).map_err(|error| {
        let found = match error {
            rustls::pki_types::pem::Error::NoItemsFound => sections(&text),
            other => other.to_string(),
        };
        content("key", file, PRIVATE_KEY, found)
    })
}

fn read(key: &'static str, file: &Path) -> Result<Vec<u8>, IdentityError> {
    fs::read(file).map_err(|source| IdentityError::Unreadable { key, file: file.to_owned(), source })
}

fn content(key: &'static str, file: &Path, expected: &'static str, found: String) -> IdentityError {
    IdentityError::Content { key, file: file.to_owned(), expected, found }
}

/// What a PEM file holds, by the names of its sections: never its content, which may be secret.
fn sections(text: &[u8]) -> String {
    let text = String::from_utf8_lossy(text);
    let names: Vec<&str> = text.lines().filter_map(|line| line.trim().strip_prefix("-----BEGIN ")?.strip_suffix("-----")).collect();
    if names.is_empty() { format!("{} bytes without any PEM section", text.len()) } else { names.join(", ") }
}

//! Secrets of destinations: never the word itself in a configuration, only where it stands.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Where a secret stands: `file:<path>` or `env:<NAME>`. It can be printed; what it leads to cannot.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Secret(String);

/// A secret that cannot be had. The message never holds what was found.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    /// Neither `file:` nor `env:`.
    #[error("expected file:PATH or env:NAME, never the secret itself")]
    Form,
    /// The file cannot be read.
    #[error("cannot read the file {path}")]
    File {
        /// Its path.
        path: String,
        /// What the operating system says.
        #[source]
        source: std::io::Error,
    },
    /// The variable is not set.
    #[error("the variable {0} is not set")]
    Variable(String),
    /// There is nothing in it.
    #[error("{0} holds nothing")]
    Empty(Secret),
}

impl Secret {
    /// A secret that stands there.
    pub fn new(place: impl Into<String>) -> Self {
        Self(place.into())
    }

    /// Whether nothing is said.
    pub fn is_none(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether it has one of the forms.
    ///
    /// # Errors
    /// [`SecretError::Form`].
    pub fn check(&self) -> Result<(), SecretError> {
        let place = self.0.strip_prefix("file:").or_else(|| self.0.strip_prefix("env:"));
        if place.is_some_and(|place| !place.is_empty()) { Ok(()) } else { Err(SecretError::Form) }
    }

    /// Reads it, white space around it removed.
    ///
    /// # Errors
    /// If it is not there.
    #[allow(clippy::disallowed_methods, reason = "a secret's place may be the environment, as the configuration says")]
    pub fn read(&self) -> Result<String, SecretError> {
        let text = match (self.0.strip_prefix("file:"), self.0.strip_prefix("env:")) {
            (Some(path), _) => std::fs::read_to_string(path).map_err(|source| SecretError::File { path: path.into(), source })?,
            (_, Some(name)) => std::env::var(name).map_err(|_| SecretError::Variable(name.into()))?,
            _ => return Err(SecretError::Form),
        };
        let text = text.trim();
        if text.is_empty() { Err(SecretError::Empty(self.clone())) } else { Ok(text.into()) }
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Somebody may have written the secret itself.
        f.write_str(if self.check().is_ok() { &self.0 } else { "<redacted>" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_read_from_where_it_stands() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("key");
        std::fs::write(&path, "  s3cret\n").expect("writes");
        assert_eq!(Secret::new(format!("file:{}", path.display())).read().expect("is there"), "s3cret");
        std::fs::write(&path, " \n").expect("writes");
        assert!(matches!(Secret::new(format!("file:{}", path.display())).read(), Err(SecretError::Empty(_))));
        assert!(!Secret::new("env:PATH").read().expect("is set").is_empty());
        assert!(matches!(Secret::new("env:NEPHOSCOPE_NO_SUCH_VARIABLE").read(), Err(SecretError::Variable(_))));
    }

    #[test]
    fn the_word_itself_is_refused_and_never_repeated() {
        for text in ["", "hunter2", "file:", "env:", "https://hooks.example/abc"] {
            let secret = Secret::new(text);
            let error = secret.read().expect_err(text).to_string();
            assert!(secret.check().is_err() && (text.is_empty() || !error.contains(text)), "{error}");
            assert_eq!(secret.to_string(), "<redacted>");
        }
    }
}

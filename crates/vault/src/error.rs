//! The one error type of the vault.
//!
//! An error carries a kind that callers decide on, a sentence for a person and a hint that says what to do. It never carries a secret:
//! no password, no key and no plain text of a blob appears in it.

use chrono::{DateTime, Utc};
use std::fmt;

/// What sort of failure it is; callers decide on this and show the sentence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum VaultErrorKind {
    /// There is no vault at this place (no `config`).
    NoVault,
    /// No key file opens with this password.
    WrongPassword,
    /// Another process holds a conflicting lock.
    Locked {
        /// Who holds it, as `user@host`.
        by: String,
        /// When that lock was last refreshed.
        since: DateTime<Utc>,
    },
    /// Stored bytes are not what was written: a MAC, a digest or the format does not hold.
    Damaged,
    /// A file, blob, snapshot or path that was asked for is not there.
    Missing,
    /// The store cannot be reached or does not work; later it may.
    StoreUnavailable,
    /// The store answers and refuses: credentials, rights, a bucket that is not there. Only an operator can change that.
    StoreRefused,
    /// The store has no room left.
    StoreFull,
    /// The caller asked to stop.
    Cancelled,
    /// The vault, or the request, uses something this version cannot do.
    Unsupported,
    /// A bug or an exhausted machine.
    Internal,
}

/// A failure of the vault; `Display` is its sentence.
#[derive(Debug)]
pub struct VaultError {
    kind: VaultErrorKind,
    sentence: String,
    hint: Option<String>,
    source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

/// Result of the vault's operations.
pub type Result<T> = std::result::Result<T, VaultError>;

impl VaultError {
    /// An error of this kind with its sentence.
    pub fn new(kind: VaultErrorKind, sentence: impl Into<String>) -> Self {
        Self { kind, sentence: sentence.into(), hint: None, source: None }
    }

    /// The same error with advice on what to do.
    #[must_use]
    pub fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// The same error with the failure that caused it.
    #[must_use]
    pub fn with_source(mut self, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// The same error with what was being done put in front of its sentence.
    #[must_use]
    pub fn during(mut self, doing: &str) -> Self {
        self.sentence = format!("{doing}: {}", self.sentence);
        self
    }

    /// [`VaultErrorKind::Damaged`] with its sentence.
    pub fn damaged(sentence: impl Into<String>) -> Self {
        Self::new(VaultErrorKind::Damaged, sentence)
            .with_hint("verify the vault; the next backup stores again what its source still has")
    }

    /// [`VaultErrorKind::Missing`] with its sentence.
    pub fn missing(sentence: impl Into<String>) -> Self {
        Self::new(VaultErrorKind::Missing, sentence)
    }

    /// [`VaultErrorKind::Internal`] with its sentence.
    pub fn internal(sentence: impl Into<String>) -> Self {
        Self::new(VaultErrorKind::Internal, sentence).with_hint("this is a fault of Trivault; please report it")
    }

    /// [`VaultErrorKind::Unsupported`] with its sentence.
    pub fn unsupported(sentence: impl Into<String>) -> Self {
        Self::new(VaultErrorKind::Unsupported, sentence)
    }

    /// The caller asked to stop.
    pub fn cancelled() -> Self {
        Self::new(VaultErrorKind::Cancelled, "the operation was cancelled")
    }

    /// What sort of failure it is.
    pub fn kind(&self) -> &VaultErrorKind {
        &self.kind
    }

    /// The sentence for a person.
    pub fn sentence(&self) -> &str {
        &self.sentence
    }

    /// What to do about it, when something helps.
    pub fn hint(&self) -> Option<&str> {
        self.hint.as_deref()
    }

    /// A second error that says the same, for a caller that must hand one failure to several waiters. The source stays with the first.
    #[must_use]
    pub fn duplicate(&self) -> Self {
        let VaultError { kind, sentence, hint, source: _ } = self;
        Self { kind: kind.clone(), sentence: sentence.clone(), hint: hint.clone(), source: None }
    }
}

impl fmt::Display for VaultError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.sentence)
    }
}

impl std::error::Error for VaultError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.source.as_deref().map(|source| source as &(dyn std::error::Error + 'static))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_shows_its_sentence_and_keeps_its_source_apart() {
        let error = VaultError::damaged("pack 12 is short").with_source(std::io::Error::other("eof")).during("reading");
        assert_eq!(error.to_string(), "reading: pack 12 is short");
        assert_eq!(error.kind(), &VaultErrorKind::Damaged);
        assert!(error.hint().is_some());
        assert!(std::error::Error::source(&error).is_some());
        assert_eq!(error.duplicate().sentence(), error.sentence());
    }
}

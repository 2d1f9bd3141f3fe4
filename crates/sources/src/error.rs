//! What can go wrong with a source: a kind that callers act on, a sentence for a person, and a hint.

use std::fmt;

/// What callers can act on. The engine maps each kind to one of its own error codes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorKind {
    /// The thing is not there: no file, no directory, no such database.
    Missing,
    /// It is there and is not what it should be: not a database, damaged, another kind.
    Invalid,
    /// It is there and cannot be reached now: locked, server down, time-out. Worth a retry.
    Unavailable,
    /// The operating system or the server refuses us.
    Denied,
    /// The target is in the way: not empty, in use, exists.
    Conflict,
    /// This kind of source cannot do what was asked; the sentence says what would do.
    Unsupported,
    /// No space left where a restore writes.
    Full,
    /// The sink or the reader failed: the fault is in the store, not in the source.
    Store,
    /// The caller asked to stop.
    Cancelled,
    /// A defect of ours or something nobody foresaw.
    Internal,
}

/// An error of a source. `Display` prints the sentence alone.
#[derive(Debug)]
pub struct SourceError {
    pub kind: ErrorKind,
    /// One sentence for a person, without secrets.
    pub sentence: String,
    /// What to do about it.
    pub hint: Option<String>,
    pub source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

impl SourceError {
    pub fn new(kind: ErrorKind, sentence: impl Into<String>) -> Self {
        Self { kind, sentence: sentence.into(), hint: None, source: None }
    }

    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    #[must_use]
    pub fn because(mut self, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        self.source = Some(source.into());
        self
    }

    pub(crate) fn no_key_ranges(what: &str) -> Self {
        Self::new(ErrorKind::Unsupported, format!("A range of keys cannot be restored of {what}."))
            .hint("Choose by names, or by an expression over keys.")
    }

    /// A kind whose data are files was told to restore into a database of a server.
    pub(crate) fn no_databases(what: &str) -> Self {
        Self::new(ErrorKind::Unsupported, format!("{what} is restored to a path, not into a database of a server."))
    }

    pub fn cancelled() -> Self {
        Self::new(ErrorKind::Cancelled, "The work was cancelled.")
    }
}

impl fmt::Display for SourceError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.sentence)
    }
}

impl std::error::Error for SourceError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.source.as_deref().map(|source| source as &(dyn std::error::Error + 'static))
    }
}

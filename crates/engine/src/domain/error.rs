//! Errors of the engine: a code that dialects map to their wire, a sentence for the caller, a hint.

use std::fmt;

pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What kind of thing an error is about; dialects word "not found" by it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Noun {
    Source,
    Store,
    Vault,
    Repository,
    Plan,
    Backup,
    Part,
    Job,
    User,
    Token,
    Alias,
}

/// Exhaustively mapped by every dialect's `errors.rs`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ErrorCode {
    /// The caller's input breaks a rule; the sentence names the field and the rule.
    InvalidInput,
    NotFound(Noun),
    /// The name is taken.
    AlreadyExists(Noun),
    /// Something else uses it: a plan in use, a store with running jobs, a running backup.
    InUse(Noun),
    /// The object is in a state that does not allow this (restore of an unfinished backup ...).
    NotReady(Noun),
    Unauthenticated,
    /// Too many failed log-ins; try again later.
    Throttled,
    /// Known caller, insufficient role or scope.
    Forbidden,
    /// The passcode is not the one the backup was made with.
    WrongPasscode,
    /// The backup is protected by a passcode and this way of asking has no place for one.
    PasscodeRequired,
    /// The source is gone, or another one stands under its name.
    SourceDetached,
    SourceUnavailable,
    /// The store cannot be reached; later it may.
    StoreUnavailable,
    /// The store refuses (credentials, rights, a bucket that is not there), and will until an operator changes something.
    StoreRefused,
    StoreFull,
    /// Stored bytes do not match their checksums.
    Damaged,
    /// The job lost its lease or was cancelled.
    Cancelled,
    /// This installation cannot do it; the sentence says what would do.
    Unsupported,
    /// The metadata database cannot be reached: 503.
    DatabaseUnavailable,
    /// A defect: 500.
    Internal,
}

/// `Display` prints the sentence alone; `hint` and `source` are for logs and for those who have room for them.
#[derive(Debug)]
pub struct Error {
    pub code: ErrorCode,
    pub sentence: String,
    pub hint: Option<String>,
    pub source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

impl Error {
    pub fn new(code: ErrorCode, sentence: impl Into<String>) -> Self {
        Self { code, sentence: sentence.into(), hint: None, source: None }
    }

    pub fn invalid(sentence: impl Into<String>) -> Self {
        Self::new(ErrorCode::InvalidInput, sentence)
    }

    pub fn not_found(noun: Noun, sentence: impl Into<String>) -> Self {
        Self::new(ErrorCode::NotFound(noun), sentence)
    }

    pub fn internal(sentence: impl Into<String>) -> Self {
        Self::new(ErrorCode::Internal, sentence)
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
}

impl fmt::Display for Error {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.sentence)
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.source.as_deref().map(|source| source as &(dyn std::error::Error + 'static))
    }
}

//! How failures of vaults and sources become failures of the engine, and which of them are worth another try.

use trivault_sources::{ErrorKind, SourceError};
use trivault_vault::{VaultError, VaultErrorKind};

use crate::domain::{Error, ErrorCode, Failure, Noun};

/// What a vault says, in the engine's codes. Sentences of the vault begin in lower case and have no full stop.
pub(crate) fn from_vault(error: VaultError) -> Error {
    let code = match error.kind() {
        VaultErrorKind::NoVault | VaultErrorKind::StoreUnavailable | VaultErrorKind::Locked { .. } => {
            ErrorCode::StoreUnavailable
        }
        VaultErrorKind::StoreRefused => ErrorCode::StoreRefused,
        VaultErrorKind::WrongPassword => ErrorCode::WrongPasscode,
        VaultErrorKind::Damaged | VaultErrorKind::Missing => ErrorCode::Damaged,
        VaultErrorKind::StoreFull => ErrorCode::StoreFull,
        VaultErrorKind::Cancelled => ErrorCode::Cancelled,
        VaultErrorKind::Unsupported => ErrorCode::Unsupported,
        VaultErrorKind::Internal => ErrorCode::Internal,
    };
    let hint = error.hint().map(sentence_case);
    Error { code, sentence: sentence_case(error.sentence()), hint, source: Some(Box::new(error)) }
}

/// What a source says, in the engine's codes. A failure of the store below is found again inside.
pub(crate) fn from_source(error: SourceError) -> Error {
    let SourceError { kind, sentence, hint, source } = error;
    let source = match source.map(|source| source.downcast::<VaultError>()) {
        Some(Ok(vault)) => return from_vault(*vault),
        Some(Err(other)) => Some(other),
        None => None,
    };
    let code = match kind {
        ErrorKind::Missing | ErrorKind::Unavailable | ErrorKind::Denied => ErrorCode::SourceUnavailable,
        ErrorKind::Invalid => ErrorCode::InvalidInput,
        ErrorKind::Conflict => ErrorCode::InUse(Noun::Source),
        ErrorKind::Unsupported => ErrorCode::Unsupported,
        ErrorKind::Full => ErrorCode::StoreFull,
        ErrorKind::Store => ErrorCode::StoreUnavailable,
        ErrorKind::Cancelled => ErrorCode::Cancelled,
        ErrorKind::Internal => ErrorCode::Internal,
    };
    Error { code, sentence, hint, source }
}

/// What a vault says, as a source's driver hears it from its sink; [`from_source`] finds it again.
pub(crate) fn to_source(error: VaultError) -> SourceError {
    let kind = if *error.kind() == VaultErrorKind::Cancelled { ErrorKind::Cancelled } else { ErrorKind::Store };
    let mut told = SourceError::new(kind, sentence_case(error.sentence()));
    told.hint = error.hint().map(sentence_case);
    told.because(error)
}

/// A failure of a run, with whether another attempt may succeed where this one did not.
#[derive(Debug)]
pub(crate) struct JobError {
    pub(crate) error: Error,
    pub(crate) retry: bool,
}

pub(crate) type JobResult<T> = Result<T, JobError>;

impl From<Error> for JobError {
    fn from(error: Error) -> Self {
        let retry = matches!(error.code, ErrorCode::DatabaseUnavailable | ErrorCode::StoreUnavailable);
        Self { error, retry }
    }
}

impl From<VaultError> for JobError {
    fn from(error: VaultError) -> Self {
        from_vault(error).into()
    }
}

impl From<SourceError> for JobError {
    fn from(error: SourceError) -> Self {
        let locked = error.kind == ErrorKind::Unavailable;
        let error = from_source(error);
        let retry = locked || matches!(error.code, ErrorCode::StoreUnavailable);
        Self { error, retry }
    }
}

/// An engine's answer inside a run.
pub(crate) fn in_job<T>(answer: Result<T, Error>) -> JobResult<T> {
    answer.map_err(JobError::from)
}

/// Stable word of a code, for jobs.
pub(crate) fn code_word(code: ErrorCode) -> &'static str {
    match code {
        ErrorCode::InvalidInput => "invalid_input",
        ErrorCode::NotFound(_) => "not_found",
        ErrorCode::AlreadyExists(_) => "already_exists",
        ErrorCode::InUse(_) => "in_use",
        ErrorCode::NotReady(_) => "not_ready",
        ErrorCode::Unauthenticated => "unauthenticated",
        ErrorCode::Throttled => "throttled",
        ErrorCode::Forbidden => "forbidden",
        ErrorCode::WrongPasscode => "wrong_passcode",
        ErrorCode::PasscodeRequired => "passcode_required",
        ErrorCode::SourceDetached => "source_detached",
        ErrorCode::SourceUnavailable => "source_unavailable",
        ErrorCode::StoreUnavailable => "store_unavailable",
        ErrorCode::StoreRefused => "store_refused",
        ErrorCode::StoreFull => "store_full",
        ErrorCode::Damaged => "damaged",
        ErrorCode::Cancelled => "cancelled",
        ErrorCode::Unsupported => "unsupported",
        ErrorCode::DatabaseUnavailable => "database_unavailable",
        ErrorCode::Internal => "internal",
    }
}

/// What a job keeps of an error.
pub(crate) fn to_failure(error: &Error) -> Failure {
    Failure { code: code_word(error.code).to_owned(), sentence: error.sentence.clone(), hint: error.hint.clone() }
}

/// A first capital letter and a full stop.
fn sentence_case(text: &str) -> String {
    let mut letters = text.chars();
    let Some(first) = letters.next() else { return String::new() };
    // A path or a name at the beginning stays as it is.
    let mut sentence: String =
        if first.is_lowercase() { first.to_uppercase().chain(letters).collect() } else { text.to_owned() };
    if !sentence.ends_with(['.', '!', '?', '`']) {
        sentence.push('.');
    }
    sentence
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_of_the_store_is_found_again_behind_the_source_that_met_it() {
        let full = VaultError::new(VaultErrorKind::StoreFull, "the disk is full").with_hint("free space");
        let error = JobError::from(to_source(full));
        assert_eq!(error.error.code, ErrorCode::StoreFull);
        assert_eq!(error.error.sentence, "The disk is full.");
        assert_eq!(error.error.hint.as_deref(), Some("Free space."));
        assert!(!error.retry);
    }

    /// Every cause has its line: another attempt may succeed, or would only fail again.
    #[test]
    fn only_what_may_pass_by_itself_is_tried_again() {
        use VaultErrorKind as Vault;
        let locked = Vault::Locked { by: "root@other".to_owned(), since: chrono::DateTime::UNIX_EPOCH };
        let of_vault = [
            (Vault::NoVault, true),
            (Vault::WrongPassword, false),
            (locked, true),
            (Vault::Damaged, false),
            (Vault::Missing, false),
            (Vault::StoreUnavailable, true),
            (Vault::StoreRefused, false),
            (Vault::StoreFull, false),
            (Vault::Cancelled, false),
            (Vault::Unsupported, false),
            (Vault::Internal, false),
        ];
        for (kind, retried) in of_vault {
            assert_eq!(JobError::from(VaultError::new(kind.clone(), "x")).retry, retried, "{kind:?}");
            // The same behind the source that met it.
            assert_eq!(JobError::from(to_source(VaultError::new(kind.clone(), "x"))).retry, retried, "{kind:?}");
        }
        let of_source = [
            (ErrorKind::Missing, false),
            (ErrorKind::Invalid, false),
            (ErrorKind::Unavailable, true),
            (ErrorKind::Denied, false),
            (ErrorKind::Conflict, false),
            (ErrorKind::Unsupported, false),
            (ErrorKind::Full, false),
            (ErrorKind::Store, true),
            (ErrorKind::Cancelled, false),
            (ErrorKind::Internal, false),
        ];
        for (kind, retried) in of_source {
            assert_eq!(JobError::from(SourceError::new(kind, "x")).retry, retried, "{kind:?}");
        }
        let of_engine = [
            (ErrorCode::InvalidInput, false),
            (ErrorCode::NotFound(Noun::Store), false),
            (ErrorCode::AlreadyExists(Noun::Source), false),
            (ErrorCode::InUse(Noun::Source), false),
            (ErrorCode::NotReady(Noun::Part), false),
            (ErrorCode::Unauthenticated, false),
            (ErrorCode::Throttled, false),
            (ErrorCode::Forbidden, false),
            (ErrorCode::WrongPasscode, false),
            (ErrorCode::PasscodeRequired, false),
            (ErrorCode::SourceDetached, false),
            (ErrorCode::SourceUnavailable, false),
            (ErrorCode::StoreUnavailable, true),
            (ErrorCode::StoreRefused, false),
            (ErrorCode::StoreFull, false),
            (ErrorCode::Damaged, false),
            (ErrorCode::Cancelled, false),
            (ErrorCode::Unsupported, false),
            (ErrorCode::DatabaseUnavailable, true),
            (ErrorCode::Internal, false),
        ];
        let mut words = std::collections::BTreeSet::new();
        for (code, retried) in of_engine {
            assert_eq!(JobError::from(Error::new(code, "x")).retry, retried, "{code:?}");
            words.insert(code_word(code));
        }
        assert_eq!(words.len(), 20, "no code stands there twice");
    }
}

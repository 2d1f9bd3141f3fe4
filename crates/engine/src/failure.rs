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

    #[test]
    fn what_may_pass_by_itself_is_tried_again_and_what_is_gone_is_not() {
        let retried = |kind| JobError::from(SourceError::new(kind, "x")).retry;
        assert!(retried(ErrorKind::Unavailable) && retried(ErrorKind::Store));
        assert!(!retried(ErrorKind::Missing) && !retried(ErrorKind::Invalid) && !retried(ErrorKind::Denied));
        let down = VaultError::new(VaultErrorKind::StoreUnavailable, "x");
        assert!(JobError::from(down).retry);
    }
}

//! What an S3 server answered, told as a sentence with advice.

use crate::error::{VaultError, VaultErrorKind};
use object_store::Error;
use object_store::client::{HttpError, HttpErrorKind};
use std::error::Error as _;
use std::io::ErrorKind;

/// Longest piece of a server's answer that goes into a sentence, in characters.
const ANSWER_MAX_CHARS: usize = 200;
/// Codes of S3 for credentials that will not do, whatever the status they come with. A clock that is wrong is not among them: it may be set
/// right by itself, after a machine has slept.
const CREDENTIALS_REFUSED: [&str; 5] =
    ["InvalidAccessKeyId", "SignatureDoesNotMatch", "ExpiredToken", "InvalidToken", "InvalidSecurity"];
/// Codes of S3 for a bucket that is served elsewhere.
const ELSEWHERE: [&str; 3] = ["PermanentRedirect", "AuthorizationHeaderMalformed", "IllegalLocationConstraint"];

/// Turns a failed request into the vault's error. `doing` completes "while …".
pub(super) fn from_object_store(location: &str, doing: &str, error: Error) -> VaultError {
    let told = chain(&error);
    let has = |code: &str| told.contains(code);
    let (kind, what, hint) = if has("NoSuchBucket") {
        (VaultErrorKind::StoreRefused, "there is no such bucket".to_owned(), "create the bucket, or correct its name")
    } else if CREDENTIALS_REFUSED.into_iter().any(has) || matches!(error, Error::Unauthenticated { .. }) {
        (
            VaultErrorKind::StoreRefused,
            "the server refuses the credentials".to_owned(),
            "check the store's access key, secret and region",
        )
    } else if ELSEWHERE.into_iter().any(has) {
        (
            VaultErrorKind::StoreRefused,
            "the bucket is in another region or behind another endpoint".to_owned(),
            "correct the store's region and endpoint",
        )
    } else if has("RequestTimeTooSkewed") {
        (
            VaultErrorKind::StoreUnavailable,
            "the clocks of server and client differ".to_owned(),
            "set the clock right (NTP)",
        )
    } else if ["QuotaExceeded", "XMinioStorageFull", "507 Insufficient"].into_iter().any(has) {
        (
            VaultErrorKind::StoreFull,
            "no room is left in the bucket".to_owned(),
            "raise the bucket's quota or free space there, then run the job again",
        )
    } else if matches!(error, Error::PermissionDenied { .. }) || has("AccessDenied") || has("403 Forbidden") {
        // A refused list comes without that kind.
        (
            VaultErrorKind::StoreRefused,
            "the server refuses the request".to_owned(),
            "allow this key to list, read, write and delete below the store's prefix",
        )
    } else if has("InvalidRange") || has("416 Range") {
        (
            VaultErrorKind::Damaged,
            "a file is shorter than it must be".to_owned(),
            "verify the vault; the next backup stores again what its source still has",
        )
    } else if matches!(error, Error::NotFound { .. }) {
        (
            VaultErrorKind::Missing,
            "the file is not there".to_owned(),
            "verify the vault; the next backup stores again what its source still has",
        )
    } else {
        (
            VaultErrorKind::StoreUnavailable,
            summary(&error),
            "check that the server is reachable from this machine, then run the job again",
        )
    };
    VaultError::new(kind, format!("the store at {location} ({doing}): {what}")).with_hint(hint).with_source(error)
}

/// Whether the connection broke or ran out of time, so that nobody knows what became of the request; not when the server has refused it.
pub(super) fn broke_off(error: &Error) -> bool {
    let Error::Generic { .. } = error else { return false };
    let mut cause = error.source();
    while let Some(error) = cause {
        let torn = error.downcast_ref::<std::io::Error>().is_some_and(|error| error.kind() == ErrorKind::UnexpectedEof);
        if let Some(failed) = error.downcast_ref::<HttpError>() {
            // These two the client has repeated for as long as it may.
            return !matches!(failed.kind(), HttpErrorKind::Connect | HttpErrorKind::Request);
        }
        if torn {
            return true;
        }
        cause = error.source();
    }
    false
}

/// The whole chain of causes as one text, to look for the server's error codes in.
fn chain(error: &Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push('\n');
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}

/// The innermost cause on one line: what happened at the socket, or what the server said.
fn summary(error: &Error) -> String {
    let mut innermost: &(dyn std::error::Error + 'static) = error;
    while let Some(cause) = innermost.source() {
        innermost = cause;
    }
    let line = innermost.to_string().split_whitespace().collect::<Vec<_>>().join(" ");
    line.chars().take(ANSWER_MAX_CHARS).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_of_the_server_become_kinds() {
        let generic = |text: &str| Error::Generic { store: "S3", source: text.to_owned().into() };
        let cases = [
            ("<Code>NoSuchBucket</Code>", VaultErrorKind::StoreRefused, "no such bucket"),
            ("<Code>SignatureDoesNotMatch</Code>", VaultErrorKind::StoreRefused, "credentials"),
            ("<Code>ExpiredToken</Code>", VaultErrorKind::StoreRefused, "credentials"),
            ("<Code>AuthorizationHeaderMalformed</Code>", VaultErrorKind::StoreRefused, "region"),
            (
                "status code: 403 Forbidden: <Code>AccessDenied</Code>",
                VaultErrorKind::StoreRefused,
                "refuses the request",
            ),
            ("403 Forbidden: <Code>RequestTimeTooSkewed</Code>", VaultErrorKind::StoreUnavailable, "clocks"),
            ("<Code>RequestTimeTooSkewed</Code>", VaultErrorKind::StoreUnavailable, "clocks"),
            ("<Code>SlowDown</Code>", VaultErrorKind::StoreUnavailable, "SlowDown"),
            ("<Code>XMinioStorageFull</Code>", VaultErrorKind::StoreFull, "no room"),
            ("<Code>InvalidRange</Code>", VaultErrorKind::Damaged, "shorter"),
            ("connection refused", VaultErrorKind::StoreUnavailable, "connection refused"),
        ];
        for (answer, kind, words) in cases {
            let error = from_object_store("s3:https://h/b", "writing the config", generic(answer));
            assert_eq!(error.kind(), &kind, "{answer}");
            assert!(error.sentence().contains(words), "{}", error.sentence());
            assert!(error.hint().is_some());
        }
    }

    /// Each cause has its line: the same request may succeed later, or will be refused until an operator changes something.
    #[test]
    fn what_the_server_has_refused_is_told_from_what_may_pass() {
        let because = |text: &str| -> Box<dyn std::error::Error + Send + Sync> { text.to_owned().into() };
        let path = || "b/config".to_owned();
        let refused = [
            Error::PermissionDenied { path: path(), source: because("403 AccessDenied") },
            Error::Unauthenticated { path: path(), source: because("401") },
            Error::PermissionDenied { path: path(), source: because("403 AccountProblem") },
        ];
        for error in refused {
            let shown = error.to_string();
            assert!(!broke_off(&error), "{shown}");
            assert_eq!(from_object_store("s3:b", "x", error).kind(), &VaultErrorKind::StoreRefused, "{shown}");
        }
        for text in ["500 InternalError", "503 SlowDown", "429 TooManyRequests", "operation timed out", "reset by peer"]
        {
            let error = Error::Generic { store: "S3", source: because(text) };
            assert_eq!(from_object_store("s3:b", "x", error).kind(), &VaultErrorKind::StoreUnavailable, "{text}");
        }
    }
}

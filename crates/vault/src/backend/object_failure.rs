//! What an S3 server answered, told as a sentence with advice.

use crate::error::{VaultError, VaultErrorKind};
use object_store::Error;
use object_store::client::{HttpError, HttpErrorKind};
use std::error::Error as _;
use std::io::ErrorKind;

/// Longest piece of a server's answer that goes into a sentence, in characters.
const ANSWER_MAX_CHARS: usize = 200;

/// Turns a failed request into the vault's error. `doing` completes "while …".
pub(super) fn from_object_store(location: &str, doing: &str, error: Error) -> VaultError {
    let told = chain(&error);
    let has = |code: &str| told.contains(code);
    let (kind, what, hint) = if has("NoSuchBucket") {
        (
            VaultErrorKind::StoreUnavailable,
            "there is no such bucket".to_owned(),
            "create the bucket, or correct its name",
        )
    } else if has("InvalidAccessKeyId")
        || has("SignatureDoesNotMatch")
        || matches!(error, Error::Unauthenticated { .. })
    {
        (
            VaultErrorKind::StoreUnavailable,
            "the server refuses the credentials".to_owned(),
            "check the store's access key, secret and region",
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
    } else if matches!(error, Error::PermissionDenied { .. }) {
        (
            VaultErrorKind::StoreUnavailable,
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
            ("<Code>NoSuchBucket</Code>", VaultErrorKind::StoreUnavailable, "no such bucket"),
            ("<Code>SignatureDoesNotMatch</Code>", VaultErrorKind::StoreUnavailable, "credentials"),
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
}

//! Errors on the wire: `{"status", "msg", "extras"}`.
//!
//! 500 is kept for the cases that the manual prints as 500 and for real faults, because the vendor's client loses its
//! text; 429 and 503 are never used, because that client takes them for something unexpected (dialect file 3.4). So an
//! unreachable metadata database is a 500 here, and its sentence stands in `extras`.

use actix_web::{HttpResponse, ResponseError, http::StatusCode};
use trivault_engine::{Error, ErrorCode, Noun};

use crate::types::{ErrorBody, ForbiddenBody};

pub type Result<T, E = ApiError> = std::result::Result<T, E>;

/// An error as the client sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ApiError {
    /// No challenge header here: `auth` adds it where it belongs.
    Unauthenticated,
    Forbidden(ForbiddenBody),
    Other(ErrorBody),
}

impl ApiError {
    pub fn new(status: StatusCode, msg: impl Into<String>) -> Self {
        Self::Other(ErrorBody { status: status.as_u16(), msg: msg.into(), extras: None })
    }

    #[must_use]
    pub fn extras(mut self, text: impl Into<String>) -> Self {
        if let Self::Other(body) = &mut self {
            body.extras = Some(text.into());
        }
        self
    }

    pub fn bad_request(msg: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, msg)
    }

    pub fn not_found(msg: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, msg)
    }

    pub fn internal(msg: impl Into<String>) -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, msg)
    }

    pub fn invalid_body(extras: impl Into<String>) -> Self {
        Self::bad_request("invalid request body").extras(extras)
    }

    /// A task that was refused before it began; the manual prints 500 for these.
    pub fn could_not_send_task(extras: impl Into<String>) -> Self {
        Self::internal("could not send task").extras(extras)
    }

    pub fn forbidden(permissions: &[&str]) -> Self {
        Self::Forbidden(ForbiddenBody {
            message: "Forbidden. User needs one of the following permissions".to_owned(),
            permissions: permissions.iter().map(|name| (*name).to_owned()).collect(),
        })
    }

    /// A path that was asked for with a name that no object has.
    pub fn of_engine(error: Error, msg: &str) -> Self {
        let Error { code, sentence, hint, source } = error;
        let status = status(code);
        if status == StatusCode::INTERNAL_SERVER_ERROR && !is_about_the_outside(code) {
            tracing::error!(?code, sentence, source = source.as_ref().map(ToString::to_string), "a call failed");
        }
        match status {
            StatusCode::UNAUTHORIZED => Self::Unauthenticated,
            StatusCode::FORBIDDEN => Self::forbidden(&[sentence.as_str()]),
            status => {
                let text = hint.map(|hint| format!("{sentence} {hint}")).unwrap_or(sentence);
                Self::new(status, msg).extras(text)
            }
        }
    }
}

/// The status of each of the engine's codes.
pub fn status(code: ErrorCode) -> StatusCode {
    match code {
        ErrorCode::InvalidInput
        | ErrorCode::AlreadyExists(_)
        | ErrorCode::InUse(_)
        | ErrorCode::NotReady(_)
        | ErrorCode::WrongPasscode
        | ErrorCode::PasscodeRequired
        | ErrorCode::Unsupported
        | ErrorCode::Cancelled => StatusCode::BAD_REQUEST,
        ErrorCode::NotFound(noun) => match noun {
            Noun::Source | Noun::Store => StatusCode::BAD_REQUEST,
            Noun::Vault
            | Noun::Repository
            | Noun::Plan
            | Noun::Backup
            | Noun::Part
            | Noun::Job
            | Noun::User
            | Noun::Token
            | Noun::Alias => StatusCode::NOT_FOUND,
        },
        ErrorCode::Unauthenticated | ErrorCode::Throttled => StatusCode::UNAUTHORIZED,
        ErrorCode::Forbidden => StatusCode::FORBIDDEN,
        ErrorCode::SourceDetached
        | ErrorCode::SourceUnavailable
        | ErrorCode::StoreUnavailable
        | ErrorCode::StoreRefused
        | ErrorCode::StoreFull
        | ErrorCode::Damaged
        | ErrorCode::DatabaseUnavailable
        | ErrorCode::Internal => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

/// A fault of a source or a store is logged where it happens, not again here.
fn is_about_the_outside(code: ErrorCode) -> bool {
    matches!(
        code,
        ErrorCode::SourceDetached
            | ErrorCode::SourceUnavailable
            | ErrorCode::StoreUnavailable
            | ErrorCode::StoreRefused
            | ErrorCode::StoreFull
            | ErrorCode::Damaged
    )
}

impl std::fmt::Display for ApiError {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Unauthenticated => out.write_str("unauthenticated"),
            Self::Forbidden(body) => out.write_str(&body.message),
            Self::Other(body) => write!(out, "{} {}", body.status, body.msg),
        }
    }
}

impl ResponseError for ApiError {
    fn status_code(&self) -> StatusCode {
        match self {
            Self::Unauthenticated => StatusCode::UNAUTHORIZED,
            Self::Forbidden(_) => StatusCode::FORBIDDEN,
            Self::Other(body) => StatusCode::from_u16(body.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR),
        }
    }

    fn error_response(&self) -> HttpResponse {
        let mut answer = HttpResponse::build(self.status_code());
        match self {
            Self::Unauthenticated => answer.content_type("application/json").finish(),
            Self::Forbidden(body) => answer.json(body),
            Self::Other(body) => answer.json(body),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_code_is_answered_with_a_status_that_the_vendors_client_does_not_know() {
        let nouns = [Noun::Source, Noun::Store, Noun::Vault, Noun::Repository, Noun::Plan, Noun::Backup, Noun::Part];
        let codes = nouns
            .iter()
            .flat_map(|noun| {
                let noun = *noun;
                [
                    ErrorCode::NotFound(noun),
                    ErrorCode::AlreadyExists(noun),
                    ErrorCode::InUse(noun),
                    ErrorCode::NotReady(noun),
                ]
            })
            .chain([
                ErrorCode::InvalidInput,
                ErrorCode::Unauthenticated,
                ErrorCode::Throttled,
                ErrorCode::Forbidden,
                ErrorCode::WrongPasscode,
                ErrorCode::PasscodeRequired,
                ErrorCode::SourceDetached,
                ErrorCode::StoreFull,
                ErrorCode::DatabaseUnavailable,
                ErrorCode::Internal,
            ]);
        for code in codes {
            assert!(matches!(status(code).as_u16(), 400 | 401 | 403 | 404 | 500), "{code:?}");
        }
    }

    #[test]
    fn extras_are_left_out_when_there_are_none() {
        let ApiError::Other(body) = ApiError::not_found("requested plan not found") else { panic!() };
        let text = serde_json::to_string(&body).unwrap();
        assert_eq!(text, r#"{"status":404,"msg":"requested plan not found"}"#);
    }
}

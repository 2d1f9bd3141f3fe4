//! Shape A of section 3.1: `{"error":{"code","message","details"}}`, always with HTTP status 200.

use serde::{Deserialize, Serialize};
use trivault_engine::{Error, ErrorCode, Noun};
use utoipa::ToSchema;

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ErrorEnvelope {
    pub error: ErrorBody,
}

/// All three keys are always there: the vendor's command line dies on a missing one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ErrorBody {
    pub code: u16,
    pub message: String,
    pub details: Vec<String>,
}

pub type Result<T, E = Refused> = std::result::Result<T, E>;

/// An error on its way to the wire.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    pub code: u16,
    pub message: String,
    pub details: Vec<String>,
}

impl Refused {
    pub fn new(code: u16, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), details: Vec::new() }
    }

    pub fn invalid(message: impl Into<String>) -> Self {
        Self::new(400, message)
    }

    pub fn token_required() -> Self {
        Self::new(499, "Token Required.")
    }

    pub fn invalid_token() -> Self {
        Self::new(498, "Invalid Token.")
    }

    #[must_use]
    pub fn detail(mut self, detail: impl Into<String>) -> Self {
        self.details.push(detail.into());
        self
    }

    pub fn envelope(&self) -> ErrorEnvelope {
        let Self { code, message, details } = self;
        ErrorEnvelope { error: ErrorBody { code: *code, message: message.clone(), details: details.clone() } }
    }
}

impl From<Error> for Refused {
    fn from(error: Error) -> Self {
        let code = code_of(error.code);
        if code == 500 {
            tracing::error!(error.code = ?error.code, error.sentence = %error.sentence, error.cause = ?error.source, "a call failed");
        }
        let message = match error.code {
            ErrorCode::Forbidden => {
                "You do not have permissions to access this resource or perform this operation.".to_owned()
            }
            ErrorCode::WrongPasscode => "The passcode does not match the one used to create the backup.".to_owned(),
            _ => error.sentence,
        };
        Self { code, message, details: error.hint.into_iter().collect() }
    }
}

/// Section 3.2.
fn code_of(code: ErrorCode) -> u16 {
    match code {
        ErrorCode::InvalidInput
        | ErrorCode::WrongPasscode
        | ErrorCode::PasscodeRequired
        | ErrorCode::SourceDetached
        | ErrorCode::Unsupported => 400,
        ErrorCode::NotFound(
            Noun::Source
            | Noun::Store
            | Noun::Vault
            | Noun::Repository
            | Noun::Plan
            | Noun::Backup
            | Noun::Part
            | Noun::Job
            | Noun::User
            | Noun::Token
            | Noun::Alias,
        ) => 404,
        ErrorCode::AlreadyExists(_) | ErrorCode::InUse(_) | ErrorCode::NotReady(_) => 409,
        ErrorCode::Unauthenticated => 498,
        // A log-in: see handlers::token for its own shape. 429 as a status would make clients repeat six times.
        ErrorCode::Throttled => 400,
        ErrorCode::Forbidden => 403,
        ErrorCode::SourceUnavailable
        | ErrorCode::StoreUnavailable
        | ErrorCode::StoreRefused
        | ErrorCode::StoreFull
        | ErrorCode::Damaged
        | ErrorCode::Cancelled
        | ErrorCode::DatabaseUnavailable
        | ErrorCode::Internal => 500,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_always_has_its_three_keys() {
        let text = serde_json::to_string(&Refused::token_required().envelope()).unwrap();
        assert_eq!(text, r#"{"error":{"code":499,"message":"Token Required.","details":[]}}"#);
    }

    #[test]
    fn the_engines_hint_becomes_a_detail() {
        let refused = Refused::from(Error::not_found(Noun::Store, "There is no store x.").hint("See the list."));
        assert_eq!(refused, Refused::new(404, "There is no store x.").detail("See the list."));
    }
}

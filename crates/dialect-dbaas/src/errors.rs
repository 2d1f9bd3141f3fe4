//! Errors of the engine and of the shared layer in this dialect's shapes: every body is JSON.

use std::{collections::BTreeMap, fmt};

use actix_web::{
    HttpResponse, HttpResponseBuilder, ResponseError,
    http::{Method, StatusCode, header},
};
use serde::Serialize;
use trivault_engine::{Error, ErrorCode, Noun};
use trivault_http::Refusal;
use url::{Host, Url};

use crate::types::{Failure, Missing, PaymentRequired, Unprocessable};

pub type Result<T, E = ApiError> = std::result::Result<T, E>;

/// Seconds after which a refused client may come again.
const RETRY_AFTER_SECONDS: u32 = 30;

/// What a handler refuses a request with.
#[derive(Debug)]
pub enum ApiError {
    BadRequest(Failure),
    Unauthenticated(Failure),
    PaymentRequired(PaymentRequired),
    Forbidden(Failure),
    Missing(Missing),
    MethodNotAllowed { allow: Vec<Method>, body: Failure },
    Conflict(Failure),
    TooLarge(Failure),
    Unprocessable(Unprocessable),
    Throttled(Failure),
    Internal(Failure),
    Unavailable(Failure),
}

fn failure(error: impl Into<String>) -> Failure {
    Failure { error: error.into(), code: None, hint: None }
}

impl ApiError {
    pub fn bad_request(sentence: impl Into<String>) -> Self {
        Self::BadRequest(failure(sentence))
    }

    /// The same for every reason, so that it tells nothing.
    pub fn invalid_token() -> Self {
        Self::Unauthenticated(failure("Invalid token"))
    }

    pub fn no_token() -> Self {
        Self::Unauthenticated(failure("No token was sent with the request"))
    }

    /// `resource`: `addon`, `database`, `backup`, `token`.
    pub fn missing(resource: &str) -> Self {
        Self::Missing(Missing { resource: Some(resource.to_owned()), error: "not found".to_owned() })
    }

    /// A missing application. Clients that read `"resource":"app"` take the second label of the host's name for a region
    /// and fail where there is none, so it is sent to those only whose host has a dot and is no address. `base` is the URL
    /// that the client knows us by.
    pub fn missing_app(base: &str) -> Self {
        let has_region = match Url::parse(base).as_ref().map(Url::host) {
            Ok(Some(Host::Domain(name))) => name.trim_end_matches('.').contains('.'),
            Ok(Some(Host::Ipv4(_) | Host::Ipv6(_)) | None) | Err(_) => false,
        };
        Self::Missing(Missing { resource: has_region.then(|| "app".to_owned()), error: "app not found".to_owned() })
    }

    pub fn unprocessable(field: &str, sentence: impl Into<String>) -> Self {
        Self::Unprocessable(Unprocessable { errors: BTreeMap::from([(field.to_owned(), vec![sentence.into()])]) })
    }

    /// For the creation of a backup: what this installation cannot do is outside the plan, with a place to read more.
    pub fn from_creation(error: Error, url: String) -> Self {
        match error.code {
            ErrorCode::Unsupported => Self::PaymentRequired(PaymentRequired { error: error.sentence, url }),
            _ => error.into(),
        }
    }

    /// A refusal because of the credential's scope looks like a missing thing, which reveals nothing.
    pub fn hidden_as(error: Error, resource: &str) -> Self {
        match error.code {
            ErrorCode::Forbidden | ErrorCode::NotFound(_) => Self::missing(resource),
            _ => error.into(),
        }
    }
}

impl From<Error> for ApiError {
    fn from(error: Error) -> Self {
        let Error { code, sentence, hint, source } = error;
        let told = |code: Option<&str>| Failure {
            error: sentence.clone(),
            code: code.map(ToOwned::to_owned),
            hint: hint.clone(),
        };
        let field = |field: &str| {
            let sentences = [Some(sentence.clone()), hint.clone()].into_iter().flatten().collect();
            Self::Unprocessable(Unprocessable { errors: BTreeMap::from([(field.to_owned(), sentences)]) })
        };
        match code {
            ErrorCode::InvalidInput => field("database"),
            ErrorCode::NotFound(noun) => Self::missing(word(noun)),
            ErrorCode::AlreadyExists(_) => Self::Conflict(told(None)),
            ErrorCode::InUse(_) => Self::Conflict(told(None)),
            ErrorCode::NotReady(Noun::Backup | Noun::Part) => field("backup"),
            ErrorCode::NotReady(
                Noun::Source
                | Noun::Store
                | Noun::Vault
                | Noun::Repository
                | Noun::Plan
                | Noun::Job
                | Noun::User
                | Noun::Token
                | Noun::Alias,
            ) => field("database"),
            ErrorCode::Unauthenticated => Self::invalid_token(),
            ErrorCode::Throttled => Self::Throttled(failure("Retry later")),
            ErrorCode::Forbidden => Self::Forbidden(told(Some("forbidden"))),
            ErrorCode::WrongPasscode | ErrorCode::PasscodeRequired | ErrorCode::Unsupported => field("backup"),
            ErrorCode::SourceDetached | ErrorCode::SourceUnavailable => field("database"),
            ErrorCode::StoreUnavailable => Self::Unavailable(told(Some("store_unavailable"))),
            ErrorCode::StoreRefused => Self::Unavailable(told(Some("store_refused"))),
            ErrorCode::StoreFull => Self::Unavailable(told(Some("store_full"))),
            ErrorCode::Cancelled => Self::Conflict(told(None)),
            ErrorCode::DatabaseUnavailable => Self::Unavailable(told(Some("database_unavailable"))),
            ErrorCode::Damaged => {
                tracing::error!(error = sentence, source, "stored bytes are damaged");
                Self::Internal(told(Some("damaged")))
            }
            ErrorCode::Internal => {
                tracing::error!(error = sentence, source, "a request failed on a defect");
                Self::Internal(failure("An internal error occurred; the server's log has the details."))
            }
        }
    }
}

/// The dialect's word for a missing thing.
fn word(noun: Noun) -> &'static str {
    match noun {
        Noun::Source | Noun::Repository => "database",
        Noun::Backup | Noun::Part => "backup",
        Noun::Job => "operation",
        Noun::Store | Noun::Vault => "store",
        Noun::Plan => "plan",
        Noun::User => "user",
        Noun::Token => "token",
        Noun::Alias => "name",
    }
}

impl From<&Refusal> for ApiError {
    fn from(refusal: &Refusal) -> Self {
        let body = failure(refusal.sentence());
        match refusal {
            Refusal::NotFound => Self::Missing(Missing { resource: None, error: "not found".to_owned() }),
            Refusal::MethodNotAllowed { allow } => Self::MethodNotAllowed { allow: allow.clone(), body },
            Refusal::BodyTooLarge { limit: _ } => Self::TooLarge(body),
            Refusal::BodyUnreadable => Self::BadRequest(body),
            Refusal::ForeignOrigin | Refusal::UnknownHost { host: _ } => Self::Forbidden(body),
            Refusal::TimedOut => Self::Unavailable(body),
            Refusal::Internal => Self::Internal(body),
        }
    }
}

impl From<Unprocessable> for ApiError {
    fn from(errors: Unprocessable) -> Self {
        Self::Unprocessable(errors)
    }
}

impl fmt::Display for ApiError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}", self.status_code())
    }
}

/// The media type of every answer but the download.
pub const JSON: &str = "application/json; charset=utf-8";

/// Renders an answer.
pub fn json(mut response: HttpResponseBuilder, body: &impl Serialize) -> HttpResponse {
    match serde_json::to_vec(body) {
        Ok(body) => response.insert_header((header::CONTENT_TYPE, JSON)).body(body),
        Err(error) => {
            tracing::error!(%error, "an answer could not be written as JSON");
            HttpResponse::InternalServerError().content_type(JSON).body(r#"{"error":"An internal error occurred."}"#)
        }
    }
}

impl ResponseError for ApiError {
    fn status_code(&self) -> StatusCode {
        match self {
            Self::BadRequest(_) => StatusCode::BAD_REQUEST,
            Self::Unauthenticated(_) => StatusCode::UNAUTHORIZED,
            Self::PaymentRequired(_) => StatusCode::PAYMENT_REQUIRED,
            Self::Forbidden(_) => StatusCode::FORBIDDEN,
            Self::Missing(_) => StatusCode::NOT_FOUND,
            Self::MethodNotAllowed { .. } => StatusCode::METHOD_NOT_ALLOWED,
            Self::Conflict(_) => StatusCode::CONFLICT,
            Self::TooLarge(_) => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Unprocessable(_) => StatusCode::UNPROCESSABLE_ENTITY,
            Self::Throttled(_) => StatusCode::TOO_MANY_REQUESTS,
            Self::Internal(_) => StatusCode::INTERNAL_SERVER_ERROR,
            Self::Unavailable(_) => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    fn error_response(&self) -> HttpResponse {
        let mut response = HttpResponse::build(self.status_code());
        match self {
            Self::BadRequest(body)
            | Self::Forbidden(body)
            | Self::Conflict(body)
            | Self::TooLarge(body)
            | Self::Internal(body) => json(response, body),
            Self::Unauthenticated(body) => {
                response.insert_header((header::WWW_AUTHENTICATE, "Bearer"));
                json(response, body)
            }
            Self::PaymentRequired(body) => json(response, body),
            Self::Missing(body) => json(response, body),
            Self::MethodNotAllowed { allow, body } => {
                let names: Vec<&str> = allow.iter().map(Method::as_str).collect();
                response.insert_header((header::ALLOW, names.join(", ")));
                json(response, body)
            }
            Self::Unprocessable(body) => json(response, body),
            Self::Throttled(body) | Self::Unavailable(body) => {
                response.insert_header((header::RETRY_AFTER, RETRY_AFTER_SECONDS));
                json(response, body)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use actix_web::body::MessageBody;
    use serde_json::{Value, json};

    use super::*;

    fn rendered(error: &ApiError) -> (u16, Value) {
        let response = error.error_response();
        assert_eq!(response.headers().get(header::CONTENT_TYPE).unwrap(), JSON);
        let status = response.status().as_u16();
        let body = response.into_body().try_into_bytes().unwrap();
        (status, serde_json::from_slice(&body).unwrap())
    }

    fn engine(code: ErrorCode) -> (u16, Value) {
        rendered(&Error::new(code, "It is so.").hint("Do this.").into())
    }

    #[test]
    fn every_code_of_the_engine_has_its_status_and_shape() {
        let field = |field: &str| json!({"errors": {field: ["It is so.", "Do this."]}});
        let plain = |code: &str| json!({"error": "It is so.", "code": code, "hint": "Do this."});
        let conflict = json!({"error": "It is so.", "hint": "Do this."});
        for (code, status, body) in [
            (ErrorCode::InvalidInput, 422, field("database")),
            (ErrorCode::NotFound(Noun::Source), 404, json!({"resource": "database", "error": "not found"})),
            (ErrorCode::NotFound(Noun::Part), 404, json!({"resource": "backup", "error": "not found"})),
            (ErrorCode::AlreadyExists(Noun::Plan), 409, conflict.clone()),
            (ErrorCode::InUse(Noun::Source), 409, conflict.clone()),
            (ErrorCode::NotReady(Noun::Part), 422, field("backup")),
            (ErrorCode::NotReady(Noun::Repository), 422, field("database")),
            (ErrorCode::Unauthenticated, 401, json!({"error": "Invalid token"})),
            (ErrorCode::Throttled, 429, json!({"error": "Retry later"})),
            (ErrorCode::Forbidden, 403, plain("forbidden")),
            (ErrorCode::WrongPasscode, 422, field("backup")),
            (ErrorCode::PasscodeRequired, 422, field("backup")),
            (ErrorCode::SourceDetached, 422, field("database")),
            (ErrorCode::SourceUnavailable, 422, field("database")),
            (ErrorCode::StoreUnavailable, 503, plain("store_unavailable")),
            (ErrorCode::StoreRefused, 503, plain("store_refused")),
            (ErrorCode::StoreFull, 503, plain("store_full")),
            (ErrorCode::Damaged, 500, plain("damaged")),
            (ErrorCode::Cancelled, 409, conflict),
            (ErrorCode::Unsupported, 422, field("backup")),
            (ErrorCode::DatabaseUnavailable, 503, plain("database_unavailable")),
            (
                ErrorCode::Internal,
                500,
                json!({"error": "An internal error occurred; the server's log has the details."}),
            ),
        ] {
            assert_eq!(engine(code), (status, body), "{code:?}");
        }
    }

    #[test]
    fn creating_what_cannot_be_made_is_402_with_a_place_to_read_more() {
        let error = Error::new(ErrorCode::Unsupported, "Not in this plan.");
        assert_eq!(
            rendered(&ApiError::from_creation(error, "https://backup.example.org".into())),
            (402, json!({"error": "Not in this plan.", "url": "https://backup.example.org"}))
        );
        let (status, _) = rendered(&ApiError::from_creation(Error::new(ErrorCode::SourceDetached, "x"), String::new()));
        assert_eq!(status, 422);
    }

    #[test]
    fn a_missing_app_is_named_as_a_resource_only_where_the_host_has_a_region() {
        for (host, named) in [
            ("localhost:8097", false),
            ("localhost", false),
            ("127.0.0.1:8097", false),
            ("10.0.0.5", false),
            ("[::1]:8097", false),
            ("[fd00::1.2.3.4]", false),
            ("backup", false),
            ("backup.example.org", true),
            ("api.local.example.org:443", true),
        ] {
            let body = if named {
                json!({"resource": "app", "error": "app not found"})
            } else {
                json!({"error": "app not found"})
            };
            assert_eq!(rendered(&ApiError::missing_app(&format!("http://{host}"))), (404, body), "{host}");
        }
    }

    #[test]
    fn a_405_names_the_methods_that_are_known() {
        let error = ApiError::from(&Refusal::MethodNotAllowed { allow: vec![Method::GET, Method::HEAD] });
        assert_eq!(error.error_response().headers().get(header::ALLOW).unwrap(), "GET, HEAD");
        assert_eq!(rendered(&error).0, 405);
    }

    #[test]
    fn refusals_for_scope_and_absence_look_alike() {
        let missing = (404, json!({"resource": "backup", "error": "not found"}));
        for code in [ErrorCode::Forbidden, ErrorCode::NotFound(Noun::Part)] {
            assert_eq!(rendered(&ApiError::hidden_as(Error::new(code, "x"), "backup")), missing);
        }
        assert_eq!(rendered(&ApiError::hidden_as(Error::new(ErrorCode::Internal, "x"), "backup")).0, 500);
    }
}

//! Refusals of the shared layer in this dialect's shapes.

use actix_web::{HttpRequest, HttpResponse, ResponseError, http::StatusCode};
use trivault_http::Refusal;

use crate::{errors::ApiError, paths, types::ForbiddenBody};

pub fn render(refusal: &Refusal, request: &HttpRequest) -> HttpResponse {
    let sentence = refusal.sentence();
    let error = match refusal {
        Refusal::NotFound => ApiError::not_found("Object Not Found"),
        // The manual answers a wrong method on a plan like an unknown plan.
        Refusal::MethodNotAllowed { allow: _ } if is_plan(request.path()) => {
            ApiError::not_found("requested plan not found")
        }
        Refusal::MethodNotAllowed { allow: _ } => ApiError::new(StatusCode::METHOD_NOT_ALLOWED, "Method Not Allowed"),
        Refusal::BodyTooLarge { limit: _ } | Refusal::BodyUnreadable => ApiError::invalid_body(sentence),
        Refusal::ForeignOrigin => ApiError::Forbidden(ForbiddenBody { message: sentence, permissions: Vec::new() }),
        Refusal::UnknownHost { host: _ } => ApiError::bad_request("unknown host").extras(sentence),
        Refusal::TimedOut => ApiError::internal("the request took too long").extras(sentence),
        Refusal::Internal => ApiError::internal("internal error").extras(sentence),
    };
    error.error_response()
}

fn is_plan(path: &str) -> bool {
    path.strip_prefix(paths::BASE).and_then(|rest| rest.strip_prefix("/plan/")).is_some_and(|name| !name.is_empty())
}

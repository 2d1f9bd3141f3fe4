//! One file per resource. A handler parses, makes one call and renders.

pub mod addons;
pub mod apps;
pub mod backups;
pub mod databases;
pub mod downloads;
pub mod regions;
pub mod tokens;
pub mod users;

use actix_web::{HttpRequest, HttpResponse};
use serde::Serialize;
use serde_json::{Map, Value};
use trivault_http::{RawBody, Refusal, headers::keep_private};

use crate::{
    auth::Call,
    errors::{ApiError, Result, json},
};

/// A path that is not served. Who asks is asked first: without a good credential nobody learns what there is.
pub async fn nothing(_: Call) -> Result<HttpResponse> {
    Err(ApiError::from(&Refusal::NotFound))
}

/// 200
fn ok(body: &impl Serialize) -> HttpResponse {
    json(HttpResponse::Ok(), body)
}

/// 201
fn created(body: &impl Serialize) -> HttpResponse {
    json(HttpResponse::Created(), body)
}

/// For answers with a secret.
fn private(mut response: HttpResponse) -> HttpResponse {
    keep_private(&mut response);
    response
}

/// Reads a body as a JSON object; a blank one is `{}`, whatever its content type says.
fn object(body: &RawBody) -> Result<Map<String, Value>> {
    match body.json::<Value>() {
        Ok(Value::Object(fields)) => Ok(fields),
        Ok(_) => Err(ApiError::bad_request("The body must be a JSON object.")),
        // The parser's own words name the line and column, never the content.
        Err(error) => Err(ApiError::bad_request(format!("The body is not valid JSON: {error}."))),
    }
}

/// For calls without parameters: what is sent is ignored, but must be JSON.
fn ignore(body: &RawBody) -> Result<()> {
    match body.json::<serde::de::IgnoredAny>() {
        Ok(_) => Ok(()),
        Err(error) => Err(ApiError::bad_request(format!("The body is not valid JSON: {error}."))),
    }
}

/// The value of a query parameter. Unknown ones, and a bare `?`, mean nothing.
fn query(request: &HttpRequest, name: &str) -> Option<String> {
    let pairs = url::form_urlencoded::parse(request.query_string().as_bytes());
    pairs.into_iter().find(|(key, _)| key == name).map(|(_, value)| value.into_owned())
}

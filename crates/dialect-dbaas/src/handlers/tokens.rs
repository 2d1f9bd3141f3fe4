//! The exchange of an API token for a bearer, and the management of API tokens.

use actix_web::{
    HttpRequest, HttpResponse,
    web::{Data, Path},
};
use serde_json::{Map, Value};
use trivault_engine::{ApiToken, Engine, NewBearer, Scope};
use trivault_http::RawBody;

use super::{created, ignore, object, ok, private};
use crate::{
    API_TOKEN_PREFIX, NAME,
    auth::{Call, LogInCall, MainCall, api_token},
    errors::{ApiError, Result},
    mapping,
    types::{ExchangedToken, Failure, Missing, NewTokenAnswer, TokenList, Unprocessable},
};

/// Longest name of an API token, in bytes.
const LONGEST_NAME: usize = 128;

/// Exchanges an API token for a bearer that is good for one hour.
#[utoipa::path(post, path = "/v1/tokens/exchange", tag = "authentication", security(("api_token" = ["reader"])), responses(
    (status = 200, body = ExchangedToken), (status = 400, body = Failure), (status = 401, body = Failure)))]
pub async fn exchange(request: HttpRequest, engine: Data<Engine>, body: RawBody) -> Result<HttpResponse> {
    let principal = api_token(&request, &engine).await?;
    ignore(&body)?;
    let call = Call::new(&request, Engine::clone(&engine), principal);
    let wanted = NewBearer {
        audience: NAME,
        scope: Scope::Everything,
        lifetime: mapping::TOKEN_LIFETIME,
        claims: vec![("typ", "main".to_owned())],
    };
    let bearer = call.engine.issue_bearer(&call.caller, wanted).await?;
    Ok(private(ok(&mapping::exchanged(&bearer))))
}

/// Lists the caller's API tokens, without their secrets.
#[utoipa::path(get, path = "/v1/tokens", tag = "authentication", security(("bearer" = [])), responses(
    (status = 200, body = TokenList), (status = 401, body = Failure)))]
pub async fn list(MainCall(call): MainCall) -> Result<HttpResponse> {
    let tokens = call.engine.api_tokens(&call.caller, NAME).await?;
    Ok(ok(&TokenList { tokens: tokens.iter().map(mapping::token_row).collect() }))
}

/// Makes an API token. Its secret is shown in this answer only.
#[utoipa::path(post, path = "/v1/tokens", tag = "authentication", security(("bearer" = ["reader"]), ("password" = ["reader"]), ("api_token" = ["reader"])),
    request_body = Object, responses(
    (status = 201, body = NewTokenAnswer), (status = 400, body = Failure), (status = 401, body = Failure),
    (status = 422, body = Unprocessable), (status = 429, body = Failure)))]
pub async fn create(LogInCall(call): LogInCall, body: RawBody) -> Result<HttpResponse> {
    let name = token_name(&object(&body)?)?;
    Ok(private(created(&new_token(&call, &name).await?)))
}

/// Gives an API token a new secret; the old one, and every bearer made with it, is good no longer.
#[utoipa::path(method(patch, put), path = "/v1/tokens/{id}/renew", tag = "authentication", security(("bearer" = ["reader"])),
    params(("id" = String, Path)), responses(
    (status = 200, body = NewTokenAnswer), (status = 401, body = Failure), (status = 404, body = Missing)))]
pub async fn renew(MainCall(call): MainCall, id: Path<String>) -> Result<HttpResponse> {
    let old = own_token(&call, &id).await?;
    let new = new_token(&call, &old.name).await?;
    call.engine.revoke_token(&call.caller, old.id).await?;
    Ok(private(ok(&new)))
}

/// Revokes an API token and every bearer made with it.
#[utoipa::path(delete, path = "/v1/tokens/{id}", tag = "authentication", security(("bearer" = ["reader"])),
    params(("id" = String, Path)), responses(
    (status = 204), (status = 401, body = Failure), (status = 404, body = Missing)))]
pub async fn delete(MainCall(call): MainCall, id: Path<String>) -> Result<HttpResponse> {
    let token = own_token(&call, &id).await?;
    call.engine.revoke_token(&call.caller, token.id).await?;
    Ok(HttpResponse::NoContent().finish())
}

async fn new_token(call: &Call, name: &str) -> Result<NewTokenAnswer> {
    let made = call.engine.create_api_token(&call.caller, NAME, name, API_TOKEN_PREFIX, None).await?;
    Ok(NewTokenAnswer { token: mapping::new_token(&made.0, &made.1) })
}

/// The caller's API token of that id.
async fn own_token(call: &Call, id: &str) -> Result<ApiToken> {
    let tokens = call.engine.api_tokens(&call.caller, NAME).await?;
    let found = tokens.into_iter().find(|token| token.id.to_string() == id);
    found.ok_or_else(|| ApiError::missing("token"))
}

/// `{"token":{"name":"ci"}}`, or without the root as scalingo.js sends it.
fn token_name(body: &Map<String, Value>) -> Result<String> {
    let fields = body.get("token").and_then(Value::as_object).unwrap_or(body);
    match fields.get("name") {
        None => Err(ApiError::unprocessable("name", "can't be blank")),
        Some(Value::String(name)) if name.trim().is_empty() => Err(ApiError::unprocessable("name", "can't be blank")),
        Some(Value::String(name)) if name.len() > LONGEST_NAME => {
            Err(ApiError::unprocessable("name", format!("is too long (maximum is {LONGEST_NAME} bytes)")))
        }
        Some(Value::String(name)) if !name.chars().any(char::is_control) => Ok(name.trim().to_owned()),
        Some(_) => Err(ApiError::unprocessable("name", "must be a text without control characters")),
    }
}

//! Who calls: from a bearer or an API token to the engine's caller.
//!
//! | credential | good for |
//! |---|---|
//! | API token, as Basic password or bearer | everything; exchanged for a main bearer |
//! | main bearer | everything |
//! | addon token | `/api`, its one database |
//! | token of a download link | that download, see `handlers/downloads.rs` |

use actix_web::{FromRequest, HttpRequest, dev::Payload, http::header::AUTHORIZATION, web::Data};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use std::{future::Future, pin::Pin};
use trivault_engine::{Caller, Engine, PartId, Principal, Scope, SecretText, SourceId};
use trivault_http::{BaseUrl, caller, client_address};

use crate::{
    API_TOKEN_PREFIX, NAME,
    errors::{ApiError, Result},
};

/// What the `Authorization` header holds.
enum Credential {
    Basic { user: String, password: SecretText },
    Bearer(SecretText),
}

impl Credential {
    fn of(request: &HttpRequest) -> Result<Self> {
        let header = request.headers().get(AUTHORIZATION).ok_or_else(ApiError::no_token)?;
        let text = header.to_str().map_err(|_| ApiError::invalid_token())?;
        let (scheme, value) = text.trim().split_once(' ').ok_or_else(ApiError::invalid_token)?;
        if scheme.eq_ignore_ascii_case("bearer") {
            return Ok(Self::Bearer(SecretText::new(value.trim())));
        }
        if !scheme.eq_ignore_ascii_case("basic") {
            return Err(ApiError::invalid_token());
        }
        let bytes = STANDARD.decode(value.trim()).map_err(|_| ApiError::invalid_token())?;
        let text = String::from_utf8(bytes).map_err(|_| ApiError::invalid_token())?;
        let (user, password) = text.split_once(':').ok_or_else(ApiError::invalid_token)?;
        Ok(Self::Basic { user: user.to_owned(), password: SecretText::new(password) })
    }
}

fn is_api_token(secret: &SecretText) -> bool {
    secret.expose().starts_with(API_TOKEN_PREFIX)
}

async fn bearer(engine: &Engine, secret: &SecretText) -> Result<Principal> {
    if is_api_token(secret) {
        return Ok(engine.authenticate_api_token(NAME, secret).await?);
    }
    Ok(engine.verify_bearer(NAME, secret.expose()).await?.principal)
}

/// The holder of an API token, sent as a Basic password (the user's name does not matter) or as a bearer.
pub async fn api_token(request: &HttpRequest, engine: &Engine) -> Result<Principal> {
    let secret = match Credential::of(request)? {
        Credential::Basic { user: _, password } => password,
        Credential::Bearer(secret) => secret,
    };
    if !is_api_token(&secret) {
        return Err(ApiError::invalid_token());
    }
    Ok(engine.authenticate_api_token(NAME, &secret).await?)
}

/// One authenticated request.
pub struct Call {
    pub engine: Engine,
    pub caller: Caller,
    /// Scheme, host and port that the client knows us by.
    pub base: BaseUrl,
}

impl Call {
    pub fn new(request: &HttpRequest, engine: Engine, principal: Principal) -> Self {
        Self { engine, caller: caller(request, principal, NAME), base: BaseUrl::of(request) }
    }

    /// Whether the credential may see a database.
    pub fn sees(&self, source: SourceId) -> bool {
        match self.caller.principal.scope {
            Scope::Everything => true,
            Scope::Source(only) => only == source,
            Scope::Download(PartId(_)) => false,
        }
    }
}

/// Of a main bearer or an API token; addon tokens are refused.
pub struct MainCall(pub Call);

/// As [`MainCall`], or of a user's name and password: for making an API token.
pub struct LogInCall(pub Call);

fn engine_of(request: &HttpRequest) -> Result<Engine> {
    let engine = request.app_data::<Data<Engine>>().map(|engine| Engine::clone(engine));
    engine.ok_or_else(|| trivault_engine::Error::internal("The engine was not given to this dialect.").into())
}

async fn any(request: &HttpRequest) -> Result<Call> {
    let engine = engine_of(request)?;
    let Credential::Bearer(secret) = Credential::of(request)? else { return Err(ApiError::invalid_token()) };
    let principal = bearer(&engine, &secret).await?;
    match principal.scope {
        Scope::Everything | Scope::Source(_) => Ok(Call::new(request, engine, principal)),
        Scope::Download(_) => Err(ApiError::invalid_token()),
    }
}

fn main_only(call: Call) -> Result<MainCall> {
    match call.caller.principal.scope {
        Scope::Everything => Ok(MainCall(call)),
        Scope::Source(_) | Scope::Download(_) => Err(ApiError::invalid_token()),
    }
}

async fn log_in(request: &HttpRequest) -> Result<LogInCall> {
    match Credential::of(request)? {
        Credential::Bearer(_) => {}
        Credential::Basic { user, password } if !user.is_empty() => {
            let engine = engine_of(request)?;
            let principal = engine.authenticate_password(&user, &password, &client_address(request)).await?;
            return Ok(LogInCall(Call::new(request, engine, principal)));
        }
        Credential::Basic { user: _, password: _ } => {
            let engine = engine_of(request)?;
            let principal = api_token(request, &engine).await?;
            return Ok(LogInCall(Call::new(request, engine, principal)));
        }
    }
    let MainCall(call) = main_only(any(request).await?)?;
    Ok(LogInCall(call))
}

type Extracting<T> = Pin<Box<dyn Future<Output = Result<T>>>>;

impl FromRequest for Call {
    type Error = ApiError;
    type Future = Extracting<Self>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let request = request.clone();
        Box::pin(async move { any(&request).await })
    }
}

impl FromRequest for MainCall {
    type Error = ApiError;
    type Future = Extracting<Self>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let request = request.clone();
        Box::pin(async move { main_only(any(&request).await?) })
    }
}

impl FromRequest for LogInCall {
    type Error = ApiError;
    type Future = Extracting<Self>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let request = request.clone();
        Box::pin(async move { log_in(&request).await })
    }
}

//! Who is calling: tokens in all their carriers (section 2.3), and how a token is bound.

use actix_web::{HttpRequest, cookie::Cookie, http::Method};
use chrono::TimeDelta;
use trivault_engine::{Bearer, Caller, Engine, NewBearer, Principal, Scope, SecretText, VerifiedBearer};
use trivault_http::client_address;

use crate::{
    errors::{Refused, Result},
    form::Fields,
};

/// Audience of this dialect's tokens.
pub const AUDIENCE: &str = "arcgis";
/// Name of the directory's cookie.
pub const COOKIE: &str = "esri_auth";
/// Minutes a token lives unless asked otherwise, and at most.
pub const DEFAULT_LIFETIME_MINUTES: i64 = 60;
pub const LONGEST_LIFETIME_MINUTES: i64 = 15 * 24 * 60;

/// What a token is bound to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Binding {
    /// A request that names another page in `Referer` is refused; one without `Referer` is not.
    Referer(String),
    Address(String),
    Nothing,
}

/// A token found in a request.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Carried {
    Token(String),
    Basic {
        user: String,
        password: String,
    },
    /// From the cookie: good for reading only.
    Cookie(String),
}

/// A signed-in caller, with the token that pages put into their forms.
#[derive(Clone, Debug)]
pub struct Session {
    pub principal: Principal,
    pub token: Option<String>,
}

/// # Errors
/// 499 without a token, 498 with a bad one.
pub async fn session(engine: &Engine, request: &HttpRequest, fields: &Fields) -> Result<Session> {
    match carried(request, fields) {
        None => Err(Refused::token_required()),
        Some(Carried::Cookie(_)) if request.method() != Method::GET && request.method() != Method::HEAD => {
            // The defence against forged posts: the form repeats the token as a hidden field.
            Err(Refused::token_required())
        }
        Some(Carried::Token(token) | Carried::Cookie(token)) => {
            let verified = engine.verify_bearer(AUDIENCE, &token).await.map_err(Refused::from)?;
            check_binding(&verified, request)?;
            Ok(Session { principal: verified.principal, token: Some(token) })
        }
        Some(Carried::Basic { user, password }) => {
            let password = SecretText::new(password);
            let principal = engine.authenticate_password(&user, &password, &client_address(request)).await?;
            Ok(Session { principal, token: None })
        }
    }
}

/// Makes a token.
///
/// # Errors
/// Those of the engine.
pub async fn issue(engine: &Engine, caller: &Caller, binding: Binding, lifetime: TimeDelta) -> Result<Bearer> {
    let claims = match binding {
        Binding::Referer(referer) => vec![("referer", referer)],
        Binding::Address(address) => vec![("address", address)],
        Binding::Nothing => Vec::new(),
    };
    let bearer = NewBearer { audience: AUDIENCE, scope: Scope::Everything, lifetime, claims };
    Ok(engine.issue_bearer(caller, bearer).await?)
}

/// The first carrier present decides: body, query, X-Esri-Authorization, Authorization, cookie.
fn carried(request: &HttpRequest, fields: &Fields) -> Option<Carried> {
    let field = fields.in_body("token").filter(|token| !token.is_empty());
    let field = field.or_else(|| fields.in_query("token").filter(|token| !token.is_empty()));
    if let Some(token) = field {
        return Some(Carried::Token(token.to_owned()));
    }
    let header = |name: &str| request.headers().get(name).and_then(|value| value.to_str().ok());
    for text in [header("x-esri-authorization"), header("authorization")].into_iter().flatten() {
        let (scheme, rest) = text.split_once(' ').unwrap_or((text, ""));
        match scheme.to_ascii_lowercase().as_str() {
            "bearer" => return Some(Carried::Token(rest.trim().to_owned())),
            "basic" => return basic(rest.trim()),
            _ => {}
        }
    }
    request.cookie(COOKIE).map(|cookie: Cookie<'_>| Carried::Cookie(cookie.value().to_owned()))
}

fn basic(encoded: &str) -> Option<Carried> {
    use base64::Engine as _;
    let bytes = base64::engine::general_purpose::STANDARD.decode(encoded).ok()?;
    let text = String::from_utf8(bytes).ok()?;
    let (user, password) = text.split_once(':')?;
    Some(Carried::Basic { user: user.to_owned(), password: password.to_owned() })
}

fn check_binding(verified: &VerifiedBearer, request: &HttpRequest) -> Result<()> {
    let claim = |name: &str| verified.claims.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str());
    if let Some(address) = claim("address")
        && address != client_address(request)
    {
        return Err(Refused::invalid_token().detail("The token is bound to another address."));
    }
    let referer = request.headers().get("referer").and_then(|value| value.to_str().ok());
    if let (Some(bound), Some(referer)) = (claim("referer"), referer)
        && !referer.starts_with(bound)
    {
        return Err(Refused::invalid_token().detail("The token is bound to another referer."));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use actix_web::test::TestRequest;

    use super::*;

    async fn found(request: TestRequest, body: &str) -> Option<Carried> {
        let request = request.to_http_request();
        let fields = Fields::read(&request, body.as_bytes()).await.unwrap();
        carried(&request, &fields)
    }

    #[actix_web::test]
    async fn the_first_carrier_present_decides() {
        let token = |text: &str| Some(Carried::Token(text.to_owned()));
        let request = || {
            TestRequest::with_uri("/?token=query")
                .insert_header(("X-Esri-Authorization", "Bearer esri"))
                .insert_header(("Authorization", "Bearer plain"))
                .cookie(Cookie::new(COOKIE, "cookie"))
        };
        assert_eq!(found(request(), "token=body").await, token("body"));
        assert_eq!(found(request(), "").await, token("query"));
        assert_eq!(found(request().uri("/"), "").await, token("esri"));
        let plain = TestRequest::default().insert_header(("Authorization", "Bearer plain"));
        assert_eq!(found(plain.cookie(Cookie::new(COOKIE, "cookie")), "").await, token("plain"));
        let cookie = TestRequest::default().cookie(Cookie::new(COOKIE, "cookie"));
        assert_eq!(found(cookie, "token=").await, Some(Carried::Cookie("cookie".to_owned())));
        assert_eq!(found(TestRequest::default(), "").await, None);
    }
}

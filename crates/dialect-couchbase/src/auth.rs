//! Who asks, and whether they may: before path, method and body are looked at.

use actix_web::{
    FromRequest, HttpMessage, HttpRequest, HttpResponse, ResponseError,
    dev::Payload,
    http::{
        Method,
        header::{AUTHORIZATION, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE},
    },
    web,
};
use base64::{Engine as _, prelude::BASE64_STANDARD};
use trivault_engine::{Caller, Engine, Error, ErrorCode, Principal, Role, SecretText};
use trivault_http::{caller, client_address, sent_path};

use crate::{
    NAME,
    errors::{ApiError, Result, status},
    paths,
};

const CHALLENGE: &str = r#"Basic realm="Couchbase Server Admin / REST""#;

/// Seconds after which it is worth trying again.
const THROTTLE_SECONDS: &str = "60";

/// Authenticates, checks the role, and refuses other clusters and unknown states of repositories.
pub async fn gate(request: &HttpRequest) -> Result<(), HttpResponse> {
    let engine = engine(request).map_err(|error| error.error_response())?.clone();
    let principal = match authenticate(&engine, request).await {
        Ok(principal) => principal,
        Err(error) if status(error.code).as_u16() == 401 => return Err(unauthenticated(request, error.code)),
        Err(error) => return Err(ApiError::of_engine(error, "could not authenticate").error_response()),
    };
    let caller = caller(request, principal, NAME);
    allow(request.method(), &caller).map_err(|error| error.error_response())?;
    paths_of_clusters(request.path()).map_err(|error| error.error_response())?;
    request.extensions_mut().insert(caller);
    Ok(())
}

async fn authenticate(engine: &Engine, request: &HttpRequest) -> Result<Principal, Error> {
    let header = request.headers().get(AUTHORIZATION).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let (scheme, value) = header.split_once(' ').unwrap_or((header, ""));
    if scheme.eq_ignore_ascii_case("bearer") {
        return engine.authenticate_api_token(NAME, &SecretText::new(value.trim())).await;
    }
    let refused = || Error::new(ErrorCode::Unauthenticated, "Credentials are required.");
    let (name, password) = scheme.eq_ignore_ascii_case("basic").then(|| basic(value)).flatten().ok_or_else(refused)?;
    engine.authenticate_password(&name, &password, &client_address(request)).await
}

fn basic(value: &str) -> Option<(String, SecretText)> {
    let bytes = BASE64_STANDARD.decode(value.trim()).ok()?;
    let text = SecretText::new(String::from_utf8(bytes).ok()?);
    let (name, password) = text.expose().split_once(':')?;
    Some((name.to_owned(), SecretText::new(password)))
}

/// An empty 401. Through the cluster manager's path, or where a console asks for it, without the challenge that would make
/// a browser open its own dialog.
fn unauthenticated(request: &HttpRequest, code: ErrorCode) -> HttpResponse {
    let mut response = ApiError::Unauthenticated.error_response();
    let asked_not_to = request
        .headers()
        .get("invalid-auth-response")
        .is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"on"));
    if !asked_not_to && !paths::is_proxied(&sent_path(request)) {
        response.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static(CHALLENGE));
    }
    if code == ErrorCode::Throttled {
        response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static(THROTTLE_SECONDS));
    }
    response
}

/// Reading needs any role, everything else the one that may back up and restore.
fn allow(method: &Method, caller: &Caller) -> Result<()> {
    let (role, permissions): (Role, &[&str]) = match *method {
        Method::GET | Method::HEAD | Method::OPTIONS => (Role::Reader, &["admin", "backup_admin", "ro_admin"]),
        _ => (Role::Operator, &["admin", "backup_admin"]),
    };
    caller.require(role).and_then(|()| caller.require_everything()).map_err(|_| ApiError::forbidden(permissions))
}

const STATES: [&str; 3] = ["active", "archived", "imported"];

/// What the original checks before it looks for a route: the cluster is `self`, the state is one that there is.
fn paths_of_clusters(path: &str) -> Result<()> {
    let mut segments = path.strip_prefix(paths::BASE).unwrap_or(path).split('/').skip(1);
    if segments.next() != Some("cluster") {
        return Ok(());
    }
    match segments.next() {
        Some("self") | None => {}
        Some(other) => {
            let extras = format!("Invalid cluster: {other}");
            return Err(ApiError::bad_request("Remote clusters not supported").extras(extras));
        }
    }
    let (Some("repository"), Some(state)) = (segments.next(), segments.next()) else { return Ok(()) };
    let is_import = state == "import" && segments.next().is_none();
    if STATES.contains(&state) || is_import {
        return Ok(());
    }
    Err(ApiError::bad_request("invalid repository state").extras(state))
}

fn engine(request: &HttpRequest) -> Result<&Engine> {
    let engine = request.app_data::<web::Data<Engine>>();
    engine.map(|engine| engine.get_ref()).ok_or_else(|| ApiError::internal("the engine is missing"))
}

/// An authenticated request: what handlers work with.
pub struct Call {
    pub engine: Engine,
    pub caller: Caller,
    pub request: HttpRequest,
}

impl FromRequest for Call {
    type Error = ApiError;
    type Future = std::future::Ready<Result<Self>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let caller = request.extensions().get::<Caller>().cloned().ok_or(ApiError::Unauthenticated);
        let call =
            caller.and_then(|caller| Ok(Self { engine: engine(request)?.clone(), caller, request: request.clone() }));
        std::future::ready(call)
    }
}

impl Call {
    /// A decoded segment of the path.
    pub fn segment(&self, name: &str) -> String {
        let raw = self.request.match_info().get(name).unwrap_or_default();
        // The router has decoded everything but `%`, `/` and `+`; a `+` stays what it is.
        raw.replace("%2F", "/").replace("%2f", "/").replace("%2B", "+").replace("%2b", "+").replace("%25", "%")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn basic_credentials_are_split_at_the_first_colon() {
        let encoded = BASE64_STANDARD.encode("Administrator:pass:wörd");
        let (name, password) = basic(&encoded).unwrap();
        assert_eq!((name.as_str(), password.expose()), ("Administrator", "pass:wörd"));
        for bad in ["", "!!!", &BASE64_STANDARD.encode("nocolon"), &BASE64_STANDARD.encode([0xff, b':'])] {
            assert!(basic(bad).is_none(), "{bad}");
        }
    }

    #[test]
    fn other_clusters_and_unknown_states_are_refused_before_routing() {
        for fine in [
            "/api/v1/plan",
            "/api/v1/cluster",
            "/api/v1/cluster/self",
            "/api/v1/cluster/self/repository",
            "/api/v1/cluster/self/repository/active/x/info",
            "/api/v1/cluster/self/repository/import",
        ] {
            assert_eq!(paths_of_clusters(fine), Ok(()), "{fine}");
        }
        let refused = |path: &str| match paths_of_clusters(path).unwrap_err() {
            ApiError::Other(body) => (body.status, body.msg, body.extras.unwrap_or_default()),
            other => panic!("{other:?}"),
        };
        let remote = (400, "Remote clusters not supported".to_owned(), "Invalid cluster: se3lf".to_owned());
        assert_eq!(refused("/api/v1/cluster/se3lf"), remote);
        assert_eq!(refused("/api/v1/cluster/se3lf/repository/active"), remote);
        let state = (400, "invalid repository state".to_owned(), "foo".to_owned());
        assert_eq!(refused("/api/v1/cluster/self/repository/foo"), state);
        assert_eq!(refused("/api/v1/cluster/self/repository/foo/x"), state);
        assert_eq!(refused("/api/v1/cluster/self/repository/import/x").1, "invalid repository state");
    }
}

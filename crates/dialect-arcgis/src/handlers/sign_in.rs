//! Signing in and out of the HTML directory.

use actix_web::{
    HttpRequest, HttpResponse,
    cookie::{Cookie, SameSite},
    http::{Method, header},
    web,
};
use chrono::TimeDelta;
use trivault_engine::{Engine, ErrorCode, SecretText};
use trivault_http::{BaseUrl, RawBody, caller, client_address, headers};

use crate::{
    auth::{self, Binding, COOKIE, DEFAULT_LIFETIME_MINUTES},
    errors::Refused,
    exchange::{Format, context_of, error, html_answer},
    form::Fields,
    html,
};

/// Hours that a browser's session lasts.
const SESSION_HOURS: i64 = 8;

/// The sign-in page, and its post: sets the cookie and goes back to where the person wanted to be.
pub async fn login(request: HttpRequest, body: RawBody, engine: web::Data<Engine>) -> HttpResponse {
    let fields = match Fields::read(&request, &body.0).await {
        Ok(fields) => fields,
        Err(refused) => return error(Format::Html, &request, None, &refused),
    };
    let context = context_of(&request);
    let redirect = local_target(context, fields.text("redirect"));
    if request.method() != Method::POST {
        return html_answer(&html::sign_in(context, &redirect, "", None));
    }
    let user = fields.in_body("username").unwrap_or_default();
    let password = SecretText::new(fields.in_body("password").unwrap_or_default());
    let principal = match engine.authenticate_password(user, &password, &client_address(&request)).await {
        Ok(principal) => principal,
        Err(failed) => {
            let message = match failed.code {
                ErrorCode::Unauthenticated => "Invalid username or password.",
                ErrorCode::Throttled => "Too many invalid attempts. Please try again later.",
                _ => return error(Format::Html, &request, None, &Refused::from(failed)),
            };
            return html_answer(&html::sign_in(context, &redirect, user, Some(message)));
        }
    };
    let caller = caller(&request, principal, crate::NAME);
    let lifetime = TimeDelta::hours(SESSION_HOURS).max(TimeDelta::minutes(DEFAULT_LIFETIME_MINUTES));
    match auth::issue(&engine, &caller, Binding::Nothing, lifetime).await {
        Ok(bearer) => go(&request, &redirect, bearer.secret.expose()),
        Err(refused) => error(Format::Html, &request, None, &refused),
    }
}

/// Revokes the session's token and takes the cookie away.
pub async fn logout(request: HttpRequest, engine: web::Data<Engine>) -> HttpResponse {
    if let Some(cookie) = request.cookie(COOKIE)
        && let Ok(verified) = engine.verify_bearer(auth::AUDIENCE, cookie.value()).await
        && let Some(token) = verified.principal.token
    {
        let caller = caller(&request, verified.principal, crate::NAME);
        if let Err(failed) = engine.revoke_token(&caller, token).await {
            return error(Format::Html, &request, None, &Refused::from(failed));
        }
    }
    let target = format!("/{}/admin/login", context_of(&request));
    let mut response = go(&request, &target, "");
    let mut expired = cookie(&request, "");
    expired.make_removal();
    if let Ok(value) = header::HeaderValue::from_str(&expired.to_string()) {
        response.headers_mut().insert(header::SET_COOKIE, value);
    }
    response
}

fn go(request: &HttpRequest, target: &str, token: &str) -> HttpResponse {
    let mut response = HttpResponse::Found()
        .insert_header((header::LOCATION, target.to_owned()))
        .cookie(cookie(request, token))
        .finish();
    headers::keep_private(&mut response);
    response
}

/// Secure wherever the person came by HTTPS.
fn cookie(request: &HttpRequest, token: &str) -> Cookie<'static> {
    Cookie::build(COOKIE, token.to_owned())
        .path(format!("/{}", context_of(request)))
        .http_only(true)
        .same_site(SameSite::Lax)
        .secure(BaseUrl::of(request).is_https())
        .finish()
}

/// A path of this context; anything else would let a link send people elsewhere.
fn local_target(context: &str, wanted: Option<&str>) -> String {
    let root = format!("/{context}/admin");
    match wanted {
        Some(path)
            if (path == root || path.starts_with(&format!("{root}/"))) && !path.contains(['\\', '\r', '\n', ':']) =>
        {
            path.to_owned()
        }
        Some(_) | None => root,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_is_sent_back_to_a_path_of_the_same_context_only() {
        assert_eq!(local_target("arcgis", Some("/arcgis/admin/jobs/x")), "/arcgis/admin/jobs/x");
        for foreign in
            ["//evil.example", "https://evil.example", "/context/admin", "/arcgis/admin\\x", "/arcgis/adminx"]
        {
            assert_eq!(local_target("arcgis", Some(foreign)), "/arcgis/admin", "{foreign}");
        }
    }
}

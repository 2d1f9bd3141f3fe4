//! `generateToken` (section 2.1).

use actix_web::{HttpRequest, HttpResponse, http::Method, web};
use chrono::TimeDelta;
use trivault_engine::{Engine, ErrorCode, SecretText};
use trivault_http::{BaseUrl, RawBody, caller, client_address};

use crate::{
    auth::{self, Binding, DEFAULT_LIFETIME_MINUTES, LONGEST_LIFETIME_MINUTES},
    errors::{Refused, Result},
    exchange::{Format, error, format_of, html_answer, json_answer, json_of},
    form::Fields,
    html,
    types::{ErrorEnvelope, Token, TokenAnswer},
};

/// Makes a token. Credentials belong into the body; a GET is refused in the body.
#[utoipa::path(post, path = "/{context}/sharing/rest/generateToken", tag = "token", security(()), params(("context" = String, Path)),
    request_body(content = String, content_type = "application/x-www-form-urlencoded"),
    responses((status = 200, body = TokenAnswer, content_type = "application/json"), (status = 403, description = "A page of another site made a browser send the request.", body = ErrorEnvelope, content_type = "application/json")))]
pub async fn generate(request: HttpRequest, body: RawBody, engine: web::Data<Engine>) -> HttpResponse {
    let fields = match Fields::read(&request, &body.0).await {
        Ok(fields) => fields,
        Err(refused) => return error(Format::Json, &request, None, &refused),
    };
    let format = match format_of(&fields) {
        Ok(format) => format,
        Err(refused) => return error(Format::Json, &request, None, &refused),
    };
    let context = crate::exchange::context_of(&request);
    if request.method() != Method::POST {
        return match format {
            Format::Html => html_answer(&html::sign_in(context, &format!("/{context}/admin"), "", None)),
            Format::Json | Format::Pjson => {
                let text = "HTTP method GET is not supported on this operation. Use POST.";
                error(format, &request, None, &Refused::new(405, text))
            }
        };
    }
    match token(&request, &fields, &engine).await {
        // A browser that posts the form of this page gets the JSON to copy.
        Ok(token) => json_answer(if format == Format::Html { Format::Pjson } else { format }, &json_of(&token)),
        Err(refused) => error(format, &request, None, &refused),
    }
}

async fn token(request: &HttpRequest, fields: &Fields, engine: &Engine) -> Result<Token> {
    let unable = |detail: &str| Refused::invalid("Unable to generate token.").detail(detail);
    if fields.in_body("username").is_none() && fields.in_query("password").is_some() {
        return Err(unable("Credentials must be sent in the body of the request."));
    }
    let user = fields
        .in_body("username")
        .filter(|text| !text.is_empty())
        .ok_or_else(|| unable("'username' must be specified."))?;
    let password = fields
        .in_body("password")
        .filter(|text| !text.is_empty())
        .ok_or_else(|| unable("'password' must be specified."))?;
    let address = client_address(request);
    let binding = binding(fields, &address)?;
    let lifetime = lifetime(fields.text("expiration"))?;
    let principal = engine.authenticate_password(user, &SecretText::new(password), &address).await.map_err(
        |failed| match failed.code {
            ErrorCode::Unauthenticated => unable("Invalid username or password."),
            ErrorCode::Throttled => unable("Too many invalid attempts. Please try again later."),
            _ => Refused::from(failed),
        },
    )?;
    let bearer = auth::issue(engine, &caller(request, principal, crate::NAME), binding, lifetime).await?;
    Ok(Token {
        token: bearer.secret.expose().to_owned(),
        expires: bearer.expires_at.timestamp_millis(),
        ssl: BaseUrl::of(request).is_https(),
    })
}

/// `client` says what the token is bound to; clients that leave it out are bound by `referer` if they send one.
fn binding(fields: &Fields, address: &str) -> Result<Binding> {
    match fields.text("client").map(str::to_ascii_lowercase).as_deref() {
        None | Some("referer") => {
            Ok(fields.text("referer").map_or(Binding::Nothing, |text| Binding::Referer(text.to_owned())))
        }
        Some("requestip") => Ok(Binding::Address(address.to_owned())),
        Some("ip") => match fields.text("ip") {
            Some(ip) => Ok(Binding::Address(ip.to_owned())),
            None => Err(Refused::invalid("The parameter 'ip' is required when client is ip.")),
        },
        Some(_) => Err(Refused::invalid("The parameter 'client' can be referer, ip or requestip.")),
    }
}

/// Minutes; more than the longest is clamped, as the original does.
fn lifetime(text: Option<&str>) -> Result<TimeDelta> {
    let minutes = match text {
        None => DEFAULT_LIFETIME_MINUTES,
        Some(text) => match text.parse::<i64>() {
            Ok(minutes) if minutes > 0 => minutes.min(LONGEST_LIFETIME_MINUTES),
            Ok(_) | Err(_) => {
                return Err(Refused::invalid("The parameter 'expiration' must be a number of minutes above 0."));
            }
        },
    };
    Ok(TimeDelta::minutes(minutes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lifetime_is_clamped_and_a_strange_one_refused() {
        assert_eq!(lifetime(None), Ok(TimeDelta::minutes(60)));
        assert_eq!(lifetime(Some("999999999")), Ok(TimeDelta::days(15)));
        for bad in ["0", "-1", "soon", "1.5"] {
            assert_eq!(lifetime(Some(bad)).unwrap_err().code, 400);
        }
    }
}

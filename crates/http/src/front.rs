//! What happens to every request before its handler, and to every answer after it.
//!
//! In order: request id and span; health paths; hosts that are not ours; which dialect owns the path on this listener;
//! pages of other sites; the canonical path; the dialect's gate; routing. Answers get the request id, and one line in the
//! access log. Paths are logged, queries never are: they may carry tokens.

use std::{sync::Arc, time::Instant};

use actix_web::{
    HttpMessage, HttpRequest, HttpResponse,
    body::{BoxBody, MessageBody},
    dev::{ServiceRequest, ServiceResponse},
    http::{
        Uri,
        header::{HeaderName, HeaderValue, X_CONTENT_TYPE_OPTIONS},
        uri::PathAndQuery,
    },
    middleware::Next,
};
use serde_json::json;
use tracing::Instrument;

use crate::{
    BaseUrl, Dialect, Refusal, RequestId, Shared,
    base_url::claimed_hosts,
    client_address,
    guards::{Authority, is_foreign, is_own_host, origin_of},
    health,
};

const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// The dialect that owns a request, kept in its extensions.
#[derive(Clone)]
struct Owner(Arc<dyn Dialect>);

/// The path that was sent, kept in the extensions when the request is routed by another one.
struct SentPath(String);

/// The raw path as the client sent it, before [`Dialect::canonical_path`].
pub fn sent_path(request: &HttpRequest) -> String {
    let kept = request.extensions().get::<SentPath>().map(|sent| sent.0.clone());
    kept.unwrap_or_else(|| request.uri().path().to_owned())
}

/// Whether a host name or address (without port) means this server: loopback, the address the connection arrived at, the
/// public URL's or an allowed one.
pub fn is_this_server(request: &HttpRequest, host: &str) -> bool {
    let Some(shared) = Shared::of(request) else { return false };
    let local = request.conn_data::<ArrivedAt>().map(|arrived| arrived.0);
    Authority::parse(host)
        .is_some_and(|it| is_own_host(&it.host, local, shared.public_url.as_ref(), &shared.allowed_hosts))
}

/// The address at which a connection arrived, kept with the connection.
pub(crate) struct ArrivedAt(pub std::net::IpAddr);

/// Renders a refusal in the shape of the dialect that owns the request, or plainly where none does.
pub(crate) fn refuse(request: &HttpRequest, refusal: &Refusal) -> HttpResponse {
    let owner = request.extensions().get::<Owner>().cloned();
    match owner {
        Some(Owner(dialect)) => dialect.refuse(refusal, request),
        None => refuse_plainly(refusal),
    }
}

fn refuse_plainly(refusal: &Refusal) -> HttpResponse {
    let mut answer = match refusal {
        Refusal::NotFound => HttpResponse::NotFound(),
        Refusal::MethodNotAllowed { .. } => HttpResponse::MethodNotAllowed(),
        Refusal::BodyTooLarge { .. } => HttpResponse::PayloadTooLarge(),
        Refusal::ForeignOrigin => HttpResponse::Forbidden(),
        Refusal::BodyUnreadable | Refusal::UnknownHost { .. } => HttpResponse::BadRequest(),
        Refusal::TimedOut => HttpResponse::GatewayTimeout(),
        Refusal::Internal => HttpResponse::InternalServerError(),
    };
    answer.json(json!({ "error": refusal.sentence() }))
}

pub(crate) async fn front(
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<BoxBody>, actix_web::Error> {
    let began = Instant::now();
    let id = RequestId::choose(request.request());
    let method = request.method().clone();
    let path = request.uri().path().to_owned();
    let client = client_address(request.request());
    request.extensions_mut().insert(id.clone());
    let span = tracing::info_span!("request", request.id = id.as_str(), http.method = %method, http.path = path);
    let answer = pass(request, next).instrument(span.clone()).await;
    let status = match &answer {
        Ok(response) => response.status(),
        Err(error) => error.as_response_error().status_code(),
    };
    span.in_scope(|| {
        let duration_ms = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
        tracing::info!(http.status = status.as_u16(), duration_ms, client, "answered a request");
    });
    let mut answer = answer?;
    let headers = answer.headers_mut();
    if let Ok(value) = HeaderValue::from_str(id.as_str()) {
        headers.insert(X_REQUEST_ID, value);
    }
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    Ok(answer)
}

async fn pass(
    mut request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<BoxBody>, actix_web::Error> {
    if health::is_health_path(request.path()) {
        return Ok(next.call(request).await?.map_into_boxed_body());
    }
    let Some(shared) = Shared::of(request.request()).cloned() else {
        return Err(actix_web::error::ErrorInternalServerError("the server's shared state is missing"));
    };
    let owner = find_owner(&shared, &request);
    if let Some(owner) = &owner {
        request.extensions_mut().insert(Owner(Arc::clone(owner)));
    }
    if let Err(refusal) = check_host(&shared, request.request()).and_then(|()| check_origin(&shared, request.request()))
    {
        let response = refuse(request.request(), &refusal);
        return Ok(request.into_response(response));
    }
    let Some(owner) = owner else {
        let response = refuse_plainly(&Refusal::NotFound);
        return Ok(request.into_response(response));
    };
    if let Some(path) = owner.canonical_path(request.uri().path()) {
        let sent = request.uri().path().to_owned();
        request.extensions_mut().insert(SentPath(sent));
        route_as(&mut request, &path);
    }
    let gate = tokio::time::timeout(shared.limits.handler_time, owner.gate(request.request())).await;
    match gate {
        Ok(Ok(())) => Ok(next.call(request).await?.map_into_boxed_body()),
        Ok(Err(response)) => Ok(request.into_response(response)),
        Err(_) => {
            let response = owner.refuse(&Refusal::TimedOut, request.request());
            Ok(request.into_response(response))
        }
    }
}

fn find_owner(shared: &Shared, request: &ServiceRequest) -> Option<Arc<dyn Dialect>> {
    let owner = shared.ownership.owner(request.uri().path())?;
    shared.serves(request.app_config().local_addr(), owner.name()).then(|| Arc::clone(owner))
}

fn check_host(shared: &Shared, request: &HttpRequest) -> Result<(), Refusal> {
    let local = request.conn_data::<ArrivedAt>().map(|arrived| arrived.0);
    let claimed = claimed_hosts(request);
    for text in &claimed {
        let own = Authority::parse(text)
            .is_some_and(|it| is_own_host(&it.host, local, shared.public_url.as_ref(), &shared.allowed_hosts));
        if !own || claimed.len() > 2 {
            return Err(Refusal::UnknownHost { host: text.chars().take(100).collect() });
        }
    }
    Ok(())
}

fn check_origin(shared: &Shared, request: &HttpRequest) -> Result<(), Refusal> {
    let mut own = vec![BaseUrl::of(request).as_str().to_owned()];
    // The request's own host counts beside the public URL: a person may use either.
    let scheme = if request.app_config().secure() { "https" } else { "http" };
    own.extend(claimed_hosts(request).iter().filter_map(|host| origin_of(&format!("{scheme}://{host}"))));
    own.extend(shared.public_url.as_ref().map(|url| url.origin().ascii_serialization()));
    if is_foreign(request.method(), request.headers(), &own) { Err(Refusal::ForeignOrigin) } else { Ok(()) }
}

/// Makes the router see another path; the query stays.
fn route_as(request: &mut ServiceRequest, path: &str) {
    let query = request.uri().query().map(|query| format!("?{query}")).unwrap_or_default();
    let Ok(path_and_query) = format!("{path}{query}").parse::<PathAndQuery>() else { return };
    let mut parts = request.uri().clone().into_parts();
    parts.path_and_query = Some(path_and_query);
    let Ok(uri) = Uri::from_parts(parts) else { return };
    request.match_info_mut().get_mut().update(&uri);
    request.head_mut().uri = uri;
}

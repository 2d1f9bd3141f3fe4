//! What a wire dialect gives to the shared server.

use std::{future::Future, pin::Pin, sync::Arc};

use actix_web::{HttpRequest, HttpResponse, http::Method, web::ServiceConfig};
use chrono_tz::Tz;
use trivault_engine::{Namer, NewPlan};

/// Why the shared layer refuses a request. Each dialect renders these in its own error shape.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// No route of the dialect has this path.
    NotFound,
    /// The path is known, the method is not; `allow` lists those that are, HEAD included where GET is.
    MethodNotAllowed { allow: Vec<Method> },
    /// `limit` in bytes.
    BodyTooLarge { limit: usize },
    /// The body ended early or broke the transfer encoding.
    BodyUnreadable,
    /// A page of another site made a browser send this request.
    ForeignOrigin,
    /// The `Host` names a machine that is not this one.
    UnknownHost { host: String },
    /// The handler (or the sender of the body) took longer than the limit.
    TimedOut,
    /// A defect: the handler panicked.
    Internal,
}

impl Refusal {
    /// A sentence for a person, with what to do about it. No dialect's words.
    pub fn sentence(&self) -> String {
        match self {
            Self::NotFound => "Nothing is served at this path.".to_owned(),
            Self::MethodNotAllowed { allow } => {
                let names: Vec<&str> = allow.iter().map(Method::as_str).collect();
                format!("This path does not know the method; it knows {}.", names.join(", "))
            }
            Self::BodyTooLarge { limit } => format!("The request body is larger than the limit of {limit} bytes."),
            Self::BodyUnreadable => "The request body could not be read to its end.".to_owned(),
            Self::ForeignOrigin => "The request was sent by a page of another site, which is refused.".to_owned(),
            Self::UnknownHost { host } => {
                format!("The host {host:?} is not ours; add it to allowed_hosts if it should be.")
            }
            Self::TimedOut => "The request took too long and was given up.".to_owned(),
            Self::Internal => "An internal error occurred; the server's log has the details.".to_owned(),
        }
    }
}

/// What [`Dialect::gate`] returns.
pub type GateFuture<'a> = Pin<Box<dyn Future<Output = Result<(), HttpResponse>> + 'a>>;

/// One documented wire API. Created before the engine, because the engine asks its [`Namer`] for names.
pub trait Dialect: Send + Sync + 'static {
    /// `couchbase`, `dbaas` ...; also `Caller::via` and the name in listeners' configuration.
    fn name(&self) -> &'static str;

    /// The path prefixes it owns: absolute, whole segments, without a trailing slash (`/api/v1`). No prefix of one
    /// dialect may equal or lie below one of another.
    fn prefixes(&self) -> Vec<String>;

    /// Registers its routes (see [`crate::register`]) and its own application data. The engine is there as
    /// `web::Data<Engine>`.
    fn configure(&self, config: &mut ServiceConfig);

    /// The path under which a request is routed when it is not the one that was sent: aliases, repeated prefixes,
    /// trailing slashes. Gets and returns the raw (percent-encoded) path, without the query.
    fn canonical_path(&self, raw_path: &str) -> Option<String> {
        let _ = raw_path;
        None
    }

    /// Looks at a request of this dialect before it is routed; for dialects that authenticate before they say whether a
    /// path exists. May leave things in `request.extensions_mut()`. It must not keep a clone of the request.
    fn gate<'a>(&'a self, request: &'a HttpRequest) -> GateFuture<'a> {
        let _ = request;
        Box::pin(std::future::ready(Ok(())))
    }

    /// Renders a refusal of the shared layer in the dialect's error shape. A 405 should carry `Allow`.
    fn refuse(&self, refusal: &Refusal, request: &HttpRequest) -> HttpResponse;

    /// Its OpenAPI document, generated from handlers and types.
    fn openapi(&self) -> utoipa::openapi::OpenApi;

    /// How new objects are called on its wire.
    fn namer(&self) -> Arc<dyn Namer>;

    /// The plans it ships; `zone` is the one in which their hours are meant.
    fn builtin_plans(&self, zone: Tz) -> Vec<NewPlan> {
        let _ = zone;
        Vec::new()
    }
}

//! ArcGIS Enterprise on Kubernetes, Administrator API: disaster recovery. A thin front end; see COVERAGE.md for what of
//! the documented interface is served.
//!
//! Two facts shape everything: errors travel with HTTP status 200, because the vendor's clients repeat requests on any
//! other, and every resource is JSON for programs and a page for people.

mod auth;
mod errors;
mod exchange;
mod form;
mod handlers;
mod html;
mod mapping;
mod names;
mod openapi;
mod routes;
pub mod types;

use std::sync::Arc;

use actix_web::{HttpRequest, HttpResponse, web};
use trivault_engine::Namer;
use trivault_http::{Dialect, Refusal, register};
use utoipa::OpenApi as _;

use self::{
    errors::Refused,
    exchange::{Format, error},
};

/// Name of the dialect: in listeners, in `Caller::via`, as the namespace of attributes.
pub const NAME: &str = "arcgis";

/// What an operator sets.
#[derive(Clone, Debug)]
pub struct Settings {
    /// First path segments that are served.
    pub contexts: Vec<String>,
}

pub struct Arcgis {
    settings: Settings,
}

impl Arcgis {
    pub fn new(settings: Settings) -> Self {
        Self { settings }
    }
}

impl Dialect for Arcgis {
    fn name(&self) -> &'static str {
        NAME
    }

    fn prefixes(&self) -> Vec<String> {
        self.settings.contexts.iter().map(|context| format!("/{context}")).collect()
    }

    fn configure(&self, config: &mut web::ServiceConfig) {
        register(config, routes::table(&self.settings.contexts));
    }

    fn canonical_path(&self, raw_path: &str) -> Option<String> {
        routes::canonical_path(raw_path)
    }

    fn refuse(&self, refusal: &Refusal, request: &HttpRequest) -> HttpResponse {
        let code = match refusal {
            Refusal::NotFound => 404,
            Refusal::MethodNotAllowed { .. } => 405,
            Refusal::BodyTooLarge { .. } | Refusal::BodyUnreadable | Refusal::UnknownHost { .. } => 400,
            Refusal::ForeignOrigin => 403,
            Refusal::TimedOut | Refusal::Internal => 500,
        };
        let format = match refusal {
            // Browsers read pages; what programs send says f=json.
            Refusal::NotFound if !request.query_string().contains("f=") && accepts_html(request) => Format::Html,
            _ => Format::Json,
        };
        let mut response = error(format, request, None, &Refused::new(code, refusal.sentence()));
        // The one exception to status 200: DESIGN wants foreign pages refused alike in every dialect.
        if matches!(refusal, Refusal::ForeignOrigin) {
            *response.status_mut() = actix_web::http::StatusCode::FORBIDDEN;
        }
        response
    }

    fn openapi(&self) -> utoipa::openapi::OpenApi {
        openapi::Document::openapi()
    }

    fn namer(&self) -> Arc<dyn Namer> {
        Arc::new(names::ArcgisNamer)
    }
}

fn accepts_html(request: &HttpRequest) -> bool {
    let accept = request.headers().get("accept").and_then(|value| value.to_str().ok()).unwrap_or_default();
    accept.contains("text/html")
}

//! The Couchbase Backup Service's REST API, as the manual of releases 7.0 to 8.0 prints it.
//!
//! URL → [`routes`] → `handlers/<resource>.rs` → engine. `COVERAGE.md` lists every documented endpoint and what becomes of
//! it; paths that the manual writes in several ways are brought to one form in `paths.rs`.

#![cfg_attr(test, allow(clippy::panic))]

mod auth;
mod builtin;
mod errors;
mod handlers;
mod json;
mod mapping;
mod names;
mod openapi;
mod paths;
mod refusals;
pub mod routes;
pub mod types;

use std::sync::Arc;

use actix_web::{HttpRequest, HttpResponse, web::ServiceConfig};
use chrono_tz::Tz;
use trivault_engine::{Namer, NewPlan};
use trivault_http::{Dialect, GateFuture, Refusal};

/// Owner of what this dialect makes, namespace of its wire fields, and the door it is known by.
pub const NAME: &str = "couchbase";

/// The dialect. `zone` is the one in which backups are named; times are shown in the engine's.
pub struct Couchbase {
    zone: Tz,
}

impl Couchbase {
    pub fn new(zone: Tz) -> Self {
        Self { zone }
    }
}

impl Dialect for Couchbase {
    fn name(&self) -> &'static str {
        NAME
    }

    fn prefixes(&self) -> Vec<String> {
        paths::PREFIXES.iter().map(|prefix| (*prefix).to_owned()).collect()
    }

    fn configure(&self, config: &mut ServiceConfig) {
        trivault_http::register(config, routes::table());
    }

    fn canonical_path(&self, raw_path: &str) -> Option<String> {
        Some(paths::canonical(raw_path))
    }

    fn gate<'a>(&'a self, request: &'a HttpRequest) -> GateFuture<'a> {
        Box::pin(auth::gate(request))
    }

    fn refuse(&self, refusal: &Refusal, request: &HttpRequest) -> HttpResponse {
        refusals::render(refusal, request)
    }

    fn openapi(&self) -> utoipa::openapi::OpenApi {
        openapi::document()
    }

    fn namer(&self) -> Arc<dyn Namer> {
        Arc::new(names::Names { zone: self.zone })
    }

    fn builtin_plans(&self, zone: Tz) -> Vec<NewPlan> {
        builtin::plans(zone)
    }
}

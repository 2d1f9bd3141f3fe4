//! The DBaaS dialect: a Scalingo-style database API with its authentication and platform APIs on one origin.
//!
//! A source is shown as an application with one addon, which is a database; a part of any backup is shown as a backup of
//! its database. Requests come in through `routes.rs`; what is and is not served stands in `COVERAGE.md`.

mod auth;
mod errors;
mod handlers;
mod lookup;
mod mapping;
mod names;
mod openapi;
mod options;
mod repositories;
mod routes;
mod settings;
mod types;

use std::sync::Arc;

use actix_web::{
    HttpRequest, HttpResponse, ResponseError,
    web::{Data, ServiceConfig},
};
pub use names::{Namer, SourceNames, names_of_source, names_of_sources};
pub use openapi::openapi;
pub use options::Options;
use trivault_http::{Dialect, Refusal};

/// Name of the dialect: `Caller::via`, owner of its repositories and plans, audience of its tokens.
pub const NAME: &str = "dbaas";

/// What its API tokens begin with.
pub const API_TOKEN_PREFIX: &str = "tk-us-";

/// Audience of the tokens in download links.
const DOWNLOAD_AUDIENCE: &str = "dbaas.download";

/// The dialect as the server registers it.
pub struct Dbaas {
    options: Options,
}

impl Dbaas {
    pub fn new(options: Options) -> Self {
        Self { options }
    }
}

impl Dialect for Dbaas {
    fn name(&self) -> &'static str {
        NAME
    }

    fn prefixes(&self) -> Vec<String> {
        routes::PREFIXES.iter().map(|prefix| (*prefix).to_owned()).collect()
    }

    fn configure(&self, config: &mut ServiceConfig) {
        config.app_data(Data::new(self.options.clone()));
        trivault_http::register(config, routes::table());
        routes::register_the_rest(config);
    }

    fn canonical_path(&self, raw_path: &str) -> Option<String> {
        routes::canonical_path(raw_path)
    }

    fn refuse(&self, refusal: &Refusal, _: &HttpRequest) -> HttpResponse {
        errors::ApiError::from(refusal).error_response()
    }

    fn openapi(&self) -> utoipa::openapi::OpenApi {
        openapi()
    }

    fn namer(&self) -> Arc<dyn trivault_engine::Namer> {
        Arc::new(Namer)
    }
}

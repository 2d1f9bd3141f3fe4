//! The OpenAPI document of what is built.

use utoipa::{
    Modify, OpenApi,
    openapi::security::{Http, HttpAuthScheme, SecurityScheme},
};

use crate::{handlers, types};

pub fn document() -> utoipa::openapi::OpenApi {
    Document::openapi()
}

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Trivault: Couchbase Backup Service dialect",
        description = "The calls of the Couchbase Backup Service REST API that Trivault answers. Paths are also served \
                       below `/_p/backup`, with `/api/v1` doubled or left out, and with a trailing slash."
    ),
    paths(
        handlers::cluster::get,
        handlers::plans::list,
        handlers::plans::get,
        handlers::plans::create,
        handlers::repositories::list,
        handlers::repositories::get,
        handlers::repositories::create,
        handlers::repositories::delete_active,
        handlers::repositories::pause,
        handlers::repositories::resume,
        handlers::info::get,
        handlers::backups::start,
        handlers::history::list,
        handlers::restores::start,
    ),
    components(schemas(types::ErrorBody, types::ForbiddenBody)),
    modifiers(&Basic)
)]
struct Document;

struct Basic;

impl Modify for Basic {
    fn modify(&self, openapi: &mut utoipa::openapi::OpenApi) {
        if let Some(components) = openapi.components.as_mut() {
            components.add_security_scheme("basic", SecurityScheme::Http(Http::new(HttpAuthScheme::Basic)));
        }
    }
}

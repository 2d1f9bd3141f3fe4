//! The OpenAPI document of what is built.

use utoipa::{
    Modify, OpenApi,
    openapi::{
        ContentBuilder, Ref, RefOr, Response, ResponseBuilder,
        path::{Operation, PathItem},
        security::{Http, HttpAuthScheme, SecurityScheme},
    },
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
        handlers::plans::update,
        handlers::plans::delete,
        handlers::repositories::list,
        handlers::repositories::get,
        handlers::repositories::create,
        handlers::repositories::delete_active,
        handlers::repositories::pause,
        handlers::repositories::resume,
        handlers::info::get,
        handlers::backups::start,
        handlers::merges::start,
        handlers::prunes::start,
        handlers::history::list,
        handlers::restores::start,
    ),
    components(schemas(types::ErrorBody, types::ForbiddenBody)),
    modifiers(&Basic, &CommonAnswers)
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

/// What every call may be answered, beside what stands at its handler.
struct CommonAnswers;

impl Modify for CommonAnswers {
    fn modify(&self, openapi: &mut utoipa::openapi::OpenApi) {
        for item in openapi.paths.paths.values_mut() {
            let PathItem { get, put, post, delete, patch, .. } = item;
            for operation in [get, put, post, delete, patch].into_iter().flatten() {
                add_common_answers(operation);
            }
        }
    }
}

fn add_common_answers(operation: &mut Operation) {
    for (status, description, body) in [
        ("400", "The request is not valid, or names a host that is not ours", "ErrorBody"),
        ("403", "The role does not allow it, or a page of another site sent it", "ForbiddenBody"),
        ("404", "Not found", "ErrorBody"),
        ("500", "A fault of the server", "ErrorBody"),
    ] {
        let answers = &mut operation.responses.responses;
        answers.entry(status.to_owned()).or_insert_with(|| RefOr::T(answer(description, body)));
    }
}

fn answer(description: &str, body: &str) -> Response {
    let content = ContentBuilder::new().schema(Some(Ref::from_schema_name(body))).build();
    ResponseBuilder::new().description(description).content("application/json", content).build()
}

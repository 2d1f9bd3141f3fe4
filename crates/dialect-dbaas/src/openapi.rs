//! The OpenAPI document of this dialect, generated from handlers and types.

use actix_web::http::StatusCode;
use utoipa::{
    Modify, OpenApi, ToSchema,
    openapi::{
        ContentBuilder, OpenApi as Document, Ref, RefOr, Response, ResponseBuilder,
        security::{ApiKey, ApiKeyValue, Http, HttpAuthScheme, SecurityScheme},
    },
};

use crate::{
    handlers::{addons, apps, backups, databases, downloads, regions, tokens, users},
    types::Failure,
};

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Trivault: Scalingo-style database API",
        description = "Token exchange, applications, addons, databases and their backups. \
                       Every path below `/api` is also served below `/dapi`; every GET also as HEAD.",
        license(name = "Apache-2.0")
    ),
    paths(
        tokens::exchange,
        tokens::list,
        tokens::create,
        tokens::renew,
        tokens::delete,
        users::own,
        regions::list,
        apps::list,
        apps::show,
        addons::list,
        addons::show,
        addons::token,
        databases::show,
        databases::change,
        backups::list,
        backups::create,
        backups::show,
        backups::show_flat,
        backups::archive,
        downloads::download,
    ),
    modifiers(&Credentials, &Finish)
)]
struct Api;

struct Credentials;

impl Modify for Credentials {
    fn modify(&self, document: &mut Document) {
        let components = document.components.get_or_insert_with(Default::default);
        let scheme = |scheme: HttpAuthScheme, description: &str| {
            let mut http = Http::new(scheme);
            http.description = Some(description.to_owned());
            SecurityScheme::Http(http)
        };
        components
            .add_security_scheme("api_token", scheme(HttpAuthScheme::Basic, "Any user; the password is an API token"));
        components.add_security_scheme("password", scheme(HttpAuthScheme::Basic, "A user's name and password"));
        components.add_security_scheme("bearer", scheme(HttpAuthScheme::Bearer, "Main bearer or API token"));
        components.add_security_scheme("addon_token", scheme(HttpAuthScheme::Bearer, "Good for its one database"));
        let in_link = ApiKeyValue::with_description("token", "Part of a download link, and good for that link only");
        components.add_security_scheme("download_token", SecurityScheme::ApiKey(ApiKey::Query(in_link)));
    }
}

/// Gives every operation an id of its own and the refusals that all have in common, and every response the description
/// that the format requires.
struct Finish;

impl Modify for Finish {
    fn modify(&self, document: &mut Document) {
        for (path, item) in &mut document.paths.paths {
            for (method, operation) in [
                ("get", &mut item.get),
                ("put", &mut item.put),
                ("post", &mut item.post),
                ("delete", &mut item.delete),
                ("head", &mut item.head),
                ("patch", &mut item.patch),
            ] {
                let Some(operation) = operation else { continue };
                operation.operation_id = Some(operation_id(method, path));
                operation.responses.responses.insert("default".to_owned(), RefOr::T(any_refusal()));
                for (status, response) in &mut operation.responses.responses {
                    if let RefOr::T(response) = response {
                        response.description = reason(status);
                    }
                }
            }
        }
    }
}

/// What every operation may be refused with besides: by the shared layer (403, 405, 413), on a defect (500), while
/// something is out of reach (503).
fn any_refusal() -> Response {
    let content = ContentBuilder::new().schema(Some(Ref::from_schema_name(Failure::name()))).build();
    ResponseBuilder::new().content("application/json", content).build()
}

/// `get /v1/apps/{app}/addons` becomes `get_v1_apps_app_addons`.
fn operation_id(method: &str, path: &str) -> String {
    let words = path.split('/').map(|word| word.trim_matches(['{', '}'])).filter(|word| !word.is_empty());
    std::iter::once(method).chain(words).collect::<Vec<_>>().join("_")
}

fn reason(status: &str) -> String {
    let status = status.parse().ok().and_then(|status: u16| StatusCode::from_u16(status).ok());
    status.and_then(|status| status.canonical_reason()).unwrap_or("Any other refusal").to_owned()
}

/// The document.
pub fn openapi() -> Document {
    Api::openapi()
}

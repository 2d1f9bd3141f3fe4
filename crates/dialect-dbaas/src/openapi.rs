//! The OpenAPI document of this dialect, generated from handlers and types.

use actix_web::http::StatusCode;
use utoipa::{
    Modify, OpenApi,
    openapi::{
        OpenApi as Document, RefOr,
        security::{Http, HttpAuthScheme, SecurityScheme},
    },
};

use crate::handlers::{addons, apps, backups, databases, downloads, regions, tokens, users};

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
        components
            .add_security_scheme("bearer", scheme(HttpAuthScheme::Bearer, "Main bearer, addon token or API token"));
    }
}

/// Gives every operation an id of its own and every response the description that the format requires.
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
                for (status, response) in &mut operation.responses.responses {
                    if let RefOr::T(response) = response {
                        response.description = reason(status);
                    }
                }
            }
        }
    }
}

/// `get /v1/apps/{app}/addons` becomes `get_v1_apps_app_addons`.
fn operation_id(method: &str, path: &str) -> String {
    let words = path.split('/').map(|word| word.trim_matches(['{', '}'])).filter(|word| !word.is_empty());
    std::iter::once(method).chain(words).collect::<Vec<_>>().join("_")
}

fn reason(status: &str) -> String {
    let status = status.parse().ok().and_then(|status: u16| StatusCode::from_u16(status).ok());
    status.and_then(|status| status.canonical_reason()).unwrap_or("Answer").to_owned()
}

/// The document.
pub fn openapi() -> Document {
    Api::openapi()
}

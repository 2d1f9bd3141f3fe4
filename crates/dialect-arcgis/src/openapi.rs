//! The OpenAPI document, generated from handlers and types.

use utoipa::{
    Modify, OpenApi,
    openapi::security::{ApiKey, ApiKeyValue, Http, HttpAuthScheme, SecurityScheme},
};

use crate::handlers::{backups, jobs, recovery, root, stores, token};

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Trivault: ArcGIS Enterprise Administrator API, disaster recovery",
        description = "Every answer has HTTP status 200; errors are in the body. `f` is html (default), json or pjson; the documented bodies are those of json and pjson.",
        license(name = "Apache-2.0", identifier = "Apache-2.0")
    ),
    paths(
        token::generate,
        root::admin,
        root::system,
        recovery::index,
        recovery::status,
        stores::list,
        stores::get,
        backups::list,
        backups::get,
        backups::create,
        backups::restore,
        backups::delete,
        jobs::list,
        jobs::get
    ),
    security(("token" = []), ("bearer" = []), ("basic" = [])),
    modifiers(&Credentials)
)]
pub struct Document;

struct Credentials;

impl Modify for Credentials {
    fn modify(&self, document: &mut utoipa::openapi::OpenApi) {
        let components = document.components.get_or_insert_with(Default::default);
        let token = ApiKeyValue::with_description("token", "Also as a field of a form");
        components.add_security_scheme("token", SecurityScheme::ApiKey(ApiKey::Query(token)));
        for (name, scheme) in [("bearer", HttpAuthScheme::Bearer), ("basic", HttpAuthScheme::Basic)] {
            components.add_security_scheme(name, SecurityScheme::Http(Http::new(scheme)));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// `POST /admin/...` of each row that COVERAGE.md calls implemented, pages apart.
    fn covered() -> BTreeSet<String> {
        let rows = include_str!("../COVERAGE.md").lines().filter(|line| line.contains("| implemented |"));
        let cells = rows.map(|row| row.split('|').map(str::trim).collect::<Vec<_>>());
        cells
            .filter(|cells| !cells[2].contains("(pages)"))
            .map(|cells| format!("{} {}", cells[1], cells[2].split('`').nth(1).unwrap()))
            .collect()
    }

    #[test]
    fn the_document_and_the_coverage_table_name_the_same_calls() {
        let document = serde_json::to_value(Document::openapi()).unwrap();
        let documented: BTreeSet<String> = document["paths"]
            .as_object()
            .unwrap()
            .iter()
            .flat_map(|(path, methods)| {
                let path = path.strip_prefix("/{context}").unwrap().to_owned();
                methods.as_object().unwrap().keys().map(move |method| format!("{} {path}", method.to_uppercase()))
            })
            .collect();
        assert_eq!(documented, covered());
    }
}

//! `/admin` and `/admin/system` (section 5).

use actix_web::{HttpRequest, HttpResponse};
use serde_json::Value;
use trivault_http::RawBody;

use super::open;
use crate::{
    exchange::{Reply, json_of},
    html::Page,
    mapping::RELEASE,
    types::{AdminRoot, AdminRootAnswer, Directory, DirectoryAnswer, RootStatus},
};

/// The administrator root.
#[utoipa::path(get, path = "/{context}/admin", tag = "root", params(("context" = String, Path), ("f" = Option<String>, Query)),
    responses((status = 200, body = AdminRootAnswer, content_type = "application/json")))]
pub async fn admin(request: HttpRequest, body: RawBody) -> HttpResponse {
    let exchange = open!(request, body);
    let root = AdminRoot {
        current_version: RELEASE.to_owned(),
        full_version: RELEASE.to_owned(),
        resources: vec!["system".to_owned(), "jobs".to_owned()],
        status: RootStatus { state: "completed".to_owned(), stages: Vec::new() },
    };
    let page = Page {
        title: "Enterprise Administrator".to_owned(),
        properties: vec![("Version".to_owned(), Value::from(RELEASE))],
        resources: children(&exchange.admin_path(""), &root.resources),
        ..Page::default()
    };
    exchange.answer(Ok(Reply::Resource { json: json_of(&root), page }), None)
}

/// What lies below `system`.
#[utoipa::path(get, path = "/{context}/admin/system", tag = "root", params(("context" = String, Path), ("f" = Option<String>, Query)),
    responses((status = 200, body = DirectoryAnswer, content_type = "application/json")))]
pub async fn system(request: HttpRequest, body: RawBody) -> HttpResponse {
    let exchange = open!(request, body);
    let directory = Directory { operations: Vec::new(), resources: vec!["disasterrecovery".to_owned()] };
    let page = Page {
        title: "System".to_owned(),
        resources: children(&exchange.admin_path("/system"), &directory.resources),
        ..Page::default()
    };
    exchange.answer(Ok(Reply::Resource { json: json_of(&directory), page }), None)
}

/// Links to the children of a path.
pub fn children(parent: &str, names: &[String]) -> Vec<(String, String)> {
    names.iter().map(|name| (name.clone(), format!("{parent}/{name}"))).collect()
}

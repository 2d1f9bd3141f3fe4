//! Documented calls that are not built: refused with a sentence, never answered as if they had worked.

use actix_web::{http::Method, web};
use trivault_http::Route;

use crate::{
    auth::Call,
    errors::{ApiError, Result},
};

/// `COVERAGE.md` has the same lines.
pub const REFUSED: [(&str, &str); 20] = [
    ("GET", "/api/v1/config"),
    ("POST", "/api/v1/config"),
    ("PUT", "/api/v1/config"),
    ("PATCH", "/api/v1/config"),
    ("GET", "/api/v1/nodesThreadsMap"),
    ("POST", "/api/v1/nodesThreadsMap"),
    ("PATCH", "/api/v1/nodesThreadsMap"),
    ("POST", "/api/v1/cluster/self/repository/import"),
    ("POST", "/api/v1/cluster/self/repository/active/{id}/archive"),
    ("POST", "/api/v1/cluster/self/repository/active/{id}/plan/{plan}"),
    ("POST", "/api/v1/cluster/self/repository/active/{id}/worm"),
    ("POST", "/api/v1/cluster/self/repository/active/{id}/cloudConfig"),
    ("DELETE", "/api/v1/cluster/self/repository/active/{id}/backups/{backup}"),
    ("POST", "/api/v1/cluster/self/repository/active/{id}/retentionSettings"),
    ("POST", "/api/v1/cluster/self/repository/active/{id}/retentionSettings/{backup}"),
    ("DELETE", "/api/v1/cluster/self/repository/{state}/{id}"),
    ("POST", "/api/v1/cluster/self/repository/{state}/{id}/examine"),
    ("GET", "/api/v1/cluster/self/repository/{state}/{id}/expiredBackups"),
    ("GET", "/api/v1/cloud/credentials"),
    ("POST", "/api/v1/cloud/credentials/{name}"),
];

pub fn table() -> Vec<Route> {
    REFUSED
        .iter()
        .filter_map(|(method, path)| {
            let method = Method::from_bytes(method.as_bytes()).ok()?;
            Some(Route::new(method, *path, || web::route().to(refuse)))
        })
        .collect()
}

/// 400, because the vendor's client shows its text.
async fn refuse(call: Call) -> Result<String> {
    let extras = format!(
        "{} {} is documented, and this server does not support it yet; nothing was changed",
        call.request.method(),
        call.request.path()
    );
    Err(ApiError::bad_request("not supported").extras(extras))
}

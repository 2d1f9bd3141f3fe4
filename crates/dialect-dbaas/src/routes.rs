//! Path and method to handler.

use actix_web::{
    http::Method,
    web::{ServiceConfig, resource, route},
};
use trivault_http::Route;

use crate::handlers::{addons, apps, backups, databases, downloads, nothing, regions, tokens, users};

/// What this dialect owns. `/dapi` stands for `/api` in some lines of the documentation; databases, backups and what lies
/// beside them are named one by one, because `/api/v1` belongs to another dialect.
pub const PREFIXES: [&str; 10] = [
    "/v1",
    "/dapi",
    "/api/databases",
    "/api/backups",
    "/api/operations",
    "/api/plans",
    "/api/database_types",
    "/api/database_type_versions",
    "/api/database_type_version",
    "/api/ca_certificate",
];

/// The table. `HEAD` goes with `GET`.
pub fn table() -> Vec<Route> {
    vec![
        Route::new(Method::POST, "/v1/tokens/exchange", || route().to(tokens::exchange)),
        Route::new(Method::GET, "/v1/tokens", || route().to(tokens::list)),
        Route::new(Method::POST, "/v1/tokens", || route().to(tokens::create)),
        Route::new(Method::PATCH, "/v1/tokens/{id}/renew", || route().to(tokens::renew)),
        Route::new(Method::PUT, "/v1/tokens/{id}/renew", || route().to(tokens::renew)),
        Route::new(Method::DELETE, "/v1/tokens/{id}", || route().to(tokens::delete)),
        Route::new(Method::GET, "/v1/users/self", || route().to(users::own)),
        Route::new(Method::GET, "/v1/regions", || route().to(regions::list)),
        Route::new(Method::GET, "/v1/apps", || route().to(apps::list)),
        Route::new(Method::GET, "/v1/apps/{app}", || route().to(apps::show)),
        Route::new(Method::GET, "/v1/apps/{app}/addons", || route().to(addons::list)),
        Route::new(Method::GET, "/v1/apps/{app}/addons/{addon}", || route().to(addons::show)),
        Route::new(Method::POST, "/v1/apps/{app}/addons/{addon}/token", || route().to(addons::token)),
        Route::new(Method::GET, "/api/databases/{db}", || route().to(databases::show)),
        Route::new(Method::PATCH, "/api/databases/{db}", || route().to(databases::change)),
        Route::new(Method::PUT, "/api/databases/{db}", || route().to(databases::change)),
        Route::new(Method::GET, "/api/databases/{db}/backups", || route().to(backups::list)),
        Route::new(Method::POST, "/api/databases/{db}/backups", || route().to(backups::create)),
        Route::new(Method::GET, "/api/databases/{db}/backups/{id}", || route().to(backups::show)),
        Route::new(Method::GET, "/api/databases/{db}/backups/{id}/archive", || route().to(backups::archive)),
        Route::new(Method::GET, "/api/databases/{db}/backups/{id}/download", || route().to(downloads::download)),
        Route::new(Method::GET, "/api/backups/{id}", || route().to(backups::show_flat)),
    ]
}

/// Every other path below the prefixes. To be registered after the [`table`].
pub fn register_the_rest(config: &mut ServiceConfig) {
    for prefix in PREFIXES {
        for pattern in [prefix.to_owned(), format!("{prefix}/{{rest:.*}}")] {
            config.service(resource(pattern).route(route().to(nothing)));
        }
    }
}

/// `/dapi/...` is `/api/...`, and a trailing slash means nothing.
pub fn canonical_path(raw_path: &str) -> Option<String> {
    let trimmed = raw_path.trim_end_matches('/');
    let canonical = match trimmed.strip_prefix("/dapi").map(|rest| format!("/api{rest}")) {
        // Of what lies below `/api`, only what is this dialect's.
        Some(path) if PREFIXES.iter().any(|prefix| path == *prefix || path.starts_with(&format!("{prefix}/"))) => path,
        Some(_) | None => trimmed.to_owned(),
    };
    (canonical != raw_path && !canonical.is_empty()).then_some(canonical)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_documentations_slip_and_trailing_slashes_lead_to_the_same_route() {
        for (raw, canonical) in [
            ("/dapi/databases/x/backups", Some("/api/databases/x/backups")),
            ("/dapi/databases/x/", Some("/api/databases/x")),
            ("/api/databases/x/", Some("/api/databases/x")),
            ("/api/databases/x", None),
            ("/v1/apps//", Some("/v1/apps")),
            ("/dapi", None),
            ("/dapi/v1/plan", None),
            ("/dapi/nothing/", Some("/dapi/nothing")),
            ("/dapix/y", None),
        ] {
            assert_eq!(canonical_path(raw).as_deref(), canonical, "{raw}");
        }
    }
}

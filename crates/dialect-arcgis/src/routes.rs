//! One table: path and method to handler. Resources take GET and POST; operations show their form on GET.

use actix_web::{http::Method, web};
use trivault_http::Route;

use crate::handlers::{backups, jobs, recovery, root, sign_in, stores, token};

type Handler = fn() -> actix_web::Route;

/// Paths below a context.
const TABLE: &[(&str, Handler)] = &[
    ("/sharing/rest/generateToken", || web::route().to(token::generate)),
    ("/sharing/generateToken", || web::route().to(token::generate)),
    ("/admin/generateToken", || web::route().to(token::generate)),
    ("/admin/login", || web::route().to(sign_in::login)),
    ("/admin/logout", || web::route().to(sign_in::logout)),
    ("/admin", || web::route().to(root::admin)),
    ("/admin/system", || web::route().to(root::system)),
    ("/admin/system/disasterrecovery", || web::route().to(recovery::index)),
    ("/admin/system/disasterrecovery/status", || web::route().to(recovery::status)),
    ("/admin/system/disasterrecovery/stores", || web::route().to(stores::list)),
    ("/admin/system/disasterrecovery/stores/{storeName}", || web::route().to(stores::get)),
    ("/admin/system/disasterrecovery/stores/{storeName}/backups", || web::route().to(backups::list)),
    ("/admin/system/disasterrecovery/stores/{storeName}/backups/create", || web::route().to(backups::create)),
    ("/admin/system/disasterrecovery/stores/{storeName}/backups/{backupName}", || web::route().to(backups::get)),
    ("/admin/system/disasterrecovery/stores/{storeName}/backups/{backupName}/restore", || {
        web::route().to(backups::restore)
    }),
    ("/admin/system/disasterrecovery/stores/{storeName}/backups/{backupName}/delete", || {
        web::route().to(backups::delete)
    }),
    ("/admin/jobs", || web::route().to(jobs::list)),
    ("/admin/jobs/{jobid}", || web::route().to(jobs::get)),
];

/// The table of all contexts.
pub fn table(contexts: &[String]) -> Vec<Route> {
    let methods = [Method::GET, Method::POST];
    contexts
        .iter()
        .flat_map(|context| {
            let methods = &methods;
            TABLE.iter().flat_map(move |(path, handler)| {
                methods.iter().map(move |method| Route::new(method.clone(), format!("/{context}{path}"), *handler))
            })
        })
        .collect()
}

/// Trailing slashes are tolerated; `<context>/system/...` is `<context>/admin/system/...`, as one documented sample has it.
pub fn canonical_path(path: &str) -> Option<String> {
    let mut canonical = path.trim_end_matches('/').to_owned();
    let segments: Vec<&str> = canonical.splitn(4, '/').collect();
    if let ["", context, "system", ..] = segments.as_slice() {
        let rest = &canonical[context.len() + 1..];
        canonical = format!("/{context}/admin{rest}");
    }
    (canonical != path && !canonical.is_empty()).then_some(canonical)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trailing_slashes_and_the_missing_admin_are_tolerated() {
        assert_eq!(canonical_path("/arcgis/admin/"), Some("/arcgis/admin".to_owned()));
        assert_eq!(canonical_path("/arcgis/admin"), None);
        assert_eq!(
            canonical_path("/arcgis/system/disasterrecovery/"),
            Some("/arcgis/admin/system/disasterrecovery".to_owned())
        );
    }
}

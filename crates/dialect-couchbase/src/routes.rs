//! Every path and method, in one table. Paths are canonical (`paths.rs`).

use actix_web::{http::Method, web};
use trivault_http::Route;

use crate::handlers::{backups, cluster, history, info, merges, not_supported, plans, prunes, repositories, restores};

const CLUSTER: &str = "/api/v1/cluster/self";
const PLANS: &str = "/api/v1/plan";
const PLAN: &str = "/api/v1/plan/{name}";
const ACTIVE: &str = "/api/v1/cluster/self/repository/active/{id}";
const PAUSE: &str = "/api/v1/cluster/self/repository/active/{id}/pause";
const RESUME: &str = "/api/v1/cluster/self/repository/active/{id}/resume";
const BACKUP: &str = "/api/v1/cluster/self/repository/active/{id}/backup";
const MERGE: &str = "/api/v1/cluster/self/repository/active/{id}/merge";
const PRUNE: &str = "/api/v1/cluster/self/repository/active/{id}/prune";
const STATE: &str = "/api/v1/cluster/self/repository/{state}";
const REPOSITORY: &str = "/api/v1/cluster/self/repository/{state}/{id}";
const INFO: &str = "/api/v1/cluster/self/repository/{state}/{id}/info";
const HISTORY: &str = "/api/v1/cluster/self/repository/{state}/{id}/taskHistory";
const RESTORE: &str = "/api/v1/cluster/self/repository/{state}/{id}/restore";

/// What is built. The first pattern that fits takes a path, so those with fixed segments stand before `{state}`.
pub fn table() -> Vec<Route> {
    let mut table = vec![
        Route::new(Method::GET, CLUSTER, || web::route().to(cluster::get)),
        Route::new(Method::GET, PLANS, || web::route().to(plans::list)),
        Route::new(Method::GET, PLAN, || web::route().to(plans::get)),
        Route::new(Method::POST, PLAN, || web::route().to(plans::create)),
        Route::new(Method::PUT, PLAN, || web::route().to(plans::update)),
        Route::new(Method::DELETE, PLAN, || web::route().to(plans::delete)),
        Route::new(Method::POST, ACTIVE, || web::route().to(repositories::create)),
        Route::new(Method::GET, ACTIVE, || web::route().to(repositories::get)),
        Route::new(Method::DELETE, ACTIVE, || web::route().to(repositories::delete_active)),
        Route::new(Method::POST, PAUSE, || web::route().to(repositories::pause)),
        Route::new(Method::POST, RESUME, || web::route().to(repositories::resume)),
        Route::new(Method::POST, BACKUP, || web::route().to(backups::start)),
        Route::new(Method::POST, MERGE, || web::route().to(merges::start)),
        Route::new(Method::POST, PRUNE, || web::route().to(prunes::start)),
    ];
    table.extend(not_supported::table());
    table.extend([
        Route::new(Method::GET, STATE, || web::route().to(repositories::list)),
        Route::new(Method::GET, REPOSITORY, || web::route().to(repositories::get)),
        Route::new(Method::GET, INFO, || web::route().to(info::get)),
        Route::new(Method::GET, HISTORY, || web::route().to(history::list)),
        Route::new(Method::POST, RESTORE, || web::route().to(restores::start)),
    ]);
    table
}

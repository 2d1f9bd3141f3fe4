//! One file per resource. A handler parses, makes its engine call, and renders.

pub mod backups;
pub mod cluster;
pub mod history;
pub mod info;
mod lookup;
pub mod merges;
pub mod not_supported;
pub mod plans;
pub mod prunes;
pub mod repositories;
pub mod restores;
mod runs;
mod views;

use actix_web::HttpResponse;

/// Success of a call that returns no object: 200 with an empty body, and a content type, which the vendor's client wants.
fn done() -> HttpResponse {
    HttpResponse::Ok().content_type("application/json").finish()
}

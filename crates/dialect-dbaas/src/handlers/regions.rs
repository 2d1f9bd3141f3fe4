//! Regions: names for this very gateway.

use actix_web::{HttpRequest, HttpResponse, web::Data};
use trivault_http::BaseUrl;

use super::ok;
use crate::{mapping, options::Options, types::RegionList};

/// Where clients find the platform and database APIs. Asked before log-in too, so it needs no credential.
#[utoipa::path(get, path = "/v1/regions", tag = "authentication", security(()), responses((status = 200, body = RegionList)))]
pub async fn list(request: HttpRequest, options: Data<Options>) -> HttpResponse {
    let base = BaseUrl::of(&request);
    ok(&mapping::regions(options.regions(), base.as_str()))
}

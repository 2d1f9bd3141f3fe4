//! The download of a backup, by a link that needs no header.

use actix_web::{
    HttpRequest, HttpResponse,
    web::{Data, Path},
};
use chrono::{DateTime, Utc};
use trivault_engine::{Engine, Scope, VerifiedBearer};
use trivault_http::{downloads::respond_with_download, headers::keep_private};

use super::query;
use crate::{
    DOWNLOAD_AUDIENCE,
    auth::Call,
    errors::{ApiError, Result},
    names::{self, SourceNames},
    types::{Failure, Missing, Unprocessable},
};

/// Never sent with a `Content-Encoding`: some clients would unpack it and keep a bare tar.
const GZIP: &str = "application/gzip";

/// What a link's token says beside its part, so that a download needs no look-up: the addon in its path and the name that
/// the archive and its member bear.
pub struct Claims {
    addon: String,
    stem: String,
}

impl Claims {
    pub fn new(names: &SourceNames, created_at: DateTime<Utc>) -> Self {
        Self { addon: names.addon_id.clone(), stem: names.backup_name(created_at) }
    }

    pub fn into_list(self) -> Vec<(&'static str, String)> {
        vec![("addon", self.addon), ("stem", self.stem)]
    }

    fn of(bearer: &VerifiedBearer) -> Option<Self> {
        let claim = |name: &str| bearer.claims.iter().find(|(key, _)| key == name).map(|(_, value)| value.clone());
        Some(Self { addon: claim("addon")?, stem: claim("stem")? })
    }
}

/// The archive itself. Ranges, HEAD and entity tags work, so that an interrupted download goes on where it stopped.
#[utoipa::path(method(get, head), path = "/api/databases/{db}/backups/{id}/download", tag = "backups",
    security(("download_token" = [])),
    params(("db" = String, Path), ("id" = String, Path), ("token" = String, Query)),
    responses((status = 200, content_type = "application/gzip"), (status = 206, content_type = "application/gzip"),
    (status = 304), (status = 401, body = Failure), (status = 404, body = Missing), (status = 416),
    (status = 422, body = Unprocessable), (status = 503, body = Failure)))]
pub async fn download(
    request: HttpRequest,
    engine: Data<Engine>,
    path: Path<(String, String)>,
) -> Result<HttpResponse> {
    let token = query(&request, "token").ok_or_else(ApiError::no_token)?;
    let bearer = engine.verify_bearer(DOWNLOAD_AUDIENCE, &token).await?;
    let claims = Claims::of(&bearer).ok_or_else(ApiError::invalid_token)?;
    let Scope::Download(part) = bearer.principal.scope else { return Err(ApiError::invalid_token()) };
    let (addon, id) = path.into_inner();
    // A link's token opens that link only.
    if claims.addon != addon || names::part_of_backup_id(&engine, &id).await? != part {
        return Err(ApiError::invalid_token());
    }
    let call = Call::new(&request, Engine::clone(&engine), bearer.principal);
    let download = call.engine.open_download(&call.caller, part, &claims.stem).await?;
    let mut response = respond_with_download(&request, download, GZIP, format!("{}.tar.gz", claims.stem));
    keep_private(&mut response);
    Ok(response)
}

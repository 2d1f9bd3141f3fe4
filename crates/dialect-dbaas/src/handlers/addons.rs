//! Addons: each application has one, its database.

use actix_web::{
    HttpResponse,
    web::{Data, Path},
};
use trivault_engine::{NewBearer, Scope};
use trivault_http::RawBody;

use super::{ignore, ok, private};
use crate::{
    NAME,
    auth::MainCall,
    errors::Result,
    lookup, mapping,
    options::Options,
    types::{AddonAnswer, AddonList, AddonTokenAnswer, AddonWithToken, Failure, Missing},
};

/// The addons of an application.
#[utoipa::path(get, path = "/v1/apps/{app}/addons", tag = "platform", security(("bearer" = [])),
    params(("app" = String, Path)),
    responses((status = 200, body = AddonList), (status = 401, body = Failure), (status = 404, body = Missing)))]
pub async fn list(MainCall(call): MainCall, app: Path<String>, options: Data<Options>) -> Result<HttpResponse> {
    let found = lookup::app(&call, &app).await?;
    Ok(ok(&AddonList { addons: vec![mapping::addon(&found.source, &found.names, options.region())] }))
}

/// One addon.
#[utoipa::path(get, path = "/v1/apps/{app}/addons/{addon}", tag = "platform", security(("bearer" = [])),
    params(("app" = String, Path), ("addon" = String, Path)),
    responses((status = 200, body = AddonAnswer), (status = 401, body = Failure), (status = 404, body = Missing)))]
pub async fn show(
    MainCall(call): MainCall,
    path: Path<(String, String)>,
    options: Data<Options>,
) -> Result<HttpResponse> {
    let found = lookup::addon(&call, &path.0, &path.1).await?;
    Ok(ok(&AddonAnswer { addon: mapping::addon(&found.source, &found.names, options.region()) }))
}

/// Makes a token that is good for this addon's database, for one hour.
#[utoipa::path(post, path = "/v1/apps/{app}/addons/{addon}/token", tag = "platform", security(("bearer" = ["reader"])),
    params(("app" = String, Path), ("addon" = String, Path)),
    responses((status = 200, body = AddonTokenAnswer), (status = 400, body = Failure), (status = 401, body = Failure),
    (status = 404, body = Missing)))]
pub async fn token(
    MainCall(call): MainCall,
    path: Path<(String, String)>,
    options: Data<Options>,
    body: RawBody,
) -> Result<HttpResponse> {
    ignore(&body)?;
    let found = lookup::addon(&call, &path.0, &path.1).await?;
    let wanted = NewBearer {
        audience: NAME,
        scope: Scope::Source(found.source.id),
        lifetime: mapping::TOKEN_LIFETIME,
        claims: vec![
            ("typ", "addon".to_owned()),
            ("app", found.names.app_id.clone()),
            ("addon", found.names.addon_id.clone()),
        ],
    };
    let bearer = call.engine.issue_bearer(&call.caller, wanted).await?;
    let addon = mapping::addon(&found.source, &found.names, options.region());
    let token = mapping::exchanged(&bearer).token;
    Ok(private(ok(&AddonTokenAnswer { addon: AddonWithToken { addon, token } })))
}

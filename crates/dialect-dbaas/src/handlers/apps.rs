//! Applications: each source is one.

use actix_web::{
    HttpResponse,
    web::{Data, Path},
};

use super::{ok, users};
use crate::{
    auth::{Call, MainCall},
    errors::Result,
    lookup, mapping, names,
    options::Options,
    types::{AppAnswer, AppList, Failure, Missing},
};

/// All sources, attached and detached ones, as applications.
#[utoipa::path(get, path = "/v1/apps", tag = "platform", security(("bearer" = [])), responses(
    (status = 200, body = AppList), (status = 401, body = Failure)))]
pub async fn list(MainCall(call): MainCall, options: Data<Options>) -> Result<HttpResponse> {
    let owner = users::owner(&call).await?;
    let place = place(&call, &options);
    let sources = call.engine.sources(&call.caller).await?;
    let ids: Vec<_> = sources.iter().map(|source| source.id).collect();
    let names = names::names_of_sources(&call.engine, &ids).await?;
    let named = sources.iter().filter_map(|source| Some((source, names.get(&source.id)?)));
    Ok(ok(&AppList { apps: named.map(|(source, names)| mapping::app(source, names, &owner, &place)).collect() }))
}

/// One application, by its name or id.
#[utoipa::path(get, path = "/v1/apps/{app}", tag = "platform", security(("bearer" = [])), params(("app" = String, Path)),
    responses((status = 200, body = AppAnswer), (status = 401, body = Failure), (status = 404, body = Missing)))]
pub async fn show(MainCall(call): MainCall, app: Path<String>, options: Data<Options>) -> Result<HttpResponse> {
    let found = lookup::app(&call, &app).await?;
    let owner = users::owner(&call).await?;
    Ok(ok(&AppAnswer { app: mapping::app(&found.source, &found.names, &owner, &place(&call, &options)) }))
}

fn place(call: &Call, options: &Options) -> mapping::Place {
    mapping::Place { region: options.region().to_owned(), project_id: format!("pr-{}", call.engine.installation()) }
}

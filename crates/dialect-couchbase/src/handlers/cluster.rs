//! `/cluster/self`.

use std::collections::BTreeMap;

use actix_web::web::Json;

use super::{
    lookup::{self, State},
    views,
};
use crate::{
    auth::Call,
    errors::Result,
    types::{Cluster, ErrorBody, Repository},
};

/// The cluster: all repositories by state and id.
#[utoipa::path(get, path = "/api/v1/cluster/self", operation_id = "get_cluster", tag = "cluster", security(("basic" = [])), responses(
    (status = 200, description = "The cluster", body = Cluster),
    (status = 400, description = "Another cluster than `self`", body = ErrorBody),
    (status = 401, description = "No or wrong credentials; no body"),
))]
pub async fn get(call: Call) -> Result<Json<Cluster>> {
    let mut maps = Vec::new();
    for state in State::ALL {
        let repositories = lookup::repositories(&call, state).await?;
        maps.push(by_id(views::repositories(&call, &repositories).await?));
    }
    let mut maps = maps.into_iter();
    let (active, archived, imported) =
        (maps.next().unwrap_or_default(), maps.next().unwrap_or_default(), maps.next().unwrap_or_default());
    Ok(Json(Cluster { name: "self".to_owned(), imported, archived, active }))
}

fn by_id(repositories: Vec<Repository>) -> BTreeMap<String, Repository> {
    repositories.into_iter().map(|repository| (repository.id.clone(), repository)).collect()
}

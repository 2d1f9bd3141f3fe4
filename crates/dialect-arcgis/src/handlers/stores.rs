//! Backup stores (sections 6.4 and 6.5).

use actix_web::{HttpRequest, HttpResponse};
use trivault_engine::{ErrorCode, Store};
use trivault_http::RawBody;

use super::open;
use crate::{
    errors::{Refused, Result},
    exchange::{Exchange, Reply, json_of},
    html::Page,
    mapping,
    types::{StoreAnswer, Stores, StoresAnswer},
};

/// All backup stores.
#[utoipa::path(get, path = "/{context}/admin/system/disasterrecovery/stores", tag = "stores", params(("context" = String, Path), ("f" = Option<String>, Query)),
    responses((status = 200, body = StoresAnswer, content_type = "application/json")))]
pub async fn list(request: HttpRequest, body: RawBody) -> HttpResponse {
    let exchange = open!(request, body);
    let outcome = exchange.engine.stores(&exchange.caller()).await.map_err(Refused::from).map(|stores| {
        let path = exchange.admin_path("/system/disasterrecovery/stores");
        let page = Page {
            title: "Backup Stores".to_owned(),
            resources: stores.iter().map(|store| (store.name.clone(), format!("{path}/{}", store.name))).collect(),
            ..Page::default()
        };
        let stores = Stores { backup_stores: stores.iter().map(mapping::store).collect() };
        Reply::Resource { json: json_of(&stores), page }
    });
    exchange.answer(outcome, None)
}

/// One backup store.
#[utoipa::path(get, path = "/{context}/admin/system/disasterrecovery/stores/{storeName}", tag = "stores",
    params(("context" = String, Path), ("storeName" = String, Path), ("f" = Option<String>, Query)),
    responses((status = 200, body = StoreAnswer, content_type = "application/json")))]
pub async fn get(request: HttpRequest, body: RawBody) -> HttpResponse {
    let exchange = open!(request, body);
    let outcome = named(&exchange).await.map(|store| {
        let path = exchange.admin_path(&format!("/system/disasterrecovery/stores/{}", store.name));
        let json = json_of(&mapping::store(&store));
        let labels = [
            ("name", "Name"),
            ("default", "Default"),
            ("type", "Type"),
            ("rootDir", "Root directory"),
            ("storageConfig", "Storage config"),
        ];
        let properties =
            labels.iter().filter_map(|(key, label)| Some(((*label).to_owned(), json.get(key)?.clone()))).collect();
        let page = Page {
            title: format!("Backup Store - {}", store.name),
            properties,
            resources: vec![("backups".to_owned(), format!("{path}/backups"))],
            ..Page::default()
        };
        Reply::Resource { json, page }
    });
    exchange.answer(outcome, None)
}

/// The store that the path names.
///
/// # Errors
/// 404 with its name.
pub async fn named(exchange: &Exchange) -> Result<Store> {
    let name = exchange.path("storeName");
    exchange.engine.store_named(&exchange.caller(), &name).await.map_err(|failed| match failed.code {
        ErrorCode::NotFound(_) => Refused::new(404, format!("Backup store '{}' was not found.", shortened(&name))),
        _ => Refused::from(failed),
    })
}

/// A name from a path as it may stand in an answer.
pub fn shortened(name: &str) -> String {
    name.chars().filter(|character| !character.is_control()).take(80).collect()
}

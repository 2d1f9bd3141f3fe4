//! Stores of the configuration: a folder or a prefix on S3, its credentials, its limits of time.

use std::{collections::BTreeMap, path::Path};

use trivault_engine::{NewStore, S3Patience, StoreCredentials, StoreLocation};

use super::{file, s3_patience, secret, source_argument};

/// The stores, and the patience with those on S3 by name.
///
/// # Errors
/// A sentence that names the store, the key and the rule.
pub(super) fn all_stores(
    configured: Vec<file::Store>,
    here: &Path,
) -> Result<(Vec<NewStore>, BTreeMap<String, S3Patience>), String> {
    let (mut stores, mut patiences) = (Vec::new(), BTreeMap::new());
    for store in configured {
        let (store, patience) = new_store(store, here)?;
        if let Some(patience) = patience {
            patiences.insert(store.name.clone(), patience);
        }
        stores.push(store);
    }
    Ok((stores, patiences))
}

/// `s3://bucket/prefix` or a path.
///
/// # Errors
/// A sentence when it is neither.
pub fn store_location(
    text: &str,
    region: Option<String>,
    endpoint: Option<String>,
    path_style: Option<bool>,
    allow_http: bool,
    here: &Path,
) -> Result<StoreLocation, String> {
    let Some(rest) = text.strip_prefix("s3://") else {
        if let Some((scheme, _)) = text.split_once("://") {
            return Err(format!("`{scheme}://` is not a place for a store. Use a directory or s3://BUCKET/PREFIX."));
        }
        let path = source_argument::absolute(here, Path::new(text));
        return Ok(StoreLocation::Local { path: path.to_string_lossy().into_owned() });
    };
    let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
    if bucket.len() < 3 {
        return Err(format!("`{text}` names no bucket (at least three characters). Write s3://BUCKET/PREFIX."));
    }
    Ok(StoreLocation::S3 {
        bucket: bucket.to_owned(),
        prefix: prefix.trim_matches('/').to_owned(),
        region,
        path_style: path_style.unwrap_or(endpoint.is_some()),
        endpoint,
        allow_http,
    })
}

fn new_store(store: file::Store, here: &Path) -> Result<(NewStore, Option<S3Patience>), String> {
    let file::Store {
        name,
        location,
        default,
        region,
        endpoint,
        path_style,
        allow_http,
        access_key_env,
        access_key_file,
        secret_key_env,
        secret_key_file,
        connect_seconds,
        silence_seconds,
        request_seconds,
        retry_seconds,
        tries,
    } = store;
    source_argument::check_name(&name)?;
    let access_key = secret::referenced("access_key", access_key_file.as_deref(), access_key_env.as_deref())?;
    let secret_key = secret::referenced("secret_key", secret_key_file.as_deref(), secret_key_env.as_deref())?;
    let credentials = match (access_key, secret_key) {
        (None, None) => None,
        (Some(access_key), Some(secret_key)) => {
            Some(StoreCredentials { access_key: access_key.expose().to_owned(), secret_key, session_token: None })
        }
        (Some(_), None) | (None, Some(_)) => {
            return Err(format!("The store {name} needs both an access key and a secret key."));
        }
    };
    let location = store_location(&location, region, endpoint, path_style, allow_http, here)?;
    let limits = s3_patience::Limits { connect_seconds, silence_seconds, request_seconds, retry_seconds, tries };
    let patience = match &location {
        StoreLocation::S3 { .. } => Some(s3_patience::patience(&name, &limits)?),
        StoreLocation::Local { .. } => {
            limits.refuse_for_a_folder(&name)?;
            None
        }
    };
    Ok((NewStore { name, location, credentials, is_default: default, managed: true }, patience))
}

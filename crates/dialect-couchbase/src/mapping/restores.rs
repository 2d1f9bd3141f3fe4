//! Restores: what a request means for the backups and sources that are there.

use std::collections::{BTreeMap, HashSet};

use trivault_engine::{
    Backup, Conflict, Part, PartId, RestoreInto, RestoreItem, Selection, Source, SourceId, StartRestore,
};

use super::{backups::decode, repositories::attached, tasks::RestoreRecord};
use crate::{errors::ApiError, types::RestoreRequest};

/// The target and who may write to it.
pub struct Credentials {
    /// As it was sent.
    pub target: String,
    /// Its host, without scheme and port.
    pub host: String,
    pub user: String,
    pub password: trivault_http::Secret,
}

/// What a restore is made from: the restorable backups of the repository with their names, oldest first, and all sources.
pub struct Catalogue<'a> {
    pub backups: &'a [(String, Backup)],
    /// Parts of them that are known to be damaged.
    pub damaged: &'a HashSet<PartId>,
    pub sources: &'a [Source],
}

fn invalid(reason: impl Into<String>) -> ApiError {
    ApiError::invalid_body(reason)
}

/// Takes target and credentials out of a request.
///
/// # Errors
/// 400 where one is missing or the target is no URL of a cluster.
pub fn credentials(request: &RestoreRequest) -> Result<Credentials, ApiError> {
    let given = |field: &Option<String>, name: &str| {
        field.clone().filter(|text| !text.is_empty()).ok_or_else(|| invalid(format!("{name} is required")))
    };
    let target = given(&request.target, "target")?;
    let user = given(&request.user, "user")?;
    let password = request.password.clone().ok_or_else(|| invalid("password is required"))?;
    let host =
        host_of(&target).ok_or_else(|| invalid("target must be the address of a cluster, as http://host:8091"))?;
    Ok(Credentials { target, host, user, password })
}

fn host_of(target: &str) -> Option<String> {
    let url = if target.contains("://") { target.to_owned() } else { format!("http://{target}") };
    let url = url::Url::parse(&url).ok()?;
    let known = matches!(url.scheme(), "http" | "https" | "couchbase" | "couchbases");
    (known && url.path().trim_matches('/').is_empty()).then(|| url.host_str().map(str::to_owned)).flatten()
}

/// The restore that a request asks for. Each source gets its newest state in the range: a backup here is whole by itself,
/// so this is what restoring the range one by one comes to.
///
/// # Errors
/// 400 for whatever a person can act on.
pub fn restore_from_wire(
    target: &str,
    request: &RestoreRequest,
    catalogue: &Catalogue<'_>,
) -> Result<StartRestore, ApiError> {
    check_rules(request)?;
    let range = range(request.start.as_deref(), request.end.as_deref(), catalogue.backups)?;
    let names: Vec<String> = range.iter().map(|(name, _)| name.clone()).collect();
    if let Some((name, _)) = range.iter().find(|(_, backup)| backup.protected) {
        let reason = format!("backup {name} is protected by a passcode, for which this request has no place");
        return Err(ApiError::bad_request("backup is protected by a passcode").extras(reason));
    }
    // An end that was named is meant; without one, the newest that is good is.
    let is_named = request.end.as_ref().is_some_and(|end| !end.is_empty());
    let mut parts = newest_parts(range, |part| !is_named && catalogue.damaged.contains(&part.id));
    let selection = select(request, &mut parts)?;
    if parts.is_empty() {
        return Err(invalid("the request leaves nothing to restore"));
    }
    let map = mapping(request.map_data.as_deref().unwrap_or_default(), &parts)?;
    let create = request.auto_create_buckets.unwrap_or(false);
    let items = parts
        .iter()
        .map(|part| Ok(RestoreItem { part: part.id, into: into(part, &map, create, catalogue.sources)? }))
        .collect::<Result<Vec<_>, ApiError>>()?;
    check_distinct(&items)?;
    Ok(StartRestore {
        conflict: conflict(request, &items),
        items,
        selection,
        // The original makes none, and nothing is ever deleted.
        safety_backup: false,
        passcode: None,
        job_attributes: vec![RestoreRecord { target_cluster: target.to_owned(), backups: names }.attribute()],
    })
}

fn check_rules(request: &RestoreRequest) -> Result<(), ApiError> {
    let given = |field: &Option<String>| field.as_ref().is_some_and(|text| !text.is_empty());
    if given(&request.include_data) && given(&request.exclude_data) {
        return Err(invalid("include_data and exclude_data cannot be used together"));
    }
    match request.replace_ttl.as_deref() {
        None | Some("" | "none" | "expired") => {}
        Some("all") if given(&request.replace_ttl_with) => {}
        Some("all") => return Err(invalid("replace_ttl all needs replace_ttl_with")),
        Some(_) => return Err(invalid("replace_ttl must be none, all or expired")),
    }
    for (field, name) in [(&request.filter_keys, "filter_keys"), (&request.filter_values, "filter_values")] {
        if let Some(Err(_)) = field.as_deref().map(regex::Regex::new) {
            return Err(invalid(format!("{name} is not a regular expression")));
        }
    }
    if request.disable_data == Some(true) {
        return Err(invalid("disable_data leaves nothing to restore: buckets here hold data only"));
    }
    Ok(())
}

/// The backups from `start` to `end`, both inclusive.
fn range<'a>(
    start: Option<&str>,
    end: Option<&str>,
    backups: &'a [(String, Backup)],
) -> Result<&'a [(String, Backup)], ApiError> {
    let find = |name: &str| {
        let at = backups.iter().position(|(known, _)| known == name);
        at.ok_or_else(|| invalid(format!("backup '{name}' is not one of the backups in this repository")))
    };
    let newest = backups.len().checked_sub(1).ok_or_else(|| invalid("the repository has no complete backup"))?;
    let first = start.filter(|name| !name.is_empty()).map(find).transpose()?.unwrap_or(0);
    let last = end.filter(|name| !name.is_empty()).map(find).transpose()?.unwrap_or(newest);
    if first > last {
        return Err(invalid("start must not be later than end"));
    }
    Ok(&backups[first..=last])
}

/// The newest part of each source, in the order of the sources' names. One to be avoided is taken where there is no other.
fn newest_parts(range: &[(String, Backup)], is_avoided: impl Fn(&Part) -> bool) -> Vec<&Part> {
    let mut parts: BTreeMap<&str, &Part> = BTreeMap::new();
    for part in range.iter().flat_map(|(_, backup)| &backup.parts) {
        let standing = parts.get(part.source_name.as_str());
        if !is_avoided(part) || standing.is_none_or(|standing| is_avoided(standing)) {
            parts.insert(&part.source_name, part);
        }
    }
    parts.into_values().collect()
}

/// Keeps the parts that are wanted, and says what of them.
fn select(request: &RestoreRequest, parts: &mut Vec<&Part>) -> Result<Selection, ApiError> {
    let known: Vec<String> = parts.iter().map(|part| part.source_name.clone()).collect();
    let include = data_paths(request.include_data.as_deref(), &known)?;
    let exclude = data_paths(request.exclude_data.as_deref(), &known)?;
    let is_within = |path: &DataPath| path.within.is_some();
    if !include.is_empty() {
        parts.retain(|part| include.iter().any(|path| path.bucket == part.source_name));
    }
    parts.retain(|part| !exclude.iter().any(|path| path.bucket == part.source_name && !is_within(path)));
    let within: Vec<&DataPath> = include.iter().chain(&exclude).filter(|path| is_within(path)).collect();
    if !within.is_empty() && parts.len() > 1 {
        return Err(invalid("scopes and collections can be chosen for one bucket at a time; name only that bucket"));
    }
    // A bucket that is included whole is included whole, whatever else is said of it.
    let whole = include.iter().any(|path| !is_within(path));
    let of = |paths: &[DataPath]| paths.iter().filter_map(|path| path.within.clone()).collect();
    let expression = |field: &Option<String>| field.clone().filter(|text| !text.is_empty());
    Ok(Selection {
        include: if whole { Vec::new() } else { of(&include) },
        exclude: of(&exclude),
        keys: expression(&request.filter_keys),
        values: expression(&request.filter_values),
        key_range: None,
    })
}

fn split(text: &str) -> Vec<&str> {
    text.split(',').map(str::trim).filter(|item| !item.is_empty()).collect()
}

fn data_paths(text: Option<&str>, buckets: &[String]) -> Result<Vec<DataPath>, ApiError> {
    split(text.unwrap_or_default()).into_iter().map(|path| data_path(path, buckets)).collect()
}

struct DataPath {
    bucket: String,
    /// `scope` or `scope.collection`, as the inventory names them.
    within: Option<String>,
}

/// `bucket[.scope[.collection]]`. Names of buckets may hold dots, those of scopes and collections do not.
fn data_path(path: &str, buckets: &[String]) -> Result<DataPath, ApiError> {
    let owner = buckets
        .iter()
        .filter(|bucket| {
            path.strip_prefix(bucket.as_str()).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
        })
        .max_by_key(|bucket| bucket.len())
        .ok_or_else(|| invalid(format!("'{path}' names no bucket of the chosen backups")))?;
    let within = path[owner.len()..].strip_prefix('.');
    let within = within
        .map(|rest| {
            let names: Option<Vec<String>> = rest.split('.').map(decode).collect();
            names
                .filter(|names| names.len() <= 2 && names.iter().all(|name| !name.is_empty()))
                .map(|names| names.join("."))
                .ok_or_else(|| invalid(format!("'{path}' must be bucket[.scope[.collection]]")))
        })
        .transpose()?;
    Ok(DataPath { bucket: owner.clone(), within })
}

/// Reads `old=new` pairs of buckets.
fn mapping(text: &str, parts: &[&Part]) -> Result<Vec<(String, String)>, ApiError> {
    let known: Vec<String> = parts.iter().map(|part| part.source_name.clone()).collect();
    split(text)
        .into_iter()
        .map(|pair| {
            let (from, to) = pair
                .split_once('=')
                .filter(|(from, to)| !from.is_empty() && !to.is_empty())
                .ok_or_else(|| invalid(format!("map_data: '{pair}' must be old=new")))?;
            if data_path(from, &known)?.within.is_some() {
                return Err(invalid("map_data between scopes or collections is not supported; map whole buckets"));
            }
            Ok((from.to_owned(), to.to_owned()))
        })
        .collect()
}

fn into(part: &Part, map: &[(String, String)], create: bool, sources: &[Source]) -> Result<RestoreInto, ApiError> {
    let mapped = map.iter().find(|(from, _)| *from == part.source_name).map(|(_, to)| to.as_str());
    let target = mapped.unwrap_or(&part.source_name);
    match attached(target, sources) {
        Some(source) if source.id == part.source => Ok(RestoreInto::InPlace),
        Some(source) => Ok(RestoreInto::Source(source.id)),
        None if create => Ok(RestoreInto::NewSource(target.to_owned())),
        None => Err(invalid(format!("bucket '{target}' does not exist; set auto_create_buckets to create it"))),
    }
}

/// Two buckets must not be written into one.
fn check_distinct(items: &[RestoreItem]) -> Result<(), ApiError> {
    let mut existing: HashSet<SourceId> = HashSet::new();
    let mut created: HashSet<&str> = HashSet::new();
    for item in items {
        let is_new = match &item.into {
            RestoreInto::InPlace | RestoreInto::NewPath(_) | RestoreInto::NewDatabase(_) => true,
            RestoreInto::Source(id) => existing.insert(*id),
            RestoreInto::NewSource(name) => created.insert(name.as_str()),
        };
        if !is_new {
            return Err(invalid("map_data maps two buckets to the same one"));
        }
    }
    Ok(())
}

/// Nothing is ever deleted; where nothing is there yet, there is nothing to keep either.
fn conflict(request: &RestoreRequest, items: &[RestoreItem]) -> Conflict {
    let all_new = items.iter().all(|item| matches!(item.into, RestoreInto::NewSource(_)));
    if all_new {
        Conflict::Replace
    } else if request.force_updates == Some(true) {
        Conflict::UpdateDiffering
    } else {
        Conflict::AddMissing
    }
}

#[cfg(test)]
#[path = "restores_tests.rs"]
mod tests;

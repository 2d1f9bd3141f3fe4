//! Repositories.

use std::collections::BTreeMap;

use chrono_tz::Tz;
use trivault_engine::{
    Attribute, NewRepository, OverdueCare, Plan, Repository, RepositoryState, ScheduledTask, Source, SourceSelection,
    SourceStatus, Store, TaskStanding, Verified,
};

use super::{archive, archive::Place, plans::task_type, time::time};
use crate::{
    NAME,
    errors::ApiError,
    types::{self, CloudInfo, RepositoryRequest, TaskRun, TaskType, is_identifier},
};

const ARCHIVE: &str = "archive";

/// Whether a repository's archive is an object store.
pub fn is_cloud(attributes: &[Attribute]) -> bool {
    let archive = attributes.iter().find(|it| it.namespace == NAME && it.key == ARCHIVE);
    archive.and_then(|it| it.value.as_str()).is_some_and(|archive| archive.contains("://"))
}
const CLOUD: &str = "cloud_info";

/// The rule of ids, in the manual's words.
pub const ID_RULE: &str = "repository id must follow the rules ^[0-9A-Za-z][0-9A-Za-z_-]{0,49}$";

/// # Errors
/// 400 with the rule.
pub fn check_id(id: &str) -> Result<(), ApiError> {
    if is_identifier(id) { Ok(()) } else { Err(ApiError::bad_request(ID_RULE)) }
}

fn invalid(reason: impl Into<String>) -> ApiError {
    ApiError::bad_request("The request body is invalid").extras(reason)
}

/// What a new repository's rules look at.
pub struct Surroundings<'a> {
    pub stores: &'a [Store],
    pub sources: &'a [Source],
    /// The plan that the request names, if there is one of that name.
    pub plan: Option<&'a Plan>,
}

/// Checks a new repository as sent. `id` is the path's, already checked.
///
/// # Errors
/// 400 `The request body is invalid`, 404 `The plan could not be found`.
pub fn repository_from_wire(
    id: &str,
    request: RepositoryRequest,
    around: &Surroundings<'_>,
) -> Result<NewRepository, ApiError> {
    let RepositoryRequest {
        plan: plan_name,
        archive,
        bucket_name,
        cloud_credential_name,
        cloud_staging_dir,
        cloud_credentials_id,
        cloud_credentials_key,
        cloud_credentials_refresh_token: _,
        cloud_region,
        cloud_endpoint,
        cloud_force_path_style,
    } = request;
    let Surroundings { stores, sources, plan } = around;
    if plan_name.is_none_or(|name| name.is_empty()) {
        return Err(invalid("a plan is required"));
    }
    let plan = plan.ok_or_else(|| ApiError::not_found("The plan could not be found"))?;
    let archive = archive.filter(|archive| !archive.is_empty()).ok_or_else(|| invalid("an archive is required"))?;
    let is_cloud = archive.contains("://");
    let mut attributes = vec![Attribute::new(NAME, ARCHIVE, archive.as_str().into())];
    if is_cloud {
        let has = |field: &Option<String>| field.as_ref().is_some_and(|text| !text.is_empty());
        check_cloud(
            has(&cloud_credential_name),
            has(&cloud_credentials_id),
            has(&cloud_credentials_key),
            has(&cloud_region),
            has(&cloud_staging_dir),
        )?;
        let info = CloudInfo {
            credentials_name: cloud_credential_name,
            staging_dir: cloud_staging_dir,
            region: cloud_region,
            endpoint: cloud_endpoint,
            force_path_style: cloud_force_path_style.unwrap_or(false),
            provider: "AWS".to_owned(),
        };
        attributes.push(Attribute::new(NAME, CLOUD, serde_json::json!(info)));
    }
    let place = archive::place(&archive, &archive::Surroundings { stores, sources }).map_err(invalid)?;
    Ok(NewRepository {
        owner: NAME,
        name: id.to_owned(),
        store: match place {
            Place::Label => None,
            Place::Store(store) => Some(store),
        },
        sources: select(bucket_name.as_deref().unwrap_or_default(), sources)?,
        plan: Some(plan.id),
        retention: None,
        aliases: Vec::new(),
        attributes,
    })
}

fn check_cloud(name: bool, id: bool, key: bool, region: bool, staging: bool) -> Result<(), ApiError> {
    if name && (id || key) {
        return Err(invalid("give cloud_credential_name or cloud_credentials_id and cloud_credentials_key, not both"));
    }
    if name {
        return Err(invalid("no credentials are registered under names; the configured store has its own"));
    }
    if !(id && key) {
        return Err(invalid("cloud_credentials_id and cloud_credentials_key are required for a cloud archive"));
    }
    if !region {
        return Err(invalid("cloud_region is required for a cloud archive"));
    }
    if !staging {
        return Err(invalid("cloud_staging_dir is required for a cloud archive"));
    }
    Ok(())
}

fn select(bucket: &str, sources: &[Source]) -> Result<SourceSelection, ApiError> {
    if bucket.is_empty() {
        return Ok(SourceSelection::All);
    }
    match attached(bucket, sources) {
        Some(source) => Ok(SourceSelection::One(source.id)),
        None => Err(invalid(format!("bucket '{bucket}' does not exist"))),
    }
}

/// The attached source of a name.
pub fn attached<'a>(name: &str, sources: &'a [Source]) -> Option<&'a Source> {
    sources.iter().find(|source| source.name == name && source.status == SourceStatus::Attached)
}

/// Why a repository's bucket cannot be backed up, in the manual's words; `None` when it can.
pub fn bucket_issue(selection: SourceSelection, sources: &[Source]) -> Option<(String, String)> {
    let SourceSelection::One(id) = selection else { return None };
    let source = sources.iter().find(|source| source.id == id)?;
    if source.status == SourceStatus::Attached {
        return None;
    }
    let issue = match attached(&source.name, sources) {
        Some(other) => {
            format!("bucket UUIDs don't match `{}` != `{}`", source.id.0.simple(), other.id.0.simple())
        }
        None => "element not found".to_owned(),
    };
    Some((source.name.clone(), issue))
}

/// Everything that a repository's answer is made from.
pub struct RepositoryParts<'a> {
    pub repository: &'a Repository,
    /// Its id on this wire.
    pub id: String,
    /// Its series' alias.
    pub repo: String,
    pub plan: Option<&'a Plan>,
    pub store: Option<&'a Store>,
    pub attributes: &'a [Attribute],
    pub scheduled: Vec<ScheduledTask>,
    /// Tasks that run or wait; the flag tells scheduled ones.
    pub running: Vec<(bool, TaskRun)>,
    pub sources: &'a [Source],
    /// Its tasks that should have succeeded by now.
    pub overdue: &'a [TaskStanding],
    /// Checks and prunes that should have come to their end by now, of any repository and vault.
    pub care: &'a [OverdueCare],
    /// Its backups that are known to be damaged.
    pub damaged: usize,
    pub zone: Tz,
}

/// A repository as answered. Those that other dialects made are imported ones here.
pub fn repository_to_wire(parts: RepositoryParts<'_>) -> types::Repository {
    let RepositoryParts {
        repository,
        id,
        repo,
        plan,
        store,
        attributes,
        scheduled,
        running,
        sources,
        overdue,
        care,
        damaged,
        zone,
    } = parts;
    let Repository { id: _, owner, name: _, state, store: _, sources: selection, plan: _, created_at, updated_at } =
        repository;
    let state = if owner == NAME { state_to_wire(*state) } else { types::RepositoryState::Imported };
    let is_active = matches!(state, types::RepositoryState::Active | types::RepositoryState::Paused);
    let attribute = |key: &str| {
        attributes.iter().find(|it| it.namespace == NAME && it.key == key).map(|attribute| attribute.value.clone())
    };
    let archive = attribute(ARCHIVE)
        .and_then(|value| value.as_str().map(str::to_owned))
        .or_else(|| store.map(|store| archive::location_text(&store.location)))
        .unwrap_or_default();
    let mut running_one_off = BTreeMap::new();
    let mut running_tasks = BTreeMap::new();
    for (is_scheduled, run) in running {
        let map = if is_scheduled { &mut running_tasks } else { &mut running_one_off };
        map.insert(run.task_name.clone(), run);
    }
    types::Repository {
        id,
        plan_name: if is_active { plan.map(|plan| plan.name.clone()).unwrap_or_default() } else { String::new() },
        bucket: bucket(*selection, sources),
        state,
        archive,
        repo,
        scheduled: scheduled.into_iter().filter_map(|task| scheduled_to_wire(task, zone)).collect(),
        running_one_off,
        running_tasks,
        version: 1,
        health: is_active.then(|| health(repository, sources, damaged, (overdue, care), zone)),
        cloud_info: attribute(CLOUD).and_then(|value| serde_json::from_value(value).ok()),
        creation_time: time(*created_at, zone),
        update_time: time(*updated_at, zone),
    }
}

fn state_to_wire(state: RepositoryState) -> types::RepositoryState {
    match state {
        RepositoryState::Active { paused: false } => types::RepositoryState::Active,
        RepositoryState::Active { paused: true } => types::RepositoryState::Paused,
        RepositoryState::Archived => types::RepositoryState::Archived,
        RepositoryState::Imported => types::RepositoryState::Imported,
    }
}

fn bucket(selection: SourceSelection, sources: &[Source]) -> Option<types::BucketRef> {
    let SourceSelection::One(id) = selection else { return None };
    let source = sources.iter().find(|source| source.id == id)?;
    Some(types::BucketRef { name: source.name.clone(), uuid: source.id.0.simple().to_string() })
}

/// The manual has no text for what is damaged or overdue; this is the place where a person would look for one.
fn health(
    repository: &Repository,
    sources: &[Source],
    damaged: usize,
    (overdue, care): (&[TaskStanding], &[OverdueCare]),
    zone: Tz,
) -> types::Health {
    let bucket =
        bucket_issue(repository.sources, sources).map(|(_, issue)| format!("cannot verify bucket exists: {issue}"));
    let health_issue = bucket.or_else(|| {
        let tasks = overdue.iter().filter_map(|standing| {
            let since = time(standing.overdue_since?, zone);
            Some(format!("task '{}' is overdue since {since}", standing.task.name))
        });
        let damage = match damaged {
            0 => None,
            1 => Some("1 backup is damaged".to_owned()),
            count => Some(format!("{count} backups are damaged")),
        };
        let mut issues: Vec<String> = damage.into_iter().chain(tasks).collect();
        for OverdueCare { care, of, store, name: _, last: _, overdue_since } in care {
            let since = time(*overdue_since, zone);
            match of {
                Verified::Repository(id) if *id == repository.id => {
                    issues.push(format!("{care} is overdue since {since}"))
                }
                Verified::Vault(_) if *store == repository.store => {
                    issues.push(format!("{care} of the archive is overdue since {since}"));
                }
                Verified::Repository(_) | Verified::Vault(_) => {}
            }
        }
        (!issues.is_empty()).then(|| issues.join(", "))
    });
    types::Health { healthy: health_issue.is_none(), health_issue }
}

fn scheduled_to_wire(task: ScheduledTask, zone: Tz) -> Option<(String, types::ScheduledTask)> {
    let ScheduledTask { name, kind, next_run } = task;
    let task_type: TaskType = task_type(kind)?;
    Some((name.clone(), types::ScheduledTask { name, task_type, next_run: time(next_run, zone) }))
}

#[cfg(test)]
#[path = "repositories_tests.rs"]
mod tests;

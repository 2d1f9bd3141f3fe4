//! Backups of a store: list, one, create, restore, delete (sections 6.10 to 6.15).

use std::time::Duration;

use actix_web::{HttpRequest, HttpResponse};
use serde_json::Value;
use trivault_engine::{
    Alias, Backup, BackupFilter, BackupId, BackupState, Engine, ErrorCode, JobFilter, JobKind, JobState, NewRepository,
    ObjectKind, ObjectRef, RestoreInto, RestoreItem, Role, SecretText, SourceSelection, StartBackup, StartRestore,
    Store, Trigger,
};
use trivault_http::RawBody;

use super::{
    jobs::{instant, jobid_of, operation},
    open, stores,
};
use crate::{
    errors::{Refused, Result},
    exchange::{Exchange, Reply, json_of},
    html::{Form, Input, Page, Parameter},
    mapping, names,
    types::{
        BackupAnswer, Backups, BackupsAnswer, DeletedAnswer, ErrorEnvelope, RestoreAnswer, RestoreStarted,
        SubmittedAnswer, Success,
    },
};

/// A create that repeats one made so recently, with the same name and passcode, is the same create: clients send a
/// request again when a connection drops.
const SAME_REQUEST_SECONDS: i64 = 60;
/// A delete that is not `async` waits so long for its job.
const DELETE_PATIENCE: Duration = Duration::from_secs(50);

const PASSCODE_HINT: &str = "At least eight characters; twelve random ones are better. The server does not keep it: without it the backup is lost.";

/// The backups of a store, newest first, whichever interface they were made through.
#[utoipa::path(get, path = "/{context}/admin/system/disasterrecovery/stores/{storeName}/backups", tag = "backups",
    params(("context" = String, Path), ("storeName" = String, Path), ("f" = Option<String>, Query)),
    responses((status = 200, body = BackupsAnswer, content_type = "application/json")))]
pub async fn list(request: HttpRequest, body: RawBody) -> HttpResponse {
    let exchange = open!(request, body);
    let outcome = listed(&exchange).await;
    exchange.answer(outcome, None)
}

async fn listed(exchange: &Exchange) -> Result<Reply> {
    let store = stores::named(exchange).await?;
    let filter = BackupFilter { store: Some(store.id), ..BackupFilter::default() };
    let backups = exchange.engine.backups(&exchange.caller(), filter).await?;
    let objects: Vec<ObjectRef> = backups.iter().map(|backup| object(backup.id)).collect();
    let own = exchange.engine.aliases(names::BACKUP, &objects).await?;
    let titles = exchange.engine.aliases(names::TITLE, &objects).await?;
    let ids: Vec<BackupId> = backups.iter().map(|backup| backup.id).collect();
    let damage = exchange.engine.damage_of(&ids).await?;
    let entries: Vec<_> = backups
        .iter()
        .filter_map(|backup| {
            let object = object(backup.id);
            let name = titles
                .get(&object)
                .map(String::as_str)
                .or_else(|| own.get(&object).map(|name| names::backup_name(name)))?;
            Some(mapping::backup(backup, &damage, name, &store.name))
        })
        .collect();
    let path = backups_path(exchange, &store);
    let page = Page {
        title: format!("Backups - {}", store.name),
        resources: entries
            .iter()
            .map(|entry| (entry.backup_name.clone(), format!("{path}/{}", entry.backup_name)))
            .collect(),
        operations: vec![("create".to_owned(), format!("{path}/create"))],
        ..Page::default()
    };
    Ok(Reply::Resource { json: json_of(&Backups { backups: entries }), page })
}

/// One backup.
#[utoipa::path(get, path = "/{context}/admin/system/disasterrecovery/stores/{storeName}/backups/{backupName}", tag = "backups",
    params(("context" = String, Path), ("storeName" = String, Path), ("backupName" = String, Path), ("f" = Option<String>, Query)),
    responses((status = 200, body = BackupAnswer, content_type = "application/json")))]
pub async fn get(request: HttpRequest, body: RawBody) -> HttpResponse {
    let exchange = open!(request, body);
    let outcome = one(&exchange).await;
    exchange.answer(outcome, None)
}

async fn one(exchange: &Exchange) -> Result<Reply> {
    let (store, backup, name) = named(exchange).await?;
    let damage = exchange.engine.damage_of(&[backup.id]).await?;
    let entry = mapping::backup(&backup, &damage, &name, &store.name);
    let path = format!("{}/{name}", backups_path(exchange, &store));
    let page = Page {
        title: format!("Backup - {name}"),
        properties: vec![
            ("Name".to_owned(), Value::from(name.as_str())),
            ("Status".to_owned(), Value::from(entry.status.as_str())),
            ("Damage".to_owned(), Value::from(mapping::damage(&backup, &damage))),
            ("Description".to_owned(), Value::from(entry.description.as_str())),
            ("Started".to_owned(), Value::from(instant(entry.start_time))),
            ("Completed".to_owned(), Value::from(instant(entry.complete_time))),
            ("Relational store".to_owned(), json_of(&entry.relational_store)),
            ("Object store".to_owned(), json_of(&entry.object_store)),
        ],
        operations: ["restore", "delete"].iter().map(|name| ((*name).to_owned(), format!("{path}/{name}"))).collect(),
        ..Page::default()
    };
    Ok(Reply::Resource { json: json_of(&entry), page })
}

/// Begins a backup of all sources under a passcode.
#[utoipa::path(post, path = "/{context}/admin/system/disasterrecovery/stores/{storeName}/backups/create", tag = "backups",
    security(("token" = ["operator"]), ("bearer" = ["operator"]), ("basic" = ["operator"])),
    params(("context" = String, Path), ("storeName" = String, Path)),
    request_body(content = String, content_type = "application/x-www-form-urlencoded"),
    responses((status = 200, body = SubmittedAnswer, content_type = "application/json"), (status = 403, description = "A page of another site made a browser send the request.", body = ErrorEnvelope, content_type = "application/json")))]
pub async fn create(request: HttpRequest, body: RawBody) -> HttpResponse {
    let exchange = open!(request, body);
    let outcome = created(&exchange).await;
    exchange.answer(outcome, Some(create_form()))
}

fn create_form() -> Form {
    Form {
        title: "Create Backup".to_owned(),
        button: "Create Backup",
        explanation: "Backs up all databases and directories that this server protects.",
        parameters: vec![
            Parameter::new("name", true, Input::Text, "Letters, digits, '.', '_' and '-'; unique in this store."),
            Parameter::new("passcode", true, Input::Password, PASSCODE_HINT),
            Parameter::new("description", false, Input::Text, ""),
            Parameter::new("retentionDate", false, Input::Text, "Milliseconds since 1970, or -1 to keep it for ever."),
        ],
    }
}

async fn created(exchange: &Exchange) -> Result<Reply> {
    let store = stores::named(exchange).await?;
    if let Some(form) = exchange.require_post_or_form(create_form)? {
        return Ok(form);
    }
    exchange.caller().require(Role::Operator)?;
    let fields = &exchange.fields;
    let name = mapping::backup_name(fields.required("name")?)?;
    let passcode = SecretText::new(mapping::passcode(fields.get("passcode"))?);
    if fields.text("storeName").is_some_and(|other| other != store.name && other != "<storeName>") {
        return Err(Refused::invalid("The parameter 'storeName' names another store than the path."));
    }
    let caller = exchange.caller();
    let repository = NewRepository {
        owner: names::OWNER,
        name: names::site_repository(&store.name),
        store: Some(store.id),
        sources: SourceSelection::All,
        plan: None,
        retention: None,
        aliases: Vec::new(),
        attributes: Vec::new(),
    };
    let alias = names::backup_alias(store.id, name);
    let description = mapping::description(fields.get("description"))?;
    let keep_until = mapping::retention_date(fields.text("retentionDate"))?;
    if exchange.engine.resolve(names::BACKUP, &alias).await?.is_some() {
        return repeated(exchange, &store, &alias, &passcode).await;
    }
    let repository = exchange.engine.ensure_repository(&caller, repository).await?;
    let request = StartBackup {
        repository: repository.id,
        trigger: Trigger::Manual,
        task: None,
        full: false,
        description,
        keep_until,
        passcode: Some(passcode.clone()),
        aliases: vec![Alias::new(names::BACKUP, alias.clone())],
        attributes: Vec::new(),
        job_attributes: vec![operation(exchange)],
    };
    match exchange.engine.start_backup(&caller, request).await {
        Ok(started) => {
            let jobid = jobid_of(exchange, started.job.id).await?;
            Ok(exchange.submitted(&jobid, backups_path(exchange, &store)))
        }
        // Two requests of one name at once: one of them was first.
        Err(failed) if matches!(failed.code, ErrorCode::AlreadyExists(_)) => {
            repeated(exchange, &store, &alias, &passcode).await
        }
        Err(failed) => Err(failed.into()),
    }
}

/// The name is taken: by the same request sent again, whose job is answered, or by another backup.
async fn repeated(exchange: &Exchange, store: &Store, alias: &str, passcode: &SecretText) -> Result<Reply> {
    let taken = || {
        let name = names::backup_name(alias);
        Refused::new(409, format!("A backup named '{name}' exists already in the store '{}'.", store.name))
    };
    let caller = exchange.caller();
    let object = exchange.engine.resolve(names::BACKUP, alias).await?.ok_or_else(taken)?;
    let backup = exchange.engine.backup(&caller, BackupId(object.id)).await?;
    let age = exchange.engine.now() - backup.created_at;
    let is_recent = age.num_seconds() < SAME_REQUEST_SECONDS && backup.protected;
    if is_recent && exchange.engine.check_passcode(&caller, backup.id, passcode).await? {
        let jobid = jobid_of(exchange, backup.job).await?;
        return Ok(exchange.submitted(&jobid, backups_path(exchange, store)));
    }
    Err(taken())
}

/// Replaces the live data by a backup's. The passcode is checked before anything is begun.
#[utoipa::path(post, path = "/{context}/admin/system/disasterrecovery/stores/{storeName}/backups/{backupName}/restore", tag = "backups",
    security(("token" = ["operator"]), ("bearer" = ["operator"]), ("basic" = ["operator"])),
    params(("context" = String, Path), ("storeName" = String, Path), ("backupName" = String, Path)),
    request_body(content = String, content_type = "application/x-www-form-urlencoded"),
    responses((status = 200, body = RestoreAnswer, content_type = "application/json"), (status = 403, description = "A page of another site made a browser send the request.", body = ErrorEnvelope, content_type = "application/json")))]
pub async fn restore(request: HttpRequest, body: RawBody) -> HttpResponse {
    let exchange = open!(request, body);
    let outcome = restored(&exchange).await;
    exchange.answer(outcome, Some(restore_form()))
}

fn restore_form() -> Form {
    Form {
        title: "Restore Backup".to_owned(),
        button: "Restore Backup",
        explanation: "Replaces the live data. What is there now is backed up first, and kept aside.",
        parameters: vec![Parameter::new(
            "passcode",
            true,
            Input::Password,
            "The one that the backup was created with.",
        )],
    }
}

async fn restored(exchange: &Exchange) -> Result<Reply> {
    let (store, backup, name) = named(exchange).await?;
    if let Some(form) = exchange.require_post_or_form(restore_form)? {
        return Ok(form);
    }
    exchange.caller().require(Role::Operator)?;
    let passcode = SecretText::new(exchange.fields.required("passcode")?);
    if backup.state != BackupState::Succeeded {
        return Err(Refused::new(409, format!("The backup '{name}' is not completed and cannot be restored.")));
    }
    let caller = exchange.caller();
    if backup.protected && !exchange.engine.check_passcode(&caller, backup.id, &passcode).await? {
        return Err(Refused::invalid("The passcode does not match the one used to create the backup."));
    }
    let busy = JobFilter {
        kinds: vec![JobKind::Backup, JobKind::Restore],
        states: vec![JobState::Running, JobState::Queued],
        store: Some(store.id),
        limit: Some(1),
        ..JobFilter::default()
    };
    if !exchange.engine.jobs(&caller, busy).await?.is_empty() {
        return Err(Refused::new(409, "Another backup or restore is running; try again when it has ended."));
    }
    let items = backup.parts.iter().map(|part| RestoreItem { part: part.id, into: RestoreInto::InPlace }).collect();
    let request = StartRestore {
        items,
        conflict: trivault_engine::Conflict::Replace,
        selection: trivault_engine::Selection::default(),
        safety_backup: true,
        passcode: Some(passcode),
        job_attributes: vec![operation(exchange)],
    };
    let job = exchange.engine.start_restore(&caller, request).await?;
    let jobid = jobid_of(exchange, job.id).await?;
    let path = exchange.admin_path(&format!("/jobs/{jobid}"));
    let started =
        RestoreStarted { status: "success".to_owned(), jobs_url: exchange.absolute(&path), jobid: jobid.clone() };
    Ok(Reply::Submitted { json: json_of(&started), jobid, parent: backups_path(exchange, &store) })
}

/// Deletes a backup; no passcode is needed.
#[utoipa::path(post, path = "/{context}/admin/system/disasterrecovery/stores/{storeName}/backups/{backupName}/delete", tag = "backups",
    security(("token" = ["operator"]), ("bearer" = ["operator"]), ("basic" = ["operator"])),
    params(("context" = String, Path), ("storeName" = String, Path), ("backupName" = String, Path)),
    request_body(content = String, content_type = "application/x-www-form-urlencoded"),
    responses((status = 200, body = DeletedAnswer, content_type = "application/json"), (status = 403, description = "A page of another site made a browser send the request.", body = ErrorEnvelope, content_type = "application/json")))]
pub async fn delete(request: HttpRequest, body: RawBody) -> HttpResponse {
    let exchange = open!(request, body);
    let outcome = deleted(&exchange).await;
    exchange.answer(outcome, Some(delete_form()))
}

fn delete_form() -> Form {
    Form {
        title: "Delete Backup".to_owned(),
        button: "Delete Backup",
        explanation: "Deletes the backup. This cannot be undone.",
        parameters: vec![Parameter::new(
            "async",
            false,
            Input::Boolean { default: false },
            "true: answer at once, with a job.",
        )],
    }
}

async fn deleted(exchange: &Exchange) -> Result<Reply> {
    let (store, backup, name) = named(exchange).await?;
    if let Some(form) = exchange.require_post_or_form(delete_form)? {
        return Ok(form);
    }
    exchange.caller().require(Role::Operator)?;
    let is_async = exchange.fields.boolean("async", false)?;
    let caller = exchange.caller();
    let job = exchange.engine.delete_backup(&caller, backup.id, vec![operation(exchange)]).await?;
    let parent = backups_path(exchange, &store);
    if is_async {
        let jobid = jobid_of(exchange, job.id).await?;
        return Ok(exchange.submitted(&jobid, parent));
    }
    let job = exchange.engine.wait_for_job(&caller, job.id, DELETE_PATIENCE).await?;
    match (job.state, job.failure) {
        (JobState::Succeeded, _) => {
            let notice = format!("Deleted the backup {name}.");
            Ok(Reply::Done { json: json_of(&Success::done()), parent, notice })
        }
        (_, Some(failure)) => {
            Err(Refused { code: 500, message: failure.sentence, details: failure.hint.into_iter().collect() })
        }
        (_, None) => {
            Err(Refused::new(500, "The deletion goes on; look at the jobs, and send async=true to be told at once."))
        }
    }
}

/// The backup that the path names, its store, and its name.
async fn named(exchange: &Exchange) -> Result<(Store, Backup, String)> {
    let store = stores::named(exchange).await?;
    let name = exchange.path("backupName");
    let missing = || {
        Refused::new(
            404,
            format!("The backup '{}' was not found in the store '{}'.", stores::shortened(&name), store.name),
        )
    };
    let engine = &exchange.engine;
    let object = match engine.resolve(names::BACKUP, &names::backup_alias(store.id, &name)).await? {
        Some(object) => object,
        None => engine.resolve(names::TITLE, &name).await?.ok_or_else(missing)?,
    };
    let backup = engine.backup(&exchange.caller(), BackupId(object.id)).await.map_err(|failed| match failed.code {
        ErrorCode::NotFound(_) => missing(),
        _ => Refused::from(failed),
    })?;
    if backup.store != store.id {
        return Err(missing());
    }
    Ok((store, backup, name))
}

/// The name under which a backup is listed here.
///
/// # Errors
/// Those of the engine.
pub async fn name_of(engine: &Engine, backup: ObjectRef) -> Result<Option<String>> {
    if let Some(title) = engine.alias(names::TITLE, backup).await? {
        return Ok(Some(title));
    }
    let alias = engine.alias(names::BACKUP, backup).await?;
    Ok(alias.map(|alias| names::backup_name(&alias).to_owned()))
}

fn object(id: BackupId) -> ObjectRef {
    ObjectRef::new(ObjectKind::Backup, id.0)
}

fn backups_path(exchange: &Exchange, store: &Store) -> String {
    exchange.admin_path(&format!("/system/disasterrecovery/stores/{}/backups", store.name))
}

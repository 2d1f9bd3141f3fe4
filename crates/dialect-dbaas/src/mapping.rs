//! Between the engine's records and the wire: pure and total. Every field is named, so that a new one is a compile error.

use std::collections::BTreeMap;

use chrono::Duration;
use trivault_engine::{
    ApiToken, Backup, BackupState, Bearer, Part, PartDamage, SecretText, Source, SourceStatus, Trigger, User,
};
use url::Url;

use crate::{
    names::{SourceNames, static_id},
    settings::Settings,
    types,
};

/// How long a bearer for the API, an addon token and a download link are good for.
pub const TOKEN_LIFETIME: Duration = Duration::hours(1);

// Tags that keep the static ids of a kind's plan, type and version apart.
const PLAN_TAG: u8 = 1;
const TYPE_TAG: u8 = 2;
const VERSION_TAG: u8 = 3;

/// What a database shows of a backup: its own part.
/// `damage`: its stored bytes are not what was captured; clients download the newest `done` row, which it must not be then.
pub fn backup(
    backup: &Backup,
    part: &Part,
    damage: Option<&PartDamage>,
    id: String,
    names: &SourceNames,
) -> types::Backup {
    let Backup {
        id: _,
        repository: _,
        store: _,
        job: _,
        state: _,
        kind: _,
        trigger,
        description: _,
        keep_until: _,
        protected,
        point: _,
        created_at,
        started_at: _,
        finished_at: _,
        error: error_of_backup,
        parts: _,
    } = backup;
    let Part {
        id: _,
        backup: _,
        source: _,
        source_name: _,
        source_kind: _,
        state,
        vault: _,
        snapshot: _,
        size: _,
        stored_size: _,
        items: _,
        download_size,
        manifest: _,
        warnings,
        error,
        started_at,
        finished_at,
    } = part;
    let (status, error_code) = status(*state, damage.is_some());
    types::Backup {
        id,
        created_at: (*created_at).into(),
        started_at: started_at.map(Into::into),
        name: names.backup_name(*created_at),
        size: match status {
            types::BackupStatus::Scheduled | types::BackupStatus::Running => None,
            types::BackupStatus::Done => Some(download_size.unwrap_or(0)),
            types::BackupStatus::Error => Some(0),
        },
        status,
        database_id: names.database_id.clone(),
        method: match trigger {
            Trigger::Manual => types::BackupMethod::Manual,
            Trigger::Scheduled => types::BackupMethod::Periodic,
        },
        ended_at: finished_at.map(Into::into),
        error: error_code.map(|code| {
            if let Some(damage) = damage.filter(|_| code == types::BackupErrorCode::Damaged) {
                return format!("The backup is damaged: {}", damage.sentence);
            }
            let sentence = error.clone().or_else(|| error_of_backup.clone());
            sentence.unwrap_or_else(|| default_sentence(code).to_owned())
        }),
        error_code,
        warnings: warnings.iter().map(|warning| warning.sentence.clone()).collect(),
        protected: *protected,
    }
}

fn status(state: BackupState, damaged: bool) -> (types::BackupStatus, Option<types::BackupErrorCode>) {
    match state {
        BackupState::Queued => (types::BackupStatus::Scheduled, None),
        BackupState::Running => (types::BackupStatus::Running, None),
        BackupState::Succeeded if damaged => (types::BackupStatus::Error, Some(types::BackupErrorCode::Damaged)),
        BackupState::Succeeded => (types::BackupStatus::Done, None),
        BackupState::Failed => (types::BackupStatus::Error, Some(types::BackupErrorCode::Failed)),
        BackupState::Cancelled => (types::BackupStatus::Error, Some(types::BackupErrorCode::Cancelled)),
        BackupState::Lost => (types::BackupStatus::Error, Some(types::BackupErrorCode::Lost)),
    }
}

fn default_sentence(code: types::BackupErrorCode) -> &'static str {
    match code {
        types::BackupErrorCode::Failed => "The backup failed.",
        types::BackupErrorCode::Cancelled => "The backup was cancelled.",
        types::BackupErrorCode::Lost => "The backup has vanished from its store.",
        types::BackupErrorCode::Damaged => "The backup is damaged.",
    }
}

/// A database with its settings; `readable_version` is that of the newest backup.
pub fn database(
    source: &Source,
    names: &SourceNames,
    settings: &Settings,
    readable_version: String,
) -> types::Database {
    let Source { id: _, name: _, config, status, managed: _, created_at, updated_at: _ } = source;
    let kind = &config.kind;
    let SourceNames { app, app_id: _, addon_id: _, database_id, resource_id } = names;
    let Settings { enabled, hours, maintenance_window } = settings;
    types::Database {
        id: database_id.clone(),
        resource_id: resource_id.clone(),
        app_name: app.clone(),
        created_at: (*created_at).into(),
        encryption_at_rest: true,
        plan: plan_name(kind),
        status: running_or(*status, "stopped"),
        type_id: static_id(TYPE_TAG, kind),
        type_name: kind.clone(),
        version_id: static_id(VERSION_TAG, kind),
        readable_version,
        next_version_id: None,
        hostname: String::new(),
        mongo_repl_set_name: String::new(),
        cluster: false,
        instances: Vec::new(),
        features: Vec::new(),
        flags: Vec::new(),
        current_operation_id: None,
        periodic_backups_enabled: *enabled,
        periodic_backups_scheduled_at: hours.clone(),
        first_pitr_backup: None,
        maintenance_window: *maintenance_window,
    }
}

/// The version that the part of a backup recorded of its source.
pub fn readable_version(part: &Part) -> String {
    let versions = part.manifest.as_ref().map(|manifest| &manifest.versions);
    versions.and_then(|versions| versions.get(&part.source_kind)).cloned().unwrap_or_default()
}

/// A source as an application.
pub fn app(source: &Source, names: &SourceNames, owner: &types::Owner, place: &Place) -> types::App {
    let Source { id: _, name: _, config: _, status, managed: _, created_at, updated_at } = source;
    let SourceNames { app, app_id, addon_id: _, database_id: _, resource_id: _ } = names;
    let Place { region, project_id } = place;
    types::App {
        id: app_id.clone(),
        name: app.clone(),
        region: region.clone(),
        status: running_or(*status, "stopped"),
        owner: owner.clone(),
        project: types::Project { id: project_id.clone(), name: "default".to_owned() },
        created_at: (*created_at).into(),
        updated_at: (*updated_at).into(),
        flags: BTreeMap::new(),
        limits: BTreeMap::new(),
        git_url: String::new(),
        url: String::new(),
        base_url: String::new(),
        links: BTreeMap::new(),
        last_deployed_at: None,
        stack_id: String::new(),
        force_https: false,
        sticky_session: false,
        router_logs: false,
    }
}

/// Where an application lies.
#[derive(Clone, Debug)]
pub struct Place {
    pub region: String,
    /// `pr-` and a UUID; one for the whole installation.
    pub project_id: String,
}

/// A source as the only addon of its application. `region` goes into the plan's stock-keeping word.
pub fn addon(source: &Source, names: &SourceNames, region: &str) -> types::Addon {
    let Source { id: _, name: _, config, status, managed: _, created_at, updated_at } = source;
    let kind = &config.kind;
    let SourceNames { app: _, app_id, addon_id, database_id: _, resource_id } = names;
    types::Addon {
        id: addon_id.clone(),
        app_id: app_id.clone(),
        resource_id: resource_id.clone(),
        status: running_or(*status, "suspended"),
        provisioned_at: (*created_at).into(),
        deprovisioned_at: None,
        updated_at: (*updated_at).into(),
        plan: types::AddonPlan {
            id: static_id(PLAN_TAG, kind),
            name: plan_name(kind),
            display_name: "Self-hosted".to_owned(),
            price: 0,
            description: String::new(),
            position: 1,
            on_demand: false,
            disabled: false,
            disabled_alternative_plan_id: None,
            sku: format!("{region}-{}", plan_name(kind)),
            hds_available: false,
        },
        addon_provider: types::AddonProvider {
            id: kind.clone(),
            name: provider_name(kind),
            logo_url: format!("/logo/{kind}.svg"),
        },
        hds_resource: false,
    }
}

fn running_or(status: SourceStatus, otherwise: &str) -> String {
    match status {
        SourceStatus::Attached => "running".to_owned(),
        SourceStatus::Detached => otherwise.to_owned(),
    }
}

/// Begins with the engine's word, as scripts that search tables for it expect.
fn plan_name(kind: &str) -> String {
    format!("{kind}-self-hosted")
}

/// The name that the command line compares `--addon` with, after its own table of abbreviations.
fn provider_name(kind: &str) -> String {
    match kind {
        "postgresql" => "PostgreSQL",
        "mysql" => "MySQL",
        "mariadb" => "MariaDB",
        "mongodb" => "MongoDB",
        // The command line turns `--addon redis` into this text.
        "redis" => "Redis® OSS",
        "influxdb" => "InfluxDB",
        "sqlite" => "SQLite",
        other => {
            let mut letters = other.chars();
            return letters.next().map(|first| first.to_uppercase().chain(letters).collect()).unwrap_or_default();
        }
    }
    .to_owned()
}

pub fn user(user: &User, id: String) -> types::User {
    let User { id: _, name, role: _, disabled: _, created_at, updated_at: _ } = user;
    types::User {
        uuid: id.clone(),
        id,
        username: name.clone(),
        fullname: name.clone(),
        email: String::new(),
        created_at: (*created_at).into(),
        flags: BTreeMap::new(),
        limits: BTreeMap::new(),
    }
}

pub fn token_row(token: &ApiToken) -> types::TokenRow {
    let ApiToken { id, name, user: _, audience: _, created_at, last_used_at, expires_at: _ } = token;
    types::TokenRow {
        id: id.to_string(),
        name: name.clone(),
        created_at: (*created_at).into(),
        last_used_at: last_used_at.map(Into::into),
    }
}

pub fn new_token(token: &ApiToken, secret: &SecretText) -> types::NewToken {
    let types::TokenRow { id, name, created_at, last_used_at } = token_row(token);
    types::NewToken { id, name, created_at, last_used_at, issued_at: created_at, token: secret.expose().to_owned() }
}

pub fn exchanged(bearer: &Bearer) -> types::ExchangedToken {
    let Bearer { id: _, secret, expires_at: _ } = bearer;
    types::ExchangedToken { token: secret.expose().to_owned() }
}

/// One entry per name, all at the same place; the first is the default. `base` has no trailing slash.
pub fn regions(names: &[String], base: &str) -> types::RegionList {
    let url = Url::parse(base).ok();
    let host = url.as_ref().and_then(Url::host_str).unwrap_or("localhost");
    let region = |(index, name): (usize, &String)| types::Region {
        name: name.clone(),
        display_name: "This gateway".to_owned(),
        default: index == 0,
        api: base.to_owned(),
        database_api: base.to_owned(),
        dashboard: base.to_owned(),
        ssh: format!("{host}:22"),
    };
    types::RegionList { regions: names.iter().enumerate().map(region).collect() }
}

/// Whether a part has an archive to download; otherwise what stands against it, as the end of a sentence about the backup.
pub fn downloadable(backup: &Backup, part: &Part, damaged: bool) -> Result<(), &'static str> {
    match status(part.state, damaged) {
        (types::BackupStatus::Scheduled | types::BackupStatus::Running, _) => return Err("is not done"),
        (types::BackupStatus::Error, Some(types::BackupErrorCode::Lost)) => return Err("has vanished from its store"),
        (types::BackupStatus::Error, Some(types::BackupErrorCode::Damaged)) => {
            return Err("is damaged; take another one, or have this one restored as far as it can be read");
        }
        (types::BackupStatus::Error, _) => return Err("has failed, so there is nothing to download"),
        (types::BackupStatus::Done, _) => {}
    }
    if backup.protected {
        return Err(
            "is protected by a passcode, which this API has no place for; restore it through the API that made it",
        );
    }
    if part.download_size.is_none() {
        return Err("cannot be downloaded: sources of this kind have no archive");
    }
    Ok(())
}

#[cfg(test)]
mod tests;

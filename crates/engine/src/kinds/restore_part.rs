//! One part's way back: where it goes, what will be done, doing it.

use std::{
    fs::DirBuilder,
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
    sync::Arc,
};

use trivault_sources::{
    Conflict, Interrupted, PartRestorePlan, PartRestoreRequest, Progress, RestoreOutcome, RestoreTarget, Selection,
    SourceConfig, SourceDriver, postgresql,
};
use trivault_vault::{Id, VaultErrorKind};
use uuid::Uuid;

use super::{drivers, restore::Params, restore_journal as journal, vaults};
use crate::{
    capture::{JobPart, PartEvents, StoredPart},
    db::{AuditEntry, Labels, StoreRow, VaultRow},
    domain::{
        Error, ErrorCode, JobId, NewObject, Noun, ObjectKind, ObjectRef, Part, RestoreInto, RestoreItem, Result,
        SecretText, Source, SourceId, SourceStatus,
    },
    failure::{JobResult, from_source, from_vault, in_job},
    run::{PartScope, RunContext},
    service::Inner,
};

/// Folder of the data directory in which new sources come into being.
pub(crate) const RESTORED: &str = "restored";
/// Digits of a job's id in the names of what it makes; with the part's number they fill the contract's 32.
const JOB_DIGITS: usize = 29;

/// A part with its vault and the place that it goes to.
pub(crate) struct Resolved {
    pub(crate) item: RestoreItem,
    pub(crate) part: Part,
    pub(crate) store: StoreRow,
    pub(crate) vault: VaultRow,
    /// Of the source that is written to, or, for a new place, of the one that the part came from.
    pub(crate) config: SourceConfig,
    /// Whose password `config` holds.
    pub(crate) account: Option<SourceId>,
    pub(crate) target: RestoreTarget,
    /// Name of the source that comes into being.
    pub(crate) new_source: Option<String>,
}

impl Resolved {
    /// The same for parts that go to the same place.
    pub(super) fn target_key(&self) -> String {
        let Self { item: _, part: _, store: _, vault: _, config, account: _, target, new_source } = self;
        format!("{new_source:?} {target:?} {}", config.location)
    }
}

/// Looks everything up that a restore of a part needs. Touches nothing.
pub(crate) async fn resolve(inner: &Inner, item: &RestoreItem) -> Result<Resolved> {
    let missing = || Error::not_found(Noun::Part, "The backup is not in the catalogue.");
    let backup = inner.db.backup_of_part(item.part).await?.ok_or_else(missing)?;
    let part = backup.parts.into_iter().find(|part| part.id == item.part).ok_or_else(missing)?;
    let (store, vault) = vaults::reading_vault(inner, &part).await?;
    let origin = inner.db.source(part.source).await?;
    let mut account = origin.as_ref().map(|origin| origin.id);
    let (config, target, new_source) = match &item.into {
        RestoreInto::InPlace => (attached(origin, &part)?.config, RestoreTarget::InPlace, None),
        RestoreInto::Source(other) => {
            let other = attached(inner.db.source(*other).await?, &part)?;
            if other.config.kind != part.source_kind {
                let sentence = format!(
                    "The source {} is of the kind {} and cannot take a backup of the kind {}.",
                    other.name, other.config.kind, part.source_kind
                );
                return Err(Error::new(ErrorCode::Unsupported, sentence));
            }
            account = Some(other.id);
            (other.config, RestoreTarget::InPlace, None)
        }
        RestoreInto::NewSource(name) => {
            if inner.db.source_named(name).await?.is_some() {
                return Err(Error::new(
                    ErrorCode::AlreadyExists(Noun::Source),
                    format!("A source called {name} exists already."),
                ));
            }
            let target = match part.source_kind.as_str() {
                postgresql::KIND => RestoreTarget::NewDatabase(name.clone()),
                kind => RestoreTarget::NewPath(new_place(&inner.data.join(RESTORED), name, kind)),
            };
            (known_server(origin, &part)?, target, Some(name.clone()))
        }
        RestoreInto::NewDatabase(name) => {
            (known_server(origin, &part)?, RestoreTarget::NewDatabase(name.clone()), None)
        }
        RestoreInto::NewPath(path) => (origin_config(origin, &part), RestoreTarget::NewPath(path.clone()), None),
    };
    let config = match account {
        Some(account) => inner.with_secret(account, config).await?,
        None => config,
    };
    Ok(Resolved { item: item.clone(), part, store, vault, config, account, target, new_source })
}

fn attached(source: Option<Source>, part: &Part) -> Result<Source> {
    source.filter(|source| source.status == SourceStatus::Attached).ok_or_else(|| {
        let sentence = format!("The source {} is no longer attached.", part.source_name);
        Error::new(ErrorCode::SourceDetached, sentence).hint("Restore it into another place.")
    })
}

/// With which a driver reads a part, whether or not its source is still there.
pub(crate) async fn config_of(inner: &Inner, part: &Part) -> Result<SourceConfig> {
    Ok(origin_config(inner.db.source(part.source).await?, part))
}

/// A new database comes into being on the server of the source that the part came from.
fn known_server(origin: Option<Source>, part: &Part) -> Result<SourceConfig> {
    if origin.is_none() && part.source_kind == postgresql::KIND {
        let sentence = format!("The server that {} was backed up from is not in the catalogue.", part.source_name);
        return Err(Error::new(ErrorCode::SourceDetached, sentence)
            .hint("Add a source on the server that it shall go to, and restore into that."));
    }
    Ok(origin_config(origin, part))
}

/// For a restore beside, the kind is all that is needed of the source that the part came from.
fn origin_config(origin: Option<Source>, part: &Part) -> SourceConfig {
    origin.map(|origin| origin.config).unwrap_or_else(|| SourceConfig {
        kind: part.source_kind.clone(),
        location: match part.source_kind.as_str() {
            postgresql::KIND => format!("postgresql://nobody@localhost/{}", part.source_name),
            _ => format!("/{}", part.source_name),
        },
        options: serde_json::Map::new(),
        never_capture: Vec::new(),
        secret: None,
    })
}

/// A folder of its own for each new source; what an earlier restore left under the name is not touched.
fn new_place(restored: &Path, name: &str, kind: &str) -> PathBuf {
    let free = (1_u32..).map(|number| if number == 1 { name.to_owned() } else { format!("{name}-{number}") });
    let folder = free
        .map(|name| restored.join(name))
        .find(|folder| std::fs::symlink_metadata(folder).is_err())
        .unwrap_or_else(|| restored.join(name));
    match kind {
        "sqlite" => folder.join(format!("{name}.sqlite")),
        _ => folder,
    }
}

/// Opens the stored part. Blocks.
pub(crate) fn open(inner: &Inner, item: &Resolved, passcode: Option<&SecretText>) -> Result<StoredPart> {
    let vault = vaults::open_for_reading(inner, &item.store, &item.vault, passcode)?;
    open_in(&vault, &item.part)
}

/// Opens a part in its opened vault. Blocks.
pub(crate) fn open_in(vault: &trivault_vault::Vault, part: &Part) -> Result<StoredPart> {
    let lost = || {
        let sentence = format!("The snapshot of {} is no longer in its store.", part.source_name);
        Error::new(ErrorCode::Damaged, sentence).hint("Somebody has removed it there; restore another backup.")
    };
    let id: Id = part.snapshot.as_deref().and_then(|id| id.parse().ok()).ok_or_else(lost)?;
    let snapshot = vault.snapshot(&id).map_err(|error| match error.kind() {
        VaultErrorKind::Missing => lost(),
        _ => from_vault(error),
    })?;
    StoredPart::open(vault, &snapshot, &part.source_name)
}

/// The request that a driver gets for a part.
pub(crate) fn request(
    job: JobId,
    index: usize,
    item: &Resolved,
    conflict: Conflict,
    selection: &Selection,
) -> PartRestoreRequest {
    let mut job = job.0.simple().to_string();
    job.truncate(JOB_DIGITS);
    PartRestoreRequest {
        target: item.target.clone(),
        conflict,
        selection: selection.clone(),
        job: format!("{job}{index:03}"),
    }
}

/// What restoring this part would do. Refuses what cannot work.
pub(super) fn plan(
    context: &Arc<RunContext>,
    params: &Params,
    index: usize,
    item: &Resolved,
) -> JobResult<PartRestorePlan> {
    let driver = drivers::open(context, &item.config)?;
    let scope = PartScope::new(context, Progress::default(), Progress::default());
    let reader = JobPart { part: open_for(context, item)?, events: scope };
    let request = request(context.run().job, index, item, params.conflict, &params.selection);
    Ok(driver.plan_restore(&reader, &request)?)
}

fn open_for(context: &RunContext, item: &Resolved) -> JobResult<StoredPart> {
    let passcode = context.passcode().ok();
    let vault = vaults::open_for_reading(&context.inner, &item.store, &item.vault, passcode)?;
    context.lock_vault(item.vault.vault.id, &vault)?;
    in_job(open_in(&vault, &item.part))
}

/// Restores one part: plans it anew, writes the plan into the journal, and carries it out.
pub(super) fn run(
    context: &Arc<RunContext>,
    params: &Params,
    index: usize,
    item: &Resolved,
    (base, total): (Progress, Progress),
) -> JobResult<()> {
    if let RestoreTarget::NewPath(path) = &item.target {
        make_parent(path)?;
    }
    let plan = plan(context, params, index, item)?;
    let driver = drivers::open(context, &item.config)?;
    let reader = JobPart { part: open_for(context, item)?, events: PartScope::new(context, base, total) };
    context.check_lease()?;
    let entry = journal::write(&context.inner, context.run().job, (item.account, &item.config), &plan)?;
    context.point("journal");
    context.log(format!("Restores {} to {}.", item.part.source_name, place(driver.as_ref(), item)));
    match driver.restore(&reader, &plan) {
        Ok(RestoreOutcome { bytes_written, items, kept_aside }) => {
            context.point("in_place");
            entry.remove()?;
            context.point("struck_off");
            context.log(format!("Restored {} items, {bytes_written} bytes written.", items));
            for path in kept_aside {
                context.log(format!("What was there is kept as {}.", path.display()));
            }
            Ok(())
        }
        Err(error) => {
            clean_up(context, driver.as_ref(), &plan, entry);
            Err(error.into())
        }
    }
}

/// After a failure: what was made beside the target goes away, and a swap that had begun is finished.
fn clean_up(context: &RunContext, driver: &dyn SourceDriver, plan: &PartRestorePlan, entry: journal::Entry) {
    match driver.resume_restore(plan) {
        Ok(Interrupted::NothingTouched) => context.log("The target was not touched."),
        Ok(Interrupted::Finished) => context.log("The target had been replaced already; it is whole."),
        Err(error) => {
            context.log(format!("What the restore left cannot be cleaned up yet: {error}"));
            return;
        }
    }
    if let Err(error) = entry.remove() {
        tracing::warn!(%error, "an entry of the restore journal could not be removed");
    }
}

fn place(driver: &dyn SourceDriver, item: &Resolved) -> String {
    match &item.target {
        RestoreTarget::InPlace => driver.location(),
        RestoreTarget::NewPath(path) => path.display().to_string(),
        RestoreTarget::NewDatabase(name) => format!("the new database {name}"),
    }
}

fn make_parent(path: &Path) -> Result<()> {
    let Some(parent) = path.parent() else { return Ok(()) };
    DirBuilder::new().recursive(true).mode(0o700).create(parent).map_err(|error| {
        Error::invalid(format!("The folder {} cannot be made: {error}.", parent.display())).because(error)
    })
}

/// The restored place becomes a source.
pub(super) fn attach(context: &RunContext, name: &str, item: &Resolved) -> JobResult<()> {
    let (inner, now) = (&context.inner, context.inner.clock.now());
    let location = match &item.target {
        RestoreTarget::InPlace => return Ok(()),
        RestoreTarget::NewPath(path) => {
            path.to_str().ok_or_else(|| Error::invalid("The restored place's name is not UTF-8."))?.to_owned()
        }
        RestoreTarget::NewDatabase(name) => postgresql::with_database(&item.config.location, name)?,
    };
    let config = SourceConfig { location: location.clone(), ..item.config.clone() };
    let source = Source {
        id: SourceId(Uuid::now_v7()),
        name: name.to_owned(),
        config,
        status: SourceStatus::Attached,
        managed: false,
        created_at: now,
        updated_at: now,
    };
    let at = ObjectRef::new(ObjectKind::Source, source.id.0);
    let mut labels = Labels::default();
    labels.propose(&inner.namers, at, NewObject::Source(&source));
    let audit = AuditEntry {
        at: now,
        principal: context.job().principal.clone(),
        via: context.job().via.clone(),
        request_id: context.run().job.to_string(),
        action: "source.restore".to_owned(),
        object: Some(at),
        outcome: "done".to_owned(),
    };
    let sealed = inner.sealed_secret(source.id, &source.config)?;
    context.wait(inner.db.insert_source(&source, sealed.as_deref(), &labels, &audit))?;
    context.point("attached");
    context.log(format!("Attached the source {name} at {location}."));
    Ok(())
}

/// What a restore would do, for a preview. Blocks.
pub(crate) fn preview(
    inner: &Inner,
    index: usize,
    item: &Resolved,
    (conflict, selection): (Conflict, &Selection),
    passcode: Option<&SecretText>,
    stores: &[crate::domain::Store],
    events: impl PartEvents,
) -> Result<PartRestorePlan> {
    let driver = drivers::driver_for(inner, &item.config, stores)?;
    let reader = JobPart { part: open(inner, item, passcode)?, events };
    let request = request(JobId(Uuid::nil()), index, item, conflict, selection);
    driver.plan_restore(&reader, &request).map_err(from_source)
}

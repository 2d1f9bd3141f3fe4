//! Backup: captures each source of a repository into one part.
//!
//! Scope: the repository alone (one backup of it at a time), its sources and the vault shared, its own parts alone.
//! Steps: `validate`, then for each source `capture`, `verify`, `commit`, then `clean_up`.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use trivault_sources::{Progress, SourceDriver};
use trivault_vault::Vault;

use super::{Ending, drivers, part_capture, vaults};
use crate::{
    db::{JobScope, Resource, StoreRow, VaultRow},
    domain::{
        Backup, BackupKind, BackupState, Error, ErrorCode, NewObject, Noun, Part, PartId, Repository, RepositoryId,
        Source, VaultId,
    },
    failure::{JobError, JobResult},
    labels,
    run::RunContext,
};

/// Name of the step that looks at all sources before the first is captured.
pub(crate) const VALIDATE: &str = "validate";
pub(crate) const CLEAN_UP: &str = "clean_up";

/// What the queue keeps of a backup beside its rows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Params {
    /// Does not build on the backups before it.
    pub(crate) full: bool,
}

pub(crate) fn scopes(repository: RepositoryId, vault: Option<VaultId>, parts: &[Part]) -> Vec<JobScope> {
    let mut scopes = vec![JobScope { resource: Resource::Repository, id: repository.0, exclusive: true }];
    scopes.extend(vault.map(|vault| JobScope { resource: Resource::Vault, id: vault.0, exclusive: false }));
    for part in parts {
        scopes.push(JobScope { resource: Resource::Source, id: part.source.0, exclusive: false });
        scopes.push(JobScope { resource: Resource::Part, id: part.id.0, exclusive: true });
    }
    scopes
}

/// Everything that a part's capture needs of its backup.
pub(crate) struct BackupWork {
    pub(crate) backup: Backup,
    pub(crate) repository: Repository,
    pub(crate) store: StoreRow,
    pub(crate) vault_id: VaultId,
    pub(crate) vault: Vault,
}

/// A part that is still to be captured, with its source as it is now.
struct Pending {
    part: Part,
    ready: JobResult<(Source, Box<dyn SourceDriver>)>,
    expected: Progress,
}

pub(crate) fn run(context: &Arc<RunContext>) -> JobResult<Ending> {
    let Params { full } = context.params()?;
    let db = &context.inner.db;
    let missing = || Error::not_found(Noun::Backup, "The backup is no longer in the catalogue.");
    let id = context.job().backup.ok_or_else(missing)?;
    let backup = context.wait_out(|| db.backup(id))?.ok_or_else(missing)?;
    let repository = context
        .wait_out(|| db.repository(backup.repository))?
        .ok_or_else(|| Error::not_found(Noun::Repository, "The repository is no longer in the catalogue."))?;
    let store = vaults::store_row(context, backup.store)?;
    let known = vaults::known_vault(context, &store, backup.protected)?;
    let backup = begin(context, backup, &repository, &store, known.as_ref(), full)?;
    context.board().parts = (0, backup.parts.len() as u64);

    let pending = context.step(VALIDATE, None, || validate(context, &backup))?;
    let (vault_id, vault) = vaults::open_for_writing(context, &store, known, backup.protected)?;
    context.lock_vault(vault_id, &vault)?;
    let work = BackupWork { backup, repository, store, vault_id, vault };
    let failures = capture_all(context, &work, pending)?;
    context.step(CLEAN_UP, None, || {
        context.release_locks();
        Ok(())
    })?;
    match failures.is_empty() {
        true => Ok(Ending::Done),
        false => Err(conclude(context, &work.backup, failures)?),
    }
}

/// Fixes the backup's point in time and names at its first claim.
fn begin(
    context: &RunContext,
    backup: Backup,
    repository: &Repository,
    store: &StoreRow,
    known: Option<&VaultRow>,
    full: bool,
) -> JobResult<Backup> {
    let db = &context.inner.db;
    let mut builds_on_another = false;
    if let (false, Some(row)) = (full, known) {
        for part in &backup.parts {
            builds_on_another |= context.wait_out(|| db.previous_part(part.source, row.vault.id))?.is_some();
        }
    }
    let kind = if builds_on_another { BackupKind::Incremental } else { BackupKind::Full };
    let names = |point| {
        let object = NewObject::Backup { backup: &backup, repository, store: &store.store, point };
        labels::propose(&context.inner.namers, object)
    };
    let now = context.inner.clock.now();
    context.fenced(context.wait_out(|| db.begin_backup(context.run(), kind, now, &names))?)
}

/// Looks at every source that is still to be captured. A source that cannot be captured fails its own part only.
fn validate(context: &RunContext, backup: &Backup) -> JobResult<Vec<Pending>> {
    let mut pending = Vec::new();
    for part in backup.parts.iter().filter(|part| part.state != BackupState::Succeeded) {
        context.check()?;
        let ready = part_capture::prepare(context, part);
        let expected = match &ready {
            Ok((_, driver)) => expected(driver.as_ref()),
            Err(_) => Progress::default(),
        };
        pending.push(Pending { part: part.clone(), ready, expected });
    }
    Ok(pending)
}

fn expected(driver: &dyn SourceDriver) -> Progress {
    let estimate = driver.estimate().unwrap_or_default();
    Progress { bytes_total: estimate.bytes, items_total: estimate.items, ..Progress::default() }
}

type Failures = Vec<(Part, JobError)>;

/// Captures part after part; answers those that failed. What concerns the whole job ends it at once.
fn capture_all(context: &Arc<RunContext>, work: &BackupWork, pending: Vec<Pending>) -> JobResult<Failures> {
    let sum = |pick: fn(&Progress) -> Option<u64>| {
        pending.iter().try_fold(0_u64, |sum, part| Some(sum.saturating_add(pick(&part.expected)?)))
    };
    let total = Progress {
        bytes_total: sum(|expected| expected.bytes_total),
        items_total: sum(|expected| expected.items_total),
        ..Progress::default()
    };
    let mut base = Progress::default();
    let mut failures = Failures::new();
    for Pending { part, ready, expected: _ } in pending {
        context.check()?;
        let outcome = ready.and_then(|(source, driver)| {
            part_capture::run(context, work, &part, &source, driver.as_ref(), (base, total))
        });
        match outcome {
            Ok(()) => {}
            Err(error) if context.should_stop() => return Err(error),
            Err(error) => {
                context.log(format!("{}: {}", part.source_name, error.error.sentence));
                let store_is_gone = matches!(
                    error.error.code,
                    ErrorCode::StoreUnavailable | ErrorCode::StoreRefused | ErrorCode::StoreFull
                );
                failures.push((part, error));
                if store_is_gone {
                    break;
                }
            }
        }
        let mut board = context.board();
        board.parts.0 += 1;
        base = board.progress;
    }
    Ok(failures)
}

/// What the failures of parts mean for the job. Parts are marked failed when no further attempt will try them.
fn conclude(context: &RunContext, backup: &Backup, failures: Failures) -> JobResult<JobError> {
    let retry = failures.iter().any(|(_, failed)| failed.retry) && context.may_retry();
    if !retry {
        for (part, JobError { error, retry: _ }) in &failures {
            fail_part(context, part.id, &error.sentence)?;
        }
    }
    let (count, of) = (failures.len(), backup.parts.len());
    let Some((part, JobError { mut error, retry: _ })) = failures.into_iter().next() else {
        return Ok(Error::internal("A backup failed without a failure.").into());
    };
    if of > 1 {
        error.sentence =
            format!("{count} of {of} sources could not be backed up. {}: {}", part.source_name, error.sentence);
    }
    Ok(JobError { error, retry })
}

fn fail_part(context: &RunContext, part: PartId, sentence: &str) -> JobResult<()> {
    let now = context.inner.clock.now();
    context.fenced(context.wait(context.inner.db.part_failed(context.run(), part, sentence, &[], now))?)
}

/// The driver of a part's source, which must be attached.
pub(crate) fn source_of(context: &RunContext, part: &Part) -> JobResult<(Source, Box<dyn SourceDriver>)> {
    drivers::attached(context, part.source)
}

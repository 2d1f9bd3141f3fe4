//! Prunes: started, looked ahead at.

use std::sync::Arc;

use trivault_vault::PrunePlan;

use super::{
    Engine, Inner, blocking,
    enqueue::{About, label_job, new_job, priority},
    start_backup::ready_repository,
};
use crate::{
    db::{AuditEntry, Enqueue, Enqueued, JobScope, NewJob, Occurrence, Resource},
    domain::*,
    kinds::prune::{self, Params},
};

impl Engine {
    /// Enqueues a prune.
    ///
    /// # Errors
    /// `InUse(Vault)` while another prune of that vault is queued or running (of a repository's, that one is waited for);
    /// `PasscodeRequired` for a vault under a passcode; `NotReady(Store)` for a read-only one.
    pub async fn start_prune(&self, caller: &Caller, request: StartPrune) -> Result<Job> {
        let missing = || Error::internal("A prune that belongs to no occurrence was taken for one.");
        start(self.inner(), caller, request, None).await?.ok_or_else(missing)
    }

    /// What a prune of the vault would do now. Reads the whole index and all trees, and touches nothing.
    pub async fn preview_prune(&self, caller: &Caller, vault: VaultId) -> Result<PrunePlan> {
        caller.require(Role::Operator)?;
        caller.require_everything()?;
        let inner = self.inner();
        let missing = || Error::not_found(Noun::Vault, "There is no such vault.");
        let row = inner.db.vault_row(vault).await?.ok_or_else(missing)?;
        if row.vault.kind == VaultKind::Passcode {
            return Err(prune::under_passcode());
        }
        let store = inner.db.store_row(row.vault.store).await?.ok_or_else(missing)?;
        let inner = Arc::clone(inner);
        blocking(move || prune::preview(&inner, &store, &row)).await
    }
}

/// `None`: another node has started this occurrence already.
pub(crate) async fn start(
    inner: &Arc<Inner>,
    caller: &Caller,
    request: StartPrune,
    occurrence: Option<Occurrence>,
) -> Result<Option<Job>> {
    caller.require(Role::Operator)?;
    let StartPrune { of, task, job_attributes } = request;
    let missing = || Error::not_found(Noun::Vault, "There is no such vault.");
    let (row, repository) = match of {
        PruneOf::Vault(id) => {
            caller.require_everything()?;
            (inner.db.vault_row(id).await?.ok_or_else(missing)?, None)
        }
        PruneOf::Repository(id) => {
            let (repository, store) = ready_repository(inner, caller, id).await?;
            (inner.db.server_vault(store.id).await?.ok_or_else(missing)?, Some(repository.id))
        }
    };
    if row.vault.kind == VaultKind::Passcode {
        return Err(prune::under_passcode());
    }
    let store = inner.db.store(row.vault.store).await?.ok_or_else(missing)?;
    if store.read_only {
        let sentence = format!("The store {} belongs to another installation and is read-only.", store.name);
        return Err(Error::new(ErrorCode::NotReady(Noun::Store), sentence));
    }
    let id = row.vault.id;
    let about = About { repository, store: Some(store.id), backup: None };
    let job = new_job(inner, caller, JobKind::Prune, about, task);
    let alone = JobScope { resource: Resource::Care, id: id.0, exclusive: true };
    let is_scheduled = caller.via == super::scheduler().via;
    let at = ObjectRef::new(ObjectKind::Store, store.id.0);
    let enqueue = Enqueue {
        labels: label_job(inner, &job, job_attributes),
        job: NewJob {
            scopes: prune::scopes(id),
            params: serde_json::to_value(Params {
                vault: id,
                retention: repository.is_some(),
                settled: false,
                forgets: None,
            })
            .map_err(|error| Error::internal("A job could not be written.").because(error))?,
            priority: if is_scheduled { priority::SCHEDULED } else { priority::ASKED_FOR },
            not_before: None,
            retry_limit: inner.options.retry.attempts.saturating_sub(1),
            held_by: None,
            // That of a repository has its retention to apply, whatever else is under way.
            alone_in: repository.is_none().then_some((JobKind::Prune, alone)),
            job: job.clone(),
        },
        backup: None,
        occurrence,
        audit: AuditEntry::of(caller, inner.clock.now(), "prune.start", Some(at)),
    };
    if let Enqueued::Already(_) = inner.db.enqueue(&enqueue).await? {
        return Ok(None);
    }
    inner.enqueued(JobKind::Prune);
    inner.work.wake.notify_waiters();
    let missing = || Error::internal("A job vanished right after it was enqueued.");
    inner.db.job(job.id).await?.map(Some).ok_or_else(missing)
}

//! What repositories keep: setting it, looking ahead, and letting go.

use std::{collections::HashSet, sync::Arc};

use chrono::TimeDelta;

use super::{Engine, Inner, delete_backup, start_backup::scheduler};
use crate::{db::AuditEntry, domain::*, retention};

/// After a deletion that failed.
const TRIED_AGAIN_AFTER: TimeDelta = TimeDelta::days(1);

impl Engine {
    /// The repository's rules; without any of its own it keeps everything.
    pub async fn retention(&self, caller: &Caller, repository: RepositoryId) -> Result<Retention> {
        self.repository(caller, repository).await?;
        self.inner().retention_of(repository).await
    }

    /// Gives the repository rules, or takes them away.
    ///
    /// # Errors
    /// `InvalidInput` for rules under which every backup but the last good one goes at the next pass, unless `force`.
    pub async fn set_retention(
        &self,
        caller: &Caller,
        repository: RepositoryId,
        rules: Option<Retention>,
        force: bool,
    ) -> Result<()> {
        caller.require(Role::Admin)?;
        self.repository(caller, repository).await?;
        if let Some(rules) = &rules
            && !force
        {
            refuse_emptying(&self.preview_retention(caller, repository, Some(rules.clone())).await?)?;
        }
        let at = ObjectRef::new(ObjectKind::Repository, repository.0);
        let audit = AuditEntry::of(caller, self.now(), "repository.retention", Some(at));
        self.inner().db.set_retention(repository, rules.as_ref(), &audit).await
    }

    /// What the next pass will do, under the repository's rules or under `rules`. Oldest first. Touches nothing.
    pub async fn preview_retention(
        &self,
        caller: &Caller,
        repository: RepositoryId,
        rules: Option<Retention>,
    ) -> Result<Vec<(RetentionCandidate, Verdict)>> {
        self.repository(caller, repository).await?;
        let inner = self.inner();
        let rules = match rules {
            Some(rules) => rules,
            None => inner.retention_of(repository).await?,
        };
        let candidates = inner.db.retention_candidates(repository).await?;
        let verdicts = retention::decide(&candidates, &rules, inner.clock.now());
        Ok(candidates.into_iter().zip(verdicts).collect())
    }

    /// Lets go, now, of what no rule of the repository wants. Answers the jobs that do it.
    pub async fn apply_retention(&self, caller: &Caller, repository: RepositoryId) -> Result<Vec<Job>> {
        caller.require(Role::Operator)?;
        self.repository(caller, repository).await?;
        let going = going(self.inner(), repository).await?;
        let_go(self.inner(), caller, going).await
    }
}

impl Inner {
    async fn retention_of(&self, repository: RepositoryId) -> Result<Retention> {
        let rules = self.db.retention(repository).await?;
        Ok(rules.unwrap_or_else(|| Retention::everything(self.zone)))
    }
}

/// One pass over all repositories. A repository that cannot be looked at does not keep the others from it.
pub(crate) async fn pass(inner: &Arc<Inner>) -> Result<()> {
    let mut outcome = Ok(());
    for repository in inner.db.repositories(&RepositoryFilter::default()).await? {
        match apply(inner, &scheduler(), repository.id).await {
            Ok(jobs) if jobs.is_empty() => {}
            Ok(jobs) => {
                tracing::info!(repository.name, backups = jobs.len(), "retention lets backups go");
            }
            Err(error) => {
                tracing::warn!(repository.name, %error, "retention could not be applied");
                outcome = outcome.and(Err(error));
            }
        }
    }
    outcome
}

/// What a pass does with one repository. A deletion that failed is not tried again with every pass, but once a day; in a store that may
/// not be written to, none is.
pub(crate) async fn apply(inner: &Arc<Inner>, caller: &Caller, repository: RepositoryId) -> Result<Vec<Job>> {
    let going = going(inner, repository).await?;
    if going.is_empty() {
        return Ok(Vec::new());
    }
    let now = inner.clock.now();
    let failed = inner.db.failed_forgets(repository, now - TRIED_AGAIN_AFTER).await?;
    let stores = inner.db.stores().await?;
    let read_only: HashSet<StoreId> = stores.iter().filter(|store| store.read_only).map(|store| store.id).collect();
    let mut deletable = Vec::new();
    let all = going.len();
    for verdict in going {
        let store = inner.db.backup(verdict.id).await?.map(|backup| backup.store);
        if !failed.contains(&verdict.id) && !store.is_some_and(|store| read_only.contains(&store)) {
            deletable.push(verdict);
        }
    }
    if deletable.len() < all {
        let backups = all - deletable.len();
        tracing::debug!(repository.id = %repository, backups, "backups that should go stay: they cannot be deleted now");
    }
    let_go(inner, caller, deletable).await
}

async fn let_go(inner: &Arc<Inner>, caller: &Caller, going: Vec<Verdict>) -> Result<Vec<Job>> {
    let mut jobs = Vec::new();
    for verdict in going {
        match delete_backup::delete(inner, caller, verdict.id, Vec::new()).await {
            Ok(job) => {
                let reasons: Vec<_> = verdict.reasons.iter().map(|reason| reason.sentence()).collect();
                tracing::info!(backup.id = %verdict.id, job.id = %job.id, why = reasons.join(", "), "a backup goes");
                jobs.push(job);
            }
            // Since it was looked at, somebody began to restore or to delete it: the next pass looks again.
            Err(error) if matches!(error.code, ErrorCode::InUse(_) | ErrorCode::NotFound(_)) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(jobs)
}

/// The backups that the next pass lets go, oldest first.
pub(crate) async fn going(inner: &Inner, repository: RepositoryId) -> Result<Vec<Verdict>> {
    let rules = inner.retention_of(repository).await?;
    let candidates = inner.db.retention_candidates(repository).await?;
    let verdicts = retention::decide(&candidates, &rules, inner.clock.now());
    Ok(verdicts.into_iter().filter(goes).collect())
}

/// Whether it is for retention to let it go, now.
fn goes(verdict: &Verdict) -> bool {
    !verdict.keep && !verdict.reasons.contains(&RetentionReason::BeingDeleted)
}

fn refuse_emptying(preview: &[(RetentionCandidate, Verdict)]) -> Result<()> {
    let good = || preview.iter().filter(|(candidate, _)| candidate.is_good());
    let is_going = |verdict: &Verdict| !verdict.keep || verdict.reasons.contains(&RetentionReason::InUse);
    let going = good().filter(|(_, verdict)| is_going(verdict)).count();
    let is_rescued = good().any(|(_, verdict)| verdict.reasons.contains(&RetentionReason::LastGood));
    if going == 0 || !is_rescued {
        return Ok(());
    }
    Err(Error::invalid(format!("Under these rules all {} good backups would go but the last.", going + 1))
        .hint("`trivault retention preview` shows each; if it is meant, say --force."))
}

//! Checks and prunes of the server's own rhythm that should have come to their end by now.

use std::{collections::HashMap, time::Duration};

use chrono::{DateTime, TimeDelta, Utc};
use uuid::Uuid;

use super::{Engine, Inner, verification::rhythm};
use crate::{
    db::{PruningRow, VerificationRow},
    domain::*,
};

/// How often a check or prune may be missed before it counts as overdue.
const OVERDUE_AFTER: i32 = 2;

impl Engine {
    /// Checks and prunes of the server's own rhythm that are overdue, the oldest first. Who may see some sources only is told of their
    /// repositories only.
    ///
    /// # Errors
    /// `Forbidden`, `DatabaseUnavailable`.
    pub async fn overdue_care(&self, caller: &Caller) -> Result<Vec<OverdueCare>> {
        caller.require(Role::Reader)?;
        let mut found = self.inner().overdue_care().await?;
        if !found.is_empty() && caller.require_everything().is_err() {
            let seen = self.repositories(caller, RepositoryFilter::default()).await?;
            found.retain(|care| seen.iter().any(|repository| care.of == Verified::Repository(repository.id)));
        }
        Ok(found)
    }
}

/// How often it is done.
pub(crate) fn care_rhythm(inner: &Inner, care: Care) -> Option<Duration> {
    match care {
        Care::Verify(level) => rhythm(inner, level),
        Care::Prune => inner.options.care.prune_every,
    }
}

/// Since when what came to its end at `last`, and is to do so once in `every`, is overdue.
pub(super) fn overdue_since(every: Option<Duration>, last: DateTime<Utc>, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
    let every = TimeDelta::from_std(every?).ok()?;
    let since = last.checked_add_signed(every.checked_mul(OVERDUE_AFTER)?)?;
    (since <= now).then_some(since)
}

/// A vault or repository at one level.
struct Check {
    of: Verified,
    object: Uuid,
    store: StoreId,
    name: String,
    level: VerifyLevel,
    row: Option<VerificationRow>,
}

impl Inner {
    pub(crate) async fn overdue_care(&self) -> Result<Vec<OverdueCare>> {
        let vaults = self.db.vaults().await?;
        let mut found = self.overdue_checks(&vaults).await?;
        found.extend(self.overdue_prunes(&vaults).await?);
        found.sort_by_key(|care| care.overdue_since);
        Ok(found)
    }

    async fn overdue_checks(&self, vaults: &[VaultRecord]) -> Result<Vec<OverdueCare>> {
        let now = self.clock.now();
        let mut checks = self.checks(vaults).await?;
        // What was never verified is as old as its first backup: that takes a look at all backups, and most have been.
        checks.retain(|check| {
            let last = check.row.and_then(|row| row.concluded_at);
            last.is_none_or(|last| overdue_since(rhythm(self, check.level), last, now).is_some())
        });
        if checks.is_empty() {
            return Ok(Vec::new());
        }
        let oldest = self.db.oldest_backups().await?;
        let overdue = |Check { of, object, store, name, level, row }: Check| {
            let first = *oldest.get(&object)?;
            let last = row.and_then(|row| row.concluded_at);
            let overdue_since = overdue_since(rhythm(self, level), last.unwrap_or(first), now)?;
            Some(OverdueCare { care: Care::Verify(level), of, store, name, last, overdue_since })
        };
        Ok(checks.into_iter().filter_map(overdue).collect())
    }

    /// Everything that is checked in a rhythm.
    async fn checks(&self, vaults: &[VaultRecord]) -> Result<Vec<Check>> {
        let rows = self.db.verifications().await?;
        let row = |object: &Uuid, level| rows.get(object)?.iter().find(|row| row.level == level).copied();
        let mut checks = Vec::new();
        for vault in vaults {
            for level in [VerifyLevel::Structure, VerifyLevel::Data] {
                let (of, object) = (Verified::Vault(vault.id), vault.id.0);
                let (name, row) = (vault.path.clone(), row(&object, level));
                checks.push(Check { of, object, store: vault.store, name, level, row });
            }
        }
        for repository in self.db.repositories(&RepositoryFilter::default()).await? {
            let (of, object, level) = (Verified::Repository(repository.id), repository.id.0, VerifyLevel::Restore);
            let row = row(&object, level);
            checks.push(Check { of, object, store: repository.store, name: repository.name, level, row });
        }
        checks.retain(|check| rhythm(self, check.level).is_some());
        Ok(checks)
    }

    async fn overdue_prunes(&self, vaults: &[VaultRecord]) -> Result<Vec<OverdueCare>> {
        let prunings = self.db.prunings().await?;
        let read_only: HashMap<StoreId, bool> =
            self.db.stores().await?.into_iter().map(|store| (store.id, store.read_only)).collect();
        let (every, now) = (self.options.care.prune_every, self.clock.now());
        let overdue = |vault: &VaultRecord| {
            let PruningRow { forgotten_at: _, unused_since, attempted_at: _, pruned_at, again_at } =
                *prunings.get(&vault.id)?;
            let since = overdue_since(every, unused_since.into_iter().chain(again_at).min()?, now)?;
            let is_ours = read_only.get(&vault.store) == Some(&false);
            is_ours.then(|| OverdueCare {
                care: Care::Prune,
                of: Verified::Vault(vault.id),
                store: vault.store,
                name: vault.path.clone(),
                last: pruned_at,
                overdue_since: since,
            })
        };
        Ok(vaults.iter().filter_map(overdue).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_missed_its_rhythm_twice_is_overdue() {
        let at = |hour: i64| "2026-01-01T00:00:00Z".parse::<DateTime<Utc>>().unwrap() + TimeDelta::hours(hour);
        let day = Some(Duration::from_secs(24 * 3600));
        assert_eq!(overdue_since(day, at(0), at(47)), None);
        assert_eq!(overdue_since(day, at(0), at(48)), Some(at(48)));
        assert_eq!(overdue_since(day, at(0), at(1000)), Some(at(48)));
        assert_eq!(overdue_since(None, at(0), at(1000)), None, "switched off");
        assert_eq!(overdue_since(Some(Duration::MAX), at(0), at(1000)), None);
    }
}

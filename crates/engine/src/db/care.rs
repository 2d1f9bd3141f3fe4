//! What verification has found, when it last looked, and what the next prune of a vault has to do.

use std::collections::HashMap;

use sqlx::{Postgres, QueryBuilder, Sqlite};

use super::{
    prelude::*,
    runs::fence,
    text::{from_word, printable, word},
};

/// Objects in one query; both databases take more parameters than that.
const OBJECTS_PER_QUERY: usize = 1_000;

/// When a level of verification last ran on a vault or repository.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VerificationRow {
    pub level: VerifyLevel,
    pub attempted_at: DateTime<Utc>,
    /// Last brought to a verdict.
    pub concluded_at: Option<DateTime<Utc>>,
    /// Last found everything whole.
    pub succeeded_at: Option<DateTime<Utc>>,
}

/// What the next prune of a vault has to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PruningRow {
    /// When a backup last left the vault.
    pub forgotten_at: Option<DateTime<Utc>>,
    /// When the first one left it that no prune has dealt with.
    pub unused_since: Option<DateTime<Utc>>,
    /// A prune last began.
    pub attempted_at: Option<DateTime<Utc>>,
    /// When the last prune that came to its end had begun: what was forgotten before is dealt with.
    pub pruned_at: Option<DateTime<Utc>>,
    /// When packs that it marked may be deleted.
    pub again_at: Option<DateTime<Utc>>,
}

impl Database {
    /// Damage that is known of parts of these backups.
    pub async fn damage_of(&self, backups: &[BackupId]) -> Result<Vec<PartDamage>> {
        in_read!(self, tx => {
            let mut found = Vec::new();
            for some in backups.chunks(OBJECTS_PER_QUERY) {
                for row in tx.damage_of(some).await? {
                    found.push(row.into_damage()?);
                }
            }
            found
        })
    }

    /// Backups of which a part is known to be damaged, with their repositories, the oldest first.
    pub async fn damaged_backups(&self) -> Result<Vec<(RepositoryId, BackupId)>> {
        in_read!(self, tx => {
            let rows = tx.damaged_backups().await?.into_iter();
            rows.map(|(repository, backup)| (RepositoryId(repository), BackupId(backup))).collect()
        })
    }

    /// Damage that is known of parts in a vault.
    pub async fn damage_in(&self, vault: VaultId) -> Result<Vec<PartDamage>> {
        in_read!(self, tx => {
            tx.damage_in(vault).await?.into_iter().map(DamageRow::into_damage).collect::<Sql<_>>()?
        })
    }

    /// Marks a part. One that is marked already keeps its time and takes the least level. `Held(true)`: it was not marked before.
    pub async fn mark_damaged(&self, run: Run, damage: &PartDamage, now: DateTime<Utc>) -> Result<Fenced<bool>> {
        in_write!(self, tx => {
            if !tx.hold(run, now).await? {
                return Ok(Fenced::Lost);
            }
            let known = tx.damage_of_part(damage.part).await?;
            let known = known.map(DamageRow::into_damage).transpose()?;
            let least = known.as_ref().map_or(damage.seen_by, |known| known.seen_by.min(damage.seen_by));
            tx.write_damage(run.job, damage, least).await?;
            Fenced::Held(known.is_none())
        })
    }

    /// The part was found whole. `Held(true)`: it had been marked.
    pub async fn clear_damage(&self, run: Run, part: PartId, now: DateTime<Utc>) -> Result<Fenced<bool>> {
        in_write!(self, tx => {
            if !tx.hold(run, now).await? {
                return Ok(Fenced::Lost);
            }
            Fenced::Held(tx.clear_damage(part).await?)
        })
    }

    /// What is missing now is seen by every level.
    pub async fn damage_is_structural(&self, run: Run, parts: &[PartId], now: DateTime<Utc>) -> Result<Fenced<()>> {
        in_write!(self, tx => {
            let held = tx.hold(run, now).await?;
            if held {
                for part in parts {
                    tx.damage_is_structural(*part).await?;
                }
            }
            fence(held)
        })
    }

    pub async fn verification_began(
        &self,
        run: Run,
        of: Verified,
        levels: &[VerifyLevel],
        now: DateTime<Utc>,
    ) -> Result<Fenced<()>> {
        in_write!(self, tx => {
            let held = tx.hold(run, now).await?;
            if held {
                for level in levels {
                    tx.verification_began(object_of(of), *level, now).await?;
                }
            }
            fence(held)
        })
    }

    pub async fn verification_ended(
        &self,
        run: Run,
        of: Verified,
        levels: &[(VerifyLevel, bool)],
        now: DateTime<Utc>,
    ) -> Result<Fenced<()>> {
        in_write!(self, tx => {
            let held = tx.hold(run, now).await?;
            if held {
                for (level, whole) in levels {
                    tx.verification_ended(object_of(of), *level, *whole, now).await?;
                }
            }
            fence(held)
        })
    }

    /// By vault or repository.
    pub async fn verifications(&self) -> Result<HashMap<Uuid, Vec<VerificationRow>>> {
        in_read!(self, tx => {
            let mut found: HashMap<Uuid, Vec<VerificationRow>> = HashMap::new();
            for (object, level, attempted_at, concluded_at, succeeded_at) in tx.verifications().await? {
                let row = VerificationRow { level: from_word(level)?, attempted_at, concluded_at, succeeded_at };
                found.entry(object).or_default().push(row);
            }
            found
        })
    }

    pub async fn prunings(&self) -> Result<HashMap<VaultId, PruningRow>> {
        in_read!(self, tx => {
            let rows = tx.prunings().await?.into_iter();
            rows.map(|(vault, forgotten_at, unused_since, attempted_at, pruned_at, again_at)| {
                (VaultId(vault), PruningRow { forgotten_at, unused_since, attempted_at, pruned_at, again_at })
            })
            .collect()
        })
    }

    pub async fn prune_began(&self, run: Run, vault: VaultId, now: DateTime<Utc>) -> Result<Fenced<()>> {
        in_write!(self, tx => {
            let held = tx.hold(run, now).await?;
            if held {
                tx.prune_began(vault, now).await?;
            }
            fence(held)
        })
    }

    /// `began`: what was forgotten before is dealt with.
    pub async fn prune_ended(
        &self,
        run: Run,
        vault: VaultId,
        began: DateTime<Utc>,
        again_at: Option<DateTime<Utc>>,
        now: DateTime<Utc>,
    ) -> Result<Fenced<()>> {
        in_write!(self, tx => {
            let held = tx.hold(run, now).await?;
            if held {
                tx.prune_ended(vault, began, again_at).await?;
            }
            fence(held)
        })
    }

    /// When the oldest attempt began that may still write into the vault, other than this run's.
    pub async fn oldest_writer(&self, vault: VaultId, but: JobId) -> Result<Option<DateTime<Utc>>> {
        in_read!(self, tx => { tx.oldest_writer(vault, but).await? })
    }

    /// When the first backup was finished that is still in the vault; in the repository.
    pub async fn oldest_backups(&self) -> Result<HashMap<Uuid, DateTime<Utc>>> {
        in_read!(self, tx => { tx.oldest_backups().await?.into_iter().collect() })
    }
}

fn object_of(of: Verified) -> Uuid {
    match of {
        Verified::Vault(id) => id.0,
        Verified::Repository(id) => id.0,
    }
}

type Instant = Option<DateTime<Utc>>;

#[derive(sqlx::FromRow)]
struct DamageRow {
    part_id: Uuid,
    seen_by: String,
    found_at: DateTime<Utc>,
    sentence: String,
}

impl DamageRow {
    fn into_damage(self) -> Sql<PartDamage> {
        let Self { part_id, seen_by, found_at, sentence } = self;
        Ok(PartDamage { part: PartId(part_id), seen_by: from_word(seen_by)?, found_at, sentence })
    }
}

#[duplicate_item(
    Tx           Db;
    [SqliteTx]   [Sqlite];
    [PostgresTx] [Postgres];
)]
impl Tx {
    async fn damage_of(&mut self, backups: &[BackupId]) -> Sql<Vec<DamageRow>> {
        let mut query = QueryBuilder::<Db>::new(
            "SELECT d.part_id, d.seen_by, d.found_at, d.sentence FROM part_damage d JOIN parts p ON p.id = d.part_id
             WHERE p.backup_id IN (",
        );
        let mut ids = query.separated(", ");
        for backup in backups {
            ids.push_bind(backup.0);
        }
        query.push(") ORDER BY d.part_id");
        Ok(query.build_query_as().fetch_all(&mut *self.0).await?)
    }

    async fn damaged_backups(&mut self) -> Sql<Vec<(Uuid, Uuid)>> {
        Ok(sqlx::query_as(
            "SELECT b.repository_id, b.id FROM backups b
             WHERE b.id IN (SELECT p.backup_id FROM part_damage d JOIN parts p ON p.id = d.part_id)
             ORDER BY b.created_at, b.id",
        )
        .fetch_all(&mut *self.0)
        .await?)
    }

    async fn damage_in(&mut self, vault: VaultId) -> Sql<Vec<DamageRow>> {
        Ok(sqlx::query_as(
            "SELECT d.part_id, d.seen_by, d.found_at, d.sentence FROM part_damage d JOIN parts p ON p.id = d.part_id
             WHERE p.vault_id = $1 ORDER BY d.part_id",
        )
        .bind(vault.0)
        .fetch_all(&mut *self.0)
        .await?)
    }

    async fn damage_of_part(&mut self, part: PartId) -> Sql<Option<DamageRow>> {
        Ok(sqlx::query_as("SELECT part_id, seen_by, found_at, sentence FROM part_damage WHERE part_id = $1")
            .bind(part.0)
            .fetch_optional(&mut *self.0)
            .await?)
    }

    /// Of a part that is gone by now, nothing is written.
    async fn write_damage(&mut self, job: JobId, damage: &PartDamage, seen_by: VerifyLevel) -> Sql<()> {
        sqlx::query(
            "INSERT INTO part_damage (part_id, seen_by, found_at, sentence, job_id)
             SELECT id, $2, $3, $4, $5 FROM parts WHERE id = $1
             ON CONFLICT (part_id) DO UPDATE SET
                 seen_by = excluded.seen_by, sentence = excluded.sentence, job_id = excluded.job_id",
        )
        .bind(damage.part.0)
        .bind(word(&seen_by)?)
        .bind(damage.found_at)
        .bind(printable(&damage.sentence))
        .bind(job.0)
        .execute(&mut *self.0)
        .await?;
        Ok(())
    }

    async fn clear_damage(&mut self, part: PartId) -> Sql<bool> {
        let cleared =
            sqlx::query("DELETE FROM part_damage WHERE part_id = $1").bind(part.0).execute(&mut *self.0).await?;
        Ok(cleared.rows_affected() == 1)
    }

    async fn damage_is_structural(&mut self, part: PartId) -> Sql<()> {
        sqlx::query("UPDATE part_damage SET seen_by = 'structure' WHERE part_id = $1")
            .bind(part.0)
            .execute(&mut *self.0)
            .await?;
        Ok(())
    }

    async fn verification_began(&mut self, object: Uuid, level: VerifyLevel, now: DateTime<Utc>) -> Sql<()> {
        sqlx::query(
            "INSERT INTO verifications (object_id, level, attempted_at) VALUES ($1, $2, $3)
             ON CONFLICT (object_id, level) DO UPDATE SET attempted_at = excluded.attempted_at",
        )
        .bind(object)
        .bind(word(&level)?)
        .bind(now)
        .execute(&mut *self.0)
        .await?;
        Ok(())
    }

    async fn verification_ended(
        &mut self,
        object: Uuid,
        level: VerifyLevel,
        whole: bool,
        now: DateTime<Utc>,
    ) -> Sql<()> {
        sqlx::query(
            "UPDATE verifications SET concluded_at = $3, succeeded_at = CASE WHEN $4 THEN $3 ELSE succeeded_at END
             WHERE object_id = $1 AND level = $2",
        )
        .bind(object)
        .bind(word(&level)?)
        .bind(now)
        .bind(whole)
        .execute(&mut *self.0)
        .await?;
        Ok(())
    }

    async fn verifications(&mut self) -> Sql<Vec<(Uuid, String, DateTime<Utc>, Instant, Instant)>> {
        Ok(sqlx::query_as("SELECT object_id, level, attempted_at, concluded_at, succeeded_at FROM verifications")
            .fetch_all(&mut *self.0)
            .await?)
    }

    async fn prunings(&mut self) -> Sql<Vec<(Uuid, Instant, Instant, Instant, Instant, Instant)>> {
        Ok(sqlx::query_as(
            "SELECT vault_id, forgotten_at, unused_since, attempted_at, pruned_at, again_at FROM prunings",
        )
        .fetch_all(&mut *self.0)
        .await?)
    }

    async fn prune_began(&mut self, vault: VaultId, now: DateTime<Utc>) -> Sql<()> {
        sqlx::query(
            "INSERT INTO prunings (vault_id, attempted_at) VALUES ($1, $2)
             ON CONFLICT (vault_id) DO UPDATE SET attempted_at = excluded.attempted_at",
        )
        .bind(vault.0)
        .bind(now)
        .execute(&mut *self.0)
        .await?;
        Ok(())
    }

    async fn prune_ended(&mut self, vault: VaultId, began: DateTime<Utc>, again_at: Instant) -> Sql<()> {
        // What was forgotten since it began is for the next one.
        sqlx::query(
            "UPDATE prunings SET pruned_at = $2, again_at = $3, unused_since = CASE WHEN forgotten_at >= $2 THEN $2 END
             WHERE vault_id = $1",
        )
        .bind(vault.0)
        .bind(began)
        .bind(again_at)
        .execute(&mut *self.0)
        .await?;
        Ok(())
    }

    /// A backup leaves the catalogue: its bytes, and what a failed one has left, are unused from now on.
    pub(super) async fn bytes_are_unused(&mut self, backup: &Backup, now: DateTime<Utc>) -> Sql<()> {
        // Under a passcode, only its vault's own jobs could free them.
        if backup.protected {
            return Ok(());
        }
        sqlx::query(
            "INSERT INTO prunings (vault_id, forgotten_at, unused_since)
             SELECT id, $2, $2 FROM vaults WHERE store_id = $1 AND kind = 'server'
             ON CONFLICT (vault_id) DO UPDATE SET
                 forgotten_at = excluded.forgotten_at,
                 unused_since = COALESCE(prunings.unused_since, excluded.unused_since)",
        )
        .bind(backup.store.0)
        .bind(now)
        .execute(&mut *self.0)
        .await?;
        Ok(())
    }

    /// Of a job that runs, the part that it has begun last may still be written since the job began.
    async fn oldest_writer(&mut self, vault: VaultId, but: JobId) -> Sql<Instant> {
        Ok(sqlx::query_scalar(
            "SELECT min(COALESCE(j.started_at, j.created_at)) FROM jobs j
             WHERE j.state = 'running' AND j.finished_at IS NULL AND j.kind = 'backup' AND j.id <> $2
               AND j.store_id = (SELECT store_id FROM vaults WHERE id = $1)",
        )
        .bind(vault.0)
        .bind(but.0)
        .fetch_one(&mut *self.0)
        .await?)
    }

    async fn oldest_backups(&mut self) -> Sql<Vec<(Uuid, DateTime<Utc>)>> {
        Ok(sqlx::query_as(
            "SELECT p.vault_id, min(p.finished_at) FROM parts p
             WHERE p.state = 'succeeded' AND p.vault_id IS NOT NULL AND p.finished_at IS NOT NULL GROUP BY p.vault_id
             UNION ALL
             SELECT b.repository_id, min(b.finished_at) FROM backups b
             WHERE b.state = 'succeeded' AND NOT b.protected AND b.finished_at IS NOT NULL GROUP BY b.repository_id",
        )
        .fetch_all(&mut *self.0)
        .await?)
    }
}

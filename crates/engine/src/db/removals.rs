//! Parts whose snapshots are being removed.

use super::{backup_rows::PartRow, prelude::*};

/// A part whose snapshot may be gone.
#[derive(Clone, Debug)]
pub struct BeingRemoved {
    pub part: Part,
    pub since: DateTime<Utc>,
}

impl Database {
    /// Before the snapshot of a part goes: from now on nothing counts on it. The part leaves with its backup; one that stays because the
    /// job did not come to its end is in `parts_being_removed`.
    pub async fn begin_removal(&self, run: Run, part: PartId, now: DateTime<Utc>) -> Result<Fenced<()>> {
        in_write!(self, tx => {
            if !tx.hold(run, now).await? {
                return Ok(Fenced::Lost);
            }
            tx.begin_removal(part, now).await?;
            Fenced::Held(())
        })
    }

    /// All of them, also those that a job removes at this moment.
    pub async fn parts_being_removed(&self) -> Result<Vec<BeingRemoved>> {
        in_read!(self, tx => {
            let rows = tx.parts_being_removed().await?;
            let into = |row: RemovalRow| Ok(BeingRemoved { part: row.part.into_part()?, since: row.removal_begun_at });
            rows.into_iter().map(into).collect::<Sql<_>>()?
        })
    }

    /// The snapshot is there as ever, unless somebody has begun anew to remove it.
    pub async fn end_removal(&self, removal: &BeingRemoved) -> Result<()> {
        let (part, since) = (removal.part.id, removal.since);
        in_write!(self, tx => { tx.end_removal(part, since).await? })
    }
}

#[derive(sqlx::FromRow)]
struct RemovalRow {
    #[sqlx(flatten)]
    part: PartRow,
    removal_begun_at: DateTime<Utc>,
}

#[duplicate_item(Tx; [SqliteTx]; [PostgresTx])]
impl Tx {
    async fn begin_removal(&mut self, part: PartId, now: DateTime<Utc>) -> Sql<()> {
        let text = "UPDATE parts SET removal_begun_at = $2 WHERE id = $1 AND state = 'succeeded'";
        sqlx::query(text).bind(part.0).bind(now).execute(&mut *self.0).await?;
        Ok(())
    }

    async fn parts_being_removed(&mut self) -> Sql<Vec<RemovalRow>> {
        let text = "SELECT * FROM parts WHERE removal_begun_at IS NOT NULL ORDER BY vault_id, id";
        Ok(sqlx::query_as(text).fetch_all(&mut *self.0).await?)
    }

    async fn end_removal(&mut self, part: PartId, since: DateTime<Utc>) -> Sql<()> {
        let text = "UPDATE parts SET removal_begun_at = NULL WHERE id = $1 AND removal_begun_at = $2";
        sqlx::query(text).bind(part.0).bind(since).execute(&mut *self.0).await?;
        Ok(())
    }
}

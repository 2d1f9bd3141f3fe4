//! Whether new jobs are held back: one value for all nodes, read in each claim's own transaction.

use super::{
    prelude::*,
    text::{from_json, json},
};

/// The setting that holds it.
const KEY: &str = "maintenance";

impl Database {
    pub async fn maintenance(&self) -> Result<Maintenance> {
        in_read!(self, tx => { tx.maintenance().await? })
    }

    /// Changes it in one step: once this is answered, no node claims a job against it. Answers it as it is then.
    pub async fn change_maintenance(
        &self,
        change: &(dyn Fn(&mut Maintenance) + Send + Sync),
        now: DateTime<Utc>,
        audit: &AuditEntry,
    ) -> Result<Maintenance> {
        in_write!(self, tx => {
            tx.one_at_a_time().await?;
            let before = tx.maintenance().await?;
            let mut after = before.clone();
            change(&mut after);
            if after != before {
                tx.put_setting(KEY, json(&after)?.as_bytes(), now).await?;
                tx.audit(audit).await?;
            }
            after
        })
    }
}

#[duplicate_item(Tx; [SqliteTx]; [PostgresTx])]
impl Tx {
    pub(super) async fn maintenance(&mut self) -> Sql<Maintenance> {
        match self.setting(KEY).await? {
            Some(text) => from_json(&String::from_utf8_lossy(&text)),
            None => Ok(Maintenance::default()),
        }
    }
}

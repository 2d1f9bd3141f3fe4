//! Installation, settings, nodes, audit.

use std::collections::HashSet;

use super::{
    prelude::*,
    text::{from_word, printable, word},
};

impl Database {
    /// This installation's id; `proposed` becomes it when there is none.
    pub async fn installation(&self, proposed: Uuid, now: DateTime<Utc>) -> Result<Uuid> {
        in_write!(self, tx => { tx.installation(proposed, now).await? })
    }

    /// A server-wide value (sealed where it is secret).
    pub async fn setting(&self, key: &str) -> Result<Option<Vec<u8>>> {
        in_read!(self, tx => { tx.setting(key).await? })
    }

    pub async fn put_setting(&self, key: &str, value: &[u8], now: DateTime<Utc>) -> Result<()> {
        in_write!(self, tx => { tx.put_setting(key, value, now).await? })
    }

    /// Sets the value where there is none and answers the one that stands: safe between nodes that start together.
    pub async fn setting_or_insert(&self, key: &str, value: &[u8], now: DateTime<Utc>) -> Result<Vec<u8>> {
        in_write!(self, tx => {
            tx.insert_setting(key, value, now).await?;
            tx.setting(key).await?.unwrap_or_else(|| value.to_vec())
        })
    }

    /// Says that a node lives.
    pub async fn upsert_node(&self, node: &NodeRow) -> Result<()> {
        in_write!(self, tx => { tx.upsert_node(node).await? })
    }

    pub async fn nodes(&self) -> Result<Vec<NodeRow>> {
        in_read!(self, tx => { tx.nodes().await? })
    }

    /// Nodes that alone can run some job.
    pub async fn holders(&self) -> Result<HashSet<Uuid>> {
        in_read!(self, tx => { tx.holders().await?.into_iter().collect() })
    }

    /// Those that have been silent since then, and that no job needs.
    pub async fn forget_nodes(&self, silent_since: DateTime<Utc>) -> Result<()> {
        in_write!(self, tx => { tx.forget_nodes(silent_since).await? })
    }

    /// For refusals and for changes that have no transaction of their own.
    pub async fn record_audit(&self, entry: &AuditEntry) -> Result<()> {
        in_write!(self, tx => { tx.audit(entry).await? })
    }

    /// Newest first.
    pub async fn audit(&self, limit: u32) -> Result<Vec<AuditEntry>> {
        in_read!(self, tx => {
            tx.audit_entries(limit).await?.into_iter().map(AuditRow::into_entry).collect::<Sql<_>>()?
        })
    }
}

#[derive(sqlx::FromRow)]
struct AuditRow {
    at: DateTime<Utc>,
    principal: String,
    via: String,
    request_id: String,
    action: String,
    object_kind: Option<String>,
    object_id: Option<Uuid>,
    outcome: String,
}

impl AuditRow {
    fn into_entry(self) -> Sql<AuditEntry> {
        let Self { at, principal, via, request_id, action, object_kind, object_id, outcome } = self;
        let object = match (object_kind, object_id) {
            (Some(kind), Some(id)) => Some(ObjectRef::new(from_word(kind)?, id)),
            (None, _) | (_, None) => None,
        };
        Ok(AuditEntry { at, principal, via, request_id, action, object, outcome })
    }
}

#[duplicate_item(Tx; [SqliteTx]; [PostgresTx])]
impl Tx {
    async fn installation(&mut self, proposed: Uuid, now: DateTime<Utc>) -> Sql<Uuid> {
        sqlx::query("INSERT INTO installation (only_row, id, created_at) VALUES (1, $1, $2) ON CONFLICT DO NOTHING")
            .bind(proposed)
            .bind(now)
            .execute(&mut *self.0)
            .await?;
        Ok(sqlx::query_scalar("SELECT id FROM installation").fetch_one(&mut *self.0).await?)
    }

    pub(super) async fn setting(&mut self, key: &str) -> Sql<Option<Vec<u8>>> {
        Ok(sqlx::query_scalar("SELECT value FROM settings WHERE key = $1")
            .bind(key)
            .fetch_optional(&mut *self.0)
            .await?)
    }

    async fn insert_setting(&mut self, key: &str, value: &[u8], now: DateTime<Utc>) -> Sql<()> {
        sqlx::query("INSERT INTO settings (key, value, updated_at) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING")
            .bind(key)
            .bind(value)
            .bind(now)
            .execute(&mut *self.0)
            .await?;
        Ok(())
    }

    pub(super) async fn put_setting(&mut self, key: &str, value: &[u8], now: DateTime<Utc>) -> Sql<()> {
        sqlx::query(
            "INSERT INTO settings (key, value, updated_at) VALUES ($1, $2, $3)
             ON CONFLICT (key) DO UPDATE SET value = excluded.value, updated_at = excluded.updated_at",
        )
        .bind(key)
        .bind(value)
        .bind(now)
        .execute(&mut *self.0)
        .await?;
        Ok(())
    }

    async fn upsert_node(&mut self, node: &NodeRow) -> Sql<()> {
        sqlx::query(
            "INSERT INTO nodes (id, name, heartbeat_at) VALUES ($1, $2, $3)
             ON CONFLICT (id) DO UPDATE SET name = excluded.name, heartbeat_at = excluded.heartbeat_at",
        )
        .bind(node.id)
        .bind(&node.name)
        .bind(node.heartbeat_at)
        .execute(&mut *self.0)
        .await?;
        Ok(())
    }

    async fn nodes(&mut self) -> Sql<Vec<NodeRow>> {
        let rows: Vec<(Uuid, String, DateTime<Utc>)> =
            sqlx::query_as("SELECT id, name, heartbeat_at FROM nodes ORDER BY name, id")
                .fetch_all(&mut *self.0)
                .await?;
        Ok(rows.into_iter().map(|(id, name, heartbeat_at)| NodeRow { id, name, heartbeat_at }).collect())
    }

    async fn holders(&mut self) -> Sql<Vec<Uuid>> {
        Ok(sqlx::query_scalar("SELECT DISTINCT held_by FROM jobs WHERE held_by IS NOT NULL")
            .fetch_all(&mut *self.0)
            .await?)
    }

    async fn forget_nodes(&mut self, silent_since: DateTime<Utc>) -> Sql<()> {
        let text = "DELETE FROM nodes WHERE heartbeat_at < $1
            AND id NOT IN (SELECT held_by FROM jobs WHERE held_by IS NOT NULL)
            AND id NOT IN (SELECT lease_owner FROM jobs WHERE state = 'running')";
        sqlx::query(text).bind(silent_since).execute(&mut *self.0).await?;
        Ok(())
    }

    /// Every change calls this in its own transaction.
    pub(super) async fn audit(&mut self, entry: &AuditEntry) -> Sql<()> {
        let AuditEntry { at, principal, via, request_id, action, object, outcome } = entry;
        sqlx::query(
            "INSERT INTO audit (at, principal, via, request_id, action, object_kind, object_id, outcome)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
        )
        .bind(at)
        .bind(printable(principal))
        .bind(via)
        .bind(printable(request_id))
        .bind(action)
        .bind(object.map(|object| word(&object.kind)).transpose()?)
        .bind(object.map(|object| object.id))
        .bind(printable(outcome))
        .execute(&mut *self.0)
        .await?;
        Ok(())
    }

    async fn audit_entries(&mut self, limit: u32) -> Sql<Vec<AuditRow>> {
        Ok(sqlx::query_as(
            "SELECT at, principal, via, request_id, action, object_kind, object_id, outcome
             FROM audit ORDER BY seq DESC LIMIT $1",
        )
        .bind(i64::from(limit))
        .fetch_all(&mut *self.0)
        .await?)
    }
}

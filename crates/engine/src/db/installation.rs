//! Installation, settings, nodes, audit.

use super::prelude::*;

impl Database {
    /// This installation's id; `proposed` becomes it when there is none.
    pub async fn installation(&self, proposed: Uuid, now: DateTime<Utc>) -> Result<Uuid> {
        let _ = (proposed, now);
        unfinished()
    }

    /// A server-wide value (sealed where it is secret).
    pub async fn setting(&self, key: &str) -> Result<Option<Vec<u8>>> {
        let _ = (key,);
        unfinished()
    }

    pub async fn put_setting(&self, key: &str, value: &[u8], now: DateTime<Utc>) -> Result<()> {
        let _ = (key, value, now);
        unfinished()
    }

    /// Sets the value where there is none and answers the one that stands: safe between nodes that start together.
    pub async fn setting_or_insert(&self, key: &str, value: &[u8], now: DateTime<Utc>) -> Result<Vec<u8>> {
        let _ = (key, value, now);
        unfinished()
    }

    /// Says that a node lives.
    pub async fn upsert_node(&self, node: &NodeRow) -> Result<()> {
        let _ = (node,);
        unfinished()
    }

    pub async fn nodes(&self) -> Result<Vec<NodeRow>> {
        unfinished()
    }

    /// For refusals and for changes that have no transaction of their own.
    pub async fn record_audit(&self, entry: &AuditEntry) -> Result<()> {
        let _ = (entry,);
        unfinished()
    }

    /// Newest first.
    pub async fn audit(&self, limit: u32) -> Result<Vec<AuditEntry>> {
        let _ = (limit,);
        unfinished()
    }
}

//! Users.

use super::prelude::*;

impl Database {
    pub async fn insert_user(
        &self,
        user: &User,
        password_hash: &str,
        labels: &Labels,
        audit: &AuditEntry,
    ) -> Result<()> {
        let _ = (user, password_hash, labels, audit);
        unfinished()
    }

    pub async fn user(&self, id: UserId) -> Result<Option<User>> {
        let _ = (id,);
        unfinished()
    }

    /// By name.
    pub async fn users(&self) -> Result<Vec<User>> {
        unfinished()
    }

    pub async fn credentials(&self, name: &str) -> Result<Option<Credentials>> {
        let _ = (name,);
        unfinished()
    }

    /// `None` when there is no such user.
    pub async fn change_user(&self, id: UserId, change: &UserChange, audit: &AuditEntry) -> Result<Option<User>> {
        let _ = (id, change, audit);
        unfinished()
    }
}

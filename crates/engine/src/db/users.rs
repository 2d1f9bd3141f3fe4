//! Users.

use super::{
    prelude::*,
    text::{askable, from_word, word},
};

impl Database {
    pub async fn insert_user(
        &self,
        user: &User,
        password_hash: &str,
        labels: &Labels,
        audit: &AuditEntry,
    ) -> Result<()> {
        in_write!(self, tx => {
            tx.insert_user(user, password_hash).await?;
            tx.label(labels, user.created_at).await?;
            tx.audit(audit).await?;
        })
    }

    pub async fn user(&self, id: UserId) -> Result<Option<User>> {
        in_read!(self, tx => { tx.user(id).await?.map(UserRow::into_credentials).transpose()?.map(|row| row.user) })
    }

    /// By name.
    pub async fn users(&self) -> Result<Vec<User>> {
        in_read!(self, tx => {
            tx.users().await?.into_iter().map(|row| Ok(row.into_credentials()?.user)).collect::<Sql<_>>()?
        })
    }

    pub async fn credentials(&self, name: &str) -> Result<Option<Credentials>> {
        if !askable(name) {
            return Ok(None);
        }
        in_read!(self, tx => { tx.user_named(name).await?.map(UserRow::into_credentials).transpose()? })
    }

    /// `None` when there is no such user.
    pub async fn change_user(&self, id: UserId, change: &UserChange, audit: &AuditEntry) -> Result<Option<User>> {
        in_write!(self, tx => {
            let Some(row) = tx.change_user(id, change, audit.at).await? else { return Ok(None) };
            tx.audit(audit).await?;
            Some(row.into_credentials()?.user)
        })
    }
}

#[derive(sqlx::FromRow)]
pub(super) struct UserRow {
    id: Uuid,
    name: String,
    role: String,
    password_hash: String,
    disabled: bool,
    version: i64,
    created_at: DateTime<Utc>,
    updated_at: DateTime<Utc>,
}

impl UserRow {
    pub(super) fn into_credentials(self) -> Sql<Credentials> {
        let Self { id, name, role, password_hash, disabled, version, created_at, updated_at } = self;
        let user = User { id: UserId(id), name, role: from_word(role)?, disabled, created_at, updated_at };
        Ok(Credentials { user, password_hash, version })
    }
}

#[duplicate_item(Tx; [SqliteTx]; [PostgresTx])]
impl Tx {
    pub(super) async fn insert_user(&mut self, user: &User, password_hash: &str) -> Sql<()> {
        let User { id, name, role, disabled, created_at, updated_at } = user;
        sqlx::query(
            "INSERT INTO users (id, name, role, password_hash, disabled, version, created_at, updated_at)
             VALUES ($1, $2, $3, $4, $5, 1, $6, $7)",
        )
        .bind(id.0)
        .bind(name)
        .bind(word(role)?)
        .bind(password_hash)
        .bind(disabled)
        .bind(created_at)
        .bind(updated_at)
        .execute(&mut *self.0)
        .await?;
        Ok(())
    }

    pub(super) async fn user(&mut self, id: UserId) -> Sql<Option<UserRow>> {
        Ok(sqlx::query_as("SELECT * FROM users WHERE id = $1").bind(id.0).fetch_optional(&mut *self.0).await?)
    }

    async fn users(&mut self) -> Sql<Vec<UserRow>> {
        Ok(sqlx::query_as("SELECT * FROM users ORDER BY name").fetch_all(&mut *self.0).await?)
    }

    async fn user_named(&mut self, name: &str) -> Sql<Option<UserRow>> {
        Ok(sqlx::query_as("SELECT * FROM users WHERE name = $1").bind(name).fetch_optional(&mut *self.0).await?)
    }

    async fn change_user(&mut self, id: UserId, change: &UserChange, now: DateTime<Utc>) -> Sql<Option<UserRow>> {
        let UserChange { password_hash, role, disabled } = change;
        Ok(sqlx::query_as(
            "UPDATE users SET password_hash = COALESCE($2, password_hash), role = COALESCE($3, role),
                 disabled = COALESCE($4, disabled), version = version + 1, updated_at = $5
             WHERE id = $1 RETURNING *",
        )
        .bind(id.0)
        .bind(password_hash)
        .bind(role.map(|role| word(&role)).transpose()?)
        .bind(disabled)
        .bind(now)
        .fetch_optional(&mut *self.0)
        .await?)
    }
}

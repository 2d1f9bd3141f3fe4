//! Tokens.

use super::{
    prelude::*,
    text::{from_json, json},
};

/// Generations of tokens that are looked at; deeper ones are refused when they are made.
pub const ANCESTOR_LIMIT: usize = 8;

impl Database {
    pub async fn insert_token(&self, token: &TokenRow, audit: &AuditEntry) -> Result<()> {
        in_write!(self, tx => {
            tx.insert_token(token).await?;
            tx.audit(audit).await?;
        })
    }

    pub async fn token(&self, id: TokenId) -> Result<Option<TokenStanding>> {
        in_read!(self, tx => {
            let Some(row) = tx.token(id.0).await? else { return Ok(None) };
            tx.standing(row).await?
        })
    }

    pub async fn token_by_hash(&self, audience: &str, secret_hash: &[u8]) -> Result<Option<TokenStanding>> {
        in_read!(self, tx => {
            let Some(row) = tx.token_by_hash(audience, secret_hash).await? else { return Ok(None) };
            tx.standing(row).await?
        })
    }

    /// Records a use.
    pub async fn touch_token(&self, id: TokenId, now: DateTime<Utc>) -> Result<()> {
        in_write!(self, tx => { tx.touch_token(id, now).await? })
    }

    /// API tokens that are not revoked, oldest first; of one user, or of all.
    pub async fn api_tokens(&self, user: Option<UserId>, audience: &str) -> Result<Vec<ApiToken>> {
        in_read!(self, tx => {
            tx.api_tokens(user, audience)
                .await?
                .into_iter()
                .map(|row| Ok(listed(row.into_token()?)))
                .collect::<Sql<_>>()?
        })
    }

    /// `false` when there is no such token, or it was revoked before.
    pub async fn revoke_token(&self, id: TokenId, audit: &AuditEntry) -> Result<bool> {
        in_write!(self, tx => {
            if !tx.revoke_token(id, audit.at).await? {
                return Ok(false);
            }
            tx.audit(audit).await?;
            true
        })
    }

    /// Removes tokens that expired before this, and answers how many. Those that others descend from stay until these are
    /// gone.
    pub async fn delete_expired_tokens(&self, before: DateTime<Utc>) -> Result<u64> {
        in_write!(self, tx => { tx.delete_expired_tokens(before).await? })
    }
}

fn listed(token: TokenRow) -> ApiToken {
    let TokenRow {
        id,
        kind: _,
        audience,
        name,
        user,
        parent: _,
        scope: _,
        claims: _,
        secret_hash: _,
        created_at,
        last_used_at,
        expires_at,
        revoked_at: _,
    } = token;
    ApiToken { id, name, user, audience, created_at, last_used_at, expires_at }
}

#[derive(sqlx::FromRow)]
struct TokenColumns {
    id: Uuid,
    kind: String,
    audience: String,
    name: String,
    user_id: Uuid,
    parent_id: Option<Uuid>,
    scope: String,
    claims: String,
    secret_hash: Option<Vec<u8>>,
    created_at: DateTime<Utc>,
    last_used_at: Option<DateTime<Utc>>,
    expires_at: Option<DateTime<Utc>>,
    revoked_at: Option<DateTime<Utc>>,
}

impl TokenColumns {
    fn into_token(self) -> Sql<TokenRow> {
        let Self {
            id,
            kind,
            audience,
            name,
            user_id,
            parent_id,
            scope,
            claims,
            secret_hash,
            created_at,
            last_used_at,
            expires_at,
            revoked_at,
        } = self;
        Ok(TokenRow {
            id: TokenId(id),
            kind: if kind == "api" { TokenKind::Api } else { TokenKind::Bearer },
            audience,
            name,
            user: UserId(user_id),
            parent: parent_id.map(TokenId),
            scope: from_json(&scope)?,
            claims: from_json(&claims)?,
            secret_hash,
            created_at,
            last_used_at,
            expires_at,
            revoked_at,
        })
    }
}

#[duplicate_item(Tx; [SqliteTx]; [PostgresTx])]
impl Tx {
    async fn insert_token(&mut self, token: &TokenRow) -> Sql<()> {
        let TokenRow {
            id,
            kind,
            audience,
            name,
            user,
            parent,
            scope,
            claims,
            secret_hash,
            created_at,
            last_used_at,
            expires_at,
            revoked_at,
        } = token;
        let kind = match kind {
            TokenKind::Bearer => "bearer",
            TokenKind::Api => "api",
        };
        sqlx::query(
            "INSERT INTO tokens (id, kind, audience, name, user_id, parent_id, scope, claims, secret_hash, created_at,
                 last_used_at, expires_at, revoked_at)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)",
        )
        .bind(id.0)
        .bind(kind)
        .bind(audience)
        .bind(name)
        .bind(user.0)
        .bind(parent.map(|parent| parent.0))
        .bind(json(scope)?)
        .bind(json(claims)?)
        .bind(secret_hash)
        .bind(created_at)
        .bind(last_used_at)
        .bind(expires_at)
        .bind(revoked_at)
        .execute(&mut *self.0)
        .await?;
        Ok(())
    }

    async fn token(&mut self, id: Uuid) -> Sql<Option<TokenColumns>> {
        Ok(sqlx::query_as("SELECT * FROM tokens WHERE id = $1").bind(id).fetch_optional(&mut *self.0).await?)
    }

    async fn token_by_hash(&mut self, audience: &str, secret_hash: &[u8]) -> Sql<Option<TokenColumns>> {
        Ok(sqlx::query_as("SELECT * FROM tokens WHERE secret_hash = $1 AND audience = $2 AND kind = 'api'")
            .bind(secret_hash)
            .bind(audience)
            .fetch_optional(&mut *self.0)
            .await?)
    }

    /// `None` when its user is gone, or it descends from more generations than any that was made here.
    async fn standing(&mut self, row: TokenColumns) -> Sql<Option<TokenStanding>> {
        let token = row.into_token()?;
        let Some(user) = self.user(token.user).await? else { return Ok(None) };
        let user = user.into_credentials()?.user;
        let mut ancestors: Vec<TokenRow> = Vec::new();
        let mut parent = token.parent;
        while let Some(id) = parent {
            if ancestors.len() == ANCESTOR_LIMIT {
                return Ok(None);
            }
            let Some(row) = self.token(id.0).await? else { return Ok(None) };
            let ancestor = row.into_token()?;
            parent = ancestor.parent;
            ancestors.push(ancestor);
        }
        Ok(Some(TokenStanding { token, user, ancestors }))
    }

    async fn touch_token(&mut self, id: TokenId, now: DateTime<Utc>) -> Sql<()> {
        sqlx::query("UPDATE tokens SET last_used_at = $2 WHERE id = $1")
            .bind(id.0)
            .bind(now)
            .execute(&mut *self.0)
            .await?;
        Ok(())
    }

    async fn api_tokens(&mut self, user: Option<UserId>, audience: &str) -> Sql<Vec<TokenColumns>> {
        Ok(sqlx::query_as(
            "SELECT * FROM tokens
             WHERE kind = 'api' AND audience = $1 AND revoked_at IS NULL AND ($2 IS NULL OR user_id = $2)
             ORDER BY created_at, id",
        )
        .bind(audience)
        .bind(user.map(|user| user.0))
        .fetch_all(&mut *self.0)
        .await?)
    }

    async fn revoke_token(&mut self, id: TokenId, now: DateTime<Utc>) -> Sql<bool> {
        let changed = sqlx::query("UPDATE tokens SET revoked_at = $2 WHERE id = $1 AND revoked_at IS NULL")
            .bind(id.0)
            .bind(now)
            .execute(&mut *self.0)
            .await?;
        Ok(changed.rows_affected() == 1)
    }

    async fn delete_expired_tokens(&mut self, before: DateTime<Utc>) -> Sql<u64> {
        let gone = sqlx::query(
            "DELETE FROM tokens WHERE expires_at < $1
             AND NOT EXISTS (SELECT 1 FROM tokens child WHERE child.parent_id = tokens.id)",
        )
        .bind(before)
        .execute(&mut *self.0)
        .await?;
        Ok(gone.rows_affected())
    }
}

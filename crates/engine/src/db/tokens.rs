//! Tokens.

use super::prelude::*;

impl Database {
    pub async fn insert_token(&self, token: &TokenRow, audit: &AuditEntry) -> Result<()> {
        let _ = (token, audit);
        unfinished()
    }

    pub async fn token(&self, id: TokenId) -> Result<Option<TokenStanding>> {
        let _ = (id,);
        unfinished()
    }

    pub async fn token_by_hash(&self, audience: &str, secret_hash: &[u8]) -> Result<Option<TokenStanding>> {
        let _ = (audience, secret_hash);
        unfinished()
    }

    /// Records a use.
    pub async fn touch_token(&self, id: TokenId, now: DateTime<Utc>) -> Result<()> {
        let _ = (id, now);
        unfinished()
    }

    /// API tokens that are not revoked, oldest first; of one user, or of all.
    pub async fn api_tokens(&self, user: Option<UserId>, audience: &str) -> Result<Vec<ApiToken>> {
        let _ = (user, audience);
        unfinished()
    }

    /// `false` when there is no such token, or it was revoked before.
    pub async fn revoke_token(&self, id: TokenId, audit: &AuditEntry) -> Result<bool> {
        let _ = (id, audit);
        unfinished()
    }

    /// Removes tokens that expired before this, and answers how many. Those that others descend from stay until these are gone.
    pub async fn delete_expired_tokens(&self, before: DateTime<Utc>) -> Result<u64> {
        let _ = (before,);
        unfinished()
    }
}

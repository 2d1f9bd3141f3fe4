//! Log-in, tokens, users.

use chrono::TimeDelta;

use super::{Engine, unfinished};
use crate::domain::*;

impl Engine {
    /// Checks a name and password. `peer` is the client's address, for the limit on failed log-ins.
    ///
    /// # Errors
    /// `Unauthenticated` (the same for unknown users and wrong passwords, at the same cost), `Throttled`.
    pub async fn authenticate_password(&self, name: &str, password: &SecretText, peer: &str) -> Result<Principal> {
        let _ = (name, password, peer);
        unfinished()
    }

    /// Makes a bearer token for the caller, bound to its user and, where it came with one, to its token: it dies with them.
    pub async fn issue_bearer(&self, caller: &Caller, bearer: NewBearer) -> Result<Bearer> {
        let _ = (caller, bearer);
        unfinished()
    }

    /// # Errors
    /// `Unauthenticated` for a bad signature, another audience, an expired or revoked token, a disabled user.
    pub async fn verify_bearer(&self, audience: &'static str, token: &str) -> Result<VerifiedBearer> {
        let _ = (audience, token);
        unfinished()
    }

    /// Makes a long-lived API token of the form `<prefix><48 characters of [A-Za-z0-9_-]>` for the caller's user.
    pub async fn create_api_token(
        &self,
        caller: &Caller,
        audience: &str,
        name: &str,
        prefix: &str,
        lifetime: Option<TimeDelta>,
    ) -> Result<(ApiToken, SecretText)> {
        let _ = (caller, audience, name, prefix, lifetime);
        unfinished()
    }

    /// Checks an API token and records its use.
    ///
    /// # Errors
    /// `Unauthenticated`.
    pub async fn authenticate_api_token(&self, audience: &str, token: &SecretText) -> Result<Principal> {
        let _ = (audience, token);
        unfinished()
    }

    pub async fn api_tokens(&self, caller: &Caller, audience: &str) -> Result<Vec<ApiToken>> {
        let _ = (caller, audience);
        unfinished()
    }

    /// Revokes an API token or bearer and everything made with it.
    pub async fn revoke_token(&self, caller: &Caller, token: TokenId) -> Result<()> {
        let _ = (caller, token);
        unfinished()
    }

    /// The caller's own user.
    pub async fn user(&self, caller: &Caller) -> Result<User> {
        let _ = caller;
        unfinished()
    }

    pub async fn users(&self, caller: &Caller) -> Result<Vec<User>> {
        let _ = caller;
        unfinished()
    }

    pub async fn create_user(&self, caller: &Caller, name: &str, password: &SecretText, role: Role) -> Result<User> {
        let _ = (caller, name, password, role);
        unfinished()
    }
}

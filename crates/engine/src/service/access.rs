//! Log-in, tokens, users.

use chrono::{DateTime, TimeDelta, Utc};
use uuid::Uuid;

use super::{Engine, blocking};
use crate::{
    access::{self, Claims},
    db::{AuditEntry, Credentials, Labels, TokenKind, TokenRow, TokenStanding, UserChange},
    domain::*,
};

/// Characters of a user's name.
const LONGEST_NAME: usize = 64;
/// The last use of an API token is written at most this often: reading must not cost a write each time.
const USE_NOTED_EVERY: TimeDelta = TimeDelta::minutes(1);
/// Longest life of a token.
const LONGEST_LIFE: TimeDelta = TimeDelta::days(3_660);

impl Engine {
    /// Checks a name and password. `peer` is the client's address, for the limit on failed log-ins.
    ///
    /// # Errors
    /// `Unauthenticated` (the same for unknown users and wrong passwords, at the same cost), `Throttled`.
    pub async fn authenticate_password(&self, name: &str, password: &SecretText, peer: &str) -> Result<Principal> {
        let inner = self.inner();
        let now = inner.clock.now();
        let found = inner.db.credentials(name).await?;
        let remembered = || {
            let Credentials { user, version, password_hash: _ } = found.as_ref()?;
            let is_known = !user.disabled && inner.access.remembered.knows(name, *version, password, now);
            is_known.then(|| principal(user, Scope::Everything, None))
        };
        if let Some(known) = remembered() {
            return Ok(known);
        }
        let hash = found.as_ref().map_or(access::hash_of_nobody(), |found| &found.password_hash).to_owned();
        let permit = inner.access.hashing.acquire().await;
        // What others found out while this one waited for its turn counts: a client's many first requests cost one hash, and
        // guesses that are sent all at once are not all free.
        if let Some(known) = remembered() {
            return Ok(known);
        }
        if inner.access.throttle.is_closed(peer, name, now) {
            return Err(Error::new(ErrorCode::Throttled, "Too many failed log-ins; try again in a minute."));
        }
        let is_right = {
            let password = password.clone();
            blocking(move || Ok(access::matches(&password, &hash))).await?
        };
        let answer = match &found {
            Some(Credentials { user, version, password_hash: _ }) if is_right && !user.disabled => {
                inner.access.throttle.succeeded(peer, name);
                inner.access.remembered.remember(name, *version, password, now);
                Ok(principal(user, Scope::Everything, None))
            }
            Some(_) | None => {
                inner.access.throttle.failed(peer, name, now);
                tracing::info!(peer, "a log-in failed");
                Err(Error::new(ErrorCode::Unauthenticated, "The user name or the password is wrong."))
            }
        };
        drop(permit);
        answer
    }

    /// Makes a bearer token for the caller, bound to its user and, where it came with one, to its token: it dies with them.
    ///
    /// # Errors
    /// `Forbidden` for a scope wider than the caller's own, `InvalidInput` for a lifetime that is none.
    pub async fn issue_bearer(&self, caller: &Caller, bearer: NewBearer) -> Result<Bearer> {
        let NewBearer { audience, scope, lifetime, claims } = bearer;
        self.check_scope(caller, scope).await?;
        let inner = self.inner();
        let now = inner.clock.now();
        let (id, until) = (TokenId(Uuid::now_v7()), end_of(now, lifetime)?);
        let further: Vec<(String, String)> = claims.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        let mut signed = Claims::new(audience, &caller.principal.user.to_string(), id.0, now, until);
        signed.further = further.iter().cloned().collect();
        let secret = access::sign(inner.access.signing_key(), &signed)?;
        let row = TokenRow {
            id,
            kind: TokenKind::Bearer,
            audience: audience.to_owned(),
            name: String::new(),
            user: caller.principal.user,
            parent: caller.principal.token,
            scope,
            claims: further,
            secret_hash: None,
            created_at: now,
            last_used_at: None,
            expires_at: Some(until),
            revoked_at: None,
        };
        inner.db.insert_token(&row, &self.audit_of_token(caller, "token.issue", id)).await?;
        Ok(Bearer { id, secret, expires_at: until })
    }

    /// # Errors
    /// `Unauthenticated` for a bad signature, another audience, an expired or revoked token, a disabled user.
    pub async fn verify_bearer(&self, audience: &'static str, token: &str) -> Result<VerifiedBearer> {
        let inner = self.inner();
        let now = inner.clock.now();
        let claims = access::verify(inner.access.signing_key(), audience, token, now)?;
        let standing = inner.db.token(TokenId(claims.jti)).await?.filter(|standing| is_standing(standing, now));
        let TokenStanding { token, user, ancestors: _ } = standing.ok_or_else(revoked)?;
        let expires_at = token.expires_at.ok_or_else(revoked)?;
        Ok(VerifiedBearer {
            principal: principal(&user, token.scope, Some(token.id)),
            expires_at,
            claims: token.claims,
        })
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
        caller.require_everything()?;
        let name = name.trim();
        if name.is_empty() || name.chars().count() > LONGEST_NAME {
            return Err(Error::invalid(format!("A token's name has 1 to {LONGEST_NAME} characters.")));
        }
        let inner = self.inner();
        let now = inner.clock.now();
        let (id, secret) = (TokenId(Uuid::now_v7()), access::api_token(prefix)?);
        let row = TokenRow {
            id,
            kind: TokenKind::Api,
            audience: audience.to_owned(),
            name: name.to_owned(),
            user: caller.principal.user,
            parent: caller.principal.token,
            scope: Scope::Everything,
            claims: Vec::new(),
            secret_hash: Some(access::secret_hash(&secret)),
            created_at: now,
            last_used_at: None,
            expires_at: lifetime.map(|lifetime| end_of(now, lifetime)).transpose()?,
            revoked_at: None,
        };
        inner.db.insert_token(&row, &self.audit_of_token(caller, "token.create", id)).await?;
        let (name, user, audience) = (row.name, row.user, row.audience);
        let expires_at = row.expires_at;
        Ok((ApiToken { id, name, user, audience, created_at: now, last_used_at: None, expires_at }, secret))
    }

    /// Checks an API token and records its use.
    ///
    /// # Errors
    /// `Unauthenticated`.
    pub async fn authenticate_api_token(&self, audience: &str, token: &SecretText) -> Result<Principal> {
        let inner = self.inner();
        let now = inner.clock.now();
        let standing = inner.db.token_by_hash(audience, &access::secret_hash(token)).await?;
        let standing = standing.filter(|standing| is_standing(standing, now)).ok_or_else(revoked)?;
        let id = standing.token.id;
        if standing.token.last_used_at.is_none_or(|last| last + USE_NOTED_EVERY <= now) {
            inner.db.touch_token(id, now).await?;
        }
        Ok(principal(&standing.user, standing.token.scope, Some(id)))
    }

    /// The caller's own; an administrator sees everybody's.
    pub async fn api_tokens(&self, caller: &Caller, audience: &str) -> Result<Vec<ApiToken>> {
        caller.require_everything()?;
        let user = (caller.principal.role < Role::Admin).then_some(caller.principal.user);
        self.inner().db.api_tokens(user, audience).await
    }

    /// Revokes an API token or bearer and everything made with it.
    pub async fn revoke_token(&self, caller: &Caller, token: TokenId) -> Result<()> {
        let missing = || Error::not_found(Noun::Token, "There is no such token.");
        let standing = self.inner().db.token(token).await?.ok_or_else(missing)?;
        if standing.user.id != caller.principal.user {
            caller.require(Role::Admin).map_err(|_| missing())?;
        }
        let audit = self.audit_of_token(caller, "token.revoke", token);
        if self.inner().db.revoke_token(token, &audit).await? { Ok(()) } else { Err(missing()) }
    }

    /// The caller's own user.
    pub async fn user(&self, caller: &Caller) -> Result<User> {
        let user = self.inner().db.user(caller.principal.user).await?;
        user.ok_or_else(|| Error::not_found(Noun::User, "There is no such user."))
    }

    pub async fn users(&self, caller: &Caller) -> Result<Vec<User>> {
        caller.require(Role::Admin)?;
        caller.require_everything()?;
        self.inner().db.users().await
    }

    /// # Errors
    /// `AlreadyExists(User)`, `InvalidInput` for a bad name or a short password.
    pub async fn create_user(&self, caller: &Caller, name: &str, password: &SecretText, role: Role) -> Result<User> {
        caller.require(Role::Admin)?;
        caller.require_everything()?;
        check_name(name)?;
        let inner = self.inner();
        let now = inner.clock.now();
        let id = UserId(Uuid::now_v7());
        let user = User { id, name: name.to_owned(), role, disabled: false, created_at: now, updated_at: now };
        let hash = hashed(password).await?;
        let at = ObjectRef::new(ObjectKind::User, user.id.0);
        let mut labels = Labels::default();
        labels.propose(&inner.namers, at, NewObject::User(&user));
        inner.db.insert_user(&user, &hash, &labels, &AuditEntry::of(caller, now, "user.create", Some(at))).await?;
        Ok(user)
    }

    /// Gives a user another password; what is remembered of the old one is forgotten at once.
    ///
    /// # Errors
    /// `NotFound(User)`, `InvalidInput` for a short password, `Forbidden` for another's below an administrator.
    pub async fn set_password(&self, caller: &Caller, name: &str, password: &SecretText) -> Result<User> {
        if caller.principal.name != name {
            caller.require(Role::Admin)?;
        }
        caller.require_everything()?;
        let missing = || Error::not_found(Noun::User, format!("There is no user {name}."));
        let user = self.inner().db.credentials(name).await?.ok_or_else(missing)?.user;
        let change = UserChange { password_hash: Some(hashed(password).await?), role: None, disabled: None };
        let at = ObjectRef::new(ObjectKind::User, user.id.0);
        let audit = AuditEntry::of(caller, self.now(), "user.password", Some(at));
        self.inner().db.change_user(user.id, &change, &audit).await?.ok_or_else(missing)
    }

    /// A limited credential makes only tokens that are limited alike, or more.
    async fn check_scope(&self, caller: &Caller, wanted: Scope) -> Result<()> {
        match (caller.principal.scope, wanted) {
            (Scope::Everything, _) => Ok(()),
            (own, wanted) if own == wanted => Ok(()),
            (Scope::Source(own), Scope::Download(part)) => {
                let backup = self.inner().db.backup_of_part(part).await?;
                let is_own = |found: &Part| found.id == part && found.source == own;
                let covers = backup.is_some_and(|backup| backup.parts.iter().any(is_own));
                if covers { Ok(()) } else { caller.require_everything() }
            }
            (Scope::Source(_) | Scope::Download(_), _) => caller.require_everything(),
        }
    }

    /// Gives a user another role, or bars it: a disabled user cannot log in, and its tokens count for nothing meanwhile.
    ///
    /// # Errors
    /// `NotFound(User)`, `Forbidden` below an administrator.
    pub async fn change_user(
        &self,
        caller: &Caller,
        name: &str,
        role: Option<Role>,
        disabled: Option<bool>,
    ) -> Result<User> {
        caller.require(Role::Admin)?;
        caller.require_everything()?;
        let missing = || Error::not_found(Noun::User, format!("There is no user {name}."));
        let user = self.inner().db.credentials(name).await?.ok_or_else(missing)?.user;
        let change = UserChange { password_hash: None, role, disabled };
        let at = ObjectRef::new(ObjectKind::User, user.id.0);
        let audit = AuditEntry::of(caller, self.now(), "user.change", Some(at));
        self.inner().db.change_user(user.id, &change, &audit).await?.ok_or_else(missing)
    }

    fn audit_of_token(&self, caller: &Caller, action: &str, id: TokenId) -> AuditEntry {
        AuditEntry::of(caller, self.now(), action, Some(ObjectRef::new(ObjectKind::Token, id.0)))
    }
}

async fn hashed(password: &SecretText) -> Result<String> {
    access::check_form(password)?;
    let password = password.clone();
    blocking(move || access::hash(&password)).await
}

fn principal(user: &User, scope: Scope, token: Option<TokenId>) -> Principal {
    Principal { user: user.id, name: user.name.clone(), role: user.role, scope, token }
}

/// Neither it nor anything it was made with is revoked or expired, and its user may act.
fn is_standing(standing: &TokenStanding, now: DateTime<Utc>) -> bool {
    let lives = |token: &TokenRow| token.revoked_at.is_none() && token.expires_at.is_none_or(|until| until > now);
    // A parent bearer that merely expired does not end what it made: only its revocation does. An API token's end is meant.
    let stands = |parent: &TokenRow| match parent.kind {
        TokenKind::Bearer => parent.revoked_at.is_none(),
        TokenKind::Api => lives(parent),
    };
    !standing.user.disabled && lives(&standing.token) && standing.ancestors.iter().all(stands)
}

/// # Errors
/// `InvalidInput` for a lifetime that is none or longer than any.
fn end_of(now: DateTime<Utc>, lifetime: TimeDelta) -> Result<DateTime<Utc>> {
    if lifetime <= TimeDelta::zero() || lifetime > LONGEST_LIFE {
        let days = LONGEST_LIFE.num_days();
        return Err(Error::invalid(format!("A token lives between one second and {days} days.")));
    }
    Ok(now + lifetime)
}

fn revoked() -> Error {
    Error::new(ErrorCode::Unauthenticated, "The token is not valid.")
}

fn check_name(name: &str) -> Result<()> {
    let allowed = |character: char| character.is_ascii_alphanumeric() || "_.-@".contains(character);
    if (1..=LONGEST_NAME).contains(&name.len()) && name.chars().all(allowed) {
        return Ok(());
    }
    Err(Error::invalid(format!("A user's name has 1 to {LONGEST_NAME} letters, digits, '_', '.', '-' and '@'.")))
}

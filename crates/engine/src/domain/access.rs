//! Who may act.

use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};

use super::{Error, ErrorCode, PartId, Result, SourceId, TokenId, UserId};

/// Each role may do what the ones before it may.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Sees everything but secrets and the content of backups.
    Reader,
    /// Makes, restores, downloads and deletes backups.
    Operator,
    /// Everything, including users, stores and sources.
    Admin,
}

/// What a credential is good for within its user's role.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Scope {
    Everything,
    /// This source and its parts only.
    Source(SourceId),
    /// The download of this part only.
    Download(PartId),
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct User {
    pub id: UserId,
    pub name: String,
    pub role: Role,
    pub disabled: bool,
    pub created_at: DateTime<Utc>,
    pub updated_at: DateTime<Utc>,
}

/// The authenticated caller.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Principal {
    pub user: UserId,
    pub name: String,
    pub role: Role,
    pub scope: Scope,
    /// The token it came with, if any.
    pub token: Option<TokenId>,
}

/// A principal in one request; every mutating call leaves an audit record made from it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    pub principal: Principal,
    /// Through which door: a dialect's name, `cli`, `scheduler`.
    pub via: &'static str,
    pub request_id: String,
}

impl Caller {
    /// # Errors
    /// [`ErrorCode::Forbidden`] when the role is below `role`.
    pub fn require(&self, role: Role) -> Result<()> {
        if self.principal.role >= role {
            return Ok(());
        }
        Err(Error::new(ErrorCode::Forbidden, format!("The user {} may not do this.", self.principal.name))
            .hint(format!("An administrator can give the user the role {role:?}.")))
    }

    /// # Errors
    /// [`ErrorCode::Forbidden`] when the credential is limited to something else.
    pub fn require_source(&self, source: SourceId) -> Result<()> {
        match self.principal.scope {
            Scope::Everything => Ok(()),
            Scope::Source(only) if only == source => Ok(()),
            Scope::Source(_) | Scope::Download(_) => {
                Err(Error::new(ErrorCode::Forbidden, "This token is good for another database only."))
            }
        }
    }

    /// # Errors
    /// [`ErrorCode::Forbidden`] when the credential is limited to a part of the installation.
    pub fn require_everything(&self) -> Result<()> {
        match self.principal.scope {
            Scope::Everything => Ok(()),
            Scope::Source(_) | Scope::Download(_) => {
                Err(Error::new(ErrorCode::Forbidden, "This token is good for one database only."))
            }
        }
    }
}

/// A bearer token to be made (a signed JWT, revocable by its id).
#[derive(Clone, Debug)]
pub struct NewBearer {
    /// Who accepts it: another audience for each dialect and for downloads.
    pub audience: &'static str,
    pub scope: Scope,
    pub lifetime: TimeDelta,
    /// Further claims for clients that decode the token (`app`, `addon`, `referer` ...). Strings only.
    pub claims: Vec<(&'static str, String)>,
}

/// A bearer token that was made.
#[derive(Clone, Debug)]
pub struct Bearer {
    pub id: TokenId,
    /// The JWT; characters `[A-Za-z0-9._-]`.
    pub secret: SecretText,
    pub expires_at: DateTime<Utc>,
}

/// A verified bearer.
#[derive(Clone, Debug)]
pub struct VerifiedBearer {
    pub principal: Principal,
    pub expires_at: DateTime<Utc>,
    pub claims: Vec<(String, String)>,
}

/// A long-lived API token as listed; its secret is shown once, when it is made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ApiToken {
    pub id: TokenId,
    pub name: String,
    pub user: UserId,
    pub audience: String,
    pub created_at: DateTime<Utc>,
    pub last_used_at: Option<DateTime<Utc>>,
    pub expires_at: Option<DateTime<Utc>>,
}

/// Text that is wiped after use and never printed.
#[derive(Clone, PartialEq, Eq, zeroize::Zeroize, zeroize::ZeroizeOnDrop)]
pub struct SecretText(String);

impl SecretText {
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text itself; every call is a place to look at in a review.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Debug for SecretText {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("SecretText")
    }
}

impl From<String> for SecretText {
    fn from(text: String) -> Self {
        Self(text)
    }
}

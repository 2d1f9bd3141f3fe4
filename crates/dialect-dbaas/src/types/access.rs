//! The authentication API: tokens, the user, regions. Types with a secret have no Debug.

use std::collections::BTreeMap;

use serde::Serialize;
use utoipa::ToSchema;

use super::Timestamp;

/// `POST /v1/tokens/exchange`
#[derive(Serialize, ToSchema)]
pub struct ExchangedToken {
    /// A JWT with a numeric `exp`.
    pub token: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct TokenList {
    pub tokens: Vec<TokenRow>,
}

/// An API token without its secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct TokenRow {
    pub id: String,
    pub name: String,
    pub created_at: Timestamp,
    #[schema(required)]
    pub last_used_at: Option<Timestamp>,
}

#[derive(Serialize, ToSchema)]
pub struct NewTokenAnswer {
    pub token: NewToken,
}

/// An API token with its secret, shown once.
#[derive(Serialize, ToSchema)]
pub struct NewToken {
    pub id: String,
    pub name: String,
    pub created_at: Timestamp,
    #[schema(required)]
    pub last_used_at: Option<Timestamp>,
    pub issued_at: Timestamp,
    /// `tk-us-` and 48 characters of `[A-Za-z0-9_-]`.
    pub token: String,
}

/// `GET /v1/users/self`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct UserAnswer {
    pub user: User,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct User {
    pub id: String,
    pub uuid: String,
    pub username: String,
    pub fullname: String,
    /// Empty: the gateway keeps no addresses.
    pub email: String,
    pub created_at: Timestamp,
    /// Always empty. An `admin` flag would make the command line ask for consent before every database command.
    pub flags: BTreeMap<String, bool>,
    pub limits: BTreeMap<String, u64>,
}

/// `GET /v1/regions`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct RegionList {
    pub regions: Vec<Region>,
}

/// URLs have no trailing slash and neither `/v1` nor `/api`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct Region {
    pub name: String,
    pub display_name: String,
    pub default: bool,
    pub api: String,
    pub database_api: String,
    pub dashboard: String,
    pub ssh: String,
}
